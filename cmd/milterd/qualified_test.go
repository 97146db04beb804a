package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
)

// An administrator asks how the trusted lists stand, and whether somebody's
// certificate would be taken.
func TestQualified(t *testing.T) {
	var p *qualifiedtest.Provider
	srv := httptest.NewServer(nil)
	defer srv.Close()
	p, err := qualifiedtest.New(time.Now, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p
	union, err := p.Lists()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lists, file := filepath.Join(dir, "data", "trustlists"), filepath.Join(dir, "milterd.toml")
	if err := os.MkdirAll(lists, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	asPEM := func(der ...[]byte) (out []byte) {
		for _, b := range der {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b})...)
		}
		return out
	}
	plain := fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n[directory]\nusers = %q\n",
		filepath.Join(dir, "data"), write("users.toml", []byte("[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n")))
	write("milterd.toml", []byte(plain))
	run := func(status int, pattern string, args ...string) {
		t.Helper()
		out, errs, got := milterd(t, append([]string{"-c", file, "qualified"}, args...)...)
		if got != status || !regexp.MustCompile(pattern).MatchString(out+errs) {
			t.Errorf("qualified %s: status %d, want %d and %s\n%s%s", strings.Join(args, " "), got, status, pattern, out, errs)
		}
	}
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	issue := func(name string, with func(*qualifiedtest.Request)) string {
		t.Helper()
		r := qualifiedtest.Request{GivenName: "Jane", Surname: "Roe"}
		if with != nil {
			with(&r)
		}
		id, err := p.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "revoked") {
			p.Revoke(id.Cert, time.Now().Add(-time.Minute))
		}
		if strings.HasSuffix(name, ".der") {
			return write(name, id.Cert.Raw)
		}
		return write(name, asPEM(id.Cert.Raw, p.CA.Raw))
	}
	jane := issue("jane.pem", nil)
	run(exitFailed, `^milterd: no trusted lists are configured: see qualified\.lotl_signers\n$`, "lists")
	run(exitFailed, `^milterd: level Qualified is not set up: see \[qualified\] in the configuration\n$`, "check", jane, "jane.roe@corp.test")

	write("milterd.toml", []byte(plain+fmt.Sprintf("[qualified]\ncard = true\nlists = \"trustlists\"\nlotl_signers = %q\n", write("lotl.pem", asPEM(union.Trusted()[0].Raw)))))
	run(exitFailed, `(?m)^EU +- .*no: list-missing: `, "lists")
	if err := union.Write(lists); err != nil {
		t.Fatal(err)
	}
	run(0, `(?m)^LIST .*\nEU +1 .* 0 +yes\nEE +1 .* 1 +yes\n$`, "lists")
	run(exitFailed, `qualified\.lotl is empty: the lists are put into their folder by hand`, "lists", "--refresh")

	run(0, `^taken for Jane Roe <jane\.roe@corp\.test>\n  .*\n  issued by .*Test QTSP Signing CA.*\n  vouched for by trusted list of EE, number 1: (.*\n)+  passed +QcSSCD \(EN 319 412-5, 4\.2\.2`, "check", jane, "jane.roe@corp.test")
	run(0, `^taken for Jane Roe`, "check", issue("card.der", nil), "jane.roe@corp.test")
	for name, c := range map[string]struct {
		with func(*qualifiedtest.Request)
		want string
	}{
		"other.pem":   {func(r *qualifiedtest.Request) { r.GivenName = "John" }, "wrong-person"},
		"plain.pem":   {func(r *qualifiedtest.Request) { r.NoQSCD = true }, "no-qscd"},
		"login.pem":   {func(r *qualifiedtest.Request) { r.Authentication = true }, "authentication-certificate"},
		"revoked.pem": {nil, "certificate-revoked"},
	} {
		run(exitFailed, `^not taken: `+c.want+`: .+\n`, "check", issue(name, c.with), "jane.roe@corp.test")
	}
	run(exitFailed, `^milterd: nobody@corp\.test: `, "check", jane, "nobody@corp.test")
	run(exitFailed, `^milterd: phones are not set up at level Advanced: see openotp\.advanced in the configuration\n$`, "check", "--advanced", jane, "jane.roe@corp.test")
	run(exitFailed, `^milterd: `, "check", write("garbage.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")), "jane.roe@corp.test")
	run(exitFailed, `^milterd: `, "check", write("empty.pem", []byte("-----BEGIN")), "jane.roe@corp.test")

	// What the name does not fit is registered, then taken, then removed, then not taken.
	spelt := issue("spelt.pem", func(r *qualifiedtest.Request) { r.Surname, r.Serial = "Rö", "PNOLU-1" })
	run(exitFailed, `^not taken: wrong-person: `, "check", spelt, "jane.roe@corp.test")
	run(0, `^ID .*REMOVED\n$`, "registered")
	run(exitFailed, `^milterd: nobody@corp\.test: `, "register", "nobody@corp.test", spelt)
	run(exitFailed, `^milterd: .*not in a qualified signature device|^milterd: The key`, "register", "jane.roe@corp.test", issue("plain2.pem", func(r *qualifiedtest.Request) { r.NoQSCD = true }))
	run(0, `^[a-z2-7]{16}: registered for Jane Roe <jane\.roe@corp\.test>\n  .*SERIALNUMBER=PNOLU-1`, "register", "jane.roe@corp.test", spelt)
	run(exitFailed, `registered for you already`, "register", "jane.roe@corp.test", spelt)
	run(0, `^taken for Jane Roe`, "check", spelt, "jane.roe@corp.test")
	list, _, _ := milterd(t, "-c", file, "qualified", "registered", "--person", "jane.roe@corp.test")
	row := regexp.MustCompile(`(?m)^([a-z2-7]{16}) +jane\.roe@corp\.test +Jane Rö, Test QTSP Signing CA \(stand-in\) +"PNOLU-1" .* administrator +\n`).FindStringSubmatch(list)
	if row == nil {
		t.Fatalf("registered: %s", list)
	}
	run(0, `^ID .*REMOVED\n$`, "registered", "--person", "john@corp.test")
	if out, _, _ := milterd(t, "-c", file, "device", "list"); !strings.Contains(out, row[1]+"  certificate") {
		t.Errorf("device list: %s", out)
	}
	run(0, `^certificate `+row[1]+`: removed\n$`, "unregister", row[1])
	run(0, row[1]+`.* by administrator\n$`, "registered")
	run(exitFailed, `^not taken: certificate-removed: `, "check", spelt, "jane.roe@corp.test")
	run(exitFailed, `^milterd: certificate none: not found\n$`, "unregister", "none")

	union.Lists[0].Life = 30 * time.Minute // issued an hour ago
	if err := union.Sign(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := union.Write(lists); err != nil {
		t.Fatal(err)
	}
	run(exitFailed, `(?m)^EE +.* no: list-expired: `, "lists")
	run(exitFailed, `^not taken: list-expired: `, "check", jane, "jane.roe@corp.test")
	srv.Close()
	run(exitFailed, `^not taken: list-expired: `, "check", jane, "jane.roe@corp.test")
	for _, c := range []string{"qualified", "qualified lists", "qualified check", "qualified register", "qualified registered", "qualified unregister"} {
		if out, _, status := milterd(t, append(strings.Fields(c), "--help")...); status != 0 || !strings.HasPrefix(out, "Usage: milterd "+c) {
			t.Errorf("%s --help: status %d\n%s", c, status, out)
		}
	}
}

