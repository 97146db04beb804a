package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/auth/authtest"
	"milterd/config"
	"milterd/program"
	"milterd/workflow"
)

// An administrator sees a device that waits, approves it, sees it enrolled, and
// removes it; each by a process of its own, beside one that serves.
func TestDevice(t *testing.T) {
	dir := t.TempDir()
	file, users := filepath.Join(dir, "milterd.toml"), filepath.Join(dir, "users.toml")
	for path, text := range map[string]string{
		users: "[[user]]\nmail = \"john.doe@corp.test\"\nname = \"John Doe\"\n",
		file: fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\ndirectory = { users = %q }\n",
			filepath.Join(dir, "data"), users),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	now := time.Now()
	s := &workflow.Session{ID: "aaaaaaaaaaaaaaaa", State: workflow.Open, Level: workflow.Advanced, Created: now, Deadline: now.Add(time.Hour),
		People: []workflow.Participant{{Person: workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe"}, Signatory: true, State: workflow.Waiting}}}
	if err := p.Store.Do(t.Context(), func(tx workflow.Tx) error { return tx.Create(s, []byte("mail"), nil) }); err != nil {
		t.Fatal(err)
	}
	john := workflow.Visit{Session: s}
	run := func(status int, args ...string) string {
		t.Helper()
		out, errs, got := milterd(t, append([]string{"-c", file}, args...)...)
		if got != status {
			t.Errorf("milterd %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out, errs)
		}
		return out + errs
	}
	has := func(what, out, pattern string) {
		t.Helper()
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("%s does not match %s:\n%s", what, pattern, out)
		}
	}

	if out := run(0, "device", "list"); !strings.HasPrefix(out, "DEVICE ") || strings.Count(out, "\n") != 1 {
		t.Errorf("an empty list: %s", out)
	}
	e, err := p.Enrolments.Begin(t.Context(), john, "192.0.2.7", "Firefox on Android")
	if err != nil {
		t.Fatal(err)
	}
	has("list", run(0, "device", "list", "--person", "john.doe@corp.test"),
		`\nWAITS FOR APPROVAL .*\n`+e.ID+` +`+e.Number+` +john\.doe@corp\.test +Firefox on Android +192\.0\.2\.7 `)
	if out := run(0, "device", "list", "--person", "jane@corp.test"); strings.Contains(out, e.ID) {
		t.Errorf("John's, in Jane's list: %s", out)
	}
	has("approve nothing", run(exitFailed, "device", "approve", "none"), `^milterd: nothing waits for approval under none`)
	has("approve", run(0, "device", "approve", e.ID), `^Firefox on Android of john\.doe@corp\.test, number `+e.Number+`: approved\n`)
	has("approve again", run(exitFailed, "device", "approve", e.ID), `nothing waits`)

	options, ceremony, err := p.Enrolments.Options(t.Context(), john, e.Handle, workflow.Digest{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := authtest.New("https://sign.corp.test").Create(options)
	if err != nil {
		t.Fatal(err)
	}
	d, _, _, err := p.Enrolments.Finish(t.Context(), john, e.Handle, ceremony, answer, "phone", workflow.Digest{}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	has("list", run(0, "device", "list"), d.ID+` +passkey +john\.doe@corp\.test +phone +.* administrator +never +\n`)
	has("revoke", run(0, "device", "revoke", "--", d.ID), `removed, its certificates are revoked`)
	has("list", run(0, "device", "list"), d.ID+`.* by administrator\n`)
	has("revoke nothing", run(exitFailed, "device", "revoke", "none"), `^milterd: device none: not found\n`)
}
