package validate_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/shadow"
	"milterd/validate"
)

// signedForm is a file that another program signed, with fields to be filled.
const signedForm = "../testdata/pdf/signed-form.pdf"

// suffixes are increments for it: of every kind that later revisions bring, and
// of what shadow attacks do.
func suffixes(t testing.TB, signed []byte) [][]byte {
	out := [][]byte{nil, []byte("\n"), []byte(evilObject)}
	add := func(change func(f *cos.File, u *cos.Update)) {
		f, err := cos.Open(signed)
		if err != nil {
			t.Fatal(err)
		}
		u := f.NewUpdate()
		change(f, u)
		b, err := u.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	f, err := cos.Open(signed)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := f.Numbers()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		r, err := f.RefOf(n)
		if err != nil {
			t.Fatal(err)
		}
		o, err := f.Get(r)
		if err != nil {
			t.Fatal(err)
		}
		add(func(_ *cos.File, u *cos.Update) { u.Set(r, o) })
		add(func(_ *cos.File, u *cos.Update) { u.Set(r, nil) })
		if d, ok := o.(cos.Dict); ok {
			add(func(_ *cos.File, u *cos.Update) {
				d := d.Clone()
				for _, k := range []cos.Name{"V", "AP", "Contents", "DSS", "Metadata", "Annots"} {
					d[k] = u.Add(&cos.Stream{Dict: cos.Dict{}, Raw: []byte("0 0 9 9 re f")})
				}
				u.Set(r, d)
			})
		}
	}
	return out
}

// Whatever follows a signed revision: where no change is named that signatures
// forbid, each page's content and resources are what they were.
func FuzzChanges(f *testing.F) {
	signed := read(f, signedForm)
	for _, s := range suffixes(f, signed) {
		f.Add(s)
	}
	old, err := cos.Open(signed)
	if err != nil {
		f.Fatal(err)
	}
	pages, err := pdf.Pages(old, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, suffix []byte) {
		data := append(signed[:len(signed):len(signed)], suffix...)
		r, err := validate.Validate(data, validate.Options{Now: now})
		if err != nil {
			return
		}
		for _, s := range r.Signatures {
			if s.Covers != len(signed) {
				continue
			}
			for _, c := range s.Changes {
				if !c.Allowed {
					return
				}
			}
			final, err := cos.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			is, err := pdf.Pages(final, 0)
			if err != nil || len(is) != len(pages) {
				t.Fatalf("%d pages, %v, and no word about it", len(is), err)
			}
			for i, p := range pages {
				for _, pair := range [][2]cos.Object{{p.Dict["Contents"], is[i].Dict["Contents"]}, {p.Resources, is[i].Resources}, {p.Crop, is[i].Crop}} {
					if what := different(old, final, pair[0], pair[1], map[cos.Ref]bool{}); what != "" {
						t.Fatalf("page %d shows something else, and no word about it: %s", i+1, what)
					}
				}
			}
			return
		}
	})
}

// different compares objects of two files with all that they lead to.
func different(a, b *cos.File, x, y cos.Object, seen map[cos.Ref]bool) string {
	if r, ok := x.(cos.Ref); ok {
		if seen[r] {
			return ""
		}
		seen[r] = true
	}
	x, errX := a.Resolve(x)
	y, errY := b.Resolve(y)
	if errX != nil || errY != nil {
		return fmt.Sprint(errX, errY)
	}
	switch x := x.(type) {
	case cos.Dict:
		y, ok := y.(cos.Dict)
		if !ok || len(x) != len(y) {
			return fmt.Sprintf("%v is %v", x, y)
		}
		for k := range x {
			if k == "Parent" || k == "P" { // up again
				continue
			}
			if what := different(a, b, x[k], y[k], seen); what != "" {
				return what
			}
		}
	case cos.Array:
		y, ok := y.(cos.Array)
		if !ok || len(x) != len(y) {
			return fmt.Sprintf("%v is %v", x, y)
		}
		for i := range x {
			if what := different(a, b, x[i], y[i], seen); what != "" {
				return what
			}
		}
	case *cos.Stream:
		y, ok := y.(*cos.Stream)
		if !ok || !bytes.Equal(x.Raw, y.Raw) {
			return "another stream"
		}
		return different(a, b, x.Dict, y.Dict, seen)
	default:
		if !reflect.DeepEqual(x, y) {
			return fmt.Sprintf("%v is %v", x, y)
		}
	}
	return ""
}

// The seeds hold what FuzzChanges is about: some are named as changes, some not.
func TestSuffixes(t *testing.T) {
	signed := read(t, signedForm)
	named, quiet := 0, 0
	for _, s := range suffixes(t, signed) {
		r, err := validate.Validate(append(signed[:len(signed):len(signed)], s...), validate.Options{Now: now})
		if err != nil || len(r.Signatures) == 0 {
			continue
		}
		if len(denied(r.Signatures[0])) > 0 {
			named++
		} else {
			quiet++
		}
	}
	if named < 10 || quiet < 5 {
		t.Errorf("%d are named, %d are not", named, quiet)
	}
}

func FuzzValidate(f *testing.F) {
	fx := newFixture(f)
	f.Add(read(f, "testdata/foreign/two.pdf"))
	f.Add(read(f, signedForm))
	f.Add(cmstest.Document(0))
	f.Add(fx.sign(cmstest.Document(0), "", true))
	f.Add(fx.archive(cmstest.Document(0)))
	f.Add(fx.certify(2))
	for _, a := range shadow.All() {
		signed := fx.blindly(a.PDF)
		if signed == nil {
			f.Add(a.PDF)
			continue
		}
		sprung, err := a.Spring(signed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sprung)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := validate.Validate(b, fx.options())
		if err != nil {
			return
		}
		for _, s := range r.Signatures {
			if s.Indication == validate.Passed && (s.Subject == "" || s.Covers == 0) {
				t.Errorf("passed without signer or range: %+v", s)
			}
		}
		if strings.ContainsAny(r.Text(), "\x1b\x07") {
			t.Error("control characters reach the terminal")
		}
	})
}
