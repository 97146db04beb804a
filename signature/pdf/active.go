package pdf

import (
	"fmt"

	"milterd/signature/pdf/cos"
)

// NoteKeys are the notes for the signatory, in the order in which they are told;
// the pages have the words for them ("note.javascript").
var NoteKeys = []string{
	"javascript", // scripts, which some readers run
	"launch",     // links that start a program
	"submit",     // buttons that send form data away
	"embedded",   // files inside, which no page shows
	"hidden",     // layers that are off at first
	"media",      // sound, film, 3D
	"external",   // content that lies outside and can change
}

// walker visits every object that the trailer leads to.
type walker struct {
	f     *cos.File
	info  *Info
	seen  map[int]bool
	queue []cos.Ref
}

// walk reads all objects and notes active content.
func (info *Info) walk(f *cos.File, cat cos.Dict) error {
	info.Active = map[string]int{}
	w := walker{f: f, info: info, seen: map[int]bool{}}
	w.visit(f.Trailer()["Root"])
	w.visit(f.Trailer()["Info"])
	for len(w.queue) > 0 {
		r := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		o, err := f.Get(r)
		if err != nil {
			return err
		}
		w.visit(o)
	}
	if err := w.layers(cat); err != nil {
		return err
	}
	if len(w.seen) > maxObjects {
		return fmt.Errorf("more than %d objects: %w", maxObjects, cos.ErrLimit)
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
		if o.Dict["F"] != nil { // the data is in another file
			w.info.Active["external"]++
		}
	}
}

func (w *walker) dict(d cos.Dict) {
	note := func(kind string) { w.info.Active[kind]++ }
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
		w.info.Active["hidden"] = n
	}
	return nil
}
