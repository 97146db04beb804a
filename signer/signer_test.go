package signer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki"
	"milterd/signature/pdf"
	"milterd/validate"
	"milterd/workflow"
)

func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

const org = "Brasserie Ünel S.à r.l."

// authority makes the organisation's keys.
func authority(t testing.TB, key pki.KeyType) (*pki.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := pki.Init(dir, pki.Options{Organisation: org, Country: "LU", VAT: "LU12345678", URL: "https://sign.corp.test", Key: key}); err != nil {
		t.Fatal(err)
	}
	a, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func ownClock(a *pki.Authority) *Signer {
	return New(Config{Seal: a.Seal(), Organisation: org, Time: a.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}), Evidence: &pki.Gatherer{Own: a}})
}

// document reads one of the shared sample files.
func document(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "pdf", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// session asks n people, who have all pressed Sign.
func session(n int) *workflow.Session {
	at := time.Now().UTC().Truncate(time.Microsecond)
	s := &workflow.Session{ID: "abcdefghijklmnop", Level: workflow.Standard, State: workflow.Open, Created: at,
		Documents: []workflow.Document{{Name: "contract.pdf", Kind: workflow.Mailed, Pages: 2}}}
	for i, name := range []string{"Jane Roe", "Łukasz Müller", "Zoë Šťastná"}[:n] {
		p := workflow.Participant{Person: workflow.Person{Name: name, Mail: fmt.Sprintf("p%d@corp.test", i), Language: "en"}, Sender: i == 0, Signatory: true, State: workflow.Signing}
		p.Act = &workflow.Act{At: at, Appearance: workflow.Appearance{Typed: name}}
		if i == 1 {
			p.Act.Appearance = workflow.Appearance{Width: 300, Height: 120, Strokes: []workflow.Stroke{
				{{X: 10, Y: 90}, {X: 60, Y: 20}, {X: 110, Y: 95}, {X: 160, Y: 30}, {X: 280, Y: 60}}}}
		}
		s.People = append(s.People, p)
	}
	return s
}

// finish runs a document through layout, every signature and the seal.
func finish(t *testing.T, s *Signer, sess *workflow.Session, data []byte) ([]byte, []workflow.RevisionKind) {
	t.Helper()
	ctx := context.Background()
	var kinds []workflow.RevisionKind
	layout, err := s.Layout(ctx, sess, 0, data)
	if err != nil {
		t.Fatal(err)
	}
	if layout != nil {
		data, kinds = append(bytes.Clone(data), layout...), append(kinds, workflow.Layout)
	}
	add := func(incs []workflow.Increment, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, inc := range incs {
			data, kinds = append(bytes.Clone(data), inc.Suffix...), append(kinds, inc.Kind)
		}
	}
	for _, i := range sess.Signatories() {
		add(s.Sign(ctx, sess, 0, i, data))
	}
	add(s.Seal(ctx, sess, 0, data))
	return data, kinds
}

// judge lets validate speak: all passed, with these levels.
func judge(t *testing.T, s *Signer, data []byte, signatures int) *validate.Result {
	t.Helper()
	r, err := validate.Validate(data, validate.Options{Anchors: s.c.Evidence.Anchors()})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, sig := range r.Signatures {
		if sig.Kind == validate.KindSignature {
			n++
		}
	}
	last := r.Signatures[len(r.Signatures)-1]
	if !r.Passed() || n != signatures || last.Kind != validate.KindTimestamp {
		t.Fatalf("%d signatures, want %d:\n%s", n, signatures, r.Text())
	}
	return r
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: apt-get install -y openssl poppler-utils qpdf", err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestSignAndSealReachTheirLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key    pki.KeyType
		people int
	}{{pki.RSA3072, 1}, {pki.P256, 3}} {
		t.Run(fmt.Sprintf("%s, %d", c.key, c.people), func(t *testing.T) {
			t.Parallel()
			a, dir := authority(t, c.key)
			s := ownClock(a)
			start := time.Now()
			out, kinds := finish(t, s, session(c.people), document(t, "contract.pdf"))
			t.Logf("%d bytes in %s", len(out), time.Since(start).Round(time.Millisecond))
			want := []workflow.RevisionKind{workflow.Layout}
			for range c.people {
				want = append(want, workflow.Signature, workflow.DSS)
			}
			want = append(want, workflow.Seal, workflow.DSS, workflow.Archive)
			if fmt.Sprint(kinds) != fmt.Sprint(want) {
				t.Errorf("increments %v, want %v", kinds, want)
			}
			r := judge(t, s, out, c.people+1)
			for i, sig := range r.Signatures[:c.people] {
				if name := session(3).People[i].Name; sig.Reason != "Standard: sealed by "+org+" on behalf of "+name || sig.Name != org {
					t.Errorf("reason %q, name %q", sig.Reason, sig.Name)
				}
			}
			path := filepath.Join(t.TempDir(), "out.pdf")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if keep := os.Getenv("SIGNER_KEEP"); keep != "" {
				os.WriteFile(filepath.Join(keep, fmt.Sprintf("signed-%d.pdf", c.people)), out, 0o644)
				b, _ := os.ReadFile(dir + "/root.crt")
				os.WriteFile(filepath.Join(keep, fmt.Sprintf("root-%d.pem", c.people)), b, 0o644)
			}
			run(t, "qpdf", "--check", path)
			sigs := run(t, "pdfsig", "-nocert", path)
			if n := strings.Count(sigs, "Signature is Valid"); n < c.people+1 {
				t.Errorf("pdfsig: %d valid\n%s", n, sigs)
			}
		})
	}
}
