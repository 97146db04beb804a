package pdf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"unicode/utf16"

	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/font"
)

// embedFont adds a composite font with the given glyphs of a face (ISO 32000-2,
// 9.7): Identity-H, so the codes are glyph numbers, with a ToUnicode map.
func embedFont(u *cos.Update, s style, used glyphs) cos.Ref {
	r := u.Reserve()
	embedFontAt(u, s, used, r)
	return r
}

// embedFontAt is embedFont into a reserved object.
func embedFontAt(u *cos.Update, s style, used glyphs, at cos.Ref) {
	face := s.face()
	sub := subsetOf(s, used)
	flags := 4 // symbolic: codes are glyph numbers
	weight := 80
	if face.Bold {
		weight = 140
	}
	if face.ItalicAngle != 0 {
		flags |= 64
	}
	box := cos.Array{}
	for _, v := range face.BBox {
		box = append(box, v)
	}
	descriptor := u.Add(cos.Dict{
		"Type": cos.Name("FontDescriptor"), "FontName": sub.name, "Flags": flags, "FontBBox": box,
		"ItalicAngle": face.ItalicAngle, "Ascent": face.Ascent, "Descent": face.Descent, "CapHeight": face.CapHeight,
		"StemV": weight, "FontFile2": u.Add(sub.program), "CIDSet": u.Add(sub.cidSet),
	})
	descendant := u.Add(cos.Dict{
		"Type": cos.Name("Font"), "Subtype": cos.Name("CIDFontType2"), "BaseFont": sub.name, "CIDToGIDMap": cos.Name("Identity"),
		"CIDSystemInfo":  cos.Dict{"Registry": cos.String("Adobe"), "Ordering": cos.String("Identity"), "Supplement": 0},
		"FontDescriptor": descriptor, "W": sub.widths,
	})
	u.Set(at, cos.Dict{
		"Type": cos.Name("Font"), "Subtype": cos.Name("Type0"), "BaseFont": sub.name, "Encoding": cos.Name("Identity-H"),
		"DescendantFonts": cos.Array{descendant}, "ToUnicode": u.Add(sub.toUnicode),
	})
}

// subset is what a font needs of a face for some glyphs. Nobody changes one.
type subset struct {
	used      glyphs
	name      cos.Name
	program   *cos.Stream
	cidSet    *cos.Stream
	toUnicode *cos.Stream
	widths    cos.Array
}

// subsets keeps the latest subset of each style: most layouts need the same
// glyphs, and cutting and compressing them costs more than the rest of a layout.
var subsets sync.Map // style: *subset

// subsetOf gives the subset of a face with the given glyphs.
func subsetOf(s style, used glyphs) *subset {
	if last, ok := subsets.Load(s); ok && maps.Equal(last.(*subset).used, used) {
		return last.(*subset)
	}
	face := s.face()
	list := slices.Sorted(maps.Keys(used))
	file, places := face.Subset(list)
	// Every glyph that the program has a place for counts as being in it, also those
	// without an outline (ISO 19005-2, 6.2.11.4.2).
	var all []uint16
	for g := range places {
		all = append(all, uint16(g))
	}
	cidSet := bits(all)
	sub := &subset{
		used: maps.Clone(used), name: cos.Name(tag(list) + "+" + face.Name),
		program: cos.Compressed(cos.Dict{"Length1": len(file)}, file), cidSet: cos.Compressed(nil, cidSet), toUnicode: toUnicode(list, used),
	}
	for i := 0; i < len(list); {
		run := cos.Array{}
		first := list[i]
		for ; i < len(list) && list[i] == first+uint16(len(run)); i++ {
			run = append(run, face.Advance(list[i]))
		}
		sub.widths = append(sub.widths, int(first), run)
	}
	subsets.Store(s, sub)
	return sub
}

