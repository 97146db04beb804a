package validate

import (
	"fmt"
	"slices"
	"strings"

	"milterd/signature/pdf/cos"
)

// policy is what a signature and the certification under it grant later
// revisions.
type policy struct {
	p         int  // the strictest DocMDP: 1 nothing, 2 forms and signatures, 3 annotations too
	certified bool // there is one
	locks     []fieldLock
}

// fieldLock says which fields may not change (ISO 32000-2, tables 236 and 259).
type fieldLock struct {
	action cos.Name
	fields []string
}

// lock reports whether a field is locked.
func (p policy) lock(field string) bool {
	return slices.ContainsFunc(p.locks, func(l fieldLock) bool {
		named := slices.ContainsFunc(l.fields, func(n string) bool { return n == field || strings.HasPrefix(field, n+".") })
		switch l.action {
		case "All":
			return true
		case "Include":
			return named
		case "Exclude":
			return !named
		}
		return false
	})
}

// readPolicy reads DocMDP and FieldMDP as the signed revision has them
// (ISO 32000-2, 12.8.2.2 and 12.8.2.4).
func readPolicy(s *signature) (policy, error) {
	f := s.own
	pol := policy{p: 2}
	var granted []int
	catalog, err := f.Catalog()
	if err != nil {
		return pol, err
	}
	perms, err := f.Dict(catalog["Perms"])
	if err != nil {
		return pol, err
	}
	certification, err := f.Dict(perms["DocMDP"])
	if err != nil {
		return pol, err
	}
	pol.certified = certification != nil
	fieldMDP, _, err := transform(f, s.dict, "FieldMDP")
	if err != nil {
		return pol, err
	}
	// The lock of its field can give any signature a permission (PDF 2.0, table
	// 236); some programs write it into the FieldMDP that carries out the lock,
	// and some sign and write no FieldMDP at all.
	field, err := f.Dict(s.field)
	if err != nil {
		return pol, err
	}
	lock, err := f.Dict(field["Lock"])
	if err != nil {
		return pol, err
	}
	params := []cos.Dict{fieldMDP, lock}
	for _, sig := range []cos.Dict{certification, s.dict} {
		d, found, err := transform(f, sig, "DocMDP")
		if err != nil {
			return pol, err
		}
		pol.certified = pol.certified || found
		params = append(params, d)
	}
	for _, d := range params {
		if p, ok := f.Int(d["P"]); ok && p >= 1 && p <= 3 {
			granted, pol.certified = append(granted, p), true
		}
	}
	if len(granted) > 0 {
		pol.p = slices.Min(granted)
	}
	for _, d := range []cos.Dict{fieldMDP, lock} {
		list, err := f.Array(d["Fields"])
		if err != nil {
			return pol, err
		}
		l := fieldLock{action: f.Name(d["Action"])}
		for _, o := range list {
			l.fields = append(l.fields, f.String(o).UTF8())
		}
		pol.locks = append(pol.locks, l)
	}
	return pol, nil
}

// transform gives the parameters of a signature reference, if there is one.
func transform(f *cos.File, sig cos.Dict, method cos.Name) (params cos.Dict, found bool, err error) {
	refs, err := f.Array(sig["Reference"])
	if err != nil {
		return nil, false, err
	}
	for _, r := range refs {
		d, err := f.Dict(r)
		if err != nil {
			return nil, false, err
		}
		if f.Name(d["TransformMethod"]) == method {
			params, err := f.Dict(d["TransformParams"])
			return params, true, err
		}
	}
	return nil, false, nil
}

// checkCatalog lets the catalog gain a security store and a form, and its
// metadata be kept up to date.
func (d *diff) checkCatalog() error {
	root := d.old.Root().Num
	a, err := d.old.Catalog()
	if err != nil {
		return err
	}
	b, err := d.new.Catalog()
	if err != nil {
		return err
	}
	if err := d.judged(root); err != nil {
		return err
	}
	for _, k := range differing(a, b) {
		switch k {
		case "AcroForm", "DSS": // looked at below
		case "Extensions", "Version":
		case "Metadata":
			d.say(true, "metadata was updated")
		default:
			d.say(false, "the catalog's %s was changed", k)
		}
	}
	if d.explain(a["Metadata"], root) {
		d.say(true, "metadata was updated")
	}
	return nil
}

