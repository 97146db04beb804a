package validate

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"milterd/signature/cms"
)

// provenAt gives the earliest time by which a later document timestamp that
// holds proves that a revision existed (clause 5.6.2.1), and whose it is.
func (v *validation) provenAt(s *signature) (at time.Time, by *signature) {
	for _, d := range v.covering(s) {
		if d.valid && (by == nil || d.token.Time.Before(at)) {
			at, by = d.token.Time, d
		}
	}
	return at, by
}

// covering lists the timestamps that cover a signature, whether they hold or not.
func (v *validation) covering(s *signature) []*signature {
	if v.final == nil {
		return s.later
	}
	var out []*signature
	for _, d := range v.sigs {
		if d.token != nil && d.end > s.end {
			out = append(out, d)
		}
	}
	return out
}

// judgeDocTimestamp validates a document timestamp at the time that a later one
// proves for it, or now (clause 5.4).
func (v *validation) judgeDocTimestamp(s *signature, known *evidence) error {
	h := s.token.ImprintHash.New()
	h.Write(v.data[:s.gap[0]])
	h.Write(v.data[s.gap[1]:s.end])
	if err := s.token.CheckImprint(s.token.ImprintHash, h.Sum(nil)); err != nil {
		return err
	}
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

// checkToken is validation of a timestamp (clause 5.4.4): its own signature, and
// its authority's chain and revocation at the time that is proven for it.
func (v *validation) checkToken(s *signature, t *cms.Token, known *evidence) (*x509.Certificate, error) {
	cert, err := t.CheckSigner(known.certs...)
	if err != nil {
		return cert, err
	}
	at, by := v.provenAt(s)
	if by == nil {
		at = v.o.Now
	} else if t.Time.After(at.Add(by.token.Accuracy + t.Accuracy)) {
		return cert, undecided(TimestampOrder, "a timestamp of %s is covered by one of %s", t.Time.Format(time.DateTime), at.Format(time.DateTime))
	}
	if t.Time.After(v.o.Now.Add(time.Minute)) {
		return cert, undecided(TimestampOrder, "a timestamp of %s, which is in the future", t.Time.Format(time.DateTime))
	}
	if err := checkValidity(cert, at, by != nil); err != nil {
		return cert, err
	}
	if t.Time.Before(cert.NotBefore) || t.Time.After(cert.NotAfter) {
		return cert, fail(NotYetValid, "the timestamp's time is outside its certificate's lifetime")
	}
	path, err := v.buildChain(cert, known, at)
	if err != nil {
		return cert, err
	}
	c := chain{path: path, at: at}
	s.chains = append(s.chains, chain{path: path, at: t.Time})
	stale, err := known.checkRevocation(c)
	if err != nil && !stale {
		return cert, err
	}
	if stale {
		s.out.Notes = append(s.out.Notes, "timestamp: "+err.Error())
	}
	return cert, nil
}

// judgeSigner validates the signer's chain at the best time that is proven for
// the signature (clauses 5.5.4 and 5.6.3) and finds the level.
func (v *validation) judgeSigner(s *signature, cert *x509.Certificate, known *evidence) error {
	if baseline(s) {
		s.out.Level = LevelB
	}
	best, by := v.provenAt(s)
	if by != nil {
		s.out.ProvenBy = by.out.Subject
	}
	stamped, err := v.signatureTimestamps(s, known)
	if err != nil {
		return err
	}
	if stamped != nil {
		if best = earliest(best, stamped.Time); best.Equal(stamped.Time) {
			if c, err := stamped.SignerCertificate(known.certs...); err == nil {
				s.out.ProvenBy = subject(c.Subject)
			}
		}
	}
	proven := !best.IsZero()
	s.out.Proven = best
	if !proven {
		best = v.o.Now
	} else if s.out.Level == LevelB {
		s.out.Level = LevelT
	}
	if err := checkValidity(cert, best, proven); err != nil {
		return err
	}
	if err := checkKeyUsage(cert); err != nil {
		return err
	}
	path, err := v.buildChain(cert, known, best)
	if err != nil {
		return err
	}
	c := chain{path: path, at: best, after: proven}
	s.chains = append(s.chains, c)
	if _, err := known.checkRevocation(c); err != nil {
		return err
	}
	if st := known.status(path[0], path[min(1, len(path)-1)]); st.revoked {
		s.out.Revoked = st.since.UTC()
		s.out.Notes = append(s.out.Notes, fmt.Sprintf("the certificate was revoked on %s (%s), after the proven time: this signature stands",
			stamp(st.since), reason(st.reason)))
	}
	if s.out.Level == LevelT {
		s.out.Level = v.archiveLevel(s)
	}
	return nil
}

// signatureTimestamps checks the timestamps over the signature value and gives
// the earliest that holds; nil if there is none. One that does not hold is an
// error only if none does (clause 5.5.4, step 3).
func (v *validation) signatureTimestamps(s *signature, known *evidence) (*cms.Token, error) {
	var best *cms.Token
	var last error
	for i, der := range s.stamps() {
		t, err := cms.ParseToken(der)
		if err == nil {
			err = s.checkImprint(i, t)
		}
		if err == nil {
			err = v.checkStamp(s, t, known)
		}
		if err != nil {
			last = err
			s.out.Notes = append(s.out.Notes, "timestamp of the signature: "+err.Error())
			continue
		}
		if best == nil || t.Time.Before(best.Time) {
			best = t
		}
	}
	if best == nil && last != nil {
		return nil, last
	}
	return best, nil
}

// checkStamp is checkToken for a timestamp inside a signature. In a PDF whatever
// covers the signature covers it, too; an archive timestamp of CAdES covers those
// that its index names.
func (v *validation) checkStamp(s *signature, t *cms.Token, known *evidence) error {
	if v.final != nil {
		_, err := v.checkToken(s, t, known)
		return err
	}
	alone := &signature{beside: &beside{}}
	for _, d := range s.later {
		if d.covers == nil || d.covers(t.Raw) {
			alone.later = append(alone.later, d)
		}
	}
	_, err := v.checkToken(alone, t, known)
	s.chains, s.out.Notes = append(s.chains, alone.chains...), append(s.out.Notes, alone.out.Notes...)
	return err
}

// checkKeyUsage wants a certificate that may sign documents (clause 5.2.4):
// digitalSignature or contentCommitment, if it limits its use at all, and not
// only purposes of servers and of programs, whose keys sign what strangers send.
func checkKeyUsage(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return undecided(SigConstraintsFailure, "the certificate is not for signatures")
	}
	others := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageOCSPSigning}
	document := func(u x509.ExtKeyUsage) bool { return !slices.Contains(others, u) }
	if len(c.ExtKeyUsage) > 0 && len(c.UnknownExtKeyUsage) == 0 && !slices.ContainsFunc(c.ExtKeyUsage, document) {
		return undecided(SigConstraintsFailure, "the certificate is not for signatures on documents")
	}
	return nil
}

// archiveLevel tells LT and LTA (EN 319 142-1, clause 6): the file itself holds
// what every chain of the signature needs; and a document timestamp covers it.
func (v *validation) archiveLevel(s *signature) Level {
	holds := func(e *evidence) bool {
		for _, c := range s.chains {
			stored := slices.ContainsFunc(e.certs, c.path[0].Equal)
			stale, err := e.checkRevocation(c)
			if !stored || err != nil && !(stale && !c.after) {
				return false
			}
		}
		return true
	}
	if !holds(v.storedFor(s)) {
		return LevelT
	}
	for _, d := range v.covering(s) {
		if d.valid && holds(v.heldBy(d, s)) {
			return LevelLTA
		}
	}
	return LevelLT
}

// storedFor is the evidence that stands in a signature's file.
func (v *validation) storedFor(s *signature) *evidence {
	if v.final == nil {
		return s.stored
	}
	return v.stored(v.final)
}

// heldBy is the evidence that a timestamp covers along with a signature.
func (v *validation) heldBy(d, s *signature) *evidence {
	if v.final == nil {
		return d.holds[s]
	}
	return v.stored(d.own)
}
