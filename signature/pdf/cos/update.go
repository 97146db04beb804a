package cos

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Update collects the objects of one incremental update.
type Update struct {
	f       *File
	objects map[int]change
	next    int
	room    int // bytes expected besides small objects and streams
}

type change struct {
	gen int
	o   Object
}

// Hole is written as its Text, or as a hex string of Zeros bytes; At then tells
// where: the offset of its first byte in what Bytes returned.
type Hole struct {
	Text  []byte
	Zeros int
	At    int
}

// zeros are as many digits as are written at once.
var zeros = strings.Repeat("0", 2048)

func (h *Hole) appendTo(dst []byte) []byte {
	h.At = len(dst)
	if h.Zeros == 0 {
		return append(dst, h.Text...)
	}
	dst = append(dst, '<')
	for n := 2 * h.Zeros; n > 0; n -= len(zeros) {
		dst = append(dst, zeros[:min(n, len(zeros))]...)
	}
	return append(dst, '>')
}

// NewUpdate begins an update of the file.
func (f *File) NewUpdate() *Update {
	return &Update{f: f, objects: make(map[int]change, 16), next: f.Size()}
}

// Grow makes room for n more bytes, where a Hole is large.
func (u *Update) Grow(n int) { u.room += n }

// Reserve gives the reference of an object that is set later.
func (u *Update) Reserve() Ref {
	u.next++
	return Ref{u.next - 1, 0}
}

// Add adds a new object.
func (u *Update) Add(o Object) Ref {
	r := u.Reserve()
	u.Set(r, o)
	return r
}

// Set replaces an object, or gives a reserved one its value.
func (u *Update) Set(r Ref, o Object) { u.objects[r.Num] = change{r.Gen, o} }

// Dict gives a dictionary as the update has it so far, as a copy to change and Set.
func (u *Update) Dict(o Object) (Dict, error) {
	if r, ok := o.(Ref); ok {
		if c, ok := u.objects[r.Num]; ok {
			o = c.o
		}
	}
	d, err := u.f.Dict(o)
	if err != nil {
		return nil, err
	}
	return d.Clone(), nil
}

// Bytes gives what must follow the file: the objects, a cross-reference section
// of the same form as the file's last, trailer and startxref.
func (u *Update) Bytes() ([]byte, error) {
	if len(u.objects) == 0 {
		return nil, fmt.Errorf("an update without objects")
	}
	base := len(u.f.data)
	size := 512 + u.room
	numbers := make([]int, 0, len(u.objects))
	for n, c := range u.objects {
		if n <= 0 || n > LimitNumber {
			return nil, fmt.Errorf("object number %d: %w", n, ErrLimit)
		}
		numbers = append(numbers, n)
		size += 256
		if s, ok := c.o.(*Stream); ok {
			size += len(s.Raw)
		}
	}
	slices.Sort(numbers)
	out := make([]byte, 0, size)
	if c := u.f.data[base-1]; c != '\n' && c != '\r' {
		out = append(out, '\n')
	}
	offsets := make([]int, len(numbers))
	for i, n := range numbers {
		c := u.objects[n]
		offsets[i] = base + len(out)
		out = strconv.AppendInt(out, int64(n), 10)
		out = append(out, ' ')
		out = strconv.AppendInt(out, int64(c.gen), 10)
		out = append(out, " obj\n"...)
		out = Append(out, c.o)
		out = append(out, "\nendobj\n"...)
	}
	trailer := u.trailer(offsets)
	start := base + len(out)
	if u.f.sections[0].stream {
		out = u.stream(out, trailer, numbers, offsets, start)
	} else {
		out = u.table(out, trailer, numbers, offsets)
	}
	if base+len(out) > 9_999_999_999 {
		return nil, fmt.Errorf("file of %d bytes: %w", base+len(out), ErrLimit)
	}
	out = append(out, "\nstartxref\n"...)
	out = strconv.AppendInt(out, int64(start), 10)
	return append(out, "\n%%EOF\n"...), nil
}

// trailer carries on what the last one says; of the two parts of the ID the
// second is changed (ISO 32000-2, 14.4).
func (u *Update) trailer(offsets []int) Dict {
	old := u.f.Trailer()
	t := Dict{"Size": max(u.next, u.f.Size()), "Prev": u.f.start}
	for _, k := range []Name{"Root", "Info"} {
		if v, ok := old[k]; ok {
			t[k] = v
		}
	}
	id, err := u.f.Array(old["ID"])
	if err != nil || len(id) != 2 {
		return t
	}
	h := sha256.New()
	h.Write([]byte(u.f.String(id[1])))
	var b [8]byte
	for _, o := range offsets {
		binary.BigEndian.PutUint64(b[:], uint64(o))
		h.Write(b[:])
	}
	t["ID"] = Array{u.f.String(id[0]), String(h.Sum(nil)[:16])}
	return t
}

// runs calls fn for each run of consecutive numbers.
func runs(numbers []int, fn func(from, to int)) {
	for i := 0; i < len(numbers); {
		j := i + 1
		for j < len(numbers) && numbers[j] == numbers[j-1]+1 {
			j++
		}
		fn(i, j)
		i = j
	}
}

func (u *Update) table(out []byte, trailer Dict, numbers, offsets []int) []byte {
	out = append(out, "xref\n"...)
	runs(numbers, func(from, to int) {
		out = fmt.Appendf(out, "%d %d\n", numbers[from], to-from)
		for i := from; i < to; i++ {
			out = appendPadded(out, offsets[i], 10)
			out = append(out, ' ')
			out = appendPadded(out, u.objects[numbers[i]].gen, 5)
			out = append(out, " n \n"...)
		}
	})
	out = append(out, "trailer\n"...)
	return Append(out, trailer)
}

func appendPadded(dst []byte, n, width int) []byte {
	start := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= start && n > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// stream writes a cross-reference stream. It is not compressed: it is small,
// and the next signature reads it without inflating anything.
func (u *Update) stream(out []byte, trailer Dict, numbers, offsets []int, start int) []byte {
	self := max(u.next, u.f.Size())
	numbers, offsets = append(numbers, self), append(offsets, start)
	rows := make([]byte, 0, 8*len(numbers))
	for i, n := range numbers {
		gen := u.objects[n].gen
		rows = append(rows, 1, byte(offsets[i]>>32))
		rows = binary.BigEndian.AppendUint32(rows, uint32(offsets[i]))
		rows = append(rows, byte(gen>>8), byte(gen))
	}
	var index Array
	runs(numbers, func(from, to int) { index = append(index, numbers[from], to-from) })
	trailer["Type"] = Name("XRef")
	trailer["Size"] = self + 1
	trailer["W"] = Array{1, 5, 2}
	trailer["Index"] = index
	out = strconv.AppendInt(out, int64(self), 10)
	out = append(out, " 0 obj\n"...)
	out = Append(out, &Stream{Dict: trailer, Raw: rows})
	return append(out, "\nendobj"...)
}
