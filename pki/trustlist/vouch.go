package trustlist

import (
	"bytes"
	"crypto/sha1" // names keys, RFC 5280, 4.2.1.2; protects nothing
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxIssuers = 16 // that come with a leaf
	maxDepth   = 4  // authorities between a leaf and a RootCA-QC
)

// statusesBefore count for times before Regulation (EU) 910/2014 was applied (TS
// 119 612, clause 5.5.4; TS 119 615, clause 4.4).
var (
	applied        = time.Date(2016, 6, 30, 22, 0, 0, 0, time.UTC) // 1 July in Brussels
	statusesBefore = []string{UnderSupervision, SupervisionInCessation, Accredited}
)

// index finds services by key, and their certificates by subject.
type index struct {
	byKey     map[[sha256.Size]byte][]*service
	bySKI     map[string][]*service
	bySubject map[string][]*x509.Certificate
}

func indexOf(all map[string]*standing, order []string) *index {
	x := &index{map[[sha256.Size]byte][]*service{}, map[string][]*service{}, map[string][]*x509.Certificate{}}
	for _, t := range order {
		if all[t].list == nil {
			continue
		}
		for _, s := range all[t].list.services {
			for _, c := range s.certs {
				k := sha256.Sum256(c.RawSubjectPublicKeyInfo)
				x.byKey[k] = append(x.byKey[k], s)
				x.bySubject[string(c.RawSubject)] = append(x.bySubject[string(c.RawSubject)], c)
			}
			for _, ski := range s.skis {
				x.bySKI[string(ski)] = append(x.bySKI[string(ski)], s)
			}
		}
	}
	return x
}

