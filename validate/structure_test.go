package validate_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// flagged wants a file that cannot be read, or that does not pass and says why;
// says, if given, is a change that must be named, or a part of the error.
func (f *fixture) flagged(pdf []byte, says string) {
	f.t.Helper()
	r, err := validate.Validate(pdf, f.options())
	if err != nil {
		if !strings.Contains(err.Error(), says) {
			f.t.Errorf("want %q, got %v", says, err)
		}
		return
	}
	if r.Passed() {
		f.t.Errorf("passes:\n%s", r.Text())
	}
	if !strings.Contains(r.Text(), says) {
		f.t.Errorf("want %q:\n%s", says, r.Text())
	}
}

const evilObject = "4 0 obj\n<</Length 4>>\nstream\nevil\nendstream\nendobj\n"

// Increments that another reader could follow, with and without cunning in their
// cross-references.
func TestIncrements(t *testing.T) {
	f := newFixture(t)
	signed := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	prev, end := lastStart(signed), len(signed)
	first := bytes.Index(signed, []byte("4 0 obj"))
	row := func(offset int) string { return fmt.Sprintf("%010d 00000 n \n", offset) }
	// table ends an increment whose body is given.
	table := func(body, rows, trailer string) []byte {
		return slices.Concat(signed, []byte(fmt.Sprintf("%sxref\n%strailer\n<</Size 99/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n", body, rows, trailer, end+len(body))))
	}
	// stream ends it with a cross-reference stream.
	stream := func(body string, rows []byte, entries string, hybrid string) []byte {
		at := end + len(body)
		xref := fmt.Sprintf("98 0 obj\n<</Type/XRef/Size 99/Root 1 0 R%s/W[1 3 1]/Length %d>>\nstream\n%s\nendstream\nendobj\n", entries, len(rows), rows)
		if hybrid == "" {
			return slices.Concat(signed, []byte(body+xref+fmt.Sprintf("startxref\n%d\n%%%%EOF\n", at)))
		}
		return slices.Concat(signed, []byte(body+xref+fmt.Sprintf("xref\n%strailer\n<</Size 99/Root 1 0 R/Prev %s/XRefStm %d>>\nstartxref\n%d\n%%%%EOF\n", hybrid, prev, at, at+len(xref))))
	}
	inUse := func(offset int) []byte { return []byte{1, byte(offset >> 16), byte(offset >> 8), byte(offset), 0} }
	const font = "10 0<</Type/Font/BaseFont/Symbol>>"
	packed := fmt.Sprintf("97 0 obj\n<</Type/ObjStm/N 1/First 4/Length %d>>\nstream\n%s\nendstream\nendobj\n", len(font), font)
	p := "/Prev " + prev
	for name, c := range map[string]struct {
		pdf  []byte
		says string
	}{
		"a table":                           {table(evilObject, "4 1\n"+row(end), p), "object 4 (stream) was changed"},
		"a stream":                          {stream(evilObject, inUse(end), p+"/Index[4 1]", ""), "object 4 (stream) was changed"},
		"an object stream over an object":   {stream(packed, append([]byte{2, 0, 0, 97, 0}, inUse(end)...), p+"/Index[10 1 97 1]", ""), "object 10 (Type1) was changed"},
		"hybrid, the stream has it":         {stream(evilObject, inUse(end), "/Index[4 1]", "0 0\n"), "object 4 (stream) was changed"},
		"hybrid, both have it":              {stream(evilObject, inUse(end), "/Index[4 1]", "4 1\n"+row(first)), "a hybrid section gives object 4 twice"},
		"hybrid, free in the table":         {stream(evilObject, inUse(end), "/Index[4 1]", "4 1\n0000000000 00001 f \n"), "object 4 (stream) was changed"},
		"a subsection twice":                {table(evilObject, "4 1\n"+row(first)+"4 1\n"+row(end), p), "object 4 stands twice"},
		"freed":                             {table("", "4 1\n0000000000 00001 f \n", p), "object 4 (stream) was changed"},
		"freed by a stream":                 {stream("", []byte{0, 0, 0, 0, 1}, p+"/Index[4 1]", ""), "object 4 (stream) was changed"},
		"of an unknown kind":                {stream("", []byte{7, 0, 0, 0, 1}, p+"/Index[4 1]", ""), "object 4 (stream) was changed"},
		"Prev leads nowhere":                {table(evilObject, "4 1\n"+row(end), "/Prev 7"), ""},
		"Prev leads to itself":              {table(evilObject, "4 1\n"+row(end), fmt.Sprintf("/Prev %d", end+len(evilObject))), "circle"},
		"Prev leaves the signature out":     {table(evilObject, "4 1\n"+row(end), "/Prev "+firstStart(signed)), ""},
		"Prev is an object":                 {table(evilObject, "4 1\n"+row(end), "/Prev 4 0 R"), "bad Prev"},
		"Encrypt":                           {table(evilObject, "4 1\n"+row(end), p+"/Encrypt<</Filter/Standard>>"), "encrypted"},
		"Root of another generation":        {bytes.Replace(table(evilObject, "4 1\n"+row(end), p), []byte("/Size 99/Root 1 0 R"), []byte("/Size 99/Root 1 1 R"), 1), ""},
		"Root left out":                     {bytes.Replace(table(evilObject, "4 1\n"+row(end), p), []byte("/Size 99/Root 1 0 R"), []byte("/Size 99"), 1), ""},
		"the object's number is another":    {table(strings.Replace(evilObject, "4 0", "5 0", 1), "4 1\n"+row(end), p), ""},
		"its place is in a string":          {table("96 0 obj\n("+evilObject+")\nendobj\n", "4 1\n"+row(end+len("96 0 obj\n(")), p), "object 4 (stream) was changed"},
		"two end-of-file marks":             {append(table(evilObject, "4 1\n"+row(end), p), "startxref\n"+prev+"\n%%EOF\n"...), ""},
		"objects after the end":             {append(bytes.Clone(signed), evilObject...), ""},
		"a line after the end":              {append(bytes.Clone(signed), "% nothing\n"...), ""},
		"signed bytes, and the same behind": {slices.Concat(signed, signed), ""},
		"something before":                  {append([]byte("%!\n"), signed...), "bytes before the header"},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			f.flagged(c.pdf, c.says)
		})
	}
	// What changes nothing is not flagged.
	for name, pdf := range map[string][]byte{
		"the signed place, written again": table(evilObject, "4 1\n"+row(first), p),
		"an empty increment":              table("", "0 0\n", p),
		"blanks after the end":            append(bytes.Clone(signed), "\n\n"...),
	} {
		if r := f.validate(pdf); !r.Passed() || r.Signatures[0].Whole {
			t.Errorf("%s:\n%s", name, r.Text())
		}
	}
}

