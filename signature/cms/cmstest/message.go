package cmstest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Message is a SignedData in pieces, for tests that put them together wrongly.
// NewMessage gives one that is right.
type Message struct {
	Content    []byte // nil if detached
	Certs      []*x509.Certificate
	Named      *x509.Certificate // by the SignerInfo
	Hash       crypto.Hash       // of content and attributes
	Digest     []byte            // AlgorithmIdentifier that is stated
	Algorithm  []byte            // the same of the signature
	Attributes [][]byte          // DER of each; nil for none
	Unsorted   bool              // leave them as they are
	Signed     []byte            // instead of the attributes
	Key        crypto.Signer
	Options    crypto.SignerOpts // nil means Hash
	Change     func(value []byte) []byte
	Signers    int // SignerInfos, all the same; 0 means 1
}

// Object identifiers for messages.
var (
	SHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	SHA512        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	SHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	MD5           = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}
	ECDSASHA256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	ECDSASHA1     = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	RSAEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	RSASHA256     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	RSAPSS        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	MGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}

	ContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	MessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	SigningCertV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	data          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	signedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// DER writes an element of parts that are DER already, or object identifiers.
func DER(t tag.Tag, parts ...any) []byte {
	var b cryptobyte.Builder
	b.AddASN1(t, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			switch p := p.(type) {
			case []byte:
				b.AddBytes(p)
			case asn1.ObjectIdentifier:
				b.AddASN1ObjectIdentifier(p)
			case int:
				b.AddASN1Int64(int64(p))
			}
		}
	})
	return b.BytesOrPanic()
}

// Attribute is a signed attribute.
func Attribute(oid asn1.ObjectIdentifier, values ...[]byte) []byte {
	return DER(tag.SEQUENCE, oid, DER(tag.SET, bytes.Join(values, nil)))
}

// SigningCertificate is the value of signingCertificateV2 with SHA-256.
func SigningCertificate(c *x509.Certificate) []byte {
	h := crypto.SHA256.New()
	h.Write(c.Raw)
	return DER(tag.SEQUENCE, DER(tag.SEQUENCE, DER(tag.SEQUENCE, DER(tag.OCTET_STRING, h.Sum(nil)))))
}

// Octets and Type are values of messageDigest and contentType.
func Octets(b []byte) []byte { return DER(tag.OCTET_STRING, b) }

// Type is id-data as a value.
func Type() []byte { return DER(tag.SEQUENCE, data)[2:] }

// NewMessage is a CAdES signature with ECDSA or RSA PKCS #1 v1.5 over a digest
// by SHA-256.
func NewMessage(by *Identity, digest []byte) *Message {
	alg := DER(tag.SEQUENCE, ECDSASHA256)
	if by.Cert.PublicKeyAlgorithm == x509.RSA {
		alg = DER(tag.SEQUENCE, RSASHA256, []byte{5, 0})
	}
	return &Message{
		Certs: by.Chain()[:1], Named: by.Cert, Hash: crypto.SHA256, Digest: DER(tag.SEQUENCE, SHA256), Algorithm: alg, Key: by.Key,
		Attributes: [][]byte{Attribute(ContentType, Type()), Attribute(MessageDigest, Octets(digest)), Attribute(SigningCertV2, SigningCertificate(by.Cert))},
	}
}

// Marshal puts it together and signs it.
func (m *Message) Marshal(t testing.TB) []byte {
	t.Helper()
	attributes := slices.Clone(m.Attributes)
	if !m.Unsorted {
		slices.SortFunc(attributes, bytes.Compare)
	}
	signed := m.Signed
	if signed == nil {
		signed = DER(tag.SET, bytes.Join(attributes, nil))
	}
	h := m.Hash.New()
	h.Write(signed)
	opts := m.Options
	if opts == nil {
		opts = m.Hash
	}
	value, err := m.Key.Sign(rand.Reader, h.Sum(nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	if m.Change != nil {
		value = m.Change(value)
	}
	context := func(n uint8) tag.Tag { return tag.Tag(n).ContextSpecific().Constructed() }
	var set, certs, content []byte
	if m.Attributes != nil {
		set = DER(context(0), bytes.Join(attributes, nil))
	}
	for _, c := range m.Certs {
		certs = append(certs, c.Raw...)
	}
	if m.Content != nil {
		content = DER(context(0), Octets(m.Content))
	}
	serial, err := asn1.Marshal(m.Named.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	signer := DER(tag.SEQUENCE, 1, DER(tag.SEQUENCE, m.Named.RawIssuer, serial), m.Digest, set, m.Algorithm, Octets(value))
	return DER(tag.SEQUENCE, signedData, DER(context(0), DER(tag.SEQUENCE, 1, DER(tag.SET, m.Digest), DER(tag.SEQUENCE, data, content),
		DER(context(0), certs), DER(tag.SET, bytes.Repeat(signer, max(1, m.Signers))))))
}
