package main

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/validate"
)

const (
	xmlExt        = ".xml"
	envelopedForm = "XAdES enveloped"
	detachedXML   = "XAdES detached"
	asicXML       = "ASiC-E with XAdES"
)

// xmlFiles are what a detached signature covers.
var xmlFiles = []xades.File{
	{Name: "Vertrag, 100% Öl.txt", MIME: "text/plain", Content: []byte("We, the undersigned, agree.\r\n")},
	{Name: "plan.svg", MIME: "image/svg+xml", Content: []byte("<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n")},
}

// xades makes every level, enveloped and detached, by one signatory and by
// several, with RSA and ECDSA, with its own time and another's; then damages some.
func (m *maker) xades(rsa, ec, outside *house) error {
	var work []func(*maker) error
	for _, c := range []struct {
		h     *house
		name  string
		kinds []string // of the signatories
		doc   string   // sample
	}{
		{rsa, "RSA-3072", []string{"RSA-3072"}, "invoice"},
		{rsa, "RSA-4096 SHA-512 and RSA-3072 SHA-384", []string{"RSA-4096 SHA-512", "RSA-3072 SHA-384"}, "prefixes"},
		{rsa, "RSA-2048 PSS", []string{"RSA-2048 PSS"}, "empty"},
		{ec, "P-256", []string{"P-256"}, "invoice"},
		{ec, "P-256, P-384 and P-521", []string{"P-256", "P-384", "P-521"}, "prefixes"},
		{outside, "RSA-3072, time from outside", []string{"RSA-3072"}, "empty"},
	} {
		work = append(work, func(m *maker) error {
			var who []signatory
			for _, name := range c.kinds {
				k := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
				id, err := c.h.seal(k)
				if err != nil {
					return err
				}
				who = append(who, signatory{id, k.alg})
			}
			doc, err := os.ReadFile(filepath.Join("testdata", "xml", c.doc+xmlExt))
			if err != nil {
				return err
			}
			if err := m.xmlLadder(c.h, envelopedForm, c.name+", "+c.doc, who, doc); err != nil {
				return fmt.Errorf("%s, %s: %w", envelopedForm, c.name, err)
			}
			if err := m.xmlLadder(c.h, detachedXML, c.name, who[:1], nil); err != nil { // parallel signatures are files of their own
				return fmt.Errorf("%s, %s: %w", detachedXML, c.name, err)
			}
			if err := m.xmlLadder(c.h, asicXML, c.name, who, nil); err != nil {
				return fmt.Errorf("%s, %s: %w", asicXML, c.name, err)
			}
			return nil
		})
	}
	if err := m.together(work...); err != nil {
		return err
	}
	return m.damagedXML()
}

// xmlLadder adds B-B, B-T, B-LT, B-LTA and a renewed B-LTA; doc is what is
// enveloped.
func (m *maker) xmlLadder(h *house, form, name string, who []signatory, doc []byte) error {
	lists, err := h.lists(m.ctx, m.dir)
	if err != nil {
		return err
	}
	base := file{group: form, roots: h.roots, ext: xmlExt, signatures: len(who)}
	var files []xades.File
	if form == asicXML {
		base.ext = extendedForm.ext()
	}
	if form == detachedXML {
		files = xmlFiles
		if base.content, err = putContent(m.dir, files); err != nil {
			return err
		}
	}
	times := &lastToken{Timestamper: h.time}
	var ids []string
	levels := [4]validate.Level{validate.XAdESLevelB, validate.XAdESLevelT, validate.XAdESLevelLT, validate.XAdESLevelLTA}
	return m.climb(base, name, lists, levels, len(who), climber{
		sign: func(stamped bool) (out []byte, err error) {
			out, ids, err = m.signXML(form, doc, who, times.only(stamped))
			return out, err
		},
		evidence: func(data []byte) ([]byte, error) { return m.evidenceXML(h, who, ids, times, data) },
		archive:  func(data []byte) ([]byte, error) { return m.archiveXML(data, ids, files, times) },
	})
}

// putContent writes the signed files into a folder of their own and gives their
// paths, with colons between them.
func putContent(dir string, files []xades.File) (string, error) {
	dir, err := os.MkdirTemp(dir, "content-")
	if err != nil {
		return "", err
	}
	var paths []string
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Content, 0o600); err != nil {
			return "", err
		}
		paths = append(paths, path)
	}
	return strings.Join(paths, ":"), nil
}

// contents reads them again, by the names that signatures have for them.
func contents(f *file) (out []xades.File, err error) {
	for _, path := range strings.Split(f.content, ":") {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		out = append(out, xades.File{Name: filepath.Base(path), Content: b})
	}
	return out, nil
}

