package pdf

import (
	"math"

	"milterd/signature/pdf/cos"
)

// cover says where a page shows something, within an area of it: what its content
// paints, and its annotations. It may count a place as taken that is free, for
// it knows no glyph and no picture, only their boxes; what it cannot follow
// takes the whole area. White fills are not counted: programs lay them under
// whole pages.
type cover struct {
	f        *cos.File
	area     Rect    // in points, of the page as it is seen
	nx, ny   int     // cells of the area
	marks    []int32 // by cell, while the page is read
	taken    []int32 // by corner, after that
	full     bool    // everything is taken
	budget   int     // operators that may still be read
	contents int     // bytes that may still be read
	fonts    map[cos.Ref]*coverFont
}

// Limits of cover. A page beyond them counts as full.
const (
	coverOperators = 500_000
	coverBytes     = 16 << 20
	coverDepth     = 8   // forms within forms
	coverSaved     = 512 // graphics states
	coverPieces    = 100_000
	coverCells     = 1500 // across
)

// pageCover reads what a page shows in an area.
func pageCover(f *cos.File, p *Page, area Rect) *cover {
	k := &cover{f: f, area: area, budget: coverOperators, contents: coverBytes, fonts: map[cos.Ref]*coverFont{}}
	k.nx = max(1, min(coverCells, int(math.Ceil(area.W()))))
	k.ny = max(1, min(coverCells, int(math.Ceil(area.H()))))
	k.marks = make([]int32, (k.nx+1)*(k.ny+1))
	seen := p.matrix().inverse()
	k.annotations(p, seen)
	res, err := f.Dict(p.Resources)
	if err != nil {
		k.full = true
		return k
	}
	var content []byte
	for _, o := range k.streams(p.Dict["Contents"]) {
		content = append(append(content, k.decode(o)...), '\n')
	}
	k.run(content, res, newCoverState(seen, area), 0)
	k.sum()
	return k
}

// streams gives the content streams of a page.
func (k *cover) streams(o cos.Object) cos.Array {
	v, err := k.f.Resolve(o)
	if err != nil {
		k.full = true
	}
	if a, ok := v.(cos.Array); ok {
		return a
	}
	return cos.Array{o}
}

// decode gives the data of a content stream.
func (k *cover) decode(o cos.Object) []byte {
	st, err := k.f.Stream(o)
	if err != nil || st == nil {
		k.full = k.full || err != nil
		return nil
	}
	b, err := k.f.Decode(st)
	if k.contents -= len(b); err != nil || k.contents < 0 {
		k.full = true
		return nil
	}
	return b
}

// annotations takes the place of every annotation: links, fields, remarks.
func (k *cover) annotations(p *Page, seen matrix) {
	annots, err := k.f.Array(p.Dict["Annots"])
	if err != nil || len(annots) > coverPieces {
		k.full = true
		return
	}
	for _, o := range annots {
		d, err := k.f.Dict(o)
		if err != nil {
			k.full = true
			return
		}
		if k.f.Name(d["Subtype"]) == "Popup" { // a window of the reader
			continue
		}
		if r, ok := k.rect(d["Rect"]); ok && r.W() > 0 && r.H() > 0 {
			k.mark(seen.box(r))
		}
	}
}

// rect reads four numbers.
func (k *cover) rect(o cos.Object) (Rect, bool) {
	v, ok := k.numbers(o, 4)
	if !ok {
		return Rect{}, false
	}
	return Rect{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}, true
}

func (k *cover) numbers(o cos.Object, n int) ([]float64, bool) {
	a, err := k.f.Array(o)
	if err != nil || len(a) != n {
		return nil, false
	}
	out := make([]float64, n)
	for i := range a {
		e, _ := k.f.Resolve(a[i])
		var ok bool
		if out[i], ok = cos.Number(e); !ok {
			return nil, false
		}
	}
	return out, true
}

