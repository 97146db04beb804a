package dom

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

func (p *parser) endTag() error {
	n := p.open[len(p.open)-1]
	n.Close = p.pos
	p.pos += 2
	name, err := p.name()
	if err != nil {
		return err
	}
	if name != qualified(n.Prefix, n.Local) {
		return malformed("end of %s where %s is open", name, qualified(n.Prefix, n.Local))
	}
	p.space()
	if !p.skip(">") {
		return malformed("end tag of %s", name)
	}
	p.leave(n)
	return nil
}

func (p *parser) leave(n *Node) {
	n.End = p.pos
	p.open = p.open[:len(p.open)-1]
	for _, d := range n.declared {
		p.scope[d.prefix] = p.scope[d.prefix][:len(p.scope[d.prefix])-1]
	}
}

// startTag reads a start tag or an empty tag.
func (p *parser) startTag() error {
	if len(p.open) == maxDepth {
		return fmt.Errorf("%w: elements %d deep", ErrLimit, maxDepth)
	}
	n := &Node{Kind: Element, Start: p.pos}
	p.pos++
	name, err := p.name()
	if err != nil {
		return err
	}
	if n.Prefix, n.Local, err = split(name); err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		space := p.space()
		if p.pos >= len(p.s) || p.s[p.pos] == '>' || p.s[p.pos] == '/' {
			break
		}
		if !space {
			return malformed("attributes without a space between them")
		}
		name, value, err := p.attribute()
		if err != nil {
			return err
		}
		if seen[name] {
			return malformed("attribute %s twice", name)
		}
		if seen[name] = true; len(seen) > maxAttributes {
			return fmt.Errorf("%w: more than %d attributes", ErrLimit, maxAttributes)
		}
		if err := n.take(name, value); err != nil {
			return err
		}
	}
	empty := p.skip("/")
	if !p.skip(">") {
		return malformed("tag of %s", name)
	}
	for _, d := range n.declared {
		p.scope[d.prefix] = append(p.scope[d.prefix], d.uri)
	}
	if err := p.bind(n); err != nil {
		return err
	}
	if err := p.add(n); err != nil {
		return err
	}
	if p.open = append(p.open, n); empty {
		p.leave(n)
	}
	return nil
}

// take sorts an attribute in: a namespace declaration (Namespaces in XML 1.0,
// section 3) or another.
func (n *Node) take(name, value string) error {
	prefix, local, err := split(name)
	if err != nil {
		return err
	}
	if name != "xmlns" && prefix != "xmlns" {
		n.Attrs = append(n.Attrs, Attr{Prefix: prefix, Local: local, Value: value})
		return nil
	}
	if name == "xmlns" {
		local = ""
	}
	switch {
	case local == "xmlns", value == xmlnsSpace, (local == "xml") != (value == xmlSpace):
		return malformed("namespace declaration %s=%q", name, value)
	case local != "" && value == "":
		return malformed("prefix %s bound to nothing", local)
	case local != "xml":
		n.declared = append(n.declared, declaration{local, value})
	}
	return nil
}

// bind finds the namespaces of an element and its attributes.
func (p *parser) bind(n *Node) error {
	resolve := func(prefix string) (string, error) {
		uris := p.scope[prefix]
		if len(uris) > 0 {
			return uris[len(uris)-1], nil
		}
		if prefix == "" {
			return "", nil
		}
		return "", malformed("prefix %s is not bound", prefix)
	}
	var err error
	if n.Space, err = resolve(n.Prefix); err != nil {
		return err
	}
	seen := map[[2]string]bool{}
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.Prefix == "" { // has no namespace, whatever the default is
			continue
		}
		if a.Space, err = resolve(a.Prefix); err != nil {
			return err
		}
		if seen[[2]string{a.Space, a.Local}] {
			return malformed("attribute %s of one namespace twice", a.Local)
		}
		seen[[2]string{a.Space, a.Local}] = true
	}
	return nil
}

func (p *parser) attribute() (name, value string, err error) {
	if name, err = p.name(); err != nil {
		return "", "", err
	}
	p.space()
	if !p.skip("=") {
		return "", "", malformed("attribute %s without a value", name)
	}
	p.space()
	if p.pos >= len(p.s) || p.s[p.pos] != '"' && p.s[p.pos] != '\'' {
		return "", "", malformed("value of %s without quotes", name)
	}
	quote := p.s[p.pos]
	p.pos++
	var b strings.Builder
	for {
		if p.pos >= len(p.s) {
			return "", "", malformed("value of %s without an end", name)
		}
		switch c := p.s[p.pos]; c {
		case quote:
			p.pos++
			return name, b.String(), nil
		case '<':
			return "", "", malformed("< in the value of %s", name)
		case '&':
			r, err := p.reference()
			if err != nil {
				return "", "", err
			}
			b.WriteRune(r)
		case '\r', '\n', '\t': // a space, as XML 1.0, section 3.3.3 has it; a reference to one stays what it is
			if c == '\r' && strings.HasPrefix(p.s[p.pos:], "\r\n") {
				p.pos++
			}
			p.pos++
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
			p.pos++
		}
	}
}

// name reads a Name, colons among it.
func (p *parser) name() (string, error) {
	rest := p.s[p.pos:]
	end := len(rest)
	for i, r := range rest {
		if !isNameChar(r) || i == 0 && !isNameStart(r) {
			end = i
			break
		}
	}
	if end == 0 {
		return "", malformed("a name is missing")
	}
	if end > maxName {
		return "", fmt.Errorf("%w: a name of %d bytes", ErrLimit, end)
	}
	p.pos += end
	return rest[:end], nil
}

// split takes a qualified name apart.
func split(name string) (prefix, local string, err error) {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		return "", name, nil
	}
	first, _ := utf8.DecodeRuneInString(local)
	if prefix == "" || local == "" || strings.Contains(local, ":") || !isNameStart(first) {
		return "", "", malformed("name %s", name)
	}
	return prefix, local, nil
}

func qualified(prefix, local string) string {
	if prefix == "" {
		return local
	}
	return prefix + ":" + local
}

// isNameStart is NameStartChar of XML 1.0, fifth edition, isNameChar NameChar.
func isNameStart(r rune) bool {
	switch {
	case r < 0x80:
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r == ':'
	case r == 0xd7 || r == 0xf7 || r == 0x37e:
		return false
	}
	return r >= 0xc0 && r <= 0x2ff || r >= 0x370 && r <= 0x1fff || r == 0x200c || r == 0x200d || r >= 0x2070 && r <= 0x218f ||
		r >= 0x2c00 && r <= 0x2fef || r >= 0x3001 && r <= 0xd7ff || r >= 0xf900 && r <= 0xfdcf || r >= 0xfdf0 && r <= 0xfffd || r >= 0x10000 && r <= 0xeffff
}

func isNameChar(r rune) bool {
	return isNameStart(r) || r == '-' || r == '.' || r >= '0' && r <= '9' || r == 0xb7 || r >= 0x300 && r <= 0x36f || r == 0x203f || r == 0x2040
}
