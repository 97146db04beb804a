package pdf

import (
	"encoding/hex"
	"fmt"
	"io"

	"milterd/signature/pdf/cos"
)

// Signing says what signature goes where.
type Signing struct {
	// Field is the fully qualified name of an empty signature field. If there is
	// none of that name, one is added with this (dot-less) name: see Row.
	Field string
	// Row is how many visible fields a document that others have signed will get
	// in all, of which an added one is one, at the foot of the last page. 0, no
	// Look, no room there, or a signature that forbids it: the field is invisible.
	Row int
	// Entries of the signature dictionary: Type, Filter, SubFilter, M, Name,
	// Reason, … ByteRange and Contents are added.
	Entries cos.Dict
	// Reserve is the room for the signature value in bytes; it takes twice as many.
	Reserve int
	// Look is drawn into the field if it has a visible widget; nil draws nothing.
	Look *Look
	// Paraphs names the paraph fields that are filled along (ParaphName) with
	// Look's paraph; nothing happens where the document has none.
	Paraphs string
}

// Placed is a signature's increment with room for its value.
type Placed struct {
	Suffix    []byte   // follows the head; ByteRange is final, Contents is zeros
	ByteRange [4]int64 // offset and length of the two signed ranges of head+Suffix
	contents  int      // offset in Suffix of the first hex digit
	reserve   int
	head      []byte
}

const maxReserve = 1 << 20

// Place gives the increment that puts a signature into a field. It reads no more
// of the head than it needs, whatever its size, and changes only the field, its
// paraphs, and where a field is added the form and the annotations of its page.
func Place(head []byte, s Signing) (*Placed, error) {
	f, err := cos.Open(head)
	if err != nil {
		return nil, fmt.Errorf("placing a signature: %w", err)
	}
	return PlaceIn(f, s)
}

// PlaceIn is Place on a file that is open already.
func PlaceIn(f *cos.File, s Signing) (*Placed, error) {
	p, err := place(f, s)
	if err != nil {
		return nil, fmt.Errorf("placing a signature in %q: %w", s.Field, err)
	}
	return p, nil
}

func place(f *cos.File, s Signing) (*Placed, error) {
	if s.Reserve < 1 || s.Reserve > maxReserve {
		return nil, fmt.Errorf("room for %d bytes", s.Reserve)
	}
	fd, err := FindField(f, s.Field)
	if err != nil {
		return nil, err
	}
	u := f.NewUpdate()
	u.Grow(2 * s.Reserve)
	look := s.Look
	if fd == nil {
		fd, look, err = addField(f, u, s)
	} else {
		err = addFields(f, u)
	}
	if err != nil {
		return nil, err
	}
	if fd.Type != "Sig" {
		return nil, fmt.Errorf("a field of type %q", fd.Type)
	}
	if v, err := f.Resolve(fd.Dict["V"]); err != nil || v != nil {
		return nil, fmt.Errorf("the field is signed already (%v)", err)
	}
	ranges := &cos.Hole{Text: []byte("[0 0000000000 0000000000 0000000000]")}
	contents := &cos.Hole{Zeros: s.Reserve}
	sig := s.Entries.Clone()
	sig["ByteRange"], sig["Contents"] = ranges, contents
	field := fd.Dict.Clone()
	field["V"] = u.Add(sig)
	if look != nil {
		if err := look.fill(f, u, field, s.Paraphs); err != nil {
			return nil, err
		}
	}
	u.Set(fd.Ref, field)
	suffix, err := u.Bytes()
	if err != nil {
		return nil, err
	}
	p := &Placed{Suffix: suffix, contents: contents.At + 1, reserve: s.Reserve, head: f.Data()}
	base := int64(len(p.head))
	gap, after := base+int64(contents.At), base+int64(contents.At+2*s.Reserve+2)
	p.ByteRange = [4]int64{0, gap, after, base + int64(len(suffix)) - after}
	copy(suffix[ranges.At:], fmt.Appendf(nil, "[0 %010d %010d %010d]", gap, after, p.ByteRange[3]))
	return p, nil
}

// WriteTo writes the two signed ranges, head and suffix without the value, to a hash.
func (p *Placed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(p.head)
	if err != nil {
		return int64(n), err
	}
	return int64(len(p.head) + len(p.Suffix) - 2*p.reserve - 2), p.WriteAfter(w)
}

