package cos

import (
	"bytes"
	"cmp"
	"slices"
)

// extent is where an object stands in the file.
type extent struct{ from, to int }

// Strays counts the objects that stand in the file though no cross-reference
// section, of whichever revision, says so. An update can bring them in without
// adding a byte of content.
func (f *File) Strays() (int, error) {
	if _, err := f.Sections(); err != nil {
		return 0, err
	}
	known := map[int]bool{}
	for _, x := range f.extents {
		known[x.from] = true
	}
	for _, s := range f.sections {
		for _, sp := range s.spans {
			for n := sp.first; n < sp.first+sp.count; n++ {
				e, err := s.entry(n)
				if err != nil {
					return 0, err
				}
				if e.kind == inUse && !known[e.offset] {
					known[e.offset] = true
					f.indirect(e.offset) // of an old revision: if it is broken, it is counted
				}
			}
		}
	}
	slices.SortFunc(f.extents, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	count, at := 0, 0
	for _, x := range f.extents {
		if x.from > at {
			count += headers(f.data[at:x.from])
		}
		at = max(at, x.to)
	}
	return count + headers(f.data[at:]), nil
}

// headers counts what looks like the beginning of an object: 12 0 obj.
func headers(b []byte) (count int) {
	for {
		i := bytes.Index(b, []byte("obj"))
		if i < 0 {
			return count
		}
		before := bytes.TrimRight(b[:i], "\x00\t\n\f\r ")
		gen := bytes.TrimRight(before, "0123456789")
		num := bytes.TrimRight(gen, "\x00\t\n\f\r ")
		if len(gen) < len(before) && len(num) < len(gen) && len(num) > 0 && num[len(num)-1] >= '0' && num[len(num)-1] <= '9' {
			count++
		}
		b = b[i+3:]
	}
}
