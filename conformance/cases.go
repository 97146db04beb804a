package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"milterd/pki"
	"milterd/pki/tsatest"
	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/validate"
	"milterd/workflow"
)

// file is one PDF that everybody judges.
type file struct {
	group, name string
	path        string
	roots, crls []string // files; the latter are from outside the PDF
	ext         string   // of path; "" means .pdf, and what else there is, pyHanko and the programs for PDF are not asked
	content     string   // path of what a detached signature signs; for XAdES several, with a colon between them

	// What everybody must say of a good file: so many signatures, each of that
	// level and indication, and so many document timestamps. Those that others
	// made before us are not counted, see before.
	signatures int
	stamps     int
	level      validate.Level
	indication string

	original string // path of the document before it was signed: it must look the same, and stay PDF/A

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
	room := make(chan struct{}, 4*runtime.GOMAXPROCS(0)) // more would wait so long that a time authority seems to be away
	var wg sync.WaitGroup
	for i, do := range work {
		w := &maker{ctx: m.ctx, dir: filepath.Join(m.dir, fmt.Sprintf("%d-%d", len(m.files), i))}
		if err := os.Mkdir(w.dir, 0o700); err != nil {
			return err
		}
		makers[i] = w
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = do(w)
			<-room
		})
	}
	wg.Wait()
	for _, w := range makers {
		m.files, m.refused = append(m.files, w.files...), append(m.refused, w.refused...)
	}
	return errors.Join(errs...)
}

// add writes a file and notes what is expected of it.
func (m *maker) add(f file, data []byte) (*file, error) {
	ext := f.ext
	if ext == "" {
		ext = ".pdf"
	}
	f.path = filepath.Join(m.dir, fmt.Sprintf("%03d%s", len(m.files), ext))
	if f.indication == "" {
		f.indication = passed
	}
	m.files = append(m.files, &f)
	return &f, os.WriteFile(f.path, data, 0o600)
}

// everything makes all files, the good ones and the damaged ones.
func (m *maker) everything(milterd, only string) error {
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
	for _, step := range []struct {
		name string
		make func() error
	}{
		{"levels", func() error { return m.levels(rsa, ec, houses[2]) }},
		{"product", func() error { return m.product(houses) }},
		{"inputs", func() error { return m.inputs(rsa) }},
		{"demo", func() error { return m.demo(milterd) }},
		{"damaged", func() error { return m.damaged() }},
		{"cades", func() error { return m.cades(rsa, ec, houses[2]) }},
		{"xades", func() error { return m.xades(rsa, ec, houses[2]) }},
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), step.name) {
			continue
		}
		if err := step.make(); err != nil {
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
func short(l validate.Level) string {
	if _, level, ok := strings.Cut(string(l), "-BASELINE-"); ok {
		return "B-" + level
	}
	return string(l)
}

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
