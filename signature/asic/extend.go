package asic

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"milterd/signature/cades"
	"milterd/signature/cms"
)

// AddEvidence adds certificates and revocation data to every signature; once
// there is an archive timestamp over them, which lets nothing be changed, to the
// newest of these (EN 319 162-1, annex A.7).
func AddEvidence(container []byte, e cades.Evidence) ([]byte, error) {
	out, err := addEvidence(container, e)
	if err != nil {
		return nil, fmt.Errorf("adding revocation data to a container: %w", err)
	}
	return out, nil
}

func addEvidence(container []byte, e cades.Evidence) ([]byte, error) {
	c, err := Open(container)
	if err != nil {
		return nil, err
	}
	newest, err := c.newestToken()
	if err != nil {
		return nil, err
	}
	for i := range c.Entries {
		entry := &c.Entries[i]
		if newest == "" && !isSignature(entry.Name) || newest != "" && entry.Name != newest {
			continue
		}
		if entry.Content, err = cades.AddEvidence(entry.Content, e); err != nil {
			return nil, fmt.Errorf("%s: %w", entry.Name, err)
		}
	}
	return c.checked()
}

// newestToken names the timestamp over the newest archive manifest, "" if there is
// none.
func (c *Container) newestToken() (string, error) {
	e := c.Find(newestArchive)
	if e == nil {
		return "", nil
	}
	m, err := parseManifest(e.Content)
	if err != nil {
		return "", err
	}
	if !isToken(m.Signature) || c.Find(m.Signature) == nil {
		return "", malformed("the archive manifest names no timestamp")
	}
	return m.Signature, nil
}

// NewestToken is the timestamp over the newest archive manifest of ASiC-E, DER; nil
// if there is none.
func (c *Container) NewestToken() []byte {
	name, err := c.newestToken()
	if err != nil || name == "" {
		return nil
	}
	return c.Find(name).Content
}

// Archive makes B-LTA: in ASiC-S an archive timestamp in the signature of each
// signer; in ASiC-E an ASiCArchiveManifest over everything in the container, with
// a timestamp (annex A.7). A container that was archived before is archived again.
func Archive(ctx context.Context, container []byte, ts cms.Timestamper) ([]byte, error) {
	out, err := archive(ctx, container, ts)
	if err != nil {
		return nil, fmt.Errorf("archiving a container: %w", err)
	}
	return out, nil
}

func archive(ctx context.Context, container []byte, ts cms.Timestamper) ([]byte, error) {
	c, err := Open(container)
	if err != nil {
		return nil, err
	}
	if c.Kind == Simple {
		e := c.Find(simpleSignature)
		if e == nil {
			return nil, malformed("no %s", simpleSignature)
		}
		if e.Content, err = cades.Archive(ctx, e.Content, c.Data()[0].Content, ts); err != nil {
			return nil, err
		}
		return c.checked()
	}
	// The newest archive manifest always has the same name.
	root := ""
	if e := c.Find(newestArchive); e != nil {
		root = c.unused(meta + "ASiCArchiveManifest%03d.xml")
		e.Name = root
	}
	types := c.types()
	m := Manifest{Signature: c.unused(meta + "timestamp%03d.tst")}
	for _, e := range c.Entries {
		if e.Name == "mimetype" {
			continue
		}
		r := reference(File{Name: e.Name, MIME: types[e.Name], Content: e.Content})
		r.Root = e.Name == root
		m.References = append(m.References, r)
	}
	manifest := m.marshal(mimeToken)
	digest := sha256.Sum256(manifest)
	t, err := cms.StampDigest(ctx, ts, digest[:])
	if err != nil {
		return nil, err
	}
	c.Entries = append(c.Entries, Entry{Name: newestArchive, Content: manifest}, Entry{Name: m.Signature, Content: t.Raw})
	return c.checked()
}

// unused gives the first name of a pattern that is free.
func (c *Container) unused(pattern string) string {
	for n := 1; ; n++ {
		if name := fmt.Sprintf(pattern, n); c.Find(name) == nil {
			return name
		}
	}
}

// types gives the media types of all files; of documents what the manifests of
// their signatures say.
func (c *Container) types() map[string]string {
	out := map[string]string{}
	for _, s := range c.Signed() {
		if s.Manifest == nil {
			continue
		}
		for _, r := range s.Manifest.References {
			if e, err := c.Referenced(r); err == nil {
				out[e.Name] = r.MIME
			}
		}
	}
	for _, e := range c.Entries {
		switch {
		case isSignature(e.Name):
			out[e.Name] = mimeSignature
		case isToken(e.Name):
			out[e.Name] = mimeToken
		case strings.HasPrefix(e.Name, meta):
			out[e.Name] = mimeXML
		}
	}
	return out
}
