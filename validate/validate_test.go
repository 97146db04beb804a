package validate_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

var update = flag.Bool("update", false, "write the expected files anew")

// What people read is compared as a whole; only byte counts vary from run to run.
func TestReport(t *testing.T) {
	f := newFixture(t)
	pdf := f.archive(cmstest.Document(0))
	for name, b := range map[string][]byte{
		"archive":  pdf,
		"unsigned": cmstest.Document(0),
		"changed": f.update(pdf, func(u *cos.Update, _ *cos.File) {
			u.Set(cos.Ref{Num: 4}, &cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT /F1 24 Tf 72 720 Td (Bill) Tj ET")})
		}),
	} {
		r := f.validate(b)
		got := regexp.MustCompile(`\d+ (of \d+ )?bytes`).ReplaceAllString(r.Text(), "N bytes")
		path := "testdata/" + name + ".txt"
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		var out bytes.Buffer
		if n, err := r.WriteTo(&out); err != nil || n != int64(out.Len()) || out.String() != r.Text() {
			t.Errorf("%s: WriteTo: %d, %v", name, n, err)
		}
		j, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back validate.Result
		if err := json.Unmarshal(j, &back); err != nil || back.Text() != r.Text() {
			t.Errorf("%s: JSON says something else: %v", name, err)
		}
	}
}

type outcome struct {
	indication validate.Indication
	sub        validate.Sub
	level      validate.Level
}

// check wants the outcome of the first signature.
func check(t *testing.T, r *validate.Result, want outcome) {
	t.Helper()
	s := r.Signatures[0]
	if got := (outcome{s.Indication, s.Sub, s.Level}); got != want {
		t.Errorf("got %v (%s), want %v", got, s.Problem, want)
	}
	if r.Passed() && want.indication != validate.Passed {
		t.Error("the file as a whole passes")
	}
}

func TestLevelsAndIndications(t *testing.T) {
	const passed, open = validate.Passed, validate.Indeterminate
	doc := cmstest.Document(0)
	for name, c := range map[string]struct {
		make func(f *fixture) []byte
		opts func(f *fixture, o *validate.Options)
		want outcome
	}{
		"B without revocation data": {
			func(f *fixture) []byte { return f.sign(doc, "A", true) }, nil, outcome{open, validate.TryLater, validate.LevelB}},
		"B with revocation data from outside": {
			func(f *fixture) []byte { return f.sign(doc, "A", true) },
			func(f *fixture, o *validate.Options) {
				o.CRLs = [][]byte{f.root.CRL(f.t, f.clock, nil)}
				o.OCSPs = [][]byte{f.ca.OCSP(f.t, f.seal.Cert, f.clock, time.Time{})}
			}, outcome{passed, "", validate.LevelB}},
		"T": {
			func(f *fixture) []byte { return f.sign(doc, "A", false) },
			func(f *fixture, o *validate.Options) {
				o.CRLs = [][]byte{f.root.CRL(f.t, o.Now, nil), f.ca.CRL(f.t, o.Now, nil)}
			}, outcome{passed, "", validate.LevelT}},
		"LT": {
			func(f *fixture) []byte { return f.dss(f.sign(doc, "A", false), nil) }, nil, outcome{passed, "", validate.LevelLT}},
		"LTA": {
			func(f *fixture) []byte { return f.stamp(f.dss(f.sign(doc, "A", false), nil)) }, nil, outcome{passed, "", validate.LevelLTA}},
		"LTA two years later": {
			func(f *fixture) []byte { return f.stamp(f.dss(f.sign(doc, "A", false), nil)) },
			func(f *fixture, o *validate.Options) { o.Now = now.AddDate(2, 0, 0) }, outcome{passed, "", validate.LevelLTA}},
		"LTA after everything has expired": {
			func(f *fixture) []byte { return f.stamp(f.dss(f.sign(doc, "A", false), nil)) },
			func(f *fixture, o *validate.Options) { o.Now = now.AddDate(6, 0, 0) }, outcome{open, validate.OutOfBoundsNoPOE, validate.LevelB}},
		"B after the certificate has expired": {
			func(f *fixture) []byte { return f.sign(doc, "A", true) },
			func(f *fixture, o *validate.Options) { o.Now = now.AddDate(6, 0, 0) }, outcome{open, validate.OutOfBoundsNoPOE, validate.LevelB}},
		"unknown root": {
			func(f *fixture) []byte { return f.archive(doc) },
			func(f *fixture, o *validate.Options) { o.Anchors = cmstest.Root(f.t, now).Pool() },
			outcome{open, validate.NoChain, validate.LevelB}},
		"no anchors": {
			func(f *fixture) []byte { return f.archive(doc) },
			func(f *fixture, o *validate.Options) { o.Anchors = nil }, outcome{open, validate.NoChain, validate.LevelB}},
		"revocation data older than the signature": {
			func(f *fixture) []byte { return f.sign(f.dss(doc, nil), "A", false) }, nil, outcome{open, validate.TryLater, validate.LevelT}},
		"revoked before the signature": {
			func(f *fixture) []byte {
				return f.dss(f.sign(doc, "A", false), map[*x509.Certificate]time.Time{f.seal.Cert: now.AddDate(0, -1, 0)})
			}, nil, outcome{open, validate.RevokedNoPOE, validate.LevelT}},
		"revoked after the proven time": {
			func(f *fixture) []byte {
				pdf := f.sign(doc, "A", false)
				f.clock = f.clock.Add(time.Hour)
				return f.dss(pdf, map[*x509.Certificate]time.Time{f.seal.Cert: f.clock.Add(-time.Minute)})
			}, nil, outcome{passed, "", validate.LevelLT}},
		"revoked, and nothing proves the time": {
			func(f *fixture) []byte {
				return f.dss(f.sign(doc, "A", true), map[*x509.Certificate]time.Time{f.seal.Cert: f.clock.Add(time.Minute)})
			}, nil, outcome{open, validate.RevokedNoPOE, validate.LevelB}},
		"issuing authority revoked": {
			func(f *fixture) []byte { return f.dss(f.sign(doc, "A", false), nil) },
			func(f *fixture, o *validate.Options) {
				o.CRLs = [][]byte{f.root.CRL(f.t, f.clock, map[*x509.Certificate]time.Time{f.ca.Cert: now})}
			}, outcome{open, validate.RevokedCANoPOE, validate.LevelB}},
		"timestamp authority revoked": {
			func(f *fixture) []byte {
				return f.dss(f.sign(doc, "A", false), map[*x509.Certificate]time.Time{f.tsa.Cert: now})
			}, nil, outcome{open, validate.RevokedNoPOE, validate.LevelB}},
		"timestamp older than the certificate": {
			func(f *fixture) []byte {
				f.seal = f.ca.Signer(f.t, now, cmstest.P256, func(c *x509.Certificate) {
					c.NotBefore, c.NotAfter = now.AddDate(0, 0, -1), now.AddDate(1, 0, 0)
				})
				// Finish would refuse this; the document timestamp comes from a clock that is wrong.
				pdf := f.dss(f.sign(doc, "A", true), nil)
				f.tsa.Spoil = func(ts *timestamp.Timestamp) { ts.Time = now.AddDate(0, 0, -2) }
				return f.stamp(pdf)
			}, nil, outcome{validate.Failed, validate.NotYetValid, validate.LevelT}},
		"timestamp from the future": {
			func(f *fixture) []byte {
				f.tsa.Spoil = func(ts *timestamp.Timestamp) { ts.Time = now.AddDate(1, 0, 0) }
				return f.dss(f.sign(doc, "A", false), nil)
			}, nil, outcome{open, validate.TimestampOrder, validate.LevelB}},
		"document timestamp older than what it covers": {
			func(f *fixture) []byte {
				pdf := f.dss(f.sign(doc, "A", false), nil)
				f.tsa.Spoil = func(ts *timestamp.Timestamp) { ts.Time = now.AddDate(0, 0, -2) }
				return f.stamp(pdf)
			}, nil, outcome{open, validate.TimestampOrder, validate.LevelB}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			pdf := c.make(f)
			o := f.options()
			if c.opts != nil {
				c.opts(f, &o)
			}
			r, err := validate.Validate(pdf, o)
			if err != nil {
				t.Fatal(err)
			}
			check(t, r, c.want)
		})
	}
}

