package cms

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Content types and attributes.
var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}

	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSignatureTimestamp   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
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
	if err := alg.fits(signer.PublicKey); err != nil {
		return nil, err
	}
	if len(digest) != alg.Hash().Size() {
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrDigest, len(digest), alg)
	}
	certHash := sha256.Sum256(signer.Raw)
	attributes := [][]byte{
		attribute(oidContentType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) }),
		attribute(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digest) }),
		// SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } }, the hash
		// algorithm at its default SHA-256 (RFC 5035, section 3).
		attribute(oidSigningCertificateV2, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1OctetString(certHash[:]) })
				})
			})
		}),
	}
	slices.SortFunc(attributes, bytes.Compare) // DER's order of a SET OF
	var b cryptobyte.Builder
	b.AddASN1(tag.SET, func(b *cryptobyte.Builder) {
		for _, a := range attributes {
			b.AddBytes(a)
		}
	})
	return b.Bytes()
}

// attribute is the DER of an Attribute with one value.
func attribute(oid asn1.ObjectIdentifier, value cryptobyte.BuilderContinuation) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1(tag.SET, value)
	})
	return b.BytesOrPanic() // nothing in here can be too long
}

// SignedData is what becomes a detached CMS message with one signer.
type SignedData struct {
	Algorithm    Algorithm
	Certificates []*x509.Certificate // the signer's first, then its issuers
	Attributes   []byte              // from SignedAttributes
	Value        []byte              // the signature value over Attributes, see VerifyValue
	Timestamp    []byte              // RFC 3161 token over the value in its embedded form; nil for none
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
	signer := s.Certificates[0]
	size := 256 + len(s.Attributes) + len(value) + len(s.Timestamp) + len(signer.RawIssuer)
	for _, c := range s.Certificates {
		size += len(c.Raw)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	explicit := tag.Tag(0).ContextSpecific().Constructed()
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { // ContentInfo
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { // SignedData
				b.AddASN1Int64(1)
				b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { addDigest(b, s.Algorithm.Hash()) })
				b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidData) })
				b.AddASN1(explicit, func(b *cryptobyte.Builder) { addCertificates(b, s.Certificates) })
				b.AddASN1(tag.SET, func(b *cryptobyte.Builder) { s.addSignerInfo(b, value) })
			})
		})
	})
	return b.Bytes()
}

// addCertificates appends the set in DER's order, each certificate once.
func addCertificates(b *cryptobyte.Builder, certs []*x509.Certificate) {
	raw := make([][]byte, len(certs))
	for i, c := range certs {
		raw[i] = c.Raw
	}
	slices.SortFunc(raw, bytes.Compare)
	for _, r := range slices.CompactFunc(raw, bytes.Equal) {
		b.AddBytes(r)
	}
}

func (s SignedData) addSignerInfo(b *cryptobyte.Builder, value []byte) {
	signer := s.Certificates[0]
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) { // IssuerAndSerialNumber
			b.AddBytes(signer.RawIssuer)
			b.AddASN1BigInt(signer.SerialNumber)
		})
		addDigest(b, s.Algorithm.Hash())
		// [0] IMPLICIT: what is signed has the tag of SET, what is stored has not.
		b.AddBytes([]byte{byte(tag.Tag(0).ContextSpecific().Constructed())})
		b.AddBytes(s.Attributes[1:])
		s.Algorithm.addSignature(b)
		b.AddASN1OctetString(value)
		if s.Timestamp != nil {
			b.AddASN1(tag.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddBytes(attributeRaw(oidSignatureTimestamp, s.Timestamp))
			})
		}
	})
}

func attributeRaw(oid asn1.ObjectIdentifier, der []byte) []byte {
	return attribute(oid, func(b *cryptobyte.Builder) { b.AddBytes(der) })
}

// Size is the length in bytes that a message of these certificates will have at
// most, with a timestamp token of tokenSize bytes (0 for none).
func Size(alg Algorithm, certs []*x509.Certificate, tokenSize int) (int, error) {
	if len(certs) == 0 {
		return 0, fmt.Errorf("%w: none given", ErrCertificate)
	}
	attributes, err := SignedAttributes(alg, make([]byte, alg.Hash().Size()), certs[0])
	if err != nil {
		return 0, err
	}
	s := SignedData{Algorithm: alg, Certificates: certs, Attributes: attributes, Timestamp: make([]byte, tokenSize)}
	der, err := s.MarshalVerified(make([]byte, maxValue(certs[0])))
	return len(der), err
}

// WithTimestamp gives the message with a token added to the unsigned attributes
// of its signer, everything else byte for byte as it was. Check the token first.
func (m *Message) WithTimestamp(token []byte) ([]byte, error) {
	var info, wrap, sd, before, signers, si, unsigned cryptobyte.String
	in := cryptobyte.String(m.Raw)
	explicit := tag.Tag(0).ContextSpecific().Constructed()
	attributes := tag.Tag(1).ContextSpecific().Constructed()
	if !in.ReadASN1(&info, tag.SEQUENCE) || !info.SkipASN1(tag.OBJECT_IDENTIFIER) || !info.ReadASN1(&wrap, explicit) ||
		!wrap.ReadASN1(&sd, tag.SEQUENCE) {
		return nil, malformed("ContentInfo")
	}
	before = sd
	for rest := sd; !rest.Empty(); { // SignerInfos come last
		var el cryptobyte.String
		var t tag.Tag
		if !rest.ReadAnyASN1Element(&el, &t) {
			return nil, malformed("SignedData")
		}
		if rest.Empty() {
			before, signers = sd[:len(sd)-len(el)], el
		}
	}
	if !signers.ReadASN1(&signers, tag.SET) || !signers.ReadASN1(&si, tag.SEQUENCE) {
		return nil, malformed("SignerInfo")
	}
	body := si
	for rest := si; !rest.Empty(); {
		var el cryptobyte.String
		var t tag.Tag
		if !rest.ReadAnyASN1Element(&el, &t) {
			return nil, malformed("SignerInfo")
		}
		if rest.Empty() && t == attributes {
			body = si[:len(si)-len(el)]
			el.ReadASN1(&unsigned, t)
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidSignedData)
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(before)
				b.AddASN1(tag.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(body)
						b.AddASN1(attributes, func(b *cryptobyte.Builder) {
							b.AddBytes(unsigned)
							b.AddBytes(attributeRaw(oidSignatureTimestamp, token))
						})
					})
				})
			})
		})
	})
	return b.Bytes()
}
