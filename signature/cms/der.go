package cms

import (
	"encoding/asn1"
	"math/big"

	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Writing DER by concatenation: messages are small, and a signature has to cost
// little beside its key operation.

// Tags of [0] and [1], constructed.
const (
	explicit0 = tag.Tag(0x80 | 0x20 | 0)
	explicit1 = tag.Tag(0x80 | 0x20 | 1)
)

var version1 = []byte{byte(tag.INTEGER), 1, 1}

// objectID is an object identifier with its DER.
type objectID struct {
	asn1.ObjectIdentifier
	der []byte
}

func newOID(arcs ...int) objectID {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err) // only constants come here
	}
	return objectID{arcs, der}
}

// Content types and attributes.
var (
	oidData       = newOID(1, 2, 840, 113549, 1, 7, 1)
	oidSignedData = newOID(1, 2, 840, 113549, 1, 7, 2)
	oidTSTInfo    = newOID(1, 2, 840, 113549, 1, 9, 16, 1, 4)

	oidContentType          = newOID(1, 2, 840, 113549, 1, 9, 3)
	oidMessageDigest        = newOID(1, 2, 840, 113549, 1, 9, 4)
	oidSigningTime          = newOID(1, 2, 840, 113549, 1, 9, 5)
	oidSigningCertificate   = newOID(1, 2, 840, 113549, 1, 9, 16, 2, 12)
	oidSigningCertificateV2 = newOID(1, 2, 840, 113549, 1, 9, 16, 2, 47)
	oidSignatureTimestamp   = newOID(1, 2, 840, 113549, 1, 9, 16, 2, 14)

	// ETSI EN 319 122-1, clauses 5.2.5, 5.5.2 and 5.5.3.
	oidMimeType           = newOID(0, 4, 0, 1733, 2, 1)
	oidSignerAttributesV2 = newOID(0, 4, 0, 19122, 1, 1)
	oidName               = newOID(2, 5, 4, 41)
	oidArchiveTimestampV3 = newOID(0, 4, 0, 1733, 2, 4)
	oidATSHashIndexV3     = newOID(0, 4, 0, 19122, 1, 5)

	// OCSP responses in SignedData.crls: whole ones (RFC 5940, section 2), and
	// the older form with the basic response alone.
	oidOCSPResponse = newOID(1, 3, 6, 1, 5, 5, 7, 16, 2)
	oidOCSPBasic    = newOID(1, 3, 6, 1, 5, 5, 7, 48, 1, 1)
)

// tlv is an element with a tag and the parts as its content.
func tlv(t tag.Tag, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := appendHead(make([]byte, 0, n+6), t, n)
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// wrap gives the parts behind the tag and length of an element that they fill.
// Content of many megabytes is copied once, when bytes.Join makes the message.
func wrap(t tag.Tag, parts ...[]byte) [][]byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return append([][]byte{appendHead(nil, t, n)}, parts...)
}

// appendHead adds a tag and the length n.
func appendHead(out []byte, t tag.Tag, n int) []byte {
	out = append(out, byte(t))
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<8:
		out = append(out, 0x81, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default: // messages are bounded far below 2^32
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return out
}

// integer is a non-negative INTEGER.
func integer(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return tlv(tag.INTEGER, b)
}
