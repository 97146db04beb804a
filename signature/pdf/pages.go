package pdf

import (
	"fmt"
	"math"

	"milterd/signature/pdf/cos"
)

// Page is a page with what it inherits.
type Page struct {
	Ref       cos.Ref
	Dict      cos.Dict   // shared: clone before changing
	Resources cos.Object // as it stands on the page or above it
	Crop      Rect       // visible part in user space: CropBox within MediaBox
	Rotate    int        // 0, 90, 180, 270 clockwise
	parent    cos.Ref    // whose Resources these are, if they are inherited
}

// Rect is a rectangle in points; X0 < X1, Y0 < Y1.
type Rect struct{ X0, Y0, X1, Y1 float64 }

// W and H are its sides.
func (r Rect) W() float64 { return r.X1 - r.X0 }
func (r Rect) H() float64 { return r.Y1 - r.Y0 }

// Size is what a reader shows: width and height of the page after rotation.
func (p *Page) Size() (w, h float64) {
	if p.Rotate%180 != 0 {
		return p.Crop.H(), p.Crop.W()
	}
	return p.Crop.W(), p.Crop.H()
}

// MaxPages is how many pages a document can have.
const MaxPages = 5000

// inherited is what a page takes from above.
type inherited struct {
	resources cos.Object
	from      cos.Ref
	media     cos.Object
	crop      cos.Object
	rotate    cos.Object
}

type pageWalk struct {
	f       *cos.File
	limit   int
	pages   []*Page
	visited map[int]bool
}

// Pages lists the first pages up to limit; 0 means all, at most MaxPages.
func Pages(f *cos.File, limit int) ([]*Page, error) {
	cat, err := f.Catalog()
	if err != nil {
		return nil, err
	}
	root, ok := cat["Pages"].(cos.Ref)
	if !ok {
		return nil, fmt.Errorf("%w: no page tree", cos.ErrBroken)
	}
	w := pageWalk{f: f, limit: limit, visited: map[int]bool{}}
	if err := w.node(root, inherited{}, 0); err != nil {
		return nil, fmt.Errorf("page tree: %w", err)
	}
	if len(w.pages) == 0 {
		return nil, fmt.Errorf("%w: no pages", cos.ErrBroken)
	}
	return w.pages, nil
}

func (w *pageWalk) node(ref cos.Ref, in inherited, depth int) error {
	if w.limit > 0 && len(w.pages) >= w.limit {
		return nil
	}
	if depth > limitDepth {
		return fmt.Errorf("nested too deeply: %w", cos.ErrLimit)
	}
	if w.visited[ref.Num] {
		return fmt.Errorf("%w: object %d stands twice in it", cos.ErrBroken, ref.Num)
	}
	w.visited[ref.Num] = true
	d, err := w.f.Plain(ref)
	if err != nil {
		return err
	}
	if d == nil {
		return fmt.Errorf("%w: object %d is missing", cos.ErrBroken, ref.Num)
	}
	if v, ok := d["Resources"]; ok {
		in.resources, in.from = v, ref
	}
	for key, dst := range map[cos.Name]*cos.Object{"MediaBox": &in.media, "CropBox": &in.crop, "Rotate": &in.rotate} {
		if v, ok := d[key]; ok {
			*dst = v
		}
	}
	if kids, ok := d["Kids"]; ok {
		list, err := w.f.Array(kids)
		if err != nil {
			return err
		}
		for _, k := range list {
			r, ok := k.(cos.Ref)
			if !ok {
				return fmt.Errorf("%w: a page without a number", cos.ErrBroken)
			}
			if err := w.node(r, in, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if len(w.pages) >= MaxPages {
		return fmt.Errorf("more than %d pages: %w", MaxPages, cos.ErrLimit)
	}
	p, err := w.page(ref, d, in)
	if err != nil {
		return fmt.Errorf("page %d: %w", len(w.pages)+1, err)
	}
	w.pages = append(w.pages, p)
	return nil
}

func (w *pageWalk) page(ref cos.Ref, d cos.Dict, in inherited) (*Page, error) {
	p := &Page{Ref: ref, Dict: d, Resources: in.resources, parent: in.from}
	media, err := w.rect(in.media)
	if err != nil {
		return nil, err
	}
	p.Crop = media
	if in.crop != nil {
		crop, err := w.rect(in.crop)
		if err != nil {
			return nil, err
		}
		c := Rect{max(crop.X0, media.X0), max(crop.Y0, media.Y0), min(crop.X1, media.X1), min(crop.Y1, media.Y1)}
		if c.W() > 0 && c.H() > 0 {
			p.Crop = c
		}
	}
	if n, ok := w.f.Int(in.rotate); ok && n%90 == 0 {
		p.Rotate = (n%360 + 360) % 360
	}
	return p, nil
}

func (w *pageWalk) rect(o cos.Object) (Rect, error) {
	a, err := w.f.Array(o)
	if err != nil {
		return Rect{}, err
	}
	if len(a) != 4 {
		return Rect{}, fmt.Errorf("%w: a page box needs four numbers", cos.ErrBroken)
	}
	var v [4]float64
	for i := range a {
		e, err := w.f.Resolve(a[i])
		if err != nil {
			return Rect{}, err
		}
		n, ok := cos.Number(e)
		if !ok || math.Abs(n) > 1e6 {
			return Rect{}, fmt.Errorf("%w: bad page box", cos.ErrBroken)
		}
		v[i] = n
	}
	r := Rect{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}
	if r.W() < 1 || r.H() < 1 {
		return Rect{}, fmt.Errorf("%w: a page without a size", cos.ErrBroken)
	}
	return r, nil
}
