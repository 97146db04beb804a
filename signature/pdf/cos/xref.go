package cos

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// kind of a cross-reference entry.
type kind byte

const (
	absent kind = iota
	free
	inUse
	packed // in an object stream
)

// entry says where an object is: offset and generation, or for packed objects
// the number of the object stream and the index in it.
type entry struct {
	kind   kind
	offset int
	gen    int
}

// span is a run of consecutive object numbers in a section.
type span struct{ first, count, at int }

// section is one cross-reference section. Its entries are read when asked for.
type section struct {
	at      int
	trailer Dict
	spans   []span // by object number, without overlaps
	rows    []byte // the file (table) or the decoded stream
	width   int    // of a row
	w       [3]int // of the fields; a table has none
	stream  bool
}

// more reads the next section of the chain; false when there is none.
func (f *File) more() (bool, error) {
	if len(f.next) == 0 {
		return false, nil
	}
	at := f.next[0]
	f.next = f.next[1:]
	if f.visited[at] {
		return false, fmt.Errorf("%w: cross-reference sections in a circle", ErrBroken)
	}
	if len(f.sections) >= LimitSections {
		return false, fmt.Errorf("more than %d cross-reference sections: %w", LimitSections, ErrLimit)
	}
	f.visited[at] = true
	s, err := f.section(at)
	if err != nil {
		return false, fmt.Errorf("cross-reference section at %d: %w", at, err)
	}
	f.sections = append(f.sections, s)
	if v, ok := s.trailer["XRefStm"]; ok && !s.stream {
		n, ok := f.place(v)
		if !ok {
			return false, fmt.Errorf("%w: bad XRefStm", ErrBroken)
		}
		// That stream has a Prev of its own, which the table's replaces.
		f.visited[n] = true
		h, err := f.section(n)
		if err == nil {
			err = s.agrees(h)
		}
		if err != nil {
			return false, fmt.Errorf("cross-reference stream at %d: %w", n, err)
		}
		f.sections = append(f.sections, h)
	}
	if v, ok := s.trailer["Prev"]; ok {
		n, ok := f.place(v)
		if !ok {
			return false, fmt.Errorf("%w: bad Prev", ErrBroken)
		}
		f.next = append(f.next, n)
	}
	return true, nil
}

// place is an offset within the file.
func (f *File) place(o Object) (int, bool) {
	n, ok := o.(int64)
	return int(n), ok && n > 0 && n < int64(len(f.data))
}

// agrees wants that the table of a hybrid section and the stream beside it give
// no object in two places: readers look into them in different order.
func (s *section) agrees(h *section) error {
	if !h.stream {
		return fmt.Errorf("%w: a table where a stream belongs", ErrBroken)
	}
	for _, sp := range h.spans {
		for n := sp.first; n < sp.first+sp.count; n++ {
			a, err := s.entry(n)
			if err != nil || a.kind != inUse {
				continue
			}
			b, err := h.entry(n)
			if err != nil {
				return err
			}
			if a != b {
				return fmt.Errorf("%w: a hybrid section gives object %d twice", ErrBroken, n)
			}
		}
	}
	return nil
}

