package qualified

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// notCards are policies of certificates that no card holds: Estonian Mobile-ID, whose key is
// on a telephone's SIM. Web eID's own validators refuse them, too.
var notCards = []string{"1.3.6.1.4.1.10015.1.3", "1.3.6.1.4.1.10015.1.3.1", "1.3.6.1.4.1.10015.1.3.2", "1.3.6.1.4.1.10015.1.3.3"}

// AcceptLogin decides about a card's certificate for logging in: whether it says
// who its person is. It is no qualified one by itself (EN 319 412-2 speaks of signatures), so the
// issuer decides: an authority whose qualified certificates a trusted list, or the
// organisation, vouches for now. A name alone does not do: two people can have
// one. The report is there in any case; the error is a *Refusal, or nil.
func (p Policy) AcceptLogin(c Candidate, at time.Time) (*Report, error) {
	a := p.begin(c.Leaf, c.Issuers, at)
	if a.login() && a.revocation(c.CRLs, c.OCSPs) {
		match, detail, r := checkIdentifier(a.leaf, c.Person)
		a.report.Match = match
		a.note("person", "EN 319 412-1, 5.1.3", Passed, detail, r)
	}
	if a.refusal != nil {
		return a.report, a.refusal
	}
	return a.report, nil
}

// LoginPath is Path for a card's certificate for logging in.
func (p Policy) LoginPath(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	a := p.begin(leaf, issuers, at)
	if !a.login() {
		return nil, a.refusal
	}
	return a.path, nil
}

func (a *acceptance) login() bool {
	outcome, detail, r := checkLoginUsage(a.leaf)
	if !a.note("extended key usage", "RFC 5280, 4.2.1.12; Web eID", outcome, detail, r) || !a.sound() {
		return false
	}
	const clause = "TS 119 615, 4.3"
	if a.trusted == nil {
		return a.note("trusted service", clause, Failed, "", refuse(UntrustedService, errors.New("no trusted lists and no anchors are configured")))
	}
	entry, err := a.trusted.Vouch(a.leaf, a.issuers, a.at)
	if err != nil {
		return a.note("trusted service", clause, Failed, "", distrusted(err))
	}
	a.report.Entry = entry
	a.note("trusted service", clause, Passed, fmt.Sprintf("%q of %q.", entry.Service, entry.Provider), nil)
	return a.chain()
}

// checkLoginUsage wants a certificate that is meant for logging in, of a card: clientAuth
// and digitalSignature (RFC 5280, clauses 4.2.1.3 and 4.2.1.12).
func checkLoginUsage(c *x509.Certificate) (Outcome, string, *Refusal) {
	switch {
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", "", refuse(WrongKeyUsage, fmt.Errorf("it is an authority's"))
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && c.KeyUsage&x509.KeyUsageContentCommitment != 0:
		return "", "", refuse(SigningOnly, nil)
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "", "", refuse(NotForLogin, fmt.Errorf("no clientAuth, or no digitalSignature"))
	}
	for _, p := range c.PolicyIdentifiers {
		if slices.Contains(notCards, p.String()) {
			return "", "", refuse(NotForLogin, fmt.Errorf("policy %s is not a card's", p))
		}
	}
	return Passed, "clientAuth and digitalSignature.", nil
}

// checkIdentifier wants the subject's identifier to be the person's: by the directory, or by
// a certificate that is registered.
func checkIdentifier(leaf *x509.Certificate, who Person) (Match, string, *Refusal) {
	switch match, r := recognise(leaf, who); {
	case r != nil:
		return "", "", r
	case match == BySerial:
		return match, "The subject's serialNumber is the person's.", nil
	case match == ByIdentifier || match == ByRegister:
		return match, "The subject's serialNumber is that of a certificate which is registered for the person.", nil
	}
	return "", "", refuse(NameAlone, nil)
}
