package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a booted Debian with systemd, a network of its own that leads
// nowhere, and a root file system that is forgotten at its end.
type machine struct {
	nspawn *exec.Cmd
	ended  chan error
	init   int // its process 1, as this machine numbers it
	log    lockedBuffer
}

// boot starts a machine on the root file system in dir, which stays as it is.
func boot(ctx context.Context, dir string) (*machine, error) {
	m := &machine{ended: make(chan error, 1)}
	m.nspawn = exec.Command("systemd-nspawn", "--quiet", "--directory="+dir, "--volatile=overlay", "--private-network", "--boot",
		"--register=no", "--keep-unit", "--machine=milterd-fresh-"+strconv.Itoa(os.Getpid()), "--resolv-conf=off", "--timezone=off", "--console=pipe")
	m.nspawn.Stdout, m.nspawn.Stderr = &m.log, &m.log
	if err := m.nspawn.Start(); err != nil {
		return nil, err
	}
	go func() { m.ended <- m.nspawn.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		select {
		case err := <-m.ended:
			return nil, fmt.Errorf("systemd-nspawn ended: %w (it needs a machine that may make namespaces and mounts)\n%s", err, m.log.String())
		case <-ctx.Done():
			m.stop()
			return nil, fmt.Errorf("the machine does not come up\n%s", m.log.String())
		case <-time.After(100 * time.Millisecond):
		}
		if m.init == 0 {
			m.init = firstProcess(m.nspawn.Process.Pid)
			continue
		}
		// degraded: a unit of Debian's that needs real hardware has failed.
		state, _ := m.run(ctx, "", "systemctl is-system-running")
		if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
			return m, nil
		}
	}
}

// stop powers the machine off.
func (m *machine) stop() {
	m.nspawn.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
	case <-time.After(30 * time.Second):
		m.nspawn.Process.Kill()
		<-m.ended
	}
}

// run runs a line of shell as root in its home folder, with words on standard
// input, and gives everything that it says.
func (m *machine) run(ctx context.Context, in, line string) (string, error) {
	c := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(m.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive", "sh", "-c", "cd /root && "+line)
	c.Stdin = strings.NewReader(in)
	var out lockedBuffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", line, err, out.String())
	}
	return out.String(), nil
}

// path is where this machine sees a file of the other.
func (m *machine) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.init), "root", name)
}

func (m *machine) write(name, content string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(m.path(name), []byte(content), mode); err != nil {
		return err
	}
	return os.Chmod(m.path(name), mode)
}

// copy brings a file of this machine into the other.
func (m *machine) copy(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return m.write(to, string(b), 0o644)
}

// dial connects to a port of the machine's own loopback.
func (m *machine) dial(ctx context.Context, port string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// A socket belongs to the network in which its thread stands. The
		// thread is not unlocked, so it ends with this goroutine.
		runtime.LockOSThread()
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer space.Close()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("entering the machine's network: %w", err)}
			return
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// firstProcess finds process 1 of the machine that nspawn holds, 0 if there is
// none yet.
func firstProcess(nspawn int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // has ended
		}
		var parent, inside string
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "PPid":
				parent = strings.TrimSpace(value)
			case "NSpid":
				if f := strings.Fields(value); len(f) > 1 {
					inside = f[len(f)-1]
				}
			}
		}
		if parent == strconv.Itoa(nspawn) && inside == "1" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}

// lockedBuffer takes what several writers say.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await asks until the answer is yes.
func await(ctx context.Context, what string, yes func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for !yes() {
		select {
		case <-ctx.Done():
			return errors.New("did not happen within 90 s: " + what)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