func TestWhoAndWhen(t *testing.T) {
	f := newFixture(t)
	r := f.validate(f.archive(cmstest.Document(0)))
	s := r.Signatures[0]
	if len(r.Signatures) != 3 || s.Field != "A" || s.Subject != "CN=Test Seal, O=Test" || s.Name != "Zoë Müller" ||
		!s.Claimed.Equal(now) && !s.Claimed.Equal(now.Add(time.Second)) || !s.Proven.After(now) || s.ProvenBy != "CN=Test TSA, O=Test" ||
		!bytes.Equal(s.Certificate, f.seal.Cert.Raw) || s.Whole || s.Algorithm != "ES256" {
		t.Errorf("%+v", s)
	}
	if last := r.Signatures[2]; last.Kind != validate.KindTimestamp || !last.Whole || len(r.Later) != 0 {
		t.Errorf("%+v", last)
	}
	for _, s := range r.Signatures {
		for _, c := range s.Changes {
			if !c.Allowed {
				t.Errorf("%s: %s", s.Field, c.What)
			}
		}
	}
}

// A reader sees that a certificate was revoked after the signature, and that the
// signature stands: from the file alone, or from a list that the caller brings.
func TestRevokedLaterShows(t *testing.T) {
	f := newFixture(t)
	pdf := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	f.clock = f.clock.Add(time.Hour)
	since := f.clock
	o := f.options()
	o.CRLs = [][]byte{f.ca.CRL(t, f.clock.Add(time.Minute), map[*x509.Certificate]time.Time{f.seal.Cert: since})}
	o.Now = f.clock.Add(time.Hour)
	r, err := validate.Validate(pdf, o)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Signatures[0]; !r.Passed() || !s.Revoked.Equal(since) || s.Level != validate.LevelLT ||
		!strings.Contains(r.Text(), "after the proven time: this signature stands") {
		t.Errorf("%+v\n%s", s, r.Text())
	}
	if r := f.validate(pdf); !r.Signatures[0].Revoked.IsZero() {
		t.Errorf("nothing was revoked: %s", r.Text())
	}
}