// mark takes a place. Marks are differences at corners, so that one costs the
// same whatever its size.
func (k *cover) mark(r Rect) {
	if math.IsNaN(r.X0 + r.Y0 + r.X1 + r.Y1) {
		k.full = true
	}
	const hairline = 0.25
	r = Rect{r.X0 - hairline, r.Y0 - hairline, r.X1 + hairline, r.Y1 + hairline}.and(k.area)
	if k.full || r.X0 >= r.X1 || r.Y0 >= r.Y1 {
		return
	}
	x0, y0, x1, y1 := k.cells(r)
	row := k.nx + 1
	k.marks[y0*row+x0]++
	k.marks[y1*row+x1]++
	k.marks[y0*row+x1]--
	k.marks[y1*row+x0]--
}

// cells gives the cells that a rectangle of the area touches, the last ones exclusive.
func (k *cover) cells(r Rect) (x0, y0, x1, y1 int) {
	cx, cy := float64(k.nx)/k.area.W(), float64(k.ny)/k.area.H()
	x0, y0 = int((r.X0-k.area.X0)*cx), int((r.Y0-k.area.Y0)*cy)
	x1, y1 = int(math.Ceil((r.X1-k.area.X0)*cx)), int(math.Ceil((r.Y1-k.area.Y0)*cy))
	return max(0, x0), max(0, y0), min(k.nx, x1), min(k.ny, y1)
}

// sum counts the taken cells below and left of each corner.
func (k *cover) sum() {
	row := k.nx + 1
	k.taken = make([]int32, len(k.marks))
	for y := range k.ny {
		for x := range k.nx {
			i := y*row + x
			if x > 0 {
				k.marks[i] += k.marks[i-1]
			}
			if y > 0 {
				k.marks[i] += k.marks[i-row]
			}
			if x > 0 && y > 0 {
				k.marks[i] -= k.marks[i-row-1]
			}
			k.taken[i+row+1] = k.taken[i+row] + k.taken[i+1] - k.taken[i]
			if k.marks[i] > 0 {
				k.taken[i+row+1]++
			}
		}
	}
}

// free reports whether nothing is shown in a rectangle.
func (k *cover) free(r Rect) bool {
	if k.full || r.and(k.area) != r {
		return false
	}
	x0, y0, x1, y1 := k.cells(r)
	at := func(x, y int) int32 { return k.taken[y*(k.nx+1)+x] }
	return at(x1, y1)-at(x0, y1)-at(x1, y0)+at(x0, y0) == 0
}

// and is what two rectangles have in common; its sides are not in order where
// that is nothing.
func (r Rect) and(o Rect) Rect {
	return Rect{max(r.X0, o.X0), max(r.Y0, o.Y0), min(r.X1, o.X1), min(r.Y1, o.Y1)}
}

// box is the smallest upright rectangle around a rectangle that m maps.
func (m matrix) box(r Rect) Rect {
	out := Rect{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	for _, c := range [4][2]float64{{r.X0, r.Y0}, {r.X1, r.Y0}, {r.X0, r.Y1}, {r.X1, r.Y1}} {
		x, y := m.apply(c[0], c[1])
		out = Rect{min(out.X0, x), min(out.Y0, y), max(out.X1, x), max(out.Y1, y)}
	}
	return out
}

// then is m followed by n.
func (m matrix) then(n matrix) matrix {
	return matrix{
		m[0]*n[0] + m[1]*n[2], m[0]*n[1] + m[1]*n[3],
		m[2]*n[0] + m[3]*n[2], m[2]*n[1] + m[3]*n[3],
		m[4]*n[0] + m[5]*n[2] + n[4], m[4]*n[1] + m[5]*n[3] + n[5],
	}
}

// inverse of a matrix that can be inverted, as those of pages can.
func (m matrix) inverse() matrix {
	d := m[0]*m[3] - m[1]*m[2]
	return matrix{
		m[3] / d, -m[1] / d, -m[2] / d, m[0] / d,
		(m[2]*m[5] - m[3]*m[4]) / d, (m[1]*m[4] - m[0]*m[5]) / d,
	}
}