// checkStore lets the document security store grow.
func (d *diff) checkStore() error {
	root := d.old.Root().Num
	a, err := d.old.Catalog()
	if err != nil {
		return err
	}
	b, err := d.new.Catalog()
	if err != nil {
		return err
	}
	if b["DSS"] != nil && !sameObject(a["DSS"], b["DSS"]) {
		d.say(true, "revocation data was added")
	}
	kept := map[cos.Object]bool{}
	eachStored(d.new, func(_ cos.Name, o cos.Object) { kept[o] = true })
	eachStored(d.old, func(_ cos.Name, o cos.Object) {
		if !kept[o] {
			d.say(false, "revocation data was removed")
		}
	})
	// Stores hold the same few containers at every level: dictionaries and arrays.
	var visit func(o cos.Object, parent, depth int) error
	visit = func(o cos.Object, parent, depth int) error {
		if r, ok := o.(cos.Ref); ok {
			v, err := d.old.Get(r)
			if err != nil {
				return err
			}
			switch v.(type) {
			case cos.Dict, cos.Array:
			default:
				return nil
			}
			if d.explain(r, parent) {
				d.say(true, "revocation data was added")
			}
			o, parent = v, r.Num
		}
		if depth == 4 {
			return nil
		}
		switch o := o.(type) {
		case cos.Dict:
			for _, v := range o {
				if err := visit(v, parent, depth+1); err != nil {
					return err
				}
			}
		case cos.Array:
			for _, v := range o {
				if err := visit(v, parent, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return visit(a["DSS"], root, 0)
}

// checkInfo lets the document information dictionary be kept up to date.
func (d *diff) checkInfo() error {
	info := d.old.Trailer()["Info"]
	v, err := d.old.Resolve(info)
	if err != nil {
		return err
	}
	if _, ok := v.(cos.Dict); ok && d.explain(info) {
		d.say(true, "document information was updated")
	}
	return nil
}

// checkPages lets a page gain the widgets of new signature fields, and nothing
// else (with P 3, other annotations too).
func (d *diff) checkPages() error {
	catalog, err := d.old.Catalog()
	if err != nil {
		return err
	}
	number, nodes := 0, 0
	seen := map[cos.Ref]bool{} // trees that meet again would be endless work
	var visit func(o cos.Object, depth int) error
	visit = func(o cos.Object, depth int) error {
		if nodes++; nodes > cos.LimitElements || depth > maxDepth {
			return fmt.Errorf("page tree: %w", cos.ErrLimit)
		}
		ref, _ := o.(cos.Ref)
		if ref.Num != 0 && seen[ref] {
			return nil
		}
		seen[ref] = true
		dict, err := d.old.Dict(o)
		if err != nil {
			return err
		}
		kids, err := d.old.Array(dict["Kids"])
		if err != nil {
			return err
		}
		if dict["Kids"] == nil {
			number++
			return d.checkPage(ref, dict, number)
		}
		for _, k := range kids {
			if err := visit(k, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(catalog["Pages"], 0)
}

func (d *diff) checkPage(ref cos.Ref, old cos.Dict, number int) error {
	annots, _ := old["Annots"].(cos.Ref)
	if !d.changed[ref.Num] && !d.changed[annots.Num] {
		return nil
	}
	now, err := d.new.Dict(ref)
	if err != nil {
		return err
	}
	if now == nil {
		return nil // gone: checkRest says so
	}
	if err := d.judged(ref.Num); err != nil {
		return err
	}
	for _, k := range differing(old, now) {
		if k != "Annots" {
			d.say(false, "page %d: %s was changed", number, k)
		}
	}
	a, err := d.old.Array(old["Annots"])
	if err != nil {
		return err
	}
	b, err := d.new.Array(now["Annots"])
	if err != nil {
		return err
	}
	if annots.Num != 0 && sameObject(old["Annots"], now["Annots"]) {
		if err := d.judgedList(annots.Num, "Annots", "Fields"); err != nil {
			return err
		}
	}
	extra, kept := additions(a, b)
	if !kept {
		d.say(false, "page %d: an annotation was removed", number)
	}
	for _, o := range extra {
		r, _ := o.(cos.Ref)
		switch {
		case d.widgets[r]:
		case d.policy.p == 3 && d.added[r.Num] && !d.field(r):
			d.say(true, "page %d: an annotation was added", number)
		default:
			d.say(false, "page %d: an annotation was added", number)
		}
	}
	return nil
}

// field reports whether an annotation is one of a form, which only checkForm can
// let in.
func (d *diff) field(r cos.Ref) bool {
	a, err := d.new.Dict(r)
	return err != nil || d.new.Name(a["Subtype"]) == "Widget" || a["FT"] != nil
}

// additions gives what b has beyond a; kept is false if b lacks something of a
// or has it in another order.
func additions(a, b cos.Array) (extra cos.Array, kept bool) {
	i := 0
	for _, o := range b {
		if i < len(a) && sameObject(a[i], o) {
			i++
			continue
		}
		extra = append(extra, o)
	}
	return extra, i == len(a)
}
