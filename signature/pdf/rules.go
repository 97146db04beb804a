package pdf

import (
	"fmt"
	"strings"

	"milterd/signature/pdf/cos"
)

// Rules are what the signatures in a document let those do who sign after them
// (ISO 32000-2, 12.8.2.2 and 12.8.2.4). Document timestamps are always allowed.
type Rules struct {
	Fields []*Field // of the form, as Fields gives them

	permission int // the strictest DocMDP: 1 nothing, 2 forms and signatures, 3 annotations too; 0 without one
	locks      []lock
}

// lock is which fields a signed field forbids to change.
type lock struct {
	by         string   // the signed field
	action     cos.Name // All, Include, Exclude
	fields     []string
	permission int // as that of a DocMDP, or 0
}

// ReadRules reads the certification, the FieldMDP transforms of all signatures,
// and the Lock of their fields. Of these two PDF 2.0 lets the P restrict as a
// certification does (table 236).
func ReadRules(f *cos.File) (*Rules, error) {
	r := &Rules{}
	cat, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	perms, err := f.Dict(cat["Perms"])
	if err != nil {
		return nil, err
	}
	// The certification should stand in a field, too; who knows.
	certification, err := f.Dict(perms["DocMDP"])
	if err != nil {
		return nil, err
	}
	if certification != nil {
		p, _, err := transforms(f, certification)
		if err != nil {
			return nil, fmt.Errorf("certification: %w", err)
		}
		if p == 0 {
			p = 2 // as where P is left out
		}
		r.restrict(p)
	}
	if r.Fields, err = Fields(f); err != nil {
		return nil, err
	}
	if err := signedIn(f, r.Fields, func(fd *Field, sig cos.Dict) error { return r.read(f, fd, sig) }); err != nil {
		return nil, err
	}
	return r, nil
}

// read adds what the signature in a field demands.
func (r *Rules) read(f *cos.File, fd *Field, sig cos.Dict) error {
	p, locks, err := transforms(f, sig)
	if err != nil {
		return err
	}
	r.restrict(p)
	d, err := f.Dict(fd.Dict["Lock"])
	if err != nil {
		return err
	}
	if d != nil {
		l, err := readLock(f, d)
		if err != nil {
			return err
		}
		locks = append(locks, l)
	}
	for _, l := range locks {
		r.restrict(l.permission)
		l.by = fd.Name
		r.locks = append(r.locks, l)
	}
	return nil
}

// restrict takes the stricter of two permissions.
func (r *Rules) restrict(p int) {
	if p >= 1 && p <= 3 && (r.permission == 0 || p < r.permission) {
		r.permission = p
	}
}

// transforms reads the references of a signature: the permission of its DocMDP,
// 0 if it has none, and what its FieldMDPs lock.
func transforms(f *cos.File, sig cos.Dict) (permission int, locks []lock, err error) {
	refs, err := f.Array(sig["Reference"])
	if err != nil {
		return 0, nil, err
	}
	for _, o := range refs {
		d, err := f.Dict(o)
		if err != nil {
			return 0, nil, err
		}
		params, err := f.Dict(d["TransformParams"])
		if err != nil {
			return 0, nil, err
		}
		switch f.Name(d["TransformMethod"]) {
		case "DocMDP":
			permission = 2
			if p, ok := f.Int(params["P"]); ok && p >= 1 && p <= 3 {
				permission = p
			}
		case "FieldMDP":
			l, err := readLock(f, params)
			if err != nil {
				return 0, nil, err
			}
			locks = append(locks, l)
		}
	}
	return permission, locks, nil
}

func readLock(f *cos.File, d cos.Dict) (lock, error) {
	l := lock{action: f.Name(d["Action"])}
	l.permission, _ = f.Int(d["P"])
	list, err := f.Array(d["Fields"])
	for _, o := range list {
		l.fields = append(l.fields, f.String(o).UTF8())
	}
	return l, err
}

// Forbid says why nobody may sign in a field, which need not exist yet; "" if
// somebody may.
func (r *Rules) Forbid(field string) string {
	if r.permission == 1 {
		return "the document is certified, and grants no change"
	}
	for _, l := range r.locks {
		if l.locks(field) {
			return fmt.Sprintf("the signature in %q locks %q", l.by, field)
		}
	}
	return ""
}

// Visible reports whether a new signature field may show something. That it may
// in a certified document is not said anywhere: with P 2 signing is allowed, and
// a new visible field is what the attacks on certifications bring in, so
// careful validators take it for one.
func (r *Rules) Visible(field string) bool { return r.permission == 0 && r.Forbid(field) == "" }

// locks reports whether a field may not change any more.
func (l *lock) locks(name string) bool {
	named := false
	for _, n := range l.fields {
		named = named || name == n || strings.HasPrefix(name, n+".")
	}
	switch l.action {
	case "All":
		return true
	case "Include":
		return named
	case "Exclude":
		return !named
	}
	return false
}

// EmptyFields lists the signature fields that may still be signed, in the order
// of the form.
func EmptyFields(f *cos.File, r *Rules) ([]*Field, error) {
	fields, err := Fields(f)
	if err != nil {
		return nil, err
	}
	var out []*Field
	for i := len(fields) - 1; i >= 0; i-- {
		fd := fields[i]
		if fd.Type == "Sig" && fd.Dict["V"] == nil && !hasFields(f, fd) && r.Forbid(fd.Name) == "" {
			out = append(out, fd)
		}
	}
	return out, nil
}
