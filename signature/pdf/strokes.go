package pdf

import (
	"fmt"
	"math"

	"milterd/workflow"
)

// maxPoints bounds the points of a drawn signature.
const maxPoints = 20_000

// strokes draws a signature into a box, as large as fits with its proportions
// kept, as smooth curves with round pen ends.
func (c *canvas) strokes(a workflow.Appearance, x, y, w, h, pen float64) error {
	lo, hi := workflow.Point{X: math.Inf(1), Y: math.Inf(1)}, workflow.Point{X: math.Inf(-1), Y: math.Inf(-1)}
	n := 0
	for _, s := range a.Strokes {
		for _, p := range s {
			if math.IsNaN(p.X) || math.IsNaN(p.Y) || math.Abs(p.X) > 1e6 || math.Abs(p.Y) > 1e6 {
				return fmt.Errorf("drawn signature: a point outside every pad")
			}
			lo.X, lo.Y, hi.X, hi.Y = min(lo.X, p.X), min(lo.Y, p.Y), max(hi.X, p.X), max(hi.Y, p.Y)
			n++
		}
	}
	if n == 0 {
		return fmt.Errorf("drawn signature: no points")
	}
	if n > maxPoints {
		return fmt.Errorf("drawn signature: %d points, at most %d", n, maxPoints)
	}
	// The ink fills the box, but a small dot on a large pad stays small.
	inner := pen
	scale := min((w-2*inner)/max(hi.X-lo.X, 1), (h-2*inner)/max(hi.Y-lo.Y, 1))
	if a.Width > 0 && a.Height > 0 {
		scale = min(scale, 3*min(w/a.Width, h/a.Height))
	}
	left := x + (w-(hi.X-lo.X)*scale)/2
	top := y + (h+(hi.Y-lo.Y)*scale)/2
	c.pen(ink, pen)
	c.b = append(c.b, "1 J 1 j\n"...)
	for _, s := range a.Strokes {
		c.curve(thin(s, scale, left-lo.X*scale, top+lo.Y*scale))
	}
	return nil
}

// thin scales a stroke to the page (y upwards) and leaves out points that are
// closer than a pen can show.
func thin(s workflow.Stroke, scale, dx, dy float64) []workflow.Point {
	var out []workflow.Point
	for i, p := range s {
		q := workflow.Point{X: p.X*scale + dx, Y: dy - p.Y*scale}
		if n := len(out); n > 0 && i < len(s)-1 && math.Hypot(q.X-out[n-1].X, q.Y-out[n-1].Y) < 0.35 {
			continue
		}
		out = append(out, q)
	}
	return out
}

// curve strokes a Catmull-Rom spline through the points.
func (c *canvas) curve(p []workflow.Point) {
	if len(p) == 0 {
		return
	}
	c.op("m", p[0].X, p[0].Y)
	if len(p) == 1 {
		c.op("l", p[0].X, p[0].Y) // a dot, by the round pen end
	}
	for i := 0; i+1 < len(p); i++ {
		before, after := p[max(i-1, 0)], p[min(i+2, len(p)-1)]
		a, b := p[i], p[i+1]
		c.op("c", a.X+(b.X-before.X)/6, a.Y+(b.Y-before.Y)/6, b.X-(after.X-a.X)/6, b.Y-(after.Y-a.Y)/6, b.X, b.Y)
	}
	c.op("S")
}