func TestUnreadable(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"text": {[]byte("hello"), cos.ErrNotPDF}, "nothing": {nil, cos.ErrNotPDF},
		"cut off":   {cmstest.Document(0)[:400], cos.ErrBroken},
		"encrypted": {bytes.Replace(cmstest.Document(0), []byte("/Root 1 0 R"), []byte("/Root 1 0 R/Encrypt 9 0 R"), 1), cos.ErrEncrypted},
	} {
		if _, err := validate.Validate(c.b, validate.Options{Now: now}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The last line of the text says what is known, and no more.
func TestVerdict(t *testing.T) {
	f := newFixture(t)
	pdf := f.archive(cmstest.Document(0))
	flipped := bytes.Clone(pdf)
	flipped[20] ^= 1
	for want, r := range map[string]*validate.Result{
		"3 of 3 signatures and timestamps are valid. Nothing was changed that signatures do not allow.\n": f.validate(pdf),
		"0 of 3 signatures and timestamps are valid. What was signed was CHANGED afterwards.\n":           f.validate(flipped),
		"0 of 3 signatures and timestamps are valid, 3 cannot be decided here (is there a root to trust? see --trust). " +
			"No change was found that signatures do not allow, as far as they can be decided.\n": nobody(t, pdf),
	} {
		text := r.Text()
		if got := text[strings.LastIndexByte(text[:len(text)-1], '\n')+1:]; got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// nobody validates with no trust anchor at all.
func nobody(t *testing.T, pdf []byte) *validate.Result {
	t.Helper()
	r, err := validate.Validate(pdf, validate.Options{Anchors: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
