package cms

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// frame is a SignedData in pieces, each as it was found: what no edit touches
// stays byte for byte as it was.
type frame struct {
	version     int
	digests     []byte   // digestAlgorithms, with its tag
	content     []byte   // encapContentInfo, with its tag
	certs, crls [][]byte // elements
	signers     []signerFrame
}

type signerFrame struct {
	body     []byte   // from version to signature
	unsigned [][]byte // attributes
}

// splitSigner takes a SignerInfo's content apart.
func splitSigner(si cryptobyte.String) (signerFrame, error) {
	f := signerFrame{body: si}
	for rest := si; !rest.Empty(); {
		var el, set cryptobyte.String
		var t tag.Tag
		if !rest.ReadAnyASN1Element(&el, &t) {
			return f, malformed("SignerInfo")
		}
		// signedAttrs are [0], so [1] can only be the last: unsignedAttrs.
		if !rest.Empty() || t != explicit1 {
			continue
		}
		f.body = si[:len(si)-len(el)]
		if !el.ReadASN1(&set, t) {
			return f, malformed("unsigned attributes")
		}
		for !set.Empty() {
			var a cryptobyte.String
			if len(f.unsigned) == maxAttributes || !set.ReadASN1Element(&a, tag.SEQUENCE) {
				return f, malformed("unsigned attributes")
			}
			f.unsigned = append(f.unsigned, a)
		}
	}
	return f, nil
}

// clone lets a copy be edited.
func (f *frame) clone() *frame {
	c := *f
	c.certs, c.crls, c.signers = slices.Clip(f.certs), slices.Clip(f.crls), slices.Clone(f.signers)
	return &c
}

func (f *frame) marshal() []byte {
	parts := [][]byte{integerOf(max(f.version, f.leastVersion())), f.digests, f.content}
	if len(f.certs) > 0 {
		parts = append(parts, tlv(explicit0, f.certs...))
	}
	if len(f.crls) > 0 {
		parts = append(parts, tlv(explicit1, f.crls...))
	}
	signers := make([][]byte, len(f.signers))
	for i, s := range f.signers {
		si := [][]byte{s.body}
		if len(s.unsigned) > 0 {
			si = append(si, tlv(explicit1, s.unsigned...))
		}
		signers[i] = tlv(tag.SEQUENCE, si...)
	}
	parts = append(parts, tlv(tag.SET, signers...))
	data := wrap(explicit0, wrap(tag.SEQUENCE, parts...)...)
	return bytes.Join(wrap(tag.SEQUENCE, append([][]byte{oidSignedData.der}, data...)...), nil)
}

func integerOf(n int) []byte { return []byte{byte(tag.INTEGER), 1, byte(n)} }

// leastVersion is RFC 5652, section 5.1, as far as additions of ours change it.
func (f *frame) leastVersion() int {
	if slices.ContainsFunc(f.crls, func(el []byte) bool { return el[0] == byte(explicit1) }) {
		return 5
	}
	return 1
}

// WithTimestamp gives the message with a token added to the unsigned attributes
// of its signer, everything else byte for byte as it was. Check the token first.
func (m *Message) WithTimestamp(token []byte) ([]byte, error) {
	return m.withUnsigned(attribute(oidSignatureTimestamp, token))
}

func (m *Message) withUnsigned(attr []byte) ([]byte, error) {
	f := m.frame.clone()
	s := &f.signers[m.index]
	if len(s.unsigned) == maxAttributes {
		return nil, fmt.Errorf("%w: more than %d unsigned attributes", ErrFormat, maxAttributes)
	}
	s.unsigned = append(slices.Clip(s.unsigned), attr)
	return f.marshal(), nil
}

// WithEvidence gives the message with certificates, CRLs and OCSP responses
// added to SignedData.certificates and crls (ETSI EN 319 122-1, clauses 5.4 and
// 6.3); what it holds already is not added again.
func (m *Message) WithEvidence(certs []*x509.Certificate, crls, ocsps [][]byte) ([]byte, error) {
	f := m.frame.clone()
	for _, c := range certs {
		f.certs = appendNew(f.certs, c.Raw)
	}
	for _, der := range crls {
		f.crls = appendNew(f.crls, der)
	}
	for _, der := range ocsps {
		f.crls = appendNew(f.crls, tlv(explicit1, oidOCSPResponse.der, der))
	}
	if len(f.certs) > maxMany || len(f.crls) > maxMany {
		return nil, fmt.Errorf("%w: more than %d certificates or lists", ErrFormat, maxMany)
	}
	return f.marshal(), nil
}

