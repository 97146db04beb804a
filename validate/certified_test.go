package validate_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// set changes one entry of an object.
func (f *fixture) set(u *cos.Update, num int, key cos.Name, value cos.Object) {
	d := f.dict(u, num)
	d[key] = value
	u.Set(cos.Ref{Num: num}, d)
}

// appended adds to an array of an object.
func (f *fixture) appended(u *cos.Update, num int, key cos.Name, o cos.Object) {
	d := f.dict(u, num)
	d[key] = append(slices.Clone(d[key].(cos.Array)), o)
	u.Set(cos.Ref{Num: num}, d)
}

// overlay is an appearance that covers what lies under it.
func overlay(u *cos.Update) cos.Ref {
	return u.Add(&cos.Stream{Dict: cos.Dict{"Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 600, 800}}, Raw: []byte("0 0 600 800 re f")})
}

// Attacks on certifications (evil annotation, sneaky signature) and on locks, and
// what goes round them. What is allowed is said all the same.
func TestCertificationAttacks(t *testing.T) {
	const docMDP, fieldMDP = "<</TransformMethod/DocMDP/TransformParams<</V/1.2", "<</TransformMethod/FieldMDP/TransformParams<</V/1.2/Action"
	certified := func(p string) func(f *fixture) []byte {
		return func(f *fixture) []byte {
			return f.restrict(f.perms(cmstest.Document(0)), docMDP+p+">>>>")
		}
	}
	locked := func(params string) func(f *fixture) []byte {
		return func(f *fixture) []byte { return f.restrict(cmstest.Document(0), fieldMDP+params+">>>>") }
	}
	annotation := func(entries cos.Dict) func(f *fixture, head []byte) []byte {
		return func(f *fixture, head []byte) []byte {
			return f.update(head, func(u *cos.Update, _ *cos.File) {
				d := cos.Dict{"Type": cos.Name("Annot"), "Rect": cos.Array{0, 0, 600, 800}, "F": 4, "AP": cos.Dict{"N": overlay(u)}}
				for k, v := range entries {
					d[k] = v
				}
				f.appended(u, 3, "Annots", u.Add(d))
			})
		}
	}
	change := func(fn func(f *fixture, u *cos.Update)) func(f *fixture, head []byte) []byte {
		return func(f *fixture, head []byte) []byte {
			return f.update(head, func(u *cos.Update, _ *cos.File) { fn(f, u) })
		}
	}
	fill := change(func(f *fixture, u *cos.Update) { f.set(u, 9, "V", cos.Text("x")) })
	show := func(entries cos.Dict) func(f *fixture, head []byte) []byte {
		return change(func(f *fixture, u *cos.Update) {
			d := cos.Dict{"Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"), "T": cos.Text("new"), "Rect": cos.Array{0, 0, 600, 800}, "AP": cos.Dict{"N": overlay(u)}}
			for k, v := range entries {
				d[k] = v
			}
			w := u.Add(d)
			f.appended(u, 3, "Annots", w)
			f.appended(u, 5, "Fields", w)
		})
	}
	stampOver := func(f *fixture, head []byte) []byte { // a timestamp in a field of the author's, with a look
		head = f.update(head, func(u *cos.Update, _ *cos.File) { f.set(u, 7, "AP", cos.Dict{"N": overlay(u)}) })
		p1 := bytes.Contains(head, []byte("/P 1"))
		if p1 { // ours refuses with P 1; a program that does not care is played here
			head = bytes.Replace(head, []byte("/P 1"), []byte("/P 2"), 1)
		}
		s, err := pades.Timestamp(context.Background(), head, "B", f.tsa, tokenSize)
		head = f.with(head, s, err)
		if p1 {
			head = bytes.Replace(head, []byte("/P 2"), []byte("/P 1"), 1)
		}
		return head
	}
	for name, c := range map[string]struct {
		sign    func(f *fixture) []byte
		attack  func(f *fixture, head []byte) []byte
		says    string
		allowed bool
	}{
		"evil annotation, P 1":                      {certified("/P 1"), annotation(cos.Dict{"Subtype": cos.Name("FreeText")}), "page 1: an annotation was added", false},
		"evil annotation, P 2":                      {certified("/P 2"), annotation(cos.Dict{"Subtype": cos.Name("Stamp")}), "page 1: an annotation was added", false},
		"evil annotation, P 3":                      {certified("/P 3"), annotation(cos.Dict{"Subtype": cos.Name("FreeText")}), "page 1: an annotation was added", true},
		"evil annotation, P left out":               {certified(""), annotation(cos.Dict{"Subtype": cos.Name("FreeText")}), "page 1: an annotation was added", false},
		"evil annotation, P out of range":           {certified("/P 4"), annotation(cos.Dict{"Subtype": cos.Name("FreeText")}), "page 1: an annotation was added", false},
		"a widget as annotation, P 3":               {certified("/P 3"), annotation(cos.Dict{"Subtype": cos.Name("Widget")}), "page 1: an annotation was added", false},
		"a field as annotation, P 3":                {certified("/P 3"), annotation(cos.Dict{"Subtype": cos.Name("FreeText"), "FT": cos.Name("Tx")}), "page 1: an annotation was added", false},
		"sneaky field without a signature, P 2":     {certified("/P 2"), show(nil), `field "new" was added, which shows something and holds no signature`, false},
		"sneaky field that prints only, P 2":        {certified("/P 2"), show(cos.Dict{"F": 32 | 4}), `a visible signature field "new" was added`, false},
		"sneaky signature in a new field, P 2":      {certified("/P 2"), show(cos.Dict{"V": cos.Dict{"Type": cos.Name("Sig")}}), `a visible signature field "new" was added`, false},
		"sneaky signature, reference without Perms": {func(f *fixture) []byte { return f.restrict(cmstest.Document(0), docMDP+">>>>") }, show(cos.Dict{"V": cos.Dict{}}), `a visible signature field "new" was added`, false},
		"sneaky timestamp in a field, P 1":          {certified("/P 1"), stampOver, `field "B": how it looks was changed`, false},
		"timestamp in a field, P 2":                 {certified("/P 2"), stampOver, `document timestamp in field "B"`, true},
		"sneaky timestamp in a locked field":        {locked("/All"), stampOver, `field "B": how it looks was changed`, false},
		"permissions taken away, P 1":               {certified("/P 1"), change(func(f *fixture, u *cos.Update) { f.set(u, 1, "Perms", nil) }), "the catalog's Perms was changed", false},
		"permissions exchanged, P 1": {certified("/P 1"), change(func(f *fixture, u *cos.Update) {
			f.set(u, 1, "Perms", cos.Dict{"DocMDP": u.Add(cos.Dict{"Reference": cos.Array{cos.Dict{"TransformMethod": cos.Name("DocMDP"), "TransformParams": cos.Dict{"P": 3}}}})})
		}), "the catalog's Perms was changed", false},
		"filled, P 1":                       {certified("/P 1"), fill, `field "note" was filled`, false},
		"filled, P 2":                       {certified("/P 2"), fill, `field "note" was filled`, true},
		"filled, all locked":                {locked("/All"), fill, `field "note" was filled`, false},
		"filled, all but A locked":          {locked("/Exclude/Fields[(A)]"), fill, `field "note" was filled`, false},
		"filled, all but note locked":       {locked("/Exclude/Fields[(note)]"), fill, `field "note" was filled`, true},
		"filled, another locked":            {locked("/Include/Fields[(not)]"), fill, `field "note" was filled`, true},
		"filled, a lock of an unknown kind": {locked("/Nothing/Fields[(note)]"), fill, `field "note" was filled`, true},
		"filled, locked by the field only": {func(f *fixture) []byte {
			return f.sign(f.update(cmstest.Document(0), func(u *cos.Update, _ *cos.File) {
				f.set(u, 6, "Lock", cos.Dict{"Type": cos.Name("SigFieldLock"), "Action": cos.Name("Include"), "Fields": cos.Array{cos.Text("note")}})
			}), "A", false)
		}, fill, `field "note" was filled`, false},
		"filled, P 1 by a lock only": {func(f *fixture) []byte {
			return f.sign(f.update(cmstest.Document(0), func(u *cos.Update, _ *cos.File) {
				f.set(u, 6, "Lock", cos.Dict{"Action": cos.Name("Include"), "Fields": cos.Array{}, "P": 1})
			}), "A", false)
		}, fill, `field "note" was filled`, false},
		"lock taken away":   {locked("/All"), change(func(f *fixture, u *cos.Update) { f.set(u, 6, "Lock", cos.Dict{}) }), `field "A": Lock was changed`, false},
		"signature emptied": {certified("/P 2"), change(func(f *fixture, u *cos.Update) { f.set(u, 6, "V", nil) }), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			head := c.attack(f, f.dss(c.sign(f), nil))
			r := f.validate(head)
			if c.says == "" { // the only signature is gone, and with it any claim
				if r.Passed() || len(r.Signatures) > 0 || !strings.Contains(r.Text(), "no signature") {
					t.Error(r.Text())
				}
				return
			}
			s := r.Signatures[slices.IndexFunc(r.Signatures, func(s validate.Signature) bool { return s.Field == "A" })]
			if !slices.Contains(s.Changes, validate.Change{What: c.says, Allowed: c.allowed}) {
				t.Errorf("want %q (%v), got %v", c.says, c.allowed, s.Changes)
			}
			if passed := s.Indication == validate.Passed; passed != c.allowed || r.Passed() && !c.allowed {
				t.Errorf("%s / %s: %s", s.Indication, s.Sub, s.Problem)
			}
			if !strings.Contains(r.Text(), c.says) {
				t.Error("the report does not say so")
			}
		})
	}
}

// A sneaky signature by somebody whom nobody knows shows itself, and so does one
// that is none.
func TestSneakySignatures(t *testing.T) {
	f := newFixture(t)
	head := f.dss(f.certify(2), nil)
	own := f.seal
	f.seal = cmstest.Root(t, now).Signer(t, now, cmstest.P256, nil)
	stranger := f.sign(head, "B", true)
	f.seal = own
	for name, c := range map[string]struct {
		pdf  []byte
		want validate.Sub
	}{
		"a stranger's": {stranger, validate.NoChain},
		"an empty dictionary": {f.update(head, func(u *cos.Update, _ *cos.File) {
			f.set(u, 7, "V", cos.Dict{"Type": cos.Name("Sig"), "SubFilter": cos.Name("ETSI.CAdES.detached")})
		}), validate.FormatFailure},
		"nothing": {f.update(head, func(u *cos.Update, _ *cos.File) { f.set(u, 7, "V", cos.Ref{Num: 9999}) }), validate.FormatFailure},
		"one that calls itself a timestamp": {f.update(head, func(u *cos.Update, _ *cos.File) {
			f.set(u, 7, "V", cos.Dict{"Type": cos.Name("DocTimeStamp"), "SubFilter": cos.Name("ETSI.RFC3161")})
		}), validate.FormatFailure},
		"the certification once more": {f.update(head, func(u *cos.Update, _ *cos.File) { f.set(u, 7, "V", f.dict(u, 6)["V"]) }), validate.FormatFailure},
	} {
		r := f.validate(c.pdf)
		i := slices.IndexFunc(r.Signatures, func(s validate.Signature) bool { return s.Field == "B" })
		if i < 0 || r.Signatures[i].Sub != c.want || r.Passed() {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
}
