package trustlist

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"milterd/signature/xades"
	"milterd/signature/xades/dom"
)

const dsSpace = "http://www.w3.org/2000/09/xmldsig#"

// verify checks a list's signature (TS 119 612, clause 5.7.1 and annex B) and gives
// its root: the tree that was verified is the one that is read. There must be one signature
// in all of the document, a child of the root, over the whole document: then no
// element can stand where the signature does not see it. Errors are *Error.
func verify(raw []byte, territory string, signers []*x509.Certificate) (*dom.Node, error) {
	doc, err := xades.Read(raw)
	if err != nil {
		return nil, &Error{ListMalformed, territory, err}
	}
	if err := checkSignature(doc, signers); err != nil {
		return nil, &Error{ListTampered, territory, err}
	}
	return doc.Root(), nil
}

func checkSignature(doc *xades.Document, signers []*x509.Certificate) error {
	if len(doc.Signatures) != 1 || len(doc.Root().Find(dsSpace, "Signature")) != 1 {
		return fmt.Errorf("%d signatures, want one and below the root", len(doc.Signatures))
	}
	s := doc.Signatures[0]
	if s.Problem != nil {
		return fmt.Errorf("reading the signature: %w", s.Problem)
	}
	whole := false
	for _, r := range s.References {
		switch r.Covers {
		case xades.CoversDocument:
			whole = true
		case xades.CoversKeyInfo: // harmless: who signs is pinned
		default:
			return fmt.Errorf("a reference covers %s, %q", r.Covers, r.URI)
		}
		if err := s.Check(r, nil); err != nil {
			return err
		}
	}
	if !whole {
		return fmt.Errorf("no reference covers the document")
	}
	cert, err := s.SignerCertificate(signers...)
	if err != nil {
		return fmt.Errorf("finding who signed: %w", err)
	}
	if !slices.ContainsFunc(signers, cert.Equal) {
		return fmt.Errorf("signed by %q, who is not pinned", cert.Subject)
	}
	if err := s.CheckProperties(); err != nil {
		return err
	}
	if err := s.CheckSignature(cert); err != nil {
		return err
	}
	return checkSigningTime(s.SigningTime, cert)
}

// checkSigningTime wants a list signed while its signer's certificate was valid.
// That it has expired since does no harm: the list's own NextUpdate ends it.
func checkSigningTime(at time.Time, cert *x509.Certificate) error {
	if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
		return fmt.Errorf("signed at %s, outside the validity of %q", at.Format(time.RFC3339), cert.Subject)
	}
	return nil
}
