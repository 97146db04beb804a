package asic

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"milterd/signature/cms"
	"milterd/signature/xades"
)

// XAdES in ASiC-E (EN 319 162-1, clause 4.4.3): META-INF/*signatures*.xml, whose
// root holds ds:Signature elements that reference the documents themselves. Archive
// timestamps stand in the signatures. META-INF/manifest.xml (OpenDocument 1.2, part
// 3) lists the documents with their media types, because EU DSS wants it; nothing
// signs it, and the media types that count are signed in DataObjectFormat.

// maxSignatureFiles bounds the XAdES files of one container.
const maxSignatureFiles = 200

func isXMLSignature(name string) bool {
	base, ok := strings.CutPrefix(name, meta)
	return ok && strings.Contains(base, "signatures") && path.Ext(base) == ".xml" && !isManifest(name)
}

// PrepareXML says what a signatory of ASiC-E with XAdES signs: all files. Any
// number of people can sign at once.
func PrepareXML(files []File, p xades.Params) (*xades.Preparation, error) {
	if err := checkFiles(Extended, files); err != nil {
		return nil, fmt.Errorf("preparing a signature in a container: %w", err)
	}
	return xades.Detach(xmlFiles(files), p)
}

func xmlFiles(files []File) []xades.File {
	out := make([]xades.File, len(files))
	for i, f := range files {
		out[i] = xades.File{Name: f.Name, MIME: f.MIME, Content: f.Content}
	}
	return out
}

// BuildXML makes the container of documents and the ds:Signature elements that
// xades.Preparation.Finish gave for them; the same input gives the same bytes. It
// fails if a signature is over other documents (cms.ErrDigest); values are not
// verified again.
func BuildXML(files []File, signatures [][]byte) ([]byte, error) {
	data, err := buildXML(files, signatures)
	if err != nil {
		return nil, fmt.Errorf("building a container: %w", err)
	}
	return data, nil
}

func buildXML(files []File, signatures [][]byte) ([]byte, error) {
	if err := checkFiles(Extended, files); err != nil {
		return nil, err
	}
	if len(signatures) == 0 || len(signatures) > maxSignatureFiles {
		return nil, fmt.Errorf("%d signatures, between 1 and %d can be", len(signatures), maxSignatureFiles)
	}
	c := &Container{Kind: Extended, Entries: []Entry{{Name: "mimetype", Content: []byte(Extended.MIME()), stored: true}}}
	for _, f := range files {
		c.Entries = append(c.Entries, Entry{Name: f.Name, Content: f.Content})
	}
	for i, element := range signatures {
		content := slices.Concat([]byte(`<asic:XAdESSignatures xmlns:asic="`+nsASiC+`">`), element, []byte(`</asic:XAdESSignatures>`))
		if err := coversAll(content, files); err != nil {
			return nil, fmt.Errorf("signature %d: %w", i+1, err)
		}
		c.Entries = append(c.Entries, Entry{Name: fmt.Sprintf("%ssignatures%03d.xml", meta, i+1), Content: content})
	}
	manifest, err := openManifest(files)
	if err != nil {
		return nil, err
	}
	c.Entries = append(c.Entries, Entry{Name: meta + "manifest.xml", Content: manifest})
	return c.checked()
}

// openManifest is META-INF/manifest.xml.
func openManifest(files []File) ([]byte, error) {
	type entry struct {
		Path string `xml:"manifest:full-path,attr"`
		Type string `xml:"manifest:media-type,attr"`
	}
	m := struct {
		XMLName struct{} `xml:"manifest:manifest"`
		Space   string   `xml:"xmlns:manifest,attr"`
		Version string   `xml:"manifest:version,attr"`
		Entries []entry  `xml:"manifest:file-entry"`
	}{Space: "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0", Version: "1.2", Entries: []entry{{"/", Extended.MIME()}}}
	for _, f := range files {
		if f.MIME == "" {
			f.MIME = "application/octet-stream"
		}
		m.Entries = append(m.Entries, entry{f.Name, f.MIME})
	}
	out, err := xml.Marshal(m)
	return append([]byte(xml.Header), out...), err
}

// coversAll wants one signature over all documents as they are.
func coversAll(content []byte, files []File) error {
	d, err := xades.Read(content)
	if err != nil {
		return err
	}
	if len(d.Signatures) != 1 || d.Signatures[0].Problem != nil {
		return errors.New("not one XAdES signature")
	}
	s := d.Signatures[0]
	if len(s.References) != len(files) {
		return fmt.Errorf("%w: it is of another container", cms.ErrDigest)
	}
	for i, r := range s.References {
		if r.Name != files[i].Name {
			return fmt.Errorf("%w: it is of another container", cms.ErrDigest)
		}
		if err := s.Check(r, xmlFiles(files)); err != nil {
			return err
		}
	}
	return nil
}

// XML lists the files with XAdES signatures; Files is what these may be over.
func (c *Container) XML() (out []Entry, err error) {
	for _, e := range c.Entries {
		if isXMLSignature(e.Name) {
			out = append(out, e)
		}
	}
	if len(out) > maxSignatureFiles {
		return nil, fmt.Errorf("%w: %d files with signatures", ErrLimit, len(out))
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Files are the documents, for XAdES signatures.
func (c *Container) Files() []xades.File {
	var out []xades.File
	for _, e := range c.Data() {
		out = append(out, xades.File{Name: e.Name, Content: e.Content})
	}
	return out
}

// AddEvidenceXML is AddEvidence for a container with XAdES signatures.
func AddEvidenceXML(container []byte, e xades.Evidence) ([]byte, error) {
	out, err := eachXML(container, func(_ *Container, content []byte, id string) ([]byte, error) {
		return xades.AddEvidence(content, id, e)
	})
	if err != nil {
		return nil, fmt.Errorf("adding revocation data to a container: %w", err)
	}
	return out, nil
}

// ArchiveXML is Archive for a container with XAdES signatures: each gets an
// archive timestamp of its own.
func ArchiveXML(ctx context.Context, container []byte, ts cms.Timestamper) ([]byte, error) {
	out, err := eachXML(container, func(c *Container, content []byte, id string) ([]byte, error) {
		return xades.Archive(ctx, content, id, c.Files(), ts)
	})
	if err != nil {
		return nil, fmt.Errorf("archiving a container: %w", err)
	}
	return out, nil
}

// eachXML changes every XAdES signature of a container.
func eachXML(container []byte, change func(c *Container, content []byte, id string) ([]byte, error)) ([]byte, error) {
	c, err := Open(container)
	if err != nil {
		return nil, err
	}
	if c.Find(newestArchive) != nil {
		return nil, malformed("an archive manifest lets nothing be changed")
	}
	found := false
	for i := range c.Entries {
		e := &c.Entries[i]
		if !isXMLSignature(e.Name) {
			continue
		}
		d, err := xades.Read(e.Content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		for _, s := range d.Signatures {
			if e.Content, err = change(c, e.Content, s.ID); err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			found = true
		}
	}
	if !found {
		return nil, malformed("no XAdES signature")
	}
	return c.checked()
}
