package web

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// lookCertificate is a person's certificate as their page keeps it.
type lookCertificate struct {
	Serial string    `json:"serial"`
	Chain  [][]byte  `json:"chain"` // DER, the person's own first
	Until  time.Time `json:"until"`
	// Seconds until then: the clock of the visitor's device may be wrong.
	Seconds int `json:"seconds"`
}

func (s *site) newCertificate(chain [][]byte, serial string) (*lookCertificate, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("certificate %s: no chain", serial)
	}
	cert, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", serial, err)
	}
	return &lookCertificate{serial, chain, cert.NotAfter, s.seconds(cert.NotAfter)}, nil
}

// certify has a device's key certified.
func (s *site) certify(ctx context.Context, c *call, csr []byte, credential, by string) (*lookCertificate, error) {
	chain, serial, err := s.Desk.Certify(ctx, c.visit, csr, credential, by, c.client)
	if err != nil {
		return nil, err
	}
	return s.newCertificate(chain, serial)
}

// keyIssue certifies a new key of a device whose passkey, or generator of
// one-time passwords, is enrolled: browsers forget keys.
func (s *site) keyIssue(ctx context.Context, c *call) error {
	var in struct {
		Token string `json:"token"`
		CSR   []byte `json:"csr"`
		given
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	key, err := keyOf(in.CSR)
	if err != nil {
		return err
	}
	var of *workflow.Credential
	switch kind := in.kind(); {
	case kind == auth.ProofPasskey:
		of, err = s.Passkeys.ForKey(ctx, c.visit, in.Passkey.Ceremony, in.Passkey.Response, key, c.client)
	case kind == auth.ProofTOTP && s.TOTP != nil:
		if err = s.guess(c, in.TOTP); err == nil {
			err = s.certifiesByTOTP()
		}
		if err == nil {
			of, err = s.TOTP.ForKey(ctx, c.visit, in.TOTP, c.client)
		}
	default: // a mailed code never makes a certificate (decision 7)
		err = refusal("proof-not-accepted", "A key needs a passkey.", nil)
	}
	if err != nil {
		return err
	}
	out, err := s.certify(ctx, c, in.CSR, of.ID, in.kind())
	if err != nil {
		return err
	}
	return c.answer(out)
}

// certifiesByTOTP says whether a one-time password, which is bound to no key,
// makes a certificate: where Advanced signatures take it, too.
func (s *site) certifiesByTOTP() error {
	return s.Proofs.Check(workflow.Advanced, auth.ProofTOTP)
}

// keyRenew certifies a new key by the word of the old one.
func (s *site) keyRenew(ctx context.Context, c *call) error {
	var in struct {
		Token  string `json:"token"`
		CSR    []byte `json:"csr"`
		Serial string `json:"serial"`
		Proof  []byte `json:"proof"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := keyOf(in.CSR); err != nil {
		return err
	}
	chain, serial, err := s.Desk.Renew(ctx, c.visit, in.CSR, in.Serial, in.Proof, c.client)
	if err != nil {
		return err
	}
	out, err := s.newCertificate(chain, serial)
	if err != nil {
		return err
	}
	return c.answer(out)
}

// needOwn wants a session whose signatories sign with keys of their own.
func (c *call) needOwn() error {
	if c.visit.Session.Level != workflow.Advanced {
		return refusal("wrong-level", "This session is not signed with keys of the signatories' own.", nil)
	}
	return nil
}
