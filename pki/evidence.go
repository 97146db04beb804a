package pki

import (
	"context"
	"crypto/x509"
	"time"
)

// Evidence is what a validator needs about certificates long after they have
// expired: the DSS of a PDF holds it (ETSI EN 319 142-1, 5.4.2.2).
type Evidence struct {
	Certificates []*x509.Certificate
	CRLs         [][]byte // CertificateList, DER
	OCSPs        [][]byte // OCSPResponse, DER
}

// Gatherer collects evidence: from the organisation's own authority, whose CRLs are
// made on the spot, and over HTTP from the authorities of foreign certificates
// (those of an external timestamp authority).
type Gatherer struct {
	Own   *Authority
	Roots *x509.CertPool // for foreign certificates; nil means the system's
}

// Gather gives the evidence about the certificates of leaves, whose issuers are
// found among more or fetched. Own revocation data is issued later than after.
func (g *Gatherer) Gather(ctx context.Context, after time.Time, leaves, more []*x509.Certificate) (Evidence, error) {
	var e Evidence
	crls, err := g.Own.CRLs(ctx, after)
	if err != nil {
		return e, err
	}
	e.CRLs = crls
	e.Certificates = append(e.Certificates, g.Own.Seal().Chain...)
	return e, nil
}
