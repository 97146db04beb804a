package validate

import (
	"errors"
	"fmt"
	"slices"

	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
)

// Reference is something that an XAdES signature names as signed.
type Reference struct {
	URI    string      `json:"uri"`
	Covers xades.Cover `json:"covers,omitempty"` // "" where it could not be followed
	Name   string      `json:"name,omitempty"`   // of the file or element
	MIME   string      `json:"mime,omitempty"`   // media type, as it was signed
	Holds  bool        `json:"holds"`            // it is what was signed
	Why    string      `json:"why,omitempty"`    // it does not
}

// xmlSignature is what only XAdES has of a signature.
type xmlSignature struct {
	*xades.Signature
	doc      *xades.Document
	baseline bool
}

// ValidateXAdES judges every XAdES signature of an XML document (ETSI EN 319
// 132-1) and their archive timestamps. o.Files are those that a detached signature
// may cover, by the names that it has for them; nothing else is read, and nothing
// is fetched. A file that no signature covers keeps the result from passing. The
// error is for bytes that are not read at all (those of package dom).
func ValidateXAdES(data []byte, o Options) (*Result, error) {
	v := besideOf(o)
	known := v.optional()
	doc, err := xades.Read(data)
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	for i, x := range doc.Signatures {
		name := x.ID
		if name == "" {
			name = fmt.Sprintf("number %d", i+1)
		}
		v.addXAdES(name, &xmlSignature{Signature: x, doc: doc}, known)
	}
	v.settleAll(known)
	r := v.resultOf(XAdES, len(data))
	for _, f := range o.Files {
		if !slices.ContainsFunc(r.Signatures, func(s Signature) bool { return s.coversFile(f.Name) }) {
			r.Later = append(r.Later, Change{What: fmt.Sprintf("file %q: no signature covers it", f.Name)})
			if r.Indication == Passed {
				r.Indication, r.Sub = Indeterminate, SigConstraintsFailure
			}
		}
	}
	return r, nil
}

func (s *Signature) coversFile(name string) bool {
	return slices.ContainsFunc(s.References, func(r Reference) bool { return r.Covers == xades.CoversFile && r.Name == name && r.Holds })
}

// addXAdES adds a signature and its archive timestamps, in the order in which
// they stand, and what it holds to what is known.
func (v *validation) addXAdES(name string, x *xmlSignature, known *evidence) *signature {
	s := &signature{xml: x, format: XAdES, problem: x.Problem, beside: &beside{stored: storedIn(x, nil)}}
	s.out = Signature{Field: name, Kind: KindSignature, Claimed: x.SigningTime, Role: x.Role, Algorithm: string(x.Algorithm), Notes: x.Notes}
	known.add(s.stored)
	v.sigs = append(v.sigs, s)
	if x.Problem != nil {
		return s
	}
	for i, a := range x.Archives {
		d := &signature{format: XAdES, beside: &beside{holds: map[*signature]*evidence{s: storedIn(x, a)}}}
		before := x.Before(a)
		d.covers = func(token []byte) bool {
			return slices.ContainsFunc(before, func(t *xades.Stamp) bool { return string(t.Token) == string(token) })
		}
		d.out = Signature{Field: name, Kind: KindArchive}
		if d.token, d.problem = cms.ParseToken(a.Token); d.problem == nil {
			d.message, d.out.Claimed, d.out.Algorithm = d.token.Message, d.token.Time, string(d.token.Algorithm)
			var digest []byte
			if digest, d.problem = x.ArchiveDigest(a, d.token.ImprintHash, v.o.Files); d.problem == nil {
				d.problem = d.token.CheckImprint(d.token.ImprintHash, digest)
			} else {
				d.problem = referenceOutcome(d.problem)
			}
			s.later = append(s.later, d)
		}
		// The later ones stand behind this one: they come out of the loop after it.
		for _, earlier := range v.sigs[len(v.sigs)-i:] {
			if d.token != nil {
				earlier.later = append(earlier.later, d)
			}
		}
		v.sigs = append(v.sigs, d)
	}
	return s
}

// storedIn is the evidence that stands in a signature, before an archive
// timestamp or in all of it, with what its timestamps carry.
func storedIn(x *xmlSignature, before *xades.Stamp) *evidence {
	in := x.Stored(before)
	e := &evidence{certs: in.Certs, ocsps: in.OCSPs}
	for _, der := range in.CRLs {
		e.addCRL(der)
	}
	for _, t := range x.Before(before) {
		if t, err := cms.ParseToken(t.Token); err == nil {
			e.addMessage(t.Message)
		}
	}
	return e
}

// stamps are the tokens over a signature's value.
func (s *signature) stamps() [][]byte {
	if s.xml == nil {
		return s.message.Timestamps
	}
	var out [][]byte
	for _, t := range s.xml.Stamps {
		out = append(out, t.Token)
	}
	return out
}

