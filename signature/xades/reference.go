package xades

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"milterd/signature/cms"
	"milterd/signature/xades/dom"
)

// Errors about references.
var (
	// ErrTransform: a transform, or an order of them, that is not followed here.
	ErrTransform = errors.New("transform not accepted")
	// ErrMissing: the file that a reference names was not given.
	ErrMissing = errors.New("signed file not given")
)

// Cover is what a reference covers.
type Cover string

// The kinds.
const (
	CoversDocument Cover = "the document"        // all of it but signatures (and comments)
	CoversElement  Cover = "a part of it"        // an element of the document
	CoversObject   Cover = "content within"      // an Object of the signature itself
	CoversKeyInfo  Cover = "the key information" // of the signature itself
	CoversFile     Cover = "a file"              // given beside the signature
)

// File is a file that a detached signature covers.
type File struct {
	Name    string // as the signature names it, unescaped; may have slashes
	MIME    string // media type; only for signing, "" for none known
	Content []byte
}

// Reference is one ds:Reference.
type Reference struct {
	ID, URI, Type string
	MIME          string // of DataObjectFormat
	Covers        Cover
	Name          string // of the file, or of the element

	hash     crypto.Hash
	digest   []byte
	steps    []*dom.Node // transforms
	node     *dom.Node   // of this document; nil for all of it, or a file
	problem  error       // why it cannot be followed
	leaveOut func(*dom.Node) bool
	others   bool // leaves out all signatures, not only its own
	form     dom.Form
	decode   bool // base64
}

func readReference(n *dom.Node) (*Reference, error) {
	kids, err := elements(n)
	if err != nil {
		return nil, err
	}
	r := &Reference{ID: n.Attr("Id"), URI: n.Attr("URI"), Type: n.Attr("Type")}
	named := false
	for _, a := range n.Attrs {
		named = named || a.Space == "" && a.Local == "URI"
	}
	if len(kids) > 0 && kids[0].Is(dsSpace, "Transforms") {
		if r.steps, err = elements(kids[0]); err != nil {
			return nil, err
		}
		kids = kids[1:]
	}
	if !named || len(kids) != 2 || !kids[0].Is(dsSpace, "DigestMethod") || !kids[1].Is(dsSpace, "DigestValue") || len(r.steps) > 8 {
		return nil, malformed("ds:Reference is not URI, Transforms, DigestMethod, DigestValue")
	}
	if r.hash, err = hashOf(kids[0].Attr("Algorithm")); err != nil {
		return nil, err
	}
	if r.digest, err = binary(kids[1]); err != nil {
		return nil, err
	}
	return r, nil
}

// resolve finds what each reference is over. The SignedProperties must be those
// of this signature, found by their place, not only by their identifier.
func (s *Signature) resolve() error {
	for _, r := range s.References {
		r.problem = s.target(r)
		if r.problem == nil {
			r.problem = s.transforms(r)
		}
	}
	id, ok := strings.CutPrefix(s.own.URI, "#")
	if !ok {
		return malformed("the reference of SignedProperties leads elsewhere")
	}
	n, err := s.doc.tree.ByID(id)
	if err != nil {
		return fmt.Errorf("%w: SignedProperties: %w", cms.ErrFormat, err)
	}
	if n != s.signed {
		return malformed("the reference of SignedProperties leads elsewhere")
	}
	if _, err := s.doc.tree.ByID(s.ID); err != nil {
		return fmt.Errorf("%w: ds:Signature: %w", cms.ErrFormat, err)
	}
	s.own.node, s.own.Covers = n, CoversElement
	if s.own.problem = s.transforms(s.own); s.own.leaveOut != nil || s.own.decode {
		return malformed("transforms of SignedProperties")
	}
	return s.own.problem
}

// target follows a URI: "" and #id in this document, everything else is the
// name of a file. Nothing is ever fetched, and XPointer is not known.
func (s *Signature) target(r *Reference) error {
	id, local := strings.CutPrefix(r.URI, "#")
	switch {
	case r.Type == manifestType:
		return fmt.Errorf("%w: what a Manifest lists", ErrTransform)
	case r.URI == "":
		r.Covers = CoversDocument
		if s.doc.container {
			return fmt.Errorf("%w: there is no document around the signature", ErrMissing)
		}
		return nil
	case !local:
		name, err := url.PathUnescape(r.URI)
		if err != nil {
			return malformed("URI %q", r.URI)
		}
		r.Covers, r.Name = CoversFile, name
		return nil
	case strings.HasPrefix(id, "xpointer("):
		return fmt.Errorf("%w: XPointer", ErrTransform)
	}
	n, err := s.doc.tree.ByID(id)
	if err != nil {
		return fmt.Errorf("%w: %w", cms.ErrFormat, err)
	}
	r.node, r.Name, r.Covers = n, n.Local, CoversElement
	switch {
	case n == s.doc.tree.Root && !s.doc.container && !s.doc.instructions():
		r.Covers = CoversDocument
	case n == s.keyInfo:
		r.Covers = CoversKeyInfo
	case n.Parent == s.node && n.Is(dsSpace, "Object") && !s.qualifying.Within(n):
		r.Covers = CoversObject
	}
	return nil
}

// instructions reports whether processing instructions stand beside the root: a
// style sheet there changes what people see.
func (d *Document) instructions() bool {
	for _, n := range d.tree.Top {
		if n.Kind == dom.Instruction {
			return true
		}
	}
	return false
}

// The expressions by which signers leave out signatures of others beside their
// own. They are compared, not evaluated.
const (
	notSignatures  = "not(ancestor-or-self::ds:Signature)"
	lessSignatures = "/descendant::ds:Signature"
)

