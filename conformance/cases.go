package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"milterd/pki"
	"milterd/pki/tsatest"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// file is one PDF that everybody judges.
type file struct {
	group, name string
	path        string
	roots, crls []string // files; the latter are from outside the PDF

	// What everybody must say of a good file: so many signatures, each of that
	// level and indication, and so many document timestamps. Those that others
	// made before us are not counted, see before.
	signatures int
	stamps     int
	level      validate.Level
	indication string

	before *file // the document as it came, with the signatures of others: they must be judged as they were
	base   *file // the good file that this one is a damaged copy of
	may    bool  // the damage is of a kind that may go unnoticed: it touches nothing that is signed or shown
}

func (f *file) String() string { return f.group + ": " + f.name }

// The three that a judge can say of a signature (EN 319 102-1, 5.1.3).
const (
	passed        = "TOTAL-PASSED"
	indeterminate = "INDETERMINATE"
	totalFailed   = "TOTAL-FAILED"
)

// refused is an input that the product does not sign, with its words.
type refused struct{ name, reason string }

// maker makes files.
type maker struct {
	ctx     context.Context
	dir     string
	files   []*file
	refused []refused
	foreign *outsider
}

func (m *maker) close() {
	if m.foreign != nil {
		for _, f := range m.foreign.undo {
			f()
		}
	}
}

// together has several makers at work at once, since each waits for the next
// second again and again; their files come in the order of the makers.
func (m *maker) together(work ...func(m *maker) error) error {
	makers, errs := make([]*maker, len(work)), make([]error, len(work))
	var wg sync.WaitGroup
	for i, do := range work {
		w := &maker{ctx: m.ctx, dir: filepath.Join(m.dir, fmt.Sprintf("%d-%d", len(m.files), i))}
		if err := os.Mkdir(w.dir, 0o700); err != nil {
			return err
		}
		makers[i] = w
		wg.Go(func() { errs[i] = do(w) })
	}
	wg.Wait()
	for _, w := range makers {
		m.files, m.refused = append(m.files, w.files...), append(m.refused, w.refused...)
	}
	return errors.Join(errs...)
}

// add writes a file and notes what is expected of it.
func (m *maker) add(f file, data []byte) (*file, error) {
	f.path = filepath.Join(m.dir, fmt.Sprintf("%03d.pdf", len(m.files)))
	if f.indication == "" {
		f.indication = passed
	}
	m.files = append(m.files, &f)
	return &f, os.WriteFile(f.path, data, 0o600)
}

// everything makes all files, the good ones and the damaged ones.
func (m *maker) everything(milterd string) error {
	rsa, err := newHouse(filepath.Join(m.dir, "rsa"), pki.RSA3072)
	if err != nil {
		return err
	}
	ec, err := newHouse(filepath.Join(m.dir, "ec"), pki.P256)
	if err != nil {
		return err
	}
	m.foreign = &outsider{dir: filepath.Join(m.dir, "tsa")}
	if err := os.Mkdir(m.foreign.dir, 0o700); err != nil {
		return err
	}
	tsa := tsatest.New(m.foreign)
	root := filepath.Join(m.dir, "tsa-root.pem")
	if err := writeCertificate(root, tsa.Root); err != nil {
		return err
	}
	houses := []*house{rsa, ec, rsa.elsewhere(tsa, root), ec.elsewhere(tsa, root)}
	for _, step := range []func() error{
		func() error { return m.levels(rsa, ec, houses[2]) },
		func() error { return m.product(houses) },
		func() error { return m.inputs(rsa) },
		func() error { return m.demo(milterd) },
		func() error { return m.damaged() },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return m.foreign.err
}

func writeCertificate(path string, c *x509.Certificate) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), 0o600)
}

