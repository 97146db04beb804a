package validate

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"milterd/signature/cms"
	"milterd/signature/xades"
)

// ValidateCAdES judges every signer of a CAdES message (ETSI EN 319 122-1) and
// their archive timestamps. A detached one needs the file in o.Files. The error is
// for bytes that cannot be read at all (cms.ErrFormat, cms.ErrAlgorithm), and for
// more than one file.
func ValidateCAdES(data []byte, o Options) (*Result, error) {
	var given *xades.File
	switch len(o.Files) {
	case 0:
	case 1:
		given = &o.Files[0]
	default:
		return nil, fmt.Errorf("a CAdES signature signs one file, and %d were given", len(o.Files))
	}
	v := besideOf(o)
	known := v.optional()
	all, err := cms.ParseBER(data)
	if err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	if err := v.room(all); err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	inside := digester(all[0].Content)
	outside := inside
	if given != nil {
		outside = digester(given.Content)
	}
	for i, m := range all {
		name := ""
		if len(all) > 1 {
			name = fmt.Sprintf("signer %d", i+1)
		}
		content, problem := inside, error(nil)
		switch {
		case m.Content == nil && given == nil:
			problem = undecided(SignedDataNotFound, "the signature is detached, and the file that it signs was not given")
		case m.Content == nil:
			content = outside
		case given != nil && !bytes.Equal(m.Content, given.Content):
			problem = fail(HashFailure, "the file that was given is not the one in the signature")
		}
		first := len(v.sigs)
		s := v.addCAdES(name, m, content, known)
		s.problem, s.out.Whole = problem, true
		if m.Content == nil && given != nil && given.Name != "" {
			s.out.Files = []string{given.Name}
		}
		for _, d := range v.sigs[first:] {
			if m.Content == nil && given == nil && d.problem != nil {
				d.problem = problem // of an archive timestamp: it is over the content, too
			}
		}
	}
	v.settleAll(known)
	return v.resultOf(CAdES, len(data)), nil
}

// room bounds what one file can ask for: signatures, and timestamps over archives,
// each of which has all evidence hashed.
func (v *validation) room(more []*cms.Message) error {
	n := len(v.sigs)
	for _, m := range more {
		n += 1 + len(m.Archives)
	}
	if n > maxSignatures {
		return fmt.Errorf("%w: more than %d signatures and archive timestamps", cms.ErrFormat, maxSignatures)
	}
	return nil
}

// digester gives the digests of content, each computed once.
func digester(content []byte) func(crypto.Hash) []byte {
	sums := map[crypto.Hash][]byte{}
	return func(h crypto.Hash) []byte {
		if sums[h] == nil {
			w := h.New()
			w.Write(content)
			sums[h] = w.Sum(nil)
		}
		return sums[h]
	}
}

// besideOf starts the validation of a file that is no PDF.
func besideOf(o Options) *validation {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return &validation{o: o}
}

// optional is the evidence that the options bring.
func (v *validation) optional() *evidence {
	e := &evidence{certs: slices.Clone(v.o.Certs), ocsps: slices.Clone(v.o.OCSPs)}
	for _, der := range v.o.CRLs {
		e.addCRL(der)
	}
	return e
}

func (v *validation) resultOf(f Format, size int) *Result {
	r := &Result{Format: f, Indication: Passed, Time: v.o.Now.UTC(), Size: size, Signatures: []Signature{}}
	for _, s := range v.sigs {
		r.Signatures = append(r.Signatures, s.out)
		if worse(s.out.Indication, r.Indication) {
			r.Indication, r.Sub = s.out.Indication, s.out.Sub
		}
	}
	if !slices.ContainsFunc(r.Signatures, func(s Signature) bool { return s.Kind == KindSignature }) && r.Indication == Passed {
		r.Indication = Indeterminate
	}
	return r
}

// addCAdES adds a signer and its archive timestamps, in the order in which they
// stand, and what the message holds to what is known.
func (v *validation) addCAdES(name string, m *cms.Message, content func(crypto.Hash) []byte, known *evidence) *signature {
	s := &signature{message: m, format: CAdES, beside: &beside{stored: &evidence{}, content: content}}
	s.out = Signature{Field: name, Kind: KindSignature, Claimed: m.SigningTime.UTC(), Role: m.Role, Algorithm: string(m.Algorithm)}
	if m.SigningTime.IsZero() {
		s.out.Claimed = time.Time{}
	}
	for _, what := range m.Unread() {
		s.out.Notes = append(s.out.Notes, "the signature has an attribute that is not read here: "+what)
	}
	s.stored.addMessage(m)
	for _, der := range slices.Concat(m.Timestamps, m.Archives) {
		if t, err := cms.ParseToken(der); err == nil {
			s.stored.addMessage(t.Message)
		}
	}
	known.add(s.stored)
	v.sigs = append(v.sigs, s)
	var stamps []*signature
	for _, der := range m.Archives {
		d := &signature{format: CAdES, beside: &beside{holds: map[*signature]*evidence{}, covers: func([]byte) bool { return false }}}
		d.out = Signature{Field: name, Kind: KindArchive}
		var index *cms.ArchiveIndex
		if d.token, d.problem = cms.ParseToken(der); d.problem == nil {
			d.message, d.out.Claimed, d.out.Algorithm = d.token.Message, d.token.Time, string(d.token.Algorithm)
			if index, d.problem = m.CheckArchive(d.token, s.content); d.problem == nil {
				d.covers, d.holds[s] = index.CoversTimestamp, coveredBy(index, m)
			}
		}
		stamps = append(stamps, d)
	}
	for i, d := range stamps {
		for j, other := range stamps {
			if i != j && other.problem == nil && other.covers(m.Archives[i]) {
				d.later = append(d.later, other)
			}
		}
		if d.token != nil {
			s.later = append(s.later, d)
		}
	}
	v.sigs = append(v.sigs, stamps...)
	return s
}

