package pdf

import (
	"math"

	"milterd/signature/pdf/cos"
)

// coverText is the text state (ISO 32000-2, 9.3) with its two matrices.
type coverText struct {
	font                 *coverFont
	size, stretch        float64 // stretch: Tz, 1 for 100
	char, word, up, lead float64 // Tc, Tw, Ts, TL
	tm, line             matrix
	slack                float64 // so much less far tm may be, for want of widths
}

// textOperator follows the operators of text; all others show nothing.
func (r *coverRun) textOperator(op string, operands []cos.Object, v [6]float64) {
	t := &r.s.text
	var last cos.Object
	if len(operands) > 0 {
		last = operands[len(operands)-1]
	}
	switch op {
	case "BT":
		t.set(matrix{1, 0, 0, 1, 0, 0})
	case "Tc":
		t.char = v[0]
	case "Tw":
		t.word = v[0]
	case "Tz":
		t.stretch = v[0] / 100
	case "TL":
		t.lead = v[0]
	case "Ts":
		t.up = v[0]
	case "Td":
		t.move(v[0], v[1])
	case "TD":
		t.lead = -v[1]
		t.move(v[0], v[1])
	case "Tm":
		t.set(matrix(v))
	case "T*":
		t.move(0, -t.lead)
	case "Tf":
		size, ok := cos.Number(last)
		if !ok || len(operands) < 2 {
			r.full = true
			return
		}
		t.size, t.font = size, r.font(operands[len(operands)-2])
	case "Tj":
		r.show(last)
	case "'":
		t.move(0, -t.lead)
		r.show(last)
	case "\"":
		if len(operands) == 3 {
			t.word, _ = cos.Number(operands[0])
			t.char, _ = cos.Number(operands[1])
		}
		t.move(0, -t.lead)
		r.show(last)
	case "TJ":
		a, _ := last.(cos.Array)
		for _, o := range a {
			if n, ok := cos.Number(o); ok {
				t.advance(-n / 1000 * t.size * t.stretch)
			} else {
				r.show(o)
			}
		}
	case "gs":
		if d, err := r.f.Dict(r.resource("ExtGState", last)); err != nil || d["Font"] != nil {
			r.full = true // a font that is set without Tf: nobody does
		}
	}
}

func (t *coverText) set(m matrix) { t.tm, t.line, t.slack = m, m, 0 }

func (t *coverText) move(x, y float64) { t.set(matrix{1, 0, 0, 1, x, y}.then(t.line)) }

func (t *coverText) advance(x float64) { t.tm = matrix{1, 0, 0, 1, x, 0}.then(t.tm) }

// show takes the place of a string.
func (r *coverRun) show(o cos.Object) {
	s, ok := o.(cos.String)
	t := &r.s.text
	if !ok || len(s) == 0 {
		return
	}
	if t.font == nil || t.font.unknown {
		r.full = true
		return
	}
	em, spare, chars, spaces := t.font.measure(string(s))
	w := (em*t.size + float64(chars)*t.char + float64(spaces)*t.word) * t.stretch
	y0, y1 := t.up+t.font.descent*t.size, t.up+t.font.ascent*t.size
	side := t.slack + math.Abs(overhang*t.size*t.stretch)
	box := Rect{min(0, w) - side, min(y0, y1), max(0, w) + side, max(y0, y1)}
	r.mark(t.tm.then(r.s.ctm).box(box))
	t.advance(w)
	t.slack += math.Abs(spare * t.size * t.stretch)
}

// coverFont is how far the glyphs of a font reach, in ems.
type coverFont struct {
	unknown         bool // nobody can tell from its dictionary
	wide            bool // codes have two bytes
	widths          map[int]float64
	other           float64 // width of the codes that are not in widths:
	certain         bool    // exactly that, or else at most
	ascent, descent float64
}

// measure gives the width of a string at most, by how much it may be less, its
// characters, and the spaces to which Tw applies.
func (f *coverFont) measure(s string) (em, spare float64, chars, spaces int) {
	for i := 0; i < len(s); i++ {
		code := int(s[i])
		if f.wide && i+1 < len(s) {
			i++
			code = code<<8 | int(s[i])
		} else if code == ' ' {
			spaces++
		}
		chars++
		if w, ok := f.widths[code]; ok {
			em += w
			continue
		}
		em += f.other
		if !f.certain {
			spare += f.other
		}
	}
	return em, spare, chars, spaces
}

const (
	widest   = 1.1  // ems: more than any glyph of the usual fonts advances
	overhang = 0.15 // of glyphs beyond their advance
)

