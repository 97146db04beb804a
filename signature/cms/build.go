package cms

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Errors; others wrap these.
var (
	// ErrFormat: the bytes are not what the standard prescribes.
	ErrFormat = errors.New("malformed signature message")
	// ErrAlgorithm: an algorithm, key size or combination that is not accepted.
	ErrAlgorithm = errors.New("algorithm not accepted")
	// ErrDigest: messageDigest or imprint is that of other data.
	ErrDigest = errors.New("digest belongs to other data")
	// ErrSignature: the signature value is wrong.
	ErrSignature = errors.New("signature value does not verify")
	// ErrCertificate: the signer's certificate is missing or not the one that was signed with.
	ErrCertificate = errors.New("signing certificate missing or another one")
)

// SignedAttributes gives the signed attributes of a PAdES signature over
// content with the given digest (under the hash of alg): DER of the SET OF,
// tag 0x31, which is what gets hashed and signed (RFC 5652, section 5.4).
// They are contentType (id-data), messageDigest and signingCertificateV2;
// signing-time is not among them (ETSI EN 319 142-1, clause 6.3).
func SignedAttributes(alg Algorithm, digest []byte, signer *x509.Certificate) ([]byte, error) {
	return signedAttributes(alg, digest, signer)
}

// CAdESAttributes are those of a CAdES signature (ETSI EN 319 122-1, clause 6.3):
// besides what SignedAttributes gives, signing-time, which CAdES demands, and
// mime-type and a claimed role where they are not empty.
func CAdESAttributes(alg Algorithm, digest []byte, signer *x509.Certificate, at time.Time, mime, role string) ([]byte, error) {
	var b cryptobyte.Builder
	if at = at.UTC(); at.Year() >= 1950 && at.Year() < 2050 { // RFC 5652, section 11.3
		b.AddASN1UTCTime(at)
	} else {
		b.AddASN1GeneralizedTime(at)
	}
	when, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	more := [][]byte{attribute(oidSigningTime, when)}
	if mime != "" {
		more = append(more, attribute(oidMimeType, tlv(tag.UTF8String, []byte(mime))))
	}
	if role != "" {
		// signer-attributes-v2 { claimedAttributes [0] { name } } (clause 5.2.6.1), a
		// role in words as EU DSS writes it; the module has explicit tags.
		more = append(more, attribute(oidSignerAttributesV2, tlv(tag.SEQUENCE, tlv(explicit0, tlv(tag.SEQUENCE, attribute(oidName, tlv(tag.UTF8String, []byte(role))))))))
	}
	return signedAttributes(alg, digest, signer, more...)
}

func signedAttributes(alg Algorithm, digest []byte, signer *x509.Certificate, more ...[]byte) ([]byte, error) {
	if err := alg.fits(signer.PublicKey); err != nil {
		return nil, err
	}
	if len(digest) != alg.Hash().Size() {
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrDigest, len(digest), alg)
	}
	certHash := sha256.Sum256(signer.Raw)
	attributes := [][]byte{
		attribute(oidContentType, oidData.der),
		attribute(oidMessageDigest, tlv(tag.OCTET_STRING, digest)),
		// SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } }, the hash
		// algorithm at its default SHA-256 (RFC 5035, section 3).
		attribute(oidSigningCertificateV2, tlv(tag.SEQUENCE, tlv(tag.SEQUENCE, tlv(tag.SEQUENCE, tlv(tag.OCTET_STRING, certHash[:]))))),
	}
	attributes = append(attributes, more...)
	slices.SortFunc(attributes, bytes.Compare) // DER's order of a SET OF
	return tlv(tag.SET, attributes...), nil
}

// attribute is the DER of an Attribute with one value.
func attribute(oid objectID, value []byte) []byte {
	return tlv(tag.SEQUENCE, oid.der, tlv(tag.SET, value))
}

// SignedData is what becomes a detached CMS message with one signer.
type SignedData struct {
	Algorithm    Algorithm
	Certificates []*x509.Certificate // the signer's first, then its issuers, of which only Raw is read
	Attributes   []byte              // from SignedAttributes
	Value        []byte              // the signature value over Attributes, see VerifyValue
	Timestamp    []byte              // RFC 3161 token over the value in its embedded form; nil for none
}

// Issuers are certificates with Raw only, for SignedData and Size: reading them
// would take as long as verifying a value.
func Issuers(chain [][]byte) []*x509.Certificate {
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		certs[i] = &x509.Certificate{Raw: der}
	}
	return certs
}

// Marshal verifies the value and gives the message, a DER ContentInfo.
// Timestamp is embedded as it is: check it first.
func (s SignedData) Marshal() ([]byte, error) {
	if len(s.Certificates) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrCertificate)
	}
	value, err := VerifyValue(s.Certificates[0], s.Algorithm, s.Attributes, s.Value)
	if err != nil {
		return nil, err
	}
	return s.MarshalVerified(value)
}

// MarshalVerified is Marshal for a value that VerifyValue has just returned; it
// does not verify it a second time.
func (s SignedData) MarshalVerified(value []byte) ([]byte, error) {
	if len(s.Attributes) < 2 || s.Attributes[0] != byte(tag.SET) {
		return nil, malformed("signed attributes")
	}
	certs := make([][]byte, len(s.Certificates))
	for i, c := range s.Certificates {
		certs[i] = c.Raw
	}
	slices.SortFunc(certs, bytes.Compare)
	certs = slices.CompactFunc(certs, bytes.Equal)
	signed := tlv(tag.SEQUENCE, // SignedData
		version1,
		tlv(tag.SET, digestAlgorithm(s.Algorithm.Hash())),
		tlv(tag.SEQUENCE, oidData.der),
		tlv(explicit0, certs...),
		tlv(tag.SET, s.signerInfo(value)),
	)
	return tlv(tag.SEQUENCE, oidSignedData.der, tlv(explicit0, signed)), nil
}

func (s SignedData) signerInfo(value []byte) []byte {
	signer := s.Certificates[0]
	// [0] IMPLICIT: what is signed has the tag of SET, what is stored has not.
	attributes := bytes.Clone(s.Attributes)
	attributes[0] = byte(explicit0)
	parts := [][]byte{
		version1,
		tlv(tag.SEQUENCE, signer.RawIssuer, integer(signer.SerialNumber)),
		digestAlgorithm(s.Algorithm.Hash()),
		attributes,
		s.Algorithm.identifier(),
		tlv(tag.OCTET_STRING, value),
	}
	if s.Timestamp != nil {
		parts = append(parts, tlv(explicit1, attribute(oidSignatureTimestamp, s.Timestamp)))
	}
	return tlv(tag.SEQUENCE, parts...)
}

// Size bounds the length in bytes of a message of these certificates, with a
// timestamp token of tokenSize bytes (0 for none).
func Size(alg Algorithm, certs []*x509.Certificate, tokenSize int) (int, error) {
	if len(certs) == 0 {
		return 0, fmt.Errorf("%w: none given", ErrCertificate)
	}
	if err := alg.fits(certs[0].PublicKey); err != nil {
		return 0, err
	}
	// Everything of fixed form is below 384 bytes; the hash stands in it once.
	size := 384 + alg.Hash().Size() + maxValue(certs[0]) + len(certs[0].RawIssuer) + tokenSize
	for _, c := range certs {
		size += len(c.Raw)
	}
	return size, nil
}
