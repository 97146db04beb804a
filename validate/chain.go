package validate

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// evidence is what is known for building chains and checking revocation.
type evidence struct {
	certs []*x509.Certificate
	crls  []*x509.RevocationList
	ocsps [][]byte
}

// maxEvidence bounds the entries of one list of a DSS.
const maxEvidence = 4096

// evidence collects what a revision's DSS holds, what the messages carry, and
// what the options bring.
func (v *validation) evidence(f *cos.File) *evidence {
	in := v.stored(f)
	e := &evidence{slices.Concat(in.certs, v.o.Certs), slices.Clone(in.crls), slices.Concat(in.ocsps, v.o.OCSPs)}
	for _, der := range v.o.CRLs {
		e.addCRL(der)
	}
	v.addRemoved(e, f)
	return e
}

// addRemoved adds what the stores of signed revisions hold and a later one has
// dropped: nobody can take a revocation back by taking its evidence out.
func (v *validation) addRemoved(e *evidence, f *cos.File) {
	have := map[cos.Object]bool{}
	eachStored(f, func(_ cos.Name, o cos.Object) { have[o] = true })
	for _, s := range v.sigs {
		if s.own == nil {
			continue
		}
		eachStored(s.own, func(key cos.Name, o cos.Object) {
			if r, ok := o.(cos.Ref); ok && !have[r] {
				have[r] = true
				e.addStored(s.own, key, o)
			}
		})
	}
}

// eachStored calls fn for each entry of the lists of a DSS.
func eachStored(f *cos.File, fn func(key cos.Name, o cos.Object)) {
	catalog, err := f.Catalog()
	if err != nil {
		return
	}
	dss, err := f.Dict(catalog["DSS"])
	if err != nil {
		return
	}
	for _, key := range []cos.Name{"Certs", "CRLs", "OCSPs"} {
		list, _ := f.Array(dss[key])
		for _, o := range list[:min(len(list), maxEvidence)] {
			if _, ok := o.(cos.Ref); ok {
				fn(key, o)
			}
		}
	}
}

func (e *evidence) addStored(f *cos.File, key cos.Name, o cos.Object) {
	st, err := f.Stream(o)
	if err != nil || st == nil {
		return
	}
	b, err := f.Decode(st)
	if err != nil {
		return
	}
	switch key {
	case "Certs":
		if c, err := x509.ParseCertificate(b); err == nil {
			e.certs = append(e.certs, c)
		}
	case "CRLs":
		e.addCRL(b)
	case "OCSPs":
		e.ocsps = append(e.ocsps, b)
	}
}

// stored is the part of the evidence that stands in the file.
func (v *validation) stored(f *cos.File) *evidence {
	if e, ok := v.inFile[f]; ok {
		return e
	}
	e := &evidence{}
	v.inFile[f] = e
	for _, s := range v.sigs {
		if s.message == nil {
			continue
		}
		e.addMessage(s.message)
		for _, der := range s.message.Timestamps {
			if t, err := cms.ParseToken(der); err == nil {
				e.addMessage(t.Message)
			}
		}
	}
	eachStored(f, func(key cos.Name, o cos.Object) { e.addStored(f, key, o) })
	return e
}

func (e *evidence) addMessage(m *cms.Message) {
	e.certs = append(e.certs, m.Certificates...)
	for _, der := range m.CRLs {
		e.addCRL(der)
	}
	e.ocsps = append(e.ocsps, m.OCSPs...)
}

func (e *evidence) addCRL(der []byte) {
	if l, err := x509.ParseRevocationList(der); err == nil {
		e.crls = append(e.crls, l)
	}
}

// chain is a certificate path with the time at which it was judged.
type chain struct {
	path  []*x509.Certificate
	at    time.Time
	after bool // the leaf's revocation data must be issued at or after that time
}

// buildChain is X.509 path building (clause 5.2.6): a path to an anchor in
// which all are valid at a time.
func (v *validation) buildChain(cert *x509.Certificate, known *evidence, at time.Time) ([]*x509.Certificate, error) {
	path, err := cms.Chain(cert, known.certs, v.o.Anchors, at)
	if err != nil {
		return nil, undecided(NoChain, "%w", err)
	}
	return path, nil
}

// checkValidity is clause 5.2.6 for a certificate's own lifetime.
func checkValidity(c *x509.Certificate, at time.Time, proven bool) error {
	switch {
	case at.After(c.NotAfter):
		return undecided(OutOfBoundsNoPOE, "the certificate expired on %s, and nothing proves that the signature is older", c.NotAfter.Format(time.DateOnly))
	case at.Before(c.NotBefore) && proven:
		return fail(NotYetValid, "signed before the certificate was issued on %s", c.NotBefore.Format(time.DateOnly))
	case at.Before(c.NotBefore):
		return undecided(OutOfBoundsNoPOE, "the certificate is valid from %s only", c.NotBefore.Format(time.DateOnly))
	}
	return nil
}

