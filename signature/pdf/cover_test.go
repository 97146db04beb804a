package pdf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/signature/pdf/cos"
)

// TestCoverAgainstRendering: no reader shows anything where cover says that a
// page is free. Poppler draws every page of the samples.
func TestCoverAgainstRendering(t *testing.T) {
	dir := t.TempDir()
	pages := 0
	for _, name := range coverSamples(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := cos.Open(data)
		if err != nil {
			continue
		}
		list, err := Pages(f, 20)
		if err != nil {
			continue
		}
		run(t, "poppler-utils", "pdftoppm", "-gray", "-cropbox", "-r", "72", "-l", "20", name, filepath.Join(dir, "p"))
		drawn, _ := filepath.Glob(filepath.Join(dir, "p*.pgm"))
		if len(drawn) != len(list) {
			t.Errorf("%s: %d pages drawn, %d read", name, len(drawn), len(list))
		}
		for i, path := range drawn {
			picture, err := os.ReadFile(path)
			os.Remove(path)
			if err != nil {
				t.Fatal(err)
			}
			if i < len(list) {
				pages++
				comparePage(t, fmt.Sprintf("%s, page %d", filepath.Base(name), i+1), f, list[i], picture)
			}
		}
	}
	if pages < 25 {
		t.Errorf("only %d pages compared", pages)
	}
}

// coverSamples are the samples that Inspect takes, or the files of a pattern in
// COVER_CORPUS: whoever changes cover tries it on more documents than we keep.
func coverSamples(t *testing.T) (out []string) {
	if dir := os.Getenv("COVER_CORPUS"); dir != "" {
		out, _ = filepath.Glob(dir)
		return out
	}
	for _, name := range sampleNames(t) {
		if _, err := inspect(sample(t, name)); err == nil {
			out = append(out, filepath.Join(samples, name))
		}
	}
	return out
}

// comparePage looks for ink of a picture, at a pixel a point, in free places.
func comparePage(t *testing.T, what string, f *cos.File, p *Page, picture []byte) {
	t.Helper()
	var w, h, most int
	if _, err := fmt.Fscanf(bytes.NewReader(picture), "P5\n%d %d\n%d\n", &w, &h, &most); err != nil || len(picture) < w*h {
		t.Fatalf("%s: no picture: %v", what, err)
	}
	pixels := picture[len(picture)-w*h:]
	pw, ph := p.Size()
	c := pageCover(f, p, Rect{0, 0, pw, ph})
	missed, free := 0, 0
	for y := range h {
		for x := range w {
			// Smoothing darkens the neighbours of what is drawn.
			seen := Rect{float64(x) - 0.5, ph - float64(y) - 1.5, float64(x) + 1.5, ph - float64(y) + 0.5}
			if !c.free(seen.and(c.area)) {
				continue
			}
			free++
			if pixels[y*w+x] < 245 {
				if missed++; missed == 1 {
					t.Errorf("%s: ink at %d, %d, which is said to be free", what, x, h-y)
				}
			}
		}
	}
	if testing.Verbose() {
		t.Logf("%s: %d%% free", what, 100*free/(w*h))
	}
}

