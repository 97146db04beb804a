package signer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/workflow"
)

// minToken is the place kept for a foreign timestamp token, in bytes before the margin.
// Between Prepare and Complete another authority may step in, whose token carries
// a longer chain; nobody should have to sign again for that.
const minToken = 6 << 10

// Prepare writes the revision that waits for a signatory's own value: field,
// look and claimed time are in it, only the signature is missing.
func (s *Signer) Prepare(ctx context.Context, sess *workflow.Session, document, person int, look workflow.Appearance, at time.Time, key workflow.Key, head []byte) (*workflow.Prepared, error) {
	who := &sess.People[person]
	p, err := s.prepare(ctx, sess, document, person, look, at, key, head)
	if err != nil {
		return nil, fmt.Errorf("preparing the signature of %s: %w", who.Mail, refusal(err))
	}
	return p, nil
}

func (s *Signer) prepare(ctx context.Context, sess *workflow.Session, document, person int, look workflow.Appearance, at time.Time, key workflow.Key, head []byte) (*workflow.Prepared, error) {
	if sess.Level == workflow.Standard {
		return nil, refuse("level-unavailable", fmt.Sprintf("The level %s is not signed with a key of one's own.", sess.Level), nil)
	}
	if !sess.Documents[document].Grows() {
		p, err := s.prepareFile(ctx, sess, document, person, at, key, head)
		return p, fileRefusal(err)
	}
	if key.Whole {
		return prepareWhole(pdf.FieldName(sess.ID, person), document, head), nil
	}
	var leaf *x509.Certificate // nil if it comes with the signature
	if len(key.Chain) > 0 {
		certs, err := parse(key.Chain[:1])
		if err != nil {
			return nil, err
		}
		leaf = certs[0]
	}
	field, err := s.field(sess, document, person, head)
	if err != nil {
		return nil, err
	}
	who := &sess.People[person]
	params := pades.Params{
		Certificate: leaf,
		Chain:       cms.Issuers(key.Chain[min(1, len(key.Chain)):]),
		Algorithm:   cms.Algorithm(key.Algorithm),
		Field:       field,
		Row:         row(sess, document),
		Paraphs:     pdf.ParaphName(sess.ID, person),
		Look:        pdf.SignatoryLook(look, who.Name, who.Mail, sess.Level, s.c.Organisation, at, issued(sess.Level, leaf)...),
		Time:        at,
		Name:        who.Name,
		Reason:      OwnReason(sess.Level, who.Name),
	}
	size, err := s.measured(ctx)
	if err != nil {
		return nil, err
	}
	if params.TokenSize = size; s.c.ForeignTime {
		params.TokenSize = max(size, minToken)
	}
	if leaf == nil {
		params.Reserve = madeElsewhere
	}
	prep, err := pades.Prepare(head, params)
	if errors.Is(err, pades.ErrExpired) {
		return nil, expired(err)
	}
	if err != nil {
		return nil, err
	}
	out := &workflow.Prepared{Document: document, Suffix: prep.Suffix, Attributes: prep.Attributes, Size: int64(len(head) + len(prep.Suffix))}
	out.SHA256 = prep.Whole(head)
	if leaf == nil {
		out.Digest = prep.Digest
	}
	out.Signer, err = prep.MarshalBinary()
	return out, err
}

// OwnReason is the reason that a signature by its signatory's own key gives.
func OwnReason(level workflow.Level, name string) string {
	if level == workflow.Qualified {
		return level.String() + ": signed by " + name + " with a qualified certificate"
	}
	return level.String() + ": signed by " + name + " with a key of their own"
}

// issued is the line that says whose qualified certificate it is.
func issued(level workflow.Level, c *x509.Certificate) []string {
	if level != workflow.Qualified {
		return nil
	}
	if c == nil {
		return []string{"Qualified certificate made for this signature"}
	}
	by := c.Issuer.CommonName
	if by == "" && len(c.Issuer.Organization) > 0 {
		by = c.Issuer.Organization[0]
	}
	return []string{"Qualified certificate by " + by}
}

// CheckValue verifies a signature value over p.Attributes. Of an ECDSA value
// both s and n-s are good: a value is kept from being used twice by its
// preparation, never by its bytes.
func (s *Signer) CheckValue(p *workflow.Prepared, value []byte) error {
	if prep, cert, ok, err := readBackFile(p); ok {
		if err == nil {
			_, err = cms.VerifyValue(cert, prep.Signature.Algorithm, p.Attributes, value)
		}
		if err != nil {
			return fmt.Errorf("checking a signature value: %w", badValue(err))
		}
		return nil
	}
	w, err := readBack(p)
	if err == nil {
		_, err = cms.VerifyValue(w.certs[0], w.prep.Algorithm, p.Attributes, value)
	}
	if err != nil {
		return fmt.Errorf("checking a signature value: %w", badValue(err))
	}
	return nil
}

