package signer

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/workflow"
)

// Config is what a Signer works with.
type Config struct {
	Seal         pki.Identity     // the organisation's key and its chain
	Organisation string           // as it is printed
	Time         pki.Timestamper  // whose time the signatures carry
	ForeignTime  bool             // it comes from other authorities, whose tokens differ in size
	Evidence     *pki.Gatherer    // where revocation data comes from
	Now          func() time.Time // nil means time.Now
}

// Signer signs on behalf of people and seals. It is safe for concurrent use.
type Signer struct {
	c Config

	mu        sync.Mutex
	tokenSize int // bytes of the largest timestamp token seen; 0: none yet
}

// New makes a Signer.
func New(c Config) *Signer {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Signer{c: c}
}

// Ready asks the timestamp authority.
func (s *Signer) Ready(ctx context.Context) error { return s.c.Time.Probe(ctx) }

// Sign puts the organisation's signature on behalf of a signatory into the
// document: B-T, then the revocation data that makes it B-LT.
func (s *Signer) Sign(ctx context.Context, sess *workflow.Session, document, person int, head []byte) ([]workflow.Increment, error) {
	who := &sess.People[person]
	switch {
	case sess.Level != workflow.Standard:
		return nil, refuse("level-unavailable", fmt.Sprintf("The level %s cannot be signed here.", sess.Level), nil)
	case who.Act == nil:
		return nil, fmt.Errorf("signing: %s has not signed", who.Mail)
	}
	if d := &sess.Documents[document]; !d.Grows() {
		made, err := s.signFile(ctx, sess, document, person, head)
		if err != nil {
			return nil, fmt.Errorf("signing %s on behalf of %s: %w", d.Name, who.Mail, fileRefusal(err))
		}
		return made, nil
	}
	field, err := s.field(sess, document, person, head)
	if err != nil {
		return nil, refusal(err)
	}
	w := s.work(ctx, sess, document, head)
	err = w.sign(workflow.Signature, pades.Params{
		Field:   field,
		Row:     row(sess, document),
		Paraphs: pdf.ParaphName(sess.ID, person),
		Look:    pdf.SignatoryLook(who.Act.Appearance, who.Name, who.Mail, sess.Level, s.c.Organisation, who.Act.At),
		Name:    s.c.Organisation,
		Reason:  sess.Level.String() + ": " + behalf(s.c.Organisation, who.Name),
	})
	if err == nil {
		err = w.revocation(s.c.Seal.Chain...)
	}
	if err == nil {
		err = w.verify()
	}
	if err != nil {
		return nil, fmt.Errorf("signing on behalf of %s: %w", who.Mail, refusal(err))
	}
	return w.made, nil
}

// behalf is what a signature at Standard is, in words.
func behalf(organisation, name string) string {
	return fmt.Sprintf("sealed by %s on behalf of %s", organisation, name)
}

// Seal puts the organisation's own seal over the whole (B-LT), then a document
// timestamp over that (B-LTA). On the report, which has no field laid out, the
// seal is invisible.
func (s *Signer) Seal(ctx context.Context, sess *workflow.Session, document int, head []byte) ([]workflow.Increment, error) {
	if d := &sess.Documents[document]; !d.Grows() {
		made, err := s.sealFile(ctx, sess, document, head)
		if err != nil {
			return nil, fmt.Errorf("sealing %s: %w", d.Name, fileRefusal(err))
		}
		return made, nil
	}
	w := s.work(ctx, sess, document, head)
	now := s.c.Now()
	err := w.sign(workflow.Seal, pades.Params{
		Field:  pdf.SealName(sess.ID),
		Row:    row(sess, document),
		Look:   pdf.SealLook(s.c.Organisation, s.c.Seal.VAT(), now),
		Name:   s.c.Organisation,
		Reason: "sealed by " + s.c.Organisation,
	})
	if err == nil {
		err = w.revocation(s.c.Seal.Chain...)
	}
	if err == nil {
		err = w.archive(pdf.TimeName(sess.ID))
	}
	if err == nil {
		err = w.verify()
	}
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", refusal(err))
	}
	return w.made, nil
}

// work is one document on its way through a Sign or a Seal.
type work struct {
	s     *Signer
	ctx   context.Context
	field string // of the signature that was made
	sess  *workflow.Session
	doc   *workflow.Document
	head  []byte // the document as it came
	now   []byte // and as it is
	made  []workflow.Increment
	times *recorder
	about *pki.Gatherer   // it knows the anchors of qualified certificates in the session, too
	known map[string]bool // certificates with revocation data in the DSS, by their bytes
}

func (s *Signer) work(ctx context.Context, sess *workflow.Session, document int, head []byte) *work {
	return &work{s: s, ctx: ctx, sess: sess, doc: &sess.Documents[document], head: head, now: head,
		times: &recorder{Timestamper: s.c.Time}, known: map[string]bool{}, about: s.c.Evidence.With(anchors(sess))}
}

