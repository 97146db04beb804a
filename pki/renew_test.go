package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// again opens a folder as the next start would.
func again(t *testing.T, dir string, c Config) *Authority {
	t.Helper()
	c.Dir = dir
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRenew: seal and timestamps get certificates that last longer, on record
// before they are signed, and what runs goes on with what it has.
func TestRenew(t *testing.T) {
	o, dir, reg := options(), filepath.Join(t.TempDir(), "keys"), &memory{}
	o.Now = in(-2)()
	if err := Init(dir, o); err != nil {
		t.Fatal(err)
	}
	a := again(t, dir, Config{Register: reg, Now: in(-2)})
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	entered := len(reg.log)
	later := again(t, dir, Config{Register: reg})
	for name, old := range map[string]*x509.Certificate{sealName: a.seal.Leaf(), tsaName: a.tsa.Leaf()} {
		reg.log = reg.log[:entered]
		c, err := later.Renew(t.Context(), name, false)
		if err != nil {
			t.Fatal(err)
		}
		if c.NotAfter.Before(old.NotAfter.AddDate(1, 11, 0)) || string(c.RawSubject) != string(old.RawSubject) || string(c.RawSubjectPublicKeyInfo) != string(old.RawSubjectPublicKeyInfo) ||
			c.SerialNumber.BitLen() < 64 || len(c.OCSPServer) != 1 || len(c.CRLDistributionPoints) != 1 {
			t.Errorf("%s: %s until %s, %v", name, c.Subject, c.NotAfter, c.OCSPServer)
		}
		if got := reg.log[entered:]; len(got) != 2 || got[0].Kind != workflow.EventIssuing || got[1].Kind != workflow.EventIssued ||
			got[1].Detail["serial"] != serialText(c.SerialNumber) || got[1].Detail["sha-256"] == "" || got[0].Actor != "administrator" {
			t.Errorf("%s: log %v", name, got)
		}
		for _, c := range []*x509.Certificate{old, c} {
			if e, err := reg.Certificate(t.Context(), serialText(c.SerialNumber)); err != nil || string(e.DER) != string(c.Raw) || !e.Revoked.IsZero() {
				t.Errorf("%s: register: %v %v", name, e, err)
			}
		}
	}
	if later.seal.Leaf().NotAfter != a.seal.Leaf().NotAfter {
		t.Error("what runs has changed")
	}
	next := again(t, dir, Config{Register: reg, Now: in(2)}) // the old seal would have expired
	if err := next.Unlocked(); err != nil {
		t.Fatal(err)
	}
	if got := next.tsa.Leaf().NotAfter; got.Before(time.Now().AddDate(5, 11, 0)) {
		t.Errorf("timestamps until %s", got)
	}
	text := run(t, "openssl", "x509", "-in", dir+"/tsa.crt", "-noout", "-text")
	if !strings.Contains(text, "X509v3 Extended Key Usage: critical\n                Time Stamping\n") || !strings.Contains(text, "OCSP - URI:https://sign.corp.test/pki/ocsp") {
		t.Error(text)
	}
	run(t, "openssl", "verify", "-x509_strict", "-attime", strconv.FormatInt(in(2)().Unix(), 10), "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", dir+"/seal.crt")
	digest := sha256.Sum256([]byte("x"))
	if _, err := again(t, dir, Config{Register: reg}).OwnClock(ClockPolicy{AllowUnsynchronised: true}).Timestamp(t.Context(), digest[:]); err != nil {
		t.Error(err)
	}
	// They are ours to answer for, and to revoke.
	if by := next.issuer(next.seal.Leaf()); by != &next.issuing {
		t.Error("whose is it?")
	}
}

// TestRenewAfterTheEnd: a certificate that has expired can still be renewed.
func TestRenewAfterTheEnd(t *testing.T) {
	_, dir := authority(t)
	reg := &memory{}
	late := again(t, dir, Config{Register: reg, Now: in(7)})
	for _, name := range []string{sealName, tsaName} {
		if err := late.Unlocked(); err == nil || !strings.Contains(err.Error(), "milterd ca renew "+name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := late.Renew(t.Context(), name, false); err != nil {
			t.Fatal(err)
		}
		late = again(t, dir, Config{Register: reg, Now: in(7)})
	}
	if err := late.Unlocked(); err != nil {
		t.Error(err)
	}
	// The issuing CA's end is everybody's.
	if _, err := again(t, dir, Config{Register: reg, Now: in(8)}).Renew(t.Context(), tsaName, false); err == nil || !strings.Contains(err.Error(), "would last no longer") {
		t.Errorf("got %v", err)
	}
}

// TestRenewWithNewKey: a key of which a certificate was revoked is never used
// again; another one takes its place.
func TestRenewWithNewKey(t *testing.T) {
	a, dir := authority(t)
	reg := a.register.(*memory)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost, err := reg.Certificate(t.Context(), serialText(a.seal.Leaf().SerialNumber))
	if err != nil {
		t.Fatal(err)
	}
	revoke(t, a, lost, 1)
	now := in(1)
	later := again(t, dir, Config{Register: reg, Now: now})
	if _, err := later.Renew(t.Context(), sealName, false); err == nil || !strings.Contains(err.Error(), "--new-key") {
		t.Errorf("got %v", err)
	}
	if _, err := later.Renew(t.Context(), sealName, true); err != nil {
		t.Fatal(err)
	}
	next := again(t, dir, Config{Register: reg, Now: now})
	if err := next.Unlocked(); err != nil {
		t.Fatal(err)
	}
	if string(next.seal.Leaf().RawSubjectPublicKeyInfo) == string(a.seal.Leaf().RawSubjectPublicKeyInfo) {
		t.Error("the same key")
	}
	data := []byte("a document")
	digest := sha256.Sum256(data)
	if err := next.seal.Leaf().CheckSignature(next.seal.Leaf().SignatureAlgorithm, data, sealed(t, next, digest[:])); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir + "/seal.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	g := &Gatherer{Own: next}
	if _, err := g.Gather(t.Context(), now(), []*x509.Certificate{next.seal.Leaf()}, nil); err != nil {
		t.Errorf("the new one: %v", err)
	}
	var revoked *RevokedError
	if _, err := g.Gather(t.Context(), now(), []*x509.Certificate{a.seal.Leaf()}, nil); !errors.As(err, &revoked) {
		t.Errorf("the old one: %v", err)
	}
	// A crash between key and certificate leaves a key that is not used.
	if _, err := next.anotherKey(tsaName, next.tsa.Leaf()); err != nil {
		t.Fatal(err)
	}
	if err := again(t, dir, Config{Register: reg, Now: now}).Unlocked(); err != nil {
		t.Error(err)
	}
}

// TestRenewIssuing: the issuing CA lasts longer under its name and key, so that
// what is below it stays, and can be renewed for longer, too.
func TestRenewIssuing(t *testing.T) {
	_, dir := authority(t)
	reg := &memory{}
	now := in(7)
	a := again(t, dir, Config{Register: reg, Now: now})
	person, _ := certified(t, a, john)
	made, err := a.Renew(t.Context(), issuingName, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(t.Context(), issuingName, true); err == nil || !strings.Contains(err.Error(), "keeps its key") {
		t.Errorf("with a new key: %v", err)
	}
	b := again(t, dir, Config{Register: reg, Now: now})
	if !b.issuing.Leaf().Equal(made) || made.NotAfter.Before(time.Now().AddDate(16, 11, 0)) || string(made.SubjectKeyId) != string(a.issuing.Leaf().SubjectKeyId) {
		t.Errorf("until %s", b.issuing.Leaf().NotAfter)
	}
	if tsa, err := b.Renew(t.Context(), tsaName, false); err != nil || tsa.NotAfter.Before(time.Now().AddDate(12, 11, 0)) {
		t.Errorf("timestamps below it: %v", err)
	}
	if err := b.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := run(t, "openssl", "x509", "-in", dir+"/issuing.crt", "-noout", "-text")
	for _, want := range []string{"CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "URI:https://sign.corp.test/pki/root.crl", "CA Issuers - URI:https://sign.corp.test/pki/root.cer"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	at := strconv.FormatInt(now().Unix(), 10)
	for _, cert := range []string{writeCert(t, person.DER), dir + "/tsa.crt"} {
		run(t, "openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", cert)
	}
	// Both of its certificates are the root's to revoke; the lists verify under either.
	for _, c := range []*x509.Certificate{a.issuing.Leaf(), made} {
		if b.issuer(c) != &b.root {
			t.Error("whose is it?")
		}
	}
	_, list := lists(t, b)
	if err := list.CheckSignatureFrom(a.issuing.Leaf()); err != nil {
		t.Error(err)
	}
}

// A key file with a passphrase gets its new key under the same.
func TestRenewWithPassphrase(t *testing.T) {
	creds, dir := t.TempDir(), filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(filepath.Join(creds, "passphrase"), []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	o := options()
	o.Keys.Passphrase = "passphrase"
	if err := Init(dir, o); err != nil {
		t.Fatal(err)
	}
	c := Config{Keys: o.Keys, Register: &memory{}, Now: in(1)}
	if _, err := again(t, dir, c).Renew(t.Context(), tsaName, true); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/tsa.key"); err != nil || strings.Count(string(b), "BEGIN ENCRYPTED PRIVATE KEY") != 2 || strings.Contains(string(b), "BEGIN PRIVATE KEY") {
		t.Errorf("%s %v", b, err)
	}
	if err := again(t, dir, c).Unlocked(); err != nil {
		t.Error(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := again(t, dir, c).Renew(t.Context(), tsaName, false); !errors.Is(err, errLocked) {
		t.Errorf("renewed without the CA's passphrase: %v", err)
	}
}

// TestRenewRefuses: what is not on record is not signed.
func TestRenewRefuses(t *testing.T) {
	_, dir := authority(t)
	reg := &memory{}
	a := again(t, dir, Config{Register: reg, Now: in(1)})
	before, err := os.ReadFile(dir + "/seal.crt")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	a.issuing.Key = counted{a.issuing.Key, &used}
	reg.err = errors.New("the database is away")
	if _, err := a.Renew(t.Context(), sealName, false); err == nil || !strings.Contains(err.Error(), "is away") {
		t.Errorf("got %v", err)
	}
	reg.err = nil
	if _, err := a.Renew(t.Context(), rootName, false); err == nil {
		t.Error("renewed the root")
	}
	if after, err := os.ReadFile(dir + "/seal.crt"); err != nil || string(after) != string(before) || used != 0 {
		t.Errorf("changed all the same: key used %d times, %v", used, err)
	}
	if _, err := a.Renew(t.Context(), sealName, false); err != nil || used != 1 {
		t.Errorf("key used %d times, %v", used, err)
	}
}

// counted is a key that counts how often it is used.
type counted struct {
	crypto.Signer
	times *int
}

func (c counted) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	*c.times++
	return c.Signer.Sign(r, digest, o)
}
