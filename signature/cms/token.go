package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Token is a parsed RFC 3161 timestamp token.
type Token struct {
	*Message
	Policy      asn1.ObjectIdentifier
	ImprintHash crypto.Hash
	Imprint     []byte
	Serial      *big.Int
	Time        time.Time     // genTime, UTC
	Accuracy    time.Duration // zero if not stated
	Nonce       *big.Int      // nil if there is none
}

var oidExtKeyUsage = newOID(2, 5, 29, 37)

// ParseToken reads a timestamp token as Parse reads a message; it checks no
// signature.
func ParseToken(der []byte) (*Token, error) {
	m, err := Parse(der)
	if err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	if !m.IsTimestamp() || m.Content == nil {
		return nil, fmt.Errorf("timestamp token: %w", malformed("content is no TSTInfo"))
	}
	t := &Token{Message: m}
	if err := t.readInfo(m.Content); err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	return t, nil
}

// readInfo reads the TSTInfo (RFC 3161, section 2.4.2).
func (t *Token) readInfo(der []byte) error {
	in := cryptobyte.String(der)
	var info, imprint, alg, hash, when, accuracy, skip cryptobyte.String
	var version int
	var hasAccuracy, has bool
	var oid asn1.ObjectIdentifier
	t.Serial = new(big.Int)
	if !in.ReadASN1(&info, tag.SEQUENCE) || !in.Empty() || !info.ReadASN1Integer(&version) || version != 1 ||
		!info.ReadASN1ObjectIdentifier(&t.Policy) || !info.ReadASN1(&imprint, tag.SEQUENCE) ||
		!imprint.ReadASN1(&alg, tag.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) ||
		!imprint.ReadASN1(&hash, tag.OCTET_STRING) || !imprint.Empty() ||
		!info.ReadASN1Integer(t.Serial) || !info.ReadASN1(&when, tag.GeneralizedTime) ||
		!info.ReadOptionalASN1(&accuracy, &hasAccuracy, tag.SEQUENCE) ||
		!info.ReadOptionalASN1(&skip, &has, tag.BOOLEAN) {
		return malformed("TSTInfo")
	}
	var ok bool
	if t.Time, ok = genTime(string(when)); !ok {
		return malformed("genTime")
	}
	if hasAccuracy {
		if t.Accuracy, ok = readAccuracy(accuracy); !ok {
			return malformed("accuracy")
		}
	}
	if info.PeekASN1Tag(tag.INTEGER) {
		t.Nonce = new(big.Int)
		if !info.ReadASN1Integer(t.Nonce) {
			return malformed("nonce")
		}
	}
	if !info.ReadOptionalASN1(&skip, &has, explicit0) ||
		!info.ReadOptionalASN1(&skip, &has, explicit1) || !info.Empty() {
		return malformed("TSTInfo")
	}
	var err error
	if t.ImprintHash, err = hashOf(oid); err != nil {
		return err
	}
	if t.Imprint = hash; len(hash) != t.ImprintHash.Size() {
		return malformed("messageImprint")
	}
	return nil
}

// genTime is a GeneralizedTime in UTC that may have fractions of a second,
// which time.Parse takes without being told.
func genTime(s string) (time.Time, bool) {
	for _, c := range s {
		if (c < '0' || c > '9') && c != '.' && c != 'Z' {
			return time.Time{}, false
		}
	}
	t, err := time.Parse("20060102150405Z", s)
	return t, err == nil
}

func readAccuracy(in cryptobyte.String) (time.Duration, bool) {
	var s, ms, us int64
	if in.PeekASN1Tag(tag.INTEGER) && !in.ReadASN1Integer(&s) {
		return 0, false
	}
	for n, v := range []*int64{&ms, &us} {
		t := tag.Tag(n).ContextSpecific()
		if in.PeekASN1Tag(t) && !in.ReadASN1Int64WithTag(v, t) {
			return 0, false
		}
	}
	if !in.Empty() || s < 0 || s > 1<<30 || ms < 0 || ms > 999 || us < 0 || us > 999 {
		return 0, false
	}
	return time.Duration(s)*time.Second + time.Duration(ms)*time.Millisecond + time.Duration(us)*time.Microsecond, true
}

