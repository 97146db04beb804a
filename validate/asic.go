package validate

import (
	"crypto"
	"fmt"
	"slices"
	"strings"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/xades"
)

// ValidateASiC judges every signature, CAdES or XAdES, and timestamp of an ASiC container
// (ETSI EN 319 162-1). The error is for files that cannot be opened (asic.ErrFormat,
// asic.ErrLimit).
func ValidateASiC(data []byte, o Options) (*Result, error) {
	c, err := asic.Open(data)
	if err != nil {
		return nil, err
	}
	v := besideOf(o)
	a := &container{Container: c, v: v, known: v.optional(), signed: map[string]bool{}, digests: map[string]func(crypto.Hash) []byte{}}
	for _, s := range c.Signed() {
		if err := a.add(s); err != nil {
			return nil, err
		}
	}
	if err := a.addXML(); err != nil {
		return nil, err
	}
	a.link()
	a.unsigned()
	v.settleAll(a.known)
	f := ASiCE
	if c.Kind == asic.Simple {
		f = ASiCS
	}
	return v.resultOf(f, len(data)), nil
}

// container is the state of one ValidateASiC.
type container struct {
	*asic.Container
	v      *validation
	known  *evidence
	signed map[string]bool // files that a signature is over
	parts  []part

	digests map[string]func(crypto.Hash) []byte // by file
}

// part is a signature or timestamp with the names of what it is over: its
// manifest, and what that one references.
type part struct {
	*signature
	file string
	over []string
}

// add reads one file with a signature or timestamp.
func (a *container) add(s asic.Signed) error {
	if err := a.v.room([]*cms.Message{{}}); err != nil {
		return err
	}
	over, err := a.over(s)
	if s.Token {
		d := &signature{format: CAdES, beside: &beside{holds: map[*signature]*evidence{}}}
		d.out = Signature{Field: s.Name, Kind: KindTimestamp, Files: names(over)}
		t, parsed := cms.ParseToken(s.Value)
		if d.token = t; parsed != nil {
			err = parsed
		} else {
			d.message, d.out.Claimed, d.out.Algorithm = t.Message, t.Time, string(t.Algorithm)
			a.known.addMessage(t.Message)
			if mismatch := t.CheckImprint(t.ImprintHash, a.digest(s.Over)(t.ImprintHash)); err == nil {
				err = mismatch
			}
		}
		d.problem = err
		a.v.sigs, a.parts = append(a.v.sigs, d), append(a.parts, part{d, s.Name, over})
		return nil
	}
	for _, name := range over {
		a.signed[name] = true
	}
	all, parsed := cms.ParseBER(s.Value)
	if parsed != nil {
		one := &signature{problem: parsed, format: CAdES, beside: &beside{content: func(crypto.Hash) []byte { return nil }}}
		one.out = Signature{Field: s.Name, Kind: KindSignature, Files: names(over)}
		a.v.sigs, a.parts = append(a.v.sigs, one), append(a.parts, part{one, s.Name, over})
		return nil
	}
	if err := a.v.room(all); err != nil {
		return err
	}
	content := a.digest(s.Over)
	for i, m := range all {
		name := s.Name
		if len(all) > 1 {
			name = fmt.Sprintf("%s, signer %d", name, i+1)
		}
		one := a.v.addCAdES(name, m, content, a.known)
		one.out.Files = names(over)
		one.out.Whole = len(one.out.Files) == len(a.Data())
		if one.problem = err; err == nil && m.Content != nil {
			one.problem = fail(FormatFailure, "a signature in a container must be detached")
		}
		a.parts = append(a.parts, part{one, s.Name, over})
	}
	return nil
}

