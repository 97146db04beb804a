package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"milterd/pki"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/tsatest"
	"milterd/signature/cms"
	"milterd/signer"
)

const organisation = "Brasserie Ünel S.à r.l."

// house is an organisation's authority, with or without a timestamp authority
// elsewhere.
type house struct {
	*pki.Authority
	dir     string
	time    pki.Timestamper
	gather  *pki.Gatherer
	roots   []string        // files with the roots that its results are judged by
	outside *tsatest.Server // whose time it is; nil: its own

	provider *qualifiedtest.Provider // of certificates for level Qualified, a stand-in
	vouched  string                  // file with its authority
}

// vouching is the house for judges who trust the provider, too.
func (h *house) vouching() *house {
	more := *h
	more.roots = append(slices.Clone(h.roots), h.vouched)
	return &more
}

// newHouse makes keys as `milterd init` does.
func newHouse(dir string, key pki.KeyType) (*house, error) {
	if err := pki.Init(dir, pki.Options{Organisation: organisation, Country: "LU", VAT: "LU12345678", URL: "https://sign.corp.test", Key: key}); err != nil {
		return nil, err
	}
	a, err := pki.Load(dir)
	if err != nil {
		return nil, err
	}
	return &house{Authority: a, dir: dir, time: a.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}), gather: &pki.Gatherer{Own: a},
		roots: []string{filepath.Join(dir, "root.crt")}}, nil
}

// elsewhere is the same house with another's timestamps.
func (h *house) elsewhere(s *tsatest.Server, root string) *house {
	return &house{Authority: h.Authority, dir: h.dir, time: &pki.Remote{URLs: []string{s.URL}, Roots: s.Roots()},
		gather: &pki.Gatherer{Own: h.Authority, Roots: s.Roots()}, roots: append([]string{root}, h.roots...), outside: s}
}

func (h *house) signer() *signer.Signer {
	return signer.New(signer.Config{Seal: h.Seal(), Organisation: organisation, Time: h.time, Evidence: h.gather})
}

// kind is a kind of key with what it signs with.
type kind struct {
	name     string
	alg      cms.Algorithm
	generate func() (crypto.Signer, error)
}

func rsaKey(bits int) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, bits) }
}

func ecKey(c elliptic.Curve) func() (crypto.Signer, error) {
	return func() (crypto.Signer, error) { return ecdsa.GenerateKey(c, rand.Reader) }
}

// kinds are all that package cms signs with.
var kinds = []kind{
	{"RSA-2048", cms.RS256, rsaKey(2048)},
	{"RSA-3072", cms.RS256, rsaKey(3072)},
	{"RSA-3072 SHA-384", cms.RS384, rsaKey(3072)},
	{"RSA-4096", cms.RS256, rsaKey(4096)},
	{"RSA-4096 SHA-512", cms.RS512, rsaKey(4096)},
	{"RSA-2048 PSS", cms.PS256, rsaKey(2048)},
	{"RSA-3072 PSS SHA-384", cms.PS384, rsaKey(3072)},
	{"RSA-4096 PSS SHA-512", cms.PS512, rsaKey(4096)},
	{"P-256", cms.ES256, ecKey(elliptic.P256())},
	{"P-384", cms.ES384, ecKey(elliptic.P384())},
	{"P-521", cms.ES512, ecKey(elliptic.P521())},
}

// seal certifies another kind of key as the house's seal: the same profile, the
// same issuer. Init itself makes RSA-3072 and P-256.
func (h *house) seal(k kind) (pki.Identity, error) {
	key, err := k.generate()
	if err != nil {
		return pki.Identity{}, err
	}
	issuing, err := privateKey(filepath.Join(h.dir, "issuing.key"))
	if err != nil {
		return pki.Identity{}, err
	}
	like := h.Seal().Leaf()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pki.Identity{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, RawSubject: like.RawSubject, NotBefore: like.NotBefore, NotAfter: like.NotAfter, BasicConstraintsValid: true,
		KeyUsage: like.KeyUsage, UnknownExtKeyUsage: like.UnknownExtKeyUsage, Policies: like.Policies,
		CRLDistributionPoints: like.CRLDistributionPoints, IssuingCertificateURL: like.IssuingCertificateURL,
	}, h.Seal().Chain[1], key.Public(), issuing)
	if err != nil {
		return pki.Identity{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return pki.Identity{Key: key, Chain: append([]*x509.Certificate{leaf}, h.Seal().Chain[1:]...)}, err
}

func privateKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that cannot sign")
	}
	return s, nil
}

// lists are the house's revocation lists as they are published now, in files:
// what a validator downloads for a file that holds none.
func (h *house) lists(ctx context.Context, dir string) ([]string, error) {
	ders, err := h.CRLs(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	name := filepath.Base(h.dir)
	if h.outside != nil {
		name += "-outside"
		for _, list := range []string{"root.crl", "ca.crl"} {
			der, err := download(strings.TrimSuffix(h.outside.URL, "tsa") + list)
			if err != nil {
				return nil, err
			}
			ders = append(ders, der)
		}
	}
	var out []string
	for i, der := range ders {
		path := filepath.Join(dir, fmt.Sprintf("%s-%d.crl", name, i))
		if err := os.WriteFile(path, der, 0o600); err != nil {
			return nil, err
		}
		out = append(out, path)
	}
	return out, nil
}

// download asks the timestamp authority, which is in this process.
func download(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// outsider is what tsatest wants of a test.
type outsider struct {
	dir  string
	err  error
	undo []func()
}

func (o *outsider) Helper()                   {}
func (o *outsider) TempDir() string           { return o.dir }
func (o *outsider) Cleanup(f func())          { o.undo = append(o.undo, f) }
func (o *outsider) Error(args ...any)         { o.err = errors.Join(o.err, errors.New(fmt.Sprint(args...))) }
func (o *outsider) Fatalf(f string, a ...any) { o.Errorf(f, a...); panic(o.err) }
func (o *outsider) Errorf(f string, a ...any) { o.err = errors.Join(o.err, fmt.Errorf(f, a...)) }
