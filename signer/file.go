package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"milterd/pki"
	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/validate"
	"milterd/workflow"
)

// filing is a document that is no PDF on its way through a Sign or a Seal: an XML
// document that takes a signature in itself, a message with the file inside, or a
// container around it. One that holds signatures is written anew, so each step is
// one increment that cuts off what changed.
type filing struct {
	s     *Signer
	ctx   context.Context
	doc   *workflow.Document
	head  []byte // as it came
	now   []byte // and as it is
	times *recorder
	about *pki.Gatherer   // it knows the anchors of qualified certificates in the session, too
	known map[string]bool // certificates about which it holds revocation data, by their bytes

	renews bool // archive timestamps, which are there
}

func (s *Signer) filing(ctx context.Context, sess *workflow.Session, document int, head []byte) *filing {
	return &filing{s: s, ctx: ctx, doc: &sess.Documents[document], head: head, now: head, times: &recorder{Timestamper: s.c.Time},
		about: s.c.Evidence.With(anchors(sess)), known: map[string]bool{}}
}

// number names a participant's signature in a container; the seal's is one more
// than there are people.
func number(person int) int { return person + 1 }

// signFile is Sign for what is no PDF.
func (s *Signer) signFile(ctx context.Context, sess *workflow.Session, document, person int, head []byte) ([]workflow.Increment, error) {
	f := s.filing(ctx, sess, document, head)
	who := &sess.People[person]
	role := sess.Level.String() + ": " + behalf(s.c.Organisation, who.Name)
	if err := f.sign(number(person), role); err != nil {
		return nil, err
	}
	if err := f.verify(1, false); err != nil {
		return nil, err
	}
	return f.made(workflow.Signature, time.Time{}), nil
}

// sealFile is Seal for what is no PDF: one more signature, the organisation's own,
// then an archive timestamp (B-LTA).
func (s *Signer) sealFile(ctx context.Context, sess *workflow.Session, document int, head []byte) ([]workflow.Increment, error) {
	f := s.filing(ctx, sess, document, head)
	if err := f.sign(number(len(sess.People)), "sealed by "+s.c.Organisation); err != nil {
		return nil, err
	}
	until, err := f.archive()
	if err != nil {
		return nil, err
	}
	if err := f.verify(1, true); err != nil {
		return nil, err
	}
	return f.made(workflow.Archive, until), nil
}

// made is the step as one increment: what both have at their beginning stays.
func (f *filing) made(kind workflow.RevisionKind, until time.Time) []workflow.Increment {
	same := 0
	for same < min(len(f.head), len(f.now)) && f.head[same] == f.now[same] {
		same++
	}
	return []workflow.Increment{{Kind: kind, Suffix: bytes.Clone(f.now[same:]), Cut: int64(len(f.head) - same), Until: until}}
}

// sign adds a signature by the seal's key with its time and the revocation data
// issued after that (B-LT). What it is for is the role that the signer claims.
func (f *filing) sign(number int, role string) error {
	seal := f.s.c.Seal
	role = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1 // XML knows no control characters
	}, strings.ToValidUTF8(role, ""))
	switch f.doc.Form {
	case workflow.XAdES:
		prep, err := xades.Envelope(f.now, xades.Params{Certificate: seal.Chain[0], Chain: seal.Chain[1:], Time: f.s.c.Now(), Role: role})
		if err != nil {
			return err
		}
		value, err := prep.SignWith(seal.Key)
		if err != nil {
			return err
		}
		return f.putXML(prep, value)
	case workflow.CAdES, workflow.ASiC:
		content, err := f.content()
		if err != nil {
			return err
		}
		p := cades.Params{Certificate: seal.Chain[0], Chain: seal.Chain[1:], Time: f.s.c.Now(), Role: role}
		if f.doc.Form == workflow.CAdES {
			p.MIME = f.doc.Type
			der, err := cades.Sign(f.ctx, content, p, seal.Key, f.times)
			if err != nil {
				return err
			}
			return f.join(der, content, seal.Chain)
		}
		sig, err := asic.Sign(f.ctx, asic.Extended, f.files(content), number, p, seal.Key, f.times)
		if err != nil {
			return err
		}
		return f.put(*sig, content, seal.Chain)
	}
	return fmt.Errorf("signing: the form %q is not known", f.doc.Form)
}

