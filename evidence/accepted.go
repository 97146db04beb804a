package evidence

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"milterd/signature/cms"
	"milterd/workflow"
)

// accepted gives the certificate of a signature by another authority's, checked against
// what the evidence says of it and, at the time of the act, against the service or authority
// that vouched for it. Whether that service was qualified is the trusted list's word, and
// whether that authority was one for Advanced signatures the organisation's own, as it
// found it then: without it among Signers or Anchors the outcome is undecided.
func (c *checking) accepted(p *workflow.Participant, serial string) (*x509.Certificate, error) {
	q := p.Act.Accepted
	chain := make([]*x509.Certificate, len(q.Chain))
	for i, der := range q.Chain {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
	}
	if len(chain) < 2 {
		return nil, errors.New("the chain of the certificate is missing")
	}
	cert, at := chain[0], p.Act.At
	switch {
	case cert.SerialNumber.Text(16) != serial || q.Serial != serial:
		return cert, fmt.Errorf("certificate %s has the number %s", serial, cert.SerialNumber.Text(16))
	case cert.Subject.String() != q.Subject || cert.Issuer.String() != q.Issuer || !cert.NotAfter.Equal(q.NotAfter):
		return cert, errors.New("the evidence tells another subject, issuer or end of this certificate")
	case cert.KeyUsage&usage(q.Level) == 0:
		return cert, errors.New("the certificate is not for signatures")
	case at.Before(cert.NotBefore) || at.After(cert.NotAfter):
		return cert, fmt.Errorf("signed on %s, when the certificate was not valid", stamp(at))
	}
	for i, by := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(by); err != nil || !bytes.Equal(chain[i].RawIssuer, by.RawSubject) {
			return cert, fmt.Errorf("certificate %d of the chain is not the one that %s signed", i+1, by.Subject.CommonName)
		}
	}
	if _, err := cms.Chain(cert, chain[1:], c.o.signers(), at); err != nil {
		return cert, fmt.Errorf("%w: %s is no anchor here: trust its certificate (--trust-signers) to decide: %w", errUnknown, chain[len(chain)-1].Subject, err)
	}
	return cert, nil
}

// usage is what a certificate may be for, one of these (docs/qualified.md, docs/openotp.md).
func usage(l workflow.Level) x509.KeyUsage {
	if l == workflow.Advanced {
		return x509.KeyUsageContentCommitment | x509.KeyUsageDigitalSignature
	}
	return x509.KeyUsageContentCommitment
}
