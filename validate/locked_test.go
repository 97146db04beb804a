package validate_test

import (
	"context"
	"crypto/x509"
	"slices"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// denied are the changes that a signature does not allow.
func denied(s validate.Signature) (out []string) {
	for _, c := range s.Changes {
		if !c.Allowed {
			out = append(out, c.What)
		}
	}
	return out
}

// A signature whose field's lock has a P restricts as a certification does.
func TestLockWithPermission(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"locked-1.pdf", "locked-2.pdf"} {
		head := read(t, "../testdata/pdf/"+name)
		if d := denied(f.validate(f.stamp(head)).Signatures[0]); len(d) > 0 {
			t.Errorf("%s, stamped: %v", name, d)
		}
		shown := f.update(head, func(u *cos.Update, file *cos.File) {
			pages, err := pdf.Pages(file, 1)
			if err != nil {
				t.Fatal(err)
			}
			look := u.Add(&cos.Stream{Dict: cos.Dict{"Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 9, 9}}})
			w := u.Add(cos.Dict{"Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"), "T": cos.Text("new"), "Rect": cos.Array{0, 0, 9, 9}, "AP": cos.Dict{"N": look}})
			catalog, err := file.Catalog()
			if err != nil {
				t.Fatal(err)
			}
			for ref, key := range map[cos.Ref]cos.Name{pages[0].Ref: "Annots", catalog["AcroForm"].(cos.Ref): "Fields"} {
				d, err := u.Dict(ref)
				if err != nil {
					t.Fatal(err)
				}
				old, err := file.Array(d[key])
				if err != nil {
					t.Fatal(err)
				}
				d[key] = append(slices.Clone(old), w)
				u.Set(ref, d)
			}
		})
		if d := denied(f.validate(shown).Signatures[0]); !slices.Contains(d, `a visible signature field "new" was added`) {
			t.Errorf("%s, a visible field: %v", name, d)
		}
	}
	if d := denied(f.validate(f.sign(read(t, "../testdata/pdf/locked-2.pdf"), "B", false)).Signatures[0]); len(d) > 0 {
		t.Errorf("signed: %v", d)
	}
}

// People who sign one after the other, each in a visible field of their own at
// the foot of the page, leave the signatures before theirs whole.
func TestVisibleRow(t *testing.T) {
	f := newFixture(t)
	head := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	for _, name := range []string{"one", "two", "seal"} {
		s, err := pades.Sign(context.Background(), head, pades.Params{
			Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Field: name, Row: 3, Time: f.clock, TokenSize: tokenSize,
			Look: &pdf.Look{Name: name, Lines: []string{"Standard"}},
		}, f.seal.Key, f.tsa)
		head = f.dss(f.with(head, s, err), nil)
	}
	r := f.validate(f.stamp(head))
	if !r.Passed() || len(r.Signatures) != 5 {
		t.Fatal(r.Text())
	}
	for i, s := range r.Signatures {
		shown := 0
		for _, c := range s.Changes {
			for _, name := range []string{"one", "two", "seal"} {
				if c.What == `a visible signature field "`+name+`" was added` {
					shown++
				}
			}
		}
		if want := max(0, 3-i); shown != want {
			t.Errorf("%s: %d visible fields came after it, want %d: %v", s.Field, shown, want, s.Changes)
		}
	}
}
