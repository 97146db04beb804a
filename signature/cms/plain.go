package cms

import (
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// oidAlgorithmProtection is CMSAlgorithmProtection (RFC 6211).
var oidAlgorithmProtection = newOID(1, 2, 840, 113549, 1, 9, 52)

// CheckPlain wants the attributes of a PAdES signature of level B-B (ETSI EN 319
// 142-1, clause 6.3) and no others: signed, contentType, messageDigest and
// signingCertificateV2; CMSAlgorithmProtection may stand beside them, and says the
// truth. Unsigned, none. A message that somebody else has made could otherwise claim
// a time, a role or a policy, or be of another level than was asked for.
func (m *Message) CheckPlain() error {
	for _, a := range m.signed {
		switch {
		case a.oid.Equal(oidContentType.ObjectIdentifier), a.oid.Equal(oidMessageDigest.ObjectIdentifier), a.oid.Equal(oidSigningCertificateV2.ObjectIdentifier):
		case a.oid.Equal(oidAlgorithmProtection.ObjectIdentifier):
			if err := m.checkProtection(); err != nil {
				return err
			}
		default:
			return malformed("signed attribute " + a.oid.String() + ", which was not asked for")
		}
	}
	if _, ok := m.attribute(oidSigningCertificateV2.ObjectIdentifier); !ok {
		return malformed("no signing-certificate-v2 attribute")
	}
	if n := len(m.frame.signers[m.index].unsigned); n > 0 {
		return malformed(fmt.Sprintf("%d unsigned attributes, where level B-B has none", n))
	}
	return nil
}

// checkProtection compares the algorithms that CMSAlgorithmProtection names with those
// of the SignerInfo (RFC 6211, section 2).
func (m *Message) checkProtection() error {
	v, ok := m.attribute(oidAlgorithmProtection.ObjectIdentifier)
	var seq, digest, signature cryptobyte.String
	var hash, scheme asn1.ObjectIdentifier
	if !ok || !v.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1(&digest, tag.SEQUENCE) || !seq.ReadASN1(&signature, explicit1) || !seq.Empty() ||
		!digest.ReadASN1ObjectIdentifier(&hash) || !signature.ReadASN1ObjectIdentifier(&scheme) {
		return malformed("CMSAlgorithmProtection")
	}
	if !hash.Equal(hashOID(m.hash).ObjectIdentifier) || !scheme.Equal(m.Algorithm.OID()) {
		return fmt.Errorf("%w: CMSAlgorithmProtection names others than the signature's", ErrAlgorithm)
	}
	return nil
}