// coveredBy is the part of a message's evidence that an archive timestamp covers.
func coveredBy(index *cms.ArchiveIndex, m *cms.Message) *evidence {
	e := &evidence{}
	certs, crls, ocsps := index.Covered(m)
	e.certs, e.ocsps = certs, ocsps
	for _, der := range crls {
		e.addCRL(der)
	}
	for _, der := range slices.Concat(m.Timestamps, m.Archives) {
		if t, err := cms.ParseToken(der); err == nil && index.CoversTimestamp(der) {
			e.addMessage(t.Message)
		}
	}
	return e
}

// add joins evidence, each piece once, and no more than maxEvidence of a kind.
func (e *evidence) add(more *evidence) {
	seen := map[string]bool{}
	for _, c := range e.certs {
		seen[string(c.Raw)] = true
	}
	for _, l := range e.crls {
		seen[string(l.Raw)] = true
	}
	for _, der := range e.ocsps {
		seen[string(der)] = true
	}
	fresh := func(n int, der []byte) bool {
		is := n < maxEvidence && !seen[string(der)]
		seen[string(der)] = true
		return is
	}
	for _, c := range more.certs {
		if fresh(len(e.certs), c.Raw) {
			e.certs = append(e.certs, c)
		}
	}
	for _, l := range more.crls {
		if fresh(len(e.crls), l.Raw) {
			e.crls = append(e.crls, l)
		}
	}
	for _, der := range more.ocsps {
		if fresh(len(e.ocsps), der) {
			e.ocsps = append(e.ocsps, der)
		}
	}
}

// settleAll judges everything, timestamps before what they cover, since they prove
// its time (EN 319 102-1, clause 5.6). What covers what is a matter of digests, so
// there are no circles.
func (v *validation) settleAll(known *evidence) {
	for _, s := range v.sigs {
		v.settle(s, known)
	}
}

func (v *validation) settle(s *signature, known *evidence) {
	if s.settled {
		return
	}
	s.settled = true
	for _, d := range s.later {
		v.settle(d, known)
	}
	err := s.problem
	switch {
	case err != nil:
	case s.token != nil:
		err = v.judgeStamp(s, known)
	case s.format == XAdES:
		err = v.judgeXAdES(s, known)
	default:
		err = v.judgeCAdES(s, known)
	}
	s.valid = err == nil
	for _, c := range s.out.Changes {
		if err == nil && !c.Allowed {
			err = undecided(SigConstraintsFailure, "changed afterwards: %s", c.What)
		}
	}
	s.out.Indication, s.out.Sub = outcome(err)
	if err != nil {
		s.out.Problem = err.Error()
	}
}

// judgeStamp validates a timestamp whose imprint was compared before.
func (v *validation) judgeStamp(s *signature, known *evidence) error {
	cert, err := v.checkToken(s, s.token, known)
	if cert != nil {
		name(&s.out, cert)
	}
	if err != nil {
		return err
	}
	s.out.Proven, s.out.ProvenBy = s.token.Time, s.out.Subject
	return nil
}

// cadesLevels has CAdES's names for what judgeSigner finds.
var cadesLevels = map[Level]Level{NoLevel: NoLevel, LevelB: CAdESLevelB, LevelT: CAdESLevelT, LevelLT: CAdESLevelLT, LevelLTA: CAdESLevelLTA}

func (v *validation) judgeCAdES(s *signature, known *evidence) error {
	if !s.message.IsData() {
		return fail(FormatFailure, "what is signed is not said to be data (id-data)")
	}
	cert, err := checkSigned(s.message, s.content(s.message.Hash()), known.certs, false)
	if cert != nil {
		name(&s.out, cert)
	}
	if err != nil {
		return err
	}
	err = v.judgeSigner(s, cert, known)
	s.out.Level = cadesLevels[s.out.Level]
	return err
}

// cadesBaseline reports whether a signature keeps the rules of CAdES-BASELINE-B
// that can be seen in it (EN 319 122-1, clause 6.3).
func cadesBaseline(s *signature) bool {
	m := s.message
	return m.HasSigningCertificate() && !m.SigningTime.IsZero() &&
		slices.ContainsFunc(m.Certificates, func(c *x509.Certificate) bool { return string(c.Raw) == string(s.out.Certificate) })
}
