package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"milterd/validate"
	"milterd/workflow"
)

// session asks n people, who have all pressed Sign.
func session(n int, level workflow.Level, document string, signed bool) *workflow.Session {
	at := time.Now().UTC().Truncate(time.Microsecond)
	s := &workflow.Session{ID: "abcdefghijklmnop", Level: level, State: workflow.Open, Created: at,
		Documents: []workflow.Document{{Name: document, Kind: workflow.Mailed, Signed: signed}}}
	for i, name := range []string{"Jane Roe", "Łukasz Müller", "Zoë Šťastná"}[:n] {
		p := workflow.Participant{Person: workflow.Person{Name: name, Mail: fmt.Sprintf("p%d@corp.test", i), Language: "en"},
			Sender: i == 0, Signatory: true, State: workflow.Signing, Act: &workflow.Act{At: at, Appearance: workflow.Appearance{Typed: name}}}
		if i == 1 {
			p.Act.Appearance = workflow.Appearance{Width: 300, Height: 120, Strokes: []workflow.Stroke{
				{{X: 10, Y: 90}, {X: 60, Y: 20}, {X: 110, Y: 95}, {X: 160, Y: 30}, {X: 280, Y: 60}}}}
		}
		s.People = append(s.People, p)
	}
	return s
}

// step is a document after one increment.
type step struct {
	kind workflow.RevisionKind
	data []byte
}

// sign does what the desk's jobs do with a document: layout, a signature of each
// person, the seal.
func (m *maker) sign(h *house, sess *workflow.Session, doc []byte) ([]step, error) {
	s := h.signer()
	var out []step
	now := doc
	add := func(incs []workflow.Increment, err error) error {
		for _, inc := range incs {
			now = slices.Concat(now, inc.Suffix)
			out = append(out, step{inc.Kind, now})
		}
		return err
	}
	layout, err := s.Layout(m.ctx, sess, 0, doc)
	if err != nil {
		return nil, err
	}
	now = slices.Concat(now, layout)
	for i := range sess.People {
		if sess.Level == workflow.Standard {
			err = add(s.Sign(m.ctx, sess, 0, i, now))
		} else {
			err = add(m.own(h, sess, i, now))
		}
		if err != nil {
			return nil, err
		}
	}
	return out, add(s.Seal(m.ctx, sess, 0, now))
}

// own signs with a person's own key, in two phases, as the page does.
func (m *maker) own(h *house, sess *workflow.Session, person int, head []byte) ([]workflow.Increment, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	who := &sess.People[person]
	entry, err := h.Draft(who.Person, csr, time.Now())
	if err != nil {
		return nil, err
	}
	if err := h.Issue(m.ctx, entry); err != nil {
		return nil, err
	}
	s := h.signer()
	p, err := s.Prepare(m.ctx, sess, 0, person, who.Act.Appearance, who.Act.At, workflow.Key{Chain: append([][]byte{entry.DER}, h.Issuers()...)}, head)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(p.Attributes)
	r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	p.Value = append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...) // as WebCrypto gives it
	return s.Complete(m.ctx, sess, 0, person, head, p)
}

// product makes what the product makes: Standard and Advanced, one person and
// three, its own time and another's, each as it is after every increment.
func (m *maker) product(houses []*house) error {
	doc, err := sample("contract.pdf")
	if err != nil {
		return err
	}
	var work []func(*maker) error
	for i, h := range houses {
		about := []string{"RSA-3072", "P-256"}[i%2]
		if h.outside != nil {
			about += ", time from outside"
		}
		for _, level := range []workflow.Level{workflow.Standard, workflow.Advanced} {
			for _, n := range []int{1, 3} {
				name := fmt.Sprintf("%s, %d signed, %s", level, n, about)
				work = append(work, func(m *maker) error {
					steps, err := m.sign(h, session(n, level, "contract.pdf", false), doc)
					if err == nil {
						err = m.stages(h, name, n, steps)
					}
					if err == nil && n == 1 && h.outside == nil {
						err = m.renewed(h, name, n, steps[len(steps)-1].data)
					}
					if err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
					return nil
				})
			}
		}
		work = append(work, func(m *maker) error { return m.report(h, about, doc) })
	}
	return m.together(work...)
}

// report is sealed as the certificate of completion is: invisibly, with no other
// signature before.
func (m *maker) report(h *house, about string, doc []byte) error {
	sess := session(1, workflow.Standard, "contract.pdf", false)
	sess.Documents = append(sess.Documents, workflow.Document{Name: workflow.ReportName, Kind: workflow.Report})
	incs, err := h.signer().Seal(m.ctx, sess, 1, doc)
	if err != nil {
		return err
	}
	for _, inc := range incs {
		doc = slices.Concat(doc, inc.Suffix)
	}
	_, err = m.add(file{group: "product", name: "seal alone, " + about, roots: h.roots, signatures: 1, stamps: 1, level: validate.LevelLTA}, doc)
	return err
}

// stages adds a document as it is when the last person has signed (B-T), when the
// revocation data about that is in it (B-LT), and at the end (B-LTA).
func (m *maker) stages(h *house, name string, n int, steps []step) error {
	signed := 0
	for i, s := range steps {
		f := file{group: "product", roots: h.roots}
		switch {
		case s.kind == workflow.Signature:
			signed++
			continue
		case s.kind == workflow.DSS && signed == n && !slices.ContainsFunc(steps[:i], func(s step) bool { return s.kind == workflow.Seal }):
			f.name, f.signatures, f.level = name+", B-LT", n, validate.LevelLT
		case i == len(steps)-1:
			f.name, f.signatures, f.stamps, f.level = name+", sealed, B-LTA", n+1, 1, validate.LevelLTA
		default:
			continue
		}
		if _, err := m.add(f, s.data); err != nil {
			return err
		}
	}
	return nil
}

// renewed puts a second document timestamp over the first, as is done before the
// first one's certificate ends.
func (m *maker) renewed(h *house, name string, n int, data []byte) error {
	r, err := h.signer().Renew(m.ctx, data, time.Now().AddDate(50, 0, 0))
	if err != nil {
		return err
	}
	if len(r.Increments) == 0 {
		return errors.New("nothing was renewed")
	}
	for _, inc := range r.Increments {
		data = slices.Concat(data, inc.Suffix)
	}
	_, err = m.add(file{group: "product", name: name + ", sealed, B-LTA renewed", roots: h.roots, signatures: n + 1, stamps: 2, level: validate.LevelLTA}, data)
	return err
}
