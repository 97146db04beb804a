package shadow

import (
	"bytes"
	"fmt"
	"regexp"

	"milterd/signature/cms/cmstest"
	"milterd/signature/pdf/cos"
)

// Attack is one prepared document.
type Attack struct {
	Name string
	PDF  []byte // as it is given to the signatory
	// Spring adds the increment that shows the other face, after signing.
	Spring func(signed []byte) ([]byte, error)
	// Notes is what the signatory must be told; nil where nothing can be seen
	// yet, since the document is one of many that are harmless.
	Notes []string
	// Refused tells that nobody may be asked to sign it at all.
	Refused bool
	// Says is a change that a validator must name.
	Says string
}

// evil is what the other face shows.
func evil() *cos.Stream { return form("BT /F1 24 Tf 20 20 Td (Pay a million) Tj ET") }

// form is a form XObject, which serves as a page's content too.
func form(content string) *cos.Stream {
	return &cos.Stream{Dict: cos.Dict{"Type": cos.Name("XObject"), "Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 500, 500}}, Raw: []byte(content)}
}

// stream writes one with more entries in its dictionary.
func stream(entries, content string) string {
	return fmt.Sprintf("<<%s/Length %d>>\nstream\n%s\nendstream", entries, len(content), content)
}

const (
	xobject = "/Type/XObject/Subtype/Form/BBox[0 0 500 500]"
	text    = "BT /F1 24 Tf 72 720 Td (Pay ten) Tj ET"
	font    = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
)

// document has a catalog, a page with some content, and further objects from 6
// on, which the entries of catalog, page and resources refer to.
func document(catalog, page, resources, content string, more ...string) []byte {
	objects := []string{
		"<</Type/Catalog/Pages 2 0 R" + catalog + ">>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>" + resources + ">>" + page + ">>",
		content, font,
	}
	return cmstest.Build(append(objects, more...)...)
}

// update is a Spring that writes a proper increment.
func update(change func(f *cos.File, u *cos.Update)) func([]byte) ([]byte, error) {
	return func(signed []byte) ([]byte, error) {
		f, err := cos.Open(signed)
		if err != nil {
			return nil, err
		}
		u := f.NewUpdate()
		change(f, u)
		s, err := u.Bytes()
		return append(signed[:len(signed):len(signed)], s...), err
	}
}

// object replaces an object.
func object(num int, o cos.Object) func([]byte) ([]byte, error) {
	return update(func(_ *cos.File, u *cos.Update) { u.Set(cos.Ref{Num: num}, o) })
}

// entry changes one entry of a dictionary.
func entry(num int, key cos.Name, value func(u *cos.Update) cos.Object) func([]byte) ([]byte, error) {
	return update(func(_ *cos.File, u *cos.Update) {
		d, err := u.Dict(cos.Ref{Num: num})
		if err != nil {
			panic(err) // the document is ours
		}
		d[key] = value(u)
		u.Set(cos.Ref{Num: num}, d)
	})
}

// inForm changes the form, which signing may have moved.
func inForm(change func(form cos.Dict)) func([]byte) ([]byte, error) {
	return update(func(f *cos.File, u *cos.Update) { setForm(f, u, change) })
}

func setForm(f *cos.File, u *cos.Update, change func(form cos.Dict)) {
	catalog, err := u.Dict(f.Root())
	if err != nil {
		panic(err)
	}
	form, err := u.Dict(catalog["AcroForm"])
	if err != nil {
		panic(err)
	}
	change(form)
	if r, ok := catalog["AcroForm"].(cos.Ref); ok {
		u.Set(r, form)
		return
	}
	catalog["AcroForm"] = form
	u.Set(f.Root(), catalog)
}

func added(o cos.Object) func(u *cos.Update) cos.Object {
	return func(u *cos.Update) cos.Object { return u.Add(o) }
}

func direct(o cos.Object) func(u *cos.Update) cos.Object {
	return func(*cos.Update) cos.Object { return o }
}

// row adds a cross-reference section and nothing else: an object is said to be
// somewhere in the signed bytes, under a generation, or to be free.
func row(num int, entry func(signed []byte) string) func([]byte) ([]byte, error) {
	return func(signed []byte) ([]byte, error) {
		f, err := cos.Open(signed)
		if err != nil {
			return nil, err
		}
		last := regexp.MustCompile(`startxref\s+(\d+)`).FindAllSubmatch(signed, -1)
		b := bytes.NewBuffer(bytes.Clone(signed))
		start := b.Len()
		fmt.Fprintf(b, "xref\n%d 1\n%s \ntrailer\n<</Size %d/Root 1 0 R/Prev %s>>\nstartxref\n%d\n%%%%EOF\n", num, entry(signed), f.Size(), last[len(last)-1][1], start)
		return b.Bytes(), nil
	}
}

// All gives every prepared document.
func All() []Attack { return append(published(), roles()...) }

// replaceOnce replaces a text with one of its length or less.
func replaceOnce(pdf []byte, old, with string) []byte {
	if len(with) > len(old) {
		panic("does not fit")
	}
	return bytes.Replace(pdf, []byte(old), []byte(with+string(bytes.Repeat([]byte(" "), len(old)-len(with)))), 1)
}

// freed marks an object of a file with one table as free.
func freed(num int, pdf []byte) []byte {
	rows := bytes.LastIndex(pdf, []byte("xref\n0 "))
	rows += len("xref\n0 ") + bytes.IndexByte(pdf[rows+len("xref\n0 "):], '\n') + 1
	copy(pdf[rows+20*num:], "0000000000 65535 f \n")
	return pdf
}
