package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serve takes the pages' socket from systemd, as packaging/milterd.socket
// passes it, and opens none of its own.
func TestServeOnPassedSocket(t *testing.T) {
	dir := t.TempDir()
	passed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer passed.Close()
	socket, err := passed.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	// What the configuration names is taken: serve would fail if it tried.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file, users := filepath.Join(dir, "milterd.toml"), filepath.Join(dir, "users.toml")
	text := fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n"+
		"milter = { listen = \"unix:%s/m.sock\" }\nlmtp = { listen = \"\" }\nhttp = { listen = %q }\nmonitor = { listen = \"\" }\ndirectory = { users = %q }\n",
		dir+"/data", dir, taken.Addr(), users)
	for path, content := range map[string]string{file: text, users: "[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	serve := func(sockets string) (*exec.Cmd, *bytes.Buffer) {
		var log bytes.Buffer
		c := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve -c "$1"`, self, file)
		c.Env = append(os.Environ(), "MILTERD_TEST_RUN=1", "LISTEN_FDS="+sockets)
		c.ExtraFiles = []*os.File{socket}
		c.Stderr = &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, &log
	}

	c, log := serve("1")
	// The listener is open, so this waits until somebody serves.
	client := &http.Client{Timeout: 20 * time.Second}
	resp, err := client.Get("http://" + passed.Addr().String() + "/")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("pages: %v, %v", resp, err)
	}
	if err == nil {
		resp.Body.Close()
	}
	c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("serve ended with %v:\n%s", err, log.String())
	}

	c, log = serve("2")
	if err := c.Wait(); err == nil || !strings.Contains(log.String(), "passes 2 sockets, want one") {
		t.Errorf("two sockets: %v\n%s", err, log.String())
	}
}
