package pades

import (
	"errors"
	"fmt"
	"strings"

	"milterd/signature/pdf/cos"
)

// Limits of what is read of a form.
const (
	maxFields = 20_000
	maxDepth  = 32
)

// Errors about what a document allows.
var (
	// ErrForbidden: an earlier signature forbids another one.
	ErrForbidden = errors.New("an earlier signature forbids any further one")
	// ErrField: the field cannot take a signature.
	ErrField = errors.New("no field for this signature")
)

// form is what a document's AcroForm says, as far as a signature needs it.
type form struct {
	f       *cos.File
	catalog cos.Dict
	dict    cos.Dict // empty if the document has no form
	fields  cos.Array
	stamp   bool // for a document timestamp, which every signature allows
}

// field is a signature field.
type field struct {
	name   string
	ref    cos.Ref
	dict   cos.Dict
	widget cos.Ref // the field itself, or its only kid
	filled bool
}

func readForm(f *cos.File) (*form, error) {
	catalog, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	fm := &form{f: f, catalog: catalog}
	if fm.dict, err = f.Dict(catalog["AcroForm"]); err != nil {
		return nil, fmt.Errorf("form: %w", err)
	}
	if fm.fields, err = f.Array(fm.dict["Fields"]); err != nil {
		return nil, fmt.Errorf("form: %w", err)
	}
	return fm, nil
}

// checkPermission refuses where a certification allows no change at all
// (ISO 32000-2, 12.8.2.2: P is 1; without P it is 2).
func (fm *form) checkPermission() error {
	perms, err := fm.f.Dict(fm.catalog["Perms"])
	if err != nil || perms["DocMDP"] == nil {
		return err
	}
	sig, err := fm.f.Dict(perms["DocMDP"])
	if err != nil {
		return err
	}
	refs, err := fm.f.Array(sig["Reference"])
	if err != nil {
		return err
	}
	for _, r := range refs {
		d, err := fm.f.Dict(r)
		if err != nil {
			return err
		}
		params, err := fm.f.Dict(d["TransformParams"])
		if err != nil {
			return err
		}
		if p, ok := fm.f.Int(params["P"]); ok && p == 1 && fm.f.Name(d["TransformMethod"]) == "DocMDP" {
			return ErrForbidden
		}
	}
	return nil
}

// locks reports whether the Lock of a signed field (ISO 32000-2, table 236)
// forbids to change another field.
func (fm *form) locks(signed field, name string) (bool, error) {
	lock, err := fm.f.Dict(signed.dict["Lock"])
	if err != nil || lock == nil {
		return false, err
	}
	if p, ok := fm.f.Int(lock["P"]); ok && p == 1 {
		return true, nil
	}
	list, err := fm.f.Array(lock["Fields"])
	if err != nil {
		return false, err
	}
	named := false
	for _, o := range list {
		n := fm.f.String(o).UTF8()
		named = named || n == name || strings.HasPrefix(name, n+".")
	}
	switch fm.f.Name(lock["Action"]) {
	case "All":
		return true, nil
	case "Include":
		return named, nil
	case "Exclude":
		return !named, nil
	}
	return false, nil
}

