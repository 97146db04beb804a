package asic

import (
	"bytes"
	"crypto"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"milterd/signature/cms"
)

// Kind is the kind of a container.
type Kind string

// The two kinds; their media types are those of EN 319 162-1, annex A.1 and
// clauses 4.3.2.1 and 4.4.3.1.
const (
	Simple   Kind = "ASiC-S"
	Extended Kind = "ASiC-E"
)

const (
	mimeSimple   = "application/vnd.etsi.asic-s+zip"
	mimeExtended = "application/vnd.etsi.asic-e+zip"

	mimeSignature = "application/pkcs7-signature"
	mimeToken     = "application/vnd.etsi.timestamp-token"
	mimeXML       = "application/xml"

	meta            = "META-INF/"
	simpleSignature = meta + "signature.p7s"
	newestArchive   = meta + "ASiCArchiveManifest.xml"
)

// MIME is the media type of a kind.
func (k Kind) MIME() string {
	if k == Simple {
		return mimeSimple
	}
	return mimeExtended
}

// File is a document. In a container its name is a relative path with slashes.
type File struct {
	Name    string `json:"name"`
	MIME    string `json:"mime,omitempty"` // media type, signed with it; "" where nobody knows
	Content []byte `json:"content"`
}

// Container is an opened container. It is not for several goroutines at once.
type Container struct {
	Kind    Kind
	Entries []Entry // all files, in the directory's order

	comment string
	sums    map[sumKey][]byte // digests of entries: many manifests may ask for the same
}

type sumKey struct {
	name string
	hash crypto.Hash
}

func (c *Container) sum(h crypto.Hash, e *Entry) []byte {
	key := sumKey{e.Name, h}
	if c.sums == nil {
		c.sums = map[sumKey][]byte{}
	}
	if c.sums[key] == nil {
		c.sums[key] = digestOf(h, e.Content)
	}
	return c.sums[key]
}

// Open reads a container. The error wraps ErrFormat or ErrLimit.
func Open(data []byte) (*Container, error) {
	entries, comment, err := readZIP(data)
	if err != nil {
		return nil, fmt.Errorf("opening the container: %w", err)
	}
	c := &Container{Entries: entries, comment: comment}
	if err := c.findKind(); err != nil {
		return nil, fmt.Errorf("opening the container: %w", err)
	}
	return c, nil
}

// IsZIP tells by the first bytes whether data could be a container.
func IsZIP(data []byte) bool {
	return strings.HasPrefix(string(data[:min(len(data), 4)]), "PK\x03\x04")
}

// findKind is clauses 4.3.2 and 4.4.3: by the file mimetype, which is first and
// not compressed, else by what stands in META-INF.
func (c *Container) findKind() error {
	mime, said := "", false
	for _, e := range c.Entries {
		if e.Name != "mimetype" {
			continue
		}
		if said = true; !e.first || !e.stored || !e.plain {
			return malformed("the file mimetype must come first, not compressed, without extra fields")
		}
		mime = string(e.Content)
	}
	if c.comment != "" && (!strings.HasPrefix(c.comment, "mimetype=") || said && c.comment != "mimetype="+mime) {
		return malformed("a comment that is not the container's media type")
	}
	switch {
	case mime == mimeSimple:
		c.Kind = Simple
	case mime == mimeExtended:
		c.Kind = Extended
	case said:
		return malformed("media type %.100q is no ASiC container's", mime)
	case len(c.Data()) == 1 && c.Find(simpleSignature) != nil:
		c.Kind = Simple
	case slices.ContainsFunc(c.Entries, func(e Entry) bool { return strings.HasPrefix(e.Name, meta) }):
		c.Kind = Extended
	default:
		return malformed("no ASiC container: it has no folder META-INF")
	}
	if n := len(c.Data()); c.Kind == Simple && n != 1 {
		return malformed("ASiC-S has one document, this has %d", n)
	}
	return nil
}