// signXML has everybody prepare before anybody has signed, and sign one by one.
// A container has no identifiers: all its signatures are meant.
func (m *maker) signXML(form string, doc []byte, who []signatory, ts cms.Timestamper) (out []byte, ids []string, err error) {
	var preps []*xades.Preparation
	for _, w := range who {
		p := xades.Params{Certificate: w.Leaf(), Chain: w.Chain[1:], Algorithm: w.alg, Time: time.Now()}
		var prep *xades.Preparation
		switch form {
		case asicXML:
			prep, err = asic.PrepareXML(plainFiles, p)
		case detachedXML:
			prep, err = xades.Detach(xmlFiles, p)
		default:
			prep, err = xades.Envelope(doc, p)
		}
		if err != nil {
			return nil, nil, err
		}
		preps, ids = append(preps, prep), append(ids, prep.ID)
	}
	out = doc
	var elements [][]byte
	for i, prep := range preps {
		value, err := prep.SignWith(who[i].Key)
		if err != nil {
			return nil, nil, err
		}
		element, err := prep.Finish(m.ctx, value, ts)
		if err != nil {
			return nil, nil, err
		}
		if form != envelopedForm {
			elements = append(elements, element)
			continue
		}
		if out, err = xades.Put(out, element); err != nil {
			return nil, nil, err
		}
	}
	switch form {
	case asicXML:
		out, err = asic.BuildXML(plainFiles, elements)
		return out, nil, err
	case detachedXML:
		return elements[0], ids, nil
	}
	return out, ids, nil
}

func (m *maker) evidenceXML(h *house, who []signatory, ids []string, times *lastToken, data []byte) ([]byte, error) {
	t, err := cms.ParseToken(times.token)
	if err != nil {
		return nil, err
	}
	authority, err := t.CheckSigner()
	if err != nil {
		return nil, err
	}
	leaves, more := []*x509.Certificate{authority}, slices.Clone(t.Certificates)
	for _, w := range who {
		leaves, more = append(leaves, w.Leaf()), append(more, w.Chain[1:]...)
	}
	e, err := h.gather.Gather(m.ctx, t.Time, leaves, more)
	if err != nil {
		return nil, err
	}
	evidence := xades.Evidence{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}
	if ids == nil {
		return asic.AddEvidenceXML(data, evidence)
	}
	for _, id := range ids {
		if data, err = xades.AddEvidence(data, id, evidence); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (m *maker) archiveXML(data []byte, ids []string, files []xades.File, ts cms.Timestamper) ([]byte, error) {
	if ids == nil {
		return asic.ArchiveXML(m.ctx, data, ts)
	}
	var err error
	for _, id := range ids {
		if data, err = xades.Archive(m.ctx, data, id, files, ts); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// secondXML asks xmlsec1 about each signature, and openssl about each timestamp
// (its imprint is the token's own: that its signature holds is what openssl says).
func secondXML(dir string, f *file, data []byte) (programs, error) {
	var p programs
	var roots []byte
	for _, path := range f.roots {
		b, err := os.ReadFile(path)
		if err != nil {
			return p, err
		}
		roots = append(roots, b...)
	}
	root := filepath.Join(dir, "openssl-roots")
	if err := os.WriteFile(root, roots, 0o600); err != nil {
		return p, err
	}
	at := dir
	if f.content != "" { // where its files are
		first, _, _ := strings.Cut(f.content, ":")
		at = filepath.Dir(first)
	}
	if f.ext == xmlExt {
		return p, p.xmlsec(dir, at, f.path, root, f.roots)
	}
	names, files, err := unzip(data)
	if err != nil {
		p.problems = append(p.problems, err.Error())
		return p, nil
	}
	if at, err = os.MkdirTemp(dir, "unzipped-"); err != nil {
		return p, err
	}
	unpacked, err := os.OpenRoot(at)
	if err != nil {
		return p, err
	}
	defer unpacked.Close()
	for _, name := range names {
		if err := errors.Join(unpacked.MkdirAll(path.Dir(name), 0o700), unpacked.WriteFile(name, files[name], 0o600)); err != nil {
			return p, err
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "META-INF/signatures") {
			if err := p.xmlsec(dir, at, filepath.Join(at, name), root, f.roots); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// xmlsec asks about one XML file, in the folder at, where the files are that it
// signs.
func (p *programs) xmlsec(dir, at, file, root string, roots []string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	d, err := xades.Read(data)
	if err != nil {
		p.problems = append(p.problems, err.Error())
		return nil
	}
	for _, s := range d.Signatures {
		p.signatures++
		args := []string{"--verify", "--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties", "--id-attr:Id", "http://www.w3.org/2000/09/xmldsig#:Signature", "--node-id", s.ID}
		for _, path := range roots {
			args = append(args, "--trusted-pem", path)
		}
		cmd := exec.Command("xmlsec1", append(args, file)...)
		cmd.Dir = at
		if out, err := cmd.CombinedOutput(); err != nil {
			p.problems = append(p.problems, "xmlsec1: "+firstLine(out, err))
		} else {
			p.openssl++
		}
		for _, stamp := range s.Archives {
			t, err := cms.ParseToken(stamp.Token)
			if err != nil {
				continue
			}
			p.stamps++
			path := filepath.Join(dir, "openssl-token")
			if err := os.WriteFile(path, stamp.Token, 0o600); err != nil {
				return err
			}
			if out, err := exec.Command("openssl", "ts", "-verify", "-token_in", "-partial_chain", "-CAfile", root, "-digest", hex.EncodeToString(t.Imprint), "-in", path).CombinedOutput(); err != nil {
				p.problems = append(p.problems, "openssl: "+firstLine(out, err))
			} else {
				p.openssl++
			}
		}
	}
	return nil
}
