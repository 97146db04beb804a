package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/config"
	"milterd/evidence"
	"milterd/pki"
	"milterd/program"
	"milterd/workflow"
)

// An administrator writes the evidence of a session that was signed with two
// people's own keys, and an auditor checks it with the root certificate alone; the
// exit status says what came of it.
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
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.Build(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	id, pdf := signedSession(t, p, "one")
	otherID, otherPDF := signedSession(t, p, "two")
	rootFile := put("root.crt", p.Authority.RootCertificates()[0].Raw)
	signed, otherSigned := put("signed.pdf", pdf), put("other.pdf", otherPDF)

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
	original := "../../testdata/pdf/contract.pdf"
	changed := put("changed.json", bytes.Replace(written, []byte("John Doe"), []byte("John Roe"), 1))
	cut := put("cut.json", written[:len(written)/2])
	empty := put("empty.json", nil)
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"the file and the root":      {[]string{"--evidence", target, "--trust", rootFile, "-c", "/nonexistent"}, 0, "Everything that the file says holds."},
		"with the configuration":     {[]string{"--evidence", target, "-c", file}, 0, "Everything that the file says holds."},
		"with the document":          {[]string{"--evidence", target, signed, "--trust", rootFile, "-c", "/nonexistent"}, 0, "Everything that the file says holds."},
		"another session's document": {[]string{"--evidence", target, otherSigned, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "is no document of this session"},
		"no root":                    {[]string{"--evidence", target, "-c", "/nonexistent"}, exitIndeterminate, "not known here"},
		"the root for people alone":  {[]string{"--evidence", target, "--trust-signers", rootFile, "-c", "/nonexistent"}, exitIndeterminate, "unknown  seal over the file"},
		"for people, none there":     {[]string{"--evidence", target, "--trust-signers", "../../demo/testdata/none", "-c", "/nonexistent"}, exitUsage, "milterd: "},
		"a document, for people":     {[]string{signed, "--trust-signers", rootFile, "-c", "/nonexistent"}, 0, "are valid"},
		"a root that is not there":   {[]string{"--evidence", target, "--trust", "../../demo/testdata/none", "-c", "/nonexistent"}, exitUsage, "milterd: "},
		"changed":                    {[]string{"--evidence", changed, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"cut short":                  {[]string{"--evidence", cut, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"empty":                      {[]string{"--evidence", empty, "--trust", rootFile, "-c", "/nonexistent"}, exitFailed, "damaged or was changed"},
		"two documents without it":   {[]string{original, original, "-c", "/nonexistent"}, exitUsage, "verify wants one file"},
		"a list that is none":        {[]string{original, "--crl", original, "-c", "/nonexistent"}, exitUsage, "contract.pdf"},
		"evidence as if it were PDF": {[]string{target, "--trust", rootFile, "-c", "/nonexistent"}, exitIndeterminate, ""},
	} {
		out, errs, status := milterd(t, append([]string{"verify"}, c.args...)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, c.status, out, errs)
		}
	}
	// The organisation itself seals what it altered: the passkeys, keys and hashes
	// inside tell all the same.
	evidenceOf := func(id string) *workflow.Evidence {
		e, err := p.Desk.Evidence(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	john := func(e *workflow.Evidence) *workflow.Act { return e.Session.People[0].Act }
	for name, change := range map[string]func(e *workflow.Evidence){
		"nothing":          func(*workflow.Evidence) {},
		"altered nonce":    func(e *workflow.Evidence) { john(e).Proof.Assertion.Nonce[0] ^= 1 },
		"another document": func(e *workflow.Evidence) { john(e).Own[0].Attributes = john(evidenceOf(otherID)).Own[0].Attributes },
		"another digest":   func(e *workflow.Evidence) { john(e).Proof.Assertion.Digests[0][0] ^= 1 },
		"altered assertion": func(e *workflow.Evidence) {
			b := john(e).Proof.Assertion.Signature
			b[len(b)-1] ^= 1
		},
		"replayed assertion": func(e *workflow.Evidence) { john(e).Proof.Assertion = john(evidenceOf(otherID)).Proof.Assertion },
		"another person's passkey": func(e *workflow.Evidence) {
			john(e).Proof.Assertion.PublicKey = e.Session.People[1].Act.Proof.Assertion.PublicKey
		},
		"another person's key": func(e *workflow.Evidence) { john(e).Own[0].Certificate = e.Session.People[1].Act.Own[0].Certificate },
		"removed event":        func(e *workflow.Evidence) { e.Events = slices.Delete(e.Events, 4, 5) },
		"removed last event":   func(e *workflow.Evidence) { e.Events = e.Events[:len(e.Events)-1] },
	} {
		e := evidenceOf(id)
		change(e)
		b, err := evidence.Write(t.Context(), e, p.Authority.Seal(), p.Authority.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}))
		if err != nil {
			t.Fatal(err)
		}
		want, says := exitFailed, "does NOT prove what it says"
		if name == "nothing" {
			want, says = 0, "Everything that the file says holds."
		}
		out, errs, status := milterd(t, "verify", "--evidence", put("altered.json", b), signed, "--trust", rootFile, "-c", "/nonexistent")
		if status != want || !strings.Contains(out+errs, says) || strings.Contains(out, "damaged") {
			t.Errorf("%s: status %d, want %d\n%s%s", name, status, want, out, errs)
		}
	}
	out, _, status := milterd(t, "verify", "--json", "--evidence", target, "--trust", rootFile, "-c", "/nonexistent")
	var r evidence.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || !r.Passed() || r.Session != id {
		t.Errorf("as JSON: status %d, %v\n%s", status, err, out)
	}
}

// signatory is somebody with a device: a software authenticator and a key.
type signatory struct {
	workflow.Person
	passkey *authtest.Authenticator
	key     *ecdsa.PrivateKey
}

// signedSession takes a session of level Advanced through everything that the
// page does: John and Zoë enrol a device each and sign, then the seal.
func signedSession(t *testing.T, p *program.Program, name string) (id string, sealed []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, client := t.Context(), "192.0.2.1"
	pdf, err := os.ReadFile("../../testdata/pdf/contract.pdf")
	must(err)
	people := []workflow.Person{{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}, {Mail: "zoe@corp.test", Name: "Zoë Müller", Language: "fr"}}
	s, _, err := p.Desk.Open(ctx, workflow.Opening{Level: workflow.Advanced, Sender: people[0], ProvenBy: "sasl john", Signatories: people,
		Thread: workflow.Thread{MessageID: "<" + name + "@corp.test>", Subject: "[Advanced] " + name}, Mail: []byte("mail"),
		Documents: []workflow.NewDocument{{Name: "contract.pdf", Content: pdf, Pages: 2}}})
	must(err)
	must(p.Desk.Run(ctx, workflow.Job{Kind: workflow.JobPrepare, Session: s.ID}))
	for i, who := range people {
		v, err := p.Desk.Visit(ctx, p.Desk.Secrets.Token(s.ID, i))
		must(err)
		d := signatory{Person: who, passkey: authtest.New(p.Config.URL)}
		d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, d.key)
		must(err)
		key, err := auth.KeyOf(csr)
		must(err)
		enrolment, err := p.Enrolments.Begin(ctx, v, client, "Firefox on Linux")
		must(err)
		must(p.Enrolments.Approve(ctx, enrolment.ID, byAdministrator))
		options, ceremony, err := p.Enrolments.Options(ctx, v, enrolment.Handle, key)
		must(err)
		answer, err := d.passkey.Create(options)
		must(err)
		credential, _, _, err := p.Enrolments.Finish(ctx, v, enrolment.Handle, ceremony, answer, "Phone of "+d.Name, key, client, "Firefox on Linux")
		must(err)
		_, serial, err := p.Desk.Certify(ctx, v, csr, credential.ID, "enrolment", client)
		must(err)

		_, r, err := p.Desk.View(ctx, v, 0, client)
		must(err)
		prepared, err := p.Desk.Prepare(ctx, v, []workflow.Shown{{Revision: r.Number, SHA256: r.SHA256}}, workflow.Appearance{Typed: d.Name}, serial, client)
		must(err)
		digest := workflow.Digest(sha256.Sum256(prepared.Documents[0].Attributes))
		options, ceremony, err = p.Enrolments.Passkeys.Begin(ctx, v, auth.LabelSign, []workflow.Digest{digest})
		must(err)
		answer, err = d.passkey.Get(options)
		must(err)
		consume, err := p.Enrolments.ForSigning(ctx, v, ceremony, answer, client)
		must(err)
		x, y, err := ecdsa.Sign(rand.Reader, d.key, digest[:])
		must(err)
		value := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
		must(p.Desk.Finish(ctx, v, prepared.ID, [][]byte{value}, client, consume))
		must(p.Desk.Run(ctx, workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: i, Preparation: prepared.ID}))
	}
	must(p.Desk.Run(ctx, workflow.Job{Kind: workflow.JobSeal, Session: s.ID}))
	s, err = p.Store.Session(ctx, s.ID)
	must(err)
	sealed, err = p.Store.Content(ctx, s.ID, 0, s.Documents[0].Head().Number)
	must(err)
	return s.ID, sealed
}
