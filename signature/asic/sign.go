package asic

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"milterd/signature/cades"
	"milterd/signature/cms"
)

// Preparation is a signature in a container that waits for its value. It is plain
// data: what JSON keeps of it suffices to Finish it. Signature.Attributes is what
// gets signed.
type Preparation struct {
	Number    int                `json:"number"`
	Manifest  []byte             `json:"manifest,omitempty"` // of ASiC-E, XML: this is what the signature is over
	Signature *cades.Preparation `json:"signature"`
}

// Signature is a finished signature, for Build.
type Signature struct {
	Number   int    `json:"number"`
	Manifest []byte `json:"manifest,omitempty"`
	CMS      []byte `json:"cms"` // DER, detached
}

// maxNumber bounds the numbers of signatories.
const maxNumber = 999

// Prepare says what a signatory signs: for ASiC-E a manifest of all files, for
// ASiC-S the one file. number (1 to 999) is the signatory's own: it names the
// files of this signature, so that any number of people can sign at once. p.MIME
// is set here.
func Prepare(kind Kind, files []File, number int, p cades.Params) (*Preparation, error) {
	prep, err := prepare(kind, files, number, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature in a container: %w", err)
	}
	return prep, nil
}

func prepare(kind Kind, files []File, number int, p cades.Params) (*Preparation, error) {
	if err := checkFiles(kind, files); err != nil {
		return nil, err
	}
	if number < 1 || number > maxNumber {
		return nil, fmt.Errorf("signature number %d: not between 1 and %d", number, maxNumber)
	}
	prep := &Preparation{Number: number}
	over := files[0].Content
	p.MIME = files[0].MIME
	if kind == Extended {
		m := Manifest{Signature: signatureName(number)}
		for _, f := range files {
			m.References = append(m.References, reference(f))
		}
		prep.Manifest = m.marshal(mimeSignature)
		over, p.MIME = prep.Manifest, mimeXML
	}
	var err error
	prep.Signature, err = cades.Prepare(over, p)
	return prep, err
}

func signatureName(number int) string { return fmt.Sprintf("%ssignature%03d.p7s", meta, number) }
func manifestName(number int) string  { return fmt.Sprintf("%sASiCManifest%03d.xml", meta, number) }

// CheckFiles says why a container cannot hold these documents; nil if it can.
func CheckFiles(kind Kind, files []File) error {
	total := 0
	for _, f := range files {
		if total += len(f.Content); total > maxDocuments {
			return fmt.Errorf("%w: documents of more than %d bytes", ErrLimit, maxDocuments)
		}
	}
	return checkFiles(kind, files)
}

// maxDocuments leaves room for signatures below what Open reads.
const maxDocuments = maxTotal - 32<<20

// checkFiles wants documents that Open would read again.
func checkFiles(kind Kind, files []File) error {
	if kind != Simple && kind != Extended {
		return fmt.Errorf("container of kind %q", kind)
	}
	if len(files) == 0 || kind == Simple && len(files) > 1 {
		return fmt.Errorf("%d documents for %s", len(files), kind)
	}
	for _, f := range files {
		if err := checkName(f.Name); err != nil {
			return err
		}
		if first, _, _ := strings.Cut(f.Name, "/"); strings.EqualFold(first, "META-INF") || strings.EqualFold(first, "mimetype") {
			return malformed("a document must not be named %q", f.Name)
		}
	}
	return nil
}

// Finish is cades.Preparation's: it verifies the value, asks ts for its time (nil
// for none) and gives the signature.
func (p *Preparation) Finish(ctx context.Context, value []byte, ts cms.Timestamper) (*Signature, error) {
	der, err := p.Signature.Finish(ctx, value, ts)
	if err != nil {
		return nil, err
	}
	return &Signature{Number: p.Number, Manifest: p.Manifest, CMS: der}, nil
}

// FinishCMS is cades.Preparation's, for a complete CMS that a provider made.
func (p *Preparation) FinishCMS(ctx context.Context, der []byte, ts cms.Timestamper) (*Signature, error) {
	der, err := p.Signature.FinishCMS(ctx, der, ts)
	if err != nil {
		return nil, err
	}
	return &Signature{Number: p.Number, Manifest: p.Manifest, CMS: der}, nil
}

// Sign prepares and finishes with a key in this process.
func Sign(ctx context.Context, kind Kind, files []File, number int, p cades.Params, key crypto.Signer, ts cms.Timestamper) (*Signature, error) {
	prep, err := Prepare(kind, files, number, p)
	if err != nil {
		return nil, err
	}
	value, err := prep.Signature.SignWith(key)
	if err != nil {
		return nil, err
	}
	return prep.Finish(ctx, value, ts)
}

