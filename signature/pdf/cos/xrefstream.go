package cos

import (
	"fmt"
)

// xrefStream reads a cross-reference stream (ISO 32000-2, 7.5.8).
func (f *File) xrefStream(at int) (*section, error) {
	o, _, err := f.indirect(at)
	if err != nil {
		return nil, err
	}
	st, ok := o.(*Stream)
	if !ok || st.Dict.Name("Type") != "XRef" {
		return nil, fmt.Errorf("%w: neither table nor stream", ErrBroken)
	}
	s := &section{at: at, trailer: st.Dict, stream: true}
	if err := s.checkTrailer(); err != nil {
		return nil, err
	}
	w, _ := st.Dict["W"].(Array)
	if len(w) != 3 {
		return nil, fmt.Errorf("%w: W has %d numbers", ErrBroken, len(w))
	}
	for i := range w {
		n, ok := w[i].(int64)
		if !ok || n < 0 || n > 8 {
			return nil, fmt.Errorf("%w: bad W", ErrBroken)
		}
		s.w[i] = int(n)
		s.width += int(n)
	}
	if s.width == 0 {
		return nil, fmt.Errorf("%w: bad W", ErrBroken)
	}
	if s.rows, err = f.Decode(st); err != nil {
		return nil, err
	}
	index, ok := st.Dict["Index"].(Array)
	if !ok {
		index = Array{int64(0), st.Dict["Size"]}
	}
	if len(index)%2 != 0 {
		return nil, fmt.Errorf("%w: bad Index", ErrBroken)
	}
	pos := 0
	for i := 0; i < len(index); i += 2 {
		first, ok1 := index[i].(int64)
		count, ok2 := index[i+1].(int64)
		if !ok1 || !ok2 || first < 0 || count < 0 || first+count > LimitNumber+1 {
			return nil, fmt.Errorf("%w: bad Index", ErrBroken)
		}
		if int(count) > (len(s.rows)-pos)/s.width {
			return nil, fmt.Errorf("%w: the cross-reference stream is too short", ErrBroken)
		}
		if count == 0 {
			continue
		}
		s.spans = append(s.spans, span{int(first), int(count), pos})
		pos += int(count) * s.width
	}
	return s, nil
}

func (s *section) streamEntry(row []byte) (entry, error) {
	var v [3]int
	v[0] = 1 // the default of a field that is left out
	pos := 0
	for i, w := range s.w {
		if w > 0 {
			v[i] = 0
		}
		for range w {
			v[i] = v[i]<<8 | int(row[pos])
			pos++
		}
		if v[i] < 0 {
			return entry{}, fmt.Errorf("%w: bad cross-reference entry", ErrBroken)
		}
	}
	switch v[0] {
	case 0:
		return entry{kind: free}, nil
	case 1:
		return entry{inUse, v[1], v[2]}, nil
	case 2:
		return entry{packed, v[1], v[2]}, nil
	}
	return entry{kind: free}, nil // other types are null (7.5.8.3)
}

// pack is a decoded object stream.
type pack struct {
	data    []byte
	numbers []int
	offsets []int
}

// fromPack parses the object at an index of an object stream (7.5.7).
func (f *File) fromPack(stream, index, num int) (Object, error) {
	pk, err := f.pack(stream)
	if err != nil {
		return nil, fmt.Errorf("object stream %d: %w", stream, err)
	}
	if index >= len(pk.numbers) || pk.numbers[index] != num {
		return nil, fmt.Errorf("%w: object stream %d does not hold it at %d", ErrBroken, stream, index)
	}
	p := parser{b: pk.data, pos: pk.offsets[index]}
	return p.object()
}

func (f *File) pack(num int) (*pack, error) {
	if pk, ok := f.packs[num]; ok {
		return pk, nil
	}
	e, err := f.lookup(num)
	if err != nil {
		return nil, err
	}
	// An object stream stands in no other object stream, so nothing nests.
	if e.kind != inUse {
		return nil, fmt.Errorf("%w: not an object of its own", ErrBroken)
	}
	o, err := f.objectAt(e.offset, Ref{num, e.gen})
	if err != nil {
		return nil, err
	}
	st, ok := o.(*Stream)
	if !ok || st.Dict.Name("Type") != "ObjStm" {
		return nil, fmt.Errorf("%w: not an object stream", ErrBroken)
	}
	n, ok1 := f.Int(st.Dict["N"])
	first, ok2 := f.Int(st.Dict["First"])
	data, err := f.Decode(st)
	if err != nil {
		return nil, err
	}
	if !ok1 || !ok2 || n < 0 || n > LimitElements || first < 0 || first > len(data) {
		return nil, fmt.Errorf("%w: bad N or First", ErrBroken)
	}
	pk := &pack{data: data}
	seen := make(map[int]bool, n)
	p := parser{b: data[:first]}
	for range n {
		num, ok1 := p.digits()
		off, ok2 := p.digits()
		if !ok1 || !ok2 || off > len(data)-first {
			return nil, fmt.Errorf("%w: bad header", ErrBroken)
		}
		if seen[num] { // some readers go by the index, some by the number
			return nil, fmt.Errorf("%w: object %d stands twice in it", ErrBroken, num)
		}
		seen[num] = true
		pk.numbers = append(pk.numbers, num)
		pk.offsets = append(pk.offsets, first+off)
	}
	f.packs[num] = pk
	return pk, nil
}
