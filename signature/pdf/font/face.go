package font

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/text/unicode/norm"
)

// Face is a TrueType font.
type Face struct {
	Name        string // PostScript name
	Ascent      int    // this and all that follows in thousandths of the font size
	Descent     int    // negative
	CapHeight   int
	BBox        [4]int
	ItalicAngle int // degrees
	Bold        bool

	tables  map[string][]byte
	units   int // per em
	glyphs  int
	metrics int // hmtx entries with a width of their own
	long    bool
	cmap    map[rune]uint16
	ascii   [128]uint16 // glyphs of the printable characters
	widths  []int       // by glyph
}

// The faces, parsed at first use.
var (
	Regular = sync.OnceValue(func() *Face { return mustParse("GoRegular", goregular.TTF, 0, false) })
	Bold    = sync.OnceValue(func() *Face { return mustParse("Go-Bold", gobold.TTF, 0, true) })
	Italic  = sync.OnceValue(func() *Face { return mustParse("Go-Italic", goitalic.TTF, -12, false) })
)

// mustParse panics on a font that is compiled in and broken: a mistake in the build.
func mustParse(name string, ttf []byte, angle int, bold bool) *Face {
	f := &Face{Name: name, ItalicAngle: angle, Bold: bold, tables: map[string][]byte{}}
	for i := range int(binary.BigEndian.Uint16(ttf[4:])) {
		rec := ttf[12+16*i:]
		at, n := binary.BigEndian.Uint32(rec[8:]), binary.BigEndian.Uint32(rec[12:])
		f.tables[string(rec[:4])] = ttf[at : at+n : at+n]
	}
	head, hhea := f.tables["head"], f.tables["hhea"]
	f.units = u16(head, 18)
	f.long = u16(head, 50) == 1
	f.glyphs = u16(f.tables["maxp"], 4)
	f.metrics = u16(hhea, 34)
	f.Ascent, f.Descent = f.scale(i16(hhea, 4)), f.scale(i16(hhea, 6))
	for i := range f.BBox {
		f.BBox[i] = f.scale(i16(head, 36+2*i))
	}
	f.CapHeight = f.scale(i16(f.tables["OS/2"], 88))
	if err := f.readCmap(); err != nil {
		panic("font " + name + ": " + err.Error())
	}
	for r := rune(' '); r < 0x7F; r++ {
		f.ascii[r] = f.cmap[r]
	}
	f.widths = make([]int, f.glyphs)
	for g := range f.widths {
		f.widths[g] = f.scale(u16(f.tables["hmtx"], 4*min(g, f.metrics-1)))
	}
	return f
}

func u16(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
func i16(b []byte, at int) int { return int(int16(binary.BigEndian.Uint16(b[at:]))) }

func (f *Face) scale(n int) int { return n * 1000 / f.units }

// readCmap reads the Unicode subtable of format 4.
func (f *Face) readCmap() error {
	t := f.tables["cmap"]
	for i := range u16(t, 2) {
		rec := t[4+8*i:]
		sub := t[binary.BigEndian.Uint32(rec[4:]):]
		if u16(rec, 0) != 3 || u16(rec, 2) != 1 || u16(sub, 0) != 4 {
			continue
		}
		f.cmap = map[rune]uint16{}
		n := u16(sub, 6) / 2
		ends, starts := sub[14:], sub[16+2*n:]
		deltas, offsets := sub[16+4*n:], sub[16+6*n:]
		for s := range n {
			start, end := u16(starts, 2*s), u16(ends, 2*s)
			for c := start; c <= end && c != 0xFFFF; c++ {
				g := c
				if o := u16(offsets, 2*s); o != 0 {
					if g = u16(offsets, 2*s+o+2*(c-start)); g == 0 {
						continue
					}
				}
				if g = (g + u16(deltas, 2*s)) & 0xFFFF; g > 0 && g < f.glyphs {
					f.cmap[rune(c)] = uint16(g)
				}
			}
		}
		return nil
	}
	return fmt.Errorf("no Unicode character map")
}

// Replacement stands for characters that the face does not have.
const Replacement = '\uFFFD'

// Glyph gives the glyph of a character, and whether the face has it; if not, it
// is the replacement's.
func (f *Face) Glyph(r rune) (uint16, bool) {
	if g, ok := f.cmap[r]; ok {
		return g, true
	}
	if g, ok := f.cmap[Replacement]; ok {
		return g, false
	}
	return f.cmap['?'], false
}

// Glyphs calls fn for each glyph of a text: composed (NFC), with controls and
// line ends as spaces and what is invisible left out. The rune is what is shown.
func (f *Face) Glyphs(s string, fn func(g uint16, r rune)) {
	ascii := true
	for i := range len(s) {
		if s[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if !ascii {
		s = norm.NFC.String(s)
	}
	for _, r := range s {
		if r >= ' ' && r < 0x7F {
			fn(f.ascii[r], r)
			continue
		}
		switch {
		case r < ' ' || r == 0x7F || r == 0xA0 || r == '\u2028' || r == '\u2029' || r >= '\u2000' && r <= '\u200A' || r == '\u202F':
			r = ' '
		case r == 0xAD || r >= '\u200B' && r <= '\u200F' || r >= '\u202A' && r <= '\u202E' || r >= '\u2060' && r <= '\u206F' || r == '\uFEFF':
			continue // soft hyphens, joiners and the controls of writing direction
		}
		g, ok := f.Glyph(r)
		if !ok {
			r = Replacement
		}
		fn(g, r)
	}
}

// Advance is the width of a glyph in thousandths of the font size.
func (f *Face) Advance(g uint16) int {
	return f.widths[min(int(g), len(f.widths)-1)]
}

// Width is the width of a text at a font size.
func (f *Face) Width(s string, size float64) float64 {
	n := 0
	f.Glyphs(s, func(g uint16, _ rune) { n += f.Advance(g) })
	return float64(n) * size / 1000
}
