package dom

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrMethod: a canonical form that is not written here.
var ErrMethod = errors.New("canonical form not known")

// Form is a canonical form. The zero value is Canonical XML 1.0 without comments.
type Form struct {
	Exclusive bool
	Comments  bool
	Version11 bool     // Canonical XML 1.1
	Prefixes  []string // InclusiveNamespaces of the exclusive form; "#default" is the default namespace
}

// forms are the identifiers of canonical forms, without comments.
var forms = map[string]Form{
	"http://www.w3.org/TR/2001/REC-xml-c14n-20010315": {},
	"http://www.w3.org/2006/12/xml-c14n11":            {Version11: true},
	ExclusiveURI:                                      {Exclusive: true},
}

// ExclusiveURI is the identifier of the exclusive form without comments.
const ExclusiveURI = "http://www.w3.org/2001/10/xml-exc-c14n#"

// FormOf gives the form with an identifier.
func FormOf(uri string) (Form, error) {
	if f, ok := forms[uri]; ok {
		return f, nil
	}
	for plain, f := range forms {
		if uri == strings.TrimSuffix(plain, "#")+"#WithComments" {
			f.Comments = true
			return f, nil
		}
	}
	return Form{}, fmt.Errorf("%w: %q", ErrMethod, uri)
}

// WriteDocument writes the canonical form of a whole document, less the elements
// for which leaveOut (nil for none) says true.
func (f Form) WriteDocument(w io.Writer, d *Document, leaveOut func(*Node) bool) error {
	c := f.writer(w, leaveOut)
	before := true
	for _, n := range d.Top {
		switch {
		case n == d.Root:
			before = false
			if err := c.node(n, nil); err != nil {
				return err
			}
		case n.Kind == Comment && !f.Comments:
		default: // a line of its own, as Canonical XML has it
			if !before {
				c.w.WriteByte('\n')
			}
			c.node(n, nil) // has no namespaces that could go wrong
			if before {
				c.w.WriteByte('\n')
			}
		}
	}
	return c.w.Flush()
}

// WriteElement writes the canonical form of an element with all that it holds.
func (f Form) WriteElement(w io.Writer, n *Node, leaveOut func(*Node) bool) error {
	c := f.writer(w, leaveOut)
	if err := c.node(n, c.inherited(n)); err != nil {
		return err
	}
	return c.w.Flush()
}

// writer writes one canonical form.
type writer struct {
	Form
	w        *bufio.Writer
	leaveOut func(*Node) bool
	written  map[string][]string // prefix to the namespace that the output has for it, the innermost last
	apex     bool                // nothing was written yet
}

func (f Form) writer(w io.Writer, leaveOut func(*Node) bool) *writer {
	return &writer{Form: f, w: bufio.NewWriter(w), leaveOut: leaveOut, written: map[string][]string{}, apex: true}
}

// inherited are the namespaces in scope above a node, which the inclusive forms
// write at the apex.
func (c *writer) inherited(n *Node) (out []declaration) {
	seen := map[string]bool{}
	for _, d := range n.declared {
		seen[d.prefix] = true
	}
	for up := n.Parent; up != nil; up = up.Parent {
		for _, d := range up.declared {
			if !seen[d.prefix] {
				seen[d.prefix] = true
				out = append(out, d)
			}
		}
	}
	return out
}

func (c *writer) node(n *Node, inherited []declaration) error {
	switch n.Kind {
	case Text:
		textEscaper.WriteString(c.w, n.Data)
	case Comment:
		if c.Comments {
			c.w.WriteString("<!--" + n.Data + "-->")
		}
	case Instruction:
		c.w.WriteString("<?" + n.Local)
		if n.Data != "" {
			c.w.WriteString(" " + n.Data)
		}
		c.w.WriteString("?>")
	case Element:
		if c.leaveOut != nil && c.leaveOut(n) {
			return nil
		}
		return c.element(n, inherited)
	}
	return nil
}

