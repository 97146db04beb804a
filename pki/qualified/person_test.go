package qualified_test

import (
	"crypto/x509"
	"testing"

	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
)

// By what a certificate is recognised, under each policy: what is registered counts where
// the directory has neither identifier nor spelling, a new card of the same person is
// theirs, and a namesake's is not once somebody's own is known.
func TestRegistered(t *testing.T) {
	d := newDesk(t, good())
	issue := func(given, surname, serial string) *x509.Certificate {
		id, err := d.Issue(qualifiedtest.Request{GivenName: given, Surname: surname, Serial: serial})
		return must(t, id, err).Cert
	}
	elsewhere := func(c *x509.Certificate) *x509.Certificate { c.RawIssuer = d.Root.RawSubject; return c }
	const pno = "PNOEE-60001019906"
	card, renewed := issue("MARI LIIS", "MANNIK", pno), issue("MARI LIIS", "NEW-NAME", pno)
	plain, plainNew := issue("MARI LIIS", "MANNIK", "4711"), issue("MARI LIIS", "NEW-NAME", "4711")
	namesake, nobody := issue("MARI LIIS", "MÄNNIK", "PNOEE-1"), issue("MARI LIIS", "MÄNNIK", "")
	mine := func(c ...*x509.Certificate) qualified.Person {
		return qualified.Person{GivenName: "Mari-Liis", Surname: "Männik", Registered: c}
	}
	removed := func(c ...*x509.Certificate) qualified.Person {
		p := mine()
		p.Removed = c
		return p
	}
	with := func(serial string, p qualified.Person) qualified.Person { p.Serial = serial; return p }
	for name, c := range map[string]struct {
		leaf  *x509.Certificate
		who   qualified.Person
		wants [3]string // under no, first-use, required
	}{
		"another spelling":              {card, mine(), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
		"another spelling, registered":  {card, mine(card), [3]string{"registered", "registered", "registered"}},
		"registered, nothing else":      {card, qualified.Person{Registered: []*x509.Certificate{card}}, [3]string{"registered", "registered", "registered"}},
		"a new card, another name":      {renewed, mine(card), [3]string{"identifier", "identifier", "certificate-not-registered"}},
		"the same, nothing registered":  {renewed, mine(), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
		"a number of the issuer's":      {plainNew, mine(plain), [3]string{"identifier", "identifier", "certificate-not-registered"}},
		"the number at another issuer":  {plainNew, mine(elsewhere(issue("MARI LIIS", "MANNIK", "4711"))), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
		"the identifier at another one": {renewed, mine(elsewhere(issue("MARI LIIS", "MANNIK", pno))), [3]string{"identifier", "identifier", "certificate-not-registered"}},
		"no number on either":           {nobody, mine(issue("MARI", "MANNIK", "")), [3]string{"name", "certificate-not-registered", "certificate-not-registered"}},
		"a name":                        {namesake, mine(), [3]string{"name", "name", "certificate-not-registered"}},
		"a namesake":                    {namesake, mine(card), [3]string{"name", "certificate-not-registered", "certificate-not-registered"}},
		"a namesake, after a removal":   {namesake, removed(card), [3]string{"name", "certificate-not-registered", "certificate-not-registered"}},
		"a namesake, by the identifier": {namesake, with(pno, mine()), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
		"registered for the wrong one":  {namesake, with(pno, mine(namesake)), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
		"the identifier":                {card, with(pno, mine()), [3]string{"serial", "serial", "certificate-not-registered"}},
		"the identifier, registered":    {card, with(pno, mine(card)), [3]string{"serial", "serial", "serial"}},
		"removed":                       {card, removed(card), [3]string{"certificate-removed", "certificate-removed", "certificate-removed"}},
		"removed, with the identifier":  {card, with(pno, removed(card)), [3]string{"certificate-removed", "certificate-removed", "certificate-removed"}},
		"a new one after a removal":     {renewed, removed(card), [3]string{"wrong-person", "wrong-person", "wrong-person"}},
	} {
		for i, policy := range []qualified.Registration{qualified.NotNeeded, qualified.FirstUse, qualified.Required} {
			d.c = qualified.Candidate{Leaf: c.leaf, Issuers: []*x509.Certificate{d.CA, d.Root}, Person: c.who}
			d.answer(t)
			d.policy.Registration = policy
			r, err := d.policy.Accept(d.c, d.at)
			got := string(r.Match)
			if err != nil {
				if got != "" {
					t.Errorf("%s: refused, and it matches by %s", name, got)
				}
				got = string(reason(err))
			}
			if got != c.wants[i] {
				t.Errorf("%s, policy %s: %s, want %s", name, policy, got, c.wants[i])
			}
			checkReport(t, r, err)
		}
	}
}
