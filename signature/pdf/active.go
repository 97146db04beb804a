package pdf

import (
	"fmt"

	"milterd/signature/pdf/cos"
)

// activeKinds are what the signatory is told about, in this order. Text has a
// verb for the number that it is given.
var activeKinds = []struct{ key, one, many string }{
	{"javascript", "The document contains a script (JavaScript), which some readers run.", "The document contains %d scripts (JavaScript), which some readers run."},
	{"launch", "The document contains a link that starts a program.", "The document contains %d links that start programs."},
	{"submit", "The document contains a button that sends form data to an address.", "The document contains %d buttons that send form data to an address."},
	{"embedded", "The document carries an embedded file, which is not shown on its pages.", "The document carries %d embedded files, which are not shown on its pages."},
	{"hidden", "The document has a layer that is hidden at first.", "The document has %d layers that are hidden at first."},
	{"media", "The document contains multimedia, which not every reader shows.", "The document contains %d multimedia parts, which not every reader shows."},
	{"external", "The document shows content that lies outside of it, which can change.", "The document shows content that lies outside of it in %d places, which can change."},
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
	for _, k := range activeKinds {
		switch n := info.Active[k.key]; n {
		case 0:
		case 1:
			info.Notes = append(info.Notes, k.one)
		default:
			info.Notes = append(info.Notes, fmt.Sprintf(k.many, n))
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
