package validate_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"milterd/signature/cms/cmstest"
	"milterd/validate"
)

// What lists and answers say of one certificate, and what counts for nothing.
func TestRevocationOf(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	root := cmstest.Root(t, now)
	ca, other := root.CA(t, now), cmstest.Root(t, now).CA(t, now)
	with := func(oid ...int) *x509.Certificate {
		return ca.Signer(t, now, cmstest.P256, func(c *x509.Certificate) {
			if oid != nil {
				c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier(oid), Value: []byte{5, 0}}}
			}
		}).Cert
	}
	leaf, since := with(), now.Add(-time.Hour)
	for _, c := range []struct {
		name        string
		cert        *x509.Certificate
		crls, ocsps [][]byte
		want        validate.Revocation
	}{
		{"nothing", leaf, nil, nil, validate.Revocation{}},
		{"a good answer", leaf, nil, [][]byte{ca.OCSP(t, leaf, now, time.Time{})}, validate.Revocation{Good: true, Issued: now, Next: now.AddDate(0, 0, 7)}},
		{"a list", leaf, [][]byte{ca.CRL(t, now, nil)}, nil, validate.Revocation{Good: true, Issued: now, Next: now.AddDate(0, 0, 7)}},
		{"both, at different times", leaf, [][]byte{ca.CRL(t, now, map[*x509.Certificate]time.Time{leaf: since})}, [][]byte{ca.OCSP(t, leaf, since.Add(-time.Hour), time.Time{})},
			validate.Revocation{Good: true, Revoked: true, Issued: since.Add(-time.Hour), Next: since.Add(-time.Hour).AddDate(0, 0, 7), Since: since, Reason: "no reason given"}},
		{"another authority's", leaf, [][]byte{other.CRL(t, now, map[*x509.Certificate]time.Time{leaf: since})}, [][]byte{other.OCSP(t, leaf, now, since)}, validate.Revocation{}},
		{"about another certificate", leaf, nil, [][]byte{ca.OCSP(t, with(), now, since)}, validate.Revocation{}},
		{"no bytes that are read", leaf, [][]byte{{0x30}}, [][]byte{{0x30}}, validate.Revocation{}},
		{"noRevAvail", with(2, 5, 29, 56), nil, nil, validate.Revocation{Never: true}},
		{"short-lived", with(0, 4, 0, 194121, 2, 1), nil, nil, validate.Revocation{Never: true}},
		{"a responder's exemption", with(1, 3, 6, 1, 5, 5, 7, 48, 1, 5), nil, nil, validate.Revocation{}},
	} {
		if got := validate.RevocationOf(c.cert, ca.Cert, c.crls, c.ocsps); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