// Find gives a file by its name, nil if there is none.
func (c *Container) Find(name string) *Entry {
	for i := range c.Entries {
		if c.Entries[i].Name == name {
			return &c.Entries[i]
		}
	}
	return nil
}

// Data gives the documents: everything but mimetype and the folder META-INF.
func (c *Container) Data() []Entry {
	var out []Entry
	for _, e := range c.Entries {
		if e.Name != "mimetype" && !strings.HasPrefix(e.Name, meta) {
			out = append(out, e)
		}
	}
	return out
}

// Signed is a CAdES signature or an archive timestamp in a container, with what it
// is over.
type Signed struct {
	Name     string // of the file with the signature or token
	Value    []byte // DER
	Over     Entry  // the file that it signs: a manifest, or ASiC-S's document
	Manifest *Manifest
	Token    bool // a timestamp
	Problem  error
}

// Signed lists every CAdES signature and timestamp, in the order of their names.
// What is wrong with one, so that it signs nothing here, is its Problem.
func (c *Container) Signed() []Signed {
	manifests := map[string]*Manifest{}
	names := map[string]string{} // of the manifest, by that of the signature
	var broken error
	for _, e := range c.Entries {
		if !isManifest(e.Name) {
			continue
		}
		m, err := parseManifest(e.Content)
		switch {
		case err != nil:
			broken = fmt.Errorf("%s: %w", e.Name, err)
		case names[m.Signature] != "":
			broken = malformed("%s and %s name the same signature", names[m.Signature], e.Name)
		default:
			manifests[m.Signature], names[m.Signature] = m, e.Name
		}
	}
	var out []Signed
	for _, e := range c.Entries {
		signature, token := isSignature(e.Name), isToken(e.Name)
		if !signature && !token {
			continue
		}
		s := Signed{Name: e.Name, Value: e.Content, Token: token, Manifest: manifests[e.Name]}
		switch {
		case broken != nil:
			s.Problem = broken
		case s.Manifest != nil:
			s.Over = *c.Find(names[e.Name])
		case c.Kind == Simple:
			s.Over = c.Data()[0]
		default:
			s.Problem = malformed("no manifest names %s", e.Name)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Signed) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Of annex A.4 and clause 4.4.4: ASiCManifest*.xml, ASiCArchiveManifest*.xml,
// *signature*.p7s, *timestamp*.tst.
func isManifest(name string) bool {
	base, ok := strings.CutPrefix(name, meta)
	return ok && strings.HasSuffix(base, ".xml") && (strings.HasPrefix(base, "ASiCManifest") || strings.HasPrefix(base, "ASiCArchiveManifest"))
}

func isSignature(name string) bool {
	base, ok := strings.CutPrefix(name, meta)
	return ok && strings.Contains(base, "signature") && path.Ext(base) == ".p7s"
}

func isToken(name string) bool {
	base, ok := strings.CutPrefix(name, meta)
	return ok && strings.Contains(base, "timestamp") && path.Ext(base) == ".tst"
}

// Referenced finds the file of a reference and compares its digest. The error
// wraps cms.ErrDigest for another content, ErrFormat for a file that is not there.
func (c *Container) Referenced(r Reference) (*Entry, error) {
	name, err := url.PathUnescape(r.URI)
	if err != nil {
		return nil, malformed("reference %q", r.URI)
	}
	e, literal := c.Find(name), c.Find(r.URI)
	if e == nil {
		e = literal // some write names as they are
	} else if literal != nil && literal != e {
		return nil, malformed("the reference %q could mean two files", r.URI)
	}
	if e == nil {
		return nil, malformed("the file %q, which is signed, is not there", r.URI)
	}
	if !bytes.Equal(c.sum(r.Hash, e), r.Digest) {
		return e, fmt.Errorf("%w: the file %q was changed", cms.ErrDigest, r.URI)
	}
	return e, nil
}

// bytes writes the container again, with the same entries.
func (c *Container) bytes() ([]byte, error) {
	return writeZIP(c.Entries)
}