func appendNew(list [][]byte, el []byte) [][]byte {
	if slices.ContainsFunc(list, func(b []byte) bool { return bytes.Equal(b, el) }) {
		return list
	}
	return append(list, el)
}

// WithContent gives the detached message with its content inside, which every
// signer must have signed (ErrDigest).
func (m *Message) WithContent(content []byte) ([]byte, error) {
	if err := m.CheckDetached(); err != nil {
		return nil, err
	}
	all, err := ParseAll(m.Raw)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if err := s.CheckDigest(sum(s.hash, content)); err != nil {
			return nil, err
		}
	}
	f := m.frame.clone()
	inside := wrap(explicit0, wrap(tag.OCTET_STRING, content)...)
	f.content = bytes.Join(wrap(tag.SEQUENCE, append([][]byte{oidData.der}, inside...)...), nil)
	return f.marshal(), nil
}

// Join gives one message with the signers of several over the same content
// (RFC 5652, section 5.1: they are parallel, none signs another). All must be
// detached, or hold the same content.
func Join(messages ...[]byte) ([]byte, error) {
	var f *frame
	for _, der := range messages {
		all, err := ParseAll(der)
		if err != nil {
			return nil, err
		}
		g := all[0].frame
		if f == nil {
			f = g.clone()
			continue
		}
		if !bytes.Equal(f.content, g.content) {
			return nil, fmt.Errorf("%w: messages with other content", ErrFormat)
		}
		f.version = max(f.version, g.version)
		if f.digests, err = union(f.digests, g.digests); err != nil {
			return nil, err
		}
		for _, c := range g.certs {
			f.certs = appendNew(f.certs, c)
		}
		for _, c := range g.crls {
			f.crls = appendNew(f.crls, c)
		}
		f.signers = append(f.signers, g.signers...)
	}
	if f == nil || len(f.signers) > maxSigners || len(f.certs) > maxMany || len(f.crls) > maxMany {
		return nil, fmt.Errorf("%w: no message, or too many signers", ErrFormat)
	}
	// DER's order of SETs OF.
	slices.SortFunc(f.certs, bytes.Compare)
	slices.SortFunc(f.signers, func(a, b signerFrame) int { return bytes.Compare(tlv(tag.SEQUENCE, a.body), tlv(tag.SEQUENCE, b.body)) })
	return f.marshal(), nil
}

// union joins two digestAlgorithms.
func union(a, b []byte) ([]byte, error) {
	var out [][]byte
	for _, set := range []cryptobyte.String{a, b} {
		var in cryptobyte.String
		if !set.ReadASN1(&in, tag.SET) {
			return nil, malformed("digestAlgorithms")
		}
		for !in.Empty() {
			var el cryptobyte.String
			if len(out) == maxAttributes || !in.ReadASN1Element(&el, tag.SEQUENCE) {
				return nil, malformed("digestAlgorithms")
			}
			out = appendNew(out, el)
		}
	}
	slices.SortFunc(out, bytes.Compare)
	return tlv(tag.SET, out...), nil
}

// ocspIn gives the OCSPResponse of a RevocationInfoChoice, nil for another kind.
func ocspIn(el cryptobyte.String) []byte {
	var other, der cryptobyte.String
	var oid cryptobyte.String
	if !el.ReadASN1(&other, explicit1) || !other.ReadASN1Element(&oid, tag.OBJECT_IDENTIFIER) ||
		!other.ReadASN1Element(&der, tag.SEQUENCE) || !other.Empty() {
		return nil
	}
	switch {
	case bytes.Equal(oid, oidOCSPResponse.der):
		return der
	case bytes.Equal(oid, oidOCSPBasic.der): // what RFC 6960, 4.2.1, has around it, for "successful"
		return tlv(tag.SEQUENCE, []byte{byte(tag.ENUM), 1, 0}, tlv(explicit0, tlv(tag.SEQUENCE, oidOCSPBasic.der, tlv(tag.OCTET_STRING, der))))
	}
	return nil
}