// services are those whose digital identity is an authority's (TS 119 612, clause 5.5.3): one
// of their certificates has its key and subject, or its key has their identifier. The
// identifier is computed, not read from the certificate: there anybody can
// write what he likes.
func (x *index) services(ca *x509.Certificate) (out []*service) {
	for _, s := range x.byKey[sha256.Sum256(ca.RawSubjectPublicKeyInfo)] {
		if !slices.Contains(out, s) && slices.ContainsFunc(s.certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, ca.RawSubject) && bytes.Equal(c.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo)
		}) {
			out = append(out, s)
		}
	}
	for _, ski := range keyIdentifiers(ca) {
		for _, s := range x.bySKI[string(ski)] {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// keyIdentifiers are the usual ones of a key: RFC 5280, 4.2.1.2, method 1, and RFC
// 7093, method 1.
func keyIdentifiers(c *x509.Certificate) [][]byte {
	in := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var spki cryptobyte.String
	var key asn1.BitString
	if !in.ReadASN1(&spki, tag.SEQUENCE) || !spki.SkipASN1(tag.SEQUENCE) || !spki.ReadASN1BitString(&key) {
		return nil
	}
	short, long := sha1.Sum(key.Bytes), sha256.Sum256(key.Bytes)
	return [][]byte{short[:], long[:sha1.Size]}
}

// authority is one that issued a leaf, directly or through others.
type authority struct {
	ca       *x509.Certificate
	services []*service
	direct   bool
}

// authorities climbs from a leaf to the first authorities that are listed.
func (x *index) authorities(leaf *x509.Certificate, issuers []*x509.Certificate) []authority {
	level, seen := []*x509.Certificate{leaf}, map[string]bool{}
	for depth := 0; depth <= maxDepth && len(level) > 0; depth++ {
		var found []authority
		var next []*x509.Certificate
		for _, child := range level {
			for _, ca := range slices.Concat(x.bySubject[string(child.RawIssuer)], issuers) {
				if !bytes.Equal(ca.RawSubject, child.RawIssuer) || seen[string(ca.Raw)] || child.CheckSignatureFrom(ca) != nil {
					continue
				}
				seen[string(ca.Raw)] = true
				if s := x.services(ca); len(s) > 0 {
					found = append(found, authority{ca, s, depth == 0})
				} else {
					next = append(next, ca)
				}
			}
		}
		if len(found) > 0 {
			return found
		}
		level = next
	}
	return nil
}

// Vouch finds the CA/QC service that issued a certificate, and says what its list
// says of it at a time. Issuers are certificates that came with the leaf, in any
// order; they may be missing where the list has the issuer's own. An authority above
// the issuer counts only if its list says that it is a RootCA-QC. The error is an
// *Error.
func (l *Lists) Vouch(leaf *x509.Certificate, issuers []*x509.Certificate, at time.Time) (*Entry, error) {
	if len(issuers) > maxIssuers {
		return nil, &Error{Reason: Untrusted, Err: fmt.Errorf("more than %d certificates came with it", maxIssuers)}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	now := l.c.Now()
	// Whom national lists must be signed by, the list of the lists says: without
	// it, none of them counts.
	if err := l.standing[lotlTerritory].stands(now); err != nil {
		return nil, err
	}
	found := l.known.authorities(leaf, issuers)
	if len(found) == 0 {
		return nil, l.nobody(leaf, now)
	}
	var entry *Entry
	var first error
	for _, a := range found {
		for _, s := range a.services {
			e, err := s.vouch(a, leaf, at, now)
			switch {
			case err != nil && first == nil:
				first = err
			case err != nil:
			case entry == nil:
				entry = e
			default:
				entry.add(e)
			}
		}
	}
	if entry == nil {
		return nil, first
	}
	return entry, nil
}

// nobody says why no service was found: the list of the issuer's country may not
// count, and then that is why.
func (l *Lists) nobody(leaf *x509.Certificate, now time.Time) error {
	for _, country := range leaf.Issuer.Country {
		switch country { // lists have the Union's codes, certificates those of ISO 3166
		case "GR":
			country = "EL"
		case "GB":
			country = "UK"
		}
		if s, ok := l.standing[country]; ok && country != lotlTerritory {
			if err := s.stands(now); err != nil {
				return err
			}
		}
	}
	return &Error{Reason: Untrusted, Err: fmt.Errorf("no service of type CA/QC in the lists is %q", leaf.Issuer)}
}

// vouch gives the entry of one service.
func (s *service) vouch(a authority, leaf *x509.Certificate, at, now time.Time) (*Entry, error) {
	l := s.of
	if err := l.expired(now); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.states, func(t state) bool { return !t.since.After(at) })
	if i < 0 {
		return nil, &Error{NotGranted, l.territory, fmt.Errorf("%q was not listed yet on %s", s.name, at.UTC().Format(time.DateOnly))}
	}
	t := &s.states[i]
	switch {
	case !t.qualified || t.status != Granted && !(at.Before(applied) && slices.Contains(statusesBefore, t.status)):
		return nil, &Error{NotGranted, l.territory, fmt.Errorf("%q is %q since %s", s.name, t.status, t.since.Format(time.DateOnly))}
	case t.unreadable != "":
		return nil, &Error{Unreadable, l.territory, fmt.Errorf("%q: %s", s.name, t.unreadable)}
	case !a.direct && !slices.Contains(t.purposes, RootCAQC):
		return nil, &Error{Untrusted, l.territory, fmt.Errorf("%q is no root, and did not issue the certificate itself", s.name)}
	}
	return &Entry{
		Anchor: a.ca, Territory: l.territory, Provider: s.provider, Service: s.name, Status: t.status, Since: t.since,
		Sequence: l.sequence, Issued: l.issued, NextUpdate: l.next, List: l.sum,
		Purposes: slices.Clone(t.purposes), Qualifiers: t.qualifiersOf(leaf),
	}, nil
}

// add joins what another service with the same key says: lists may have one entry
// for signatures and one for seals.
func (e *Entry) add(other *Entry) {
	join := func(to *[]string, more []string) {
		for _, s := range more {
			if !slices.Contains(*to, s) {
				*to = append(*to, s)
			}
		}
	}
	join(&e.Purposes, other.Purposes)
	join(&e.Qualifiers, other.Qualifiers)
}

// readOIDs reads a SEQUENCE OF OBJECT IDENTIFIER.
func readOIDs(der []byte) (out []string) {
	in := cryptobyte.String(der)
	var list cryptobyte.String
	if !in.ReadASN1(&list, tag.SEQUENCE) {
		return nil
	}
	for !list.Empty() {
		var oid asn1.ObjectIdentifier
		if !list.ReadASN1ObjectIdentifier(&oid) {
			return nil
		}
		out = append(out, oid.String())
	}
	return out
}
