// Package cmstest is a small certificate authority in memory, with revocation
// data and a timestamp authority, for the tests of the signature rooms. Its
// tokens come from another implementation than the one that they test.
package cmstest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// Kind of a key.
type Kind string

// The kinds.
const (
	RSA  Kind = "RSA-2048"
	P256 Kind = "P-256"
	P384 Kind = "P-384"
	P521 Kind = "P-521"
)

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Key makes a key. RSA keys are made once for the process: they are slow.
func Key(t testing.TB, k Kind) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch k {
	case RSA:
		key, err = rsaKey()
	case P384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case P521:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Identity is a certificate with its key and what issued it.
type Identity struct {
	Cert   *x509.Certificate
	Key    crypto.Signer
	Issuer *Identity // nil for a root
}

// Chain gives the certificate and its issuers, the root last.
func (i *Identity) Chain() []*x509.Certificate {
	var out []*x509.Certificate
	for ; i != nil; i = i.Issuer {
		out = append(out, i.Cert)
	}
	return out
}

// Pool trusts the certificate.
func (i *Identity) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.Cert)
	return pool
}

// Root makes a root that is valid for ten years around now.
func Root(t testing.TB, now time.Time) *Identity {
	t.Helper()
	return issue(t, nil, Key(t, P256), authority("Test Root"), now)
}

// CA makes an issuing authority.
func (i *Identity) CA(t testing.TB, now time.Time) *Identity {
	t.Helper()
	return issue(t, i, Key(t, P256), authority("Test CA"), now)
}

func authority(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:  pkix.Name{CommonName: name, Organization: []string{"Test"}},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
	}
}

// Signer makes a certificate for document signing. change may be nil.
func (i *Identity) Signer(t testing.TB, now time.Time, k Kind, change func(*x509.Certificate)) *Identity {
	t.Helper()
	c := &x509.Certificate{
		Subject:            pkix.Name{CommonName: "Test Seal", Organization: []string{"Test"}},
		KeyUsage:           x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}}, // id-kp-documentSigning
	}
	if change != nil {
		change(c)
	}
	return issue(t, i, Key(t, k), c, now)
}

// TSA makes a timestamp authority.
func (i *Identity) TSA(t testing.TB, now func() time.Time) *TSA {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8})
	})
	id := issue(t, i, Key(t, P256), &x509.Certificate{
		Subject:  pkix.Name{CommonName: "Test TSA", Organization: []string{"Test"}},
		KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{
			Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: b.BytesOrPanic(),
		}},
	}, now())
	return &TSA{Identity: id, Now: now}
}

func issue(t testing.TB, by *Identity, key crypto.Signer, c *x509.Certificate, now time.Time) *Identity {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = serial
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.Cert, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{Cert: cert, Key: key, Issuer: by}
}

// CRL makes a list that is good for a week; revoked serials are revoked at the
// time given with them.
func (i *Identity) CRL(t testing.TB, at time.Time, revoked map[*x509.Certificate]time.Time) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(at.Unix()), ThisUpdate: at, NextUpdate: at.AddDate(0, 0, 7)}
	for c, when := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: when})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, i.Cert, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// OCSP makes a response for a certificate that i has issued, signed by i;
// revoked is zero for a good one.
func (i *Identity) OCSP(t testing.TB, c *x509.Certificate, at, revoked time.Time) []byte {
	t.Helper()
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: c.SerialNumber, ThisUpdate: at, NextUpdate: at.AddDate(0, 0, 7)}
	if !revoked.IsZero() {
		r.Status, r.RevokedAt = ocsp.Revoked, revoked
	}
	der, err := ocsp.CreateResponse(i.Cert, i.Cert, r, i.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TSA is a timestamp authority whose clock and manners a test decides.
type TSA struct {
	*Identity
	Now   func() time.Time
	Nonce *big.Int
	Away  bool
	Spoil func(*timestamp.Timestamp) // changes what is stamped
	Asked int
}

// Timestamp stamps a SHA-256 digest.
func (a *TSA) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	a.Asked++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.Away {
		return nil, errors.New("the timestamp authority is away")
	}
	ts := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: digest, Time: a.Now().UTC(), Policy: asn1.ObjectIdentifier{1, 2, 3, 4},
		Nonce: a.Nonce, Accuracy: time.Second, AddTSACertificate: true, Certificates: a.Issuer.Chain(),
	}
	if a.Spoil != nil {
		a.Spoil(&ts)
	}
	der, err := ts.CreateResponseWithOpts(a.Cert, a.Key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	in := cryptobyte.String(der)
	var resp, status, token cryptobyte.String
	if !in.ReadASN1(&resp, tag.SEQUENCE) || !resp.ReadASN1(&status, tag.SEQUENCE) || !resp.ReadASN1Element(&token, tag.SEQUENCE) {
		return nil, errors.New("response without token")
	}
	return token, nil
}
