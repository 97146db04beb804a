package qualified

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AcceptAdvanced decides about a certificate for a signature of level Advanced
// (Regulation (EU) 910/2014, articles 3(11) and 26), made by a key of its person's that
// another authority than the organisation's own has certified. No qualified certificate
// is asked for, and no trusted list: Policy.Trust are the authorities that the organisation
// has chosen for this and for nothing else. The report is there in any case; the
// error is a *Refusal, or nil.
func (p Policy) AcceptAdvanced(c Candidate, at time.Time) (*Report, error) {
	a := p.advanced(c.Leaf, c.Issuers, at)
	if a.authority() && a.revocation(c.CRLs, c.OCSPs) && a.organisation(p.Organisation) {
		match, outcome, detail, r := checkHolder(a.leaf, c.Person)
		a.report.Match = match
		a.note("person", "Regulation (EU) 910/2014, 26(b); RFC 5280, 4.2.1.6", outcome, detail, r)
	}
	if a.refusal != nil {
		return a.report, a.refusal
	}
	return a.report, nil
}

// AdvancedPath is Path for a signature of level Advanced.
func (p Policy) AdvancedPath(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	a := p.advanced(leaf, issuers, at)
	if !a.authority() {
		return nil, a.refusal
	}
	return a.path, nil
}

func (p Policy) advanced(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) *acceptance {
	p.Purpose = ForAdvanced
	return p.begin(leaf, issuers, at)
}

// authority goes from the leaf to the authority that the organisation has chosen.
func (a *acceptance) authority() bool {
	outcome, detail, r := checkSignatureUsage(a.leaf)
	if !a.note("key usage", "RFC 5280, 4.2.1.3 and 4.2.1.12; RFC 9336", outcome, detail, r) || !a.sound() {
		return false
	}
	const clause = "RFC 5280, 6.1.1 (d)"
	if a.trusted == nil {
		return a.note("authority", clause, Failed, "", refuse(UntrustedService, errors.New("no authorities are configured")))
	}
	entry, err := a.trusted.Vouch(a.leaf, a.issuers, a.at)
	if err != nil {
		return a.note("authority", clause, Failed, "", distrusted(err))
	}
	a.report.Entry = entry
	a.note("authority", clause, Passed, fmt.Sprintf("The organisation takes %q for Advanced signatures.", entry.Service), nil)
	return a.chain()
}

// organisation is asked only where the authority serves others than this organisation.
func (a *acceptance) organisation(want string) bool {
	if want == "" {
		return true
	}
	outcome, detail, r := checkOrganizationIdentifier(a.leaf, want)
	return a.note("organizationIdentifier", "EN 319 412-1, 5.1.4", outcome, detail, r)
}

// Purposes for which a key that signs documents may be certified (RFC 9336, section 1, names
// what was used before it).
var (
	oidDocumentSigning      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}       // id-kp-documentSigning
	oidMSDocumentSigning    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 3, 12} // Microsoft's
	oidAdobeDocumentSigning = asn1.ObjectIdentifier{1, 2, 840, 113583, 1, 1, 5}       // Adobe's
	documentSigning         = []asn1.ObjectIdentifier{oidDocumentSigning, oidMSDocumentSigning, oidAdobeDocumentSigning}
)

// checkSignatureUsage wants contentCommitment, or digitalSignature where nothing forbids
// documents. EN 319 412-2, clause 4.3.2, asks for the former of certificates under its
// profile; authorities of organisations follow RFC 5280 alone, by which digitalSignature
// is for every signature that is none over certificates and CRLs (clause 4.2.1.3), as long
// as the extended key usage, if there is one, has a purpose that fits (clause 4.2.1.12).
// So a certificate that is for logging in only does not sign here.
func checkSignatureUsage(c *x509.Certificate) (Outcome, string, *Refusal) {
	commits := c.KeyUsage&x509.KeyUsageContentCommitment != 0
	signs := c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	anything := len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0
	fits := slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageEmailProtection) ||
		slices.ContainsFunc(documentSigning, func(oid asn1.ObjectIdentifier) bool {
			return slices.ContainsFunc(c.UnknownExtKeyUsage, oid.Equal)
		})
	switch {
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", "", refuse(WrongKeyUsage, fmt.Errorf("it is an authority's"))
	case commits && (signs || !anything):
		return Noted, "contentCommitment, with other usages beside it.", nil
	case commits:
		return Passed, "contentCommitment.", nil
	case !signs:
		return "", "", refuse(WrongKeyUsage, fmt.Errorf("neither contentCommitment nor digitalSignature"))
	case anything:
		return Noted, "digitalSignature without contentCommitment.", nil
	case fits:
		return Noted, "digitalSignature without contentCommitment, for documents or mail.", nil
	case slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return "", "", refuse(AuthenticationOnly, nil)
	}
	return "", "", refuse(WrongKeyUsage, fmt.Errorf("no extended key usage that is for documents"))
}

