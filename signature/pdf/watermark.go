package pdf

import (
	"fmt"

	"milterd/signature/pdf/cos"
)

// matrix maps a page as it is seen (origin at the bottom left, in points) to
// its user space.
type matrix [6]float64

func (m matrix) apply(x, y float64) (float64, float64) {
	return m[0]*x + m[2]*y + m[4], m[1]*x + m[3]*y + m[5]
}

func (p *Page) matrix() matrix {
	c := p.Crop
	switch p.Rotate {
	case 90:
		return matrix{0, 1, -1, 0, c.X1, c.Y0}
	case 180:
		return matrix{-1, 0, 0, -1, c.X1, c.Y1}
	case 270:
		return matrix{0, -1, 1, 0, c.X0, c.Y1}
	}
	return matrix{1, 0, 0, 1, c.X0, c.Y0}
}

const (
	watermarkSize = 6.5
	watermarkBand = 20.0 // height at the top edge
)

// watermark adds the line at the top edge of a page: after its content, in the
// graphics state that the page began with. It reports whether it changed d.
func (l *layouter) watermark(p *Page, d cos.Dict) (bool, error) {
	w, h := p.Size()
	words := "Organisation: " + l.plan.Organisation
	if l.plan.VAT != "" {
		words += "  ·  VAT " + l.plan.VAT
	}
	words += "  ·  Session " + l.plan.Session
	line, size := fit(regular, watermarkSize, w-2*pageMargin, words)
	if w < 120 || h < 90 || size < 3 {
		return false, nil
	}
	form := l.shape(fmt.Sprintf("watermark %.2f", w), func() cos.Object {
		c := l.canvas()
		c.text((w-regular.face().Width(line, size))/2, 7, regular, size, faint, line)
		return l.u.Add(c.form(w, watermarkBand, nil, l.fonts))
	}).(cos.Ref)
	if err := l.addResource(p, d, form); err != nil {
		return false, err
	}
	contents, err := l.contents(d["Contents"])
	if err != nil {
		return false, err
	}
	missing, extra := l.balance(contents)
	before := l.shape(fmt.Sprintf("before %d", missing), func() cos.Object {
		c := newCanvas()
		for range missing + 1 {
			c.op("q")
		}
		return l.u.Add(&cos.Stream{Raw: c.b})
	})
	m := p.matrix()
	after := l.shape(fmt.Sprintf("after %d %v %.2f", extra, m, h), func() cos.Object {
		c := newCanvas()
		c.b = append(c.b, '\n')
		for range extra + 1 {
			c.op("Q")
		}
		c.b = append(c.b, "/Artifact <</Type /Pagination /Subtype /Watermark>> BDC\n"...)
		c.op("q")
		c.op("cm", m[0], m[1], m[2], m[3], m[4], m[5])
		c.op("cm", 1, 0, 0, 1, 0, h-watermarkBand)
		c.b = append(c.b, "/MilterdMark Do\nQ\nEMC\n"...)
		return l.u.Add(&cos.Stream{Raw: c.b})
	})
	all := append(cos.Array{before}, contents...)
	d["Contents"] = append(all, after)
	return true, nil
}

// contents gives the content streams of a page as references.
func (l *layouter) contents(o cos.Object) (cos.Array, error) {
	v, err := l.f.Resolve(o)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case cos.Array:
		return v, nil
	case *cos.Stream:
		return cos.Array{o}, nil
	}
	return nil, fmt.Errorf("%w: Contents is %T", cos.ErrBroken, v)
}

// sharing names a copy of Resources: the object that held the old, 0 if only
// this page has them, and the watermark that was added.
type sharing struct{ holder, form int }

// addResource makes the watermark known to a page. Resources that several pages
// share are copied once, and then shared again.
func (l *layouter) addResource(p *Page, d cos.Dict, form cos.Ref) error {
	// Pages of different widths have different forms.
	key := sharing{form: form.Num}
	if r, ok := p.Resources.(cos.Ref); ok {
		key.holder = r.Num
	} else if p.parent != p.Ref {
		key.holder = p.parent.Num // inherited, and direct in the node above
	}
	if r, ok := l.shared[key]; ok && key.holder != 0 {
		d["Resources"] = r
		return nil
	}
	res, err := l.u.Dict(p.Resources)
	if err != nil {
		return err
	}
	objects, err := l.u.Dict(res["XObject"])
	if err != nil {
		return err
	}
	objects["MilterdMark"] = form
	res["XObject"] = objects
	if key.holder == 0 {
		d["Resources"] = res
		return nil
	}
	r := l.u.Add(res)
	l.shared[key] = r
	d["Resources"] = r
	return nil
}

// balance counts how many saved graphics states a page's content restores too
// often, and leaves open. Content that cannot be decoded here counts as balanced.
func (l *layouter) balance(contents cos.Array) (missing, open int) {
	var all []byte
	for _, o := range contents {
		st, err := l.f.Stream(o)
		if err != nil || st == nil {
			return 0, 0
		}
		b, err := l.f.Decode(st)
		if err != nil {
			return 0, 0
		}
		if len(contents) == 1 {
			all = b
			break
		}
		all = append(append(all, b...), '\n')
	}
	missing, open = cos.StateBalance(all)
	if missing > 100 || open > 100 {
		return 0, 0
	}
	return missing, open
}
