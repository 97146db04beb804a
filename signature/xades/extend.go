package xades

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ocsp"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// find gives the signature with an identifier; it must be one that can be read.
func (d *Document) find(id string) (*Signature, error) {
	for _, s := range d.Signatures {
		if s.ID == id && s.Problem == nil {
			return s, nil
		}
		if s.ID == id {
			return nil, fmt.Errorf("signature %q: %w", id, s.Problem)
		}
	}
	return nil, malformed("no signature %q", id)
}

// add gives the document with one more unsigned property at the signature's end.
func (s *Signature) add(property string) ([]byte, error) {
	properties := s.qualifying.Find(xades132Space, "UnsignedProperties")
	wrap := func(local, content string) string {
		return `<xades:` + local + ` xmlns:xades="` + xades132Space + `">` + content + `</xades:` + local + `>`
	}
	at := s.qualifying
	if len(properties) == 0 {
		property = wrap("UnsignedProperties", wrap("UnsignedSignatureProperties", property))
	} else {
		at = properties[0]
		if groups := at.Find(xades132Space, "UnsignedSignatureProperties"); len(groups) == 1 && groups[0] == at.Elements()[0] {
			at = groups[0]
		} else {
			return nil, malformed("unsigned properties of a kind that is not extended here")
		}
	}
	if at.Close == 0 {
		return nil, malformed("empty %s", at.Local)
	}
	return insert(s.doc.tree.Raw, at.Close, []byte(property)), nil
}

// stamped is a property that holds a timestamp over exclusive canonical forms.
func stamped(name, space string, token []byte) string {
	prefix, _, _ := strings.Cut(name, ":")
	more := ""
	if prefix != "xades" {
		more = ` xmlns:xades="` + xades132Space + `"`
	}
	return `<` + name + ` xmlns:` + prefix + `="` + space + `"` + more + `><ds:CanonicalizationMethod xmlns:ds="` + dsSpace + `" Algorithm="` + dom.ExclusiveURI + `"/>` +
		`<xades:EncapsulatedTimeStamp>` + base64.StdEncoding.EncodeToString(token) + `</xades:EncapsulatedTimeStamp></` + name + `>`
}

// AddEvidence adds to the signature with an identifier what it does not hold yet:
// the first time as CertificateValues and RevocationValues for the signer's chain
// and TimeStampValidationData for the rest, later all of it as the latter (EN 319
// 132-1, clauses 5.4 and 5.5.1). If there is nothing new, the document is given
// back as it is.
func AddEvidence(doc []byte, id string, e Evidence) ([]byte, error) {
	out, err := addEvidence(doc, id, e)
	if err != nil {
		return nil, fmt.Errorf("adding revocation data: %w", err)
	}
	return out, nil
}

func addEvidence(doc []byte, id string, e Evidence) ([]byte, error) {
	d, err := Read(doc)
	if err != nil {
		return nil, err
	}
	s, err := d.find(id)
	if err != nil {
		return nil, err
	}
	first := !slices.ContainsFunc(s.unsigned, func(n *dom.Node) bool {
		return n.Is(xades132Space, "CertificateValues") || n.Is(xades132Space, "RevocationValues")
	})
	var own, rest Evidence
	if first {
		cert, err := s.SignerCertificate(e.Certs...)
		if err != nil {
			return nil, err
		}
		own, rest = e.split(append(slices.Clone(s.Certificates), e.Certs...), cert)
	} else {
		rest = e.without(s.Stored(nil))
	}
	var b strings.Builder
	if b.WriteString(own.values()); rest.values() != "" {
		b.WriteString(`<xades141:TimeStampValidationData xmlns:xades141="` + xades141Space + `">` + rest.values() + `</xades141:TimeStampValidationData>`)
	}
	if b.Len() == 0 {
		return doc, nil
	}
	return s.add(b.String())
}

// without leaves out what is stored already.
func (e Evidence) without(stored Evidence) (out Evidence) {
	has := func(list [][]byte, x []byte) bool {
		return slices.ContainsFunc(list, func(y []byte) bool { return bytes.Equal(x, y) })
	}
	for _, c := range e.Certs {
		if !slices.ContainsFunc(stored.Certs, c.Equal) && !slices.ContainsFunc(out.Certs, c.Equal) {
			out.Certs = append(out.Certs, c)
		}
	}
	for _, l := range e.CRLs {
		if !has(stored.CRLs, l) && !has(out.CRLs, l) {
			out.CRLs = append(out.CRLs, l)
		}
	}
	for _, r := range e.OCSPs {
		if !has(stored.OCSPs, r) && !has(out.OCSPs, r) {
			out.OCSPs = append(out.OCSPs, r)
		}
	}
	return out
}

