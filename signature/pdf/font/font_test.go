package font

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

func faces() []*Face { return []*Face{Regular(), Bold(), Italic()} }

// TestSubset reads every kept glyph of a subset with another reader: the
// outlines must be those of the whole font.
func TestSubset(t *testing.T) {
	for _, f := range faces() {
		var glyphs []uint16
		f.Glyphs("Zoë Müller, Ёлка Ωμέγα ĳ Ǻ 0123", func(g uint16, _ rune) { glyphs = append(glyphs, g) })
		sub, places := f.Subset(glyphs)
		if again, _ := f.Subset(glyphs); !bytes.Equal(sub, again) {
			t.Errorf("%s: two subsets differ", f.Name)
		}
		if most := slices.Max(glyphs); places <= int(most) || places > f.glyphs {
			t.Errorf("%s: %d places for glyphs, the last is %d", f.Name, places, most)
		}
		if len(sub) > 16<<10 {
			t.Errorf("%s: subset of %d bytes", f.Name, len(sub))
		}
		// sfnt wants tables that PDF has no use for: give it those of the face.
		tables := []table{{"OS/2", f.tables["OS/2"]}, {"cmap", f.tables["cmap"]}}
		for i := range u16(sub, 4) {
			rec := sub[12+16*i:]
			at, size := u16(rec, 8)<<16|u16(rec, 10), u16(rec, 12)<<16|u16(rec, 14)
			tables = append(tables, table{string(rec[:4]), sub[at : at+size]})
		}
		tables = append(tables, table{"name", f.tables["name"]}, table{"post", f.tables["post"]})
		got, err := sfnt.Parse(assemble(tables))
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		whole := []table{}
		for _, tag := range []string{"OS/2", "cmap", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "name", "post"} {
			whole = append(whole, table{tag, f.tables[tag]})
		}
		want, err := sfnt.Parse(assemble(whole))
		if err != nil {
			t.Fatal(err)
		}
		var b1, b2 sfnt.Buffer
		for _, g := range glyphs {
			s1, err1 := got.LoadGlyph(&b1, sfnt.GlyphIndex(g), fixed.I(64), nil)
			s2, err2 := want.LoadGlyph(&b2, sfnt.GlyphIndex(g), fixed.I(64), nil)
			if err1 != nil || err2 != nil || len(s1) != len(s2) {
				t.Fatalf("%s: glyph %d: %d and %d segments, %v, %v", f.Name, g, len(s1), len(s2), err1, err2)
			}
			for i := range s1 {
				if s1[i] != s2[i] {
					t.Fatalf("%s: glyph %d differs", f.Name, g)
				}
			}
		}
	}
}

func TestGlyphs(t *testing.T) {
	shown := func(s string) string {
		var b strings.Builder
		Regular().Glyphs(s, func(g uint16, r rune) {
			if g == 0 {
				t.Errorf("%q: shown with glyph 0", s)
			}
			b.WriteRune(r)
		})
		return b.String()
	}
	for in, want := range map[string]string{
		"Zoe\u0308 Müller":          "Zoë Müller",
		"a\tb\r\nc":                 "a b  c",
		"\u202Egnp.exe\u202C\u200B": "gnp.exe",
		"日本 ok":                     "\uFFFD\uFFFD ok",
		"bad\xffutf":                "bad\uFFFDutf",
	} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	for _, f := range faces() {
		w := f.Width("Signatures", 10)
		if w < 40 || w > 70 {
			t.Errorf("%s: width %v", f.Name, w)
		}
		if f.Ascent < 700 || f.Descent > -100 || f.CapHeight < 500 || f.BBox[2] <= f.BBox[0] {
			t.Errorf("%s: %+v", f.Name, []int{f.Ascent, f.Descent, f.CapHeight})
		}
	}
}
