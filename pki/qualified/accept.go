package qualified

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"milterd/pki/trustlist"
)

// Trust says who issued a certificate as a qualified one: *trustlist.Lists, or
// *trustlist.Anchors. Its errors are *trustlist.Error.
type Trust interface {
	Vouch(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) (*trustlist.Entry, error)
}

// Purpose is what a certificate is wanted for.
type Purpose string

// The purposes.
const (
	ForSignature Purpose = "signature" // of a natural person
	ForSeal      Purpose = "seal"      // of the organisation

	ForAdvanced Purpose = "advanced signature" // of a natural person, and no qualified one: AcceptAdvanced
)

// Policy is what the organisation demands.
type Policy struct {
	Trust        Trust
	Purpose      Purpose      // "" means ForSignature
	Registration Registration // "" means NotNeeded

	// Organisation is for AcceptAdvanced: the organizationIdentifier of another one than
	// this is not taken. "" is for an authority that serves this organisation alone.
	Organisation string
}

// Candidate is a certificate that wants to sign, with what came with it.
type Candidate struct {
	Leaf    *x509.Certificate
	Issuers []*x509.Certificate // in any order; the root may be left out
	OCSPs   [][]byte            // OCSPResponse, DER
	CRLs    [][]byte            // CertificateList, DER
	Person  Person              // who is to sign; not looked at for a seal
}

// Report is what was checked. It is plain data for the audit trail and the
// certificate of completion.
type Report struct {
	At          time.Time        `json:"at"`
	Purpose     Purpose          `json:"purpose"`
	Subject     string           `json:"subject"` // RFC 4514
	Issuer      string           `json:"issuer"`
	Serial      string           `json:"serial"`          // hex
	Fingerprint string           `json:"sha256"`          // of the certificate, hex
	Match       Match            `json:"match,omitempty"` // with the person
	Entry       *trustlist.Entry `json:"entry,omitempty"`
	Checks      []Check          `json:"checks"` // in their order; only the last can have failed
}

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	Passed Outcome = "passed"
	Noted  Outcome = "noted" // passed, with something that the reader should know
	Failed Outcome = "failed"
)

// Check is one check.
type Check struct {
	Name    string  `json:"name"`   // "QcSSCD"
	Clause  string  `json:"clause"` // "EN 319 412-5, 4.2.2; TS 119 615, 4.5"
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // one sentence
}

// Accept decides about a certificate for a signature made at a time. The report
// is there in any case; the error is a *Refusal, or nil. It serves before a person
// is asked to sign (the time is now, the revocation data fresh), and again over the
// finished signature (the time is that of its timestamp).
func (p Policy) Accept(c Candidate, at time.Time) (*Report, error) {
	a := p.begin(c.Leaf, c.Issuers, at)
	if a.trust() && a.statements() && a.revocation(c.CRLs, c.OCSPs) && a.purpose == ForSignature {
		a.person(c.Person, p.Registration)
	}
	if a.refusal != nil {
		return a.report, a.refusal
	}
	return a.report, nil
}

// Path gives the chain from the leaf to the certificate of the service that
// vouches for it, which is last: what revocation data must be gathered for, and the
// root to gather it under. It runs the checks that need no revocation data and
// no person; the error is a *Refusal.
func (p Policy) Path(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	a := p.begin(leaf, issuers, at)
	if !a.trust() || !a.statements() {
		return nil, a.refusal
	}
	return a.path, nil
}

// acceptance is one run.
type acceptance struct {
	trusted Trust
	purpose Purpose
	leaf    *x509.Certificate
	issuers []*x509.Certificate
	at      time.Time
	path    []*x509.Certificate
	atIssue *trustlist.Entry // what the list said when the certificate was issued
	report  *Report
	refusal *Refusal
}

func (p Policy) begin(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) *acceptance {
	if p.Purpose == "" {
		p.Purpose = ForSignature
	}
	return &acceptance{trusted: p.Trust, purpose: p.Purpose, leaf: leaf, issuers: issuers, at: at, report: &Report{
		At: at.UTC(), Purpose: p.Purpose, Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(),
		Serial: fmt.Sprintf("%x", leaf.SerialNumber), Fingerprint: Fingerprint(leaf),
	}}
}

// note puts a check on record, and says whether to go on.
func (a *acceptance) note(name, clause string, outcome Outcome, detail string, r *Refusal) bool {
	if r != nil {
		r.Text = Sentence(a.purpose, r.Reason)
		outcome, detail, a.refusal = Failed, r.Text, r
	}
	a.report.Checks = append(a.report.Checks, Check{name, clause, outcome, detail})
	return r == nil
}

