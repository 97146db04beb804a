package pki

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func options() Options {
	return Options{Organisation: "Brasserie Ünel S.à r.l.", Country: "LU", VAT: "LU12345678", URL: "https://sign.corp.test/", Key: P256}
}

// authority makes one in a temporary directory.
func authority(t testing.TB) (*Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := Init(dir, options()); err != nil {
		t.Fatal(err)
	}
	a, err := Open(Config{Dir: dir, Register: &memory{}})
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// run calls a program that must be installed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install -y %s", err, map[string]string{"openssl": "openssl"}[name])
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInitMakesNestedCertificates(t *testing.T) {
	for _, key := range []KeyType{RSA3072, P256} {
		o := options()
		o.Key = key
		dir := filepath.Join(t.TempDir(), "a", "keys")
		if err := Init(dir, o); err != nil {
			t.Fatal(err)
		}
		a, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Organisation(); got != o.Organisation {
			t.Errorf("organisation %q", got)
		}
		if got := a.Seal().VAT(); got != o.VAT {
			t.Errorf("VAT number %q", got)
		}
		run(t, "openssl", "verify", "-x509_strict", "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", dir+"/seal.crt")
		run(t, "openssl", "verify", "-x509_strict", "-purpose", "timestampsign", "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", dir+"/tsa.crt")
		for _, id := range []Identity{a.issuing, a.seal, a.tsa} {
			c, by := id.Chain[0], id.Chain[1]
			if c.NotBefore.Before(by.NotBefore) || c.NotAfter.After(by.NotAfter) {
				t.Errorf("%s: validity not within its issuer's", c.Subject)
			}
			if len(c.SubjectKeyId) == 0 || string(c.AuthorityKeyId) != string(by.SubjectKeyId) || c.SerialNumber.BitLen() < 64 {
				t.Errorf("%s: key identifiers or serial number", c.Subject)
			}
		}
	}
}

func TestInitProfiles(t *testing.T) {
	_, dir := authority(t)
	for file, want := range map[string][]string{
		"root":    {"CA:TRUE", "Certificate Sign, CRL Sign", "CN=Brasserie Ünel S.à r.l. Root CA"},
		"issuing": {"CA:TRUE, pathlen:0", "X509v3 Any Policy", "URI:https://sign.corp.test/pki/root.crl", "CA Issuers - URI:https://sign.corp.test/pki/root.cer"},
		"seal": {"CA:FALSE", "Digital Signature, Non Repudiation", "1.3.6.1.5.5.7.3.36, 1.2.840.113583.1.1.5", "URI:https://sign.corp.test/pki/issuing.crl",
			"organizationIdentifier=VATLU-12345678", "CN=Brasserie Ünel S.à r.l.,", "O=Brasserie Ünel S.à r.l."},
		"tsa": {"X509v3 Extended Key Usage: critical\n                Time Stamping\n", "own clock", "Digital Signature\n"},
	} {
		text := run(t, "openssl", "x509", "-in", filepath.Join(dir, file+".crt"), "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: want %q in\n%s", file, w, text)
			}
		}
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	_, dir := authority(t)
	before, _ := os.ReadFile(filepath.Join(dir, "root.key"))
	if err := Init(dir, options()); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "root.key")); string(after) != string(before) {
		t.Fatal("the root key was changed")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".milterd-keys-*"))
	if len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "note"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Init(full, options()); !errors.Is(err, ErrExists) {
		t.Fatalf("got %v, want ErrExists", err)
	}
	for path, want := range map[string]os.FileMode{"": 0o700, "root.key": 0o600, "seal.key": 0o600, "tsa.key": 0o600, "issuing.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
}

func TestInitRefuses(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"organisation":    func(o *Options) { o.Organisation = " " },
		"1 to 64":         func(o *Options) { o.Organisation = strings.Repeat("ü", 65) },
		"capital letters": func(o *Options) { o.Country = "lu" },
		"such as LU":      func(o *Options) { o.VAT = "12345678" },
		"web address":     func(o *Options) { o.URL = "sign.corp.test" },
		"key type":        func(o *Options) { o.Key = "rsa-1024" },
	} {
		o, dir := options(), filepath.Join(t.TempDir(), "keys")
		change(&o)
		if err := Init(dir, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a directory was made", want)
		}
	}
}

