package validate_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf/cos"
	"milterd/signature/xades"
	"milterd/validate"
)

var now = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

type fixture struct {
	t              testing.TB
	root, ca, seal *cmstest.Identity
	tsa            *cmstest.TSA
	clock          time.Time
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, clock: now}
	f.root = cmstest.Root(t, now)
	f.ca = f.root.CA(t, now)
	f.seal = f.ca.Signer(t, now, cmstest.P256, nil)
	f.tsa = f.ca.TSA(t, func() time.Time { f.clock = f.clock.Add(time.Second); return f.clock })
	return f
}

const tokenSize = 4000

// with gives head and a suffix.
func (f *fixture) with(head, suffix []byte, err error) []byte {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	return slices.Concat(head, suffix)
}

// sign adds a signature, with its time unless bare.
func (f *fixture) sign(head []byte, field string, bare bool) []byte {
	f.t.Helper()
	s, err := f.trySign(head, field, bare)
	return f.with(head, s, err)
}

func (f *fixture) trySign(head []byte, field string, bare bool) ([]byte, error) {
	var ts pades.Timestamper = f.tsa
	if bare {
		ts = nil
	}
	return pades.Sign(context.Background(), head, pades.Params{
		Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Field: field, Time: f.clock, TokenSize: tokenSize,
		Name: "Zoë Müller", Reason: "Standard", Location: "Luxembourg",
	}, f.seal.Key, ts)
}

// dss adds revocation data issued a second later.
func (f *fixture) dss(head []byte, revoked map[*x509.Certificate]time.Time) []byte {
	f.t.Helper()
	f.clock = f.clock.Add(time.Second)
	s, err := pades.AddDSS(head, pades.DSSData{
		Certs: []*x509.Certificate{f.seal.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs:  [][]byte{f.root.CRL(f.t, f.clock, nil), f.ca.CRL(f.t, f.clock, revoked)},
	})
	return f.with(head, s, err)
}

func (f *fixture) stamp(head []byte) []byte {
	f.t.Helper()
	s, err := pades.Timestamp(context.Background(), head, "", f.tsa, tokenSize)
	return f.with(head, s, err)
}

// archive is the whole way of a document with one signatory and the seal.
func (f *fixture) archive(head []byte) []byte {
	f.t.Helper()
	head = f.dss(f.sign(head, "A", false), nil)
	return f.stamp(f.dss(f.sign(head, "Seal", false), nil))
}

func (f *fixture) options() validate.Options {
	return validate.Options{Anchors: f.root.Pool(), Now: f.clock.Add(time.Minute)}
}

func (f *fixture) validate(pdf []byte) *validate.Result {
	f.t.Helper()
	r, err := validate.Validate(pdf, f.options())
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// update appends an increment that change fills.
func (f *fixture) update(head []byte, change func(u *cos.Update, file *cos.File)) []byte {
	f.t.Helper()
	file, err := cos.Open(head)
	if err != nil {
		f.t.Fatal(err)
	}
	u := file.NewUpdate()
	change(u, file)
	s, err := u.Bytes()
	return f.with(head, s, err)
}

// dict gives the dictionary of an object as a copy.
func (f *fixture) dict(u *cos.Update, num int) cos.Dict {
	f.t.Helper()
	d, err := u.Dict(cos.Ref{Num: num})
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// blindly signs whatever can be read, in the field "S" if there is one; nil if
// it cannot be read.
func (f *fixture) blindly(head []byte) []byte {
	field := ""
	if bytes.Contains(head, []byte("/T(S)")) {
		field = "S"
	}
	s, err := f.trySign(head, field, false)
	if err != nil {
		return nil
	}
	return slices.Concat(head, s)
}

// beside is a file as it is given with a detached signature; none for nil.
func beside(content []byte) []xades.File {
	if content == nil {
		return nil
	}
	return []xades.File{{Name: "letter.txt", Content: content}}
}
