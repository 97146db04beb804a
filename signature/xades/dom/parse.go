package dom

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// parser reads a document from its front to its end.
type parser struct {
	s     string
	pos   int
	nodes int
	scope map[string][]string // prefix to namespaces, the innermost last
	top   []*Node
	open  []*Node
}

// Parse reads a document. The error wraps ErrMalformed, ErrForbidden or
// ErrLimit and names the line.
func Parse(raw []byte) (*Document, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrLimit, len(raw), MaxSize)
	}
	if bytes.HasPrefix(raw, []byte{0xfe, 0xff}) || bytes.HasPrefix(raw, []byte{0xff, 0xfe}) || bytes.IndexByte(raw[:min(len(raw), 4)], 0) >= 0 {
		return nil, fmt.Errorf("%w: only UTF-8 is read, not UTF-16 or UTF-32", ErrForbidden)
	}
	p := &parser{s: string(raw), scope: map[string][]string{"xml": {xmlSpace}}}
	if err := p.document(); err != nil {
		return nil, fmt.Errorf("line %d: %w", 1+strings.Count(p.s[:min(p.pos, len(p.s))], "\n"), err)
	}
	d := &Document{Raw: raw, Top: p.top}
	for _, n := range p.top {
		if n.Kind == Element {
			d.Root = n
		}
	}
	return d, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func (p *parser) document() error {
	for i, r := range p.s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(p.s[i:]); n == 1 {
				p.pos = i
				return fmt.Errorf("%w: the bytes are no UTF-8", ErrForbidden)
			}
		}
		if !isChar(r) && (i != 0 || r != 0xfeff) {
			p.pos = i
			return malformed("character U+%04X", r)
		}
	}
	p.skip("\ufeff")
	if strings.HasPrefix(p.s[p.pos:], "<?xml") && len(p.s) > p.pos+5 && isSpace(p.s[p.pos+5]) {
		if err := p.declaration(); err != nil {
			return err
		}
	}
	root := false
	for p.pos < len(p.s) {
		switch rest := p.s[p.pos:]; {
		case isSpace(rest[0]):
			p.pos++
		case strings.HasPrefix(rest, "<!--"), strings.HasPrefix(rest, "<?"):
			if err := p.markup(); err != nil {
				return err
			}
		case strings.HasPrefix(rest, "<!DOCTYPE"):
			return fmt.Errorf("%w: a document type declaration", ErrForbidden)
		case rest[0] == '<' && !root:
			root = true
			if err := p.tree(); err != nil {
				return err
			}
		case root:
			return malformed("something follows the root element")
		default:
			return malformed("text before the root element")
		}
	}
	if !root {
		return malformed("no root element")
	}
	return nil
}

// declaration reads <?xml version="1.0" encoding="UTF-8" standalone="yes"?>.
func (p *parser) declaration() error {
	end := strings.Index(p.s[p.pos:], "?>")
	if end < 0 {
		return malformed("XML declaration without an end")
	}
	q := &parser{s: p.s[p.pos+5 : p.pos+end]}
	names := []string{"version", "encoding", "standalone"}
	for first := true; ; first = false {
		space := q.space()
		if q.pos == len(q.s) {
			if first {
				return malformed("XML declaration without a version")
			}
			break
		}
		name, err := q.name()
		if err != nil {
			return err
		}
		q.space()
		if !q.skip("=") {
			return malformed("XML declaration")
		}
		q.space()
		value, err := q.quoted()
		if err != nil {
			return err
		}
		for len(names) > 0 && names[0] != name && names[0] != "version" {
			names = names[1:]
		}
		if !space || len(names) == 0 || names[0] != name {
			return malformed("XML declaration")
		}
		names = names[1:]
		switch {
		case name == "version" && value != "1.0":
			return fmt.Errorf("%w: XML version %q", ErrForbidden, value)
		case name == "encoding" && !strings.EqualFold(value, "UTF-8"):
			return fmt.Errorf("%w: encoding %q, only UTF-8 is read", ErrForbidden, value)
		case name == "standalone" && value != "yes" && value != "no":
			return malformed("standalone=%q", value)
		}
	}
	p.pos += end + 2
	return nil
}

// add puts a node into the innermost open element, or at the top.
func (p *parser) add(n *Node) error {
	if p.nodes += 1 + len(n.Attrs) + len(n.declared); p.nodes > maxNodes {
		return fmt.Errorf("%w: more than %d nodes", ErrLimit, maxNodes)
	}
	if len(p.open) == 0 {
		p.top = append(p.top, n)
		return nil
	}
	n.Parent = p.open[len(p.open)-1]
	n.Parent.Children = append(n.Parent.Children, n)
	return nil
}

