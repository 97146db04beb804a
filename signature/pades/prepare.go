package pades

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"time"

	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

// Params says who signs what with.
type Params struct {
	Certificate *x509.Certificate   // nil: known only with the signature, see Take; Algorithm and Reserve are needed then
	Chain       []*x509.Certificate // its issuers, embedded with it (only Raw is read); the root may be left out
	Algorithm   cms.Algorithm       // empty: the usual one of the certificate's key
	Field       string              // full name of an empty field; a name that no field has adds one, and so does ""
	Row         int                 // an added field may be visible, one of so many: see pdf.Signing; 0 means invisible
	Look        *pdf.Look           // what the field shows; nil leaves it as it is
	Paraphs     string              // paraph fields that are filled along, see pdf.Signing
	Time        time.Time           // claimed time, written as /M
	Name        string              // of the signatory; these three may be empty
	Reason      string
	Location    string
	TokenSize   int // bytes of a timestamp token as measured; 0 if there will be none
	Reserve     int // at least so many bytes for the CMS, where a provider makes it; without a Certificate, so many beside the token; at most 1 MiB
}

// maxReserve bounds the place for a CMS.
const maxReserve = 1 << 20

// Preparation is a revision that waits for its signature. Suffix, Attributes and
// what MarshalBinary keeps of the rest suffice to Finish it.
type Preparation struct {
	Field        string        `json:"field"`
	Time         time.Time     `json:"time"`
	Algorithm    cms.Algorithm `json:"algorithm"`
	Certificates [][]byte      `json:"-"`         // DER, the signer's first
	HeadSize     int           `json:"head_size"` // bytes of the file that Suffix follows
	Suffix       []byte        `json:"-"`         // the revision with Contents all zero
	Offset       int           `json:"offset"`    // of the first hex digit of Contents in Suffix
	Room         int           `json:"room"`      // bytes that Contents can hold
	Digest       []byte        `json:"digest"`    // of the ByteRange, under the hash of Algorithm
	Attributes   []byte        `json:"-"`         // DER of the signed attributes: this is what gets signed; empty until Take where the certificate is not known

	certs  []*x509.Certificate
	hashed hash.Hash // the head, with SHA-256; nil where it was hashed otherwise
}

// Whole is the SHA-256 of head and Suffix. Just after Prepare, the head need
// not be hashed a second time for it.
func (p *Preparation) Whole(head []byte) (sum [sha256.Size]byte) {
	h := p.hashed
	if h == nil {
		h = sha256.New()
		h.Write(head)
	}
	p.hashed = nil
	h.Write(p.Suffix)
	h.Sum(sum[:0])
	return sum
}

// Prepare writes the revision that will hold a signature. It fails with
// ErrForbidden or ErrField (wrapped) if the document cannot take it, and with
// ErrExpired if the certificate is not valid at p.Time.
func Prepare(head []byte, p Params) (*Preparation, error) {
	prep, err := prepare(head, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	return prep, nil
}

func prepare(head []byte, p Params) (*Preparation, error) {
	var err error
	var certs []*x509.Certificate
	if p.Certificate == nil {
		if p.Algorithm.Hash() == 0 || p.Reserve <= 0 {
			return nil, errors.New("no certificate, and no algorithm or room for one that comes later")
		}
	} else {
		if p.Algorithm, err = cms.Usable(p.Certificate, p.Algorithm, p.Time); err != nil {
			return nil, err
		}
		certs = append([]*x509.Certificate{p.Certificate}, p.Chain...)
	}
	size, err := reserve(p, certs)
	if err != nil {
		return nil, err
	}
	f, err := cos.Open(head)
	if err != nil {
		return nil, err
	}
	if p.Field, err = checkAllowed(f, p.Field); err != nil {
		return nil, err
	}
	sig := cos.Dict{
		"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached"),
		"M": cos.Date(p.Time),
	}
	for k, v := range map[cos.Name]string{"Name": p.Name, "Reason": p.Reason, "Location": p.Location} {
		if v != "" {
			sig[k] = cos.Text(v)
		}
	}
	placed, err := pdf.PlaceIn(f, pdf.Signing{Field: p.Field, Entries: sig, Reserve: size, Look: p.Look, Row: p.Row, Paraphs: p.Paraphs})
	if err != nil {
		return nil, err
	}
	h := p.Algorithm.Hash().New()
	h.Write(head) // never fails (hash.Hash)
	prep := &Preparation{Field: p.Field, Time: p.Time, Algorithm: p.Algorithm, HeadSize: len(head), Suffix: placed.Suffix, certs: certs}
	if c, ok := h.(hash.Cloner); ok && h.Size() == sha256.Size {
		if prep.hashed, err = c.Clone(); err != nil {
			return nil, err
		}
	}
	if err := placed.WriteAfter(h); err != nil {
		return nil, err
	}
	prep.Digest = h.Sum(nil)
	prep.Offset, prep.Room = placed.Contents()
	if certs == nil {
		return prep, nil
	}
	for _, c := range certs {
		prep.Certificates = append(prep.Certificates, c.Raw)
	}
	prep.Attributes, err = cms.SignedAttributes(p.Algorithm, prep.Digest, p.Certificate)
	return prep, err
}

// reserve is the size of Contents in bytes. A token can grow between the probe
// and the signature (a longer chain, another serial), hence the margin.
func reserve(p Params, certs []*x509.Certificate) (int, error) {
	token := 0
	if p.TokenSize > 0 {
		token = p.TokenSize + p.TokenSize/4 + 1024
	}
	var n int
	var err error
	if len(certs) == 0 {
		n = p.Reserve + token
	} else if n, err = cms.Size(p.Algorithm, certs, token); err == nil {
		n = max(n+32, p.Reserve)
	}
	if err == nil && n > maxReserve {
		err = fmt.Errorf("%d bytes for a signature: %w", n, cos.ErrLimit)
	}
	return n, err
}

// embed gives a copy of a suffix with der in Contents. What is left of the
// place stays zero, as readers of Contents expect.
func embed(suffix []byte, at, room int, der []byte) ([]byte, error) {
	if len(der) > room {
		return nil, fmt.Errorf("%w: %d bytes for a place of %d", ErrTooLarge, len(der), room)
	}
	out := bytes.Clone(suffix)
	if err := pdf.Embed(out, at, room, der); err != nil {
		return nil, err
	}
	return out, nil
}

// signer gives the certificates of a preparation: the signer's own, then its
// issuers, unread.
func (p *Preparation) signer() ([]*x509.Certificate, error) {
	if p.certs != nil {
		return p.certs, nil
	}
	var err error
	p.certs, err = cms.Kept(p.Certificates)
	return p.certs, err
}