// trust goes from the leaf to the service. What the person can mend, by choosing the
// card's other certificate, is said before what the administrator can.
func (a *acceptance) trust() bool {
	outcome, detail, r := checkKeyUsage(a.leaf, a.purpose)
	if !a.note("key usage", "EN 319 412-2, 4.3.2", outcome, detail, r) {
		return false
	}
	return a.sound() && a.service() && a.chain()
}

// sound looks at the certificate alone: its algorithm, and its time.
func (a *acceptance) sound() bool {
	outcome, detail, r := checkAlgorithm(a.leaf)
	if !a.note("algorithm", "TS 119 312", outcome, detail, r) {
		return false
	}
	outcome, detail, r = checkValidity(a.leaf, a.at)
	return a.note("validity", "EN 319 102-1, 5.2.6", outcome, detail, r)
}

// service asks for the status at the time of signing, and at the time of issue: a
// certificate that was not issued as qualified does not become so (TS 119 615, clause 4.4).
func (a *acceptance) service() bool {
	const clause = "TS 119 615, 4.3 and 4.4"
	if a.trusted == nil {
		return a.note("trusted service", clause, Failed, "", refuse(UntrustedService, errors.New("no trusted lists and no anchors are configured")))
	}
	for _, when := range []struct {
		name string
		at   time.Time
		to   **trustlist.Entry
	}{
		{"trusted service", a.at, &a.report.Entry},
		{"trusted service at issue", a.leaf.NotBefore, &a.atIssue},
	} {
		entry, err := a.trusted.Vouch(a.leaf, a.issuers, when.at)
		if err != nil {
			return a.note(when.name, clause, Failed, "", distrusted(err))
		}
		*when.to = entry
		outcome, detail := Passed, fmt.Sprintf("%q of %q is %s since %s, by the list of %s number %d (SHA-256 %s).",
			entry.Service, entry.Provider, entry.Status, entry.Since.Format(time.DateOnly), entry.Territory, entry.Sequence, entry.List)
		if entry.Own {
			outcome, detail = Noted, fmt.Sprintf("The organisation itself takes %q for qualified; no trusted list was asked.", entry.Service)
		}
		a.note(when.name, clause, outcome, detail, nil)
	}
	return true
}

func (a *acceptance) chain() bool {
	path, r := checkChain(a.leaf, a.report.Entry.Anchor, a.issuers, a.at)
	if r != nil {
		return a.note("chain", "RFC 5280, 6.1", Failed, "", r)
	}
	a.path = path
	return a.note("chain", "RFC 5280, 6.1", Passed, fmt.Sprintf("%d certificates, up to %q.", len(path), path[len(path)-1].Subject), nil)
}

// statements determines what the certificate is, by itself and the list. Whether it is
// qualified and for what is asked of both times, the device of the time of signing.
func (a *acceptance) statements() bool {
	s, err := ParseStatements(a.leaf)
	if err != nil {
		return a.note("qcStatements", "RFC 3739, 3.2.6", Failed, "", refuse(Malformed, err))
	}
	now, then := claim{s, a.report.Entry, a.leaf.NotBefore}, claim{s, a.atIssue, a.leaf.NotBefore}
	const compliance, kind, device = "EN 319 412-5, 4.2.1; TS 119 615, 4.4", "EN 319 412-5, 4.2.3; TS 119 615, 4.4", "EN 319 412-5, 4.2.2; TS 119 615, 4.5"
	if _, _, r := then.checkQcCompliance(); r != nil {
		return a.note("QcCompliance at issue", compliance, Failed, "", r)
	}
	outcome, detail, r := now.checkQcCompliance()
	if !a.note("QcCompliance", compliance, outcome, detail, r) {
		return false
	}
	if _, _, r := then.checkQcType(a.purpose); r != nil {
		return a.note("QcType at issue", kind, Failed, "", r)
	}
	outcome, detail, r = now.checkQcType(a.purpose)
	if !a.note("QcType", kind, outcome, detail, r) {
		return false
	}
	outcome, detail, r = now.checkQcSSCD()
	return a.note("QcSSCD", device, outcome, detail, r)
}

func (a *acceptance) revocation(crls, ocsps [][]byte) bool {
	outcome, detail, r := checkRevocation(a.path, crls, ocsps, a.at)
	return a.note("revocation", "EN 319 102-1, 5.2.5; RFC 6960", outcome, detail, r)
}

func (a *acceptance) person(who Person, policy Registration) bool {
	match, outcome, detail, r := checkPerson(a.leaf, who, policy)
	a.report.Match = match
	return a.note("person", "EN 319 412-1, 5.1.3", outcome, detail, r)
}