// anchors are the certificates of the services that vouched for qualified ones when
// these were taken: what a list says later changes no signature that was made.
func anchors(sess *workflow.Session) (out [][]byte) {
	if sess == nil {
		return nil
	}
	for i := range sess.People {
		if a := sess.People[i].Act; a != nil && a.Accepted != nil && len(a.Accepted.Chain) > 0 {
			out = append(out, a.Accepted.Chain[len(a.Accepted.Chain)-1])
		}
	}
	return out
}

func (w *work) add(kind workflow.RevisionKind, suffix []byte) {
	w.made = append(w.made, workflow.Increment{Kind: kind, Suffix: suffix})
	w.now = slices.Concat(w.now, suffix)
}

// sign makes the signature with its timestamp.
func (w *work) sign(kind workflow.RevisionKind, p pades.Params) error {
	chain := w.s.c.Seal.Chain
	p.Certificate, p.Chain, p.Time = chain[0], chain[1:], w.s.c.Now()
	w.field = p.Field
	return w.s.sized(w.ctx, func(size int) error {
		p.TokenSize = size
		suffix, err := pades.Sign(w.ctx, w.now, p, w.s.c.Seal.Key, w.times)
		if err == nil {
			w.add(kind, suffix)
		}
		return err
	})
}

// revocation adds the evidence about a signer, whose chain is given, and the
// timestamp, issued after the timestamp's time.
func (w *work) revocation(chain ...*x509.Certificate) error {
	suffix, err := w.evidence(chain...)
	if err == nil && suffix != nil {
		w.add(workflow.DSS, suffix)
	}
	return err
}

// evidence gives the DSS increment about the newest token's signer and the
// first certificate of chain, if there is one.
func (w *work) evidence(chain ...*x509.Certificate) ([]byte, error) {
	t, signer, err := w.times.last()
	if err != nil {
		return nil, err
	}
	between := slices.Concat(chain, w.s.c.Seal.Chain[1:], t.Certificates)
	e, err := w.about.Gather(w.ctx, t.Time, append(slices.Clone(chain[:min(1, len(chain))]), signer), between)
	if err != nil {
		return nil, err
	}
	for _, c := range e.Certificates {
		w.known[string(c.Raw)] = true
	}
	return pades.AddDSS(w.now, pades.DSSData{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs})
}

// archive adds the document timestamp. Its authority is normally the one that
// stamped the signature, about which the DSS knows everything; if another
// one stepped in, the evidence about it follows in the same increment.
func (w *work) archive(field string) error {
	return w.s.sized(w.ctx, func(size int) error {
		suffix, err := pades.Timestamp(w.ctx, w.now, field, w.times, size)
		if err != nil {
			return err
		}
		w.add(workflow.Archive, suffix)
		_, signer, err := w.times.last()
		if err != nil {
			return err
		}
		last := &w.made[len(w.made)-1]
		last.Until = signer.NotAfter
		if w.known[string(signer.Raw)] {
			return nil
		}
		dss, err := w.evidence()
		if err != nil {
			return err
		}
		last.Suffix, w.now = slices.Concat(last.Suffix, dss), slices.Concat(w.now, dss)
		return nil
	})
}

// recorder keeps the newest token that a Timestamper gave.
type recorder struct {
	pki.Timestamper
	token []byte
}

func (r *recorder) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	token, err := r.Timestamper.Timestamp(ctx, digest)
	r.token = token
	return token, err
}

func (r *recorder) last() (*cms.Token, *x509.Certificate, error) {
	t, err := cms.ParseToken(r.token)
	if err != nil {
		return nil, nil, err
	}
	signer, err := t.CheckSigner()
	return t, signer, err
}

// sized calls fn with the size of a timestamp token, measured once. If a token
// outgrows its place, because another authority answers now, it measures again.
func (s *Signer) sized(ctx context.Context, fn func(size int) error) error {
	size, err := s.measured(ctx)
	if err != nil {
		return err
	}
	if err := fn(size); !tooLarge(err) {
		return err
	}
	if size, err = s.measure(ctx); err != nil {
		return err
	}
	return fn(size)
}

// measured is the size of the largest token seen; it asks for one if none was.
func (s *Signer) measured(ctx context.Context) (int, error) {
	s.mu.Lock()
	size := s.tokenSize
	s.mu.Unlock()
	if size > 0 {
		return size, nil
	}
	return s.measure(ctx)
}

func (s *Signer) measure(ctx context.Context) (int, error) {
	var digest [32]byte
	rand.Read(digest[:]) // never fails (crypto/rand)
	token, err := s.c.Time.Timestamp(ctx, digest[:])
	if err != nil {
		return 0, err
	}
	return s.grow(len(token)), nil
}

func (s *Signer) grow(size int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenSize = max(s.tokenSize, size)
	return s.tokenSize
}
