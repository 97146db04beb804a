package qualified

import (
	"crypto/x509"
	"errors"
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
)

// Policy is what the organisation demands.
type Policy struct {
	Trust             Trust
	Purpose           Purpose // "" means ForSignature
	RequireRegistered bool    // only certificates that Person.Registered has
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
	Serial      string           `json:"serial"` // hex
	Fingerprint string           `json:"sha256"` // of the certificate, hex: what Person.Registered holds
	Entry       *trustlist.Entry `json:"entry,omitempty"`
	Checks      []Check          `json:"checks"` // in their order, the last one failed or none
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
	Clause  string  `json:"clause"` // "EN 319 412-5, 4.2.2"
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // one sentence
}

// Accept decides about a certificate for a signature made at a time. The report
// is there in any case; the error is a *Refusal. It serves before a person
// is asked to sign (the time is now, the revocation data fresh), and again over the finished signature (the
// time is that of its timestamp).
func (p Policy) Accept(c Candidate, at time.Time) (*Report, error) {
	return &Report{}, &Refusal{Reason: UntrustedService, Err: errors.New("not built yet")}
}

// Path gives the chain from the leaf to the certificate of the service that
// vouches for it, which is last: what revocation data must be gathered for, and the
// root to gather it under. The error is a *Refusal.
func (p Policy) Path(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	return nil, &Refusal{Reason: UntrustedService, Err: errors.New("not built yet")}
}
