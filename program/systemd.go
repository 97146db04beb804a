package program

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// tell sends a state to systemd (sd_notify(3)): "READY=1", "STOPPING=1",
// "WATCHDOG=1". Without $NOTIFY_SOCKET nobody listens and nothing happens.
func tell(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // abstract socket
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

// watchdogInterval is half of what systemd allows between two signs of life
// ($WATCHDOG_USEC, sd_watchdog_enabled(3)), or 0 if it asks for none.
func watchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// watchdog gives signs of life as long as healthy says so.
func watchdog(ctx context.Context, healthy func(context.Context) error) {
	every := watchdogInterval()
	if every == 0 {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			check, cancel := context.WithTimeout(ctx, every)
			if healthy(check) == nil {
				tell("WATCHDOG=1")
			}
			cancel()
		}
	}
}

// firstPassed is the number of the first descriptor that systemd passes.
const firstPassed = 3

// passed gives the socket that systemd has opened for the signing pages
// (packaging/milterd.socket, sd_listen_fds(3)), nil if it opened none: so pages
// at port 443 need no capability, and visitors wait while milterd restarts.
func passed() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("systemd passes %s sockets, want one, for the signing pages", n)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} { // not for children
		os.Unsetenv(name)
	}
	file := os.NewFile(firstPassed, "socket for the signing pages")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("socket that systemd passes: %w", err)
	}
	return ln, nil
}

// listenPages opens the door for people.
func listenPages(address string) (net.Listener, error) {
	if ln, err := passed(); ln != nil || err != nil {
		return ln, err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	return ln, nil
}
