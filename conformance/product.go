package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
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

// way is how a person signs at levels Advanced and Qualified.
type way int

const (
	known   way = iota // by a key whose certificate is known first: a device's, a card's, a provider's
	oneShot            // a provider makes key, certificate and the complete CMS
	phone              // a server is given the document, and gives it back signed
)

// sign does what the desk's jobs do with a document: layout, a signature of each
// person, the seal.
func (m *maker) sign(h *house, sess *workflow.Session, doc []byte, ways ...way) ([]step, error) {
	s := h.signer()
	var out []step
	now := doc
	add := func(incs []workflow.Increment, err error) error {
		for _, inc := range incs {
			now = slices.Concat(now[:int64(len(now))-inc.Cut], inc.Suffix)
			out = append(out, step{inc.Kind, now})
			sess.Documents[0].Revisions = append(sess.Documents[0].Revisions, workflow.Revision{Number: len(out), Kind: inc.Kind})
		}
		return err
	}
	sess.Documents[0].Revisions = []workflow.Revision{{Kind: workflow.Original}}
	layout, err := s.Layout(m.ctx, sess, 0, doc)
	if err != nil {
		return nil, err
	}
	now = slices.Concat(now, layout)
	for i := range sess.People {
		w := known
		if i < len(ways) {
			w = ways[i]
		}
		switch {
		case sess.Level == workflow.Standard:
			err = add(s.Sign(m.ctx, sess, 0, i, now))
		case sess.Level == workflow.Advanced && w == known:
			err = add(m.own(h, sess, i, now))
		default:
			err = add(m.byOthers(h, sess, i, now, w))
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
	with := workflow.Key{Chain: append([][]byte{entry.DER}, h.Issuers()...)}
	return m.twoPhases(h, sess, person, head, with, func(attributes []byte) ([]byte, error) {
		digest := sha256.Sum256(attributes)
		r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			return nil, err
		}
		return append(r.FillBytes(make([]byte, 32)), v.FillBytes(make([]byte, 32))...), nil // as WebCrypto gives it
	})
}

func (m *maker) twoPhases(h *house, sess *workflow.Session, person int, head []byte, with workflow.Key, value func(attributes []byte) ([]byte, error)) ([]workflow.Increment, error) {
	who, s := &sess.People[person], h.signer()
	p, err := s.Prepare(m.ctx, sess, 0, person, who.Act.Appearance, who.Act.At, with, head)
	if err != nil {
		return nil, err
	}
	if p.Value, err = value(p.Attributes); err != nil {
		return nil, err
	}
	return s.Complete(m.ctx, sess, 0, person, head, p)
}

// byOthers signs with a certificate of another authority, the stand-in for one that issues
// qualified certificates, or at level Advanced for one that certifies phones: the house
// knows it as the anchor of this signature only.
func (m *maker) byOthers(h *house, sess *workflow.Session, person int, head []byte, w way) ([]workflow.Increment, error) {
	k := []kind{{"P-384", cms.ES384, ecKey(elliptic.P384())}, {"RSA-3072 PSS", cms.PS256, rsaKey(3072)}, {"P-256", cms.ES256, ecKey(elliptic.P256())}}[person]
	key, err := k.generate()
	if err != nil {
		return nil, err
	}
	who := &sess.People[person]
	first, last, _ := strings.Cut(who.Name, " ")
	id, err := h.provider.Issue(qualifiedtest.Request{GivenName: first, Surname: last, Serial: fmt.Sprintf("PNOLU-%d", person+1), Key: key.Public(),
		NoStatements: sess.Level != workflow.Qualified})
	if err != nil {
		return nil, err
	}
	certs := []*x509.Certificate{id.Cert, h.provider.CA}
	with := workflow.Key{Chain: [][]byte{id.Cert.Raw, h.provider.CA.Raw}, Algorithm: string(k.alg)}
	who.Act.Accepted = &workflow.Acceptance{Level: sess.Level, Chain: with.Chain}
	switch w {
	case oneShot:
		return m.madeElsewhere(h, sess, person, head, workflow.Key{Algorithm: with.Algorithm}, func(p *workflow.Prepared) ([]byte, error) {
			attributes, err := cms.SignedAttributes(k.alg, p.Digest, id.Cert)
			if err != nil {
				return nil, err
			}
			value, err := k.alg.SignWith(key, attributes)
			if err != nil {
				return nil, err
			}
			return cms.SignedData{Algorithm: k.alg, Certificates: certs, Attributes: attributes, Value: value}.Marshal()
		})
	case phone:
		return m.madeElsewhere(h, sess, person, head, workflow.Key{Whole: true}, func(*workflow.Prepared) ([]byte, error) {
			return pades.Sign(m.ctx, head, pades.Params{Certificate: certs[0], Chain: certs[1:], Algorithm: k.alg,
				Field: pdf.FieldName(sess.ID, person), Time: time.Now(), TokenSize: 8 << 10}, key, nil)
		})
	}
	return m.twoPhases(h, sess, person, head, with, func(attributes []byte) ([]byte, error) { return k.alg.SignWith(key, attributes) })
}

// madeElsewhere has a complete signature made, whose certificate comes with it.
func (m *maker) madeElsewhere(h *house, sess *workflow.Session, person int, head []byte, with workflow.Key, make func(*workflow.Prepared) ([]byte, error)) ([]workflow.Increment, error) {
	who, s := &sess.People[person], h.signer()
	p, err := s.Prepare(m.ctx, sess, 0, person, who.Act.Appearance, who.Act.At, with, head)
	if err != nil {
		return nil, err
	}
	made, err := make(p)
	if err != nil {
		return nil, err
	}
	if _, err := s.Take(m.ctx, p, head, made); err != nil {
		return nil, err
	}
	return s.Complete(m.ctx, sess, 0, person, head, p)
}

// provide starts the stand-in for a qualified provider, for all houses.
func (m *maker) provide(houses []*house) (stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p, err := qualifiedtest.New(time.Now, "http://"+ln.Addr().String())
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(ln)
	for _, h := range houses {
		h.provider, h.vouched = p, filepath.Join(h.dir, "qtsp.pem")
		if err := os.WriteFile(h.vouched, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.CA.Raw}), 0o644); err != nil {
			return nil, err
		}
	}
	return func() { server.Close() }, nil
}