// badValue makes a refusal of a value that does not sign.
func badValue(err error) error {
	if errors.Is(err, cms.ErrSignature) {
		return refuse("bad-value", "The signature that came from the device is not one over this document. Please sign again.", err)
	}
	return err
}

// readBack gives the preparation in p. The attributes are computed again: they
// must be those of this revision and this certificate, whatever stands in p.
func readBack(p *workflow.Prepared) (*ownWork, error) {
	w := &ownWork{}
	if err := w.prep.UnmarshalBinary(p.Signer); err != nil {
		return nil, fmt.Errorf("what was prepared: %w", err)
	}
	w.prep.Suffix, w.prep.Attributes = p.Suffix, p.Attributes
	var err error
	if w.certs, err = parse(w.prep.Certificates[:min(1, len(w.prep.Certificates))]); err != nil {
		return nil, err
	}
	if p.Made != nil { // its own attributes, which FinishCMS verifies again
		return w, nil
	}
	want, err := cms.SignedAttributes(w.prep.Algorithm, w.prep.Digest, w.certs[0])
	if err != nil {
		return nil, err
	}
	if !slices.Equal(want, p.Attributes) {
		return nil, errors.New("what was prepared: its attributes are those of something else")
	}
	return w, nil
}

// ownWork is a preparation read back.
type ownWork struct {
	prep  pades.Preparation
	certs []*x509.Certificate // the signatory's own
}

// Complete embeds p.Value, or p.Made, with its time, then the revocation data that makes it B-LT.
func (s *Signer) Complete(ctx context.Context, sess *workflow.Session, document, person int, head []byte, p *workflow.Prepared) ([]workflow.Increment, error) {
	made, err := s.complete(ctx, sess, document, person, head, p)
	if err != nil {
		return nil, fmt.Errorf("completing the signature of %s: %w", sess.People[person].Mail, refusal(err))
	}
	return made, nil
}

func (s *Signer) complete(ctx context.Context, sess *workflow.Session, document, person int, head []byte, p *workflow.Prepared) ([]workflow.Increment, error) {
	if !sess.Documents[document].Grows() {
		made, err := s.completeFile(ctx, sess, document, head, p)
		return made, fileRefusal(err)
	}
	own, err := readBack(p)
	if err != nil {
		return nil, err
	}
	if !own.prep.Covers(head) {
		return nil, fmt.Errorf("prepared for other bytes: %w", workflow.ErrConflict)
	}
	if s.c.Now().After(own.certs[0].NotAfter) { // no time to come could lie within its life
		return nil, expired(nil)
	}
	certs := own.prep.Certificates
	if act := sess.People[person].Act; p.Made != nil && act != nil && act.Accepted != nil {
		certs = act.Accepted.Chain // who made it may have left out issuers
	}
	chain, err := parse(certs)
	if err != nil {
		return nil, err
	}
	w := s.work(ctx, sess, document, head)
	w.field = own.prep.Field
	var suffix []byte
	if p.Made != nil {
		suffix, err = own.prep.FinishCMS(ctx, p.Made, w.times)
	} else {
		suffix, err = own.prep.Finish(ctx, p.Value, w.times)
	}
	switch {
	case errors.Is(err, pades.ErrExpired):
		return nil, expired(err)
	case tooLarge(err):
		s.grow(len(w.times.token))
		return nil, again("signature-outgrown", "The time for your signature did not fit into its place in the document. Please sign once more.", err)
	case err != nil:
		return nil, badValue(err)
	}
	w.add(workflow.Signature, suffix)
	if err := w.revocation(chain...); err != nil {
		if revoked := (*pki.RevokedError)(nil); errors.As(err, &revoked) && revoked.Name == own.certs[0].Subject.CommonName {
			return nil, again("certificate-revoked", "The certificate that you signed with was revoked before your signature had its time. Please sign again.", err)
		}
		return nil, err
	}
	return w.made, w.verify()
}

func expired(err error) error {
	return again("certificate-expired", "The certificate that you signed with ran out before your signature had its time. Please sign again.", err)
}

// again is a refusal that the same person can cure by signing anew; 4.7.0 is
// about security status (RFC 3463, 3.8), and not for good.
func again(reason, text string, err error) *workflow.Refusal {
	return &workflow.Refusal{Code: 450, Enhanced: "4.7.0", Text: text, Reason: reason, Err: err}
}

func parse(chain [][]byte) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		certs[i] = c
	}
	if len(certs) == 0 {
		return nil, errors.New("a chain without certificates")
	}
	return certs, nil
}