// split parts what speaks of the signer's chain from the rest.
func (e Evidence) split(certs []*x509.Certificate, signer *x509.Certificate) (own, rest Evidence) {
	e = e.without(Evidence{})
	path := []*x509.Certificate{signer}
	for last := signer; len(path) < 16; {
		i := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.ContainsFunc(path, c.Equal) && last.CheckSignatureFrom(c) == nil
		})
		if i < 0 {
			break
		}
		last = certs[i]
		path = append(path, last)
	}
	own.Certs = path
	for _, c := range e.Certs {
		if !slices.ContainsFunc(path, c.Equal) {
			rest.Certs = append(rest.Certs, c)
		}
	}
	for _, der := range e.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err == nil && slices.ContainsFunc(path, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, l.RawIssuer) }) {
			own.CRLs = append(own.CRLs, der)
		} else {
			rest.CRLs = append(rest.CRLs, der)
		}
	}
	for _, der := range e.OCSPs {
		speaks := false
		for i := 0; i+1 < len(path); i++ {
			_, err := ocsp.ParseResponseForCert(der, path[i], path[i+1])
			speaks = speaks || err == nil
		}
		if speaks {
			own.OCSPs = append(own.OCSPs, der)
		} else {
			rest.OCSPs = append(rest.OCSPs, der)
		}
	}
	return own, rest
}

// values writes CertificateValues and RevocationValues, "" for nothing.
func (e Evidence) values() string {
	list := func(wrap, each string, ders [][]byte) string {
		if len(ders) == 0 {
			return ""
		}
		var b strings.Builder
		for _, der := range ders {
			b.WriteString(`<xades:` + each + `>` + base64.StdEncoding.EncodeToString(der) + `</xades:` + each + `>`)
		}
		return `<xades:` + wrap + `>` + b.String() + `</xades:` + wrap + `>`
	}
	certs := make([][]byte, len(e.Certs))
	for i, c := range e.Certs {
		certs[i] = c.Raw
	}
	out := list("CertificateValues", "EncapsulatedX509Certificate", certs)
	if lists := list("CRLValues", "EncapsulatedCRLValue", e.CRLs) + list("OCSPValues", "EncapsulatedOCSPValue", e.OCSPs); lists != "" {
		out += `<xades:RevocationValues>` + lists + `</xades:RevocationValues>`
	}
	bind := ` xmlns:xades="` + xades132Space + `">`
	return strings.NewReplacer("<xades:CertificateValues>", "<xades:CertificateValues"+bind, "<xades:RevocationValues>", "<xades:RevocationValues"+bind).Replace(out)
}

// Archive adds an archive timestamp to the signature with an identifier. files
// are those of a detached signature: what it covers is covered once more, and
// must be what was signed (cms.ErrDigest).
func Archive(ctx context.Context, doc []byte, id string, files []File, ts cms.Timestamper) ([]byte, error) {
	out, err := archive(ctx, doc, id, files, ts)
	if err != nil {
		return nil, fmt.Errorf("adding an archive timestamp: %w", err)
	}
	return out, nil
}

func archive(ctx context.Context, doc []byte, id string, files []File, ts cms.Timestamper) ([]byte, error) {
	d, err := Read(doc)
	if err != nil {
		return nil, err
	}
	s, err := d.find(id)
	if err != nil {
		return nil, err
	}
	for _, r := range s.References {
		if err := s.Check(r, files); err != nil {
			return nil, err
		}
	}
	digest, err := s.ArchiveDigest(&Stamp{form: dom.Form{Exclusive: true}, at: len(s.unsigned)}, crypto.SHA256, files)
	if err != nil {
		return nil, err
	}
	t, err := cms.StampDigest(ctx, ts, digest)
	if err != nil {
		return nil, err
	}
	return s.add(stamped("xades141:ArchiveTimeStamp", xades141Space, t.Raw))
}