// checkOrganizationIdentifier compares the subject's organisation with the expected one
// (EN 319 412-1, clause 5.1.4: "VATLU-12345678"). An authority that serves many certifies
// the same mail address or name for each of them that says so.
func checkOrganizationIdentifier(c *x509.Certificate, want string) (Outcome, string, *Refusal) {
	have := strings.TrimSpace(attribute(c, "2.5.4.97"))
	switch {
	case have == "":
		return Noted, "The certificate has no organizationIdentifier to compare with.", nil
	case !strings.EqualFold(have, want):
		return "", "", refuse(WrongOrganisation, fmt.Errorf("organizationIdentifier %q, not %q", have, want))
	}
	return Passed, "The subject's organisation is this one.", nil
}

// checkHolder compares the subject with who is to sign. Other than qualified certificates
// (checkPerson), those of an organisation's authority name people by their mail address: in the
// alternative name, or in the subject (RFC 5280, clauses 4.2.1.6 and 4.1.2.6). It counts before
// the name, and a foreign one before it, too; an identifier of a natural person that is
// not the directory's is somebody else in any case.
func checkHolder(leaf *x509.Certificate, who Person) (Match, Outcome, string, *Refusal) {
	mails := addresses(leaf)
	mine := slices.ContainsFunc(mails, func(m string) bool { return sameMail(who.Mail, m) })
	serial, own := strings.TrimSpace(who.Serial), leaf.Subject.SerialNumber
	if serial != "" && !sameSerial(serial, own) && !naturalPerson.MatchString(strings.TrimSpace(own)) && (mine || slices.ContainsFunc(who.Registered, leaf.Equal)) {
		who.Serial = "" // the authority has put none into it, so there is nothing to compare
	}
	match, r := recognise(leaf, who)
	switch {
	case mine && r != nil && (r.Reason == WrongPerson || r.Reason == PersonUnknown) && who.Serial == "",
		mine && match == ByName:
		match, r = ByMail, nil
	case match == ByName && len(mails) > 0:
		r = refuse(WrongPerson, fmt.Errorf("the name is the signatory's, the mail address is not"))
	}
	if r != nil {
		return "", "", "", r
	}
	if match == ByMail {
		if len(mails) > 1 {
			return match, Noted, "A mail address in it is the signatory's; it has others beside it.", nil
		}
		return match, Passed, "Its mail address is the signatory's.", nil
	}
	outcome, detail := told(match)
	return match, outcome, detail, nil
}

// addresses are the mail addresses that a certificate names.
func addresses(c *x509.Certificate) []string {
	out := slices.Clone(c.EmailAddresses)
	for _, n := range c.Subject.Names {
		if s, ok := n.Value.(string); ok && n.Type.Equal(oidEmailAddress) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var oidEmailAddress = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}

// sameMail compares addresses as the directory does, which knows no two that differ in
// cases only. What is not ASCII is nobody's: other letters fold into those of ASCII.
func sameMail(want, have string) bool {
	ascii := func(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' || r <= ' ' }) }
	return want != "" && ascii(want) && ascii(have) && strings.EqualFold(want, have)
}

// advancedTexts are the sentences that speak of phones and of an organisation's own
// authorities, where the usual ones speak of cards and trusted lists.
var advancedTexts = map[Reason]string{
	AuthenticationOnly: "The certificate on your phone is for logging in, not for signing documents." + administrator,
	WrongKeyUsage:      "The certificate on your phone is not meant for signing documents." + administrator,
	Expired:            "The certificate on your phone has expired: please have a new one made there, and sign again.",
	Revoked:            "The certificate on your phone has been revoked." + administrator,
	BrokenChain:        "The certificate on your phone does not lead to the authority that is said to have issued it." + administrator,
	WrongPerson:        "The certificate that signed on the phone belongs to somebody else: only the person who was asked can sign.",
	Removed:            "The certificate on your phone was removed from your devices." + administrator,
	UntrustedService:   "The certificate on your phone comes from no authority that is taken here for Advanced signatures." + administrator,
}

// Sentence is what a person reads for a reason, where a certificate was wanted for a purpose.
func Sentence(p Purpose, r Reason) string {
	if p == ForAdvanced && advancedTexts[r] != "" {
		return advancedTexts[r]
	}
	return texts[r]
}