// font gives the font of a name.
func (r *coverRun) font(name cos.Object) *coverFont {
	o := r.resource("Font", name)
	ref, indirect := o.(cos.Ref)
	if f := r.fonts[ref]; indirect && f != nil {
		return f
	}
	d, err := r.f.Dict(o)
	f := &coverFont{unknown: true}
	if err == nil && d != nil {
		switch r.f.Name(d["Subtype"]) {
		case "Type0":
			f = r.compositeFont(d)
		case "Type3":
			f = r.drawnFont(d)
		default:
			f = r.simpleFont(d, 1.0/1000)
		}
	}
	if indirect {
		r.fonts[ref] = f
	}
	return f
}

// heights takes how far the glyphs of a font reach up and down: generously, and
// more where its descriptor says so.
func (r *coverRun) heights(f *coverFont, descriptor cos.Object) {
	f.ascent, f.descent = 1.1, -0.35
	d, err := r.f.Dict(descriptor)
	if err != nil {
		return
	}
	if box, ok := r.rect(d["FontBBox"]); ok {
		f.ascent, f.descent = max(f.ascent, box.Y1/1000), min(f.descent, box.Y0/1000)
	}
}

// simpleFont reads the widths of a font with codes of one byte; unit is their
// unit in ems.
func (r *coverRun) simpleFont(d cos.Dict, unit float64) *coverFont {
	f := &coverFont{widths: map[int]float64{}, other: widest}
	r.heights(f, d["FontDescriptor"])
	first, _ := r.f.Int(d["FirstChar"])
	list, err := r.f.Array(d["Widths"])
	if err != nil || len(list) > 256 {
		return &coverFont{unknown: true}
	}
	for i, o := range list {
		v, _ := r.f.Resolve(o)
		if w, ok := cos.Number(v); ok {
			f.widths[first+i] = w * unit
		}
	}
	return f
}

// drawnFont reads a Type 3 font, whose glyphs have units of their own.
func (r *coverRun) drawnFont(d cos.Dict) *coverFont {
	m, ok := r.numbers(d["FontMatrix"], 6)
	box, known := r.rect(d["FontBBox"])
	if !ok || !known || m[1] != 0 || m[2] != 0 || box.H() == 0 {
		return &coverFont{unknown: true}
	}
	f := r.simpleFont(d, m[0])
	f.ascent, f.descent = max(box.Y0*m[3], box.Y1*m[3]), min(box.Y0*m[3], box.Y1*m[3])
	f.other = max(f.other, math.Abs(box.W()*m[0]))
	return f
}

// compositeFont reads a Type 0 font. Where the codes are not simply glyph
// numbers, each byte counts as the widest of them.
func (r *coverRun) compositeFont(d cos.Dict) *coverFont {
	list, err := r.f.Array(d["DescendantFonts"])
	encoding := r.f.Name(d["Encoding"])
	if err != nil || len(list) != 1 || encoding == "" || encoding[len(encoding)-1] == 'V' {
		return &coverFont{unknown: true} // vertical writing, or a character map of its own
	}
	cid, err := r.f.Dict(list[0])
	if err != nil || cid == nil {
		return &coverFont{unknown: true}
	}
	f := &coverFont{wide: true, widths: map[int]float64{}, other: 1, certain: true}
	r.heights(f, cid["FontDescriptor"])
	if v, _ := r.f.Resolve(cid["DW"]); v != nil {
		w, _ := cos.Number(v)
		f.other = w / 1000
	}
	if !r.cidWidths(f, cid["W"]) {
		return &coverFont{unknown: true}
	}
	if encoding != "Identity-H" {
		for _, w := range f.widths {
			f.other = max(f.other, w)
		}
		f.wide, f.widths, f.certain = false, nil, false
	}
	return f
}

// cidWidths reads W: a number and the widths from there on, or a range and the
// width of all in it (ISO 32000-2, 9.7.4.3).
func (r *coverRun) cidWidths(f *coverFont, o cos.Object) bool {
	w, err := r.f.Array(o)
	if err != nil {
		return false
	}
	for i := 0; i+1 < len(w); {
		first, ok := r.f.Int(w[i])
		next, err := r.f.Resolve(w[i+1])
		if !ok || err != nil || first < 0 || first > 0xffff {
			return false
		}
		if run, ok := next.(cos.Array); ok {
			for j, o := range run {
				v, _ := r.f.Resolve(o)
				n, _ := cos.Number(v)
				f.widths[first+j] = n / 1000
			}
			i += 2
			continue
		}
		last, ok := r.f.Int(next)
		if r.budget -= max(0, last-first); !ok || i+2 >= len(w) || last > 0xffff || r.budget < 0 {
			return false
		}
		v, _ := r.f.Resolve(w[i+2])
		n, _ := cos.Number(v)
		for code := first; code <= last; code++ {
			f.widths[code] = n / 1000
		}
		i += 3
	}
	return len(w) == 0 || len(f.widths) > 0
}
