// Package served runs `milterd serve` as a process of its own on a temporary
// data folder, for measurements that need to time it, weigh it or kill it.
package served

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Place is a folder with configuration, keys and data, in which milterd can be
// started again and again.
type Place struct {
	Site
	Config  string // file
	Milter  string // as milter.listen has it
	LMTP    string // as lmtp.listen has it
	Pages   string // base URL
	ports   [4]int
	command *exec.Cmd
}

// Site says what a Place is put between.
type Site struct {
	Binary   string // the program
	Dir      string // an empty folder
	Users    string // directory file
	TCP      bool   // sockets for Postfix on loopback ports, for one that may not read Dir
	Database string // database.url, default SQLite
	Extra    string // further lines of the configuration
}

// At chooses the addresses of a milterd, for a mail server that must know them
// before milterd knows the mail server.
func At(s Site) (*Place, error) {
	p := &Place{Site: s, Config: filepath.Join(s.Dir, "milterd.toml"),
		Milter: "unix:" + filepath.Join(s.Dir, "milter.sock"), LMTP: "unix:" + filepath.Join(s.Dir, "lmtp.sock")}
	for i := range p.ports {
		var err error
		if p.ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	if s.TCP {
		p.Milter, p.LMTP = fmt.Sprintf("inet:127.0.0.1:%d", p.ports[2]), fmt.Sprintf("inet:127.0.0.1:%d", p.ports[3])
	}
	p.Pages = fmt.Sprintf("http://localhost:%d", p.ports[0])
	return p, nil
}

// Configure writes the configuration and makes the keys. relay, HOST:PORT, takes
// milterd's mail.
func (p *Place) Configure(ctx context.Context, relay string) error {
	text := fmt.Sprintf(`domain = "sign.corp.test"
url = %q
data = %q
organisation = { name = "Example Corp", country = "LU" }
milter = { listen = %q }
lmtp = { listen = %q, received_by = "mx.corp.test" }
http = { listen = "127.0.0.1:%d", proxies = ["127.0.0.1"] }
monitor = { listen = %q }
smtp = { relay = %q, tls = "plain" }
directory = { users = %q }
database = { url = %q }
senders = { per_hour = 0 }
timestamps = { unsynchronised = true }
log = { level = "warn" }
%s`, p.Pages, filepath.Join(p.Dir, "data"), p.Milter, p.LMTP, p.ports[0], p.monitor(), relay, p.Users,
		cmp.Or(p.Database, "sqlite:milterd.db"), p.Extra)
	if err := os.WriteFile(p.Config, []byte(text), 0o644); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, p.Binary, "init", "-c", p.Config).CombinedOutput()
	if err != nil {
		return fmt.Errorf("milterd init: %w: %s", err, out)
	}
	return nil
}

func (p *Place) monitor() string { return fmt.Sprintf("127.0.0.1:%d", p.ports[1]) }

// Start starts milterd and gives the time until it was healthy.
func (p *Place) Start(ctx context.Context) (time.Duration, error) {
	p.command = exec.CommandContext(ctx, p.Binary, "serve", "-c", p.Config)
	p.command.Stderr = os.Stderr
	begin := time.Now()
	if err := p.command.Start(); err != nil {
		return 0, err
	}
	for time.Since(begin) < 30*time.Second {
		resp, err := http.Get("http://" + p.monitor() + "/healthz")
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
	p.command.Process.Kill()
	p.command.Wait()
}

// Stop ends it as systemd would: SIGTERM, and waits.
func (p *Place) Stop() error {
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return p.command.Wait()
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}
