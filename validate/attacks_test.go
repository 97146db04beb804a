package validate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// Changes in a later revision: allowed ones leave every signature TOTAL-PASSED,
// others make the ones before them INDETERMINATE, SIG_CONSTRAINTS_FAILURE.
func TestLaterRevisions(t *testing.T) {
	f := newFixture(t)
	signed := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	evil := &cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT /F1 24 Tf 72 720 Td (Pay a million) Tj ET")}
	form := func(u *cos.Update) cos.Ref {
		return u.Add(&cos.Stream{Dict: cos.Dict{"Type": cos.Name("XObject"), "Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 200, 50}}, Raw: []byte("0 0 200 50 re f")})
	}
	set := func(u *cos.Update, num int, key cos.Name, value cos.Object) {
		d := f.dict(u, num)
		d[key] = value
		u.Set(cos.Ref{Num: num}, d)
	}
	for name, c := range map[string]struct {
		change  func(u *cos.Update, file *cos.File)
		allowed bool
		says    string
	}{
		"text field filled": {func(u *cos.Update, _ *cos.File) {
			set(u, 9, "V", cos.Text("hello"))
			set(u, 9, "AP", cos.Dict{"N": form(u)})
		}, true, `field "note" was filled`},
		"unreferenced object": {func(u *cos.Update, _ *cos.File) { u.Add(evil) }, true, ""},
		"same content again":  {func(u *cos.Update, f *cos.File) { o, _ := f.Get(cos.Ref{Num: 4}); u.Set(cos.Ref{Num: 4}, o) }, true, ""},
		"page content replaced": {func(u *cos.Update, _ *cos.File) { u.Set(cos.Ref{Num: 4}, evil) },
			false, "object 4 (stream) was changed"},
		"page content redirected": {func(u *cos.Update, _ *cos.File) { set(u, 3, "Contents", u.Add(evil)) },
			false, "page 1: Contents was changed"},
		"page content added to": {func(u *cos.Update, _ *cos.File) { set(u, 3, "Contents", cos.Array{cos.Ref{Num: 4}, u.Add(evil)}) },
			false, "page 1: Contents was changed"},
		"page added": {func(u *cos.Update, _ *cos.File) {
			d := f.dict(u, 2)
			d["Kids"], d["Count"] = cos.Array{cos.Ref{Num: 3}, u.Add(cos.Dict{"Type": cos.Name("Page"), "Parent": cos.Ref{Num: 2}})}, 2
			u.Set(cos.Ref{Num: 2}, d)
		}, false, "object 2 (Pages) was changed"},
		"font replaced": {func(u *cos.Update, _ *cos.File) { set(u, 10, "BaseFont", cos.Name("Symbol")) },
			false, "object 10 (Type1) was changed"},
		"annotation added": {func(u *cos.Update, _ *cos.File) {
			d := f.dict(u, 3)
			d["Annots"] = append(slices.Clone(d["Annots"].(cos.Array)), u.Add(cos.Dict{"Subtype": cos.Name("FreeText"), "Rect": cos.Array{0, 0, 600, 800}}))
			u.Set(cos.Ref{Num: 3}, d)
		}, false, "page 1: an annotation was added"},
		"annotation removed": {func(u *cos.Update, _ *cos.File) {
			d := f.dict(u, 3)
			d["Annots"] = slices.Clone(d["Annots"].(cos.Array))[1:]
			u.Set(cos.Ref{Num: 3}, d)
		}, false, "page 1: an annotation was removed"},
		"signature painted over": {func(u *cos.Update, _ *cos.File) { set(u, 6, "AP", cos.Dict{"N": form(u)}) },
			false, `field "A": how it looks was changed`},
		"empty field painted without a value": {func(u *cos.Update, _ *cos.File) { set(u, 9, "AP", cos.Dict{"N": form(u)}) },
			false, `field "note": how it looks was changed`},
		"field moved over the text": {func(u *cos.Update, _ *cos.File) { set(u, 9, "Rect", cos.Array{0, 0, 600, 800}) },
			false, `field "note": Rect was changed`},
		"signature hidden": {func(u *cos.Update, _ *cos.File) { set(u, 6, "F", 2) },
			false, `field "A": its flags were changed`},
		"text field added": {func(u *cos.Update, _ *cos.File) {
			w := u.Add(cos.Dict{"Subtype": cos.Name("Widget"), "FT": cos.Name("Tx"), "T": cos.Text("new"), "Rect": cos.Array{0, 0, 600, 800}})
			d := f.dict(u, 5)
			d["Fields"] = append(slices.Clone(d["Fields"].(cos.Array)), w)
			u.Set(cos.Ref{Num: 5}, d)
		}, false, `field "new" was added`},
		"field removed": {func(u *cos.Update, _ *cos.File) {
			d := f.dict(u, 5)
			d["Fields"] = slices.Clone(d["Fields"].(cos.Array))[:3]
			u.Set(cos.Ref{Num: 5}, d)
		}, false, `field "note" was removed`},
		"default appearance of the form": {func(u *cos.Update, _ *cos.File) { set(u, 5, "DA", cos.Text("/Helv 99 Tf")) },
			false, "the form's DA was changed"},
		"fields drawn anew": {func(u *cos.Update, _ *cos.File) { set(u, 5, "NeedAppearances", true) },
			false, "the form asks readers to draw its fields anew"},
		"optional content": {func(u *cos.Update, _ *cos.File) { set(u, 1, "OCProperties", cos.Dict{}) },
			false, "the catalog's OCProperties was changed"},
		"open action": {func(u *cos.Update, _ *cos.File) { set(u, 1, "OpenAction", cos.Dict{"S": cos.Name("JavaScript")}) },
			false, "the catalog's OpenAction was changed"},
		"pages replaced": {func(u *cos.Update, _ *cos.File) { set(u, 1, "Pages", u.Add(cos.Dict{"Type": cos.Name("Pages")})) },
			false, "the catalog's Pages was changed"},
		"page content as revocation data": {func(u *cos.Update, file *cos.File) {
			// The store lists the page's content, which then changes "as part of the store".
			catalog, _ := file.Catalog()
			d, _ := u.Dict(catalog["DSS"])
			d["Certs"] = append(slices.Clone(d["Certs"].(cos.Array)), cos.Ref{Num: 4})
			u.Set(catalog["DSS"].(cos.Ref), d)
			u.Set(cos.Ref{Num: 4}, evil)
		}, false, "object 4 (stream) was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.validate(f.update(signed, c.change))
			s := r.Signatures[0]
			if c.allowed != r.Passed() || !c.allowed && (s.Indication != validate.Indeterminate || s.Sub != validate.SigConstraintsFailure) {
				t.Errorf("%s / %s: %s", s.Indication, s.Sub, s.Problem)
			}
			if c.says != "" && !slices.Contains(s.Changes, validate.Change{What: c.says, Allowed: c.allowed}) {
				t.Errorf("want %q, got %v", c.says, s.Changes)
			}
			if !c.allowed && !strings.Contains(r.Text(), "CHANGED afterwards") {
				t.Error("the report does not say so")
			}
		})
	}
}

// A shadow attack: the signed revision refers to objects that do not exist yet,
// or uses one object in two roles.
func TestShadows(t *testing.T) {
	f := newFixture(t)
	evil := &cos.Stream{Dict: cos.Dict{}, Raw: []byte("BT (shadow) Tj ET")}
	page := "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents[4 0 R 99 0 R]/Resources 6 0 R>>"
	objects := []string{"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", page,
		"<</Length 0>>\nstream\n\nendstream", "<</Subtype/Widget/FT/Tx/T(f)/V 6 0 R/Rect[0 0 9 9]>>", "<</Font<<>>>>"}
	signed := f.dss(f.sign(cmstest.Build(objects...), "", false), nil)
	if r := f.validate(signed); !r.Passed() {
		t.Fatal(r.Text())
	}
	for name, change := range map[string]func(u *cos.Update, _ *cos.File){
		"object appears": func(u *cos.Update, _ *cos.File) {
			for u.Reserve().Num < 99 {
			}
			u.Set(cos.Ref{Num: 99}, evil)
		},
		"value that is resources":   func(u *cos.Update, _ *cos.File) { u.Set(cos.Ref{Num: 6}, cos.Dict{"Font": cos.Dict{"F": 1}}) },
		"catalog of another number": nil,
	} {
		var pdf []byte
		if change != nil {
			pdf = f.update(signed, change)
		} else {
			pdf = f.update(signed, func(u *cos.Update, file *cos.File) { u.Add(f.dict(u, 1)) })
			last := bytes.LastIndex(pdf, []byte("/Root 1 0 R"))
			num := regexp.MustCompile(`(\d+) 0 obj\n<</Type/Catalog`).FindAllSubmatch(pdf, -1)
			pdf = slices.Concat(pdf[:last], []byte("/Root "), num[len(num)-1][1], pdf[last+len("/Root 1"):])
		}
		if r := f.validate(pdf); r.Passed() {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
}

// A certified document grants what its DocMDP says, and a lock what it names.
func TestPermissions(t *testing.T) {
	for p, want := range map[int]map[string]bool{
		1: {"fill": false, "stamp": true, "sign": false, "annotate": false, "show": false},
		2: {"fill": true, "stamp": true, "sign": true, "annotate": false, "show": false},
		3: {"fill": true, "stamp": true, "sign": true, "annotate": true, "show": false},
		0: {"fill": false, "stamp": true, "sign": true, "annotate": false, "show": false}, // no DocMDP, but a lock on the field
	} {
		f := newFixture(t)
		certified := f.certify(p)
		for what, allowed := range want {
			var pdf []byte
			switch what {
			case "fill":
				pdf = f.update(certified, func(u *cos.Update, _ *cos.File) {
					d := f.dict(u, 9)
					d["V"] = cos.Text("x")
					u.Set(cos.Ref{Num: 9}, d)
				})
			case "annotate":
				pdf = f.update(certified, func(u *cos.Update, _ *cos.File) {
					d := f.dict(u, 3)
					d["Annots"] = append(slices.Clone(d["Annots"].(cos.Array)), u.Add(cos.Dict{"Subtype": cos.Name("Text"), "Rect": cos.Array{0, 0, 9, 9}}))
					u.Set(cos.Ref{Num: 3}, d)
				})
			case "show": // a new signature field that lies over the text
				pdf = f.update(certified, func(u *cos.Update, _ *cos.File) {
					look := u.Add(&cos.Stream{Dict: cos.Dict{"Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 600, 800}}, Raw: []byte("0 0 600 800 re f")})
					w := u.Add(cos.Dict{"Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"), "T": cos.Text("new"), "Rect": cos.Array{0, 0, 600, 800}, "AP": cos.Dict{"N": look}})
					for num, key := range map[int]cos.Name{3: "Annots", 5: "Fields"} {
						d := f.dict(u, num)
						d[key] = append(slices.Clone(d[key].(cos.Array)), w)
						u.Set(cos.Ref{Num: num}, d)
					}
				})
			case "stamp", "sign":
				// Our own signing refuses with P 1; a program that does not care is played here.
				pdf = bytes.Replace(certified, []byte("/P 1"), []byte("/P 2"), 1)
				if what == "sign" {
					pdf = f.sign(pdf, "B", false)
				} else {
					pdf = f.stamp(pdf)
				}
				pdf = bytes.Replace(pdf, []byte("/P 2"), []byte(fmt.Sprintf("/P %d", max(p, 1))), 1)
			}
			s := f.validate(pdf).Signatures[0]
			bad := slices.ContainsFunc(s.Changes, func(c validate.Change) bool { return !c.Allowed })
			if bad == allowed {
				t.Errorf("P %d, %s: %v", p, what, s.Changes)
			}
		}
	}
}

// certify signs field A of the sample as its author would, with DocMDP p; with
// p 0 the signature locks the field "note" instead.
func (f *fixture) certify(p int) []byte {
	f.t.Helper()
	if p == 0 {
		return f.restrict(cmstest.Document(0), "<</TransformMethod/FieldMDP/TransformParams<</Action/Include/Fields[(note)]>>>>")
	}
	return f.restrict(f.perms(cmstest.Document(0)), fmt.Sprintf("<</TransformMethod/DocMDP/TransformParams<</V/1.2/P %d>>>>", p))
}

// perms lets the sample's catalog name the signature to come as a certification.
func (f *fixture) perms(doc []byte) []byte {
	catalog := cos.Dict{"Type": cos.Name("Catalog"), "Pages": cos.Ref{Num: 2}, "AcroForm": cos.Ref{Num: 5}, "Perms": cos.Dict{"DocMDP": cos.Ref{Num: 11}}}
	return f.update(doc, func(u *cos.Update, _ *cos.File) { u.Set(cos.Ref{Num: 1}, catalog) })
}

// restrict signs field A with a signature reference.
func (f *fixture) restrict(doc []byte, reference string) []byte {
	f.t.Helper()
	reference = "/Reference[" + reference + "]"
	// The reference takes the place of a reason of its length; then all is hashed anew.
	reason := strings.Repeat("x", len(reference)-len("/Reason()"))
	prep, err := pades.Prepare(doc, pades.Params{Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Field: "A", Time: f.clock, TokenSize: tokenSize, Reason: reason})
	if err != nil {
		f.t.Fatal(err)
	}
	prep.Suffix = bytes.Replace(prep.Suffix, []byte("/Reason("+reason+")"), []byte(reference), 1)
	digest := sha256.Sum256(slices.Concat(doc, prep.Suffix[:prep.Offset-1], prep.Suffix[prep.Offset+2*prep.Room+1:]))
	if prep.Attributes, err = cms.SignedAttributes(prep.Algorithm, digest[:], f.seal.Cert); err != nil {
		f.t.Fatal(err)
	}
	value, err := prep.SignWith(f.seal.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	suffix, err := prep.Finish(context.Background(), value, f.tsa)
	return f.dss(f.with(doc, suffix, err), nil)
}

var byteRange = regexp.MustCompile(`/ByteRange ?\[0 (\d+) (\d+) (\d+)\]`)

// Games with ByteRange and Contents, on a file that is sound before.
func TestByteRangeGames(t *testing.T) {
	f := newFixture(t)
	signed := f.sign(cmstest.Document(0), "A", true)
	m := byteRange.FindSubmatchIndex(signed)
	num := func(i int) int { n, _ := strconv.Atoi(string(signed[m[2*i]:m[2*i+1]])); return n }
	n1, n2, n3 := num(1), num(2), num(3)
	ranges := func(s string) []byte {
		out := slices.Clone(signed)
		field := out[m[0]:m[1]]
		text := "/ByteRange" + s
		if len(text) > len(field) {
			t.Fatalf("%s does not fit", s)
		}
		copy(field, text+strings.Repeat(" ", len(field)-len(text)))
		return out
	}
	contents := func(s string) []byte {
		return slices.Concat(signed[:n1], []byte(s), bytes.Repeat([]byte(" "), n2-n1-len(s)), signed[n2:])
	}
	for name, pdf := range map[string][]byte{
		"null":                  ranges(" null"),
		"empty":                 ranges("[]"),
		"zeros":                 ranges("[0 0 0 0]"),
		"three numbers":         ranges(fmt.Sprintf("[0 %d %d]", n1, n2)),
		"negative":              ranges("[0 -1 0 1]"),
		"huge":                  ranges("[0 1 99999999 9]"),
		"does not start at 0":   ranges(fmt.Sprintf("[1 %d %d %d]", n1-1, n2, n3)),
		"overlap":               ranges(fmt.Sprintf("[0 %d %d %d]", n2, n1, n3)),
		"gap too wide":          ranges(fmt.Sprintf("[0 %d %d %d]", n1-1, n2, n3)),
		"gap too narrow":        ranges(fmt.Sprintf("[0 %d %d %d]", n1+1, n2, n3)),
		"gap begins late":       ranges(fmt.Sprintf("[0 %d %d %d]", n1, n2+1, n3-1)),
		"ends early":            ranges(fmt.Sprintf("[0 %d %d %d]", n1, n2, n3-3)),
		"beyond the end":        ranges(fmt.Sprintf("[0 %d %d %d]", n1, n2, n3+9)),
		"two numbers":           ranges(fmt.Sprintf("[0 %d]", n1)),
		"five numbers":          ranges(fmt.Sprintf("[0 %d %d %d 0]", n1, n2, n3)),
		"three ranges":          ranges(fmt.Sprintf("[0 9 9 9 9 %d]", n3)),
		"reals":                 ranges(fmt.Sprintf("[0. %d %d %d]", n1, n2, n3)),
		"strings":               ranges("[(0)(9)(9)(9)]"),
		"an array within":       ranges(fmt.Sprintf("[[0 %d %d]]", n1, n2)),
		"a name":                ranges("/None"),
		"references":            ranges("[4 0 R 5 0 R 6 0 R]"),
		"more than an integer":  ranges("[0 1 9223372036854775807 9]"),
		"a dictionary":          ranges("<</A[0 1 2 3]>>"),
		"all of the file":       ranges(fmt.Sprintf("[0 %d %d 0]", len(signed), len(signed))),
		"the second part empty": ranges(fmt.Sprintf("[0 %d %d 0]", n1, n2)),
		"the first part empty":  ranges(fmt.Sprintf("[0 0 %d %d]", n2, n3)),
		"ByteRange left out":    bytes.Replace(signed, []byte("/ByteRange"), []byte("/ByteR_nge"), 1),
		"Contents left out":     slices.Concat(signed[:bytes.LastIndex(signed[:n1], []byte("/Contents"))], []byte("/C_ntents"), signed[bytes.LastIndex(signed[:n1], []byte("/Contents"))+9:]),
		"Contents one digit":    contents("<3>"),
		"Contents an odd digit": slices.Concat(signed[:n2-2], []byte(" "), signed[n2-1:]),
		"Contents a name":       contents("/3000"),
		"Contents a number":     contents("3000"),
		"Contents an array":     contents("[<3000>]"),
		"Contents elsewhere":    contents("4 0 R"),
		"Contents null":         contents("null"),
		"Contents empty":        contents("<>"),
		"Contents zero":         contents("<" + strings.Repeat("0", n2-n1-2) + ">"),
		"Contents in brackets":  contents("(abc)"),
		"white space inside":    slices.Concat(signed[:n2-9], []byte("00 00"), signed[n2-4:]),
		"data after the CMS":    slices.Concat(signed[:n2-9], []byte("deadbeef"), signed[n2-1:]),
		"Contents of the empty": contents("<3000>"),
	} {
		r, err := validate.Validate(pdf, f.options())
		if err != nil {
			continue
		}
		for _, s := range r.Signatures {
			if s.Indication != validate.Failed || s.Sub != validate.FormatFailure && s.Sub != validate.HashFailure {
				t.Errorf("%s: %s / %s (%s)", name, s.Indication, s.Sub, s.Problem)
			}
		}
	}
	r := f.validate(signed)
	check(t, r, outcome{validate.Indeterminate, validate.TryLater, validate.LevelB})
}

// Signature wrapping: the signed second part is moved behind content of the
// attacker, and a ByteRange that the attacker controls finds it there.
func TestSignatureWrapping(t *testing.T) {
	f := newFixture(t)
	signed := f.sign(cmstest.Document(0), "A", true)
	m := byteRange.FindSubmatch(signed)
	n1, _ := strconv.Atoi(string(m[1]))
	n2, _ := strconv.Atoi(string(m[2]))
	hexed := signed[n1:n2]
	for name, pad := range map[string][]byte{
		"inside the gap": []byte("/Wrapped(evil)"), "another ByteRange": []byte(fmt.Sprintf("/ByteRange[0 %d %d %d]", n1, n2, len(signed)-n2)), "a comment": []byte("%evil\n"), "an object": []byte("\n4 0 obj(evil)endobj\n"),
	} {
		tail := signed[n2:]
		pdf := slices.Concat(signed[:n1], hexed, pad, tail)
		if r, err := validate.Validate(pdf, f.options()); err == nil && len(r.Signatures) > 0 && r.Signatures[0].Indication != validate.Failed {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	// A second signature dictionary in an update, with the first one's ranges and value.
	value, err := hex.DecodeString(string(hexed[1 : len(hexed)-1]))
	if err != nil {
		t.Fatal(err)
	}
	pdf := f.update(signed, func(u *cos.Update, _ *cos.File) {
		sig := u.Add(cos.Dict{"Type": cos.Name("Sig"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.CAdES.detached"),
			"ByteRange": cos.Array{0, n1, n2, len(signed) - n2}, "Contents": cos.String(value), "M": cos.Date(now)})
		d := f.dict(u, 6)
		d["V"] = sig
		u.Set(cos.Ref{Num: 6}, d)
		b := f.dict(u, 7)
		b["V"] = sig
		u.Set(cos.Ref{Num: 7}, b)
	})
	for _, s := range f.validate(pdf).Signatures {
		if s.Indication == validate.Passed || s.Sub != validate.FormatFailure {
			t.Errorf("a borrowed signature: %s / %s %s", s.Indication, s.Sub, s.Problem)
		}
	}
}

// Incremental saving without, or with a broken, cross-reference section.
func TestIncrementalSaving(t *testing.T) {
	f := newFixture(t)
	signed := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	evil := "4 0 obj\n<</Length 4>>\nstream\nevil\nendstream\nendobj\n"
	at := len(signed)
	row := fmt.Sprintf("%010d 00000 n \n", at)
	for name, tail := range map[string]string{
		"objects and nothing else": evil,
		"garbage":                  "garbage",
		"no trailer":               evil + "xref\n4 1\n" + row,
		"no Prev":                  evil + "xref\n0 1\n0000000000 65535 f \n4 1\n" + row + fmt.Sprintf("trailer\n<</Size 99/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", at+len(evil)),
		"startxref to the old one": evil + "startxref\n" + lastStart(signed) + "\n%%EOF\n",
	} {
		r, err := validate.Validate(append(slices.Clone(signed), tail...), f.options())
		if err == nil && r.Passed() {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
}

func lastStart(pdf []byte) string {
	all := regexp.MustCompile(`startxref\n(\d+)`).FindAllSubmatch(pdf, -1)
	return string(all[len(all)-1][1])
}

// Any changed byte must be noticed: the file is unreadable or does not pass.
// The last Contents is the only place where one can hide, in certificates that
// the last timestamp does not need.
func TestEveryByteCounts(t *testing.T) {
	f := newFixture(t)
	pdf := f.archive(cmstest.Document(0))
	all := byteRange.FindAllSubmatch(pdf, -1)
	last := all[len(all)-1]
	from, _ := strconv.Atoi(string(last[1]))
	to, _ := strconv.Atoi(string(last[2]))
	b := slices.Clone(pdf)
	for i := 0; i < len(pdf); i += 23 {
		b[i] ^= 1
		if r, err := validate.Validate(b, f.options()); err == nil && r.Passed() && (i < from || i >= to) {
			t.Errorf("byte %d (%q → %q) went unnoticed", i, pdf[i], b[i])
		} else if err == nil && !r.Passed() && strings.Contains(r.Text(), "Nothing was changed") {
			t.Errorf("byte %d: people read that nothing was changed:\n%s", i, r.Text())
		}
		b[i] = pdf[i]
	}
}

// A whole signature moved to another document.
func TestTransplantedSignature(t *testing.T) {
	f := newFixture(t)
	one := f.sign(cmstest.Document(0), "A", true)
	two := bytes.Replace(one, []byte("(Contract)"), []byte("(Conflict)"), 1)
	check(t, f.validate(two), outcome{validate.Failed, validate.HashFailure, ""})
	m := byteRange.FindSubmatch(one)
	n1, _ := strconv.Atoi(string(m[1]))
	n2, _ := strconv.Atoi(string(m[2]))
	other := f.sign(cmstest.Document(0), "A", true)
	foreign := slices.Concat(one[:n1], f.sign(bytes.Replace(cmstest.Document(0), []byte("(Contract)"), []byte("(Conflict)"), 1), "A", true)[n1:n2], one[n2:])
	check(t, f.validate(foreign), outcome{validate.Failed, validate.HashFailure, ""})
	check(t, f.validate(other), outcome{validate.Indeterminate, validate.TryLater, validate.LevelB})
}
