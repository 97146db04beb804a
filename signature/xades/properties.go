package xades

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// readProperties finds QualifyingProperties and reads the signed ones (EN 319
// 132-1, clause 5.2).
func (s *Signature) readProperties() error {
	for _, o := range s.objects {
		for _, q := range o.Elements() {
			switch {
			case q.Is(xades132Space, "QualifyingProperties") && s.qualifying == nil:
				s.qualifying = q
			case q.Is(xades132Space, "QualifyingProperties"), q.Is(xades132Space, "QualifyingPropertiesReference"):
				return malformed("more than one xades:QualifyingProperties, or elsewhere")
			}
		}
	}
	if s.qualifying != nil {
		if _, err := elements(s.qualifying.Parent); err != nil {
			return err
		}
	}
	if s.qualifying == nil || s.own == nil {
		return fmt.Errorf("%w: no XAdES signature: no signed properties name the signer's certificate", cms.ErrCertificate)
	}
	if s.ID == "" || s.qualifying.Attr("Target") != "#"+s.ID {
		return malformed("xades:QualifyingProperties belongs to another signature")
	}
	kids, err := elements(s.qualifying)
	if err != nil {
		return err
	}
	if len(kids) == 0 || len(kids) > 2 || !kids[0].Is(xades132Space, "SignedProperties") || len(kids) == 2 && !kids[1].Is(xades132Space, "UnsignedProperties") {
		return malformed("xades:QualifyingProperties is not SignedProperties, UnsignedProperties")
	}
	s.signed = kids[0]
	groups, err := elements(s.signed)
	if err != nil {
		return err
	}
	for i, g := range groups {
		switch {
		case i == 0 && g.Is(xades132Space, "SignedSignatureProperties"):
			err = s.readSignedSignature(g)
		case i == 1 && g.Is(xades132Space, "SignedDataObjectProperties"):
			err = s.readDataObjects(g)
		default:
			err = malformed("xades:SignedProperties")
		}
		if err != nil {
			return err
		}
	}
	if len(s.named) == 0 {
		return fmt.Errorf("%w: no XAdES signature: no signed properties name the signer's certificate", cms.ErrCertificate)
	}
	return nil
}

func (s *Signature) readSignedSignature(g *dom.Node) error {
	kids, err := elements(g)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range kids {
		if seen[p.Local] {
			return malformed("signed property %s twice", p.Local)
		}
		seen[p.Local] = true
		switch {
		case p.Is(xades132Space, "SigningTime"):
			text, err := leaf(p)
			if err != nil {
				return err
			}
			if s.SigningTime, err = time.Parse(time.RFC3339, strings.TrimSpace(text)); err != nil {
				return malformed("SigningTime")
			}
			s.SigningTime = s.SigningTime.UTC()
		case p.Is(xades132Space, "SigningCertificateV2"), p.Is(xades132Space, "SigningCertificate"):
			if seen["SigningCertificateV2"] && seen["SigningCertificate"] {
				return malformed("two properties that name the signing certificate")
			}
			if err := s.readSigningCertificate(p); err != nil {
				return err
			}
		case p.Is(xades132Space, "SignerRoleV2"):
			s.Role = readRole(p)
		case p.Is(xades132Space, "SignaturePolicyIdentifier") && len(p.Find(xades132Space, "SignaturePolicyImplied")) == 0:
			s.Notes = append(s.Notes, "signed under a signature policy, which is not looked at here")
		}
	}
	return nil
}

// maxRole is how long a claimed role may be, in bytes.
const maxRole = 1024

// readRole gives the first claimed role that is words; "" for anything else, which
// signers may claim as well.
func readRole(p *dom.Node) string {
	for _, roles := range p.Find(xades132Space, "ClaimedRoles") {
		for _, r := range roles.Find(xades132Space, "ClaimedRole") {
			if text, err := leaf(r); err == nil && len(text) <= maxRole {
				return text
			}
		}
	}
	return ""
}

func (s *Signature) readSigningCertificate(p *dom.Node) error {
	s.v2 = p.Local == "SigningCertificateV2"
	certs, err := elements(p)
	if err != nil {
		return err
	}
	for _, c := range certs {
		d := c.Find(xades132Space, "CertDigest")
		if !c.Is(xades132Space, "Cert") || len(d) != 1 || len(s.named) == maxEntries {
			return malformed("%s", p.Local)
		}
		for _, a := range c.Attrs {
			s.v2 = s.v2 && a.Local != "URI" // EN 319 132-1, 6.3, requirement i
		}
		method, digest := d[0].Find(dsSpace, "DigestMethod"), d[0].Find(dsSpace, "DigestValue")
		if len(method) != 1 || len(digest) != 1 {
			return malformed("%s", p.Local)
		}
		b, err := binary(digest[0])
		if err != nil {
			return err
		}
		s.named = append(s.named, certID{method[0].Attr("Algorithm"), b})
	}
	return nil
}

func (s *Signature) readDataObjects(g *dom.Node) error {
	kids, err := elements(g)
	if err != nil {
		return err
	}
	for _, p := range kids {
		switch {
		case p.Is(xades132Space, "DataObjectFormat"):
			for _, r := range s.References {
				if r.ID != "" && p.Attr("ObjectReference") == "#"+r.ID {
					for _, m := range p.Find(xades132Space, "MimeType") {
						r.MIME = m.Text()
					}
				}
			}
		case p.Is(xades132Space, "CommitmentTypeIndication"):
		default:
			s.Notes = append(s.Notes, "signed property "+p.Local+", which is not looked at here")
		}
	}
	return nil
}

