package workflow

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// EvidenceFormat names the form of Evidence. One with another name may have
// fields that mean something else.
const EvidenceFormat = "milterd evidence 1"

// Evidence is what an auditor needs of a session, as one value that JSON keeps:
// from it alone, with the organisation's root certificate, everything that was
// proven can be proven again. It holds no document and no secret.
type Evidence struct {
	Format       string         `json:"format"` // EvidenceFormat
	Made         time.Time      `json:"made"`
	Session      *Session       `json:"session"`
	Events       []Event        `json:"events"`
	Credentials  []*Credential  `json:"credentials,omitempty"`  // that were signed with, without their Data
	Certificates []*Certificate `json:"certificates,omitempty"` // of the signatories' own keys
	Issuers      [][]byte       `json:"issuers,omitempty"`      // above those, DER, the issuing CA first
}

// Evidence gathers it; ErrNotFound. It stays to be had when the documents are
// deleted, as long as the session's row is kept.
func (d *Desk) Evidence(ctx context.Context, id string) (*Evidence, error) {
	e, err := d.evidence(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("evidence of session %s: %w", id, err)
	}
	return e, nil
}

func (d *Desk) evidence(ctx context.Context, id string) (*Evidence, error) {
	s, err := d.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	e := &Evidence{Format: EvidenceFormat, Made: d.now(), Session: s}
	s.Message = "" // the mail's own words prove nothing
	if e.Events, err = d.Store.Events(ctx, id); err != nil {
		return nil, err
	}
	for i := range s.People {
		if err := d.evidenceOf(ctx, &s.People[i], e); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// evidenceOf adds what a signatory signed with.
func (d *Desk) evidenceOf(ctx context.Context, p *Participant, e *Evidence) error {
	if p.Act == nil {
		return nil
	}
	if a := p.Act.Proof.Assertion; a != nil {
		all, err := d.Store.Credentials(ctx, p.Mail)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.ID == a.Credential {
				c.Data = nil
				e.Credentials = append(e.Credentials, c)
			}
		}
	}
	if p.Act.Accepted != nil { // it is in the act
		return nil
	}
	known := map[string]bool{}
	for _, own := range p.Act.Own {
		if known[own.Certificate] {
			continue
		}
		known[own.Certificate] = true
		c, err := d.Store.Certificate(ctx, own.Certificate)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("certificate %s is not in the register", own.Certificate)
		}
		if err != nil {
			return err
		}
		if err := d.certified(c, e); err != nil {
			return fmt.Errorf("certificate %s: %w", c.Serial, err)
		}
	}
	return nil
}

// certified adds a certificate as it was issued, and who issued it then: when a
// company's CA comes above the authority, the register ends what is below its
// former name.
func (d *Desk) certified(c *Certificate, e *Evidence) error {
	cert, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return err
	}
	c.NotAfter = cert.NotAfter
	e.Certificates = append(e.Certificates, c)
	for _, by := range d.Certifier.Above(cert) {
		if !slices.ContainsFunc(e.Issuers, func(der []byte) bool { return bytes.Equal(der, by.Raw) }) {
			e.Issuers = append(e.Issuers, by.Raw)
		}
	}
	return nil
}
