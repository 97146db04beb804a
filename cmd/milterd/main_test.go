package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"milterd/convert"
	"milterd/signature/pdf"
)

// The test binary serves as the program, and as the child that inspects
// documents.
func TestMain(m *testing.M) {
	if pdf.ChildMain() || convert.ChildMain() {
		return
	}
	if os.Getenv("MILTERD_TEST_RUN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// milterd runs the program and gives what it printed and its exit status.
func milterd(t *testing.T, args ...string) (out, errs string, status int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Env = append(os.Environ(), "MILTERD_TEST_RUN=1")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	var failed *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

func TestHelp(t *testing.T) {
	for _, c := range []string{"", "serve", "init", "demo", "verify", "session", "session list", "session show", "session cancel",
		"session resend", "session evidence", "device", "device list", "device approve", "device revoke", "ca", "ca list", "ca show", "ca revoke", "ca unrevoke", "ca export", "ca crl", "ca renew", "ca request", "ca install",
		"archive", "archive renew", "check-config", "postfix", "postfix print", "version"} {
		out, errs, status := milterd(t, append(strings.Fields(c), "--help")...)
		if status != 0 || !strings.HasPrefix(out, "Usage: milterd "+c) || errs != "" {
			t.Errorf("%s --help: status %d\n%s%s", c, status, out, errs)
		}
	}
	for _, c := range []string{"version", "--version"} {
		if out, _, status := milterd(t, c); status != 0 || !strings.HasPrefix(out, "milterd ") || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: status %d, %s", c, status, out)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []string{"", "sign", "serve --fast", "verify", "verify /nonexistent.pdf", "session list --state lost", "session cancel x", "init --key dsa"} {
		if out, errs, status := milterd(t, strings.Fields(c)...); status != exitUsage || out != "" || !strings.HasPrefix(errs, "milterd: ") {
			t.Errorf("milterd %s: status %d, prints %q, %q", c, status, out, errs)
		}
	}
}

// What is wrong is said with what would be right, and with no empty word.
func TestWrongState(t *testing.T) {
	_, errs, _ := milterd(t, "session", "list", "--state", "lost")
	if !strings.Contains(errs, `"open"`) || strings.Contains(errs, `""`) {
		t.Error(errs)
	}
}

func TestCount(t *testing.T) {
	if got := count(1, "mail or job", "mails and jobs") + ", " + count(0, "mail or job", "mails and jobs"); got != "1 mail or job, 0 mails and jobs" {
		t.Error(got)
	}
}

// A newcomer's first commands, in their order.
func TestFirstSteps(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etc", "milterd.toml")
	out, errs, status := milterd(t, "init", "-c", file)
	if status != 0 || !strings.Contains(out, "made "+file) || !strings.Contains(out, "set its four fields") {
		t.Fatalf("first init: status %d\n%s%s", status, out, errs)
	}
	sample, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data, users := filepath.Join(dir, "data"), filepath.Join(dir, "users.toml")
	text := strings.ReplaceAll(string(sample), `#data = "/var/lib/milterd"`, `data = "`+data+`"`)
	text = strings.ReplaceAll(text, `#users = "/etc/milterd/users.toml"`, `users = "`+users+`"`)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := milterd(t, "init", "-c", file); status != exitFailed || !strings.Contains(errs, "those of the sample") {
		t.Errorf("init with the sample as it is: status %d, %s", status, errs)
	}
	text = strings.ReplaceAll(text, `name = "Corp GmbH"`, `name = "Example Corp"`)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := milterd(t, "check-config", "-c", file); status != exitFailed || !strings.Contains(errs, "milterd init makes it") {
		t.Errorf("check-config before init: status %d, %s", status, errs)
	}
	out, errs, status = milterd(t, "init", "--key", "p-256", "-c", file)
	if status != 0 || !strings.Contains(out, "made "+data) || !strings.Contains(out, "Next:") {
		t.Fatalf("second init: status %d\n%s%s", status, out, errs)
	}
	out, _, status = milterd(t, "init", "-c", file)
	if status != 0 || !strings.HasPrefix(out, "everything is there already, nothing was changed") {
		t.Errorf("third init: status %d\n%s", status, out)
	}
	if _, errs, status := milterd(t, "check-config", "-c", file); status != exitFailed || !strings.Contains(errs, "users.toml") {
		t.Errorf("check-config without users: status %d, %s", status, errs)
	}
	if err := os.WriteFile(users, []byte("[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\nlanguage = \"en\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := milterd(t, "check-config", "-c", file); status != 0 || out != file+": good\n" {
		t.Errorf("check-config: status %d, %s%s", status, out, errs)
	}
	byAddress := filepath.Join(t.TempDir(), "milterd.toml")
	if err := os.WriteFile(byAddress, []byte(strings.ReplaceAll(text, "https://sign.corp.com", "https://192.0.2.7")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, status := milterd(t, "check-config", "-c", byAddress); status != 0 || out != byAddress+": good\n" ||
		!strings.Contains(errs, `milterd: warning: proofs.advanced accepts passkeys, but url is "https://192.0.2.7"`) {
		t.Errorf("check-config of an address: status %d, %s%s", status, out, errs)
	}
	if out, errs, status := milterd(t, "session", "list", "-c", file); status != 0 || !strings.HasPrefix(out, "SESSION ") || strings.Count(out, "\n") != 1 {
		t.Errorf("session list: status %d, %s%s", status, out, errs)
	}
	if _, errs, status := milterd(t, "session", "show", "none", "-c", file); status != exitFailed || errs != "milterd: session none: not found\n" {
		t.Errorf("session show: status %d, %s", status, errs)
	}
	if out, errs, status := milterd(t, "postfix", "print", "-c", file); status != 0 || !strings.Contains(out, "smtpd_milters") {
		t.Errorf("postfix print: status %d, %s%s", status, out, errs)
	}
	if _, errs, status := milterd(t, "check-config", "-c", "testdata/broken.toml"); status != exitFailed || !strings.Contains(errs, "testdata/broken.toml:1: domian: there is no such field, did you mean domain?") {
		t.Errorf("check-config of a broken file: status %d, %s", status, errs)
	}
}

func TestVerifyWhatIsNoSignature(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pdf")
	if err := os.WriteFile(file, []byte("no PDF at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := milterd(t, "verify", file, "-c", "/nonexistent"); status != exitIndeterminate || !strings.HasPrefix(errs, "milterd: "+file) {
		t.Errorf("no PDF: status %d, %s", status, errs)
	}
	if _, errs, status := milterd(t, "verify", file, "--trust", file, "-c", "/nonexistent"); status != exitUsage || errs == "" {
		t.Errorf("no certificate: status %d, %s", status, errs)
	}
}