// walk calls fn for each terminal field until it returns false.
func (fm *form) walk(fn func(field, cos.Name) bool) error {
	left, going := maxFields, true
	var visit func(o cos.Object, prefix string, ft cos.Name, depth int) error
	visit = func(o cos.Object, prefix string, ft cos.Name, depth int) error {
		if left--; left < 0 || depth > maxDepth {
			return fmt.Errorf("form: %w", cos.ErrLimit)
		}
		ref, ok := o.(cos.Ref)
		d, err := fm.f.Dict(o)
		if err != nil || !ok || d == nil {
			return err // a field that is no indirect object cannot be filled
		}
		name := prefix
		if t, ok := d["T"]; ok {
			name = strings.TrimPrefix(prefix+"."+fm.f.String(t).UTF8(), ".")
		}
		if t := fm.f.Name(d["FT"]); t != "" {
			ft = t
		}
		kids, err := fm.f.Array(d["Kids"])
		if err != nil {
			return err
		}
		fl := field{name: name, ref: ref, dict: d, widget: ref, filled: d["V"] != nil}
		if len(kids) > 0 {
			first, err := fm.f.Dict(kids[0])
			if err != nil {
				return err
			}
			if _, named := first["T"]; named {
				for _, k := range kids {
					if err := visit(k, name, ft, depth+1); err != nil || !going {
						return err
					}
				}
				return nil
			}
			if fl.widget, ok = kids[0].(cos.Ref); !ok {
				return nil
			}
		}
		going = fn(fl, ft)
		return nil
	}
	for _, o := range fm.fields {
		if err := visit(o, "", "", 0); err != nil || !going {
			return err
		}
	}
	return nil
}

// find gives the empty signature field of a full name; ok is false if there is
// no field of that name. It refuses where a signed field locks this one.
func (fm *form) find(name string) (fl field, ok bool, err error) {
	var bad error
	err = fm.walk(func(f field, ft cos.Name) bool {
		if f.filled && ft == "Sig" && f.name != name {
			locked, err := fm.locks(f, name)
			if locked {
				err = fmt.Errorf("%w: the signature in %q locks %q", ErrForbidden, f.name, name)
			}
			bad = errors.Join(bad, err)
		}
		if f.name != name || ok {
			return bad == nil
		}
		switch {
		case ft != "Sig":
			bad = fmt.Errorf("%w: %q is no signature field", ErrField, name)
		case f.filled:
			bad = fmt.Errorf("%w: %q is signed already", ErrField, name)
		}
		fl, ok = f, true
		return bad == nil
	})
	return fl, ok, errors.Join(err, bad)
}

// unused gives a name that no field has: the stem with a number.
func (fm *form) unused(stem string) (string, error) {
	taken := map[string]bool{}
	if err := fm.walk(func(f field, _ cos.Name) bool { taken[f.name] = true; return true }); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		if s := fmt.Sprint(stem, n); !taken[s] {
			return s, nil
		}
	}
}

// sigFlags are SignaturesExist and AppendOnly.
const sigFlags = 3

// place puts a signature into a field: the existing empty one of that name, or
// a new one without appearance on the first page. draw may be nil.
func (fm *form) place(u *cos.Update, name, stem string, value cos.Ref, draw Appearance) (string, error) {
	var fl field
	var exists bool
	var err error
	if name == "" {
		if name, err = fm.unused(stem); err != nil {
			return "", err
		}
	}
	if !fm.stamp {
		if fl, exists, err = fm.find(name); err != nil {
			return "", err
		}
	}
	if exists {
		return name, fm.fill(u, fl, value, draw)
	}
	if draw != nil {
		return "", fmt.Errorf("%w: no field %q to draw into", ErrField, name)
	}
	return name, fm.addInvisible(u, name, value)
}

func (fm *form) fill(u *cos.Update, fl field, value cos.Ref, draw Appearance) error {
	d := fl.dict.Clone()
	d["V"] = value
	u.Set(fl.ref, d)
	if draw != nil {
		w, err := u.Dict(fl.widget)
		if err != nil {
			return err
		}
		width, height, err := fm.size(w)
		if err != nil {
			return fmt.Errorf("field %q: %w", fl.name, err)
		}
		look, err := draw(u, width, height)
		if err != nil {
			return fmt.Errorf("field %q: drawing its appearance: %w", fl.name, err)
		}
		w["AP"] = cos.Dict{"N": look}
		u.Set(fl.widget, w)
	}
	return fm.setFlags(u, nil)
}

