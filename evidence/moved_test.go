package evidence

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"milterd/pki"
	"milterd/workflow"
)

// companyAbove puts the house's authority below a company's CA, as milterd ca
// install and the next start do.
func (h *house) companyAbove() {
	h.t.Helper()
	ctx := context.Background()
	var list []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(list) }))
	h.t.Cleanup(srv.Close)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Company Root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	root := h.certificate(ca, ca, &key.PublicKey, key)
	list, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute),
		NextUpdate: time.Now().Add(time.Hour)}, root, key)
	h.must(err)
	csr, err := h.authority.Request()
	h.must(err)
	r, err := x509.ParseCertificateRequest(csr)
	h.must(err)
	sub := h.certificate(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Signatures of Corp"}, NotBefore: ca.NotBefore,
		NotAfter: time.Now().AddDate(15, 0, 0), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: ca.KeyUsage,
		CRLDistributionPoints: []string{srv.URL}}, root, r.PublicKey, key)
	given := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sub.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	_, err = h.authority.Install(ctx, &pki.Gatherer{Own: h.authority}, given)
	h.must(err)
	h.authority, err = pki.Open(pki.Config{Dir: filepath.Join(h.dir, "keys"), Register: h.store})
	h.must(err)
	h.must(h.authority.Enter(ctx))
	h.furnish()
}

func (h *house) certificate(t, by *x509.Certificate, pub any, key *ecdsa.PrivateKey) *x509.Certificate {
	h.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, t, by, pub, key)
	h.must(err)
	c, err := x509.ParseCertificate(der)
	h.must(err)
	return c
}

// What was signed before a company's CA came above the authority stays proven,
// although the register has ended the certificates of that time.
func TestEvidenceFromBeforeTheCompanysCA(t *testing.T) {
	h := newHouse(t, t.TempDir())
	s := h.open(workflow.Advanced, "before")
	h.sign(s.ID, 0, h.enrolled(h.visit(s.ID, 0)))
	h.companyAbove()
	h.sign(s.ID, 1, h.enrolled(h.visit(s.ID, 1)))
	if r := Check(h.file(s.ID), Options{Anchors: h.authority.Roots()}); !r.Passed() {
		t.Error(r.Text())
	}
}
