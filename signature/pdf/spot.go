package pdf

import (
	"slices"

	"milterd/signature/pdf/cos"
)

// Widgets in documents that others have signed stand in the margin at the foot
// of the last page, in rows, and only where nothing shows.
const (
	spotTop   = 116.0 // no higher than that, nor than a sixth of the page
	spotSpace = 3.0   // around each
	spotStep  = 2.0
)

// spotSizes are tried in this order, if a row has room for as many as there will be.
var spotSizes = [][2]float64{{170, 50}, {156, 44}, {140, 38}, {124, 34}, {112, 30}}

// spot finds a free place for one of row widgets; ok is false if there is none.
func spot(f *cos.File, p *Page, row int) (r Rect, ok bool) {
	w, h := p.Size()
	top := min(spotTop, h/6)
	if w < 2*pageMargin+spotSizes[0][0] || top < paraphBottom+spotSizes[len(spotSizes)-1][1] {
		return r, false
	}
	c := pageCover(f, p, Rect{0, 0, w, top + 2*spotSpace})
	for i, size := range spotSizes {
		share := (w-2*pageMargin+paraphGap)/float64(row) - paraphGap
		if size[0] > share && i < len(spotSizes)-1 {
			continue
		}
		for y := paraphBottom; y+size[1] <= top; y += spotStep {
			for x := pageMargin; x+size[0] <= w-pageMargin; x += spotStep {
				r = Rect{x, y, x + size[0], y + size[1]}
				if c.free(Rect{r.X0 - spotSpace, r.Y0 - spotSpace, r.X1 + spotSpace, r.Y1 + spotSpace}) {
					return r, true
				}
			}
		}
	}
	return Rect{}, false
}

// addVisible adds an empty signature field with a visible widget at the foot of
// the last page, one of row that are to come. It gives nil where nobody may, or
// where there is no room.
func addVisible(f *cos.File, u *cos.Update, name string, row int) (*Field, error) {
	rules, err := ReadRules(f)
	if err != nil || !rules.Visible(name) {
		return nil, err
	}
	pages, err := Pages(f, 0)
	if err != nil {
		return nil, err
	}
	last := pages[len(pages)-1]
	r, ok := spot(f, last, row)
	if !ok {
		return nil, nil
	}
	fd := &Field{Name: name, Ref: u.Reserve(), Type: "Sig", Dict: widget(last, r, nil)}
	fd.Dict["FT"], fd.Dict["T"] = cos.Name("Sig"), cos.Text(name)
	// An array of annotations that several pages share would show the widget on each.
	shared := func(p *Page) bool { return p != last && p.Dict["Annots"] == last.Dict["Annots"] }
	if _, indirect := last.Dict["Annots"].(cos.Ref); indirect && slices.ContainsFunc(pages, shared) {
		own := last.Dict.Clone()
		old, err := f.Array(own["Annots"])
		if err != nil {
			return nil, err
		}
		own["Annots"] = append(slices.Clone(old), fd.Ref)
		u.Set(last.Ref, own)
	} else if err := appendTo(f, u, last.Ref, "Annots", fd.Ref); err != nil {
		return nil, err
	}
	return fd, addFields(f, u, fd.Ref)
}
