package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"milterd/internal/ports"
)

// Place is a folder with configuration, keys and data, in which milterd can be
// started again and again.
type Place struct {
	Setup
	Config  string // file
	Milter  string // as milter.listen has it
	LMTP    string // as lmtp.listen has it
	Pages   string // base URL
	ports   [4]int
	command *exec.Cmd
}

// Setup says what a Place is put between.
type Setup struct {
	Binary   string    // the program
	Dir      string    // a folder
	Data     string    // the data folder, default DIR/data
	URL      string    // of the pages as people reach them, default the pages themselves
	TCP      bool      // sockets for Postfix on loopback ports, for one that may not read Dir
	Database string    // database.url, default SQLite
	Extra    string    // further tables of the configuration
	Before   []string  // a command that runs the program: strace and its options
	Log      io.Writer // default standard error
}

// At chooses the addresses of a milterd, for a mail server that must know them
// before milterd knows the mail server.
func At(s Setup) (*Place, error) {
	p := &Place{Setup: s, Config: filepath.Join(s.Dir, "milterd.toml"),
		Milter: "unix:" + filepath.Join(s.Dir, "milter.sock"), LMTP: "unix:" + filepath.Join(s.Dir, "lmtp.sock")}
	first, err := ports.Free(len(p.ports))
	if err != nil {
		return nil, err
	}
	for i := range p.ports {
		p.ports[i] = first + i
	}
	if s.TCP {
		p.Milter, p.LMTP = fmt.Sprintf("inet:127.0.0.1:%d", p.ports[2]), fmt.Sprintf("inet:127.0.0.1:%d", p.ports[3])
	}
	p.Pages = fmt.Sprintf("http://localhost:%d", p.ports[0])
	p.Data = cmp.Or(p.Data, filepath.Join(s.Dir, "data"))
	return p, nil
}

// Configure writes the configuration, and makes the keys where there are none.
// relay, HOST:PORT, takes milterd's mail; users is the directory file, "" for
// one that Extra names.
func (p *Place) Configure(ctx context.Context, relay, users string) error {
	directory, timestamps := "", ""
	if !strings.Contains(p.Extra, "[timestamps]") {
		timestamps = "timestamps = { unsynchronised = true }\n" // a container has no time server
	}
	if users != "" {
		directory = fmt.Sprintf("directory = { users = %q }\n", users)
	}
	text := fmt.Sprintf(`domain = "sign.corp.test"
url = %q
data = %q
organisation = { name = "Example Corp", country = "LU" }
milter = { listen = %q }
lmtp = { listen = %q, received_by = "mx.corp.test" }
http = { listen = "127.0.0.1:%d", proxies = ["127.0.0.1"] }
monitor = { listen = %q }
smtp = { relay = %q, tls = "plain" }
database = { url = %q }
senders = { per_hour = 0 }
%slog = { level = "warn" }
%s%s`, cmp.Or(p.URL, p.Pages), p.Data, p.Milter, p.LMTP, p.ports[0], p.Monitor(), relay,
		cmp.Or(p.Database, "sqlite:milterd.db"), timestamps, directory, p.Extra)
	if err := os.WriteFile(p.Config, []byte(text), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(p.Data, "keys")); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, p.Binary, "init", "-c", p.Config).CombinedOutput()
	if err != nil {
		return fmt.Errorf("milterd init: %w: %s", err, out)
	}
	return nil
}

// Monitor is host:port of /healthz and /metrics.
func (p *Place) Monitor() string { return fmt.Sprintf("127.0.0.1:%d", p.ports[1]) }

// Start starts milterd and gives the time until it was healthy.
func (p *Place) Start(ctx context.Context) (time.Duration, error) {
	arg := append(append([]string(nil), p.Before...), p.Binary, "serve", "-c", p.Config)
	p.command = exec.CommandContext(ctx, arg[0], arg[1:]...)
	p.command.Stderr = cmp.Or[io.Writer](p.Log, os.Stderr)
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what runs it
	p.command.WaitDelay = time.Second
	begin := time.Now()
	if err := p.command.Start(); err != nil {
		return 0, err
	}
	for time.Since(begin) < 30*time.Second {
		resp, err := http.Get("http://" + p.Monitor() + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return 0, errors.New("milterd is not healthy after 30 s")
}

// Pid is the process's number.
func (p *Place) Pid() int { return p.command.Process.Pid }

// Kill ends the process as a power cut would: SIGKILL.
func (p *Place) Kill() {
	syscall.Kill(-p.Pid(), syscall.SIGKILL)
	p.command.Wait()
}

// Stop ends it as systemd would: SIGTERM, and waits.
func (p *Place) Stop() error {
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return p.command.Wait()
}

// Running reports whether Start has started a process that Kill or Stop has not
// ended.
func (p *Place) Running() bool { return p.command != nil && p.command.ProcessState == nil }
