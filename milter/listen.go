package milter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// Listen opens a socket for Postfix, in its notation: unix:/path (with its mode,
// so that Postfix may write to it) or inet:127.0.0.1:port (loopback only:
// neither protocol knows authentication).
// A socket file that a dead process left behind is replaced.
func Listen(address string, mode fs.FileMode) (net.Listener, error) {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "unix":
		return listenUnix(rest, mode)
	case "inet":
		ap, err := netip.ParseAddrPort(rest)
		if err != nil {
			return nil, fmt.Errorf("address %q: want inet:127.0.0.1:port: %w", address, err)
		}
		if !ap.Addr().IsLoopback() {
			return nil, fmt.Errorf("address %q: only loopback addresses, the protocol has no authentication", address)
		}
		ln, err := net.Listen("tcp", ap.String())
		if err != nil {
			return nil, fmt.Errorf("listening for Postfix: %w", err)
		}
		return ln, nil
	}
	return nil, fmt.Errorf("address %q: want unix:/path or inet:127.0.0.1:port", address)
}

func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("listening for Postfix: %s is in the way and is no socket", path)
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("listening for Postfix: somebody already serves %s", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("listening for Postfix: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listening for Postfix: %w", err)
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for Postfix: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listening for Postfix: %w", err)
	}
	return ln, nil
}
