package asic

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // hashes of references
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"milterd/signature/cms"
)

// Manifest is an ASiCManifest or ASiCArchiveManifest (EN 319 162-1, annexes A.4
// and A.7): the digests of files, and the name of the file with the signature or
// timestamp over the manifest.
type Manifest struct {
	Signature  string // name in the container
	References []Reference
}

// Reference names a file and its digest.
type Reference struct {
	URI    string // as it stands there; Container.Referenced finds the file
	MIME   string
	Hash   crypto.Hash
	Digest []byte
	Root   bool // of the archive manifest that this one follows
}

const (
	nsASiC = "http://uri.etsi.org/02918/v1.2.1#"
	nsDS   = "http://www.w3.org/2000/09/xmldsig#"

	maxManifest = 4 << 20 // bytes
)

var hashURIs = map[string]crypto.Hash{
	"http://www.w3.org/2001/04/xmlenc#sha256":       crypto.SHA256,
	"http://www.w3.org/2001/04/xmldsig-more#sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha512":       crypto.SHA512,
}

const sha256URI = "http://www.w3.org/2001/04/xmlenc#sha256"

// reference is that of a file, with SHA-256.
func reference(f File) Reference {
	mime := f.MIME
	if mime == "" {
		mime = "application/octet-stream"
	}
	return Reference{URI: uriOf(f.Name), MIME: mime, Hash: crypto.SHA256, Digest: digestOf(crypto.SHA256, f.Content)}
}

