package pdf

import (
	"math"

	"milterd/signature/pdf/cos"
)

// coverState is the graphics state (ISO 32000-2, 8.4), as far as it says where
// something shows.
type coverState struct {
	ctm          matrix // to the page as it is seen
	clip         Rect
	fill, stroke paint
	line         float64 // width
	text         coverText
}

// paint is a color: what its numbers mean, and whether it is white.
type paint struct {
	space cos.Name // DeviceGray, DeviceRGB, DeviceCMYK, or "" for others
	white bool
}

func newCoverState(ctm matrix, clip Rect) coverState {
	black := paint{space: "DeviceGray"}
	return coverState{ctm: ctm, clip: clip, fill: black, stroke: black, line: 1, text: coverText{stretch: 1}}
}

// coverPath is the path that is being made, in points of the page as it is seen.
type coverPath struct {
	pieces []Rect // boxes of lines and curves
	parts  []Rect // boxes of subpaths
	x, y   float64
	x0, y0 float64 // where the subpath began
	clip   bool    // it becomes the clipping path
}

// coverRun reads one content stream.
type coverRun struct {
	*cover
	res   cos.Dict
	depth int
	s     coverState
	saved []coverState
	path  coverPath
}

// run marks what a content stream shows.
func (k *cover) run(content []byte, res cos.Dict, s coverState, depth int) {
	r := coverRun{cover: k, res: res, depth: depth, s: s}
	err := cos.Operators(content, func(op string, operands []cos.Object) bool {
		if k.budget--; k.budget < 0 || len(r.saved) > coverSaved || len(r.path.pieces) > coverPieces {
			k.full = true
		}
		if !k.full {
			r.operator(op, operands)
		}
		return !k.full
	})
	if err != nil {
		k.full = true
	}
}

// mark takes a place that the clipping path leaves visible.
func (r *coverRun) mark(box Rect) { r.cover.mark(box.and(r.s.clip)) }

// coverArity is how many numbers an operator takes; those with other operands
// are not in it.
var coverArity = map[string]int{
	"cm": 6, "w": 1, "m": 2, "l": 2, "c": 6, "v": 4, "y": 4, "re": 4,
	"g": 1, "rg": 3, "k": 4, "G": 1, "RG": 3, "K": 4,
	"Tc": 1, "Tw": 1, "Tz": 1, "TL": 1, "Ts": 1, "Td": 2, "TD": 2, "Tm": 6,
}

func (r *coverRun) operator(op string, operands []cos.Object) {
	var v [6]float64
	if n, ok := coverArity[op]; ok {
		if len(operands) < n {
			r.full = true // readers differ in what they make of it
			return
		}
		for i, o := range operands[len(operands)-n:] {
			if v[i], ok = cos.Number(o); !ok {
				r.full = true
				return
			}
		}
	}
	var last cos.Object
	if len(operands) > 0 {
		last = operands[len(operands)-1]
	}
	switch op {
	case "q":
		r.saved = append(r.saved, r.s)
	case "Q":
		if n := len(r.saved); n > 0 {
			r.s, r.saved = r.saved[n-1], r.saved[:n-1]
		}
	case "cm":
		r.s.ctm = matrix(v).then(r.s.ctm)
	case "w":
		r.s.line = v[0]
	case "m", "l", "c", "v", "y", "re", "h":
		r.path.add(op, v, r.s.ctm)
	case "W", "W*":
		r.path.clip = true
	case "S", "s", "f", "F", "f*", "B", "B*", "b", "b*", "n":
		r.paint(op)
	case "g", "rg", "k":
		r.s.fill = device(op, v)
	case "G", "RG", "K":
		r.s.stroke = device(op, v)
	case "cs":
		r.s.fill = paint{space: r.space(last)}
	case "CS":
		r.s.stroke = paint{space: r.space(last)}
	case "sc", "scn":
		r.s.fill.set(operands)
	case "SC", "SCN":
		r.s.stroke.set(operands)
	case "sh":
		r.mark(r.s.clip)
	case "ID":
		r.mark(r.s.ctm.box(Rect{0, 0, 1, 1}))
	case "Do":
		r.object(last)
	default:
		r.textOperator(op, operands, v)
	}
}

// add continues the path.
func (p *coverPath) add(op string, v [6]float64, ctm matrix) {
	line := func(points ...float64) {
		x, y := ctm.apply(p.x, p.y)
		box := Rect{x, y, x, y}
		for i := 0; i < len(points); i += 2 {
			p.x, p.y = points[i], points[i+1]
			x, y := ctm.apply(p.x, p.y)
			box = Rect{min(box.X0, x), min(box.Y0, y), max(box.X1, x), max(box.Y1, y)}
		}
		p.pieces = append(p.pieces, box)
		if n := len(p.parts); n > 0 {
			o := &p.parts[n-1]
			*o = Rect{min(box.X0, o.X0), min(box.Y0, o.Y0), max(box.X1, o.X1), max(box.Y1, o.Y1)}
		} else {
			p.parts = append(p.parts, box)
		}
	}
	move := func(x, y float64) {
		p.x, p.y, p.x0, p.y0 = x, y, x, y
		x, y = ctm.apply(x, y)
		p.parts = append(p.parts, Rect{x, y, x, y})
	}
	switch op {
	case "m":
		move(v[0], v[1])
	case "l":
		line(v[0], v[1])
	case "c":
		line(v[:6]...)
	case "v", "y":
		line(v[:4]...)
	case "h":
		line(p.x0, p.y0)
	case "re":
		x, y, w, h := v[0], v[1], v[2], v[3]
		move(x, y)
		line(x+w, y)
		line(x+w, y+h)
		line(x, y+h)
		line(x, y)
	}
}

