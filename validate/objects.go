package validate

import (
	"bytes"
	"fmt"
	"slices"

	"milterd/signature/pdf/cos"
)

// sameObject compares two objects as they stand, without following references.
func sameObject(a, b cos.Object) bool {
	switch a := a.(type) {
	case cos.Dict:
		b, ok := b.(cos.Dict)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !sameObject(v, w) {
				return false
			}
		}
		return true
	case cos.Array:
		b, ok := b.(cos.Array)
		return ok && slices.EqualFunc(a, b, sameObject)
	case *cos.Stream:
		b, ok := b.(*cos.Stream)
		return ok && sameObject(a.Dict, b.Dict) && bytes.Equal(a.Raw, b.Raw)
	}
	switch b.(type) {
	case cos.Dict, cos.Array, *cos.Stream:
		return false // not comparable with ==
	}
	return a == b
}

// references calls fn for each reference within an object.
func references(o cos.Object, fn func(int)) {
	switch o := o.(type) {
	case cos.Ref:
		fn(o.Num)
	case cos.Dict:
		for _, v := range o {
			references(v, fn)
		}
	case cos.Array:
		for _, v := range o {
			references(v, fn)
		}
	case *cos.Stream:
		references(o.Dict, fn)
	}
}

// index says of the final revision who refers to whom, and which objects give
// names to others: what is free to change in a form, say, must not be a page's
// resources too (one object in two roles is how a shadow attack hides).
type index struct {
	refs   map[int][]int // who refers to an object
	naming map[int]bool
}

// index makes it once for all signatures.
func (v *validation) index() (*index, error) {
	if v.ix != nil {
		return v.ix, nil
	}
	numbers, err := v.final.Numbers()
	if err != nil {
		return nil, err
	}
	x := &index{refs: map[int][]int{}, naming: map[int]bool{}}
	later := map[int]cos.Object{}
	for _, n := range numbers {
		o, err := v.final.Numbered(n)
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", n, err)
		}
		if bookkeeping(o) {
			later[n] = o
			continue
		}
		x.add(n, o)
	}
	// A stream that only says that it holds the file together is content like
	// others if something refers to it.
	for again := true; again; {
		again = false
		for n, o := range later {
			if len(x.refs[n]) > 0 {
				x.add(n, o)
				delete(later, n)
				again = true
			}
		}
	}
	v.ix = x
	return x, nil
}

func (x *index) add(n int, o cos.Object) {
	references(o, func(to int) {
		if have := x.refs[to]; len(have) == 0 || have[len(have)-1] != n {
			x.refs[to] = append(have, n)
		}
	})
	if r, ok := o.(cos.Ref); ok { // another name for it, for any use
		x.naming[r.Num] = true
	}
	x.named(o)
}

// named finds the dictionaries whose keys are names that content chooses:
// resources, glyphs, and the states of an appearance.
func (x *index) named(o cos.Object) {
	switch o := o.(type) {
	case cos.Dict:
		for k, v := range o {
			switch k {
			case "Resources", "DR", "Font", "XObject", "Pattern", "Shading", "ColorSpace", "ExtGState", "Properties", "CharProcs", "Colorants", "N", "R", "D":
				if r, ok := v.(cos.Ref); ok {
					x.naming[r.Num] = true
				}
			}
			x.named(v)
		}
	case cos.Array:
		for _, v := range o {
			x.named(v)
		}
	case *cos.Stream:
		x.named(o.Dict)
	}
}

// usedAs reports whether an object refers to a number under the given keys only.
func usedAs(o cos.Object, num int, keys []cos.Name, key cos.Name) bool {
	switch o := o.(type) {
	case cos.Ref:
		return o.Num != num || slices.Contains(keys, key)
	case cos.Dict:
		for k, v := range o {
			if !usedAs(v, num, keys, k) {
				return false
			}
		}
	case cos.Array:
		for _, v := range o {
			if !usedAs(v, num, keys, "") {
				return false
			}
		}
	case *cos.Stream:
		return usedAs(o.Dict, num, keys, "")
	}
	return true
}