// size gives width and height of a widget in points.
func (fm *form) size(w cos.Dict) (width, height float64, err error) {
	rect, err := fm.f.Array(w["Rect"])
	if err != nil || len(rect) != 4 {
		return 0, 0, fmt.Errorf("%w: a widget without Rect", cos.ErrBroken)
	}
	var v [4]float64
	for i, o := range rect {
		if o, err = fm.f.Resolve(o); err != nil {
			return 0, 0, err
		}
		var ok bool
		if v[i], ok = cos.Number(o); !ok {
			return 0, 0, fmt.Errorf("%w: a widget without Rect", cos.ErrBroken)
		}
	}
	return max(v[0], v[2]) - min(v[0], v[2]), max(v[1], v[3]) - min(v[1], v[3]), nil
}

// addInvisible adds a field with a widget of no size to the first page, as
// ISO 32000-2, 12.7.5.5 has it for signatures that are not to be seen.
func (fm *form) addInvisible(u *cos.Update, name string, value cos.Ref) error {
	page, dict, err := fm.firstPage()
	if err != nil {
		return err
	}
	widget := u.Add(cos.Dict{
		"Type": cos.Name("Annot"), "Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"),
		"T": cos.Text(name), "V": value, "P": page, "F": 132, "Rect": cos.Array{0, 0, 0, 0},
	})
	annots, err := fm.f.Array(dict["Annots"])
	if err != nil {
		return err
	}
	annots = append(annots[:len(annots):len(annots)], widget)
	if ref, ok := dict["Annots"].(cos.Ref); ok {
		u.Set(ref, annots)
	} else {
		dict = dict.Clone()
		dict["Annots"] = annots
		u.Set(page, dict)
	}
	return fm.setFlags(u, &widget)
}

// firstPage follows the first kid of each level of the page tree.
func (fm *form) firstPage() (cos.Ref, cos.Dict, error) {
	ref, _ := fm.catalog["Pages"].(cos.Ref)
	for range maxDepth {
		d, err := fm.f.Dict(ref)
		if err != nil {
			return ref, nil, fmt.Errorf("first page: %w", err)
		}
		if fm.f.Name(d["Type"]) == "Page" {
			return ref, d, nil
		}
		kids, err := fm.f.Array(d["Kids"])
		if err != nil || len(kids) == 0 {
			return ref, nil, fmt.Errorf("first page: %w: no kids", cos.ErrBroken)
		}
		for _, k := range kids { // a node of the tree can be empty
			r, ok := k.(cos.Ref)
			if !ok {
				return ref, nil, fmt.Errorf("first page: %w: a kid that is no reference", cos.ErrBroken)
			}
			kid, err := fm.f.Dict(r)
			if err != nil {
				return ref, nil, fmt.Errorf("first page: %w", err)
			}
			ref = r
			if n, ok := fm.f.Int(kid["Count"]); !ok || n > 0 {
				break
			}
		}
	}
	return ref, nil, fmt.Errorf("first page: %w", cos.ErrLimit)
}

// setFlags writes SigFlags, and the list of fields with a new one.
func (fm *form) setFlags(u *cos.Update, added *cos.Ref) error {
	flags, _ := fm.f.Int(fm.dict["SigFlags"])
	if flags&sigFlags == sigFlags && added == nil {
		return nil
	}
	list, indirect := fm.dict["Fields"].(cos.Ref)
	if added != nil {
		fields := append(fm.fields[:len(fm.fields):len(fm.fields)], *added)
		if indirect {
			u.Set(list, fields)
			if flags&sigFlags == sigFlags {
				return nil
			}
		} else {
			fm.dict = fm.dict.Clone()
			fm.dict["Fields"] = fields
		}
	}
	d := fm.dict.Clone()
	d["SigFlags"] = flags | sigFlags
	if ref, ok := fm.catalog["AcroForm"].(cos.Ref); ok {
		u.Set(ref, d)
		return nil
	}
	c, err := u.Dict(fm.f.Root())
	if err != nil {
		return err
	}
	c["AcroForm"] = d
	u.Set(fm.f.Root(), c)
	return nil
}