// bits sets a bit for each glyph of a sorted list.
func bits(list []uint16) []byte {
	b := make([]byte, int(list[len(list)-1])/8+1)
	for _, g := range list {
		b[g/8] |= 0x80 >> (g % 8)
	}
	return b
}

// tag is the six letters that mark a subset, from the glyphs in it.
func tag(list []uint16) string {
	h := sha256.New()
	for _, g := range list {
		h.Write(binary.BigEndian.AppendUint16(nil, g))
	}
	b := h.Sum(nil)[:6]
	for i := range b {
		b[i] = 'A' + b[i]%26
	}
	return string(b)
}

func toUnicode(list []uint16, used glyphs) *cos.Stream {
	var b bytes.Buffer
	b.WriteString("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n" +
		"/CIDSystemInfo <</Registry (Adobe) /Ordering (UCS) /Supplement 0>> def\n" +
		"/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n" +
		"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n")
	for chunk := range slices.Chunk(list, 100) {
		fmt.Fprintf(&b, "%d beginbfchar\n", len(chunk))
		for _, g := range chunk {
			fmt.Fprintf(&b, "<%04X> <", g)
			for _, u := range utf16.Encode([]rune{used[g]}) {
				fmt.Fprintf(&b, "%04X", u)
			}
			b.WriteString(">\n")
		}
		b.WriteString("endbfchar\n")
	}
	b.WriteString("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n")
	return cos.Compressed(nil, b.Bytes())
}

// glyphsKey is where Layout's appearances say which glyphs their fonts have, so
// that a signature need not read the fonts: a dictionary of bit strings by style,
// the first bit for glyph 0.
const glyphsKey = "MilterdGlyphs"

// earlier is what the appearance of a field has for the next one.
type earlier struct {
	fonts  cos.Dict // references by style
	glyphs cos.Dict // bit strings by style
}

// earlierFonts gives the fonts of the appearance that Layout put into a field.
func earlierFonts(f *cos.File, field cos.Dict) earlier {
	var e earlier
	ap, _ := f.Dict(field["AP"])
	n, _ := f.Dict(ap["N"])
	if e.glyphs, _ = f.Dict(n[glyphsKey]); e.glyphs == nil {
		return e
	}
	res, _ := f.Dict(n["Resources"])
	e.fonts, _ = f.Dict(res["Font"])
	return e
}

// font gives the font of a style if it has all these glyphs.
func (e earlier) font(s style, used glyphs) (cos.Ref, bool) {
	bits, _ := e.glyphs[cos.Name(s)].(cos.String)
	for g := range used {
		if int(g/8) >= len(bits) || bits[g/8]&(0x80>>(g%8)) == 0 {
			return cos.Ref{}, false
		}
	}
	r, ok := e.fonts[cos.Name(s)].(cos.Ref)
	return r, ok
}

// fontsFor gives the font resources that a canvas needs: earlier fonts where
// they have every glyph, else new subsets.
func fontsFor(u *cos.Update, e earlier, c *canvas) cos.Dict {
	out := cos.Dict{}
	for _, s := range []style{regular, bold, italic} {
		used := c.used[s]
		if len(used) == 0 {
			continue
		}
		r, ok := e.font(s, used)
		if !ok {
			r = embedFont(u, s, used)
		}
		out[cos.Name(s)] = r
	}
	return out
}

// base adds printable ASCII and some punctuation to what a canvas uses, so that
// the appearances of later increments find their glyphs in the layout's fonts.
func (c *canvas) base(texts ...string) {
	var ascii []byte
	for b := byte(' '); b <= '~'; b++ {
		ascii = append(ascii, b)
	}
	texts = append(texts, string(ascii), "–—·…’“”", string(font.Replacement))
	for _, s := range []style{regular, bold, italic} {
		if c.used[s] == nil {
			c.used[s] = glyphs{}
		}
		for _, t := range texts {
			s.face().Glyphs(t, func(g uint16, r rune) { c.used[s][g] = r })
		}
	}
}