// checkImprint compares what the token with a number is over with the signature.
func (s *signature) checkImprint(i int, t *cms.Token) error {
	if s.xml != nil {
		digest, err := s.xml.StampDigest(s.xml.Stamps[i], t.ImprintHash)
		if err != nil {
			return err
		}
		return t.CheckImprint(t.ImprintHash, digest)
	}
	h := t.ImprintHash.New()
	h.Write(s.message.Value)
	return t.CheckImprint(t.ImprintHash, h.Sum(nil))
}

// xadesLevels has XAdES's names for what judgeSigner finds.
var xadesLevels = map[Level]Level{NoLevel: NoLevel, LevelB: XAdESLevelB, LevelT: XAdESLevelT, LevelLT: XAdESLevelLT, LevelLTA: XAdESLevelLTA}

func (v *validation) judgeXAdES(s *signature, known *evidence) error {
	x := s.xml
	// Identification of the signing certificate (clause 5.2.3).
	cert, err := x.SignerCertificate(known.certs...)
	if err != nil {
		return err
	}
	name(&s.out, cert)
	// Cryptographic verification (clause 5.2.7): every reference, then the value.
	err = s.checkReferences(v.o.Files)
	if err == nil || !failed(err) {
		if bad := errors.Join(x.CheckProperties(), x.CheckSignature(cert)); bad != nil {
			err = bad
		}
	}
	if err != nil {
		return err
	}
	x.baseline = x.Baseline(cert)
	err = v.judgeSigner(s, cert, known)
	s.out.Level = xadesLevels[s.out.Level]
	if scope := s.checkScope(); scope != nil && !failed(err) {
		return scope
	}
	return err
}

// failed reports whether an error means TOTAL-FAILED.
func failed(err error) bool {
	i, _ := outcome(err)
	return i == Failed
}

// checkReferences follows each reference, and lists what it covers. One that does
// not hold outweighs one that cannot be followed.
func (s *signature) checkReferences(files []xades.File) (worst error) {
	for _, r := range s.xml.References {
		out := Reference{URI: r.URI, Covers: r.Covers, Name: r.Name, MIME: r.MIME}
		err := s.xml.Check(r, files)
		if out.Holds = err == nil; err != nil {
			err = referenceOutcome(err)
			out.Why = err.Error()
			if worst == nil || failed(err) && !failed(worst) {
				worst = err
			}
		}
		s.out.References = append(s.out.References, out)
	}
	return worst
}

// referenceOutcome gives what the standard says of a reference that cannot be
// followed.
func referenceOutcome(err error) error {
	switch {
	case errors.Is(err, xades.ErrMissing):
		return undecided(SignedDataNotFound, "%w", err)
	case errors.Is(err, xades.ErrTransform), errors.Is(err, dom.ErrMethod), errors.Is(err, dom.ErrLimit):
		return undecided(SigConstraintsFailure, "%w", err)
	}
	return err
}

// checkScope wants a signature that covers what people take it to cover: all of
// the document that it stands in, or files; and nothing beside it that readers
// could take for signed. Its references hold.
func (s *signature) checkScope() error {
	covers := func(c xades.Cover) bool {
		return slices.ContainsFunc(s.xml.References, func(r *xades.Reference) bool { return r.Covers == c })
	}
	doc := s.xml.doc
	switch {
	case s.xml.Stray != "":
		return undecided(SigConstraintsFailure, "element %q stands in the signature, where nothing signs it", s.xml.Stray)
	case doc.Container() && !covers(xades.CoversFile) && !covers(xades.CoversObject):
		return undecided(SigConstraintsFailure, "no reference covers a file or content")
	case doc.Container():
		return nil
	case !covers(xades.CoversDocument):
		return undecided(SigConstraintsFailure, "no reference covers the whole document that the signature stands in")
	}
	if where := doc.Split(); where != "" {
		return undecided(SigConstraintsFailure, "in element %q something that no signature covers cuts a text in two: readers may see two values", where)
	}
	if n := doc.Comments(); n > 0 {
		s.out.Notes = append(s.out.Notes, fmt.Sprintf("%d comments stand in the document, which no signature covers", n))
	}
	return nil
}

func (r *Reference) label() string {
	if r.Holds {
		return "covers"
	}
	return "NOT COVERED"
}

func (r *Reference) text() string {
	text := string(r.Covers)
	switch r.Covers {
	case xades.CoversDocument:
		text = "the document, all of it but signatures and comments"
	case xades.CoversElement:
		text = fmt.Sprintf("element %q, which is not all of the document", r.Name)
	case xades.CoversFile:
		text = fmt.Sprintf("file %q", r.Name)
	case "":
		text = fmt.Sprintf("what %q leads to", r.URI)
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}
