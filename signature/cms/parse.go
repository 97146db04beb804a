package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of Parse.
const (
	MaxSize         = 8 << 20 // bytes of a message
	maxCertificates = 64
	maxRevocation   = 64 // CRLs and OCSP responses
	maxAttributes   = 64 // in one set; and timestamps of one kind
	maxDigests      = 64 // digest algorithms of a message
)

// Message is a parsed SignedData as one of its signers sees it.
type Message struct {
	Raw          []byte
	ContentType  asn1.ObjectIdentifier
	Content      []byte // nil if detached
	Certificates []*x509.Certificate
	CRLs         [][]byte // DER, from SignedData.crls
	OCSPs        [][]byte // DER of OCSPResponse, from SignedData.crls
	Algorithm    Algorithm
	Value        []byte   // the signature value
	Attributes   []byte   // signed attributes, DER of the SET OF as it was signed
	Timestamps   [][]byte // values of signature-time-stamp, unsigned
	Archives     [][]byte // values of archive-time-stamp-v3, unsigned, in their order
	SigningTime  time.Time
	Role         string // claimed by the signer, in words; "" for none that is read here

	salt     int
	hash     crypto.Hash
	signed   []attr
	issuer   []byte // raw Name; nil if the signer is named by keyID
	serial   *big.Int
	keyID    []byte
	unparsed int // certificates that crypto/x509 cannot read
	frame    *frame
	index    int // of the signer in it
}

type attr struct {
	oid    asn1.ObjectIdentifier
	values cryptobyte.String // content of the SET
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// Hash is the digest algorithm of the message.
func (m *Message) Hash() crypto.Hash { return m.hash }

// IsTimestamp reports whether the content is a TSTInfo.
func (m *Message) IsTimestamp() bool { return m.ContentType.Equal(oidTSTInfo.ObjectIdentifier) }

// Parse reads a DER ContentInfo with SignedData and exactly one signer that has
// signed attributes; nothing may follow it. It checks no signature. The error
// wraps ErrFormat, or ErrAlgorithm for algorithms that are not accepted.
func Parse(der []byte) (*Message, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(der), MaxSize)
	}
	m, signers, err := parse(der, maxCertificates, maxRevocation)
	if err != nil {
		return nil, err
	}
	if len(signers) != 1 {
		return nil, malformed("not exactly one SignerInfo")
	}
	return m, m.readSigner(signers[0])
}

// parse reads everything but the SignerInfos.
func parse(der []byte, certificates, revocation int) (*Message, []cryptobyte.String, error) {
	in := cryptobyte.String(der)
	var info, wrap, sd cryptobyte.String
	var oid asn1.ObjectIdentifier
	explicit := explicit0
	if !in.ReadASN1(&info, tag.SEQUENCE) || !in.Empty() || !info.ReadASN1ObjectIdentifier(&oid) ||
		!info.ReadASN1(&wrap, explicit) || !info.Empty() {
		return nil, nil, malformed("not a DER ContentInfo")
	}
	if !oid.Equal(oidSignedData.ObjectIdentifier) || !wrap.ReadASN1(&sd, tag.SEQUENCE) || !wrap.Empty() {
		return nil, nil, malformed("not a SignedData")
	}
	m := &Message{Raw: der, frame: &frame{}}
	var digests, encap, certs, crls, signers cryptobyte.String
	var hasCerts, hasCRLs bool
	f := m.frame
	if !sd.ReadASN1Integer(&f.version) || !sd.ReadASN1Element(&digests, tag.SET) || !sd.ReadASN1Element(&encap, tag.SEQUENCE) ||
		!sd.ReadOptionalASN1(&certs, &hasCerts, explicit0) ||
		!sd.ReadOptionalASN1(&crls, &hasCRLs, explicit1) ||
		!sd.ReadASN1(&signers, tag.SET) || !sd.Empty() {
		return nil, nil, malformed("SignedData")
	}
	f.digests, f.content = digests, encap
	if err := m.readContent(encap); err != nil {
		return nil, nil, err
	}
	if !m.allows(f.version) {
		return nil, nil, malformed("version of SignedData")
	}
	if err := m.readCertificates(certs, certificates); err != nil {
		return nil, nil, err
	}
	if err := m.readRevocation(crls, revocation); err != nil {
		return nil, nil, err
	}
	var out []cryptobyte.String
	for !signers.Empty() && len(out) <= maxSigners {
		var si cryptobyte.String
		if !signers.ReadASN1(&si, tag.SEQUENCE) {
			return nil, nil, malformed("SignerInfos")
		}
		part, err := splitSigner(si)
		if err != nil {
			return nil, nil, err
		}
		f.signers = append(f.signers, part)
		out = append(out, si)
	}
	return m, out, nil
}

// allows reports whether a SignedData can have a version (RFC 5652, 5.1): 2 was
// never given out, and 1 is for content of type data alone. Which of the others is
// right depends on certificates and lists that nobody needs, and writers err there.
func (m *Message) allows(version int) bool {
	return version == 1 && m.ContentType.Equal(oidData.ObjectIdentifier) || version >= 3 && version <= 5
}

