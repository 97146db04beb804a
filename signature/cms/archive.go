package cms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// ArchiveIndex is an ats-hash-index-v3 (ETSI EN 319 122-1, clause 5.5.2): what an
// archive timestamp covers besides content and signature.
type ArchiveIndex struct {
	hash  crypto.Hash
	certs map[string]bool // digests
	crls  map[string]bool
	attrs map[string]bool // of attrType and one value, one after the other
}

// ArchiveImprint gives what an archive-time-stamp-v3 of the signer must be over:
// the SHA-256 imprint, and the index that its token must carry. digest is the
// SHA-256 of the content.
func (m *Message) ArchiveImprint(digest []byte) (imprint, index []byte) {
	h := crypto.SHA256
	list := func(elements [][]byte) []byte {
		var out [][]byte
		for _, el := range elements {
			out = append(out, tlv(tag.OCTET_STRING, sum(h, el)))
		}
		return tlv(tag.SEQUENCE, out...)
	}
	f := m.frame
	index = tlv(tag.SEQUENCE, digestAlgorithm(h), list(f.certs), list(f.crls), list(values(f.signers[m.index].unsigned)))
	return m.archiveImprint(h, digest, index), index
}

// values gives each value of each attribute behind its attribute's type. The
// attributes have been read once (readAttributeSet).
func values(attributes [][]byte) (out [][]byte) {
	for _, a := range attributes {
		el := cryptobyte.String(a)
		var seq, oid, set cryptobyte.String
		if !el.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1Element(&oid, tag.OBJECT_IDENTIFIER) || !seq.ReadASN1(&set, tag.SET) {
			return nil
		}
		for !set.Empty() {
			var v cryptobyte.String
			var t tag.Tag
			if !set.ReadAnyASN1Element(&v, &t) {
				return nil
			}
			out = append(out, append(bytes.Clone(oid), v...))
		}
	}
	return out
}

// archiveImprint is clause 5.5.3: the content's type and digest, the SignerInfo
// up to the signature, and the index.
func (m *Message) archiveImprint(h crypto.Hash, digest, index []byte) []byte {
	in := cryptobyte.String(m.frame.content)
	var seq, oid cryptobyte.String
	if !in.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1Element(&oid, tag.OBJECT_IDENTIFIER) {
		return nil // never: it was read before
	}
	return sum(h, oid, digest, m.frame.signers[m.index].body, index)
}

// WithArchive gives the message with an archive timestamp added to its signer;
// index and token belong together, see ArchiveImprint. Check the token first.
func (m *Message) WithArchive(t *Token, index []byte) ([]byte, error) {
	token, err := t.withUnsigned(attribute(oidATSHashIndexV3, index))
	if err != nil {
		return nil, err
	}
	return m.withUnsigned(attribute(oidArchiveTimestampV3, token))
}

// CheckArchive compares the imprint of an archive timestamp with the message and
// gives what else it covers. digest gives the content's digest under a hash.
// Everything that the index names must be there (ErrDigest).
func (m *Message) CheckArchive(t *Token, digest func(crypto.Hash) []byte) (*ArchiveIndex, error) {
	der, err := t.hashIndex()
	if err != nil {
		return nil, err
	}
	index, err := readIndex(der)
	if err != nil {
		return nil, err
	}
	f := m.frame
	for _, part := range []struct {
		what  string
		named map[string]bool
		there [][]byte
	}{
		{"certificate", index.certs, f.certs}, {"revocation data", index.crls, f.crls}, {"unsigned attribute", index.attrs, values(f.signers[m.index].unsigned)},
	} {
		found := map[string]bool{}
		for _, el := range part.there {
			found[string(sum(index.hash, el))] = true
		}
		for d := range part.named {
			if !found[d] {
				return nil, fmt.Errorf("archive timestamp: %w: %s that it covers is gone or changed", ErrDigest, part.what)
			}
		}
	}
	if err := t.CheckImprint(t.ImprintHash, m.archiveImprint(t.ImprintHash, digest(t.ImprintHash), der)); err != nil {
		return nil, fmt.Errorf("archive timestamp: %w", err)
	}
	return index, nil
}

// hashIndex finds the one ats-hash-index-v3 of an archive timestamp's token.
func (t *Token) hashIndex() ([]byte, error) {
	var found []byte
	for _, v := range values(t.frame.signers[t.index].unsigned) {
		if der, ok := bytes.CutPrefix(v, oidATSHashIndexV3.der); ok {
			if found != nil {
				return nil, malformed("two indexes in an archive timestamp")
			}
			found = der
		}
	}
	if found == nil {
		return nil, malformed("archive timestamp without ats-hash-index-v3")
	}
	return found, nil
}

func readIndex(der []byte) (*ArchiveIndex, error) {
	in := cryptobyte.String(der)
	var seq, alg cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&seq, tag.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&alg, tag.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
		return nil, malformed("ats-hash-index-v3")
	}
	h, err := hashOf(oid)
	if err != nil {
		return nil, err
	}
	index := &ArchiveIndex{hash: h, certs: map[string]bool{}, crls: map[string]bool{}, attrs: map[string]bool{}}
	for _, set := range []map[string]bool{index.certs, index.crls, index.attrs} {
		var list, d cryptobyte.String
		if !seq.ReadASN1(&list, tag.SEQUENCE) {
			return nil, malformed("ats-hash-index-v3")
		}
		for n := 0; !list.Empty(); n++ {
			if n == 4*maxMany || !list.ReadASN1(&d, tag.OCTET_STRING) || len(d) != h.Size() {
				return nil, malformed("ats-hash-index-v3")
			}
			set[string(d)] = true
		}
	}
	if !seq.Empty() {
		return nil, malformed("ats-hash-index-v3")
	}
	return index, nil
}

// CoversTimestamp reports whether a signature-time-stamp's or another
// archive-time-stamp-v3's token is covered.
func (x *ArchiveIndex) CoversTimestamp(token []byte) bool {
	return x.attrs[string(sum(x.hash, oidSignatureTimestamp.der, token))] || x.attrs[string(sum(x.hash, oidArchiveTimestampV3.der, token))]
}

// Covered gives the certificates and revocation data of the message that are
// covered.
func (x *ArchiveIndex) Covered(m *Message) (certs []*x509.Certificate, crls, ocsps [][]byte) {
	for _, c := range m.Certificates {
		if x.certs[string(sum(x.hash, c.Raw))] {
			certs = append(certs, c)
		}
	}
	for _, el := range m.frame.crls {
		if !x.crls[string(sum(x.hash, el))] {
			continue
		}
		if el[0] == byte(tag.SEQUENCE) {
			crls = append(crls, el)
		} else if der := ocspIn(el); der != nil {
			ocsps = append(ocsps, der)
		}
	}
	return certs, crls, ocsps
}
