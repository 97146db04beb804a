// Package served runs `milterd serve` as a process of its own on a temporary
// data folder, for measurements that need to time it, weigh it or kill it.
package served

import (
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
	Dir     string
	Config  string // file
	Milter  string // unix:PATH
	Pages   string // base URL
	monitor string
	binary  string
	command *exec.Cmd
}

// Prepare configures a milterd in dir and makes its keys. relay takes its
// mail; users is its directory file.
func Prepare(ctx context.Context, binary, dir, relay, users string) (*Place, error) {
	pages, err := freePort()
	if err != nil {
		return nil, err
	}
	monitor, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &Place{Dir: dir, Config: filepath.Join(dir, "milterd.toml"), Milter: "unix:" + filepath.Join(dir, "milter.sock"),
		Pages: fmt.Sprintf("http://localhost:%d", pages), monitor: fmt.Sprintf("127.0.0.1:%d", monitor), binary: binary}
	text := fmt.Sprintf(`domain = "sign.corp.test"
url = %q
data = %q
organisation = { name = "Example Corp", country = "LU" }
milter = { listen = %q }
http = { listen = "127.0.0.1:%d" }
monitor = { listen = %q }
smtp = { relay = %q, tls = "plain" }
directory = { users = %q }
timestamps = { unsynchronised = true }
log = { level = "warn" }
`, p.Pages, filepath.Join(dir, "data"), p.Milter, pages, p.monitor, relay, users)
	if err := os.WriteFile(p.Config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, binary, "init", "-c", p.Config).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("milterd init: %w: %s", err, out)
	}
	return p, nil
}

// Start starts milterd and gives the time until it was healthy.
func (p *Place) Start(ctx context.Context) (time.Duration, error) {
	p.command = exec.CommandContext(ctx, p.binary, "serve", "-c", p.Config)
	p.command.Stderr = os.Stderr
	begin := time.Now()
	if err := p.command.Start(); err != nil {
		return 0, err
	}
	for time.Since(begin) < 30*time.Second {
		resp, err := http.Get("http://" + p.monitor + "/healthz")
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
