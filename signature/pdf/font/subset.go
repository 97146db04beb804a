package font

import (
	"encoding/binary"
	"slices"
)

// Subset gives a TrueType font file with the given glyphs and those that they
// are composed of, all under their old numbers; and how many places for glyphs
// are in it, of which those that were not wanted are empty.
func (f *Face) Subset(glyphs []uint16) (file []byte, n int) {
	keep := map[uint16]bool{0: true}
	for _, g := range glyphs {
		f.close(g, keep)
	}
	last := 0
	for g := range keep {
		last = max(last, int(g))
	}
	n = last + 1
	var glyf []byte
	loca := make([]byte, 0, 4*(n+1))
	hmtx := make([]byte, 4*n)
	for g := range n {
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
		if !keep[uint16(g)] {
			continue
		}
		glyf = append(glyf, f.unhinted(g)...)
		for len(glyf)%4 != 0 {
			glyf = append(glyf, 0)
		}
		i := min(g, f.metrics-1)
		copy(hmtx[4*g:], f.tables["hmtx"][4*i:4*i+2])
		if g < f.metrics {
			copy(hmtx[4*g+2:], f.tables["hmtx"][4*g+2:4*g+4])
		} else {
			copy(hmtx[4*g+2:], f.tables["hmtx"][4*f.metrics+2*(g-f.metrics):][:2])
		}
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
	head, hhea, maxp := slices.Clone(f.tables["head"]), slices.Clone(f.tables["hhea"]), slices.Clone(f.tables["maxp"])
	binary.BigEndian.PutUint32(head[8:], 0) // checkSumAdjustment, set below
	binary.BigEndian.PutUint16(head[50:], 1)
	binary.BigEndian.PutUint16(hhea[34:], uint16(n))
	binary.BigEndian.PutUint16(maxp[4:], uint16(n))
	for _, at := range []int{18, 20, 22, 24, 26} { // storage, function and instruction limits: none are left
		binary.BigEndian.PutUint16(maxp[at:], 0)
	}
	return assemble([]table{
		{"glyf", glyf}, {"head", head}, {"hhea", hhea}, {"hmtx", hmtx}, {"loca", loca}, {"maxp", maxp},
	}), n
}

// close adds a glyph and its components.
func (f *Face) close(g uint16, keep map[uint16]bool) {
	if keep[g] || int(g) >= f.glyphs {
		return
	}
	keep[g] = true
	f.components(f.glyph(int(g)), func(_ int, c uint16, _ []byte) { f.close(c, keep) })
}

// glyph gives the outline of a glyph; nothing for a space.
func (f *Face) glyph(g int) []byte {
	loca := f.tables["loca"]
	if f.long {
		return f.tables["glyf"][binary.BigEndian.Uint32(loca[4*g:]):binary.BigEndian.Uint32(loca[4*g+4:])]
	}
	return f.tables["glyf"][2*u16(loca, 2*g) : 2*u16(loca, 2*g+2)]
}

// Flags of a component (OpenType, glyf table).
const (
	wordArguments   = 0x0001
	haveScale       = 0x0008
	moreComponents  = 0x0020
	haveXYScale     = 0x0040
	haveTwoByTwo    = 0x0080
	haveInstruction = 0x0100
)

// components calls fn for each component of a composite outline, with the
// offset of its record, and gives the offset after the last one.
func (f *Face) components(outline []byte, fn func(at int, glyph uint16, record []byte)) int {
	if len(outline) == 0 || i16(outline, 0) >= 0 {
		return 0
	}
	for at := 10; ; {
		flags := u16(outline, at)
		size := 6
		if flags&wordArguments != 0 {
			size = 8
		}
		switch {
		case flags&haveScale != 0:
			size += 2
		case flags&haveXYScale != 0:
			size += 4
		case flags&haveTwoByTwo != 0:
			size += 8
		}
		fn(at, uint16(u16(outline, at+2)), outline[at:at+size])
		at += size
		if flags&moreComponents == 0 {
			return at
		}
	}
}

// unhinted gives the outline of a glyph without its instructions.
func (f *Face) unhinted(g int) []byte {
	outline := f.glyph(g)
	if len(outline) == 0 {
		return nil
	}
	contours := i16(outline, 0)
	if contours >= 0 {
		at := 10 + 2*contours
		n := u16(outline, at)
		out := append(slices.Clone(outline[:at]), 0, 0)
		return append(out, outline[at+2+n:]...)
	}
	out := slices.Clone(outline)
	end := f.components(outline, func(at int, _ uint16, _ []byte) {
		binary.BigEndian.PutUint16(out[at:], uint16(u16(outline, at)&^haveInstruction))
	})
	return out[:end]
}

type table struct {
	tag  string
	data []byte
}

// assemble makes a font file of tables in alphabetical order.
func assemble(tables []table) []byte {
	n := len(tables)
	power, log := 1, 0
	for power*2 <= n {
		power, log = power*2, log+1
	}
	out := binary.BigEndian.AppendUint32(nil, 0x00010000)
	for _, v := range []int{n, 16 * power, log, 16 * (n - power)} {
		out = binary.BigEndian.AppendUint16(out, uint16(v))
	}
	at := 12 + 16*n
	headAt := 0
	for _, t := range tables {
		if t.tag == "head" {
			headAt = at
		}
		out = append(out, t.tag...)
		out = binary.BigEndian.AppendUint32(out, checksum(t.data))
		out = binary.BigEndian.AppendUint32(out, uint32(at))
		out = binary.BigEndian.AppendUint32(out, uint32(len(t.data)))
		at += (len(t.data) + 3) &^ 3
	}
	for _, t := range tables {
		out = append(out, t.data...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	binary.BigEndian.PutUint32(out[headAt+8:], 0xB1B0AFBA-checksum(out))
	return out
}

func checksum(b []byte) uint32 {
	var sum uint32
	for ; len(b) >= 4; b = b[4:] {
		sum += binary.BigEndian.Uint32(b)
	}
	var rest [4]byte
	copy(rest[:], b)
	return sum + binary.BigEndian.Uint32(rest[:])
}
