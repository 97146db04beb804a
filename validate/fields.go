package validate

import (
	"bytes"
	"slices"

	"milterd/signature/pdf/cos"
)

// checkForm lets fields that stand in the signed revision be filled and signed,
// and new signature fields come in (ISO 32000-2, table 257: P 2).
func (d *diff) checkForm() error {
	a, err := formDict(d.old)
	if err != nil {
		return err
	}
	b, err := formDict(d.new)
	if err != nil {
		return err
	}
	if catalog, err := d.old.Catalog(); err != nil {
		return err
	} else if r, ok := catalog["AcroForm"].(cos.Ref); ok {
		if err := d.judged(r.Num); err != nil {
			return err
		}
	}
	for _, k := range differing(a, b) {
		switch k {
		case "Fields":
		case "SigFlags":
			was, _ := d.old.Int(a[k])
			if now, _ := d.new.Int(b[k]); was&^now != 0 {
				d.say(false, "the form says that there are no signatures")
			}
		case "NeedAppearances":
			if now, _ := d.new.Resolve(b[k]); now == true {
				d.say(false, "the form asks readers to draw its fields anew")
			}
		default:
			d.say(false, "the form's %s was changed", k)
		}
	}
	if r, ok := a["Fields"].(cos.Ref); ok && sameObject(a["Fields"], b["Fields"]) {
		if err := d.judgedList(r.Num, "Fields", "Annots"); err != nil {
			return err
		}
	}
	return d.checkFields()
}

func formDict(f *cos.File) (cos.Dict, error) {
	catalog, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	return f.Dict(catalog["AcroForm"])
}

func (d *diff) checkFields() error {
	olds, err := formFields(d.old)
	if err != nil {
		return err
	}
	news, err := formFields(d.new)
	if err != nil {
		return err
	}
	type key struct {
		ref  cos.Ref
		name string
	}
	was, is := map[key]bool{}, map[key]formField{}
	for _, f := range olds {
		was[key{f.ref, f.name}] = true
	}
	for _, f := range news {
		is[key{f.ref, f.name}] = f
		if !was[key{f.ref, f.name}] {
			d.checkNewField(f)
		}
	}
	for _, f := range olds {
		now, ok := is[key{f.ref, f.name}]
		if !ok {
			d.say(false, "field %q was removed", f.name)
			continue
		}
		if err := d.checkField(f, now); err != nil {
			return err
		}
	}
	return nil
}

// checkNewField takes new signature fields; what the eye can see of them is
// named, and forbidden in certified documents.
func (d *diff) checkNewField(f formField) {
	if f.ft != "Sig" || !f.leaf || !d.added[f.ref.Num] {
		d.say(false, "field %q was added", f.name)
		return
	}
	d.widgets[f.ref] = true
	if d.visible(f.dict) {
		if f.dict["V"] == nil && d.shows(f.dict) {
			d.say(false, "field %q was added, which shows something and holds no signature", f.name)
		}
		d.say(!d.policy.certified, "a visible signature field %q was added", f.name)
	}
	if f.dict["V"] != nil {
		d.saySigned(f)
	}
}

// shows reports whether a widget's appearance is more than an empty stream, which
// some programs give to fields that are still to be signed.
func (d *diff) shows(w cos.Dict) bool {
	ap, err := d.new.Dict(w["AP"])
	if err != nil {
		return true
	}
	o, err := d.new.Resolve(ap["N"])
	s, ok := o.(*cos.Stream)
	return err != nil || !ok || len(bytes.TrimSpace(s.Raw)) > 0
}

// visible reports whether a widget can show something.
func (d *diff) visible(w cos.Dict) bool {
	rect, _ := d.new.Array(w["Rect"])
	var v [4]float64
	for i := range min(len(rect), 4) {
		o, _ := d.new.Resolve(rect[i])
		v[i], _ = cos.Number(o)
	}
	flags, _ := d.new.Int(w["F"])
	return w["AP"] != nil && v[0] != v[2] && v[1] != v[3] && flags&hidden == 0 && flags&(noView|printed) != noView
}

// Flags of annotations (ISO 32000-2, table 167).
const (
	hidden         = 2
	printed        = 4
	noView         = 32 // on the screen; it prints if printed is set
	readOnly       = 64
	locked         = 128
	lockedContents = 512
)

// saySigned judges a signature that came later, by what DocMDP grants: with P 1
// document timestamps only. It reports whether the field may look anew.
func (d *diff) saySigned(f formField) (look bool) {
	may := d.policy.p > 1 && !d.policy.lock(f.name)
	sig, err := d.new.Dict(f.dict["V"])
	if err == nil && d.new.Name(sig["SubFilter"]) == "ETSI.RFC3161" {
		d.say(true, "document timestamp in field %q", f.name)
		return may
	}
	d.say(may, "field %q was signed", f.name)
	return true
}

// checkField judges what happened to one field or widget.
func (d *diff) checkField(old, now formField) error {
	if !d.changed[old.ref.Num] && old.ref.Num != 0 {
		d.checkValue(old)
		return nil
	}
	if err := d.judged(old.ref.Num); err != nil {
		return err
	}
	keys := differing(old.dict, now.dict)
	if slices.Contains(keys, "V") {
		switch {
		case old.ft != "Sig":
			d.fill(old)
		case old.dict["V"] == nil:
			d.filled[old.name] = d.saySigned(now)
		default:
			d.say(false, "the signature in field %q was removed or replaced", old.name)
		}
	}
	for _, k := range keys {
		switch k {
		case "V":
		case "AP", "AS", "DA", "M", "MK":
			if !d.filled[old.name] {
				d.say(false, "field %q: how it looks was changed", old.name)
			}
		case "F", "Ff":
			was, _ := d.old.Int(old.dict[k])
			is, _ := d.new.Int(now.dict[k])
			harmless := printed | readOnly | locked | lockedContents
			if is&noView != 0 {
				harmless &^= printed
			}
			if k == "Ff" {
				harmless = 1 // ReadOnly
			}
			if (was^is)&^harmless != 0 {
				d.say(false, "field %q: its flags were changed", old.name)
			}
		default:
			d.say(false, "field %q: %s was changed", old.name, k)
		}
	}
	d.checkValue(old)
	return nil
}

// checkValue accepts values and appearances that are objects of their own and
// were rewritten in place, if only this field uses them.
func (d *diff) checkValue(f formField) {
	if f.ft == "Sig" {
		return
	}
	if d.explain(f.dict["V"], f.ref.Num) {
		d.fill(f)
	}
	if d.filled[f.name] {
		references(f.dict["AP"], func(n int) { d.explain(cos.Ref{Num: n}, f.ref.Num) })
	}
}

func (d *diff) fill(f formField) {
	const pushbutton = 1 << 16 // ISO 32000-2, table 229
	if f.ft == "Btn" && f.flags&pushbutton != 0 {
		d.say(false, "field %q, a button that holds no value, was changed", f.name)
		return
	}
	d.filled[f.name] = true
	d.say(d.policy.p > 1 && !d.policy.lock(f.name), "field %q was filled", f.name)
}