// tree reads an element with all that it holds.
func (p *parser) tree() error {
	if err := p.startTag(); err != nil {
		return err
	}
	for len(p.open) > 0 {
		if p.pos >= len(p.s) {
			return malformed("element %s without an end", p.open[len(p.open)-1].Local)
		}
		var err error
		switch rest := p.s[p.pos:]; {
		case strings.HasPrefix(rest, "</"):
			err = p.endTag()
		case strings.HasPrefix(rest, "<!--"), strings.HasPrefix(rest, "<?"):
			err = p.markup()
		case rest[0] == '<' && !strings.HasPrefix(rest, "<![CDATA["):
			err = p.startTag()
		default:
			err = p.text()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text reads characters, references and CDATA sections up to the next tag,
// comment or instruction: one node.
func (p *parser) text() error {
	n := &Node{Kind: Text, Start: p.pos}
	var b strings.Builder
	from, full := 0, 0 // where the present piece begins in b, how many were not blank
	piece := func() {
		if strings.TrimSpace(b.String()[from:]) != "" {
			full++
		}
		from = b.Len()
	}
	for p.pos < len(p.s) {
		rest := p.s[p.pos:]
		if strings.HasPrefix(rest, "<![CDATA[") {
			end := strings.Index(rest, "]]>")
			if end < 0 {
				return malformed("CDATA section without an end")
			}
			piece()
			b.WriteString(lineEnds(rest[len("<![CDATA["):end]))
			piece()
			p.pos += end + 3
			continue
		}
		if rest[0] == '<' {
			break
		}
		if rest[0] == '&' {
			r, err := p.reference()
			if err != nil {
				return err
			}
			b.WriteRune(r)
			continue
		}
		end := strings.IndexAny(rest, "<&")
		if end < 0 {
			end = len(rest)
		}
		if strings.Contains(rest[:end], "]]>") {
			return malformed("]]> in text")
		}
		b.WriteString(lineEnds(rest[:end]))
		p.pos += end
	}
	piece()
	n.Data, n.End, n.Pieces = b.String(), p.pos, full > 1
	return p.add(n)
}

// lineEnds makes every line end a line feed (XML 1.0, section 2.11).
func lineEnds(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// reference reads &#38;, &#x26; or one of the five names.
func (p *parser) reference() (rune, error) {
	end := strings.IndexByte(p.s[p.pos:min(len(p.s), p.pos+16)], ';')
	if end < 0 {
		return 0, malformed("& that begins no reference")
	}
	name := p.s[p.pos+1 : p.pos+end]
	p.pos += end + 1
	if digits, ok := strings.CutPrefix(name, "#"); ok {
		base := 10
		if strings.HasPrefix(digits, "x") {
			digits, base = digits[1:], 16
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n > 0x10ffff || !isChar(rune(n)) || strings.Contains(digits, "_") {
			return 0, malformed("character reference &%s;", name)
		}
		return rune(n), nil
	}
	switch name {
	case "amp":
		return '&', nil
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "quot":
		return '"', nil
	case "apos":
		return '\'', nil
	}
	return 0, fmt.Errorf("%w: entity &%s;", ErrForbidden, name)
}

// markup reads a comment or a processing instruction.
func (p *parser) markup() error {
	n := &Node{Kind: Comment, Start: p.pos}
	rest := p.s[p.pos:]
	if body, ok := strings.CutPrefix(rest, "<!--"); ok {
		end := strings.Index(body, "--")
		if end < 0 || !strings.HasPrefix(body[end:], "-->") {
			return malformed("comment without an end, or with -- in it")
		}
		n.Data = lineEnds(body[:end])
		p.pos += len("<!--") + end + len("-->")
	} else {
		n.Kind = Instruction
		end := strings.Index(rest[2:], "?>")
		if end < 0 {
			return malformed("processing instruction without an end")
		}
		q := &parser{s: rest[2 : 2+end]}
		var err error
		if n.Local, err = q.name(); err != nil {
			return err
		}
		if strings.EqualFold(n.Local, "xml") || strings.Contains(n.Local, ":") || q.pos < len(q.s) && !q.space() {
			return malformed("processing instruction %q", n.Local)
		}
		n.Data = lineEnds(q.s[q.pos:])
		p.pos += end + 4
	}
	n.End = p.pos
	return p.add(n)
}

// quoted reads a value of the XML declaration.
func (p *parser) quoted() (string, error) {
	if p.pos < len(p.s) && (p.s[p.pos] == '"' || p.s[p.pos] == '\'') {
		if end := strings.IndexByte(p.s[p.pos+1:], p.s[p.pos]); end >= 0 {
			v := p.s[p.pos+1 : p.pos+1+end]
			p.pos += end + 2
			return v, nil
		}
	}
	return "", malformed("XML declaration")
}

// space skips white space and reports whether there was any.
func (p *parser) space() bool {
	from := p.pos
	for p.pos < len(p.s) && isSpace(p.s[p.pos]) {
		p.pos++
	}
	return p.pos > from
}

func (p *parser) skip(s string) bool {
	if !strings.HasPrefix(p.s[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// isChar is Char of XML 1.0.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
}
