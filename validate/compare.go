package validate

import (
	"bytes"
	"fmt"
	"slices"

	"milterd/signature/pdf/cos"
)

// diff compares the revision of a signature with the file as it is.
type diff struct {
	v        *validation
	old, new *cos.File
	*index
	changed   map[int]bool // objects of the old revision that are different or gone
	added     map[int]bool // objects that the old revision does not have
	explained map[int]bool
	policy    policy
	filled    map[string]bool  // names of fields that got a value
	widgets   map[cos.Ref]bool // of new signature fields
	out       []Change
	said      map[string]bool
}

func (d *diff) say(allowed bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if !d.said[what] {
		d.said[what] = true
		d.out = append(d.out, Change{What: what, Allowed: allowed})
	}
}

// changes says what the later revisions did to what a signature covers. The
// rule: an object of the signed revision may differ only where a check below
// explains how; new objects are harmless unless signed ones already refer to
// them (a shadow attack leaves such references behind).
func (v *validation) changes(s *signature) []Change {
	if s.end == len(v.data) {
		return nil
	}
	// A file of its own, so that the parsed revision does not outlive this check.
	old, err := cos.Open(v.data[:s.end])
	if err != nil {
		return []Change{{What: fmt.Sprintf("the signed revision cannot be read: %v", err)}}
	}
	d := &diff{
		v: v, old: old, new: v.final, changed: map[int]bool{}, added: map[int]bool{}, explained: map[int]bool{},
		filled: map[string]bool{}, widgets: map[cos.Ref]bool{}, said: map[string]bool{},
	}
	if err := d.run(s); err != nil {
		d.say(false, "what was changed cannot be told: %v", err)
	}
	return d.out
}

func (d *diff) run(s *signature) error {
	var err error
	if d.index, err = d.v.index(); err != nil {
		return err
	}
	if err := d.compare(); err != nil {
		return err
	}
	if d.policy, err = readPolicy(s); err != nil {
		return err
	}
	if err := d.checkTail(s.end); err != nil {
		return err
	}
	if d.old.Root() != d.new.Root() {
		d.say(false, "another catalog takes the place of the signed one")
		return nil
	}
	for _, check := range []func() error{d.checkDangling, d.checkOrphans, d.checkCatalog, d.checkForm, d.checkPages, d.checkStore, d.checkInfo} {
		if err := check(); err != nil {
			return err
		}
	}
	d.checkRest()
	return nil
}

// compare finds what is different and what is new.
func (d *diff) compare() error {
	old, err := d.old.Numbers()
	if err != nil {
		return err
	}
	was := make(map[int]bool, len(old))
	for _, n := range old {
		was[n] = true
		a, err := d.old.Numbered(n)
		if err != nil {
			return fmt.Errorf("object %d: %w", n, err)
		}
		b, err := d.new.Numbered(n)
		if err != nil {
			return fmt.Errorf("object %d: %w", n, err)
		}
		same, err := sameGeneration(d.old, d.new, n)
		if err != nil {
			return fmt.Errorf("object %d: %w", n, err)
		}
		if !(same && sameObject(a, b)) && (!bookkeeping(a) || len(d.refs[n]) > 0) {
			d.changed[n] = true
		}
	}
	now, err := d.new.Numbers()
	for _, n := range now {
		if !was[n] {
			d.added[n] = true
		}
	}
	return err
}

// sameGeneration reports whether references to an object find it as they did.
func sameGeneration(a, b *cos.File, num int) (bool, error) {
	was, err := a.RefOf(num)
	if err != nil {
		return false, err
	}
	is, err := b.RefOf(num)
	return was == is, err
}

// bookkeeping tells the streams that hold the file together; what they hold is
// compared object by object.
func bookkeeping(o cos.Object) bool {
	s, ok := o.(*cos.Stream)
	return ok && (s.Dict.Name("Type") == "XRef" || s.Dict.Name("Type") == "ObjStm")
}