func firstStart(pdf []byte) string {
	_, after, _ := bytes.Cut(pdf, []byte("startxref\n"))
	start, _, _ := bytes.Cut(after, []byte("\n"))
	return string(start)
}

// Signature wrapping as it was published: the signed second part is moved to the
// end, and the place to which the old startxref leads belongs to the attacker.
func TestPublishedWrapping(t *testing.T) {
	f := newFixture(t)
	signed := f.sign(cmstest.Document(0), "A", true)
	m := byteRange.FindSubmatch(signed)
	n1, _ := strconv.Atoi(string(m[1]))
	n2, _ := strconv.Atoi(string(m[2]))
	start, _ := strconv.Atoi(lastStart(signed))
	for name, again := range map[string]bool{"ByteRange as it was": false, "ByteRange twice": true} {
		var own string
		region := func(length int) []byte {
			if again {
				own = fmt.Sprintf("/ByteRange [0 %d %d %d]", n1, n2+length, len(signed)-n2)
			}
			b := []byte(own + ">>\nendobj\n")
			evil := n2 + len(b)
			b = append(b, evilObject...)
			if n2+len(b) > start {
				t.Fatal("no room")
			}
			b = append(b, bytes.Repeat([]byte("\n"), start-n2-len(b))...)
			return fmt.Appendf(b, "xref\n4 1\n%010d 00000 n \ntrailer\n<</Size 99/Root 1 0 R/Prev %s>>\n99 0 obj\n<<", evil, firstStart(signed))
		}
		length := len(region(99999)) // as many digits
		pdf := slices.Concat(signed[:n2], region(length), signed[n2:])
		r, err := validate.Validate(pdf, f.known())
		if err == nil && (r.Passed() || slices.ContainsFunc(r.Signatures, func(s validate.Signature) bool { return s.Indication == validate.Passed })) {
			t.Errorf("%s: %v\n%s", name, err, r.Text())
		}
	}
}

