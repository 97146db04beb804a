package cms

import (
	"bytes"
	"crypto"
	"crypto/sha1" // only to find a certificate by the older ESSCertID, never over what is signed
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Verify is every check on a detached message at once: digest is that of the
// content under m.Hash(), extra are certificates from elsewhere (a DSS). It
// returns the signer's certificate, whose chain is not judged here.
func (m *Message) Verify(digest []byte, extra ...*x509.Certificate) (*x509.Certificate, error) {
	if err := m.CheckDetached(); err != nil {
		return nil, err
	}
	return m.verify(digest, extra)
}

func (m *Message) verify(digest []byte, extra []*x509.Certificate) (*x509.Certificate, error) {
	cert, err := m.SignerCertificate(extra...)
	if err != nil {
		return nil, err
	}
	if err := m.CheckContentType(); err != nil {
		return nil, err
	}
	if err := m.CheckDigest(digest); err != nil {
		return nil, err
	}
	if err := m.CheckSigningCertificate(cert); err != nil {
		return nil, err
	}
	return cert, m.CheckSignature(cert)
}

// SignerCertificate finds the certificate that the SignerInfo names, among
// those of the message and the extra ones.
func (m *Message) SignerCertificate(extra ...*x509.Certificate) (*x509.Certificate, error) {
	for _, c := range slices.Concat(m.Certificates, extra) {
		if m.issuer != nil && bytes.Equal(c.RawIssuer, m.issuer) && c.SerialNumber.Cmp(m.serial) == 0 ||
			m.issuer == nil && len(m.keyID) > 0 && bytes.Equal(c.SubjectKeyId, m.keyID) {
			return c, nil
		}
	}
	if m.unparsed > 0 {
		return nil, fmt.Errorf("%w: %d certificates could not be read", ErrCertificate, m.unparsed)
	}
	return nil, ErrCertificate
}

// CheckDetached wants id-data without content in the message, as PAdES has it.
func (m *Message) CheckDetached() error {
	if !m.ContentType.Equal(oidData.ObjectIdentifier) || m.Content != nil {
		return malformed("content is not detached id-data")
	}
	return nil
}

// Unread names the attributes that could bear on a signature's time or level and
// that nobody here reads, for people.
func (m *Message) Unread() (out []string) {
	f := m.frame.signers[m.index]
	seen := map[string]bool{}
	for _, a := range m.signed {
		seen[a.oid.String()] = true
	}
	for _, a := range f.unsigned {
		el := cryptobyte.String(a)
		var seq cryptobyte.String
		var oid asn1.ObjectIdentifier
		if el.ReadASN1(&seq, tag.SEQUENCE) && seq.ReadASN1ObjectIdentifier(&oid) {
			seen[oid.String()] = true
		}
	}
	for _, u := range unread {
		if seen[u.oid] {
			out = append(out, u.name)
		}
	}
	return out
}

// unread are attributes of RFC 5652, section 11.4, and of ETSI EN 319 122-1 and
// -2, or of its predecessor ETSI TS 101 733.
var unread = []struct{ oid, name string }{
	{"1.2.840.113549.1.9.6", "countersignature"},
	{"1.2.840.113549.1.9.16.2.20", "content-time-stamp"},
	{"1.2.840.113549.1.9.16.2.15", "signature-policy-identifier"},
	{"1.2.840.113549.1.9.16.2.23", "certificate-values"},
	{"1.2.840.113549.1.9.16.2.24", "revocation-values"},
	{"1.2.840.113549.1.9.16.2.27", "archive-time-stamp of version 1"},
	{"1.2.840.113549.1.9.16.2.48", "archive-time-stamp of version 2"},
	{"0.4.0.1733.2.5", "long-term-validation"},
}

// IsData reports whether the content is id-data, as every signature on a file has
// it: a timestamp token is none.
func (m *Message) IsData() bool { return m.ContentType.Equal(oidData.ObjectIdentifier) }

// CheckContentType compares the signed contentType with the content's type
// (RFC 5652, section 11.1).
func (m *Message) CheckContentType() error {
	v, ok := m.attribute(oidContentType.ObjectIdentifier)
	var oid asn1.ObjectIdentifier
	if !ok || !v.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(m.ContentType) {
		return malformed("contentType attribute")
	}
	return nil
}

// CheckDigest compares messageDigest with the digest of the content.
func (m *Message) CheckDigest(digest []byte) error {
	v, ok := m.attribute(oidMessageDigest.ObjectIdentifier)
	var d cryptobyte.String
	if !ok || !v.ReadASN1(&d, tag.OCTET_STRING) {
		return malformed("messageDigest attribute")
	}
	if !bytes.Equal(d, digest) {
		return ErrDigest
	}
	return nil
}

// HasSigningCertificate reports whether a signing-certificate attribute of
// version 1 or 2 is signed, without which a signature is no CAdES.
func (m *Message) HasSigningCertificate() bool {
	_, v1 := m.attribute(oidSigningCertificate.ObjectIdentifier)
	_, v2 := m.attribute(oidSigningCertificateV2.ObjectIdentifier)
	return v1 || v2
}

// CheckSigningCertificate compares the first certificate identifier of each
// signing-certificate attribute with cert (RFC 5035; RFC 2634 for version 1).
// At least one must be there.
func (m *Message) CheckSigningCertificate(cert *x509.Certificate) error {
	if !m.HasSigningCertificate() {
		return malformed("no signing-certificate attribute")
	}
	if v, ok := m.attribute(oidSigningCertificateV2.ObjectIdentifier); ok {
		if err := checkESSCertID(v, cert, true); err != nil {
			return err
		}
	}
	if v, ok := m.attribute(oidSigningCertificate.ObjectIdentifier); ok {
		return checkESSCertID(v, cert, false)
	}
	return nil
}

func checkESSCertID(v cryptobyte.String, cert *x509.Certificate, v2 bool) error {
	var attr, certs, id, alg, hash, issuerSerial cryptobyte.String
	var hasSerial bool
	if !v.ReadASN1(&attr, tag.SEQUENCE) || !attr.ReadASN1(&certs, tag.SEQUENCE) || !certs.ReadASN1(&id, tag.SEQUENCE) {
		return malformed("signing-certificate attribute")
	}
	h := crypto.SHA256
	if v2 && id.PeekASN1Tag(tag.SEQUENCE) {
		var oid asn1.ObjectIdentifier
		if !id.ReadASN1(&alg, tag.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
			return malformed("signing-certificate attribute")
		}
		var err error
		if h, err = hashOf(oid); err != nil {
			return err
		}
	}
	if !id.ReadASN1(&hash, tag.OCTET_STRING) || !id.ReadOptionalASN1(&issuerSerial, &hasSerial, tag.SEQUENCE) || !id.Empty() {
		return malformed("signing-certificate attribute")
	}
	want := sum(h, cert.Raw)
	if !v2 {
		s := sha1.Sum(cert.Raw)
		want = s[:]
	}
	if !bytes.Equal(hash, want) {
		return fmt.Errorf("%w: signing-certificate attribute names another", ErrCertificate)
	}
	return nil
}

// CheckSignature verifies the signature value over the signed attributes.
func (m *Message) CheckSignature(cert *x509.Certificate) error {
	return verify(cert, m.Algorithm, m.salt, sum(m.hash, m.Attributes), m.Value)
}
