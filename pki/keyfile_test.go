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

func TestTokenAddress(t *testing.T) {
	for address, want := range map[string]string{
		"pkcs11:token=a%20b;object=s?module-path=/lib/x.so&pin-source=file:/run/pin": "",
		"pkcs11:serial=1;id=%01%02?module-path=/lib/x.so":                            "",
		"pkcs11:token=a;object=s":                                                    "module-path",
		"pkcs11:token=a?module-path=x.so":                                            "whole path",
		"pkcs11:object=s?module-path=/lib/x.so":                                      "token=LABEL or serial",
		"pkcs11:token=a;serial=1?module-path=/lib/x.so":                              "token=LABEL or serial",
		"pkcs11:token=a?module-path=/lib/x.so&pin-value=1234":                        "pin-value is not read",
		"pkcs11:token=a;manufacturer=x?module-path=/lib/x.so":                        "\"manufacturer\" is not used",
		"pkcs11:token=a;token=b?module-path=/lib/x.so":                               "twice",
		"pkcs11:token=%zz?module-path=/lib/x.so":                                     "badly written",
		"pkcs11:token=?module-path=/lib/x.so":                                        "empty",
		"pkcs11:token=a?module-path=/lib/x.so\npkcs11:":                              "is no PKCS#11 address",
		"pkcs12:token=a": "is no PKCS#11 address",
	} {
		u, err := parseTokenURI(address)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", address, err)
			} else if again, err := parseTokenURI(u.String()); err != nil || *again != *u {
				t.Errorf("%s: reads differently again: %s, %v", address, u, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", address, err, want)
		}
	}
}

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
	if err := Init(dir, options()); err != nil {
		t.Fatal(err)
	}
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
}
