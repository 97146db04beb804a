package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	_ "crypto/sha256" // registered in hashes
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Timestamper gives RFC 3161 tokens over SHA-256 digests. OwnClock and Remote
// are the two kinds; one never stands in for the other.
type Timestamper interface {
	// Timestamp gives a verified token (DER, a CMS ContentInfo).
	Timestamp(ctx context.Context, digest []byte) ([]byte, error)
	// Probe says whether Timestamp would work now; an error names who is away.
	Probe(ctx context.Context) error
	// Clock says for people whose time the tokens tell.
	Clock() string
}

// maxToken bounds a timestamp token and the response around it. Real ones have
// 2 to 8 KB; one of Contents' size must be reserved for it.
const maxToken = 64 << 10

// Token is a timestamp token whose signature holds. Whether its signer is
// trusted is a question to Token.Trust.
type Token struct {
	*timestamp.Timestamp
	Signer *x509.Certificate
}

// ParseToken reads a token and checks, after RFC 3161 2.4.2 and RFC 5816: one signer
// whose certificate is inside and is the one that the signed attributes name,
// a signature over the TSTInfo, and the timeStamping purpose, critical and alone.
func ParseToken(der []byte) (*Token, error) {
	if len(der) > maxToken {
		return nil, fmt.Errorf("timestamp token: %d bytes, at most %d", len(der), maxToken)
	}
	ts, err := timestamp.Parse(der) // verifies the signature if a certificate is inside
	if err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	signer := p7.GetOnlySigner()
	if signer == nil {
		return nil, errors.New("timestamp token: want one signer with its certificate")
	}
	if err := checkContentType(der, p7); err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	if err := checkSigningCertificate(p7, signer); err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	if err := checkPurpose(signer); err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	return &Token{Timestamp: ts, Signer: signer}, nil
}

var (
	oidTSTInfo              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}  // RFC 3161, 2.4.2
	oidSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12} // RFC 2634, 5.4
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47} // RFC 5035
)

// hashes by the identifier in an ESSCertIDv2; an absent one means SHA-256.
var hashes = map[string]crypto.Hash{
	"":                       crypto.SHA256,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// checkContentType wants TSTInfo both as what is enclosed and as what the
// signed attributes say.
func checkContentType(der []byte, p7 *pkcs7.PKCS7) error {
	in := cryptobyte.String(der)
	var info, content, signed, encap cryptobyte.String
	var outer, inner, attr asn1.ObjectIdentifier
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&outer) ||
		!info.ReadASN1(&content, cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		!content.ReadASN1(&signed, cbasn1.SEQUENCE) ||
		!signed.SkipASN1(cbasn1.INTEGER) || !signed.SkipASN1(cbasn1.SET) ||
		!signed.ReadASN1(&encap, cbasn1.SEQUENCE) || !encap.ReadASN1ObjectIdentifier(&inner) {
		return errors.New("not in DER") // RFC 3161 asks for it
	}
	if err := p7.UnmarshalSignedAttribute(pkcs7.OIDAttributeContentType, &attr); err != nil {
		return err
	}
	if !inner.Equal(oidTSTInfo) || !attr.Equal(oidTSTInfo) {
		return fmt.Errorf("holds %v, signs %v: want TSTInfo", inner, attr)
	}
	return nil
}

// checkSigningCertificate compares the signer with the ESSCertID (SHA-1,
// RFC 2634) or ESSCertIDv2 (RFC 5816) among the signed attributes.
func checkSigningCertificate(p7 *pkcs7.PKCS7, signer *x509.Certificate) error {
	var v2 struct {
		Certs []struct {
			Hash         pkix.AlgorithmIdentifier `asn1:"optional"` // default SHA-256
			Value        []byte
			IssuerSerial asn1.RawValue `asn1:"optional"`
		}
		Policies asn1.RawValue `asn1:"optional"`
	}
	if err := p7.UnmarshalSignedAttribute(oidSigningCertificateV2, &v2); err == nil && len(v2.Certs) > 0 {
		c := v2.Certs[0]
		h, ok := hashes[c.Hash.Algorithm.String()]
		if !ok {
			return fmt.Errorf("names its certificate by the hash %v", c.Hash.Algorithm)
		}
		d := h.New()
		d.Write(signer.Raw)
		if !bytes.Equal(d.Sum(nil), c.Value) {
			return errors.New("names another certificate than the one enclosed")
		}
		return nil
	}
	var v1 struct {
		Certs []struct {
			Value        []byte
			IssuerSerial asn1.RawValue `asn1:"optional"`
		}
		Policies asn1.RawValue `asn1:"optional"`
	}
	if err := p7.UnmarshalSignedAttribute(oidSigningCertificate, &v1); err != nil || len(v1.Certs) == 0 {
		return errors.New("does not name its certificate")
	}
	if d := sha1.Sum(signer.Raw); !bytes.Equal(d[:], v1.Certs[0].Value) {
		return errors.New("names another certificate than the one enclosed")
	}
	return nil
}

// checkPurpose wants timeStamping as the only extended key purpose, critical
// (RFC 3161, 2.3).
func checkPurpose(c *x509.Certificate) error {
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidExtKeyUsage) {
			continue
		}
		if !e.Critical || len(c.UnknownExtKeyUsage) > 0 || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping {
			return errors.New("its certificate is not for timestamps alone")
		}
		return nil
	}
	return errors.New("its certificate is not for timestamps")
}

// Answers checks that the token is over this SHA-256 digest.
func (t *Token) Answers(digest []byte) error {
	if t.HashAlgorithm != crypto.SHA256 || !bytes.Equal(t.HashedMessage, digest) {
		return errors.New("the token is over other data")
	}
	return nil
}

// Trust builds the signer's chain to one of the roots at the token's own time;
// more are certificates that may lie in between. The root comes last.
func (t *Token) Trust(roots *x509.CertPool, more []*x509.Certificate) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range append(t.Certificates, more...) {
		between.AddCert(c)
	}
	chains, err := t.Signer.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: t.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	if err != nil {
		return nil, fmt.Errorf("timestamp certificate %q: %w", t.Signer.Subject.CommonName, err)
	}
	return chains[0], nil
}