// WriteAfter writes what is signed after the head: the suffix without the value.
func (p *Placed) WriteAfter(w io.Writer) error {
	for _, b := range [][]byte{p.Suffix[:p.contents-1], p.Suffix[p.contents+2*p.reserve+1:]} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Contents is where the value stands: offset in Suffix of its first hex digit,
// and the room in bytes. With these, Embed works on a stored suffix.
func (p *Placed) Contents() (at, reserve int) { return p.contents, p.reserve }

// Embed writes the value into the place that it was given in a suffix.
func Embed(suffix []byte, at, reserve int, value []byte) error {
	if len(value) > reserve {
		return fmt.Errorf("embedding a signature: %d bytes do not fit in %d", len(value), reserve)
	}
	end := at + 2*reserve
	if at < 1 || end >= len(suffix) || suffix[at-1] != '<' || suffix[end] != '>' {
		return fmt.Errorf("embedding a signature: offset %d is not its place", at)
	}
	hex.Encode(suffix[at:], value)
	return nil
}

// addField adds the field that a signature names, visible where it can be, and
// gives the look that it is to have.
func addField(f *cos.File, u *cos.Update, s Signing) (*Field, *Look, error) {
	if s.Row > 0 && s.Look != nil {
		if fd, err := addVisible(f, u, s.Field, s.Row); fd != nil || err != nil {
			return fd, s.Look.framed(), err
		}
	}
	fd, err := addInvisible(f, u, s.Field)
	return fd, s.Look, err
}

// addInvisible adds an empty signature field without a visible widget on the first page.
func addInvisible(f *cos.File, u *cos.Update, name string) (*Field, error) {
	pages, err := Pages(f, 1)
	if err != nil {
		return nil, err
	}
	first := pages[0]
	fd := &Field{Name: name, Ref: u.Reserve(), Type: "Sig"}
	fd.Dict = cos.Dict{
		"Type": cos.Name("Annot"), "Subtype": cos.Name("Widget"), "FT": cos.Name("Sig"),
		"T": cos.Text(name), "F": 132, "Rect": cos.Array{0, 0, 0, 0}, "P": first.Ref,
		"AP": nothing(u),
	}
	if err := appendTo(f, u, first.Ref, "Annots", fd.Ref); err != nil {
		return nil, err
	}
	return fd, addFields(f, u, fd.Ref)
}

// nothing is the appearance of a field that does not show: PDF/A-1 wants one of
// every field (ISO 19005-1, 6.9).
func nothing(u *cos.Update) cos.Dict {
	return cos.Dict{"N": u.Add(&cos.Stream{Dict: cos.Dict{"Type": cos.Name("XObject"), "Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, 0, 0}}})}
}

// appendTo appends to the array at a key of a dictionary object, wherever that
// array stands.
func appendTo(f *cos.File, u *cos.Update, in cos.Ref, key cos.Name, items ...cos.Object) error {
	d, err := u.Dict(in)
	if err != nil {
		return err
	}
	old, err := f.Array(d[key])
	if err != nil {
		return err
	}
	grown := append(append(cos.Array{}, old...), items...)
	if at, ok := d[key].(cos.Ref); ok {
		u.Set(at, grown)
		return nil
	}
	d[key] = grown
	u.Set(in, d)
	return nil
}

// addFields appends fields to the form, making one if there is none, and says
// that the document has signatures which want increments only (SigFlags 3).
// Where nothing is to be added and the flags stand, nothing changes.
func addFields(f *cos.File, u *cos.Update, fields ...cos.Object) error {
	cat, err := u.Dict(f.Root())
	if err != nil {
		return err
	}
	form, err := u.Dict(cat["AcroForm"])
	if err != nil {
		return err
	}
	at, indirect := cat["AcroForm"].(cos.Ref)
	if flags, _ := f.Int(form["SigFlags"]); flags&3 == 3 && len(fields) == 0 {
		return nil
	}
	old, err := f.Array(form["Fields"])
	if err != nil {
		return err
	}
	grown := append(append(cos.Array{}, old...), fields...)
	if list, ok := form["Fields"].(cos.Ref); ok && len(fields) > 0 {
		u.Set(list, grown)
	} else if !ok {
		form["Fields"] = grown
	}
	form["SigFlags"] = 3
	if indirect {
		u.Set(at, form)
		return nil
	}
	cat["AcroForm"] = u.Add(form)
	u.Set(f.Root(), cat)
	return nil
}
