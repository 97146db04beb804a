package pdf

import (
	"strconv"
	"strings"

	"milterd/signature/pdf/cos"
	"milterd/signature/pdf/font"
)

// style is one of the three faces, by its name in our resource dictionaries.
type style string

const (
	regular style = "R"
	bold    style = "B"
	italic  style = "I"
)

func (s style) face() *font.Face {
	switch s {
	case bold:
		return font.Bold()
	case italic:
		return font.Italic()
	}
	return font.Regular()
}

// color is RGB in the calibrated space below.
type color [3]float64

var (
	black  = color{0.13, 0.14, 0.17}
	grey   = color{0.40, 0.43, 0.48}
	faint  = color{0.62, 0.65, 0.69}
	hair   = color{0.82, 0.84, 0.87}
	paper  = color{0.965, 0.972, 0.98}
	accent = color{0.09, 0.33, 0.52}
	ink    = color{0.05, 0.14, 0.42}
)

// colorSpace is sRGB, nearly, as a calibrated space: what we draw does not
// depend on the document's output intent (PDF/A allows DeviceRGB only with an
// RGB one).
var colorSpace = cos.Verbatim("[/CalRGB<</WhitePoint[0.9505 1 1.089]/Gamma[2.2 2.2 2.2]/Matrix[0.4124 0.2126 0.0193 0.3576 0.7152 0.1192 0.1805 0.0722 0.9505]>>]")

// canvas collects the operators of a content stream and the glyphs they show.
type canvas struct {
	b    []byte
	used map[style]glyphs
}

// glyphs says which character each used glyph shows.
type glyphs map[uint16]rune

func newCanvas() *canvas {
	return &canvas{b: make([]byte, 0, 2048), used: map[style]glyphs{}}
}

// op writes numbers and an operator.
func (c *canvas) op(operator string, args ...float64) {
	for _, a := range args {
		c.num(a)
	}
	c.b = append(c.b, operator...)
	c.b = append(c.b, '\n')
}

func (c *canvas) num(v float64) {
	start := len(c.b)
	c.b = strconv.AppendFloat(c.b, v, 'f', 2, 64)
	for c.b[len(c.b)-1] == '0' {
		c.b = c.b[:len(c.b)-1]
	}
	if c.b[len(c.b)-1] == '.' {
		c.b = c.b[:len(c.b)-1]
	}
	if s := c.b[start:]; len(s) == 2 && s[0] == '-' && s[1] == '0' {
		c.b = append(c.b[:start], '0')
	}
	c.b = append(c.b, ' ')
}

func (c *canvas) fill(k color) {
	c.b = append(c.b, "/C cs "...)
	c.op("sc", k[0], k[1], k[2])
}

func (c *canvas) pen(k color, width float64) {
	c.b = append(c.b, "/C CS "...)
	c.op("SC", k[0], k[1], k[2])
	c.op("w", width)
}

// text shows a line with its baseline at x, y.
func (c *canvas) text(x, y float64, s style, size float64, k color, line string) {
	face := s.face()
	used := c.used[s]
	if used == nil {
		used = glyphs{}
		c.used[s] = used
	}
	c.fill(k)
	c.b = append(c.b, "BT /"...)
	c.b = append(c.b, s...)
	c.b = append(c.b, ' ')
	c.num(size)
	c.b = append(c.b, "Tf "...)
	c.op("Td", x, y)
	c.b = append(c.b, '<')
	const digits = "0123456789ABCDEF"
	face.Glyphs(line, func(g uint16, r rune) {
		used[g] = r
		c.b = append(c.b, digits[g>>12], digits[g>>8&15], digits[g>>4&15], digits[g&15])
	})
	c.b = append(c.b, "> Tj ET\n"...)
}

// fitted shows a line in at most width points: smaller, down to two thirds, and
// then cut with an ellipsis.
func (c *canvas) fitted(x, y, width float64, s style, size float64, k color, line string) {
	line, size = fit(s, size, width, line)
	c.text(x, y, s, size, k, line)
}

func fit(s style, size, width float64, line string) (string, float64) {
	w := s.face().Width(line, size)
	if w <= width {
		return line, size
	}
	if size *= max(width/w, 2.0/3); s.face().Width(line, size) <= width+0.01 {
		return line, size
	}
	room := width - s.face().Width("…", size)
	used := 0.0
	for i, r := range line {
		if used += s.face().Width(string(r), size); used > room {
			return line[:i] + "…", size
		}
	}
	return line, size
}

// wrap breaks a text into lines of at most width points, at spaces where it can.
func wrap(s style, size, width float64, text string) []string {
	face := s.face()
	if face.Width(text, size) <= width {
		return []string{text}
	}
	var lines []string
	line, used := "", 0.0
	flush := func() {
		if line != "" {
			lines = append(lines, strings.TrimRight(line, " "))
		}
		line, used = "", 0
	}
	for word := range strings.SplitAfterSeq(text, " ") {
		w := face.Width(strings.TrimRight(word, " "), size)
		if used+w > width {
			flush()
		}
		if w <= width {
			line, used = line+word, used+face.Width(word, size)
			continue
		}
		for _, r := range word { // a word that is too long by itself
			w := face.Width(string(r), size)
			if used+w > width {
				flush()
			}
			line, used = line+string(r), used+w
		}
	}
	flush()
	return lines
}

func (c *canvas) line(x0, y0, x1, y1 float64, k color, width float64) {
	c.pen(k, width)
	c.op("m", x0, y0)
	c.op("l", x1, y1)
	c.op("S")
}

func (c *canvas) box(x, y, w, h float64, k color) {
	c.fill(k)
	c.op("re", x, y, w, h)
	c.op("f")
}

func (c *canvas) frame(x, y, w, h float64, k color, width float64) {
	c.pen(k, width)
	c.op("re", x, y, w, h)
	c.op("S")
}

// form makes a form XObject of the canvas; fonts must hold its glyphs. Small
// ones are not compressed: a signature's own bytes are many times more.
func (c *canvas) form(w, h float64, matrix cos.Array, fonts cos.Dict) *cos.Stream {
	d := cos.Dict{
		"Type": cos.Name("XObject"), "Subtype": cos.Name("Form"), "BBox": cos.Array{0, 0, round(w), round(h)},
		"Resources": resources(fonts),
	}
	if matrix != nil {
		d["Matrix"] = matrix
	}
	if len(c.b) < 8<<10 {
		return &cos.Stream{Dict: d, Raw: c.b}
	}
	return cos.Compressed(d, c.b)
}

func resources(fonts cos.Dict) cos.Dict {
	r := cos.Dict{"ColorSpace": cos.Dict{"C": colorSpace}}
	if len(fonts) > 0 {
		r["Font"] = fonts
	}
	return r
}

// round cuts a coordinate to hundredths of a point.
func round(v float64) float64 {
	n := v * 100
	if n < 0 {
		n -= 0.5
	} else {
		n += 0.5
	}
	return float64(int64(n)) / 100
}
