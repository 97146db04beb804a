package pdf

import (
	"fmt"

	"milterd/signature/pdf/cos"
	"milterd/validate"
)

// NoteKeys are the notes for the signatory, in the order in which they are told;
// the pages have the words for them ("note.javascript").
var NoteKeys = []string{
	"javascript", // scripts, which some readers run
	"launch",     // links that start a program
	"submit",     // buttons that send form data away
	"embedded",   // files inside, which no page shows
	"hidden",     // layers that are off at first, annotations that do not show
	"media",      // sound, film, 3D
	"external",   // content that lies outside and can change
	"missing",    // content that is referred to and not there
	"unused",     // pages and objects to which nothing leads
	"field",      // a form field that does not show its value
	"signature",  // an earlier signature that does not hold
}

// walker visits every object that the trailer leads to.
type walker struct {
	f     *cos.File
	info  *Info
	seen  map[int]bool
	queue []cos.Ref

	uses   uses
	looked map[int]bool // dictionaries of names
	err    error        // the first
}

// walk reads all objects and notes active content.
func (info *Info) walk(f *cos.File, cat cos.Dict) error {
	info.Active = map[string]int{}
	w := walker{f: f, info: info, seen: map[int]bool{}, looked: map[int]bool{},
		uses: uses{naming: map[int]bool{}, lists: map[int]bool{}, shown: map[int]bool{}}}
	w.visit(f.Trailer()["Root"])
	w.visit(f.Trailer()["Info"])
	for len(w.queue) > 0 {
		r := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		o, err := f.Get(r)
		if err != nil {
			return err
		}
		if alias, ok := o.(cos.Ref); ok { // for any use
			w.uses.naming[alias.Num] = true
		}
		if w.visit(o); w.err != nil {
			return w.err
		}
	}
	if err := w.layers(cat); err != nil {
		return err
	}
	if len(w.seen) > maxObjects {
		return fmt.Errorf("more than %d objects: %w", maxObjects, cos.ErrLimit)
	}
	if err := w.checkUses(cat); err != nil {
		return err
	}
	if err := w.unused(); err != nil {
		return err
	}
	if info.Signed && !holds(f.Data()) {
		info.Active["signature"]++
	}
	for _, kind := range NoteKeys {
		if info.Active[kind] > 0 {
			info.Notes = append(info.Notes, kind)
		}
	}
	return nil
}

// visit looks at an object and queues what it refers to. Nesting is bounded by
// the parser.
func (w *walker) visit(o cos.Object) {
	switch o := o.(type) {
	case cos.Ref:
		if o.Num >= w.f.Size() { // what is added next would become part of the content
			w.keep(fmt.Errorf("a reference to object %d, which is still to come: %w", o.Num, cos.ErrBroken))
		}
		if !w.seen[o.Num] && len(w.seen) <= maxObjects {
			w.seen[o.Num] = true
			w.queue = append(w.queue, o)
		}
	case cos.Array:
		for _, e := range o {
			w.visit(e)
		}
	case cos.Dict:
		w.dict(o)
		for _, e := range o {
			w.visit(e)
		}
	case *cos.Stream:
		w.visit(o.Dict)
		if t := o.Dict.Name("Type"); t == "ObjStm" || t == "XRef" {
			w.keep(fmt.Errorf("content that calls itself an %s: %w", t, cos.ErrBroken))
		}
		if o.Dict["F"] != nil { // the data is in another file
			w.info.Active["external"]++
		}
	}
}

func (w *walker) dict(d cos.Dict) {
	note := func(kind string) { w.info.Active[kind]++ }
	w.use(d)
	w.hidden(d)
	w.otherValue(d)
	switch w.f.Name(d["S"]) {
	case "JavaScript":
		note("javascript")
	case "Launch":
		note("launch")
	case "SubmitForm", "ImportData":
		note("submit")
	case "Rendition", "Movie", "Sound", "RichMediaExecute":
		note("media")
	}
	switch w.f.Name(d["Subtype"]) {
	case "RichMedia", "Movie", "Sound", "Screen", "3D":
		note("media")
	}
	if d["EF"] != nil {
		note("embedded")
	}
	if d.Name("Subtype") == "Form" && d["Ref"] != nil { // a reference XObject (ISO 32000-2, 8.10.4)
		note("external")
	}
}

// holds reports whether every signature in a document fits what it was made over,
// and what came later is what signatures allow. Whom to trust is not asked.
func holds(data []byte) bool {
	r, err := validate.Validate(data, validate.Options{})
	if err != nil {
		return false
	}
	for _, s := range r.Signatures {
		for _, c := range s.Changes {
			if !c.Allowed {
				return false
			}
		}
		if s.Indication == validate.Failed {
			return false
		}
	}
	return true
}

// layers counts the optional content that is off at first.
func (w *walker) layers(cat cos.Dict) error {
	props, err := w.f.Dict(cat["OCProperties"])
	if err != nil || props == nil {
		return err
	}
	d, err := w.f.Dict(props["D"])
	if err != nil {
		return err
	}
	off, err := w.f.Array(d["OFF"])
	if err != nil {
		return err
	}
	n := len(off)
	if w.f.Name(d["BaseState"]) == "OFF" {
		all, err := w.f.Array(props["OCGs"])
		if err != nil {
			return err
		}
		on, err := w.f.Array(d["ON"])
		if err != nil {
			return err
		}
		n = max(n, len(all)-len(on))
	}
	if n > 0 {
		w.info.Active["hidden"] += n
	}
	return nil
}
