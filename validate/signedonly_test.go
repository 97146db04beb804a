package validate_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// What somebody else gives back is what was sent, and one signature; anything beside it is found.
func TestSignedOnly(t *testing.T) {
	f := newFixture(t)
	head := cmstest.Document(0)
	before := f.dss(f.sign(head, "A", false), nil) // somebody has signed before
	set := func(num int, key cos.Name, value cos.Object) func(*cos.Update, *cos.File) {
		return func(u *cos.Update, _ *cos.File) {
			d := f.dict(u, num)
			d[key] = value
			u.Set(cos.Ref{Num: num}, d)
		}
	}
	evil := func(u *cos.Update, _ *cos.File) {
		u.Set(cos.Ref{Num: 4}, &cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT /F1 24 Tf 72 720 Td (Pay a million) Tj ET")})
	}
	for name, c := range map[string]struct {
		head, file []byte
		field      string // of a file that is taken
		says       string // of one that is not
	}{
		"a field that was there":    {head, f.sign(head, "A", true), "A", ""},
		"a new, invisible field":    {head, f.sign(head, "Theirs", true), "Theirs", ""},
		"after another's signature": {before, f.sign(before, "Theirs", true), "Theirs", ""},

		"nothing added":               {head, head, "", "nothing stands behind"},
		"not signed":                  {head, f.update(head, func(u *cos.Update, _ *cos.File) { u.Add(cos.Dict{}) }), "", "no signature was added"},
		"signed twice":                {head, f.sign(f.sign(head, "A", true), "B", true), "", "signature"},
		"another text, then signed":   {head, f.sign(f.update(head, evil), "A", true), "", "object 4 (stream) was changed"},
		"the same after a signature":  {before, f.sign(f.update(before, evil), "Theirs", true), "", "object 4 (stream) was changed"},
		"another text after it":       {head, f.update(f.sign(head, "A", true), evil), "", "does not cover the whole"},
		"a field filled along":        {head, f.sign(f.update(head, set(9, "V", cos.Text("a million"))), "A", true), "", `field "note" was filled`},
		"revocation data along":       {head, f.sign(f.dss(head, nil), "A", true), "", "revocation data was added"},
		"revocation data behind":      {head, f.dss(f.sign(head, "A", true), nil), "", "does not cover the whole"},
		"a document timestamp":        {head, f.stamp(head), "", "document timestamp"},
		"something behind the end":    {head, append(f.sign(head, "A", true), "\n% more\n"...), "", "does not cover the whole"},
		"only rubbish":                {head, slices.Concat(head, bytes.Repeat([]byte("x"), 2000)), "", "no signature was added"},
		"the field shows too much":    {head, f.sign(f.update(head, set(3, "Rotate", 90)), "A", true), "", "Rotate was changed"},
		"a signature taken out again": {before, f.sign(f.update(before, set(7, "V", nil)), "Theirs", true), "", ""},
	} {
		field, err := validate.SignedOnly(c.file, len(c.head))
		switch {
		case c.field != "" && (err != nil || field != c.field):
			t.Errorf("%s: %q, %v", name, field, err)
		case c.field == "" && (err == nil || field != "" || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %q, %v, want %q", name, field, err, c.says)
		}
	}
}

// Whatever is put behind a document: what is taken for a signature and nothing else is one
// that Validate finds over the whole, after which nothing came.
func FuzzSignedOnly(f *testing.F) {
	fx := newFixture(f)
	head := cmstest.Document(0)
	for _, file := range [][]byte{
		fx.sign(head, "A", true), fx.sign(head, "Theirs", true), fx.sign(fx.sign(head, "A", true), "B", true), fx.stamp(head),
		fx.update(head, func(u *cos.Update, _ *cos.File) { u.Add(cos.Dict{}) }), fx.dss(fx.sign(head, "A", false), nil),
	} {
		f.Add(file[len(head):])
	}
	f.Fuzz(func(t *testing.T, suffix []byte) {
		data := slices.Concat(head, suffix)
		field, err := validate.SignedOnly(data, len(head))
		if err != nil {
			return
		}
		r, err := validate.Validate(data, validate.Options{Now: now})
		if err != nil || len(r.Signatures) != 1 || r.Signatures[0].Field != field || !r.Signatures[0].Whole || len(r.Later) > 0 {
			t.Errorf("taken: %q, %v, %+v", field, err, r)
		}
	})
}
