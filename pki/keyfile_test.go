package pki

import (
	"crypto"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Key files with a passphrase: made by init, readable by OpenSSL and the other way
// round; without the passphrase milterd looks, and does not sign.
func TestPassphrase(t *testing.T) {
	creds, dir := t.TempDir(), filepath.Join(t.TempDir(), "keys")
	pass := filepath.Join(creds, "passphrase")
	set := func(s string) {
		if err := os.WriteFile(pass, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("correct horse\n")
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	o := options()
	o.Keys.Passphrase = "passphrase"
	if err := Init(dir, o); err != nil {
		t.Fatal(err)
	}
	Load := func(dir string) (*Authority, error) { return Open(Config{Dir: dir, Keys: o.Keys}) }
	seal := filepath.Join(dir, "seal.key")
	if b, err := os.ReadFile(seal); err != nil || !strings.Contains(string(b), "BEGIN ENCRYPTED PRIVATE KEY") {
		t.Fatalf("%s %v", b, err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	run(t, "openssl", "pkcs8", "-in", seal, "-passin", "pass:correct horse", "-out", plain)
	a, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Unlocked(); err != nil {
		t.Error(err)
	}
	for _, kdf := range [][]string{{"-scrypt"}, {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"}} {
		if err := os.Remove(seal); err != nil {
			t.Fatal(err)
		}
		run(t, "openssl", append([]string{"pkcs8", "-topk8", "-in", plain, "-out", seal, "-passout", "pass:correct horse"}, kdf...)...)
		if _, err := Load(dir); err != nil {
			t.Errorf("%v: %v", kdf, err)
		}
	}
	set("wrong")
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), `the credential "passphrase" does not open it`) {
		t.Errorf("wrong passphrase: %v", err)
	}
	set("\n")
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("empty passphrase: %v", err)
	}
	for _, name := range []string{t.TempDir(), ""} {
		t.Setenv("CREDENTIALS_DIRECTORY", name)
		shut, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := shut.Unlocked(); !errors.Is(err, errLocked) || !strings.Contains(err.Error(), ".key is encrypted") {
			t.Errorf("locked: %v", err)
		}
		if _, err := shut.Seal().Key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256); !errors.Is(err, errLocked) {
			t.Errorf("a locked key signs: %v", err)
		}
	}
	// A key that should be encrypted never falls back to a plain file.
	if err := Init(filepath.Join(t.TempDir(), "keys"), o); !errors.Is(err, errLocked) {
		t.Errorf("made without the passphrase: %v", err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "want keys.passphrase") {
		t.Errorf("no credential is named: %v", err)
	}
}
