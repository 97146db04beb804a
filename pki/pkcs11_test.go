//go:build cgo

package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// hsm makes tokens in a folder of their own. The library reads its configuration
// once in a process, so there is one folder for the test.
type hsm struct {
	t   *testing.T
	dir string
}

func newHSM(t *testing.T) *hsm {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Fatalf("%v: apt-get install -y softhsm2", err)
	}
	h := &hsm{t: t, dir: t.TempDir()}
	if err := os.Mkdir(h.dir+"/tokens", 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(h.dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+h.dir+"/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	return h
}

// token makes one with a PIN and says where it is.
func (h *hsm) token(label, pin string) Keys {
	h.t.Helper()
	run(h.t, "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", pin)
	path := filepath.Join(h.dir, label+".pin")
	if err := os.WriteFile(path, []byte(pin+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return Keys{Token: []string{"root", "issuing", "seal", "tsa"}, Module: softHSM, Label: label, PINFile: path}
}

// TestKeysInToken: everything that files can do, with keys that never leave a token.
func TestKeysInToken(t *testing.T) {
	h := newHSM(t)
	// The library must know every token before it is first asked.
	first, filled, wrongPIN, noPIN := h.token("first", "1111"), h.token("filled", "2222"), h.token("wrong", "3333"), h.token("none", "4444")
	empty := h.token("empty", "5555")

	o, dir := options(), filepath.Join(t.TempDir(), "keys")
	o.Keys = first
	if err := Init(dir, o); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(dir + "/*.key"); len(files) > 0 {
		t.Errorf("keys in files: %v", files)
	}
	a, err := Open(Config{Dir: dir, Keys: first, Register: &memory{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Unlocked(); err != nil {
		t.Error(err)
	}
	c, _ := certified(t, a, john)
	run(t, "openssl", "verify", "-x509_strict", "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", writeCert(t, c.DER))
	revoke(t, a, c, 1)
	if root, issuing := lists(t, a); len(root.RevokedCertificateEntries) != 0 || len(issuing.RevokedCertificateEntries) != 1 {
		t.Error("lists")
	}
	data := []byte("a document")
	digest := sha256.Sum256(data)
	token, err := a.OwnClock(ClockPolicy{AllowUnsynchronised: true}).Timestamp(t.Context(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	run(t, "openssl", "ts", "-verify", "-token_in", "-in", write(t, "token", token), "-data", write(t, "data", data), "-CAfile", dir+"/root.crt")
	if err := a.Seal().Leaf().CheckSignature(a.Seal().Leaf().SignatureAlgorithm, data, sealed(t, a, digest[:])); err != nil {
		t.Errorf("seal: %v", err)
	}

	// A new key is made beside the old one; its certificate says which is used.
	old := a.Seal().Leaf()
	reg := &memory{}
	if _, err := again(t, dir, Config{Keys: first, Register: reg, Now: in(1)}).Renew(t.Context(), sealName, true); err != nil {
		t.Fatal(err)
	}
	next := again(t, dir, Config{Keys: first, Register: reg, Now: in(1)})
	if leaf := next.Seal().Leaf(); leaf.Equal(old) || leaf.CheckSignature(leaf.SignatureAlgorithm, data, sealed(t, next, digest[:])) != nil {
		t.Error("the new seal")
	}

	// A second folder takes no other one's keys.
	if err := Init(filepath.Join(t.TempDir(), "keys"), o); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("a second time: %v", err)
	}

	// A key that was made in a file moves into a token, with its certificate.
	b, dir := authority(t)
	run(t, "softhsm2-util", "--import", dir+"/seal.key", "--token", "filled", "--label", "seal", "--id", "07", "--pin", "2222")
	if err := os.Remove(dir + "/seal.key"); err != nil {
		t.Fatal(err)
	}
	in := func(k Keys) (*Authority, error) {
		k.Token = []string{"seal"}
		return Open(Config{Dir: dir, Keys: k})
	}
	moved, err := in(filled)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Seal().Leaf().CheckSignature(b.Seal().Leaf().SignatureAlgorithm, data, sealed(t, moved, digest[:])); err != nil {
		t.Errorf("moved seal: %v", err)
	}
	wrong, gone, shutPIN, open := wrongPIN, filled, noPIN, noPIN
	wrong.PINFile, gone.Label, shutPIN.PINFile = first.PINFile, "gone", h.dir+"/nowhere"
	open.PINFile = filepath.Join(h.dir, "open.pin")
	if err := os.WriteFile(open.PINFile, []byte("4444"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, k := range map[string]Keys{
		`it holds no key with the label "seal"`:                  empty,
		"CKR_PIN_INCORRECT":                                      wrong,
		"could not find PKCS#11 token":                           gone,
		"others can read":                                        open,
		`the key "seal" in the token "first" does not belong to`: first, // another seal's
	} {
		if _, err := in(k); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// Without its PIN it can be looked at, and signs nothing.
	shut, err := in(shutPIN)
	if err != nil {
		t.Fatal(err)
	}
	if err := shut.Unlocked(); !errors.Is(err, errLocked) || !strings.Contains(err.Error(), `key "seal" in token "none"`) {
		t.Errorf("locked: %v", err)
	}
	if _, err := shut.Seal().Key.Sign(rand.Reader, digest[:], crypto.SHA256); !errors.Is(err, errLocked) {
		t.Errorf("a locked key signs: %v", err)
	}

	// What fails leaves nothing in the token.
	o.Keys = filled
	o.Keys.Token = []string{"issuing", "tsa"}
	o.Now = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC) // no certificate can say that
	if err := Init(filepath.Join(t.TempDir(), "keys"), o); err == nil {
		t.Fatal("made certificates of the year 20000")
	}
	o.Now = time.Time{}
	if err := Init(filepath.Join(t.TempDir(), "keys"), o); err != nil {
		t.Errorf("after a failure: %v", err)
	}
}
