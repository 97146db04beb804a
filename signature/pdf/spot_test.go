package pdf

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"milterd/signature/pdf/cos"
)

// placeRow signs as if others had signed before: a row of three and the seal.
func placeRow(t *testing.T, head []byte) []byte {
	t.Helper()
	for i, l := range append(looks(), SealLook(plan.Organisation, plan.VAT, signedAt)) {
		p, err := Place(head, Signing{Field: fmt.Sprint("Row ", i), Row: 4, Look: l, Reserve: 100, Entries: cos.Dict{"Type": cos.Name("Sig")}})
		if err != nil {
			t.Fatal(err)
		}
		head = slices.Concat(head, p.Suffix)
	}
	return head
}

// rowOf gives the widgets that placeRow made, as they are seen on the last page.
func rowOf(t *testing.T, data []byte) (p *Page, row []Rect) {
	t.Helper()
	f, err := cos.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := Pages(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	p = pages[len(pages)-1]
	annots, err := f.Array(p.Dict["Annots"])
	if err != nil {
		t.Fatal(err)
	}
	c := cover{f: f}
	for _, o := range annots {
		d, err := f.Dict(o)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := c.rect(d["Rect"])
		if !strings.HasPrefix(f.String(d["T"]).UTF8(), "Row ") || !ok || r.W() == 0 {
			continue
		}
		if d["P"] != p.Ref || d["F"] != int64(4) || d["FT"] != cos.Name("Sig") {
			t.Errorf("widget %v", d)
		}
		seen := p.matrix().inverse().box(r)
		row = append(row, seen)
		ap, err := f.Dict(d["AP"])
		if err != nil {
			t.Fatal(err)
		}
		look, err := f.Dict(ap["N"])
		if err != nil {
			t.Fatal(err)
		}
		// Upright as it is seen: as wide as the place, and turned against the page.
		box, _ := c.rect(look["BBox"])
		if m, _ := c.numbers(look["Matrix"], 6); math.Abs(box.W()-seen.W()) > 0.1 || p.Rotate != 0 && (m == nil || math.Abs(m[1]-math.Sin(float64(p.Rotate)*math.Pi/180)) > 0.1) {
			t.Errorf("page turned by %d: %v in %v, matrix %v", p.Rotate, box, seen, m)
		}
	}
	return p, row
}

// picture draws the last page, a pixel a point.
func picture(t *testing.T, data []byte) (pixels []byte, w, h int) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "in.pdf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "qpdf", "qpdf", "--check", path); strings.Contains(out, "WARNING") {
		t.Errorf("qpdf: %s", out)
	}
	run(t, "poppler-utils", "pdftoppm", "-gray", "-cropbox", "-r", "72", path, filepath.Join(dir, "p"))
	drawn, err := filepath.Glob(filepath.Join(dir, "p*.pgm"))
	if err != nil || len(drawn) == 0 {
		t.Fatal("nothing drawn", err)
	}
	b, err := os.ReadFile(drawn[len(drawn)-1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(bytes.NewReader(b), "P5\n%d %d\n255\n", &w, &h); err != nil {
		t.Fatal(err)
	}
	return b[len(b)-w*h:], w, h
}

// TestRow: visible signatures on what others signed hide nothing, stand in
// nobody's place, and change the page where they stand and nowhere else.
func TestRow(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range append(slices.Clone(laidOut), "signed.pdf", "signed-form.pdf", "signed-packed.pdf", "locked-some.pdf") {
		files[name] = sample(t, name)
	}
	const font = "/Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>"
	for _, turn := range []int{0, 90, 180, 270} {
		at := map[int]string{0: "1 0 0 1 290 30", 90: "0 1 -1 0 565 420", 180: "-1 0 0 -1 300 812", 270: "0 -1 1 0 30 420"}[turn]
		files[fmt.Sprint("turned ", turn)] = buildPage(fmt.Sprintf("/MediaBox[0 0 595 842]/Rotate %d", turn),
			"1 g 0 0 595 842 re f 0 g BT /F 10 Tf "+at+" Tm (Page 1) Tj ET", font) // a page number at the foot, as it is seen
	}
	for name, head := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, w, h := picture(t, head)
			out := placeRow(t, head)
			if keep := os.Getenv("PDF_KEEP"); keep != "" {
				os.WriteFile(filepath.Join(keep, "row-"+strings.TrimSuffix(name, ".pdf")+".pdf"), out, 0o644)
			}
			after, _, _ := picture(t, out)
			page, row := rowOf(t, out)
			if len(row) != 4 {
				t.Fatalf("%d widgets in a row", len(row))
			}
			_, ph := page.Size()
			ink := make([]int, len(row))
			for i := range before {
				x, y := float64(i%w)+0.5, ph-float64(i/w)-0.5
				in := slices.IndexFunc(row, func(r Rect) bool { return x > r.X0-1 && x < r.X1+1 && y > r.Y0-1 && y < r.Y1+1 })
				switch {
				case in < 0 && before[i] != after[i]:
					t.Fatalf("changed at %v, %v, beside %v", x, y, row)
				case in >= 0 && before[i] != 255:
					t.Fatalf("hides what stood at %v, %v", x, y)
				case in >= 0 && after[i] < 200:
					ink[in]++
				}
			}
			for i, r := range row {
				if ink[i] < 50 || r.Y1 > min(spotTop, float64(h)/6) || r.X0 < pageMargin-0.1 || r.X1 > float64(w)-pageMargin+0.1 {
					t.Errorf("widget %v: %d dark pixels", r, ink[i])
				}
				for _, o := range row[:i] {
					if c := r.and(o); c.X0 < c.X1 && c.Y0 < c.Y1 {
						t.Errorf("%v lies over %v", r, o)
					}
				}
			}
		})
	}
}

// TestNoRow: where there is no room, or nobody may, the signature is invisible.
func TestNoRow(t *testing.T) {
	full := "/MediaBox[0 0 595 842]"
	for name, head := range map[string][]byte{
		"certified, P 2": sample(t, "certified-2.pdf"), "certified, P 3": sample(t, "certified-3.pdf"), "lock with P 2": sample(t, "locked-2.pdf"),
		"lock of all else": sample(t, "locked-rest.pdf"),
		"picture":          buildPage(full, "q 595 0 0 842 0 0 cm /I Do Q", "/XObject<</I 7 0 R>>"),
		"unreadable":       buildPage(full, "(", ""),
		"narrow":           buildPage("/MediaBox[0 0 200 842]", "", ""),
		"low":              buildPage("/MediaBox[0 0 595 200]", "", ""),
		"text at the foot": buildPage(full, strings.Repeat("BT /F 12 Tf 20 20 Td ("+strings.Repeat("A", 100)+") Tj ET 1 0 0 1 0 20 cm\n", 6), "/Font<</F 5 0 R>>"),
		"remark":           buildPage(full+"/Annots[<</Subtype/FreeText/Rect[0 0 595 200]>>]", "", ""),
	} {
		if _, row := rowOf(t, placeRow(t, head)); len(row) != 0 {
			t.Errorf("%s: %v", name, row)
		}
	}
}

// TestRowOnSharedAnnotations: an array of annotations that pages share is not
// where one page's widget may go.
func TestRowOnSharedAnnotations(t *testing.T) {
	page := "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Annots 5 0 R>>"
	out := placeRow(t, build("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>", page, page, "[]"))
	f, err := cos.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := Pages(f, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.Array(pages[0].Dict["Annots"])
	if _, row := rowOf(t, out); err != nil || len(first) != 0 || len(row) != 4 {
		t.Errorf("%d on the first page, %d on the last, %v", len(first), len(row), err)
	}
}