// checkDigests wants the signer's digest algorithm among those of the message
// (RFC 5652, 5.1: an implementation may fail a signature whose algorithm is not).
// Nothing signs this set.
func (m *Message) checkDigests() error {
	set := cryptobyte.String(m.frame.digests)
	var in cryptobyte.String
	if !set.ReadASN1(&in, tag.SET) {
		return malformed("digestAlgorithms")
	}
	found := false
	for n := 0; !in.Empty(); n++ {
		var seq cryptobyte.String
		var oid asn1.ObjectIdentifier
		if n == maxDigests || !in.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&oid) {
			return malformed("digestAlgorithms")
		}
		if oid.Equal(hashOID(m.hash).ObjectIdentifier) {
			if found = true; !noParameters(seq) {
				return malformed("digestAlgorithms")
			}
		}
	}
	if !found {
		return malformed("the signer's digest algorithm is not among those of the message")
	}
	return nil
}

func (m *Message) readContent(el cryptobyte.String) error {
	var in, wrap, content cryptobyte.String
	var has bool
	if !el.ReadASN1(&in, tag.SEQUENCE) || !in.ReadASN1ObjectIdentifier(&m.ContentType) ||
		!in.ReadOptionalASN1(&wrap, &has, explicit0) || !in.Empty() {
		return malformed("EncapsulatedContentInfo")
	}
	if has {
		if !wrap.ReadASN1(&content, tag.OCTET_STRING) || !wrap.Empty() {
			return malformed("eContent")
		}
		m.Content = content
		if m.Content == nil {
			m.Content = []byte{}
		}
	}
	return nil
}

// readCertificates keeps what crypto/x509 can read and passes over attribute
// certificates and other choices.
func (m *Message) readCertificates(in cryptobyte.String, limit int) error {
	for n := 0; !in.Empty(); n++ {
		var el cryptobyte.String
		var t tag.Tag
		if n == limit || !in.ReadAnyASN1Element(&el, &t) {
			return malformed("certificates")
		}
		m.frame.certs = append(m.frame.certs, el)
		if t != tag.SEQUENCE {
			continue
		}
		c, err := x509.ParseCertificate(el)
		if err != nil {
			m.unparsed++
			continue
		}
		m.Certificates = append(m.Certificates, c)
	}
	return nil
}

// readRevocation keeps CRLs and OCSP responses, and passes over other choices.
func (m *Message) readRevocation(in cryptobyte.String, limit int) error {
	for n := 0; !in.Empty(); n++ {
		var el cryptobyte.String
		var t tag.Tag
		if n == limit || !in.ReadAnyASN1Element(&el, &t) {
			return malformed("crls")
		}
		m.frame.crls = append(m.frame.crls, el)
		if t != tag.SEQUENCE {
			if der := ocspIn(el); der != nil {
				m.OCSPs = append(m.OCSPs, der)
			}
			continue
		}
		// The two sets differ in a bit of their tags; a certificate here is one whose
		// set has lost it. TBSCertificate begins with [0], TBSCertList does not.
		list := el
		var tbs cryptobyte.String
		if !list.ReadASN1(&list, tag.SEQUENCE) || !list.ReadASN1(&tbs, tag.SEQUENCE) || tbs.PeekASN1Tag(explicit0) {
			return malformed("crls")
		}
		m.CRLs = append(m.CRLs, el)
	}
	return nil
}

func (m *Message) readSigner(in cryptobyte.String) error {
	var version int
	var sid, digest, signedEl, sigAlg, value, unsigned cryptobyte.String
	var sidTag tag.Tag
	var hasUnsigned bool
	if !in.ReadASN1Integer(&version) || !in.ReadAnyASN1(&sid, &sidTag) || !in.ReadASN1(&digest, tag.SEQUENCE) {
		return malformed("SignerInfo")
	}
	switch {
	case version == 1 && sidTag == tag.SEQUENCE:
		var issuer cryptobyte.String
		m.serial = new(big.Int)
		if !sid.ReadASN1Element(&issuer, tag.SEQUENCE) || !sid.ReadASN1Integer(m.serial) || !sid.Empty() {
			return malformed("signer identifier")
		}
		m.issuer = issuer
	case version == 3 && sidTag == tag.Tag(0).ContextSpecific():
		m.keyID = sid
	default:
		return malformed("signer identifier")
	}
	if !in.PeekASN1Tag(explicit0) {
		return malformed("no signed attributes")
	}
	if !in.ReadASN1Element(&signedEl, explicit0) ||
		!in.ReadASN1(&sigAlg, tag.SEQUENCE) || !in.ReadASN1(&value, tag.OCTET_STRING) ||
		!in.ReadOptionalASN1(&unsigned, &hasUnsigned, explicit1) || !in.Empty() {
		return malformed("SignerInfo")
	}
	m.Value = value
	m.Attributes = bytes.Clone(signedEl)
	m.Attributes[0] = byte(tag.SET)
	if err := m.readAttributes(signedEl, unsigned); err != nil {
		return err
	}
	var oid asn1.ObjectIdentifier
	if !digest.ReadASN1ObjectIdentifier(&oid) || !noParameters(digest) {
		return malformed("digest algorithm")
	}
	var err error
	if m.hash, err = hashOf(oid); err != nil {
		return err
	}
	if m.Algorithm, m.salt, err = readAlgorithm(m.hash, sigAlg); err != nil {
		return err
	}
	return m.checkDigests()
}

