package pki

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// company is a company's CA made with OpenSSL, with its list over HTTP.
type company struct {
	t    *testing.T
	dir  string
	down atomic.Bool
	srv  *httptest.Server
}

func newCompany(t *testing.T) *company {
	c := &company{t: t, dir: t.TempDir()}
	c.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.down.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		http.ServeFile(w, r, filepath.Join(c.dir, filepath.Base(r.URL.Path)))
	}))
	t.Cleanup(c.srv.Close)
	conf := fmt.Sprintf(`[ca]
default_ca = d
[d]
database = %[1]s/index.txt
new_certs_dir = %[1]s
serial = %[1]s/serial
crlnumber = %[1]s/crlnumber
certificate = %[1]s/root.crt
private_key = %[1]s/root.key
default_md = sha256
default_days = 3650
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
countryName = optional
organizationName = optional
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[sub]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:%[2]s/company.crl
[silent]
basicConstraints = critical,CA:true,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
crlDistributionPoints = URI:%[2]s/company.crl
`, c.dir, c.srv.URL)
	for name, content := range map[string]string{"ca.cnf": conf, "index.txt": "", "serial": "1001\n", "crlnumber": "01\n"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", c.dir+"/root.key", "-out", c.dir+"/root.crt",
		"-config", c.dir+"/ca.cnf", "-extensions", "root", "-subj", "/O=Company Group/CN=Company Group Root", "-days", "7300")
	c.list()
	return c
}

func (c *company) list() {
	pemFile := c.dir + "/crl.pem"
	run(c.t, "openssl", "ca", "-config", c.dir+"/ca.cnf", "-gencrl", "-out", pemFile)
	run(c.t, "openssl", "crl", "-in", pemFile, "-outform", "DER", "-out", c.dir+"/company.crl")
}