// untouched reports whether nobody has signed here yet.
func (f *filing) untouched() bool { return f.doc.Head().Kind == workflow.Original }

// content is the file as it was mailed.
func (f *filing) content() ([]byte, error) {
	if f.untouched() {
		return f.head, nil
	}
	if f.doc.Form == workflow.CAdES {
		all, err := cms.ParseAll(f.head)
		if err != nil {
			return nil, err
		}
		return all[0].Content, nil
	}
	c, err := asic.Open(f.head)
	if err != nil {
		return nil, err
	}
	data := c.Data()
	if len(data) != 1 || data[0].Name != f.doc.Name {
		return nil, errors.New("the container holds something else than its document")
	}
	return data[0].Content, nil
}

func (f *filing) files(content []byte) []asic.File {
	return []asic.File{{Name: f.doc.Name, MIME: f.doc.Type, Content: content}}
}

// put adds a finished signature, by the first of chain, to the container, which is new where nobody has
// signed yet.
func (f *filing) put(sig asic.Signature, content []byte, chain []*x509.Certificate) error {
	e, err := f.evidence(chain...)
	if err != nil {
		return err
	}
	if sig.CMS, err = cades.AddEvidence(sig.CMS, e); err != nil {
		return err
	}
	if f.untouched() {
		f.now, err = asic.Build(asic.Extended, f.files(content), []asic.Signature{sig})
	} else {
		f.now, err = asic.Add(f.now, sig)
	}
	return err
}

// join adds a finished signature to the message.
func (f *filing) join(der, content []byte, chain []*x509.Certificate) error {
	e, err := f.evidence(chain...)
	if err != nil {
		return err
	}
	if der, err = cades.AddEvidence(der, e); err != nil {
		return err
	}
	if der, err = cades.Attach(der, content); err == nil && !f.untouched() {
		der, err = cades.Join(f.now, der)
	}
	f.now = der
	return err
}

// putXML finishes a signature and puts it into the document.
func (f *filing) putXML(prep *xades.Preparation, value []byte) error {
	element, err := prep.Finish(f.ctx, value, f.times)
	if err != nil {
		return err
	}
	e, err := f.evidence(f.s.c.Seal.Chain...)
	if err != nil {
		return err
	}
	if f.now, err = xades.Put(f.now, element); err != nil {
		return err
	}
	f.now, err = xades.AddEvidence(f.now, prep.ID, xades.Evidence(e))
	return err
}

// evidence is gathered about the newest token's signer and the first certificate of
// chain, if there is one.
func (f *filing) evidence(chain ...*x509.Certificate) (cades.Evidence, error) {
	t, signer, err := f.times.last()
	if err != nil {
		return cades.Evidence{}, err
	}
	between := slices.Concat(chain, f.s.c.Seal.Chain[1:], t.Certificates)
	e, err := f.about.Gather(f.ctx, t.Time, append(slices.Clone(chain[:min(1, len(chain))]), signer), between)
	if err != nil {
		return cades.Evidence{}, err
	}
	for _, c := range e.Certificates {
		f.known[string(c.Raw)] = true
	}
	return cades.Evidence{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}, nil
}

// archive adds archive timestamps: one over a container, one to each signature of
// ours in a message or document. Where another authority has stepped in, the
// evidence about it follows. It gives the time until which they hold.
func (f *filing) archive() (until time.Time, err error) {
	switch f.doc.Form {
	case workflow.ASiC:
		f.now, err = asic.Archive(f.ctx, f.now, f.times)
	case workflow.CAdES:
		f.now, err = cades.Archive(f.ctx, f.now, nil, f.times)
	default:
		err = f.each(func(id string) (err error) {
			f.now, err = xades.Archive(f.ctx, f.now, id, nil, f.times)
			return err
		})
	}
	if err != nil {
		return until, err
	}
	_, signer, err := f.times.last()
	if err != nil {
		return until, err
	}
	if f.known[string(signer.Raw)] {
		return signer.NotAfter, nil
	}
	e, err := f.evidence()
	if err != nil {
		return until, err
	}
	return signer.NotAfter, f.addEvidence(e)
}