// sortSpans wants each object at most once in a section: of two entries some
// readers take the first and some the last.
func (s *section) sortSpans() error {
	slices.SortFunc(s.spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(s.spans); i++ {
		if sp, before := s.spans[i], s.spans[i-1]; sp.first < before.first+before.count {
			return fmt.Errorf("%w: object %d stands twice in one section", ErrBroken, sp.first)
		}
	}
	return nil
}

// lookup finds the newest entry of an object. An entry that a hybrid table
// marks as free may be given by the stream beside it (ISO 32000-2, 7.5.8.4).
func (f *File) lookup(num int) (entry, error) {
	for i := 0; ; i++ {
		if i == len(f.sections) {
			ok, err := f.more()
			if err != nil || !ok {
				return entry{}, err
			}
		}
		s := f.sections[i]
		e, err := s.entry(num)
		if err != nil {
			return entry{}, err
		}
		_, hybrid := s.trailer["XRefStm"]
		if e.kind == absent || e.kind == free && hybrid && !s.stream {
			continue
		}
		return e, nil
	}
}

// Sections reads the whole chain and gives the offset of each cross-reference
// section, newest first. It checks that the newest Size covers them all, so
// that objects added by an update replace nothing.
func (f *File) Sections() ([]int, error) {
	for {
		ok, err := f.more()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
	}
	var at []int
	for _, s := range f.sections {
		at = append(at, s.at)
		for _, sp := range s.spans {
			if sp.first+sp.count > f.Size() {
				return nil, fmt.Errorf("%w: Size is %d, but there are objects up to %d", ErrBroken, f.Size(), sp.first+sp.count-1)
			}
		}
	}
	return at, nil
}

// Numbers gives every object number in use, in no order.
func (f *File) Numbers() ([]int, error) {
	if _, err := f.Sections(); err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	var out []int
	for _, s := range f.sections {
		for _, sp := range s.spans {
			for n := sp.first; n < sp.first+sp.count; n++ {
				if seen[n] {
					continue
				}
				e, err := f.lookup(n)
				if err != nil {
					return nil, err
				}
				seen[n] = true
				if e.kind == inUse || e.kind == packed {
					out = append(out, n)
				}
			}
		}
	}
	return out, nil
}

// RefOf gives the current reference of an object number.
func (f *File) RefOf(num int) (Ref, error) {
	e, err := f.lookup(num)
	if err != nil {
		return Ref{}, err
	}
	if e.kind == inUse {
		return Ref{num, e.gen}, nil
	}
	return Ref{num, 0}, nil
}

// Numbered gives the current object of a number; nil for one that is not in use.
func (f *File) Numbered(num int) (Object, error) {
	r, err := f.RefOf(num)
	if err != nil {
		return nil, err
	}
	return f.Get(r)
}

func (f *File) section(at int) (s *section, err error) {
	p := parser{b: f.data, pos: at}
	p.skipSpace()
	if bytes.HasPrefix(f.data[p.pos:], []byte("xref")) {
		p.pos += len("xref")
		s, err = f.table(&p, at)
	} else {
		s, err = f.xrefStream(at)
	}
	if err != nil {
		return nil, err
	}
	return s, s.sortSpans()
}

// table reads the headers of a cross-reference table and its trailer.
func (f *File) table(p *parser, at int) (*section, error) {
	s := &section{at: at, rows: f.data, width: 20}
	for {
		p.skip()
		if p.pos >= len(p.b) || p.b[p.pos] == 't' {
			break
		}
		first, ok1 := p.digits()
		count, ok2 := p.digits()
		if !ok1 || !ok2 || first > LimitNumber || count > LimitNumber+1-first {
			return nil, p.errorf("bad subsection")
		}
		p.skipSpace()
		if count == 0 {
			continue
		}
		width := rowWidth(p.b[p.pos:], count)
		if width == 0 || len(s.spans) > 0 && width != s.width {
			return nil, p.errorf("bad cross-reference entries")
		}
		if count > (len(p.b)-p.pos)/width {
			return nil, p.errorf("a table of %d entries does not fit", count)
		}
		s.width = width
		s.spans = append(s.spans, span{first, count, p.pos})
		if len(s.spans) > LimitElements {
			return nil, fmt.Errorf("cross-reference table: %w", ErrLimit)
		}
		p.pos += count * width
	}
	if !bytes.HasPrefix(p.b[min(p.pos, len(p.b)):], []byte("trailer")) {
		return nil, p.errorf("no trailer after the table")
	}
	p.pos += len("trailer")
	o, err := p.object()
	if err != nil {
		return nil, err
	}
	d, ok := o.(Dict)
	if !ok {
		return nil, p.errorf("the trailer is not a dictionary")
	}
	s.trailer = d
	return s, s.checkTrailer()
}

// rowWidth is 20 as the standard has it, or 19 where a producer wrote a bare
// newline; the last row of a table may lack its second end-of-line byte too.
func rowWidth(b []byte, count int) int {
	if len(b) < 19 || b[10] != ' ' || b[16] != ' ' || b[17] != 'n' && b[17] != 'f' || !isSpace(b[18]) {
		return 0
	}
	if len(b) > 19 && isSpace(b[19]) || count == 1 {
		return 20
	}
	return 19
}

func (s *section) checkTrailer() error {
	n, ok := s.trailer["Size"].(int64)
	if !ok || n < 1 {
		return fmt.Errorf("%w: no Size", ErrBroken)
	}
	if n > LimitNumber+1 {
		return fmt.Errorf("Size %d: %w", n, ErrLimit)
	}
	return nil
}

// entry finds an object number in this section.
func (s *section) entry(num int) (entry, error) {
	i, _ := slices.BinarySearchFunc(s.spans, num, func(sp span, num int) int { return cmp.Compare(sp.first+sp.count, num+1) })
	if i == len(s.spans) || num < s.spans[i].first {
		return entry{}, nil
	}
	row := s.rows[s.spans[i].at+(num-s.spans[i].first)*s.width:]
	if s.stream {
		return s.streamEntry(row)
	}
	return tableEntry(row)
}

func tableEntry(row []byte) (entry, error) {
	if len(row) < 18 {
		return entry{}, fmt.Errorf("%w: a cross-reference entry is cut off", ErrBroken)
	}
	var e entry
	for i, c := range row[:16] {
		switch {
		case i == 10 && c == ' ':
		case i == 10 || c < '0' || c > '9':
			return entry{}, fmt.Errorf("%w: bad cross-reference entry", ErrBroken)
		case i < 10:
			e.offset = e.offset*10 + int(c-'0')
		default:
			e.gen = e.gen*10 + int(c-'0')
		}
	}
	switch row[17] {
	case 'n':
		e.kind = inUse
		if e.offset == 0 {
			e.kind = free // some producers mark unused numbers this way
		}
	case 'f':
		e.kind = free
	default:
		return entry{}, fmt.Errorf("%w: bad cross-reference entry", ErrBroken)
	}
	return e, nil
}