// product makes what the product makes: every level, one person and
// three, its own time and another's, each as it is after every increment.
func (m *maker) product(houses []*house) error {
	doc, err := sample("contract.pdf")
	if err != nil {
		return err
	}
	stop, err := m.provide(houses)
	if err != nil {
		return err
	}
	defer stop()
	var work []func(*maker) error
	for i, h := range houses {
		about := []string{"RSA-3072", "P-256"}[i%2]
		if h.outside != nil {
			about += ", time from outside"
		}
		for _, c := range []struct {
			level workflow.Level
			n     int
			how   string
			ways  []way
		}{
			{workflow.Standard, 1, "", nil}, {workflow.Standard, 3, "", nil}, {workflow.Advanced, 1, "", nil}, {workflow.Advanced, 3, "", nil},
			{workflow.Advanced, 1, ", on a phone", []way{phone}}, {workflow.Advanced, 3, ", by devices and on a phone", []way{known, known, phone}},
			{workflow.Qualified, 1, "", nil}, {workflow.Qualified, 3, "", nil},
			{workflow.Qualified, 1, ", one-shot certificate", []way{oneShot}}, {workflow.Qualified, 1, ", on a phone", []way{phone}},
			{workflow.Qualified, 3, ", on a phone, by key, one-shot certificate", []way{phone, known, oneShot}},
		} {
			name := fmt.Sprintf("%s, %d signed%s, %s", c.level, c.n, c.how, about)
			work = append(work, func(m *maker) error {
				h := h
				if c.level == workflow.Qualified || slices.Contains(c.ways, phone) {
					h = h.vouching()
				}
				steps, err := m.sign(h, session(c.n, c.level, "contract.pdf", false), doc, c.ways...)
				if err == nil {
					err = m.stages(h, name, c.n, steps)
				}
				if err == nil && c.n == 1 && h.outside == nil && c.ways == nil && c.level != workflow.Qualified {
					err = m.renewed(h, name, c.n, steps[len(steps)-1].data)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				return nil
			})
		}
		work = append(work, func(m *maker) error { return m.report(h, about, doc) }, func(m *maker) error { return m.filed(h, about) })
	}
	return m.together(work...)
}

// filed is what is no PDF, as the product signs it: by one person and by three, on
// behalf of them and, where that is offered, with keys of their own.
func (m *maker) filed(h *house, about string) error {
	invoice, err := os.ReadFile(filepath.Join("testdata", "xml", "invoice"+xmlExt))
	if err != nil {
		return err
	}
	for _, c := range []struct {
		form    workflow.Form
		name    string
		kind    string
		content []byte
		ext     string
		level   validate.Level
		own     bool
		stamps  func(n int) int
	}{
		{workflow.ASiC, plainFiles[0].Name, plainFiles[0].MIME, plainFiles[0].Content, extendedForm.ext(), validate.CAdESLevelLTA, true, func(int) int { return 1 }},
		{workflow.CAdES, plainFiles[0].Name, plainFiles[0].MIME, plainFiles[0].Content, attachedForm.ext(), validate.CAdESLevelLTA, true, func(n int) int { return n }},
		{workflow.XAdES, "invoice.xml", "application/xml", invoice, xmlExt, validate.XAdESLevelLTA, false, func(n int) int { return n }},
	} {
		for _, level := range []workflow.Level{workflow.Standard, workflow.Advanced} {
			for _, n := range []int{1, 3} {
				if level != workflow.Standard && !c.own {
					continue
				}
				sess := session(n, level, c.name, false)
				sess.Documents[0].Form, sess.Documents[0].Type = c.form, c.kind
				steps, err := m.sign(h, sess, c.content)
				if err != nil {
					return fmt.Errorf("%s, %s, %d: %w", c.form, level, n, err)
				}
				f := file{group: "product", name: fmt.Sprintf("%s, %s, %d signed, %s, sealed, B-LTA", c.form, level, n, about), ext: c.ext, roots: h.roots,
					signatures: n + 1, stamps: c.stamps(n + 1), level: c.level}
				if _, err := m.add(f, steps[len(steps)-1].data); err != nil {
					return err
				}
			}
		}
	}
	return nil
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
