package cos

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// How a parser reads names, strings and numbers (ISO 32000-2, 7.3.3 to 7.3.5). What is made
// of them is theirs alone: nothing here looks at other objects, but for the three words of a reference.

// name reads a Name.
func (p *parser) name() Object {
	p.pos++
	start := p.pos
	escaped := false
	for p.pos < len(p.b) && isRegular(p.b[p.pos]) {
		if p.b[p.pos] == '#' {
			escaped = true
		}
		p.pos++
	}
	w := p.b[start:p.pos]
	if !escaped {
		if o, ok := names[string(w)]; ok {
			return o
		}
		return Name(w)
	}
	out := make([]byte, 0, len(w))
	for i := 0; i < len(w); i++ {
		if w[i] == '#' && i+2 < len(w) {
			hi, lo := unhex(w[i+1]), unhex(w[i+2])
			if hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, w[i])
	}
	return Name(out)
}

// names are those of pages, form fields and signatures, as objects made once.
var names = func() map[string]Object {
	m := map[string]Object{}
	for n := range strings.FieldsSeq(`AcroForm Annot Annots BaseFont BBox Catalog Contents Count DA DR F Fields Filter
		FlateDecode Font FT H Helv ID Info Kids Length MediaBox MK Off P Page Pages Parent Rect Resources Root
		Sig SigFlags Size Subtype T TU Tx Type V W Widget XRef`) {
		m[n] = Name(n)
	}
	return m
}()

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func (p *parser) hex() (Object, error) {
	p.pos++
	n := bytes.IndexByte(p.b[p.pos:], '>')
	if n < 0 {
		p.pos = len(p.b)
		return nil, p.errorf("a hexadecimal string does not end")
	}
	w := p.b[p.pos : p.pos+n]
	p.pos += n + 1
	out := make([]byte, 0, len(w)/2+1)
	// Signatures are long and stand in one piece.
	if n, err := hex.Decode(out[:len(w)/2], w); err == nil {
		return String(out[:n]), nil
	}
	half := -1
	for _, c := range w {
		n := unhex(c)
		switch {
		case n < 0 && isSpace(c):
		case n < 0:
			return nil, p.errorf("%q in a hexadecimal string", c)
		case half < 0:
			half = n
		default:
			out = append(out, byte(half<<4|n))
			half = -1
		}
	}
	if half >= 0 {
		out = append(out, byte(half<<4))
	}
	return String(out), nil
}

func (p *parser) literal() (Object, error) {
	p.pos++
	start := p.pos
	for p.pos < len(p.b) && !special(p.b[p.pos]) {
		p.pos++
	}
	if p.pos < len(p.b) && p.b[p.pos] == ')' {
		p.pos++
		return String(p.b[start : p.pos-1]), nil
	}
	out := append([]byte(nil), p.b[start:p.pos]...)
	depth := 1
	for p.pos < len(p.b) {
		c := p.b[p.pos]
		p.pos++
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return String(out), nil
			}
		case '\r':
			if p.pos < len(p.b) && p.b[p.pos] == '\n' {
				p.pos++
			}
			c = '\n'
		case '\\':
			var keep bool
			if c, keep = p.escape(); !keep {
				continue
			}
		}
		out = append(out, c)
	}
	return nil, p.errorf("a string does not end")
}

// special says whether a byte of a literal string does not stand for itself.
func special(c byte) bool { return c == '(' || c == ')' || c == '\\' || c == '\r' }

// escape reads what follows a backslash (ISO 32000-2, table 3).
func (p *parser) escape() (c byte, keep bool) {
	if p.pos >= len(p.b) {
		return 0, false
	}
	c = p.b[p.pos]
	p.pos++
	switch c {
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case '\n':
		return 0, false
	case '\r':
		if p.pos < len(p.b) && p.b[p.pos] == '\n' {
			p.pos++
		}
		return 0, false
	}
	if c < '0' || c > '7' {
		return c, true
	}
	n := int(c - '0')
	for i := 0; i < 2 && p.pos < len(p.b) && p.b[p.pos] >= '0' && p.b[p.pos] <= '7'; i++ {
		n = n<<3 | int(p.b[p.pos]-'0')
		p.pos++
	}
	return byte(n), true
}

// number reads an integer, a real or an indirect reference.
func (p *parser) number() (Object, error) {
	start := p.pos
	n, ok := p.digitsHere(18)
	if !ok || p.pos < len(p.b) && isRegular(p.b[p.pos]) {
		p.pos = start
		return p.anyNumber()
	}
	if p.refless || p.pos >= len(p.b) || !isSpace(p.b[p.pos]) {
		return int64(n), nil
	}
	after := p.pos
	p.skip()
	gen, ok := p.digitsHere(5)
	if !ok || gen > 65535 || p.pos >= len(p.b) || !isSpace(p.b[p.pos]) {
		p.pos = after
		return int64(n), nil
	}
	p.skip()
	if p.pos >= len(p.b) || p.b[p.pos] != 'R' || p.pos+1 < len(p.b) && isRegular(p.b[p.pos+1]) {
		p.pos = after
		return int64(n), nil
	}
	p.pos++
	if n > LimitNumber {
		return nil, p.errorf("object number %d is too high", n)
	}
	return Ref{n, gen}, nil
}

// digits reads white space and an unsigned integer of at most ten digits.
func (p *parser) digits() (int, bool) {
	p.skip()
	return p.digitsHere(10)
}

func (p *parser) digitsHere(most int) (int, bool) {
	start := p.pos
	n := 0
	for p.pos < len(p.b) && p.b[p.pos] >= '0' && p.b[p.pos] <= '9' && p.pos-start < most {
		n = n*10 + int(p.b[p.pos]-'0')
		p.pos++
	}
	return n, p.pos > start
}

// anyNumber reads a number with a sign or a point, or a very long one.
func (p *parser) anyNumber() (Object, error) {
	start := p.pos
	whole := true
	for p.pos < len(p.b) && isRegular(p.b[p.pos]) {
		c := p.b[p.pos]
		if c == '.' {
			whole = false
		} else if (c < '0' || c > '9') && p.pos > start {
			break
		}
		p.pos++
	}
	w := string(p.b[start:p.pos])
	if whole {
		if n, err := strconv.ParseInt(w, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(w, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, p.errorf("bad number %.20q", w)
	}
	return f, nil
}
