package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

var john = workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}

// request makes a certificate signing request with any key.
func request(t testing.TB, key crypto.Signer, subject string, algorithm x509.SignatureAlgorithm) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: subject}, SignatureAlgorithm: algorithm,
		DNSNames: []string{"corp.test"}, EmailAddresses: []string{"boss@corp.test"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// certified takes a person's key through Draft and Issue.
func certified(t testing.TB, a *Authority, p workflow.Person) (*workflow.Certificate, *x509.Certificate) {
	t.Helper()
	c, err := a.Draft(p, request(t, newKey(t, elliptic.P256()), "whoever", 0), a.now())
	if err != nil {
		t.Fatal(err)
	}
	enter(t, a, c)
	if err := a.Issue(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	enter(t, a, c)
	made, err := x509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	return c, made
}

func TestCertificateOfAPerson(t *testing.T) {
	a, dir := authority(t)
	now := time.Now()
	key := newKey(t, elliptic.P256())
	c, err := a.Draft(john, request(t, key, "The Boss", 0), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.DER) > 0 || len(c.Serial) < 17 || c.Key != sha256.Sum256(c.PublicKey) {
		t.Errorf("draft: %+v", c)
	}
	enter(t, a, c)
	if err := a.Issue(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	path := writeCert(t, c.DER)
	text := run(t, "openssl", "x509", "-in", path, "-noout", "-text", "-nameopt", "utf8,sep_comma_plus_space")
	for _, want := range []string{
		"Subject: C=LU, O=Brasserie Ünel S.à r.l., CN=John Doe\n", "X509v3 Key Usage: critical\n                Non Repudiation\n",
		"X509v3 Extended Key Usage: \n                1.3.6.1.5.5.7.3.36\n", "email:john.doe@corp.test", "CA:FALSE",
		"URI:https://sign.corp.test/pki/issuing.crl", "OCSP - URI:https://sign.corp.test/pki/ocsp", "CA Issuers - URI:https://sign.corp.test/pki/issuing.cer",
		"ASN1 OID: prime256v1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "oss") { // The Boss, boss@
		t.Errorf("something of the request's subject is in it:\n%s", text)
	}
	made, _ := x509.ParseCertificate(c.DER)
	if !key.PublicKey.Equal(made.PublicKey) || made.SerialNumber.BitLen() < 64 {
		t.Error("another key, or a short number")
	}
	if d := made.NotAfter.Sub(now); d > personValidity || d < personValidity-time.Minute || made.NotBefore.After(now.Add(-maxSkew)) {
		t.Errorf("valid from %s until %s", made.NotBefore, made.NotAfter)
	}
	if !c.NotBefore.Equal(made.NotBefore) || !c.NotAfter.Equal(made.NotAfter) || c.Serial != serialText(made.SerialNumber) {
		t.Error("the register says something else than the certificate")
	}
	var chain []string
	for _, der := range a.Issuers() {
		chain = append(chain, writeCert(t, der))
	}
	if len(chain) != 2 || string(a.Issuers()[0]) != string(a.issuing.Leaf().Raw) {
		t.Error("issuers")
	}
	run(t, "openssl", "verify", "-x509_strict", "-CAfile", chain[1], "-untrusted", chain[0], path)
	run(t, "openssl", "verify", "-x509_strict", "-CAfile", dir+"/root.crt", "-untrusted", dir+"/issuing.crt", path)
}

func TestDraftRefuses(t *testing.T) {
	a, _ := authority(t)
	p256 := newKey(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	good := request(t, p256, "x", 0)

	// Somebody else's key: the same request with another public key, so that
	// its maker has not got the key that would be certified.
	other := newKey(t, elliptic.P256())
	stolen := bytes.Replace(good, point(t, p256), point(t, other), 1)
	if bytes.Equal(stolen, good) {
		t.Fatal("nothing was exchanged")
	}
	offCurve := bytes.Replace(good, point(t, p256), append([]byte{4}, bytes.Repeat([]byte{7}, 64)...), 1)
	broken := bytes.Clone(good)
	broken[len(broken)-1] ^= 1

	for name, c := range map[string]struct {
		csr    []byte
		reason string
	}{
		"RSA 1024":                 {request(t, weak, "x", 0), "weak-key"},
		"RSA 3072":                 {request(t, strong, "x", 0), "weak-key"},
		"P-384":                    {request(t, newKey(t, elliptic.P384()), "x", 0), "weak-key"},
		"P-224":                    {request(t, newKey(t, elliptic.P224()), "x", x509.ECDSAWithSHA256), "weak-key"},
		"Ed25519":                  {request(t, edwards, "x", 0), "weak-key"},
		"SHA-512":                  {request(t, p256, "x", x509.ECDSAWithSHA512), "bad-csr"},
		"somebody else's key":      {stolen, "bad-csr"},
		"a point not on the curve": {offCurve, "bad-csr"},
		"broken signature":         {broken, "bad-csr"},
		"trailing data":            {append(bytes.Clone(good), 0), "bad-csr"},
		"two requests":             {append(bytes.Clone(good), good...), "bad-csr"},
		"cut off":                  {good[:len(good)-1], "bad-csr"},
		"empty":                    {nil, "bad-csr"},
		"a certificate":            {a.seal.Leaf().Raw, "bad-csr"},
		"huge":                     {request(t, p256, strings.Repeat("x", maxCSR), 0), "bad-csr"},
		"megabytes":                {make([]byte, 8<<20), "bad-csr"},
	} {
		_, err := a.Draft(john, c.csr, time.Now())
		var r *workflow.Refusal
		if !errors.As(err, &r) || r.Reason != c.reason || r.Text == "" {
			t.Errorf("%s: got %v, want %s", name, err, c.reason)
		}
	}
	if _, err := a.Draft(john, good, time.Now()); err != nil {
		t.Error(err)
	}
	for _, p := range []workflow.Person{{Mail: "x@corp.test", Name: " "}, {Mail: "x", Name: "X"}, {Mail: "@corp.test", Name: "X"}, {Mail: "x@", Name: "X"}} {
		if _, err := a.Draft(p, good, time.Now()); err == nil {
			t.Errorf("%+v was certified", p)
		}
	}
}

func point(t testing.TB, k *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The authority signs what stands in the register, once, and nothing else.
func TestIssueRefuses(t *testing.T) {
	a, _ := authority(t)
	draft := func() *workflow.Certificate {
		c, err := a.Draft(john, request(t, newKey(t, elliptic.P256()), "x", 0), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := a.Issue(t.Context(), draft()); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("not entered: %v", err)
	}
	for want, change := range map[string]func(c *workflow.Certificate){
		"another one":      func(c *workflow.Certificate) { c.Name = "The Boss" },
		"under this":       func(c *workflow.Certificate) { c.Mail = "boss@corp.test" },
		"has another one ": func(c *workflow.Certificate) { c.NotAfter = c.NotAfter.AddDate(1, 0, 0) },
		"another":          func(c *workflow.Certificate) { d := draft(); c.Key, c.PublicKey = d.Key, d.PublicKey },
		"names another":    func(c *workflow.Certificate) { c.PublicKey = draft().PublicKey },
	} {
		c := draft()
		enter(t, a, c)
		change(c)
		if err := a.Issue(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) || len(c.DER) > 0 {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c := draft()
	enter(t, a, c)
	if err := a.Issue(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := a.Issue(t.Context(), c); err == nil {
		t.Error("signed twice")
	}
	enter(t, a, c)
	c.DER = nil
	if err := a.Issue(t.Context(), c); err == nil || !strings.Contains(err.Error(), "signed already") {
		t.Errorf("signed twice: %v", err)
	}
	c = draft()
	c.Revoked = time.Now()
	enter(t, a, c)
	if err := a.Issue(t.Context(), c); err == nil || !strings.Contains(err.Error(), "revoked before") {
		t.Errorf("revoked: %v", err)
	}
}

// No certificate outlives the authority, and none is made after it.
func TestCertificateEndsWithTheAuthority(t *testing.T) {
	a, _ := authority(t)
	csr := request(t, newKey(t, elliptic.P256()), "x", 0)
	end := a.issuing.Leaf().NotAfter
	c, err := a.Draft(john, csr, end.Add(-time.Hour))
	if err != nil || !c.NotAfter.Equal(end) {
		t.Errorf("until %s, the authority until %s: %v", c.NotAfter, end, err)
	}
	if _, err := a.Draft(john, csr, end.Add(time.Second)); err == nil {
		t.Error("made after the authority has expired")
	}
}

func TestNamesInCertificates(t *testing.T) {
	a, _ := authority(t)
	for mail, want := range map[string]string{
		"jane@bücher.test":           "email:jane@xn--bcher-kva.test",
		"jürgen@corp.test":           "othername: SmtpUTF8Mailbox:j\\xC3\\xBCrgen@corp.test",
		"'or 1=1,CN=boss'@corp.test": "email:'or 1=1,CN=boss'@corp.test",
	} {
		long := workflow.Person{Mail: mail, Name: strings.Repeat("Ünal ", 20)}
		c, made := certified(t, a, long)
		text := run(t, "openssl", "x509", "-in", writeCert(t, c.DER), "-noout", "-ext", "subjectAltName")
		plain := strings.NewReplacer("SmtpUTF8Mailbox::", "SmtpUTF8Mailbox:").Replace(text)
		if !strings.Contains(plain, want) && !strings.Contains(plain, strings.ReplaceAll(want, "\\xC3\\xBC", "ü")) {
			t.Errorf("%s: %s", mail, text)
		}
		if n := len([]rune(made.Subject.CommonName)); n > maxName {
			t.Errorf("a name of %d characters", n)
		}
	}
}

// csrSeeds are requests by OpenSSL, by our page's writer in form, and broken ones.
func csrSeeds(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/csr/*.der")
	if err != nil || len(paths) < 4 {
		t.Fatalf("seeds are missing: %v (%v); go test -run CSRSeeds -update", paths, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		if out[filepath.Base(p)], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestCSRSeeds(t *testing.T) {
	if *update {
		dir := t.TempDir()
		run(t, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", dir+"/k", "-subj", "/CN=x", "-outform", "DER", "-out", dir+"/csr")
		byOpenSSL, err := os.ReadFile(dir + "/csr")
		if err != nil {
			t.Fatal(err)
		}
		strong, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{
			"good-openssl": byOpenSSL, "good-go": request(t, newKey(t, elliptic.P256()), "x", 0),
			"rsa": request(t, strong, "x", 0), "p384": request(t, newKey(t, elliptic.P384()), "x", 0),
		} {
			if err := os.WriteFile("testdata/csr/"+name+".der", b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range csrSeeds(t) {
		_, err := requestedKey(b)
		if good := strings.HasPrefix(name, "good"); good != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What Draft takes is a P-256 key in its one encoding, whatever else stands in
// the request; what it refuses it refuses with words.
func FuzzRequestedKey(f *testing.F) {
	for _, b := range csrSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		spki, err := requestedKey(b)
		if err != nil {
			if r := (*workflow.Refusal)(nil); !errors.As(err, &r) {
				t.Fatalf("refused without words: %v", err)
			}
			return
		}
		key, err := x509.ParsePKIXPublicKey(spki)
		if err != nil || len(spki) != 91 {
			t.Fatalf("%d bytes: %v", len(spki), err)
		}
		if pub, ok := key.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() || !bytes.Contains(b, spki) {
			t.Fatal("another key")
		}
	})
}