func sample(name string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", "pdf", name)) }

// levels makes every level with every kind of key, by the packages that the
// product makes them with.
func (m *maker) levels(rsa, ec, outside *house) error {
	doc, err := sample("contract.pdf")
	if err != nil {
		return err
	}
	var work []func(*maker) error
	for _, k := range kinds {
		h := rsa
		if strings.HasPrefix(k.name, "P-") {
			h = ec
		}
		work = append(work, func(m *maker) error { return m.kind(h, k, k.name, doc) })
		if k.name == "RSA-3072" || k.name == "P-256" { // whose time it is has to do with the key of a signature only in its size
			work = append(work, func(m *maker) error { return m.kind(outside, k, k.name+", time from outside", doc) })
		}
	}
	return m.together(work...)
}

// kind makes every level with one kind of key.
func (m *maker) kind(h *house, k kind, name string, doc []byte) error {
	id, err := h.seal(k)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	all, err := m.ladder(h, id, k.alg, doc)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	lists, err := h.lists(m.ctx, m.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, level := range []validate.Level{validate.LevelB, validate.LevelT, validate.LevelLT, validate.LevelLTA} {
		f := file{group: "key types", name: name + ", " + short(level), roots: h.roots, signatures: 1, level: level}
		if level == validate.LevelLTA {
			f.stamps = 1
		}
		if i < 2 { // nothing in the file says whether the certificate was revoked
			alone := f
			alone.name, alone.indication = f.name+" without revocation data", indeterminate
			if _, err := m.add(alone, all[i]); err != nil {
				return err
			}
			f.name, f.crls = f.name+" with the published CRLs", lists
		}
		if _, err := m.add(f, all[i]); err != nil {
			return err
		}
	}
	return nil
}

// short is a level's own part: "B-LTA".
func short(l validate.Level) string { return strings.Replace(string(l), "PAdES-BASELINE-", "B-", 1) }

// ladder signs a document up to each level: B-B, B-T, B-LT, B-LTA.
func (m *maker) ladder(h *house, id pki.Identity, alg cms.Algorithm, doc []byte) (out [4][]byte, err error) {
	token, err := h.time.Timestamp(m.ctx, make([]byte, 32))
	if err != nil {
		return out, err
	}
	p := pades.Params{Certificate: id.Leaf(), Chain: id.Chain[1:], Algorithm: alg, Field: "Signature", Time: time.Now(),
		Name: organisation, Reason: "conformance", TokenSize: len(token)}
	suffix, err := pades.Sign(m.ctx, doc, p, id.Key, nil)
	if err != nil {
		return out, err
	}
	out[0] = slices.Concat(doc, suffix)
	times := &lastToken{Timestamper: h.time}
	if suffix, err = pades.Sign(m.ctx, doc, p, id.Key, times); err != nil {
		return out, err
	}
	out[1] = slices.Concat(doc, suffix)
	t, err := cms.ParseToken(times.token)
	if err != nil {
		return out, err
	}
	authority, err := t.CheckSigner()
	if err != nil {
		return out, err
	}
	e, err := h.gather.Gather(m.ctx, t.Time, []*x509.Certificate{id.Leaf(), authority}, slices.Concat(id.Chain[1:], t.Certificates))
	if err != nil {
		return out, err
	}
	if suffix, err = pades.AddDSS(out[1], pades.DSSData{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}); err != nil {
		return out, err
	}
	out[2] = slices.Concat(out[1], suffix)
	if suffix, err = pades.Timestamp(m.ctx, out[2], "Time", h.time, len(token)); err != nil {
		return out, err
	}
	out[3] = slices.Concat(out[2], suffix)
	return out, nil
}

// lastToken keeps the newest token.
type lastToken struct {
	pki.Timestamper
	token []byte
}

func (l *lastToken) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	token, err := l.Timestamper.Timestamp(ctx, digest)
	l.token = token
	return token, err
}

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
	p, err := s.Prepare(m.ctx, sess, 0, person, who.Act.Appearance, who.Act.At, append([][]byte{entry.DER}, h.Issuers()...), head)
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

// inputs signs every sample of a PDF that the product takes, on behalf of one
// person, and seals it. What it refuses is noted.
func (m *maker) inputs(h *house) error {
	paths, err := filepath.Glob(filepath.Join("testdata", "pdf", "*.pdf"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no samples: run this in the folder of the module (%v)", err)
	}
	paths = append(paths, "validate/testdata/foreign/two.pdf")
	var work []func(*maker) error
	for _, path := range paths {
		work = append(work, func(m *maker) error {
			if err := m.input(h, path); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
	}
	return m.together(work...)
}

func (m *maker) input(h *house, path string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	info, err := pdf.Inspect(doc)
	if err != nil {
		var r *workflow.Refusal
		if !errors.As(err, &r) {
			return err
		}
		m.refused = append(m.refused, refused{name, r.Reason})
		return nil
	}
	f := file{group: "inputs", name: name + ", sealed, B-LTA", roots: h.roots, signatures: 2, stamps: 1, level: validate.LevelLTA}
	if info.Signed {
		if f.before, err = m.others(doc, name); err != nil {
			return err
		}
		f.roots, f.crls = append(slices.Clone(h.roots), f.before.roots...), f.before.crls
	}
	steps, err := m.sign(h, session(1, workflow.Standard, name, info.Signed), doc)
	if err != nil {
		return err
	}
	_, err = m.add(f, steps[len(steps)-1].data)
	return err
}

// others adds a document that others have signed as it came, and trusts their
// certificates.
func (m *maker) others(doc []byte, name string) (*file, error) {
	c, err := cos.Open(doc)
	if err != nil {
		return nil, err
	}
	sigs, err := pdf.Signatures(c)
	if err != nil {
		return nil, err
	}
	f := file{group: "inputs", name: name + " as it came"}
	if name == "two.pdf" {
		root, err := os.ReadFile("validate/testdata/foreign/root.cer")
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(root)
		if err != nil {
			return nil, err
		}
		f.roots, f.crls = []string{filepath.Join(m.dir, "two.pem")}, []string{"validate/testdata/foreign/root.crl"}
		if err := writeCertificate(f.roots[0], cert); err != nil {
			return nil, err
		}
		return m.add(f, doc)
	}
	for i, s := range sigs {
		var der asn1.RawValue
		if _, err := asn1.Unmarshal(s.Contents, &der); err != nil {
			return nil, err
		}
		msg, err := cms.Parse(der.FullBytes)
		if err != nil {
			return nil, err
		}
		cert, err := msg.SignerCertificate()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(m.dir, fmt.Sprintf("%s-%d.pem", name, i))
		if err := writeCertificate(path, cert); err != nil {
			return nil, err
		}
		f.roots = append(f.roots, path)
	}
	return m.add(f, doc)
}

// demo takes what the demo's people get back by mail, at both levels.
func (m *maker) demo(milterd string) error {
	for _, level := range []string{"standard", "advanced"} {
		dir := filepath.Join(m.dir, "demo-"+level)
		cmd := exec.CommandContext(m.ctx, milterd, "demo", "--once", "--port=0", "--level="+level, "--out="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
		paths, err := filepath.Glob(filepath.Join(dir, "signed", "*.pdf"))
		if err != nil || len(paths) == 0 {
			return fmt.Errorf("the demo left nothing in %s (%v)", dir, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			// The seal; and but for the certificate of completion, one person before it.
			f := file{group: "demo", name: level + ", " + filepath.Base(path), roots: []string{filepath.Join(dir, "signed", "root.pem")},
				signatures: 2, stamps: 1, level: validate.LevelLTA}
			if strings.HasSuffix(path, workflow.ReportName) {
				f.signatures = 1
			}
			if _, err := m.add(f, data); err != nil {
				return err
			}
		}
	}
	return nil
}
