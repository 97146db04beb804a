package pades

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"time"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// Appearance draws what is seen in a signature field: it adds a form XObject of
// a width and height in points to the update and gives its reference.
type Appearance func(u *cos.Update, width, height float64) (cos.Ref, error)

// Params says who signs what with.
type Params struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // its issuers, embedded with it; the root may be left out
	Algorithm   cms.Algorithm       // empty: the usual one of the certificate's key
	Field       string              // full name of an empty field; a name that no field has makes an invisible one, and so does ""
	Appearance  Appearance          // nil leaves the field as it looks
	Time        time.Time           // claimed time, written as /M
	Name        string              // of the signatory; these three may be empty
	Reason      string
	Location    string
	TokenSize   int // bytes of a timestamp token as measured; 0 if there will be none
	Reserve     int // at least so many bytes for the CMS, where a provider makes it; at most 1 MiB
}

// maxReserve bounds the place for a CMS.
const maxReserve = 1 << 20

// Preparation is a revision that waits for its signature. It is plain data:
// what JSON keeps of it suffices to Finish it.
type Preparation struct {
	Field        string        `json:"field"`
	Time         time.Time     `json:"time"`
	Algorithm    cms.Algorithm `json:"algorithm"`
	Certificates [][]byte      `json:"certificates"` // DER, the signer's first
	HeadSize     int           `json:"head_size"`    // bytes of the file that Suffix follows
	Suffix       []byte        `json:"suffix"`       // the revision with Contents all zero
	Offset       int           `json:"offset"`       // of the < of Contents in Suffix
	Length       int           `json:"length"`       // of Contents with its < and >
	Digest       []byte        `json:"digest"`       // of the ByteRange, under the hash of Algorithm
	Attributes   []byte        `json:"attributes"`   // DER of the signed attributes: this is what gets signed

	certs []*x509.Certificate
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
	if p.Certificate == nil {
		return nil, errors.New("no certificate")
	}
	if p.Algorithm == "" {
		var err error
		if p.Algorithm, err = cms.AlgorithmFor(p.Certificate.PublicKey); err != nil {
			return nil, err
		}
	}
	if p.Time.Before(p.Certificate.NotBefore) || p.Time.After(p.Certificate.NotAfter) {
		return nil, fmt.Errorf("%w: %s", ErrExpired, p.Time.UTC().Format(time.RFC3339))
	}
	certs := append([]*x509.Certificate{p.Certificate}, p.Chain...)
	size, err := reserve(p, certs)
	if err != nil {
		return nil, err
	}
	f, err := cos.Open(head)
	if err != nil {
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
	r, err := revise(f, sig, p.Field, signStem, size, p.Appearance, p.Algorithm.Hash().New())
	if err != nil {
		return nil, err
	}
	prep := &Preparation{
		Field: r.field, Time: p.Time, Algorithm: p.Algorithm, HeadSize: len(head),
		Suffix: r.suffix, Offset: r.offset, Length: r.length, Digest: r.digest, certs: certs,
	}
	for _, c := range certs {
		prep.Certificates = append(prep.Certificates, c.Raw)
	}
	prep.Attributes, err = cms.SignedAttributes(p.Algorithm, r.digest, p.Certificate)
	return prep, err
}

// reserve is the size of Contents in bytes. A token can grow between the probe
// and the signature (a longer chain, another serial), hence the margin.
func reserve(p Params, certs []*x509.Certificate) (int, error) {
	token := 0
	if p.TokenSize > 0 {
		token = p.TokenSize + p.TokenSize/4 + 1024
	}
	n, err := cms.Size(p.Algorithm, certs, token)
	if n = max(n+32, p.Reserve); err == nil && n > maxReserve {
		err = fmt.Errorf("%d bytes for a signature: %w", n, cos.ErrLimit)
	}
	return n, err
}

// revision is an update with a signature dictionary whose Contents are open.
type revision struct {
	field          string
	suffix         []byte
	offset, length int // of Contents with its brackets, in suffix
	digest         []byte
}

// byteRangeWidth holds four numbers of ten digits, in brackets.
const byteRangeWidth = 1 + 4*11 + 1

// Stems of the names of new fields.
const (
	signStem  = "Signature"
	stampStem = "Timestamp"
)

// revise writes an update that puts sig with size bytes of Contents into a
// field, and computes the digest over everything but Contents.
func revise(f *cos.File, sig cos.Dict, name, stem string, size int, draw Appearance, h hash.Hash) (*revision, error) {
	fm, err := readForm(f)
	if err != nil {
		return nil, err
	}
	if fm.stamp = stem == stampStem; !fm.stamp {
		if err := fm.checkPermission(); err != nil {
			return nil, err
		}
	}
	contents := &cos.Hole{Text: bytes.Repeat([]byte{'0'}, 2*size+2)}
	contents.Text[0], contents.Text[2*size+1] = '<', '>'
	ranges := &cos.Hole{Text: bytes.Repeat([]byte{' '}, byteRangeWidth)}
	sig["Contents"], sig["ByteRange"] = contents, ranges

	u := f.NewUpdate()
	r := &revision{length: len(contents.Text)}
	if r.field, err = fm.place(u, name, stem, u.Add(sig), draw); err != nil {
		return nil, err
	}
	if r.suffix, err = u.Bytes(); err != nil {
		return nil, err
	}
	r.offset = contents.At
	head, end := len(f.Data()), r.offset+r.length
	text := fmt.Appendf(r.suffix[ranges.At:ranges.At], "[0 %d %d %d]", head+r.offset, head+end, len(r.suffix)-end)
	if len(text) > byteRangeWidth {
		return nil, fmt.Errorf("file of %d bytes: %w", head, cos.ErrLimit)
	}
	h.Write(f.Data())
	h.Write(r.suffix[:r.offset])
	h.Write(r.suffix[end:])
	r.digest = h.Sum(nil)
	return r, nil
}

// embed gives a copy of a suffix with der in Contents. What is left of the
// place stays zero, as readers of Contents expect.
func embed(suffix []byte, offset, length int, der []byte) ([]byte, error) {
	if offset < 0 || length < 2 || offset > len(suffix)-length || suffix[offset] != '<' || suffix[offset+length-1] != '>' {
		return nil, errors.New("no place for a signature where the preparation says")
	}
	if 2*len(der) > length-2 {
		return nil, fmt.Errorf("%w: %d bytes for a place of %d", ErrTooLarge, len(der), length/2-1)
	}
	out := bytes.Clone(suffix)
	const digits = "0123456789abcdef"
	for i, c := range der {
		out[offset+1+2*i], out[offset+2+2*i] = digits[c>>4], digits[c&15]
	}
	return out, nil
}

// signer gives the parsed certificates of a preparation, the signer's first.
func (p *Preparation) signer() ([]*x509.Certificate, error) {
	if p.certs == nil {
		for _, der := range p.Certificates {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("certificate of the preparation: %w", err)
			}
			p.certs = append(p.certs, c)
		}
	}
	if len(p.certs) == 0 {
		return nil, errors.New("preparation without a certificate")
	}
	return p.certs, nil
}
