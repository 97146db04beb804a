package pdf

import (
	"fmt"
	"strings"

	"milterd/signature/pdf/cos"
)

// Names of the fields that Layout makes. The session is part of them, so that a
// document that comes back in another session does not meet its own fields.

// FieldName is the signature field of a participant (index in Session.People).
func FieldName(session string, person int) string {
	return fmt.Sprintf("Signatory %d %s", person+1, session)
}

// ParaphName is the parent of a participant's paraph fields, one on each page.
func ParaphName(session string, person int) string {
	return fmt.Sprintf("Paraph %d %s", person+1, session)
}

// SealName is the organisation's seal field.
func SealName(session string) string { return "Seal " + session }

// TimeName is the invisible field of the document timestamp that ends a session.
func TimeName(session string) string { return "Time " + session }

// Field is a form field with its widget.
type Field struct {
	Name string   // fully qualified: partial names joined by dots
	Ref  cos.Ref  // of the field
	Dict cos.Dict // shared: clone before changing
	Type cos.Name // FT, inherited where it is: Sig, Tx, Btn, Ch
}

const (
	limitFields = 20_000
	limitDepth  = 32 // of fields within fields, and of the page tree
)

// FindField finds a field by its fully qualified name; nil if there is none.
// The newest fields are looked at first.
func FindField(f *cos.File, name string) (*Field, error) {
	var found *Field
	err := walkFields(f, func(fd *Field) (on, below bool) {
		if fd.Name == name {
			found = fd
		}
		rest, ok := strings.CutPrefix(name, fd.Name)
		return found == nil, ok && strings.HasPrefix(rest, ".")
	})
	return found, err
}

// Fields lists the terminal form fields and their parents, newest first.
func Fields(f *cos.File) ([]*Field, error) {
	var out []*Field
	err := walkFields(f, func(fd *Field) (on, below bool) {
		out = append(out, fd)
		return true, true
	})
	return out, err
}

// walkFields calls fn for every field while on is true, and for the fields below
// one where below is.
func walkFields(f *cos.File, fn func(*Field) (on, below bool)) error {
	cat, err := f.Catalog()
	if err != nil {
		return err
	}
	form, err := f.Dict(cat["AcroForm"])
	if err != nil || form == nil {
		return err
	}
	fields, err := f.Array(form["Fields"])
	if err != nil {
		return err
	}
	w := fieldWalk{f: f, fn: fn}
	_, err = w.kids(fields, "", "", 0)
	return err
}

type fieldWalk struct {
	f     *cos.File
	fn    func(*Field) (on, below bool)
	count int
}

func (w *fieldWalk) kids(kids cos.Array, parent string, ft cos.Name, depth int) (bool, error) {
	if depth > limitDepth {
		return false, fmt.Errorf("form fields nested too deeply: %w", cos.ErrLimit)
	}
	for i := len(kids) - 1; i >= 0; i-- {
		if w.count++; w.count > limitFields {
			return false, fmt.Errorf("more than %d form fields: %w", limitFields, cos.ErrLimit)
		}
		ref, ok := kids[i].(cos.Ref)
		if !ok {
			return false, fmt.Errorf("%w: a form field without a number", cos.ErrBroken)
		}
		d, err := w.f.Plain(ref)
		if err != nil {
			return false, fmt.Errorf("form field: %w", err)
		}
		if _, named := d["T"]; d == nil || !named && depth > 0 {
			continue // a widget of its parent
		}
		fd := &Field{Name: w.f.String(d["T"]).UTF8(), Ref: ref, Dict: d, Type: w.f.Name(d["FT"])}
		if parent != "" {
			fd.Name = parent + "." + fd.Name
		}
		if fd.Type == "" {
			fd.Type = ft
		}
		on, down := w.fn(fd)
		if !on {
			return false, nil
		}
		if !down {
			continue
		}
		below, err := w.f.Array(d["Kids"])
		if err != nil {
			return false, err
		}
		if len(below) == 0 {
			continue
		}
		if on, err := w.kids(below, fd.Name, fd.Type, depth+1); err != nil || !on {
			return false, err
		}
	}
	return true, nil
}