// Build makes the container of documents and their signatures, in the order of
// their numbers; the same input gives the same bytes. It fails if a signature is
// over other documents (cms.ErrDigest); values are not verified again.
func Build(kind Kind, files []File, signatures []Signature) ([]byte, error) {
	data, err := build(kind, files, signatures)
	if err != nil {
		return nil, fmt.Errorf("building a container: %w", err)
	}
	return data, nil
}

func build(kind Kind, files []File, signatures []Signature) ([]byte, error) {
	if err := checkFiles(kind, files); err != nil {
		return nil, err
	}
	if len(signatures) == 0 {
		return nil, errors.New("no signature")
	}
	c := &Container{Kind: kind, Entries: []Entry{{Name: "mimetype", Content: []byte(kind.MIME()), stored: true}}}
	for _, f := range files {
		c.Entries = append(c.Entries, Entry{Name: f.Name, Content: f.Content})
	}
	signatures = slices.Clone(signatures)
	slices.SortFunc(signatures, func(a, b Signature) int { return a.Number - b.Number })
	var all [][]byte
	for i, s := range signatures {
		if i > 0 && s.Number == signatures[i-1].Number {
			return nil, fmt.Errorf("two signatures with number %d", s.Number)
		}
		if (kind == Extended) != (s.Manifest != nil) {
			return nil, fmt.Errorf("signature %d is of another kind of container", s.Number)
		}
		if err := c.put(s, files[0].Content); err != nil {
			return nil, err
		}
		all = append(all, s.CMS)
	}
	if kind == Simple {
		der, err := cades.Join(all...)
		if err != nil {
			return nil, err
		}
		c.Entries = append(c.Entries, Entry{Name: simpleSignature, Content: der})
	}
	return c.checked()
}

// Add gives an ASiC-E container with one more signature over its documents. It
// fails if the signature is over others (cms.ErrDigest), if its number is taken, or
// if the container was archived; the value is not verified again.
func Add(container []byte, s Signature) ([]byte, error) {
	data, err := add(container, s)
	if err != nil {
		return nil, fmt.Errorf("adding a signature to a container: %w", err)
	}
	return data, nil
}

func add(container []byte, s Signature) ([]byte, error) {
	c, err := Open(container)
	if err != nil {
		return nil, err
	}
	archived, err := c.newestToken()
	switch {
	case err != nil:
		return nil, err
	case c.Kind != Extended || archived != "" || s.Manifest == nil:
		return nil, errors.New("no more signatures can be added to it")
	case c.Find(manifestName(s.Number)) != nil || c.Find(signatureName(s.Number)) != nil:
		return nil, fmt.Errorf("two signatures with number %d", s.Number)
	}
	if err := c.put(s, nil); err != nil {
		return nil, err
	}
	return c.checked()
}

// put adds a signature's files, of ASiC-E, and wants it to be over what it should:
// its manifest, or the document of ASiC-S.
func (c *Container) put(s Signature, document []byte) error {
	over := document
	if c.Kind == Extended {
		over = s.Manifest
		c.Entries = append(c.Entries, Entry{Name: manifestName(s.Number), Content: s.Manifest}, Entry{Name: signatureName(s.Number), Content: s.CMS})
		if err := c.checkManifest(s); err != nil {
			return err
		}
	}
	m, err := cms.Parse(s.CMS)
	if err != nil {
		return err
	}
	if _, err := m.Verify(digestOf(m.Hash(), over)); err != nil {
		return fmt.Errorf("signature %d: %w", s.Number, err)
	}
	return nil
}

// checkManifest wants the manifest of a signature to name all documents as they
// are.
func (c *Container) checkManifest(s Signature) error {
	m, err := parseManifest(s.Manifest)
	if err != nil {
		return err
	}
	if m.Signature != signatureName(s.Number) || len(m.References) != len(c.Data()) {
		return fmt.Errorf("signature %d: %w: its manifest is of another container", s.Number, cms.ErrDigest)
	}
	for _, r := range m.References {
		if _, err := c.Referenced(r); err != nil {
			return fmt.Errorf("signature %d: %w", s.Number, err)
		}
	}
	return nil
}

// checked writes the container and reads it again: what others will open is what
// we meant.
func (c *Container) checked() ([]byte, error) {
	data, err := c.bytes()
	if err != nil {
		return nil, err
	}
	again, err := Open(data)
	if err != nil {
		return nil, err
	}
	if again.Kind != c.Kind || len(again.Entries) != len(c.Entries) {
		return nil, malformed("written otherwise than meant")
	}
	return data, nil
}