// in is a clock that is some years ahead.
func in(years int) func() time.Time {
	return func() time.Time { return time.Now().AddDate(years, 0, 0) }
}

// replace overwrites a file with another one's content.
func replace(path, by string) error {
	b, err := os.ReadFile(by)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(dir string) error
	}{
		{"milterd init makes them", os.RemoveAll},
		{"seal.key: others may use this key (mode 0640): chmod 0600", func(d string) error { return os.Chmod(d+"/seal.key", 0o640) }},
		{"root.key: others may use this key (mode 0604): chmod 0600", func(d string) error { return os.Chmod(d+"/root.key", 0o604) }},
		{"others may write there", func(d string) error { return os.Chmod(d, 0o720) }},
		{"tsa.key does not belong to", func(d string) error { return replace(d+"/tsa.key", d+"/seal.key") }},
		{"seal.crt: no certificate in PEM form", func(d string) error { return os.WriteFile(d+"/seal.crt", []byte("x"), 0o600) }},
		{"tsa.key: no private key in PEM form", func(d string) error { return replace(d+"/tsa.key", d+"/tsa.crt") }},
		{"state.json", func(d string) error { return os.WriteFile(d+"/state.json", []byte("{"), 0o600) }},
	} {
		_, dir := authority(t)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	_, dir := authority(t)
	for years, want := range map[int]string{-1: "root.crt is valid from", 11: "issuing.crt expired at"} {
		if _, err := Open(Config{Dir: dir, Now: in(years)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// One can look at it to renew it, but neither serve nor sign with it.
	a, err := Open(Config{Dir: dir, Now: in(4)})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Unlocked(); err == nil || !strings.Contains(err.Error(), "seal.crt expired at") || !strings.Contains(err.Error(), "milterd ca renew seal") {
		t.Errorf("got %v", err)
	}
	if _, err := a.Seal().Key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); err == nil {
		t.Error("a seal that has expired seals")
	}
	_, other := authority(t)
	for _, f := range []string{"/root.crt", "/root.key"} {
		if err := replace(dir+f, other+f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "issuing.crt was not issued by") {
		t.Errorf("got %v", err)
	}
}

func TestCRLsAreFreshNumberedAndVerified(t *testing.T) {
	a, dir := authority(t)
	ctx := context.Background()
	last := int64(0)
	for range 3 {
		after := time.Now()
		crls, err := a.CRLs(ctx, after)
		if err != nil {
			t.Fatal(err)
		}
		for i, ca := range []string{"root", "issuing"} {
			list, err := x509.ParseRevocationList(crls[i])
			if err != nil {
				t.Fatal(err)
			}
			if !list.ThisUpdate.After(after) || list.ThisUpdate.After(time.Now()) {
				t.Errorf("%s: thisUpdate %s, want just after %s", ca, list.ThisUpdate, after)
			}
			if n := list.Number.Int64(); n <= last {
				t.Errorf("%s: number %d does not grow (was %d)", ca, n, last)
			} else {
				last = n
			}
			out := run(t, "openssl", "crl", "-inform", "DER", "-in", write(t, "crl", crls[i]), "-noout", "-CAfile", filepath.Join(dir, ca+".crt"))
			if !strings.Contains(out, "verify OK") {
				t.Errorf("openssl crl: %s", out)
			}
		}
		// One that is good enough is not made again.
		again, err := a.CRLs(ctx, after)
		if err != nil || string(again[1]) != string(crls[1]) {
			t.Errorf("made again: %v", err)
		}
	}
	// Numbers grow over a restart, even with a clock that went back.
	b, err := Open(Config{Dir: dir, Now: func() time.Time { return time.Now().Add(-30 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	crls, err := b.CRLs(ctx, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := x509.ParseRevocationList(crls[0]); list.Number.Int64() <= last {
		t.Errorf("number %v after restart, was %d", list.Number, last)
	}
}

func TestCRLsRefuseTheFuture(t *testing.T) {
	a, _ := authority(t)
	if _, err := a.CRLs(context.Background(), time.Now().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "ahead of our clock") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.CRLs(ctx, time.Now().Add(5*time.Second)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// sealed is a signature by the seal's key.
func sealed(t *testing.T, a *Authority, digest []byte) []byte {
	t.Helper()
	value, err := a.Seal().Key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