// addEvidence adds evidence to the newest timestamp over a container, or to the
// message, or to each signature of ours in a document.
func (f *filing) addEvidence(e cades.Evidence) (err error) {
	switch f.doc.Form {
	case workflow.ASiC:
		f.now, err = asic.AddEvidence(f.now, e)
	case workflow.CAdES:
		f.now, err = cades.AddEvidence(f.now, e)
	default:
		err = f.each(func(id string) (err error) {
			f.now, err = xades.AddEvidence(f.now, id, xades.Evidence(e))
			return err
		})
	}
	return err
}

// each does something to every signature of ours in an XML document: those of the
// seal's key, and those that have archive timestamps where these are renewed.
func (f *filing) each(do func(id string) error) error {
	d, err := xades.Read(f.now)
	if err != nil {
		return err
	}
	for _, s := range d.Signatures {
		if s.Problem != nil || f.renews && len(s.Archives) == 0 {
			continue
		}
		if c, err := s.SignerCertificate(); !f.renews && (err != nil || !c.Equal(f.s.c.Seal.Chain[0])) {
			continue
		}
		if err := do(s.ID); err != nil {
			return err
		}
	}
	return nil
}

// verify judges the result as a stranger would: more signatures than before, by so
// many, each of which holds; what others had signed has not become worse.
func (f *filing) verify(more int, archived bool) error {
	after, err := f.validate(f.now)
	if err != nil {
		return err
	}
	var before []validate.Signature
	if f.doc.Form == workflow.XAdES || !f.untouched() {
		r, err := f.validate(f.head)
		if err != nil {
			return err
		}
		before = signatures(r)
	}
	now := signatures(after)
	if len(now) != len(before)+more {
		return fmt.Errorf("checking the result: %d signatures, were %d", len(now), len(before))
	}
	for _, sig := range now {
		old := find(before, sig.Field)
		if f.doc.Form != workflow.XAdES || !f.doc.Signed {
			old = nil // all are ours, and hold
		}
		switch {
		case old != nil && old.Indication != validate.Passed && sig.Indication == old.Indication:
		case old != nil && (sig.Indication != old.Indication || len(denied(sig.Changes)) > len(denied(old.Changes))):
			return refuse("signature-broken", "This document cannot be signed without harm to a signature that it carries already.",
				fmt.Errorf("%s was %s, is %s: %s", sig.Field, old.Indication, sig.Indication, sig.Problem))
		case old == nil && (sig.Indication != validate.Passed || len(denied(sig.Changes)) > 0):
			return fmt.Errorf("checking the result: %s is %s %s: %s", sig.Field, sig.Indication, sig.Sub, sig.Problem)
		case old == nil && !reaches(sig.Level, archived):
			return fmt.Errorf("checking the result: %s has level %q", sig.Field, sig.Level)
		}
	}
	return nil
}

// reaches reports whether a level is what a step promises.
func reaches(l validate.Level, archived bool) bool {
	switch l {
	case validate.CAdESLevelLTA, validate.XAdESLevelLTA:
		return true
	case validate.CAdESLevelLT, validate.XAdESLevelLT:
		return !archived
	}
	return false
}

// signatures leaves out timestamps.
func signatures(r *validate.Result) (out []validate.Signature) {
	for _, s := range r.Signatures {
		if s.Kind == validate.KindSignature {
			out = append(out, s)
		}
	}
	return out
}

func (f *filing) validate(data []byte) (*validate.Result, error) {
	r, err := validate.File(data, validate.Options{Anchors: f.about.Anchors(), Now: f.s.c.Now()})
	if err != nil {
		return nil, fmt.Errorf("checking the result: %w", err)
	}
	return r, nil
}
