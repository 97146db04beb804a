package xades

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha1" // only to find a certificate by an older SigningCertificate, never over what is signed
	"crypto/x509"
	"fmt"
	"hash"
	"io"
	"slices"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// SignerCertificate finds the certificate that the signed properties name first,
// by its digest, in the signature or among the extra ones. What KeyInfo says
// beside that counts for nothing: anybody can change it.
func (s *Signature) SignerCertificate(extra ...*x509.Certificate) (*x509.Certificate, error) {
	var h hash.Hash
	if s.named[0].method == sha1URI && !s.v2 {
		h = sha1.New()
	} else {
		x, err := hashOf(s.named[0].method)
		if err != nil {
			return nil, err
		}
		h = x.New()
	}
	for _, c := range slices.Concat(s.Stored(nil).Certs, extra) {
		h.Reset()
		h.Write(c.Raw)
		if bytes.Equal(h.Sum(nil), s.named[0].digest) {
			return c, nil
		}
	}
	return nil, cms.ErrCertificate
}

// CheckSignature verifies the value over the canonical SignedInfo.
func (s *Signature) CheckSignature(cert *x509.Certificate) error {
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); ok && len(s.Value) != 2*((key.Curve.Params().N.BitLen()+7)/8) {
		return fmt.Errorf("%w: it is not r‖s of the key's length", cms.ErrSignature)
	}
	var b bytes.Buffer
	if err := s.form.WriteElement(&b, s.signedInfo, nil); err != nil {
		return fmt.Errorf("%w: %w", cms.ErrFormat, err)
	}
	_, err := cms.VerifyValue(cert, s.Algorithm, b.Bytes(), s.Value)
	return err
}

// Baseline reports whether a signature keeps the rules of XAdES-BASELINE-B that
// can be seen in the file (EN 319 132-1, clause 6.3).
func (s *Signature) Baseline(cert *x509.Certificate) bool {
	if !s.v2 || s.SigningTime.IsZero() || len(s.References) == 0 || !slices.ContainsFunc(s.Certificates, cert.Equal) {
		return false
	}
	for _, r := range s.References {
		if r.MIME == "" && r.Covers != CoversKeyInfo {
			return false
		}
	}
	return !slices.ContainsFunc(s.unsigned, func(n *dom.Node) bool { return n.Is(xades132Space, "ArchiveTimeStamp") })
}

// StampDigest is what a SignatureTimeStamp must be over: the canonical
// ds:SignatureValue (EN 319 132-1, clause 5.3).
func (s *Signature) StampDigest(t *Stamp, h crypto.Hash) ([]byte, error) {
	w := h.New()
	err := t.form.WriteElement(w, s.value, nil)
	return w.Sum(nil), err
}

// ArchiveDigest is what an ArchiveTimeStamp must be over (EN 319 132-1, clause
// 5.5.2.3): what the references are over, SignedInfo, SignatureValue and KeyInfo,
// the unsigned properties before it, and all Objects but that of the properties.
func (s *Signature) ArchiveDigest(t *Stamp, h crypto.Hash, files []File) ([]byte, error) {
	w := h.New()
	if err := s.writeArchive(w, t, files); err != nil {
		return nil, err
	}
	return w.Sum(nil), nil
}

func (s *Signature) writeArchive(w io.Writer, t *Stamp, files []File) error {
	all := s.signedReferences()
	for _, r := range all {
		// A node set that no transform made octets is made so by the timestamp's form.
		if n := len(r.steps); r.Covers != CoversFile && (n == 0 || !r.canonical()) {
			r = r.with(t.form)
		}
		if err := s.write(w, r, files); err != nil {
			return err
		}
	}
	w = &counter{w, &s.doc.work.forms, maxWork}
	parts := []*dom.Node{s.signedInfo, s.value}
	if s.keyInfo != nil {
		parts = append(parts, s.keyInfo)
	}
	parts = append(parts, s.unsigned[:t.at]...)
	for _, o := range s.objects {
		if !s.qualifying.Within(o) {
			parts = append(parts, o)
		}
	}
	for _, n := range parts {
		if err := t.form.WriteElement(w, n, nil); err != nil {
			return err
		}
	}
	return nil
}

// canonical reports whether the last transform makes octets.
func (r *Reference) canonical() bool {
	uri := r.steps[len(r.steps)-1].Attr("Algorithm")
	_, err := dom.FormOf(uri)
	return err == nil || uri == base64URI
}

func (r *Reference) with(form dom.Form) *Reference {
	other := *r
	other.form = form
	other.form.Comments = false
	return &other
}

// signedReferences are all of SignedInfo, in their order.
func (s *Signature) signedReferences() (out []*Reference) {
	next := 0
	for _, n := range s.signedInfo.Elements()[2:] {
		if n.Attr("Type") == signedType {
			out = append(out, s.own)
			continue
		}
		out = append(out, s.References[next])
		next++
	}
	return out
}

// Whole reports whether a reference leaves out nothing of the document but
// signatures, all of them: others may sign beside it.
func (r *Reference) Whole() bool { return r.Covers == CoversDocument && r.others }

// Before gives the timestamps that stand before an archive timestamp and are
// covered by it, or all of them for nil.
func (s *Signature) Before(t *Stamp) (out []*Stamp) {
	for _, x := range slices.Concat(s.Stamps, s.Archives) {
		if t == nil || x.at < t.at {
			out = append(out, x)
		}
	}
	return out
}

// Names are the files that the signatures of a document say they cover, each
// once; none for what cannot be read. They are what a stranger wrote.
func Names(doc []byte) (out []string) {
	d, err := Read(doc)
	if err != nil {
		return nil
	}
	for _, s := range d.Signatures {
		for _, r := range s.References {
			if r.Covers == CoversFile && !slices.Contains(out, r.Name) {
				out = append(out, r.Name)
			}
		}
	}
	return out
}
