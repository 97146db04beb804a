package cos

import (
	"bytes"
	"fmt"
)

// File reads the objects of a PDF file. It is not safe for concurrent use.
// Objects that it returns are shared: clone before changing.
type File struct {
	data     []byte
	sections []*section // newest first, as far as they have been read
	next     []int      // offsets of the sections that come next, in order
	visited  map[int]bool
	start    int // of the last section
	objects  map[int]object
	busy     map[int]bool // object streams and lengths that are being read
	packs    map[int]*pack
	inflated int // bytes, over all streams
	extents  []extent
}

// object is one that has been read, with its generation.
type object struct {
	gen int
	o   Object
}

// Open reads the end of a file. It fails where the header is not at its first
// byte, since some readers count offsets from there and some from the header;
// where the last cross-reference section is not exactly where startxref says;
// and for encrypted files with ErrEncrypted.
func Open(data []byte) (*File, error) {
	head := data[:min(len(data), 1024)]
	if !bytes.Contains(head, []byte("%PDF-")) {
		return nil, ErrNotPDF
	}
	if !bytes.HasPrefix(head, []byte("%PDF-")) {
		return nil, fmt.Errorf("%w: bytes before the header", ErrBroken)
	}
	f := &File{
		data: data, visited: map[int]bool{}, objects: make(map[int]object, 32),
		busy: map[int]bool{}, packs: map[int]*pack{},
	}
	start, err := lastStart(data)
	if err != nil {
		return nil, err
	}
	f.start, f.next = start, []int{start}
	if _, err := f.more(); err != nil {
		return nil, err
	}
	if _, ok := f.Trailer()["Encrypt"]; ok {
		return nil, ErrEncrypted
	}
	return f, nil
}

// lastStart finds the offset that the last startxref names.
func lastStart(data []byte) (int, error) {
	tail := data[max(0, len(data)-2048):]
	i := bytes.LastIndex(tail, []byte("startxref"))
	if i < 0 {
		return 0, fmt.Errorf("%w: no startxref at the end", ErrBroken)
	}
	p := parser{b: tail, pos: i + len("startxref")}
	n, ok := p.digits()
	if !ok || n <= 0 || n >= len(data) {
		return 0, fmt.Errorf("%w: startxref names no place in the file", ErrBroken)
	}
	p.skipSpace()
	if !bytes.HasPrefix(tail[p.pos:], []byte("%%EOF")) {
		return 0, fmt.Errorf("%w: no %%%%EOF after startxref", ErrBroken)
	}
	return n, nil
}

// Data is the whole file.
func (f *File) Data() []byte { return f.data }

// Trailer is the newest trailer dictionary; of a cross-reference stream, its dictionary.
func (f *File) Trailer() Dict { return f.sections[0].trailer }

// Root is the reference of the catalog.
func (f *File) Root() Ref {
	r, _ := f.Trailer()["Root"].(Ref)
	return r
}

// Catalog is the document's catalog.
func (f *File) Catalog() (Dict, error) {
	d, err := f.Plain(f.Trailer()["Root"])
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if d == nil {
		return nil, fmt.Errorf("%w: no catalog", ErrBroken)
	}
	return d, nil
}

// Size is one more than the highest object number, as the newest trailer says.
func (f *File) Size() int {
	n, _ := f.Trailer()["Size"].(int64)
	return int(n)
}

// Get gives the object of a reference; nil (null) where there is none.
func (f *File) Get(r Ref) (Object, error) {
	if have, ok := f.objects[r.Num]; ok {
		if have.gen != r.Gen {
			return nil, nil
		}
		return have.o, nil
	}
	e, err := f.lookup(r.Num)
	if err != nil {
		return nil, err
	}
	var o Object
	switch e.kind {
	case inUse:
		if e.gen != r.Gen {
			return nil, nil
		}
		o, err = f.objectAt(e.offset, r)
	case packed:
		if r.Gen != 0 {
			return nil, nil
		}
		o, err = f.fromPack(e.offset, e.gen, r.Num)
	}
	if err != nil {
		return nil, fmt.Errorf("object %d: %w", r.Num, err)
	}
	f.objects[r.Num] = object{r.Gen, o}
	return o, nil
}

// Resolve follows references until a direct object.
func (f *File) Resolve(o Object) (Object, error) {
	for range 16 {
		r, ok := o.(Ref)
		if !ok {
			return o, nil
		}
		var err error
		if o, err = f.Get(r); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: references that lead to references", ErrBroken)
}

// Dict resolves to a dictionary (of a stream, its dictionary); null gives nil.
func (f *File) Dict(o Object) (Dict, error) {
	v, err := f.Resolve(o)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case Dict:
		return v, nil
	case *Stream:
		return v.Dict, nil
	}
	return nil, fmt.Errorf("%w: %T where a dictionary belongs", ErrBroken, v)
}

