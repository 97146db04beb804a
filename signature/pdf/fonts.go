package pdf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	list := slices.Sorted(maps.Keys(used))
	file := face.Subset(list)
	name := cos.Name(tag(list) + "+" + face.Name)
	cidSet := make([]byte, int(list[len(list)-1])/8+1)
	mark := func(g uint16) { cidSet[g/8] |= 0x80 >> (g % 8) }
	mark(0)
	for _, g := range list {
		mark(g)
	}
	program := cos.Compressed(cos.Dict{"Length1": len(file)}, file)
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
		"Type": cos.Name("FontDescriptor"), "FontName": name, "Flags": flags, "FontBBox": box,
		"ItalicAngle": face.ItalicAngle, "Ascent": face.Ascent, "Descent": face.Descent, "CapHeight": face.CapHeight,
		"StemV": weight, "FontFile2": u.Add(program), "CIDSet": u.Add(cos.Compressed(nil, cidSet)),
	})
	var widths cos.Array
	for i := 0; i < len(list); {
		run := cos.Array{}
		first := list[i]
		for ; i < len(list) && list[i] == first+uint16(len(run)); i++ {
			run = append(run, face.Advance(list[i]))
		}
		widths = append(widths, int(first), run)
	}
	descendant := u.Add(cos.Dict{
		"Type": cos.Name("Font"), "Subtype": cos.Name("CIDFontType2"), "BaseFont": name, "CIDToGIDMap": cos.Name("Identity"),
		"CIDSystemInfo":  cos.Dict{"Registry": cos.String("Adobe"), "Ordering": cos.String("Identity"), "Supplement": 0},
		"FontDescriptor": descriptor, "W": widths,
	})
	u.Set(at, cos.Dict{
		"Type": cos.Name("Font"), "Subtype": cos.Name("Type0"), "BaseFont": name, "Encoding": cos.Name("Identity-H"),
		"DescendantFonts": cos.Array{descendant}, "ToUnicode": u.Add(toUnicode(list, used)),
	})
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

// fontsFor gives the font resources that a canvas needs: those of an earlier
// appearance of ours where they have every glyph, else new subsets.
func fontsFor(f *cos.File, u *cos.Update, earlier cos.Dict, c *canvas) cos.Dict {
	out := cos.Dict{}
	for _, s := range []style{regular, bold, italic} {
		used := c.used[s]
		if len(used) == 0 {
			continue
		}
		if r, ok := earlier[cos.Name(s)].(cos.Ref); ok && covers(f, r, s, used) {
			out[cos.Name(s)] = r
			continue
		}
		out[cos.Name(s)] = embedFont(u, s, used)
	}
	return out
}

// covers reports whether a font object is a subset that embedFont made of the face
// with all these glyphs; its widths say which it has.
func covers(f *cos.File, r cos.Ref, s style, used glyphs) bool {
	d, err := f.Dict(r)
	if err != nil || d.Name("Encoding") != "Identity-H" || !strings.HasSuffix(string(d.Name("BaseFont")), "+"+s.face().Name) {
		return false
	}
	list, err := f.Array(d["DescendantFonts"])
	if err != nil || len(list) != 1 {
		return false
	}
	if d, err = f.Dict(list[0]); err != nil {
		return false
	}
	widths, err := f.Array(d["W"])
	if err != nil {
		return false
	}
	missing := len(used)
	for i := 0; i+1 < len(widths); i += 2 {
		first, ok1 := widths[i].(int64)
		run, ok2 := widths[i+1].(cos.Array)
		if !ok1 || !ok2 || first < 0 || first > 0xFFFF {
			return false
		}
		for j := range run {
			if _, ok := used[uint16(int(first)+j)]; ok {
				missing--
			}
		}
	}
	return missing == 0
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