// paint ends the path: a stroke shows along its pieces, a fill within its parts.
func (r *coverRun) paint(op string) {
	if op == "s" || op == "b" || op == "b*" {
		r.path.add("h", [6]float64{}, r.s.ctm)
	}
	switch op {
	case "S", "s", "B", "B*", "b", "b*":
		m := r.s.ctm
		// Ends and corners can reach beyond the half width.
		half := math.Abs(r.s.line) * 0.75 * max(math.Hypot(m[0], m[1]), math.Hypot(m[2], m[3]))
		for _, b := range r.path.pieces {
			if !r.s.stroke.white {
				r.mark(Rect{b.X0 - half, b.Y0 - half, b.X1 + half, b.Y1 + half})
			}
		}
	}
	if op != "S" && op != "s" && op != "n" && !r.s.fill.white {
		for _, b := range r.path.parts {
			r.mark(b)
		}
	}
	if r.path.clip {
		all := Rect{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
		for _, b := range r.path.parts {
			all = Rect{min(all.X0, b.X0), min(all.Y0, b.Y0), max(all.X1, b.X1), max(all.Y1, b.Y1)}
		}
		r.s.clip = r.s.clip.and(all)
	}
	r.path = coverPath{pieces: r.path.pieces[:0], parts: r.path.parts[:0]}
}

// object shows a picture or runs a form.
func (r *coverRun) object(name cos.Object) {
	st, err := r.f.Stream(r.resource("XObject", name))
	if err != nil {
		r.full = true
		return
	}
	if st == nil {
		return // nothing of that name: nothing shows
	}
	if r.f.Name(st.Dict["Subtype"]) != "Form" {
		r.mark(r.s.ctm.box(Rect{0, 0, 1, 1}))
		return
	}
	s := r.s
	if st.Dict["Matrix"] != nil {
		v, ok := r.numbers(st.Dict["Matrix"], 6)
		if !ok {
			r.full = true
			return
		}
		s.ctm = matrix(v).then(s.ctm)
	}
	box, ok := r.rect(st.Dict["BBox"])
	if !ok {
		r.full = true
		return
	}
	s.clip = s.clip.and(s.ctm.box(box))
	if s.clip.X0 >= s.clip.X1 || s.clip.Y0 >= s.clip.Y1 {
		return
	}
	res := r.res
	if st.Dict["Resources"] != nil {
		if res, err = r.f.Dict(st.Dict["Resources"]); err != nil {
			r.full = true
			return
		}
	}
	if r.depth == coverDepth {
		r.cover.mark(s.clip)
		return
	}
	r.run(r.decode(st), res, s, r.depth+1)
}

// resource gives what a name stands for in a category of the resources.
func (r *coverRun) resource(category cos.Name, name cos.Object) cos.Object {
	n, _ := name.(cos.Name)
	d, err := r.f.Dict(r.res[category])
	if err != nil {
		r.full = true
	}
	return d[n]
}

// device is the color that g, rg, k, and their capitals set.
func device(op string, v [6]float64) paint {
	p := paint{space: map[string]cos.Name{"g": "DeviceGray", "rg": "DeviceRGB", "k": "DeviceCMYK",
		"G": "DeviceGray", "RG": "DeviceRGB", "K": "DeviceCMYK"}[op]}
	var numbers []cos.Object
	for _, x := range v[:coverArity[op]] {
		numbers = append(numbers, x)
	}
	p.set(numbers)
	return p
}

// set takes the numbers of a color. White is full light, or no ink.
func (p *paint) set(numbers []cos.Object) {
	want := map[cos.Name]float64{"DeviceGray": 1, "DeviceRGB": 1, "DeviceCMYK": 0}
	white, known := want[p.space]
	p.white = known && len(numbers) > 0
	for _, o := range numbers {
		n, ok := cos.Number(o)
		p.white = p.white && ok && math.Abs(n-white) < 0.004 // half a step of 8 bits
	}
}

// space tells what the numbers of a color space mean.
func (r *coverRun) space(name cos.Object) cos.Name {
	n, _ := name.(cos.Name)
	switch n {
	case "DeviceGray", "DeviceRGB", "DeviceCMYK":
		return n
	}
	a, err := r.f.Array(r.resource("ColorSpace", name))
	if err != nil || len(a) < 2 {
		return ""
	}
	switch r.f.Name(a[0]) {
	case "CalGray":
		return "DeviceGray"
	case "CalRGB":
		return "DeviceRGB"
	case "ICCBased":
		d, _ := r.f.Dict(a[1])
		switch n, _ := r.f.Int(d["N"]); n {
		case 1:
			return "DeviceGray"
		case 3:
			return "DeviceRGB"
		case 4:
			return "DeviceCMYK"
		}
	}
	return ""
}