// checkTail wants what follows a signed revision to be a revision with a
// cross-reference section of its own, and nothing after the last end-of-file mark.
func (d *diff) checkTail(end int) error {
	sections, err := d.new.Sections()
	if err != nil {
		return err
	}
	if sections[0] < end {
		d.say(false, "bytes after the signed revision that belong to no revision")
	}
	_, after, _ := bytes.Cut(d.v.data[sections[0]:], []byte("startxref"))
	_, after, ok := bytes.Cut(after, []byte("%%EOF"))
	if !ok || len(bytes.Trim(after, "\r\n \t\x00")) > 0 {
		d.say(false, "bytes after the end of the last revision")
	}
	return nil
}

// checkDangling looks for signed references to objects that came later.
func (d *diff) checkDangling() error {
	for m := range d.added {
		for _, n := range d.refs[m] {
			if !d.added[n] && !d.changed[n] {
				d.say(false, "object %d, to which signed content refers, was added later", m)
			}
		}
	}
	for n := range d.changed {
		o, err := d.old.Numbered(n)
		if err != nil {
			return err
		}
		references(o, func(m int) {
			if d.added[m] {
				d.say(false, "object %d, to which signed content refers, was added later", m)
			}
		})
	}
	return nil
}

// checkOrphans looks for later signatures that no field holds: somebody has
// taken them out of sight.
func (d *diff) checkOrphans() error {
	held := map[int]bool{}
	fields, err := formFields(d.new)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if r, ok := f.dict["V"].(cos.Ref); ok && f.ft == "Sig" {
			held[r.Num] = true
		}
	}
	for n := range d.added {
		o, err := d.new.Numbered(n)
		if err != nil {
			return err
		}
		if sig, ok := o.(cos.Dict); ok && sig["ByteRange"] != nil && sig["Contents"] != nil && !held[n] {
			d.say(false, "signature object %d was taken out of its field", n)
		}
	}
	return nil
}

// explain accepts a changed object whose content is free to change, if nothing
// but the given objects refers to it.
func (d *diff) explain(o cos.Object, by ...int) bool {
	r, ok := o.(cos.Ref)
	if !ok || !d.changed[r.Num] {
		return false
	}
	for _, n := range d.refs[r.Num] {
		if !slices.Contains(by, n) {
			return false
		}
	}
	d.explained[r.Num] = true
	return true
}

// judged accepts a changed dictionary that was compared key by key: it must be
// one, before and after, and nothing but that.
func (d *diff) judged(num int) error {
	was, err := d.old.Numbered(num)
	if err != nil {
		return err
	}
	is, err := d.new.Numbered(num)
	if err != nil {
		return err
	}
	_, a := was.(cos.Dict)
	_, b := is.(cos.Dict)
	if a && b && !d.naming[num] {
		d.explained[num] = true
	}
	return nil
}

// judgedList is the same for an array whose elements were compared, and that
// has the given use only.
func (d *diff) judgedList(num int, use ...cos.Name) error {
	for _, n := range d.refs[num] {
		o, err := d.new.Numbered(n)
		if err != nil {
			return err
		}
		if !usedAs(o, num, use, "") {
			return nil
		}
	}
	d.explained[num] = true
	return nil
}

// checkRest flags every changed object that nothing has explained.
func (d *diff) checkRest() {
	var rest []int
	for n := range d.changed {
		if !d.explained[n] {
			rest = append(rest, n)
		}
	}
	slices.Sort(rest)
	for i, n := range rest {
		if i == 20 {
			d.say(false, "%d more objects were changed", len(rest)-i)
			break
		}
		d.say(false, "%s was changed", d.describe(n))
	}
}

// describe names an object for people, by what it was when it was signed.
func (d *diff) describe(n int) string {
	o, err := d.old.Numbered(n)
	if err != nil {
		return fmt.Sprintf("object %d", n)
	}
	dict, _ := o.(cos.Dict)
	kind := "value"
	if s, ok := o.(*cos.Stream); ok {
		dict, kind = s.Dict, "stream"
	}
	for _, k := range []cos.Name{"Type", "Subtype"} {
		if t := dict.Name(k); t != "" {
			kind = string(t)
		}
	}
	return fmt.Sprintf("object %d (%s)", n, kind)
}

// keys gives the keys whose values differ, in order.
func differing(a, b cos.Dict) []cos.Name {
	var out []cos.Name
	for k, v := range a {
		if w, ok := b[k]; !ok || !sameObject(v, w) {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