// sign gives the certificate for a request, with the root's.
func (c *company) sign(csr []byte, extensions string, args ...string) []byte {
	c.t.Helper()
	in, out := write(c.t, "csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), c.dir+"/sub.crt"
	run(c.t, "openssl", append([]string{"ca", "-batch", "-notext", "-config", c.dir + "/ca.cnf", "-extensions", extensions, "-in", in, "-out", out}, args...)...)
	var both []byte
	for _, f := range []string{c.dir + "/root.crt", out} { // in any order
		b, err := os.ReadFile(f)
		if err != nil {
			c.t.Fatal(err)
		}
		both = append(both, b...)
	}
	return both
}

// TestSubordinate: a company's CA takes ours below itself, under a name of its
// own, after people have signed already.
func TestSubordinate(t *testing.T) {
	a, dir := authority(t)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, beforeCert := certified(t, a, john)
	c := newCompany(t)
	csr, err := a.Request()
	if err != nil {
		t.Fatal(err)
	}
	text := run(t, "openssl", "req", "-inform", "DER", "-in", write(t, "csr", csr), "-noout", "-text", "-verify", "-nameopt", "utf8,sep_comma_plus_space")
	for _, want := range []string{"CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier", "CN=Brasserie Ünel S.à r.l. Issuing CA", "verify OK"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	given := c.sign(csr, "sub", "-subj", "/O=Company Group/CN=Signatures of Brasserie")
	g := &Gatherer{Own: a}
	chain, err := a.Install(t.Context(), g, given)
	if err != nil || len(chain) != 2 || chain[0].Subject.CommonName != "Signatures of Brasserie" {
		t.Fatalf("%v %v", chain, err)
	}
	if got := a.RootAddress(); got != "https://sign.corp.test/pki/root.cer" {
		t.Errorf("root at %q", got)
	}
	// What runs goes on as it was.
	certified(t, a, john)
	if _, err := g.Gather(t.Context(), time.Now(), []*x509.Certificate{beforeCert, a.Seal().Leaf()}, nil); err != nil {
		t.Errorf("before the restart: %v", err)
	}
	if _, err := a.Install(t.Context(), g, given); err != nil {
		t.Errorf("once more before the restart: %v", err)
	}

	b, err := Open(Config{Dir: dir, Register: a.register})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context(), issuingName, false); err == nil || !strings.Contains(err.Error(), "milterd ca request") {
		t.Errorf("renewed below the company's CA: %v", err)
	}
	if got := b.RootAddress(); got != "" {
		t.Errorf("the company's root at %q", got)
	}
	if _, err := b.Install(t.Context(), g, given); err == nil || !strings.Contains(err.Error(), "installed already") {
		t.Errorf("once more: %v", err)
	}
	// New certificates, seal and timestamps lead to the company's root alone.
	after, afterCert := certified(t, b, john)
	root, issuing := c.dir+"/root.crt", writeCert(t, b.Issuers()[0])
	run(t, "openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, writeCert(t, after.DER))
	run(t, "openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, writeCert(t, b.Seal().Leaf().Raw))
	data := []byte("a document")
	digest := sha256.Sum256(data)
	token, err := b.OwnClock(ClockPolicy{AllowUnsynchronised: true}).Timestamp(t.Context(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	run(t, "openssl", "ts", "-verify", "-token_in", "-in", write(t, "token", token), "-data", write(t, "data", data), "-CAfile", root)
	seal, old := b.Seal().Leaf(), a.Seal().Leaf()
	if string(seal.RawSubject) != string(old.RawSubject) || seal.KeyUsage != old.KeyUsage || len(seal.UnknownExtKeyUsage) != 2 || seal.OCSPServer == nil {
		t.Errorf("the seal's certificate is another: %+v", seal.Subject)
	}
	// Evidence: the company's list by HTTP, ours made here.
	g = &Gatherer{Own: b}
	e, err := g.Gather(t.Context(), time.Now(), []*x509.Certificate{afterCert, seal}, nil)
	if err != nil || len(e.Certificates) != 4 || len(e.CRLs) != 2 {
		t.Fatalf("%d certificates, %d lists: %v", len(e.Certificates), len(e.CRLs), err)
	}
	for i, want := range []string{"Signatures of Brasserie", "Company Group Root"} {
		list, err := x509.ParseRevocationList(e.CRLs[i])
		if err != nil || list.Issuer.CommonName != want {
			t.Errorf("list %d by %q: %v", i, list.Issuer.CommonName, err)
		}
	}
	// What was below our own root can still be asked about, and stays trusted.
	e, err = g.Gather(t.Context(), time.Now(), []*x509.Certificate{beforeCert, old}, nil)
	if err != nil || len(e.CRLs) != 2 || len(b.RootCertificates()) != 2 {
		t.Errorf("before: %d lists, %d roots: %v", len(e.CRLs), len(b.RootCertificates()), err)
	}
	ended, err := b.register.Certificate(t.Context(), before.Serial)
	if err != nil {
		t.Fatal(err)
	}
	revoke(t, b, ended, 1)
	var revoked *RevokedError
	if _, err := g.Gather(t.Context(), time.Now(), []*x509.Certificate{beforeCert}, nil); !errors.As(err, &revoked) {
		t.Errorf("revoked: %v", err)
	}
	// The next signature of an older device asks for a new certificate.
	if c, _ := b.register.Certificate(t.Context(), before.Serial); c.NotAfter.After(time.Now()) {
		t.Error("a certificate below the former name goes on")
	}
	if c, _ := b.register.Certificate(t.Context(), after.Serial); !c.NotAfter.Equal(after.NotAfter) {
		t.Error("a certificate below the present name was ended")
	}
	// The company's list is away, or has our CA on it.
	c.down.Store(true)
	if _, err := g.Gather(t.Context(), time.Now(), []*x509.Certificate{seal}, nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("away: %v", err)
	}
	c.down.Store(false)
	run(t, "openssl", "ca", "-config", c.dir+"/ca.cnf", "-revoke", issuing)
	c.list()
	if _, err := g.Gather(t.Context(), time.Now(), []*x509.Certificate{seal}, nil); !errors.As(err, &revoked) || revoked.Name != "Signatures of Brasserie" {
		t.Errorf("revoked by the company: %v", err)
	}
}

func TestInstallRefuses(t *testing.T) {
	a, dir := authority(t)
	c := newCompany(t)
	csr, err := a.Request()
	if err != nil {
		t.Fatal(err)
	}
	good := c.sign(csr, "sub")
	pemOf := func(certs ...*x509.Certificate) []byte { return encode(certs) }
	chain, err := a.companyChain(good)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := authority(t)
	otherCSR, err := other.Request()
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	for want, given := range map[string][]byte{
		"no certificate in PEM form":     []byte("x"),
		"none of the certificates":       c.sign(otherCSR, "sub"),
		"the chain ends at":              pemOf(chain[0]),
		"no certificate of a CA":         c.sign(csr, "leaf"),
		"no place for revocation data":   c.sign(csr, "silent"),
		"it is signed by itself":         pemOf(selfSigned(t, a)),
		"certificate has expired or is ": c.sign(csr, "sub", "-startdate", "20100101000000Z", "-enddate", "20110101000000Z"),
	} {
		if _, err := a.Install(context.Background(), &Gatherer{Own: a}, given); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c.down.Store(true)
	if _, err := a.Install(context.Background(), &Gatherer{Own: a}, good); err == nil || !strings.Contains(err.Error(), "revocation data about") {
		t.Errorf("list away: %v", err)
	}
	if after := files(t, dir); after != before {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
	// Interrupted before the last file: everything is as it was.
	if err := a.prepend(sealName+".crt", other.Seal().Leaf()); err != nil {
		t.Fatal(err)
	}
	if b, err := Load(dir); err != nil || !b.Seal().Leaf().Equal(a.Seal().Leaf()) {
		t.Errorf("interrupted: %v", err)
	}
}

// selfSigned is a certificate for the issuing CA's key by itself.
func selfSigned(t *testing.T, a *Authority) *x509.Certificate {
	tmpl := *a.issuing.Leaf()
	tmpl.AuthorityKeyId = nil
	c, err := issue(&tmpl, a.issuing.Key.Public(), &tmpl, a.issuing.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", e.Name(), sha256.Sum256(content))
	}
	return b.String()
}
