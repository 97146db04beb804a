package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"milterd/auth"
	"milterd/pki"
	"milterd/signature/cms"
	"milterd/workflow"
)

// proof checks how the person at the page was recognised. A passkey's answer
// can be verified again; of a code that was typed only the trail tells.
func (c *checking) proof(p *workflow.Participant) {
	pr, what := &p.Act.Proof, p.Mail+": proof"
	if pr.Assertion == nil && p.Act.Accepted != nil {
		c.step(what, "the signature itself, which follows: "+p.Act.Accepted.By+" makes it for its person alone", nil)
		return
	}
	if pr.Assertion == nil {
		var err error
		if pr.Method == "passkey" {
			err = errors.New("the passkey's answer is missing")
		}
		c.step(what, pr.Method+", as the audit trail tells; nothing in it can be verified again", err)
		return
	}
	found := fmt.Sprintf("passkey %q at %s approved exactly this", pr.Device, pr.Assertion.Origin)
	if pr.Approved != "" {
		found += fmt.Sprintf("; enrolled %s, approved by %s", stamp(pr.Enrolled), pr.Approved)
	}
	c.step(what, found, c.passkey(p))
}

func (c *checking) passkey(p *workflow.Participant) error {
	a, pr := p.Act.Proof.Assertion, &p.Act.Proof
	switch {
	case pr.Method != "passkey":
		return fmt.Errorf("a passkey's answer where the proof was %q", pr.Method)
	case a.Label != auth.LabelSign:
		return fmt.Errorf("the passkey was asked to %q, not to sign", a.Label)
	case a.Session != c.e.Session.ID:
		return errors.New("the passkey answered for another session")
	case a.Mail != p.Mail:
		return errors.New("the passkey is another person's")
	case !slices.Equal(a.Digests, digests(c.e.Session.Level, p.Act)):
		return errors.New("the passkey approved something else than was signed")
	}
	if err := auth.CheckAssertion(a); err != nil {
		return err
	}
	for _, cr := range c.e.Credentials {
		if cr.ID != a.Credential {
			continue
		}
		switch {
		case !strings.EqualFold(cr.Mail, p.Mail):
			return errors.New("the passkey is enrolled for another person")
		case cr.Enrolled.After(p.Act.At), !cr.Enrolled.Equal(pr.Enrolled), cr.ApprovedBy != pr.Approved, cr.Name == "":
			return errors.New("the passkey's enrolment is told otherwise than when it signed")
		case !cr.Revoked.IsZero() && cr.Revoked.Before(p.Act.At):
			return fmt.Errorf("the passkey was revoked on %s, before it signed", stamp(cr.Revoked))
		}
		return nil
	}
	return errors.New("the passkey's enrolment is missing")
}

// own checks the signatures by the person's own key: one over each mailed document.
func (c *checking) own(p *workflow.Participant) {
	var signed []int
	for _, o := range p.Act.Own {
		signed = append(signed, o.Document)
	}
	if !slices.Equal(signed, c.e.Session.Mailed()) {
		c.step(p.Mail+": own key", "", fmt.Errorf("signed the documents %v, was asked for %v", signed, c.e.Session.Mailed()))
		return
	}
	for _, o := range p.Act.Own {
		name := c.e.Session.Documents[o.Document].Name
		cert, err := c.certificate(p, o.Certificate)
		found := ""
		if cert != nil {
			found = fmt.Sprintf("certificate %s of %s, issued by %s, valid %s to %s", o.Certificate, cert.Subject.CommonName,
				cert.Issuer.CommonName, stamp(cert.NotBefore), stamp(cert.NotAfter))
			if q := p.Act.Accepted; q != nil {
				found += "; " + string(q.Level) + ": " + q.Vouched
			} else if e := c.entry(o.Certificate); !e.Revoked.IsZero() {
				found += "; revoked " + stamp(e.Revoked) + ", after this signature, which stands"
			}
		}
		c.step(fmt.Sprintf("%s: certificate for %s", p.Mail, name), found, err)
		if cert == nil {
			continue
		}
		_, err = value(cert, p.Act, &o)
		c.step(fmt.Sprintf("%s: signature over %s", p.Mail, name), "the value verifies under the key of this certificate", err)
	}
}

// entry is the register's; nil if it is not here.
func (c *checking) entry(serial string) *workflow.Certificate {
	for _, e := range c.e.Certificates {
		if e.Serial == serial {
			return e
		}
	}
	return nil
}

// certificate gives the one with a serial number, checked against register and
// person, and with a chain to an anchor at the time of the act.
func (c *checking) certificate(p *workflow.Participant, serial string) (*x509.Certificate, error) {
	switch q, level := p.Act.Accepted, c.e.Session.Level; {
	case q == nil && level == workflow.Qualified, q != nil && q.Level != level:
		return nil, errors.New("the certificate is not of the session's level")
	case q != nil:
		return c.accepted(p, serial)
	}
	e := c.entry(serial)
	if e == nil {
		return nil, fmt.Errorf("certificate %s is missing", serial)
	}
	cert, err := x509.ParseCertificate(e.DER)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", serial, err)
	}
	key := workflow.Digest(sha256.Sum256(cert.RawSubjectPublicKeyInfo))
	at := p.Act.At
	switch {
	case cert.SerialNumber.Text(16) != serial:
		return cert, fmt.Errorf("certificate %s has the number %s", serial, cert.SerialNumber.Text(16))
	case key != e.Key || !bytes.Equal(cert.RawSubjectPublicKeyInfo, e.PublicKey):
		return cert, errors.New("the register has another key under this number")
	case e.Mail != p.Mail || cert.Subject.CommonName != e.Name || !pki.IsFor(cert, p.Mail):
		return cert, fmt.Errorf("issued to %s <%s>, not to this person", cert.Subject.CommonName, e.Mail)
	case !cert.NotBefore.Equal(e.NotBefore) || !cert.NotAfter.Equal(e.NotAfter):
		return cert, errors.New("the register has another lifetime under this number")
	case cert.KeyUsage&x509.KeyUsageContentCommitment == 0:
		return cert, errors.New("the certificate is not for signatures")
	case at.Before(cert.NotBefore) || at.After(cert.NotAfter):
		return cert, fmt.Errorf("signed on %s, when the certificate was not valid", stamp(at))
	case !e.Revoked.IsZero() && !e.Revoked.After(at):
		return cert, fmt.Errorf("the certificate was revoked on %s, before the signature", stamp(e.Revoked))
	}
	var between []*x509.Certificate
	for _, der := range c.e.Issuers {
		i, err := x509.ParseCertificate(der)
		if err != nil {
			return cert, fmt.Errorf("issuers: %w", err)
		}
		if bytes.Equal(i.RawSubject, cert.RawIssuer) && bytes.Equal(i.SubjectKeyId, cert.AuthorityKeyId) {
			if err := cert.CheckSignatureFrom(i); err != nil {
				return cert, fmt.Errorf("the certificate is not the one that %s signed: %w", i.Subject.CommonName, err)
			}
		}
		between = append(between, i)
	}
	if _, err := cms.Chain(cert, between, c.o.Anchors, at); err != nil {
		return cert, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return cert, nil
}

// value verifies a signature value and gives it as it stands in a document.
func value(cert *x509.Certificate, a *workflow.Act, o *workflow.SignedBy) ([]byte, error) {
	alg, err := cms.AlgorithmFor(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	if a.Accepted != nil && a.Accepted.Algorithm != "" {
		alg = cms.Algorithm(a.Accepted.Algorithm)
	}
	return cms.VerifyValue(cert, alg, o.Attributes, o.Value)
}
