package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"milterd/signature/cms"
)

// Evidence is what a validator needs about certificates long after they have
// expired: the DSS of a PDF holds it (ETSI EN 319 142-1, 5.4.2.2).
type Evidence struct {
	Certificates []*x509.Certificate
	CRLs         [][]byte // CertificateList, DER
	OCSPs        [][]byte // OCSPResponse, DER
}

// RevokedError says that a certificate must not be relied on.
type RevokedError struct {
	Name string
	At   time.Time
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("certificate %q was revoked at %s", e.Name, e.At.UTC().Format(time.RFC3339))
}

// Gatherer collects evidence: from the organisation's own authority, whose
// CRLs are made on the spot, and over HTTP from the authorities of foreign
// certificates, those of an external timestamp authority. Only addresses in
// certificates that chain to a root are asked.
type Gatherer struct {
	Own     *Authority
	Roots   *x509.CertPool // for foreign certificates; nil means the system's
	Timeout time.Duration  // of one download; 0 means 10 s
	Client  *http.Client   // nil means one of its own
}

// Anchors is whom results are judged by: the organisation's root and the roots of
// foreign authorities.
func (g *Gatherer) Anchors() *x509.CertPool {
	p := g.foreignRoots()
	for _, c := range g.Own.RootCertificates() {
		p.AddCert(c)
	}
	return p
}

// With gives a gatherer that takes further anchors for foreign certificates: DER, of
// roots or of the authorities below them. What cannot be read is no anchor.
func (g *Gatherer) With(anchors [][]byte) *Gatherer {
	if len(anchors) == 0 {
		return g
	}
	more := *g
	more.Roots = g.foreignRoots()
	for _, der := range anchors {
		if c, err := x509.ParseCertificate(der); err == nil {
			more.Roots.AddCert(c)
		}
	}
	return &more
}

// foreignRoots is a copy of Roots, or of the system's.
func (g *Gatherer) foreignRoots() *x509.CertPool {
	if g.Roots != nil {
		return g.Roots.Clone()
	}
	if system, err := x509.SystemCertPool(); err == nil {
		return system // a copy
	}
	return x509.NewCertPool()
}

// Gather gives the evidence about the leaves: their chains up to the root, and
// a CRL or an OCSP response for every certificate below it, none of which
// may be revoked. Issuers are looked for in more. Revocation data of our own is
// issued later than after; a foreign authority issues when it likes, so its
// newest is taken.
func (g *Gatherer) Gather(ctx context.Context, after time.Time, leaves, more []*x509.Certificate) (Evidence, error) {
	w := &gathering{g: g, now: g.Own.now(), after: after, done: map[string]bool{}}
	for _, leaf := range leaves {
		chain, err := g.chain(leaf, more, after)
		if err != nil {
			return Evidence{}, fmt.Errorf("gathering evidence: %w", err)
		}
		for i, c := range chain[:len(chain)-1] {
			if err := w.certificate(ctx, c, chain[i+1]); err != nil {
				return Evidence{}, fmt.Errorf("gathering evidence about %q: %w", c.Subject.CommonName, err)
			}
		}
		w.add(chain[len(chain)-1])
	}
	return w.e, nil
}

// chain leads from the leaf to our root or a foreign one, the root last.
func (g *Gatherer) chain(leaf *x509.Certificate, more []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range more {
		between.AddCert(c)
	}
	roots := g.Roots
	if g.Own.issuer(leaf) != nil {
		roots = g.Own.Roots()
		for _, i := range g.Own.authorities() {
			for _, c := range i.Chain {
				between.AddCert(c)
			}
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", leaf.Subject.CommonName, err)
	}
	return chains[0], nil
}

// gathering is one run of Gather.
type gathering struct {
	g     *Gatherer
	now   time.Time
	after time.Time
	e     Evidence
	done  map[string]bool // by certificate
}

// add reports whether the certificate was new.
func (w *gathering) add(c *x509.Certificate) bool {
	if w.done[string(c.Raw)] {
		return false
	}
	w.done[string(c.Raw)] = true
	w.e.Certificates = append(w.e.Certificates, c)
	return true
}

// certificate finds revocation data about c: OCSP first, because it is small.
func (w *gathering) certificate(ctx context.Context, c, issuer *x509.Certificate) error {
	if !w.add(c) {
		return nil
	}
	if by := w.g.Own.issuer(c); by != nil {
		return w.own(ctx, c, by)
	}
	return w.foreign(ctx, c, issuer)
}

// foreign asks another authority about a certificate of its own.
func (w *gathering) foreign(ctx context.Context, c, issuer *x509.Certificate) error {
	var errs []error
	for _, u := range c.OCSPServer {
		err := w.ocsp(ctx, u, c, issuer)
		if err == nil {
			return nil
		}
		if revoked := (*RevokedError)(nil); errors.As(err, &revoked) {
			return err
		}
		errs = append(errs, err)
	}
	for _, u := range c.CRLDistributionPoints {
		err := w.crl(ctx, u, c, issuer)
		if err == nil {
			return nil
		}
		if revoked := (*RevokedError)(nil); errors.As(err, &revoked) {
			return err
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return errors.New("it names no place for revocation data")
	}
	return errors.Join(errs...)
}

// own makes our list about a certificate of our own.
func (w *gathering) own(ctx context.Context, c *x509.Certificate, by *Identity) error {
	list, err := w.g.Own.freshCRL(ctx, by, w.after)
	if err != nil {
		return err
	}
	if r := list.find(serialText(c.SerialNumber)); r != nil {
		return &RevokedError{Name: c.Subject.CommonName, At: r.at}
	}
	w.addCRL(list.der)
	return nil
}

func (w *gathering) addCRL(der []byte) {
	if !slices.ContainsFunc(w.e.CRLs, func(b []byte) bool { return bytes.Equal(b, der) }) {
		w.e.CRLs = append(w.e.CRLs, der)
	}
}

// crl downloads a list and checks it (RFC 5280, 6.3.3, without indirect and delta CRLs).
func (w *gathering) crl(ctx context.Context, url string, c, issuer *x509.Certificate) error {
	der, err := w.g.get(ctx, url, maxCRL)
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return fmt.Errorf("CRL from %s: %w", url, err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil || !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return fmt.Errorf("CRL from %s is not signed by %q", url, issuer.Subject.CommonName)
	}
	if err := w.current(list.ThisUpdate, list.NextUpdate); err != nil {
		return fmt.Errorf("CRL from %s: %w", url, err)
	}
	if !cms.Covers(list, c) {
		return fmt.Errorf("CRL from %s does not speak for %q", url, c.Subject.CommonName)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return &RevokedError{Name: c.Subject.CommonName, At: entry.RevocationTime}
		}
	}
	w.addCRL(der)
	return nil
}

// current checks a validity of revocation data, with minutes of grace for
// clocks that differ.
func (w *gathering) current(this, next time.Time) error {
	switch {
	case this.After(w.now.Add(maxSkew)):
		return fmt.Errorf("is from the future (%s)", this.Format(time.RFC3339))
	case !next.IsZero() && next.Before(w.now.Add(-maxSkew)):
		return fmt.Errorf("is out of date since %s", next.Format(time.RFC3339))
	}
	return nil
}
