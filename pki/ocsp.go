package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Limits of downloads. What is fetched goes into every signed file.
const (
	maxCRL  = 2 << 20
	maxOCSP = 64 << 10
)

var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5} // RFC 6960, 4.2.2.2.1

// ocsp asks a responder and checks the answer (RFC 6960, 3.2).
func (w *gathering) ocsp(ctx context.Context, url string, c, issuer *x509.Certificate) error {
	req, err := ocsp.CreateRequest(c, issuer, nil)
	if err != nil {
		return fmt.Errorf("OCSP request: %w", err)
	}
	der, err := w.g.fetch(ctx, http.MethodPost, url, "application/ocsp-request", req, maxOCSP)
	if err != nil {
		return err
	}
	resp, err := ocsp.ParseResponseForCert(der, c, issuer)
	if err != nil {
		return fmt.Errorf("OCSP response from %s: %w", url, err)
	}
	if err := w.current(resp.ThisUpdate, resp.NextUpdate); err != nil {
		return fmt.Errorf("OCSP response from %s: %w", url, err)
	}
	switch resp.Status {
	case ocsp.Good:
	case ocsp.Revoked:
		return &RevokedError{Name: c.Subject.CommonName, At: resp.RevokedAt}
	default:
		return fmt.Errorf("OCSP responder %s does not know the certificate", url)
	}
	if by := resp.Certificate; by != nil && !bytes.Equal(by.Raw, issuer.Raw) {
		if !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
			return fmt.Errorf("OCSP responder %s has no certificate for that", url)
		}
		noCheck := slices.ContainsFunc(by.Extensions, func(x pkix.Extension) bool { return x.Id.Equal(oidNoCheck) })
		if noCheck || len(by.CRLDistributionPoints) == 0 {
			w.add(by)
		} else if w.add(by) {
			if err := w.crl(ctx, by.CRLDistributionPoints[0], by, issuer); err != nil {
				return err
			}
		}
	}
	w.e.OCSPs = append(w.e.OCSPs, der)
	return nil
}

func (g *Gatherer) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	return g.fetch(ctx, http.MethodGet, url, "", nil, limit)
}

// fetch makes one bounded request.
func (g *Gatherer) fetch(ctx context.Context, method, url, kind string, body []byte, limit int64) ([]byte, error) {
	timeout := g.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	client := g.Client
	if client == nil {
		client = &http.Client{}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: HTTP status %s", url, resp.Status)
	}
	out, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", url, limit)
	}
	return out, nil
}