// addXML reads the files with XAdES signatures, whose references name documents.
func (a *container) addXML() error {
	entries, err := a.XML()
	if err != nil {
		return err
	}
	a.v.o.Files = a.Files()
	var first *xades.Document
	for _, e := range entries {
		if err := a.v.room([]*cms.Message{{}}); err != nil {
			return err
		}
		doc, err := xades.Read(e.Content)
		if err == nil && len(doc.Signatures) == 0 {
			err = fail(FormatFailure, "no signature in it")
		}
		if err != nil {
			one := &signature{problem: err, format: XAdES, xml: &xmlSignature{}, beside: &beside{}}
			one.out = Signature{Field: e.Name, Kind: KindSignature}
			a.v.sigs, a.parts = append(a.v.sigs, one), append(a.parts, part{one, e.Name, nil})
			continue
		}
		if first == nil {
			first = doc
		}
		doc.Share(first)
		for i, x := range doc.Signatures {
			if err := a.v.room([]*cms.Message{{Archives: make([][]byte, len(x.Archives))}}); err != nil {
				return err
			}
			name := e.Name
			if len(doc.Signatures) > 1 {
				name = fmt.Sprintf("%s, signer %d", name, i+1)
			}
			one := a.v.addXAdES(name, &xmlSignature{Signature: x, doc: doc}, a.known)
			if one.problem == nil && !doc.Container() {
				one.problem = fail(FormatFailure, "it is no file of signatures")
			}
			for _, r := range x.References {
				if r.Covers == xades.CoversFile && a.Find(r.Name) != nil {
					a.signed[r.Name], one.out.Files = true, append(one.out.Files, r.Name)
				}
			}
			one.out.Whole = len(one.out.Files) == len(a.Data())
			a.parts = append(a.parts, part{one, e.Name, one.out.Files})
		}
	}
	return nil
}

// digest is digester for a file of the container, which many may sign.
func (a *container) digest(e asic.Entry) func(crypto.Hash) []byte {
	if a.digests[e.Name] == nil {
		a.digests[e.Name] = digester(e.Content)
	}
	return a.digests[e.Name]
}

// over lists the files that a signature or timestamp is over, and compares their
// digests. The list is complete even with an error.
func (a *container) over(s asic.Signed) (out []string, err error) {
	if s.Problem != nil {
		return nil, s.Problem
	}
	out = []string{s.Over.Name}
	if s.Manifest == nil {
		return out, nil
	}
	for _, r := range s.Manifest.References {
		e, problem := a.Referenced(r)
		if e != nil {
			out = append(out, e.Name)
		}
		if problem != nil && err == nil {
			err = problem
		}
	}
	return out, err
}

// names leaves out what stands in META-INF: people look for their documents.
func names(over []string) (out []string) {
	for _, n := range over {
		if !strings.HasPrefix(n, "META-INF/") {
			out = append(out, n)
		}
	}
	return out
}

// link finds what each timestamp covers: a signature only with everything that
// the signature itself is over.
func (a *container) link() {
	for _, d := range a.parts {
		if d.token == nil || d.out.Kind != KindTimestamp || d.problem != nil {
			continue
		}
		over := map[string]bool{}
		for _, n := range d.over {
			over[n] = true
		}
		for _, s := range a.parts {
			if s.signature == d.signature || !over[s.file] || slices.ContainsFunc(s.over, func(n string) bool { return !over[n] }) {
				continue
			}
			s.later = append(s.later, d.signature)
			d.holds[s.signature] = s.stored
			if s.token == nil { // the archive timestamps inside are covered with it
				for _, inner := range s.later {
					if inner.out.Kind == KindArchive {
						inner.later = append(inner.later, d.signature)
					}
				}
			}
		}
	}
}

// unsigned tells of files that no signature is over: somebody may have added them.
func (a *container) unsigned() {
	var found []Change
	for _, e := range a.Entries {
		known := e.Name == "mimetype" || a.signed[e.Name]
		switch e.Name {
		case "META-INF/manifest.xml", "META-INF/container.xml", "META-INF/metadata.xml": // of OpenDocument and UCF (EN 319 162-1, 4.4.3.2)
			known = true
		}
		for _, p := range a.parts {
			// A timestamp's file and manifest; of data, a signature must speak.
			manifest := len(p.over) > 0 && p.over[0] == e.Name && strings.HasPrefix(e.Name, "META-INF/")
			known = known || p.file == e.Name || manifest && p.token != nil
		}
		if !known {
			found = append(found, Change{What: fmt.Sprintf("the file %q is in the container, and no signature covers it", e.Name)})
		}
	}
	for _, s := range a.v.sigs {
		if s.token == nil {
			s.out.Changes = append(s.out.Changes, found...)
		}
	}
}