// coverOf reads a content stream on a page of 200 by 200 points.
func coverOf(t testing.TB, content, resources string) *cover {
	t.Helper()
	data := buildPage("/MediaBox[0 0 200 200]", content, resources)
	f, err := cos.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := Pages(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pageCover(f, pages[0], Rect{0, 0, 200, 200})
}

// buildPage makes a file of one page. Objects 5 to 7 are a font, a form and a
// picture that resources may name.
func buildPage(page, content, resources string) []byte {
	return build("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R"+page+"/Contents 4 0 R/Resources<<"+resources+">>>>",
		fmt.Sprintf("<</Length %d>>\nstream\n%s\nendstream", len(content), content),
		"<</Type/Font/Subtype/TrueType/BaseFont/X/FirstChar 65/LastChar 66/Widths[500 1000]>>",
		"<</Type/XObject/Subtype/Form/BBox[0 0 10 10]/Matrix[1 0 0 1 100 0]/Length 13>>\nstream\n0 0 50 5 re f\nendstream",
		"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>\nstream\nx\nendstream")
}

// build makes a file of objects, the first being the catalog.
func build(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return b.Bytes()
}

// TestCover: where one thing shows, and no further.
func TestCover(t *testing.T) {
	const font = "/Font<</F 5 0 R>>"
	all, none := Rect{0, 0, 200, 200}, Rect{}
	for content, c := range map[string]struct {
		resources string
		taken     Rect
	}{
		"":                                                  {"", none},
		"10 10 20 30 re f":                                  {"", Rect{10, 10, 30, 40}},
		"1 g 10 10 20 30 re f":                              {"", none},
		"1 1 1 rg 0 0 200 200 re f":                         {"", none},
		"0 0 0 0 k 0 0 200 200 re f":                        {"", none},
		"/S cs 1 1 1 sc 0 0 200 200 re f":                   {"/ColorSpace<</S[/CalRGB<<>>]>>", none},
		"/S cs 1 1 1 sc 0 0 20 20 re f":                     {"/ColorSpace<</S[/Separation/X/DeviceGray null]>>", Rect{0, 0, 20, 20}},
		"/Pattern cs /P scn 0 0 20 20 re f":                 {"", Rect{0, 0, 20, 20}},
		"10 10 20 30 re n":                                  {"", none},
		"q 2 0 0 2 10 0 cm 0 0 5 5 re f Q":                  {"", Rect{10, 0, 20, 10}},
		"q 50 0 0 50 0 0 cm Q 0 0 5 5 re f":                 {"", Rect{0, 0, 5, 5}},
		"0 1 -1 0 100 0 cm 0 0 10 20 re f":                  {"", Rect{80, 0, 100, 10}},
		"10 10 20 20 re W n 0 0 200 200 re f":               {"", Rect{10, 10, 30, 30}},
		"4 w 10 50 m 60 50 l S":                             {"", Rect{7, 47, 63, 53}},
		"10 10 m 20 60 40 60 50 10 c f":                     {"", Rect{10, 10, 50, 60}},
		"q 30 0 0 20 40 50 cm /I Do Q":                      {"/XObject<</I 7 0 R>>", Rect{40, 50, 70, 70}},
		"/F Do":                                             {"/XObject<</F 6 0 R>>", Rect{100, 0, 110, 5}},
		"/Missing Do":                                       {"", none},
		"q 30 0 0 20 40 50 cm BI /W 1 ID x EI Q":            {"", Rect{40, 50, 70, 70}},
		"0 0 40 40 re W n /S sh":                            {"", Rect{0, 0, 40, 40}},
		"BT /F 10 Tf 50 100 Td (AB) Tj ET":                  {font, Rect{48.5, 96.5, 66.5, 111}},
		"BT /F 10 Tf 1 0 0 1 50 100 Tm [(A) 500 (A)] TJ ET": {font, Rect{48.5, 96.5, 56.5, 111}},
		"BT /F 10 Tf 50 Tz 50 100 Td (B) Tj ET":             {font, Rect{49.25, 96.5, 55.75, 111}},
		"BT /F 10 Tf 3 Tc 50 100 Td (BB) Tj ET":             {font, Rect{48.5, 96.5, 77.5, 111}},
		"BT /F 10 Tf 0 1 -1 0 50 100 Tm (B) Tj ET":          {font, Rect{39, 98.5, 53.5, 111.5}},
		"BT /F 10 Tf 12 TL 50 100 Td T* (B) Tj ET":          {font, Rect{48.5, 84.5, 61.5, 99}},
		"BT /F 10 Tf 50 100 Td (z) Tj ET":                   {font, Rect{48.5, 96.5, 62.5, 111}}, // no width given: at most
		"BT /F 10 Tf 50 100 Td (z) Tj (A) Tj ET":            {font, Rect{48.5, 96.5, 78.5, 111}}, // and what follows may stand anywhere
		"BT /Missing 10 Tf (B) Tj ET":                       {"", all},
		"(B) Tj":                                            {"", all},
		"0 0 cm":                                            {"", all},
		"<< /A":                                             {"", all},
		"0 0 200 200 re f*":                                 {"", all},
		strings.Repeat("q ", coverSaved+2):                  {"", all},
		strings.Repeat("n ", coverOperators+1):              {"", all},
	} {
		k := coverOf(t, content, c.resources)
		const blur = 1.5 // of whole cells
		grown := Rect{c.taken.X0 - blur, c.taken.Y0 - blur, c.taken.X1 + blur, c.taken.Y1 + blur}
		for y := 0.0; y < 200; y++ {
			for x := 0.0; x < 200; x++ {
				r := Rect{x, y, x + 1, y + 1}
				inside := r.and(c.taken) == r
				outside := c.taken == none || r.X1 < grown.X0 || r.X0 > grown.X1 || r.Y1 < grown.Y0 || r.Y0 > grown.Y1
				if free := k.free(r); inside && free || outside && !free {
					t.Fatalf("%.60q: free at %v, %v is %v", content, x, y, free)
				}
			}
		}
	}
	frame := coverOf(t, "1 g 10 10 100 100 re B", "")
	if !frame.free(Rect{15, 15, 105, 105}) || frame.free(Rect{5, 15, 15, 20}) || frame.free(Rect{-5, 150, 5, 160}) {
		t.Error("a white box with a frame is free inside, and not on its frame")
	}
}

// FuzzCover: any content is read to an end, and what is painted later frees
// nothing that earlier content had taken.
func FuzzCover(f *testing.F) {
	const font = "/Font<</F 5 0 R>>/XObject<</F 6 0 R/I 7 0 R>>"
	f.Add([]byte("1 g 0 0 9 9 re f"), []byte("/F Do q 3 0 0 3 0 0 cm /I Do Q"))
	f.Add([]byte("BT /F 12 Tf 10 20 Td [(AB) -200 (z)] TJ T* (x) ' 1 2 (y) \" ET"), []byte("10 10 m 20 20 30 30 40 10 c W n S"))
	f.Add([]byte("q BI /W 1 ID x EI Q 1 0 0 0 1 1 cm 1e300 w 0 0 m 1 1 l S"), []byte("/CS cs 1 scn Q Q Q sh"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		a := coverOf(t, string(first), font)
		b := coverOf(t, string(first)+"\n"+string(second), font)
		if a.full {
			return // what was not understood may be, with what follows
		}
		for y := 0.0; y < 200; y += 5 {
			for x := 0.0; x < 200; x += 5 {
				if r := (Rect{x, y, x + 5, y + 5}); b.free(r) && !a.free(r) {
					t.Fatalf("%v was freed", r)
				}
			}
		}
	})
}