// An administrator asks whether a certificate of a phone would be taken at level Advanced, and
// check-config reads its authorities.
func TestQualifiedCheckAdvanced(t *testing.T) {
	srv := httptest.NewServer(nil)
	defer srv.Close()
	ca, err := qualifiedtest.Named("Corp Phones", time.Now, srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = ca
	dir := t.TempDir()
	write := func(name string, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	asPEM := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	folder := filepath.Dir(write("phones/ca.pem", asPEM(ca.CA.Raw)))
	configured := func(scope string) string {
		return write("milterd.toml", fmt.Sprintf("domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = %q\norganisation = { name = \"Example Corp\", country = \"LU\" }\n[directory]\nusers = %q\n"+
			"[openotp]\nname = \"Corp Phones\"\nurl = \"https://127.0.0.1:1/\"\nclient = \"milterd\"\nadvanced = %q\nadvanced_anchors = %q\n",
			filepath.Join(dir, "data"), write("users.toml", "[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\n[[user]]\nmail = \"john@corp.test\"\nname = \"John Doe\"\n"), scope, folder))
	}
	file := configured("local")
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	run := func(status int, pattern string, args ...string) {
		t.Helper()
		out, errs, got := milterd(t, append([]string{"-c", file}, args...)...)
		if got != status || !regexp.MustCompile(pattern).MatchString(out+errs) {
			t.Errorf("%s: status %d, want %d and %s\n%s%s", strings.Join(args, " "), got, status, pattern, out, errs)
		}
	}
	id, err := ca.Issue(qualifiedtest.Request{GivenName: "J.", Surname: "R.", NoStatements: true, Change: func(c *x509.Certificate) {
		c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{"jane.roe@corp.test"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := write("jane.pem", asPEM(id.Cert.Raw))
	run(0, `^taken for Jane Roe <jane\.roe@corp\.test>\n  .*\n  issued by .*Corp Phones Signing CA.*\n  vouched for by the organisation's authorities for Advanced signatures, SignScope Local, `+regexp.QuoteMeta(folder)+`: (.*\n)+  passed +person \(.*RFC 5280, 4\.2\.1\.6\): Its mail address is the signatory's\.\n$`,
		"qualified", "check", "--advanced", leaf, "jane.roe@corp.test")
	run(exitFailed, `^not taken: wrong-person: `, "qualified", "check", "--advanced", leaf, "john@corp.test")
	run(exitFailed, `^milterd: level Qualified is not set up`, "qualified", "check", leaf, "jane.roe@corp.test")
	run(0, `: good\n$`, "check-config")
	configured("global")
	run(0, `milterd: warning: openotp\.advanced is global, and organisation\.vat is empty`, "check-config")
	configured("local")
	write("phones/ca.pem", "nothing")
	run(exitFailed, `openotp\.advanced_anchors: reading anchors: ca\.pem: no certificate in PEM`, "check-config")
}
