package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

// pictures is how a document's pages look before and after.
type pictures struct {
	pages  int
	differ []int // pages that look different outside of what signing adds
}

// String is what the table says.
func (p *pictures) String() string {
	if len(p.differ) > 0 {
		return fmt.Sprintf("%d of %d differ", len(p.differ), p.pages)
	}
	return fmt.Sprintf("%d equal", p.pages)
}

// draw has poppler draw the pages of a document as it came and those pages of the
// result, and compares them dot by dot. Left out are what signing is there to add:
// the widgets that came in, and where the document had no signature before, the
// line at the top edge of a page.
func draw(ctx context.Context, dir string, f *file) (*pictures, error) {
	was, err := os.ReadFile(f.original)
	if err != nil {
		return nil, err
	}
	is, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	old, err := cos.Open(was)
	if err != nil {
		return nil, err
	}
	now, err := cos.Open(is)
	if err != nil {
		return nil, err
	}
	before, err := pdf.Pages(old, 0)
	if err != nil {
		return nil, err
	}
	after, err := pdf.Pages(now, len(before))
	if err != nil {
		return nil, err
	}
	dpi := 72
	if len(before) > 100 {
		dpi = 24
	}
	out := &pictures{pages: len(before)}
	for first := 1; first <= len(before); first += 50 {
		last := min(first+49, len(before))
		a, err := drawn(ctx, dir, f.original, dpi, first, last)
		if err != nil {
			return nil, err
		}
		b, err := drawn(ctx, dir, f.path, dpi, first, last)
		if err != nil {
			return nil, err
		}
		if len(a) != last-first+1 || len(b) != len(a) {
			return nil, fmt.Errorf("%s: %d and %d of %d pages were drawn", f, len(a), len(b), last-first+1)
		}
		for i := range a {
			n := first + i
			added, err := widgets(old, now, before[n-1], after[n-1])
			if err != nil {
				return nil, err
			}
			if f.before == nil {
				w, h := after[n-1].Size()
				added = append(added, pdf.Rect{X0: 0, Y0: h - 20, X1: w, Y1: h}) // pdf.watermarkBand
			}
			same, err := equal(a[i], b[i], after[n-1], added)
			if err != nil {
				return nil, fmt.Errorf("%s, page %d: %w", f, n, err)
			}
			if !same {
				out.differ = append(out.differ, n)
			}
		}
	}
	return out, nil
}

// drawn gives pages as pictures, PPM.
func drawn(ctx context.Context, dir, path string, dpi, first, last int) ([][]byte, error) {
	at, err := os.MkdirTemp(dir, "pages-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(at)
	cmd := exec.CommandContext(ctx, "pdftoppm", "-cropbox", "-r", strconv.Itoa(dpi), "-f", strconv.Itoa(first), "-l", strconv.Itoa(last), path, filepath.Join(at, "p"))
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	names, err := filepath.Glob(filepath.Join(at, "*.ppm"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // numbers are padded to one width
	var out [][]byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// widgets are the rectangles, as seen, of annotations that a page did not have, and
// of signature fields that it had and that got signed.
func widgets(old, now *cos.File, before, after *pdf.Page) (out []pdf.Rect, err error) {
	had, err := old.Array(before.Dict["Annots"])
	if err != nil {
		return nil, err
	}
	has, err := now.Array(after.Dict["Annots"])
	if err != nil {
		return nil, err
	}
	signed, err := newlySigned(old, now)
	if err != nil {
		return nil, err
	}
	for i, o := range has {
		if i < len(had) && !slices.Contains(signed, o) { // new ones come last
			continue
		}
		d, err := now.Dict(o)
		if err != nil {
			return nil, err
		}
		list, err := now.Array(d["Rect"])
		if err != nil || now.Name(d["Subtype"]) != "Widget" || len(list) != 4 {
			return nil, errors.Join(errors.New("an annotation was added that is no widget"), err)
		}
		var v [4]float64
		for i := range list {
			v[i], _ = cos.Number(list[i])
		}
		x0, y0 := seen(after, v[0], v[1])
		x1, y1 := seen(after, v[2], v[3])
		out = append(out, pdf.Rect{X0: min(x0, x1), Y0: min(y0, y1), X1: max(x0, x1), Y1: max(y0, y1)})
	}
	return out, nil
}

// newlySigned are the references of fields that hold a signature which they did
// not hold before.
func newlySigned(old, now *cos.File) (out []cos.Object, err error) {
	before, err := pdf.Signatures(old)
	if err != nil {
		return nil, err
	}
	after, err := pdf.Signatures(now)
	if err != nil {
		return nil, err
	}
	for _, s := range after {
		if !slices.ContainsFunc(before, func(b *pdf.Signature) bool { return b.Field.Ref == s.Field.Ref }) {
			out = append(out, s.Field.Ref)
		}
	}
	return out, nil
}

// seen turns a point in user space into one of the page as it is shown, with the
// origin at the bottom left.
func seen(p *pdf.Page, x, y float64) (float64, float64) {
	switch c := p.Crop; p.Rotate {
	case 90:
		return y - c.Y0, c.X1 - x
	case 180:
		return c.X1 - x, c.Y1 - y
	case 270:
		return c.Y1 - y, x - c.X0
	default:
		return x - c.X0, y - c.Y0
	}
}

// equal compares two pictures of a page outside of rectangles, each widened by a
// dot, into which their edges can be drawn.
func equal(a, b []byte, p *pdf.Page, without []pdf.Rect) (bool, error) {
	w, h, before, err := ppm(a)
	if err != nil {
		return false, err
	}
	w2, h2, after, err := ppm(b)
	if err != nil {
		return false, err
	}
	if w != w2 || h != h2 {
		return false, nil
	}
	pw, ph := p.Size()
	sx, sy := float64(w)/pw, float64(h)/ph
	hidden := make([]bool, w*h)
	for _, r := range without {
		if r.W() == 0 || r.H() == 0 {
			continue // invisible
		}
		for y := max(0, int((ph-r.Y1)*sy)-1); y < min(h, int((ph-r.Y0)*sy)+2); y++ {
			for x := max(0, int(r.X0*sx)-1); x < min(w, int(r.X1*sx)+2); x++ {
				hidden[y*w+x] = true
			}
		}
	}
	for i, is := range hidden {
		if !is && !bytes.Equal(before[3*i:3*i+3], after[3*i:3*i+3]) {
			return false, nil
		}
	}
	return true, nil
}

// ppm reads what pdftoppm writes: P6, 8 bits.
func ppm(b []byte) (w, h int, dots []byte, err error) {
	var most int
	if _, err := fmt.Sscanf(string(b[:min(40, len(b))]), "P6\n%d %d\n%d\n", &w, &h, &most); err != nil {
		return 0, 0, nil, fmt.Errorf("no PPM: %w", err)
	}
	if most != 255 || len(b) < 3*w*h {
		return 0, 0, nil, errors.New("not the PPM that was expected")
	}
	return w, h, b[len(b)-3*w*h:], nil
}