// CheckImprint compares what was stamped with the digest of the data.
func (t *Token) CheckImprint(h crypto.Hash, digest []byte) error {
	if t.ImprintHash != h || !bytes.Equal(t.Imprint, digest) {
		return fmt.Errorf("timestamp token: %w", ErrDigest)
	}
	return nil
}

// CheckNonce wants the nonce that was asked with.
func (t *Token) CheckNonce(nonce *big.Int) error {
	if t.Nonce == nil || t.Nonce.Cmp(nonce) != 0 {
		return fmt.Errorf("timestamp token: %w: another nonce", ErrFormat)
	}
	return nil
}

// CheckSigner verifies the token's own signature and returns its signer's
// certificate, found in the token or among extra. Its chain is not judged.
func (t *Token) CheckSigner(extra ...*x509.Certificate) (*x509.Certificate, error) {
	cert, err := t.verify(sum(t.hash, t.Content), extra)
	if err != nil {
		return cert, fmt.Errorf("timestamp token: %w", err)
	}
	return cert, CheckTimestampUsage(cert)
}

// CheckTimestampUsage wants id-kp-timeStamping as the only extended key usage,
// in a critical extension (RFC 3161, section 2.3).
func CheckTimestampUsage(cert *x509.Certificate) error {
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidExtKeyUsage.ObjectIdentifier) })
	if i < 0 || !cert.Extensions[i].Critical || len(cert.UnknownExtKeyUsage) > 0 ||
		!slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}) {
		return fmt.Errorf("timestamp token: %w: not a certificate of a timestamp authority alone", ErrCertificate)
	}
	return nil
}

// TokenPolicy says what VerifyToken wants.
type TokenPolicy struct {
	Hash         crypto.Hash
	Digest       []byte              // what was to be stamped
	Nonce        *big.Int            // that was asked with; nil if none was
	Certificates []*x509.Certificate // that may help to build the chain
	Anchors      *x509.CertPool      // trusted; nil means none
	Now          time.Time           // for the chain; genTime must lie within Skew of it
	Skew         time.Duration
}

// VerifyToken is what a client checks on a token that it has just received:
// imprint, nonce, signature, signing certificate, key usage, chain to an anchor,
// and a time that is not far from its own. It asks for no revocation data.
func VerifyToken(der []byte, p TokenPolicy) (*Token, error) {
	t, err := ParseToken(der)
	if err != nil {
		return nil, err
	}
	if err := t.CheckImprint(p.Hash, p.Digest); err != nil {
		return nil, err
	}
	if p.Nonce != nil {
		if err := t.CheckNonce(p.Nonce); err != nil {
			return nil, err
		}
	}
	cert, err := t.CheckSigner(p.Certificates...)
	if err != nil {
		return nil, err
	}
	if d := t.Time.Sub(p.Now).Abs(); d > p.Skew {
		return nil, fmt.Errorf("timestamp token: its time %s is %s off ours", t.Time.Format(time.RFC3339), d)
	}
	if _, err := Chain(cert, slices.Concat(t.Certificates, p.Certificates), p.Anchors, p.Now); err != nil {
		return nil, fmt.Errorf("timestamp token: %w", err)
	}
	return t, nil
}

// Chain builds a chain from cert to one of the anchors through others, all valid
// at a time, for any extended key usage. The first is cert, the last the anchor.
// An anchor that is cert itself is a chain of one; nil anchors are none.
func Chain(cert *x509.Certificate, others []*x509.Certificate, anchors *x509.CertPool, at time.Time) ([]*x509.Certificate, error) {
	if anchors == nil {
		anchors = x509.NewCertPool() // nil would mean the system's
	}
	intermediates := x509.NewCertPool()
	for _, c := range others {
		intermediates.AddCert(c)
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: anchors, Intermediates: intermediates, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("building the chain of %q: %w", cert.Subject, err)
	}
	return chains[0], nil
}
