package dom

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of Parse and ByID; others wrap them.
var (
	// ErrMalformed: the bytes are no well-formed XML.
	ErrMalformed = errors.New("malformed XML")
	// ErrForbidden: XML of a kind that is not read here: another encoding, a document type declaration, entities.
	ErrForbidden = errors.New("XML of a kind that is not accepted")
	// ErrLimit: larger, deeper or with more in it than is read here.
	ErrLimit = errors.New("XML beyond the limits")
	// ErrID: no element has the identifier, or several have.
	ErrID = errors.New("identifier not unique")
)

// Limits of Parse.
const (
	MaxSize       = 32 << 20 // bytes
	maxDepth      = 256      // elements within each other
	maxNodes      = 1 << 20  // elements, texts, comments, processing instructions and attributes
	maxAttributes = 512      // of one element, namespace declarations among them
	maxName       = 1024     // bytes
)

// Kind is what a node is.
type Kind uint8

// The kinds. CDATA sections are text.
const (
	Element Kind = iota
	Text
	Comment
	Instruction
)

// Node is an element, a text, a comment or a processing instruction.
type Node struct {
	Kind     Kind
	Parent   *Node // nil for what stands at the top
	Children []*Node
	Prefix   string // of elements; "" for none
	Local    string // of elements; the target of instructions
	Space    string // namespace of elements, "" for none
	Attrs    []Attr // without namespace declarations, in the order of the input
	Pieces   bool   // of texts: put together from CDATA sections and others, more than one of them not blank
	Data     string // text as it is meant, comment, or what follows an instruction's target
	Start    int    // offset of the first byte in the input
	End      int    // offset after the last byte
	Close    int    // of elements: offset of the end tag, or 0 if the element is one empty tag

	declared []declaration
}

// Attr is an attribute.
type Attr struct {
	Prefix, Local, Space, Value string
}

// declaration binds a prefix ("" for the default) to a namespace.
type declaration struct{ prefix, uri string }

// Document is what Parse read.
type Document struct {
	Raw  []byte
	Top  []*Node // the root with the comments and instructions around it
	Root *Node

	ids map[string]*Node // nil for what several elements have
}

// Is reports whether a node is an element of a name.
func (n *Node) Is(space, local string) bool {
	return n.Kind == Element && n.Local == local && n.Space == space
}

// Attr is the value of an attribute without a namespace, "" if there is none.
func (n *Node) Attr(local string) string {
	for _, a := range n.Attrs {
		if a.Space == "" && a.Local == local {
			return a.Value
		}
	}
	return ""
}

// Elements gives the children that are elements.
func (n *Node) Elements() (out []*Node) {
	for _, c := range n.Children {
		if c.Kind == Element {
			out = append(out, c)
		}
	}
	return out
}

// Find gives the children that are elements of a name.
func (n *Node) Find(space, local string) (out []*Node) {
	for _, c := range n.Children {
		if c.Is(space, local) {
			out = append(out, c)
		}
	}
	return out
}

// Text is all the text in a node and what it holds, comments passed over.
func (n *Node) Text() string {
	if n.Kind == Text {
		return n.Data
	}
	var b strings.Builder
	n.Walk(func(n *Node) bool {
		if n.Kind == Text {
			b.WriteString(n.Data)
		}
		return true
	})
	return b.String()
}

// Walk calls fn for a node and what it holds, in document order; it does not go
// into a node for which fn says false.
func (n *Node) Walk(fn func(*Node) bool) {
	if !fn(n) {
		return
	}
	for _, c := range n.Children {
		c.Walk(fn)
	}
}

// Walk calls fn for every node of a document.
func (d *Document) Walk(fn func(*Node) bool) {
	for _, n := range d.Top {
		n.Walk(fn)
	}
}

// Within reports whether a node is another one or stands in it.
func (n *Node) Within(outer *Node) bool {
	for ; n != nil; n = n.Parent {
		if n == outer {
			return true
		}
	}
	return false
}

// Namespace is what a prefix is bound to where a node stands, "" for nothing.
func (n *Node) Namespace(prefix string) string {
	if prefix == "xml" {
		return xmlSpace
	}
	for ; n != nil; n = n.Parent {
		for _, d := range n.declared {
			if d.prefix == prefix {
				return d.uri
			}
		}
	}
	return ""
}

// isID reports whether an attribute may be somebody's identifier: Id, ID, id
// and xml:id. Without a schema every reader guesses, so all guesses count.
func (a Attr) isID() bool {
	return a.Space == "" && strings.EqualFold(a.Local, "id") || a.Space == xmlSpace && a.Local == "id"
}

// ID is an element's identifier, "" if it has none.
func (n *Node) ID() string {
	for _, a := range n.Attrs {
		if a.isID() {
			return a.Value
		}
	}
	return ""
}

// ByID gives the one element with an identifier. None and several are errors
// that wrap ErrID: which of two is meant, readers decide in different ways.
func (d *Document) ByID(id string) (*Node, error) {
	if d.ids == nil {
		d.index()
	}
	n, ok := d.ids[id]
	switch {
	case !ok || id == "":
		return nil, fmt.Errorf("%w: no element has %q", ErrID, id)
	case n == nil:
		return nil, fmt.Errorf("%w: %q stands in the document more than once", ErrID, id)
	}
	return n, nil
}

func (d *Document) index() {
	d.ids = map[string]*Node{}
	d.Walk(func(n *Node) bool {
		for _, a := range n.Attrs {
			if !a.isID() {
				continue
			}
			if first, ok := d.ids[a.Value]; ok && first != n {
				d.ids[a.Value] = nil
			} else {
				d.ids[a.Value] = n
			}
		}
		return true
	})
}