func (m *Message) readAttributes(signed, unsigned cryptobyte.String) error {
	var set cryptobyte.String
	if !signed.ReadASN1(&set, explicit0) {
		return malformed("signed attributes")
	}
	var err error
	if m.signed, err = readAttributeSet(set); err != nil {
		return err
	}
	if !sorted(set) {
		return malformed("signed attributes are not in DER order")
	}
	seen := map[string]bool{}
	for _, a := range m.signed {
		// A second messageDigest would let two readers see two documents.
		if seen[a.oid.String()] {
			return malformed("signed attribute " + a.oid.String() + " twice")
		}
		seen[a.oid.String()] = true
	}
	if v, ok := m.attribute(oidSigningTime.ObjectIdentifier); ok {
		if m.SigningTime, ok = readTime(v); !ok {
			return malformed("signing-time")
		}
	}
	if v, ok := m.attribute(oidSignerAttributesV2.ObjectIdentifier); ok {
		m.Role = readRole(v)
	}
	others, err := readAttributeSet(unsigned)
	if err != nil {
		return err
	}
	for _, a := range others {
		for !a.values.Empty() && a.oid.Equal(oidSignatureTimestamp.ObjectIdentifier) {
			var token cryptobyte.String
			if !a.values.ReadASN1Element(&token, tag.SEQUENCE) {
				return malformed("signature-time-stamp")
			}
			m.Timestamps = append(m.Timestamps, token)
		}
		for !a.values.Empty() && a.oid.Equal(oidArchiveTimestampV3.ObjectIdentifier) {
			var token cryptobyte.String
			if !a.values.ReadASN1Element(&token, tag.SEQUENCE) {
				return malformed("archive-time-stamp-v3")
			}
			m.Archives = append(m.Archives, token)
		}
		if len(m.Timestamps) > maxAttributes || len(m.Archives) > maxAttributes {
			return malformed(fmt.Sprintf("more than %d timestamps", maxAttributes))
		}
	}
	return nil
}

func readAttributeSet(in cryptobyte.String) ([]attr, error) {
	var out []attr
	for !in.Empty() {
		var seq cryptobyte.String
		var a attr
		if len(out) == maxAttributes || !in.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.oid) ||
			!seq.ReadASN1(&a.values, tag.SET) || !seq.Empty() {
			return nil, malformed("attributes")
		}
		out = append(out, a)
	}
	return out, nil
}

// sorted wants the elements of a SET OF in their order (X.690, 11.6): verifiers
// that put them in order themselves, and those that do not, would hash different
// bytes.
func sorted(in cryptobyte.String) bool {
	var last, el cryptobyte.String
	var t tag.Tag
	for !in.Empty() {
		if !in.ReadAnyASN1Element(&el, &t) || bytes.Compare(last, el) >= 0 {
			return false
		}
		last = el
	}
	return true
}

// attribute gives the one value of a signed attribute.
func (m *Message) attribute(oid asn1.ObjectIdentifier) (cryptobyte.String, bool) {
	for _, a := range m.signed {
		if a.oid.Equal(oid) {
			values := a.values
			var el cryptobyte.String
			var t tag.Tag
			ok := values.ReadAnyASN1Element(&el, &t) && values.Empty()
			return el, ok
		}
	}
	return nil, false
}

// readRole gives a claimed attribute that is a name in words; "" for anything else,
// which signers may claim as well.
func readRole(in cryptobyte.String) string {
	var attributes, claimed, list, one, values, text cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&attributes, tag.SEQUENCE) || !attributes.ReadASN1(&claimed, explicit0) || !claimed.ReadASN1(&list, tag.SEQUENCE) ||
		!list.ReadASN1(&one, tag.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidName.ObjectIdentifier) ||
		!one.ReadASN1(&values, tag.SET) || !values.ReadASN1(&text, tag.UTF8String) || !utf8.Valid(text) || len(text) > maxRole {
		return ""
	}
	return string(text)
}

// maxRole is how long a claimed role may be, in bytes.
const maxRole = 1024

func readTime(in cryptobyte.String) (time.Time, bool) {
	var t time.Time
	if in.PeekASN1Tag(tag.UTCTime) {
		return t, in.ReadASN1UTCTime(&t)
	}
	return t, in.ReadASN1GeneralizedTime(&t)
}