// readUnsigned reads UnsignedSignatureProperties: timestamps and evidence.
func (s *Signature) readUnsigned() error {
	for _, u := range s.qualifying.Find(xades132Space, "UnsignedProperties") {
		for i, g := range u.Elements() {
			if i > 0 || !g.Is(xades132Space, "UnsignedSignatureProperties") {
				s.Notes = append(s.Notes, "unsigned "+g.Local+", which nobody here judges")
				continue
			}
			s.unsigned = g.Elements()
		}
	}
	for i, p := range s.unsigned {
		var err error
		switch {
		case p.Is(xades132Space, "SignatureTimeStamp"):
			err = s.readStamp(p, i, &s.Stamps)
		case p.Is(xades141Space, "ArchiveTimeStamp"):
			err = s.readStamp(p, i, &s.Archives)
		case p.Is(xades132Space, "CertificateValues"), p.Is(xades132Space, "RevocationValues"), p.Is(xades141Space, "TimeStampValidationData"),
			p.Is(xades141Space, "AnyValidationData"), p.Is(xades132Space, "AnyValidationData"):
			err = s.readEvidence(p, i)
		default:
			s.Notes = append(s.Notes, "unsigned property "+p.Local+", which nobody here judges")
		}
		if err != nil {
			return err
		}
		if len(s.Stamps) > maxStamps || len(s.Archives) > maxStamps {
			return malformed("more than %d timestamps", maxStamps)
		}
	}
	return nil
}

func (s *Signature) readStamp(p *dom.Node, at int, list *[]*Stamp) error {
	stamp := &Stamp{at: at}
	kids, err := elements(p)
	if err != nil {
		return err
	}
	for _, k := range kids {
		switch {
		case k.Is(dsSpace, "CanonicalizationMethod"):
			if stamp.form, err = readForm(k); err != nil {
				return fmt.Errorf("%w: %w", cms.ErrFormat, err)
			}
		case k.Is(xades132Space, "EncapsulatedTimeStamp") && stamp.Token == nil:
			if stamp.Token, err = binary(k); err != nil {
				return err
			}
		default: // another timestamp, or Include: it is over something else than its clause says
			return malformed("%s of a kind that is not read here", p.Local)
		}
	}
	*list = append(*list, stamp)
	return nil
}

func (s *Signature) readEvidence(p *dom.Node, at int) error {
	var err error
	p.Walk(func(n *dom.Node) bool {
		if err != nil || n.Kind != dom.Element {
			return false
		}
		switch n.Local {
		case "EncapsulatedX509Certificate", "EncapsulatedCRLValue", "EncapsulatedOCSPValue":
			e := entry{at: at, kind: n.Local}
			if e.der, err = binary(n); err != nil {
				return false
			}
			if s.doc.entries++; s.doc.entries > maxEntries {
				err = malformed("more than %d certificates and revocation data", maxEntries)
			}
			if e.kind == "EncapsulatedX509Certificate" {
				e.cert, _ = x509.ParseCertificate(e.der) // nil: passed over
			}
			s.entries = append(s.entries, e)
			return false
		}
		return true
	})
	return err
}

// Stored is what the signature itself holds: of its KeyInfo and its unsigned
// properties, those before an archive timestamp, or all of them for nil. What
// crypto/x509 cannot read is passed over.
func (s *Signature) Stored(before *Stamp) (e Evidence) {
	e.Certs = slices.Clone(s.Certificates)
	for _, x := range s.entries {
		if before != nil && x.at >= before.at {
			continue
		}
		switch x.kind {
		case "EncapsulatedX509Certificate":
			if x.cert != nil {
				e.Certs = append(e.Certs, x.cert)
			}
		case "EncapsulatedCRLValue":
			e.CRLs = append(e.CRLs, x.der)
		case "EncapsulatedOCSPValue":
			e.OCSPs = append(e.OCSPs, x.der)
		}
	}
	return e
}

// findStray looks for what does not belong into a signature: where attackers put
// the content that a signature was made for, or their own (signature wrapping).
func (s *Signature) findStray() {
	known := []string{dsSpace, ds11Space, xades132Space, xades141Space, excSpace, filterSpace}
	s.node.Walk(func(n *dom.Node) bool {
		switch {
		case n.Kind != dom.Element || s.Stray != "":
			return false
		case n == s.signedInfo || n == s.signed || s.covered(n):
			return false
		case n.Is(xades132Space, "CounterSignature"):
			return false // Notes name it
		case n.Parent == s.node && n.Local == "Object" && !s.qualifying.Within(n),
			n != s.node && n.Is(dsSpace, "Signature"), !slices.Contains(known, n.Space),
			n.Parent != nil && n.Parent.Is(dsSpace, "Object") && n != s.qualifying:
			s.Stray = n.Local
		}
		return true
	})
}

func (s *Signature) covered(n *dom.Node) bool {
	return slices.ContainsFunc(s.References, func(r *Reference) bool { return r.node == n && r.Covers == CoversObject })
}
