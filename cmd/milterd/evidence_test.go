package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/config"
	"milterd/evidence"
	"milterd/program"
	"milterd/workflow"
)

// An administrator writes the evidence of a session, and an auditor checks it
// with the root certificate alone; the exit status says what came of it.
func TestEvidence(t *testing.T) {
	dir := t.TempDir()
	file, users := filepath.Join(dir, "milterd.toml"), filepath.Join(dir, "users.toml")
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("users.toml", []byte("[[user]]\nmail = \"john.doe@corp.test\"\nname = \"John Doe\"\n"))
	put("milterd.toml", fmt.Appendf(nil, "domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n"+
		"directory = { users = %q }\ntimestamps = { unsynchronised = true }\n", filepath.Join(dir, "data"), users))
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	id, root := openSession(t, file)
	rootFile := put("root.crt", root.Raw)

	target := filepath.Join(dir, "session.json")
	if out, errs, status := milterd(t, "session", "evidence", id, "-o", target, "-c", file); status != 0 || out != "" {
		t.Fatalf("session evidence: status %d\n%s%s", status, out, errs)
	}
	if _, _, status := milterd(t, "session", "evidence", id, "-o", target, "-c", file); status != exitFailed {
		t.Errorf("it overwrites a file: status %d", status)
	}
	if _, errs, status := milterd(t, "session", "evidence", "nosuchsession", "-c", file); status != exitFailed || !strings.Contains(errs, "not found") {
		t.Errorf("another session: status %d, %s", status, errs)
	}
	written, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	pdf, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	original := put("contract.pdf", pdf)
	changed := put("changed.json", bytes.Replace(written, []byte("John Doe"), []byte("John Roe"), 1))
	cut := put("cut.json", written[:len(written)/2])
	empty := put("empty.json", nil)
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"the file and the root":      {[]string{"--evidence", target, "--trust", rootFile, "-c", "/nonexistent"}, 0, "Everything that the file says holds."},
		"with the configuration":     {[]string{"--evidence", target, "-c", file}, 0, "has not signed (waiting)"},
		"no root":                    {[]string{"--evidence", target, "-c", "/nonexistent"}, exitIndeterminate, "not known here"},
		"a root that is not there":   {[]string{"--evidence", target, "--trust", "../../demo/testdata/none", "-c", "/nonexistent"}, exitUsage, "milterd: "},
		"changed":                    {[]string{"--evidence", changed, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"cut short":                  {[]string{"--evidence", cut, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"empty":                      {[]string{"--evidence", empty, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"a document of something":    {[]string{"--evidence", target, original, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "is no document of this session"},
		"two documents without it":   {[]string{original, original, "-c", "/nonexistent"}, exitUsage, "verify wants one PDF"},
		"a list that is none":        {[]string{original, "--crl", original, "-c", "/nonexistent"}, exitUsage, "contract.pdf"},
		"evidence as if it were PDF": {[]string{target, "--trust", rootFile, "-c", "/nonexistent"}, exitIndeterminate, ""},
	} {
		out, errs, status := milterd(t, append([]string{"verify"}, c.args...)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, c.status, out, errs)
		}
	}
	out, _, status := milterd(t, "verify", "--json", "--evidence", target, "--trust", rootFile, "-c", "/nonexistent")
	var r evidence.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || !r.Passed() || r.Session != id {
		t.Errorf("as JSON: status %d, %v\n%s", status, err, out)
	}
}

// openSession opens one, as the door does, and gives its id and the root.
func openSession(t *testing.T, file string) (string, *x509.Certificate) {
	t.Helper()
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pdf, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	john := workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}
	s, _, err := p.Desk.Open(t.Context(), workflow.Opening{Level: workflow.Advanced, Sender: john, ProvenBy: "sasl john", Signatories: []workflow.Person{john},
		Thread: workflow.Thread{MessageID: "<1@corp.test>", Subject: "[Advanced] contract"}, Mail: []byte("mail"),
		Documents: []workflow.NewDocument{{Name: "contract.pdf", Content: pdf, Pages: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Desk.Run(t.Context(), workflow.Job{Kind: workflow.JobPrepare, Session: s.ID}); err != nil {
		t.Fatal(err)
	}
	chain := p.Authority.Seal().Chain
	return s.ID, chain[len(chain)-1]
}