func (c *writer) element(n *Node, inherited []declaration) error {
	attrs := n.Attrs
	if c.apex && !c.Exclusive {
		var err error
		if attrs, err = c.withXML(n); err != nil {
			return err
		}
	}
	declared := c.declare(n, inherited)
	c.apex = false
	c.w.WriteByte('<')
	c.name(n.Prefix, n.Local)
	for _, d := range declared {
		c.w.WriteString(" xmlns")
		if d.prefix != "" {
			c.w.WriteString(":" + d.prefix)
		}
		c.value(d.uri)
	}
	if len(attrs) > 1 {
		attrs = slices.Clone(attrs)
		slices.SortFunc(attrs, func(a, b Attr) int {
			if a.Space != b.Space {
				return strings.Compare(a.Space, b.Space)
			}
			return strings.Compare(a.Local, b.Local)
		})
	}
	for _, a := range attrs {
		c.w.WriteByte(' ')
		c.name(a.Prefix, a.Local)
		c.value(a.Value)
	}
	c.w.WriteByte('>')
	for _, k := range n.Children {
		if err := c.node(k, nil); err != nil {
			return err
		}
	}
	c.w.WriteString("</")
	c.name(n.Prefix, n.Local)
	c.w.WriteByte('>')
	for _, d := range declared {
		c.written[d.prefix] = c.written[d.prefix][:len(c.written[d.prefix])-1]
	}
	return nil
}

// declare gives the namespaces that are written at an element, by prefix, and
// notes that the output has them: those that differ from what it had; for the
// exclusive form only those that the element uses visibly, or that are listed.
func (c *writer) declare(n *Node, inherited []declaration) (out []declaration) {
	add := func(prefix, uri string) {
		has := ""
		if w := c.written[prefix]; len(w) > 0 {
			has = w[len(w)-1]
		}
		if has != uri && prefix != "xml" {
			out = append(out, declaration{prefix, uri})
			c.written[prefix] = append(c.written[prefix], uri)
		}
	}
	if !c.Exclusive {
		for _, list := range [][]declaration{n.declared, inherited} {
			for _, d := range list {
				add(d.prefix, d.uri)
			}
		}
	} else {
		add(n.Prefix, n.Space)
		for _, a := range n.Attrs {
			if a.Prefix != "" {
				add(a.Prefix, a.Space)
			}
		}
		for _, list := range [][]declaration{n.declared, inherited} {
			for _, d := range list {
				if slices.Contains(c.Prefixes, d.prefix) || d.prefix == "" && slices.Contains(c.Prefixes, "#default") {
					add(d.prefix, d.uri)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b declaration) int { return strings.Compare(a.prefix, b.prefix) })
	return out
}

// withXML gives an apex the attributes of namespace xml that it inherits:
// Canonical XML 1.0, section 2.4, all of them; version 1.1, section 2.4, xml:lang
// and xml:space. The joined xml:base of 1.1 is not written.
func (c *writer) withXML(n *Node) ([]Attr, error) {
	out := slices.Clone(n.Attrs)
	for up := n.Parent; up != nil; up = up.Parent {
		for _, a := range up.Attrs {
			if a.Space != xmlSpace || c.Version11 && a.Local == "id" {
				continue
			}
			if c.Version11 && a.Local != "lang" && a.Local != "space" {
				return nil, fmt.Errorf("%w: Canonical XML 1.1 of an element below one with xml:%s", ErrMethod, a.Local)
			}
			if !slices.ContainsFunc(out, func(o Attr) bool { return o.Space == xmlSpace && o.Local == a.Local }) {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

func (c *writer) name(prefix, local string) {
	if prefix != "" {
		c.w.WriteString(prefix)
		c.w.WriteByte(':')
	}
	c.w.WriteString(local)
}

func (c *writer) value(s string) {
	c.w.WriteString(`="`)
	valueEscaper.WriteString(c.w, s)
	c.w.WriteByte('"')
}

var (
	textEscaper  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	valueEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)