// status is what is known of one certificate's revocation.
type status struct {
	good, revoked bool
	issued        time.Time // of the newest good answer: thisUpdate
	next          time.Time
	since         time.Time // of the revocation
	reason        int       // of it, RFC 5280, 5.3.1
}

// checkRevocation is clause 5.2.6 with the freshness rule of clause 5.2.5, for
// each certificate of a chain but its anchor. stale tells that data is good but
// older than it should be, for who can live with it.
func (e *evidence) checkRevocation(c chain) (stale bool, err error) {
	for i, cert := range c.path[:len(c.path)-1] {
		if withoutRevocation(cert) {
			continue
		}
		st := e.status(cert, c.path[i+1])
		if st.revoked && !(c.after && i == 0 && st.since.After(c.at)) {
			sub := RevokedNoPOE
			if i > 0 {
				sub = RevokedCANoPOE
			}
			return false, undecided(sub, "%q was revoked on %s, and nothing proves that the signature is older", subject(cert.Subject), st.since.UTC().Format(time.DateTime))
		}
		if st.revoked {
			continue // after the proven time
		}
		if !st.good {
			return false, undecided(TryLater, "no revocation data for %q", subject(cert.Subject))
		}
		fresh := !st.issued.Before(c.at.Truncate(time.Second))
		if !fresh && (i > 0 || !c.after) {
			fresh = !st.next.IsZero() && !st.next.Before(c.at)
		}
		if !fresh {
			stale = true
			err = undecided(TryLater, "the revocation data for %q is of %s: older than the time that it must speak for", subject(cert.Subject), st.issued.UTC().Format(time.DateTime))
		}
	}
	return stale, err
}

var (
	oidNoCheck    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidNoRevAvail = asn1.ObjectIdentifier{2, 5, 29, 56}
	oidShortTerm  = asn1.ObjectIdentifier{0, 4, 0, 194121, 2, 1}
)

// withoutRevocation tells certificates whose issuer says that there is no
// revocation data: RFC 9608, EN 319 412-1 clause 5.2, RFC 6960 section 4.2.2.2.1.
func withoutRevocation(c *x509.Certificate) bool {
	return declares(c, oidNoRevAvail) || declares(c, oidShortTerm) || declares(c, oidNoCheck)
}

func declares(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oid) })
}

// status asks every list and answer that the issuer vouches for. A revocation
// that any of them tells stands.
func (e *evidence) status(cert, issuer *x509.Certificate) status {
	var st status
	good := func(issued, next time.Time) {
		if !st.good || issued.After(st.issued) {
			st.good, st.issued, st.next = true, issued, next
		}
	}
	revoked := func(since time.Time, reason int) {
		if !st.revoked || since.Before(st.since) {
			st.revoked, st.since, st.reason = true, since, reason
		}
	}
	for _, l := range e.crls {
		if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || !cms.Covers(l, cert) || l.CheckSignatureFrom(issuer) != nil {
			continue
		}
		i := slices.IndexFunc(l.RevokedCertificateEntries, func(r x509.RevocationListEntry) bool { return r.SerialNumber.Cmp(cert.SerialNumber) == 0 })
		switch {
		case i < 0:
			good(l.ThisUpdate, l.NextUpdate)
		case l.RevokedCertificateEntries[i].ReasonCode != 8: // removeFromCRL
			revoked(l.RevokedCertificateEntries[i].RevocationTime, l.RevokedCertificateEntries[i].ReasonCode)
		}
	}
	for _, der := range e.ocsps {
		r, err := ocsp.ParseResponseForCert(der, cert, issuer)
		if err != nil || !authorised(r, issuer) {
			continue
		}
		switch r.Status {
		case ocsp.Good:
			good(r.ThisUpdate, r.NextUpdate)
		case ocsp.Revoked:
			revoked(r.RevokedAt, r.RevocationReason)
		}
	}
	return st
}

// reasons are the words of RFC 5280, 5.3.1.
var reasons = map[int]string{
	1: "key compromised", 2: "authority compromised", 3: "affiliation changed", 4: "superseded", 5: "no longer used", 6: "on hold",
	9: "privilege withdrawn", 10: "attribute authority compromised",
}

func reason(code int) string {
	if r, ok := reasons[code]; ok {
		return r
	}
	return "no reason given"
}

// authorised wants a responder that is the issuer or has its mandate (RFC 6960,
// section 4.2.2.2); ParseResponseForCert has checked the signatures.
func authorised(r *ocsp.Response, issuer *x509.Certificate) bool {
	c := r.Certificate
	if c == nil || c.Equal(issuer) {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) &&
		!r.ProducedAt.Before(c.NotBefore) && !r.ProducedAt.After(c.NotAfter)
}