// transforms reads the steps: some that leave signatures out, then a canonical
// form, or base64 of an Object. No others are followed.
func (s *Signature) transforms(r *Reference) error {
	for i, t := range r.steps {
		uri := t.Attr("Algorithm")
		unknown := fmt.Errorf("%w: %q", ErrTransform, uri)
		if !t.Is(dsSpace, "Transform") {
			return malformed("ds:Transforms")
		}
		if r.Covers == CoversFile {
			return unknown
		}
		last := i == len(r.steps)-1
		switch uri {
		case envelopedURI:
			if len(t.Elements()) > 0 {
				return unknown
			}
			if r.leaveOut == nil {
				r.leaveOut = func(n *dom.Node) bool { return n == s.node }
			}
		case xpathURI, filterSpace:
			if !leavesSignatures(t, uri) {
				return unknown
			}
			r.others, r.leaveOut = true, isSignature
		case base64URI:
			if r.decode = true; !last || r.Covers != CoversObject {
				return unknown
			}
		default:
			var err error
			if r.form, err = readForm(t); err != nil || !last {
				return unknown
			}
			r.form.Comments = false // "" and #id have none (XML Signature, section 4.4.3.3)
		}
	}
	return nil
}

func isSignature(n *dom.Node) bool { return n.Is(dsSpace, "Signature") }

// leavesSignatures reports whether an XPath or XPath Filter 2.0 transform is one
// of the two expressions, with its prefix bound to what it should be.
func leavesSignatures(t *dom.Node, uri string) bool {
	kids := t.Elements()
	if len(kids) != 1 {
		return false
	}
	text, err := leaf(kids[0])
	if err != nil {
		return false
	}
	text = blanks.Replace(text)
	want, space := notSignatures, dsSpace
	if uri == filterSpace {
		want, space = lessSignatures, filterSpace
		if kids[0].Attr("Filter") != "subtract" {
			return false
		}
	}
	before, rest, ok1 := strings.Cut(text, "::")
	prefix, after, ok2 := strings.Cut(rest, ":")
	return kids[0].Is(space, "XPath") && ok1 && ok2 && prefix != "" && before+"::ds:"+after == want && kids[0].Namespace(prefix) == dsSpace
}

// write gives the octets of a reference: what is hashed.
func (s *Signature) write(w io.Writer, r *Reference, files []File) error {
	if r.problem != nil {
		return r.problem
	}
	if r.Covers == CoversFile {
		for _, f := range files {
			if f.Name == r.Name {
				_, err := (&counter{w, &s.doc.work.files, maxHashed}).Write(f.Content)
				return err
			}
		}
		return fmt.Errorf("%w: %q", ErrMissing, r.Name)
	}
	if r.decode {
		b, err := base64.StdEncoding.DecodeString(blanks.Replace(r.node.Text()))
		if err != nil {
			return malformed("base64 of an Object")
		}
		_, err = w.Write(b)
		return err
	}
	w = &counter{w, &s.doc.work.forms, maxWork}
	if r.node == nil {
		return r.form.WriteDocument(w, s.doc.tree, r.leaveOut)
	}
	return r.form.WriteElement(w, r.node, r.leaveOut)
}

// counter bounds the work that one document can ask for.
type counter struct {
	w     io.Writer
	n     *int64
	limit int64
}

func (c *counter) Write(b []byte) (int, error) {
	if *c.n += int64(len(b)); *c.n > c.limit {
		return 0, fmt.Errorf("%w: more than %d bytes to be hashed", dom.ErrLimit, c.limit)
	}
	return c.w.Write(b)
}

// Check compares the digest of a reference; files are those that were given
// beside the signature, always the same for a document. The error wraps cms.ErrDigest, ErrTransform, ErrMissing.
func (s *Signature) Check(r *Reference, files []File) error {
	key := sumKey{r.Name, r.hash}
	sum := s.doc.work.sums[key]
	if r.Covers != CoversFile || sum == nil {
		h := r.hash.New()
		if err := s.write(h, r, files); err != nil {
			return err
		}
		sum = h.Sum(nil)
	}
	if r.Covers == CoversFile {
		s.doc.work.sums[key] = sum
	}
	if !bytes.Equal(sum, r.digest) {
		return fmt.Errorf("%w: reference %q", cms.ErrDigest, r.URI)
	}
	return nil
}

// CheckProperties compares the digest of the signed properties.
func (s *Signature) CheckProperties() error {
	if err := s.Check(s.own, nil); err != nil {
		return fmt.Errorf("signed properties: %w", err)
	}
	return nil
}

// Comments counts the comments of the document outside signatures, which no
// reference covers.
func (d *Document) Comments() (n int) {
	d.tree.Walk(func(k *dom.Node) bool {
		if k.Kind == dom.Comment {
			n++
		}
		return !isSignature(k)
	})
	return n
}

// Split finds a text that something which no signature covers cuts in two: a
// comment, a signature, or the bounds of a CDATA section. Readers that take the
// first piece see another value than those that take all. It names the element
// around it, "" for none.
func (d *Document) Split() (found string) {
	if d.split != nil {
		return *d.split
	}
	defer func() { d.split = &found }()
	d.tree.Walk(func(n *dom.Node) bool {
		before, cut := false, false
		for _, k := range n.Children {
			switch {
			case k.Kind == dom.Text && strings.TrimSpace(k.Data) != "":
				if before && cut || k.Pieces {
					found = n.Local
				}
				before, cut = true, false
			case k.Kind == dom.Comment, isSignature(k):
				cut = true
			case k.Kind == dom.Element:
				before = false
			}
		}
		return !isSignature(n) && found == ""
	})
	return found
}