// Plain resolves to a dictionary that is not a stream's: a stream could be a
// page's content besides. Null gives nil.
func (f *File) Plain(o Object) (Dict, error) { return as[Dict](f, o, "a plain dictionary") }

// Array resolves to an array; null gives nil.
func (f *File) Array(o Object) (Array, error) { return as[Array](f, o, "an array") }

// Stream resolves to a stream; null gives nil.
func (f *File) Stream(o Object) (*Stream, error) { return as[*Stream](f, o, "a stream") }

// as resolves to an object of one type, which what names; null gives its zero value.
func as[T Array | Dict | *Stream](f *File, o Object, what string) (out T, err error) {
	v, err := f.Resolve(o)
	if err != nil || v == nil {
		return out, err
	}
	out, ok := v.(T)
	if !ok {
		err = fmt.Errorf("%w: %T where %s belongs", ErrBroken, v, what)
	}
	return out, err
}

// Name resolves to a name, or "".
func (f *File) Name(o Object) Name {
	v, _ := f.Resolve(o)
	n, _ := v.(Name)
	return n
}

// Int resolves to an integer.
func (f *File) Int(o Object) (int, bool) {
	v, _ := f.Resolve(o)
	n, ok := v.(int64)
	return int(n), ok
}

// String resolves to a string, or "".
func (f *File) String(o Object) String {
	v, _ := f.Resolve(o)
	s, _ := v.(String)
	return s
}

// objectAt parses "num gen obj … endobj" at an offset.
func (f *File) objectAt(offset int, want Ref) (Object, error) {
	o, got, err := f.indirect(offset)
	if err != nil {
		return nil, err
	}
	if got != want {
		return nil, fmt.Errorf("%w: offset %d holds object %d %d, not %d %d", ErrBroken, offset, got.Num, got.Gen, want.Num, want.Gen)
	}
	return o, nil
}

// indirect parses whichever indirect object stands at an offset, and remembers
// how far it goes.
func (f *File) indirect(offset int) (Object, Ref, error) {
	p := parser{b: f.data, pos: offset}
	o, id, err := f.parse(&p, offset)
	if err == nil {
		f.extents = append(f.extents, extent{offset, p.pos})
	}
	return o, id, err
}

func (f *File) parse(p *parser, offset int) (Object, Ref, error) {
	if offset <= 0 || offset >= len(f.data) {
		return nil, Ref{}, fmt.Errorf("%w: offset %d is outside the file", ErrBroken, offset)
	}
	num, ok1 := p.digits()
	gen, ok2 := p.digits()
	k, err := p.token()
	if !ok1 || !ok2 || err != nil || k != keyword("obj") {
		return nil, Ref{}, fmt.Errorf("%w: no object at offset %d", ErrBroken, offset)
	}
	id := Ref{num, gen}
	o, err := p.token()
	if err != nil {
		return nil, id, err
	}
	if o == keyword("endobj") {
		return nil, id, nil
	}
	if _, ok := o.(keyword); ok {
		return nil, id, p.errorf("object without a value")
	}
	k, err = p.token()
	if err != nil {
		return nil, id, err
	}
	switch k {
	case keyword("endobj"):
		return o, id, nil
	case keyword("stream"):
		d, ok := o.(Dict)
		if !ok {
			return nil, id, p.errorf("a stream without its dictionary")
		}
		raw, err := f.streamData(p, d)
		if err != nil {
			return nil, id, err
		}
		return &Stream{Dict: d, Raw: raw}, id, nil
	}
	return nil, id, p.errorf("an object does not end with endobj")
}

// streamData gives the bytes after the word stream. Length must be right: a
// file where readers must search for endstream can mean two things.
func (f *File) streamData(p *parser, d Dict) ([]byte, error) {
	if p.pos < len(p.b) && p.b[p.pos] == '\r' {
		p.pos++
	}
	if p.pos < len(p.b) && p.b[p.pos] == '\n' {
		p.pos++
	}
	start := p.pos
	if f.busy[start] {
		return nil, fmt.Errorf("%w: the length of a stream depends on itself", ErrBroken)
	}
	f.busy[start] = true
	n, ok := f.Int(d["Length"])
	delete(f.busy, start)
	if !ok || n < 0 || n > len(p.b)-start {
		return nil, p.errorf("a stream without a usable Length")
	}
	end := parser{b: p.b, pos: start + n}
	end.skipSpace()
	if end.pos-start-n > 8 || !bytes.HasPrefix(p.b[end.pos:], []byte("endstream")) {
		return nil, p.errorf("no endstream where the stream's Length says")
	}
	p.pos = end.pos
	return p.b[start : start+n : start+n], nil
}

func (p *parser) skipSpace() {
	for p.pos < len(p.b) && isSpace(p.b[p.pos]) {
		p.pos++
	}
}
