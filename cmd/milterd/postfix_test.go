package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// paperPostfix is a configuration of Postfix that nobody runs, and a
// configuration of milterd.
func paperPostfix(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"main.cf":   fmt.Sprintf("compatibility_level = 3.6\nqueue_directory = %s/spool\ndata_directory = %[1]s/data\nsmtpd_milters = inet:127.0.0.1:8891\n", dir),
		"master.cf": "127.0.0.1:9 inet n - y - - smtpd\nlmtp unix - - y - - lmtp\n",
		"milterd.toml": fmt.Sprintf("domain = \"sign.corp.com\"\nurl = \"http://localhost:9\"\ndata = \"%s/milterd\"\n[organisation]\nname = \"Corp\"\ncountry = \"DE\"\n"+
			"[directory]\nusers = \"%[1]s/users.toml\"\n[milter]\nlisten = \"unix:%[1]s/spool/milterd/milter.sock\"\n[lmtp]\nlisten = \"unix:%[1]s/spool/milterd/lmtp.sock\"\nreceived_by = \"mx.corp.com\"\n[monitor]\nlisten = \"127.0.0.1:9\"\n[smtp]\nrelay = \"127.0.0.1:9\"\n", dir),
		"users.toml": "[[user]]\nmail = \"jane.roe@corp.com\"\nname = \"Jane Roe\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"spool", "data"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "postfix", dir+"/data").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (apt-get install -y postfix)", err, out)
	}
	return dir, filepath.Join(dir, "milterd.toml")
}

// atTerminal runs the program at a terminal and types an answer.
func atTerminal(t *testing.T, answer string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("script", "-qec", self+" "+strings.Join(args, " "), "/dev/null")
	c.Env = append(os.Environ(), "MILTERD_TEST_RUN=1")
	c.Stdin = strings.NewReader(answer + "\n")
	out, _ := c.CombinedOutput() // its status is asserted by what has changed
	return string(out)
}

func TestPostfixApply(t *testing.T) {
	dir, file := paperPostfix(t)
	main := func() string {
		b, err := os.ReadFile(dir + "/main.cf")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := main()
	args := []string{"postfix", "apply", "-c", file, "--config-dir", dir}
	out, errs, status := milterd(t, args...)
	if status != exitFailed || !strings.Contains(out, "+ inet:127.0.0.1:8891, { unix:milterd/milter.sock, default_action=accept") ||
		errs != "milterd: nothing was changed: there is no terminal to ask at; --yes does without\n" || main() != before {
		t.Errorf("without a terminal: status %d\n%s%s", status, out, errs)
	}
	for _, answer := range []string{"n", "", "yes, but"} {
		if out := atTerminal(t, answer, args...); !strings.Contains(out, "Change these ") || !strings.Contains(out, "milterd: nothing was changed") || main() != before {
			t.Errorf("answer %q:\n%s", answer, out)
		}
	}
	if out := atTerminal(t, "y", args...); !strings.Contains(out, "changed; as it was before: "+dir+"/main.cf.milterd-") || !strings.Contains(out, "Next: postfix -c "+dir+" reload") || main() == before {
		t.Errorf("answer y:\n%s", out)
	}
	if out, errs, status := milterd(t, append(args, "--yes")...); status != 0 || out != "main.cf has everything that milterd needs: nothing to do\n" {
		t.Errorf("again: status %d\n%s%s", status, out, errs)
	}
	if out, errs, status := milterd(t, append(args, "--undo", "--yes")...); status != 0 || !strings.Contains(out, "put back; what main.cf was until now: "+dir+"/main.cf.undone-") || main() != before {
		t.Errorf("undo: status %d\n%s%s", status, out, errs)
	}
	if _, errs, status := milterd(t, append(args, "--undo", "--yes")...); status != exitFailed || !strings.Contains(errs, "nothing has been changed by milterd postfix apply") {
		t.Errorf("undo twice: status %d, %s", status, errs)
	}
	if _, errs, status := milterd(t, append(args, "--yes", "--reload")...); status != exitFailed || !strings.Contains(errs, "postfix") || main() == before {
		t.Errorf("reload of what does not run: status %d, %s", status, errs)
	}
}

func TestPostfixCheck(t *testing.T) {
	dir, file := paperPostfix(t)
	out, errs, status := milterd(t, "postfix", "check", "-c", file, "--config-dir", dir, "--dns", "127.0.0.1:9")
	if first, _, _ := strings.Cut(out, "\n"); status != 2 || errs != "" || !strings.HasPrefix(first, "milterd: fail (milterd, postfix, ") {
		t.Errorf("a site without anything: status %d\n%s%s", status, out, errs)
	}
	for _, want := range []string{"FAIL  milterd ", "fix: systemctl start milterd", "main.cf does not hold what milterd needs: smtpd_milters, ", "fix: milterd postfix apply\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q:\n%s", want, out)
		}
	}
	out, _, status = milterd(t, "postfix", "check", "-c", file, "--config-dir", dir, "--dns", "127.0.0.1:9", "--json")
	var report struct {
		Status   string
		Findings []struct{ Check, Status, Text, Fix string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 2 || report.Status != "fail" || len(report.Findings) < 15 {
		t.Errorf("--json: status %d, %v\n%s", status, err, out)
	}
	out, errs, status = milterd(t, "postfix", "check", "-c", filepath.Join(dir, "none.toml"))
	if status != exitUsage || out != "" || !strings.Contains(errs, "none.toml") {
		t.Errorf("no configuration: status %d\n%s%s", status, out, errs)
	}
}

func TestPostfixPrint(t *testing.T) {
	dir, file := paperPostfix(t)
	out, errs, status := milterd(t, "postfix", "print", "-c", file, "--config-dir", dir, "--postmaster", "it@corp.com")
	if status != 0 || !strings.Contains(out, "smtpd_milters = { unix:milterd/milter.sock, ") || !strings.Contains(out, "{postmaster@sign.corp.com = it@corp.com}") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	for _, c := range []string{"apply", "check"} {
		if out, errs, status := milterd(t, "postfix", c, "--help"); status != 0 || !strings.HasPrefix(out, "Usage: milterd postfix "+c) || errs != "" {
			t.Errorf("%s --help: status %d\n%s%s", c, status, out, errs)
		}
	}
}
