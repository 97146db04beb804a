package pdf

import (
	"bytes"
	"fmt"
	"strings"

	"milterd/signature/pdf/cos"
)

// What prepares a document to show another face after signing (the shadow
// attacks of Mainka and others, NDSS 2021) is refused where no honest program
// writes it, and noted where some do.

// uses are what a document's objects serve for, as far as that must not mix.
type uses struct {
	naming map[int]bool // their keys are names that content chooses
	lists  map[int]bool // annotations, fields, metadata: they may change after signing
	shown  map[int]bool // content and pages: they may not
}

// use looks at the references of a dictionary, and at what shows and is not there.
func (w *walker) use(d cos.Dict) {
	for k, v := range d {
		r, isRef := v.(cos.Ref)
		switch k {
		case "Resources", "DR", "XObject", "Font", "Pattern", "Shading", "ColorSpace", "ExtGState", "Properties", "CharProcs", "Colorants":
			if isRef {
				w.uses.naming[r.Num] = true
			}
			if k != "DR" && k != "CharProcs" && k != "Colorants" {
				w.named(v)
			}
		case "AP":
			states, err := w.f.Dict(v)
			w.keep(err)
			for _, s := range states { // N, R, D
				if r, ok := s.(cos.Ref); ok {
					if o, err := w.f.Get(r); err == nil {
						if _, plain := o.(cos.Dict); plain {
							w.uses.naming[r.Num] = true
						}
					}
				}
				w.named(s)
			}
		case "Annots", "Fields", "Metadata":
			if isRef {
				w.uses.lists[r.Num] = true
			}
			w.present(v)
		case "Kids", "Contents":
			if isRef {
				w.uses.shown[r.Num] = true
			}
			w.present(v)
			if list, ok := v.(cos.Array); ok && k == "Contents" {
				for _, e := range list {
					if r, ok := e.(cos.Ref); ok {
						w.uses.shown[r.Num] = true
					}
				}
			}
		}
	}
}

// named looks at what a dictionary of names gives them.
func (w *walker) named(o cos.Object) {
	w.present(o)
	v, err := w.f.Resolve(o)
	w.keep(err)
	if r, ok := o.(cos.Ref); ok && w.looked[r.Num] {
		return
	} else if ok {
		w.looked[r.Num] = true
	}
	d, _ := v.(cos.Dict)
	for _, e := range d {
		if r, ok := e.(cos.Ref); ok {
			w.uses.shown[r.Num] = true
			w.present(r)
		}
	}
}

// present notes references, and those of an array, that find nothing.
func (w *walker) present(o cos.Object) {
	switch o := o.(type) {
	case cos.Ref:
		v, err := w.f.Get(o)
		w.keep(err)
		if v == nil && err == nil {
			w.info.Active["missing"]++
		}
	case cos.Array:
		for _, e := range o {
			if r, ok := e.(cos.Ref); ok {
				w.present(r)
			}
		}
	}
}

// keep remembers the first error.
func (w *walker) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

// checkUses refuses objects in two roles.
func (w *walker) checkUses(cat cos.Dict) error {
	form, _ := cat["AcroForm"].(cos.Ref)
	for n := range w.uses.naming {
		o, err := w.f.Numbered(n)
		if err != nil {
			return err
		}
		d, ok := o.(cos.Dict)
		if !ok {
			continue
		}
		_, field := d["T"].(cos.String)
		switch t := d.Name("Type"); {
		case field, d.Name("Subtype") == "Widget", t == "Catalog", t == "Page", t == "Pages", n == form.Num:
			return fmt.Errorf("object %d has two roles: %w", n, cos.ErrBroken)
		}
	}
	for n := range w.uses.lists {
		if w.uses.shown[n] {
			return fmt.Errorf("object %d has two roles: %w", n, cos.ErrBroken)
		}
	}
	return nil
}

// unused counts pages and catalogs to which nothing leads, and objects of which
// no cross-reference knows.
func (w *walker) unused() error {
	numbers, err := w.f.Numbers()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if w.seen[n] {
			continue
		}
		o, err := w.f.Numbered(n)
		if err != nil {
			return err
		}
		if d, ok := o.(cos.Dict); ok {
			switch d.Name("Type") {
			case "Catalog", "Pages", "Page":
				w.info.Active["unused"]++
			}
		}
	}
	strays, err := w.f.Strays()
	if strays > 0 {
		w.info.Active["unused"] += strays
	}
	return err
}

// hidden counts annotations that have a look and do not show it on the screen.
func (w *walker) hidden(d cos.Dict) {
	const hidden, noView = 2, 32 // ISO 32000-2, table 167
	if flags, _ := w.f.Int(d["F"]); flags&(hidden|noView) != 0 && d["AP"] != nil && d["Rect"] != nil {
		w.info.Active["hidden"]++
	}
}

// otherValue notes a text field whose look is not its value. Where a script
// writes the look, or in a font whose letters are not ASCII, that cannot be told.
func (w *walker) otherValue(d cos.Dict) {
	value := letters(string(w.f.String(d["V"]).UTF8()))
	const password = 1 << 13
	if flags, _ := w.f.Int(d["Ff"]); w.f.Name(d["FT"]) != "Tx" || value == "" || d["AA"] != nil || flags&password != 0 {
		return
	}
	ap, err := w.f.Dict(d["AP"])
	if err != nil {
		return
	}
	look, err := w.f.Stream(ap["N"])
	if err != nil || look == nil || w.ownFonts(look) {
		return
	}
	content, err := w.f.Decode(look)
	if err != nil {
		return
	}
	var b strings.Builder
	err = cos.Operators(content, func(op string, operands []cos.Object) bool {
		for _, o := range operands {
			list, ok := o.(cos.Array)
			if !ok {
				list = cos.Array{o}
			}
			for _, e := range list {
				if s, ok := e.(cos.String); ok {
					b.WriteString(string(s))
				}
			}
		}
		return true
	})
	shown := letters(b.String())
	if err == nil && !strings.Contains(shown, value) && !strings.Contains(value, shown) {
		w.info.Active["field"]++
	}
}

// ownFonts reports whether a form XObject brings fonts in which letters may have
// other codes.
func (w *walker) ownFonts(look *cos.Stream) bool {
	res, err := w.f.Dict(look.Dict["Resources"])
	if err != nil {
		return true
	}
	fonts, err := w.f.Dict(res["Font"])
	if err != nil {
		return true
	}
	for _, o := range fonts {
		d, err := w.f.Dict(o)
		if err != nil || w.f.Name(d["Subtype"]) != "Type1" && w.f.Name(d["Subtype"]) != "TrueType" || d["FontDescriptor"] != nil {
			return true
		}
	}
	return false
}

// letters are what two texts are compared by: ASCII letters and digits. With
// others in it, a text is not compared.
func letters(s string) string {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 0x80:
			return ""
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
			b.WriteByte(c)
		}
	}
	return b.String()
}
