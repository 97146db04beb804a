package pki

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
)

// A seal is the organisation's: no person's, no clock's and no company's
// employee's certificate below the same root passes for it.
func TestIsSeal(t *testing.T) {
	a, _ := authority(t)
	_, person := certified(t, a, john)
	names, err := mailName(john.Mail)
	if err != nil {
		t.Fatal(err)
	}
	like := func(change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{Subject: a.seal.Leaf().Subject, NotBefore: a.now(), NotAfter: a.now().AddDate(1, 0, 0), BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidDocumentSigning}}
		change(c)
		made, err := issue(c, newKey(t, elliptic.P256()).Public(), a.issuing.Leaf(), a.issuing.Key)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		want bool
	}{
		{"the seal", a.seal.Leaf(), true},
		{"one like it", like(func(*x509.Certificate) {}), true},
		{"a person", person, false},
		{"the clock", a.tsa.Leaf(), false},
		{"the CA", a.issuing.Leaf(), false},
		{"somebody's address", like(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{names} }), false},
		{"for persons' documents", like(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }), false},
		{"for servers", like(func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }), false},
		{"a CA for documents", like(func(c *x509.Certificate) { c.IsCA = true }), false},
	} {
		if got := IsSeal(c.cert); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