func digestOf(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

// uriOf is a name as a relative reference (RFC 3986).
func uriOf(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// marshal writes a manifest whose references have SHA-256.
func (m *Manifest) marshal(sigMIME string) []byte {
	var b bytes.Buffer
	text := func(s string) string {
		var t bytes.Buffer
		xml.EscapeText(&t, []byte(s)) // to a buffer: never fails
		return t.String()
	}
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<asic:ASiCManifest xmlns:asic=%q xmlns:ds=%q>\n", nsASiC, nsDS)
	fmt.Fprintf(&b, "<asic:SigReference URI=\"%s\" MimeType=\"%s\"/>\n", text(uriOf(m.Signature)), text(sigMIME))
	for _, r := range m.References {
		root := ""
		if r.Root {
			root = ` Rootfile="true"`
		}
		fmt.Fprintf(&b, "<asic:DataObjectReference URI=\"%s\" MimeType=\"%s\"%s><ds:DigestMethod Algorithm=%q/><ds:DigestValue>%s</ds:DigestValue></asic:DataObjectReference>\n",
			text(r.URI), text(r.MIME), root, sha256URI, base64.StdEncoding.EncodeToString(r.Digest))
	}
	b.WriteString("</asic:ASiCManifest>\n")
	return b.Bytes()
}

// element is an XML element as far as manifests need it.
type element struct {
	name  xml.Name
	attrs map[string]string
	text  strings.Builder
	kids  []*element
}

// parseManifest reads a manifest strictly: UTF-8, no DTD, known elements only.
// The error wraps ErrFormat, or cms.ErrAlgorithm for a hash that is not accepted.
func parseManifest(data []byte) (*Manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("manifest: %w: %d bytes", ErrLimit, len(data))
	}
	root, err := parseXML(data)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if root.name != (xml.Name{Space: nsASiC, Local: "ASiCManifest"}) {
		return nil, malformed("manifest: the root is %q in %q", root.name.Local, root.name.Space)
	}
	m := &Manifest{}
	for i, e := range root.kids {
		switch {
		case i == 0 && e.name == xml.Name{Space: nsASiC, Local: "SigReference"}:
			if m.Signature, err = url.PathUnescape(e.attrs["URI"]); err != nil || checkName(m.Signature) != nil {
				return nil, malformed("manifest: SigReference %q", e.attrs["URI"])
			}
		case i > 0 && e.name == xml.Name{Space: nsASiC, Local: "DataObjectReference"}:
			r, err := readReference(e)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(m.References, func(o Reference) bool { return o.URI == r.URI }) {
				return nil, malformed("manifest: %q twice", r.URI)
			}
			if m.References = append(m.References, r); len(m.References) > maxEntries {
				return nil, fmt.Errorf("manifest: %w: more than %d references", ErrLimit, maxEntries)
			}
		case e.name == xml.Name{Space: nsASiC, Local: "ASiCManifestExtensions"} && i == len(root.kids)-1:
			if err := checkExtensions(e); err != nil {
				return nil, err
			}
		default:
			return nil, malformed("manifest: element %q", e.name.Local)
		}
	}
	if m.Signature == "" || len(m.References) == 0 {
		return nil, malformed("manifest without a reference")
	}
	return m, nil
}

func readReference(e *element) (Reference, error) {
	r := Reference{URI: e.attrs["URI"], MIME: e.attrs["MimeType"], Root: e.attrs["Rootfile"] == "true" || e.attrs["Rootfile"] == "1"}
	if len(e.kids) < 2 || e.kids[0].name != (xml.Name{Space: nsDS, Local: "DigestMethod"}) || e.kids[1].name != (xml.Name{Space: nsDS, Local: "DigestValue"}) {
		return r, malformed("manifest: reference without a digest")
	}
	for _, extension := range e.kids[2:] {
		if err := checkExtensions(extension); err != nil {
			return r, err
		}
	}
	var ok bool
	if r.Hash, ok = hashURIs[e.kids[0].attrs["Algorithm"]]; !ok {
		return r, fmt.Errorf("manifest: %w: hash %q", cms.ErrAlgorithm, e.kids[0].attrs["Algorithm"])
	}
	var err error
	blank := strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")
	if r.Digest, err = base64.StdEncoding.Strict().DecodeString(blank.Replace(e.kids[1].text.String())); err != nil || len(r.Digest) != r.Hash.Size() {
		return r, malformed("manifest: digest of %q", r.URI)
	}
	return r, nil
}

// checkExtensions refuses those that must be understood.
func checkExtensions(e *element) error {
	if e.attrs["Critical"] == "true" || e.attrs["Critical"] == "1" {
		return malformed("manifest: a critical extension")
	}
	for _, k := range e.kids {
		if err := checkExtensions(k); err != nil {
			return err
		}
	}
	return nil
}

const (
	maxXMLDepth = 16
	maxText     = 256 << 10 // bytes in one element: the blanks between a thousand references
)

func parseXML(data []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	var stack []*element
	var root *element
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) && root != nil && len(stack) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, malformed("XML: %v", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := &element{name: t.Name, attrs: map[string]string{}}
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					continue
				}
				key := strings.TrimSpace(a.Name.Space + " " + a.Name.Local)
				if _, twice := e.attrs[key]; twice {
					return nil, malformed("XML: attribute %q twice", key)
				}
				e.attrs[key] = a.Value
			}
			switch {
			case len(stack) > 0:
				up := stack[len(stack)-1]
				up.kids = append(up.kids, e)
			case root != nil:
				return nil, malformed("XML: two roots")
			default:
				root = e
			}
			if stack = append(stack, e); len(stack) > maxXMLDepth {
				return nil, fmt.Errorf("XML: %w: nested too deeply", ErrLimit)
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			switch {
			case len(stack) > 0:
				up := stack[len(stack)-1]
				if up.text.Write(t); up.text.Len() > maxText {
					return nil, fmt.Errorf("XML: %w: text of %d bytes", ErrLimit, up.text.Len())
				}
			case len(bytes.TrimSpace(t)) > 0:
				return nil, malformed("XML: text outside of elements")
			}
		case xml.ProcInst:
			if t.Target != "xml" || root != nil {
				return nil, malformed("XML: processing instruction")
			}
		case xml.Directive:
			return nil, malformed("XML: document type")
		}
	}
}
