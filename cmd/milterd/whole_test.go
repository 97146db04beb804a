package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"milterd/internal/ports"
	"milterd/validate"
)

// verify says of the demo's documents what its exit statuses promise.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	out, errs, status := milterd(t, "demo", "--once", "--out", dir)
	if status != 0 || !strings.Contains(out, "\ndemo: sessions=5 signed=5 ") {
		t.Fatalf("demo: status %d\n%s%s", status, out, errs)
	}
	file, root := filepath.Join(dir, "signed", "self-contract-signed.pdf"), filepath.Join(dir, "signed", "root.pem")
	out, _, status = milterd(t, "verify", file, "--trust", root, "-c", "/nonexistent")
	if status != 0 || !strings.Contains(out, "TOTAL-PASSED") || !strings.Contains(out, "PAdES-BASELINE-LTA") || !strings.Contains(out, "Example Corp") {
		t.Errorf("good: status %d\n%s", status, out)
	}
	out, _, status = milterd(t, "verify", "--json", file, "--trust", root, "-c", "/nonexistent")
	var r validate.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || !r.Passed() || len(r.Signatures) != 3 {
		t.Errorf("as JSON: status %d, %v\n%s", status, err, out)
	}
	if out, _, status = milterd(t, "verify", file, "-c", "/nonexistent"); status != exitIndeterminate || !strings.Contains(out, "INDETERMINATE") {
		t.Errorf("without a root: status %d\n%s", status, out)
	}

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content []byte
		want    int
	}{
		"changed":   {bytes.Replace(good, []byte("%PDF-1."), []byte("%PDF-2."), 1), exitFailed},
		"unsigned":  {good[:bytes.Index(good, []byte("%%EOF"))+6], exitIndeterminate},
		"cut short": {good[:len(good)/2], exitIndeterminate},
	} {
		path := filepath.Join(dir, "x.pdf")
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, errs, status := milterd(t, "verify", path, "--trust", root, "-c", "/nonexistent"); status != c.want {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, c.want, out, errs)
		}
	}
}

// serve comes up, reads again at SIGHUP, and ends with status 0 at SIGTERM.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	first, err := ports.Free(2)
	if err != nil {
		t.Fatal(err)
	}
	pages, monitor := fmt.Sprintf("127.0.0.1:%d", first), fmt.Sprintf("127.0.0.1:%d", first+1)
	file, users := filepath.Join(dir, "milterd.toml"), filepath.Join(dir, "users.toml")
	text := fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n"+
		"milter = { listen = \"unix:%s/m.sock\" }\nlmtp = { listen = \"\" }\nhttp = { listen = %q }\nmonitor = { listen = %q }\ndirectory = { users = %q }\n", dir+"/data", dir, pages, monitor, users)
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
	var log bytes.Buffer
	c := exec.Command(self, "serve", "-c", file)
	c.Env = append(os.Environ(), "MILTERD_TEST_RUN=1")
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	healthy := func() bool {
		resp, err := http.Get("http://" + monitor + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}
	for begin := time.Now(); !healthy(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			c.Process.Kill()
			<-ended
			t.Fatalf("serve is not healthy:\n%s", log.String())
		}
	}
	c.Process.Signal(syscall.SIGHUP)
	time.Sleep(200 * time.Millisecond)
	if !healthy() {
		t.Error("SIGHUP ended it")
	}
	c.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil || !strings.Contains(log.String(), "directory reloaded") || !strings.Contains(log.String(), "msg=stopped") {
			t.Errorf("serve ended with %v:\n%s", err, log.String())
		}
	case <-time.After(40 * time.Second):
		c.Process.Kill()
		t.Fatalf("serve does not end:\n%s", log.String())
	}
}
