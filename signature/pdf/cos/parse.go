package cos

import (
	"errors"
	"fmt"
	"strings"
)

// Limits on what a file can cost.
const (
	LimitNesting  = 64       // arrays and dictionaries within each other
	LimitElements = 500_000  // of one object, counted through its whole depth
	LimitNumber   = 8388607  // highest object number (ISO 32000-2, Annex C)
	LimitSections = 2000     // cross-reference sections
	LimitInflated = 64 << 20 // bytes of one decoded stream
	LimitTotal    = 192 << 20
)

// ErrLimit is wrapped by the errors that tell of a limit.
var ErrLimit = errors.New("over the limit")

var errSyntax = errors.New("not PDF syntax")

// parser reads objects from b, beginning at pos.
type parser struct {
	b        []byte
	pos      int
	depth    int
	elements int
	refless  bool // no indirect references here (content streams)
}

// keyword is a bare word: obj, endobj, stream, R, an operator.
type keyword string

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("offset %d: %w: "+format, append([]any{p.pos, errSyntax}, args...)...)
}

// What a byte is (ISO 32000-2, 7.2.3).
const (
	regular = iota
	space
	delimiter
)

// class says it of each.
var class = [256]uint8{
	' ': space, '\n': space, '\r': space, '\t': space, '\f': space, 0: space,
	'(': delimiter, ')': delimiter, '<': delimiter, '>': delimiter, '[': delimiter, ']': delimiter,
	'{': delimiter, '}': delimiter, '/': delimiter, '%': delimiter,
}

func isSpace(c byte) bool     { return class[c] == space }
func isDelimiter(c byte) bool { return class[c] == delimiter }
func isRegular(c byte) bool   { return class[c] == regular }

// skip passes white space and comments.
func (p *parser) skip() {
	for p.pos < len(p.b) {
		switch c := p.b[p.pos]; {
		case isSpace(c):
			p.pos++
		case c == '%':
			for p.pos < len(p.b) && p.b[p.pos] != '\n' && p.b[p.pos] != '\r' {
				p.pos++
			}
		default:
			return
		}
	}
}

// object reads one object; a bare word other than true, false and null is an error.
func (p *parser) object() (Object, error) {
	o, err := p.token()
	if err != nil {
		return nil, err
	}
	if k, ok := o.(keyword); ok {
		return nil, p.errorf("unexpected %q", string(k))
	}
	return o, nil
}

// token reads one object or keyword.
func (p *parser) token() (Object, error) {
	p.skip()
	if p.pos >= len(p.b) {
		return nil, p.errorf("unexpected end")
	}
	p.elements++
	if p.elements > LimitElements {
		return nil, fmt.Errorf("offset %d: object with too many elements: %w", p.pos, ErrLimit)
	}
	switch c := p.b[p.pos]; {
	case c == '/':
		return p.name(), nil
	case c == '(':
		return p.literal()
	case c == '<':
		if p.pos+1 < len(p.b) && p.b[p.pos+1] == '<' {
			return p.dict()
		}
		return p.hex()
	case c == '[':
		return p.array()
	case c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.':
		return p.number()
	case isDelimiter(c):
		return nil, p.errorf("unexpected %q", c)
	}
	start := p.pos
	for p.pos < len(p.b) && isRegular(p.b[p.pos]) {
		p.pos++
	}
	w := p.b[start:p.pos]
	if len(w) == 1 && letters[w[0]] != nil {
		return letters[w[0]], nil
	}
	if o, ok := words[string(w)]; ok {
		return o, nil
	}
	return keyword(w[:min(len(w), 64)]), nil
}

// words are the bare words that are known, as objects made once: operators
// (ISO 32000-2, table A.1) are most of what a content stream brings.
var words = func() map[string]Object {
	m := map[string]Object{"true": true, "false": false, "null": nil}
	for w := range strings.FieldsSeq(`obj endobj stream endstream R
		b B b* B* BDC BI BMC BT BX c cm CS cs d d0 d1 Do DP EI EMC ET EX f F f* G g gs h i ID j J K k l m M MP n q Q
		re RG rg ri s S SC sc SCN scn sh T* Tc Td TD Tf Tj TJ TL Tm Tr Ts Tw Tz v w W W* y ' "`) {
		m[w] = keyword(w)
	}
	return m
}()

// letters are those of one byte.
var letters = func() (l [256]Object) {
	for w, o := range words {
		if len(w) == 1 {
			l[w[0]] = o
		}
	}
	return l
}()

func (p *parser) enter() error {
	p.depth++
	if p.depth > LimitNesting {
		return fmt.Errorf("offset %d: nested too deeply: %w", p.pos, ErrLimit)
	}
	return nil
}

func (p *parser) array() (Object, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.pos++
	a := Array{}
	for {
		p.skip()
		if p.pos < len(p.b) && p.b[p.pos] == ']' {
			p.pos++
			p.depth--
			return a, nil
		}
		o, err := p.object()
		if err != nil {
			return nil, err
		}
		if len(a) == 0 {
			a = make(Array, 0, 4) // a rectangle, as most are
		}
		a = append(a, o)
	}
}

func (p *parser) dict() (Object, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	p.pos += 2
	var few [12]pair // so that most maps are made in their size
	entries := few[:0]
	for {
		p.skip()
		if p.pos < len(p.b) && p.b[p.pos] == '>' {
			if p.pos+1 >= len(p.b) || p.b[p.pos+1] != '>' {
				return nil, p.errorf("a dictionary ends with >>")
			}
			p.pos += 2
			p.depth--
			return p.made(entries)
		}
		if p.pos >= len(p.b) || p.b[p.pos] != '/' {
			return nil, p.errorf("a dictionary key is a name")
		}
		k := p.name()
		v, err := p.object()
		if err != nil {
			return nil, err
		}
		entries = append(entries, pair{k.(Name), v, p.pos})
	}
}

// pair is one entry of a dictionary that is being read.
type pair struct {
	key   Name
	value Object
	end   int // position after it
}

// made makes the dictionary that ends here.
func (p *parser) made(entries []pair) (Object, error) {
	d := make(Dict, len(entries))
	for _, e := range entries {
		// Two readers may choose differently between two values of one key.
		if old, ok := d[e.key]; ok && !sameScalar(old, e.value) {
			p.pos = e.end
			return nil, p.errorf("key %s stands twice in one dictionary", e.key)
		}
		d[e.key] = e.value
	}
	return d, nil
}

// sameScalar compares two objects that are not composite.
func sameScalar(a, b Object) bool {
	switch a.(type) {
	case Array, Dict:
		return false
	}
	switch b.(type) {
	case Array, Dict:
		return false
	}
	return a == b
}