// What is made to cost ends soon, and is no valid signature.
func TestBombs(t *testing.T) {
	f := newFixture(t)
	signed := f.dss(f.sign(cmstest.Document(0), "A", false), nil)
	update := func(change func(u *cos.Update)) []byte {
		return f.update(signed, func(u *cos.Update, _ *cos.File) { change(u) })
	}
	fields := func(kids cos.Array) func(u *cos.Update) {
		return func(u *cos.Update) { f.appended(u, 5, "Fields", u.Add(cos.Dict{"T": cos.Text("x"), "Kids": kids})) }
	}
	bombs := map[string][]byte{
		"a form that is its own kid": update(func(u *cos.Update) {
			r := u.Reserve()
			u.Set(r, cos.Dict{"T": cos.Text("x"), "Kids": cos.Array{r}})
			f.appended(u, 5, "Fields", r)
		}),
		"fields within fields": update(func(u *cos.Update) {
			last := u.Add(cos.Dict{"T": cos.Text("x")})
			for range 100 {
				last = u.Add(cos.Dict{"T": cos.Text("x"), "Kids": cos.Array{last}})
			}
			f.appended(u, 5, "Fields", last)
		}),
		"a hundred thousand fields": update(func(u *cos.Update) {
			var list cos.Array
			for range 100_000 {
				list = append(list, cos.Dict{"T": cos.Text("x")})
			}
			fields(list)(u)
		}),
		"a thousand signatures": update(func(u *cos.Update) {
			for range 1000 {
				f.appended(u, 5, "Fields", u.Add(cos.Dict{"T": cos.Text("x"), "FT": cos.Name("Sig"), "V": cos.Dict{"ByteRange": cos.Array{0, 1, 2, 3}}}))
			}
		}),
		"a ByteRange without end": update(func(u *cos.Update) {
			a := make(cos.Array, 200_000)
			for i := range a {
				a[i] = i
			}
			f.set(u, 7, "V", cos.Dict{"ByteRange": a, "Contents": cos.String("x")})
		}),
		"references in a circle": update(func(u *cos.Update) {
			a, b := u.Reserve(), u.Reserve()
			u.Set(a, b)
			u.Set(b, a)
			f.set(u, 7, "V", a)
		}),
		"a store that holds itself": update(func(u *cos.Update) {
			r := u.Reserve()
			u.Set(r, cos.Array{r, r, r, r})
			f.set(u, 1, "DSS", cos.Dict{"Certs": r, "CRLs": cos.Array{r}})
			f.set(u, 3, "Contents", r)
		}),
		"data that inflates": update(func(u *cos.Update) {
			f.set(u, 1, "DSS", cos.Dict{"CRLs": cos.Array{u.Add(cos.Compressed(nil, make([]byte, 80<<20)))}})
			f.set(u, 3, "Rotate", 90)
		}),
	}
	// Page trees that meet again: each level doubles them. They come into place
	// after signing, for which a broken signature is good enough.
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>"}
	for i := range 30 {
		objects = append(objects, fmt.Sprintf("<</Type/Pages/Kids[%d 0 R %d 0 R]>>", i+5, i+5))
	}
	tree := f.update(f.sign(cmstest.Build(append(objects, objects[2])...), "", true), func(u *cos.Update, _ *cos.File) { u.Set(cos.Ref{Num: 3}, nil) })
	bombs["page trees that meet again"] = bytes.ReplaceAll(tree, []byte("/Pages 2 0 R"), []byte("/Pages 4 0 R"))
	names, err := filepath.Glob("../testdata/pdf/bomb-*.pdf")
	if err != nil || len(names) < 5 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		if bombs[n], err = os.ReadFile(n); err != nil {
			t.Fatal(err)
		}
	}
	for name, pdf := range bombs {
		began := time.Now()
		says := ""
		if name == "page trees that meet again" {
			says = "object 3 (Page) was changed"
		}
		f.flagged(pdf, says)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s: %s", name, d)
		}
	}
}
