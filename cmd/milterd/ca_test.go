package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/config"
	"milterd/program"
	"milterd/workflow"
)

// house makes a configuration with its data folder.
func house(t *testing.T) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "milterd.toml")
	users := filepath.Join(dir, "users.toml")
	for path, text := range map[string]string{
		file: "domain = \"sign.corp.test\"\nurl = \"https://sign.corp.test\"\ndata = \"" + dir + "/data\"\n" +
			"[organisation]\nname = \"Corp\"\ncountry = \"LU\"\n[directory]\nusers = \"" + users + "\"\n[timestamps]\nunsynchronised = true\n",
		users: "[[user]]\nmail = \"jane.roe@corp.test\"\nname = \"Jane Roe\"\nlanguage = \"en\"\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, status := milterd(t, "init", "--key", "p-256", "-c", file); status != 0 {
		t.Fatalf("init: %s%s", out, errs)
	}
	return file
}

// certify gives a person a certificate in a house.
func certify(t *testing.T, file string) (serial string) {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := program.Build(t.Context(), cfg, program.Logger(cfg, t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Authority.Draft(workflow.Person{Mail: "jane.roe@corp.test", Name: "Jane Roe"}, csr, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.By = "enrolment"
	save := func() {
		if err := p.Store.Do(t.Context(), func(tx workflow.Tx) error { return tx.SaveCertificate(c) }); err != nil {
			t.Fatal(err)
		}
	}
	save()
	if err := p.Authority.Issue(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	save()
	return c.Serial
}

// TestCA goes through an authority's life by command line, with OpenSSL beside it.
func TestCA(t *testing.T) {
	file := house(t)
	serial := certify(t, file)
	ca := func(want int, args ...string) string {
		t.Helper()
		out, errs, status := milterd(t, append(append([]string{"ca"}, args...), "-c", file)...)
		if status != want {
			t.Fatalf("ca %v: status %d\n%s%s", args, status, out, errs)
		}
		return out + errs
	}
	keep := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	openssl := func(args ...string) (string, error) {
		out, err := exec.Command("openssl", args...).CombinedOutput()
		return string(out), err
	}
	list := ca(0, "list")
	// A number may be shorter than its column.
	if !regexp.MustCompile(serial + ` +valid `).MatchString(list) {
		t.Errorf("want %s valid in\n%s", serial, list)
	}
	for _, want := range []string{"Jane Roe", "jane.roe@corp.test  enrolment", "Corp Issuing CA", "Corp own clock", "milterd init"} {
		if !strings.Contains(list, want) {
			t.Errorf("want %q in\n%s", want, list)
		}
	}
	if l := ca(0, "list", "--person", "jane.roe@corp.test"); strings.Count(l, "\n") != 2 {
		t.Errorf("list of one person:\n%s", l)
	}
	root, issuing := keep("root", ca(0, "export", "root")), keep("issuing", ca(0, "export", "issuing"))
	leaf := keep("leaf", ca(0, "export", serial))
	verify := func() (string, error) {
		return openssl("verify", "-crl_check_all", "-CAfile", root, "-untrusted", issuing, "-CRLfile", keep("crl", ca(0, "crl")), "-CRLfile", keep("rootcrl", ca(0, "crl", "--of", "root")), leaf)
	}
	if out, err := verify(); err != nil {
		t.Error(out)
	}
	if chain := ca(0, "export", "--chain", serial); strings.Count(chain, "BEGIN CERTIFICATE") != 3 {
		t.Errorf("chain:\n%s", chain)
	}
	if der := ca(0, "export", "--der", "seal"); !strings.HasPrefix(der, "\x30\x82") {
		t.Errorf("DER: %.10q", der)
	}
	// A hold can be taken back, by whichever way the number is written.
	if out := ca(0, "revoke", "--reason", "certificateHold", "0x0"+strings.ToUpper(serial)); !strings.Contains(out, "revoked, certificateHold") {
		t.Error(out)
	}
	if out, err := verify(); err == nil || !strings.Contains(out, "certificate revoked") {
		t.Errorf("on hold: %s", out)
	}
	if l := ca(0, "list", "--revoked"); strings.Count(l, "\n") != 2 || !strings.Contains(l, "on hold") {
		t.Errorf("revoked:\n%s", l)
	}
	ca(0, "unrevoke", serial)
	if out, err := verify(); err != nil {
		t.Error(out)
	}
	if out := ca(0, "revoke", "--reason", "keyCompromise", serial); !strings.Contains(out, "the published list 2 seconds later at most") {
		t.Error(out)
	}
	for words, args := range map[string][]string{
		"is revoked already": {"revoke", "--reason", "superseded", serial},
		"is not on hold":     {"unrevoke", serial},
		"not found: see":     {"show", "1234"},
	} {
		if out := ca(exitFailed, args...); !strings.Contains(out, words) || strings.Contains(out, "5.7") {
			t.Errorf("%v: %s", args, out)
		}
	}
	ca(exitUsage, "revoke", serial)
	ca(exitUsage, "revoke", "--reason", "boredom", serial)
	show := ca(0, "show", serial)
	for _, want := range []string{"keyCompromise", "Jane Roe", "CN=Corp Issuing CA", "administrator", "unrevoked", "reason=6"} {
		if !strings.Contains(show, want) {
			t.Errorf("want %q in\n%s", want, show)
		}
	}
	// Seal and timestamps get certificates that last longer, and are used from the next start on.
	old := keep("seal", ca(0, "export", "seal"))
	for _, args := range [][]string{{"renew", "seal"}, {"renew", "tsa"}, {"renew", "--new-key", "tsa"}} {
		if out := ca(0, args...); !strings.Contains(out, "Next: systemctl restart milterd") {
			t.Errorf("%v: %s", args, out)
		}
	}
	renewed := keep("renewed", ca(0, "export", "seal"))
	if a, _ := os.ReadFile(old); string(a) == ca(0, "export", "seal") {
		t.Error("the seal is the same")
	}
	for _, cert := range []string{old, renewed} {
		if out, err := openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, cert); err != nil {
			t.Error(out)
		}
	}
	if l := ca(0, "list"); strings.Count(l, "milterd ca renew") != 3 || strings.Count(l, "milterd init") != 3 {
		t.Errorf("list:\n%s", l)
	}
	ca(exitUsage, "renew", "root")
	request := keep("csr", ca(0, "request"))
	if out, err := openssl("req", "-in", request, "-noout", "-verify", "-text"); err != nil || !strings.Contains(out, "CA:TRUE, pathlen:0") {
		t.Errorf("request: %s", out)
	}
	if out := ca(exitFailed, "install", root); !strings.Contains(out, "none of the certificates is for the key") {
		t.Errorf("install: %s", out)
	}
}
