package qualified_test

import (
	"crypto/x509"
	"testing"
	"time"

	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
)

// loginDesk has a card's certificate for logging in.
func loginDesk(t *testing.T, change func(*qualifiedtest.Request)) *desk {
	r := good()
	r.Authentication = true
	if change != nil {
		change(&r)
	}
	return newDesk(t, r)
}

// Every refusal of a certificate for logging in, each by one defect.
func TestLogin(t *testing.T) {
	with := func(change func(*qualifiedtest.Request)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			r := good()
			r.Authentication = true
			change(&r)
			d.issue(t, r)
		}
	}
	template := func(change func(*x509.Certificate)) func(*testing.T, *desk) {
		return with(func(r *qualifiedtest.Request) { r.Change = change })
	}
	who := func(p qualified.Person) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) { d.c.Person = p }
	}
	for name, c := range map[string]struct {
		do   func(*testing.T, *desk)
		want qualified.Reason
	}{
		"good":                       {func(*testing.T, *desk) {}, ""},
		"without the root":           {func(t *testing.T, d *desk) { d.c.Issuers = nil }, ""},
		"the one for signatures":     {with(func(r *qualifiedtest.Request) { r.Authentication = false }), qualified.SigningOnly},
		"no clientAuth":              {template(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), qualified.NotForLogin},
		"for mail":                   {template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), qualified.NotForLogin},
		"any usage":                  {template(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), qualified.NotForLogin},
		"no digitalSignature":        {template(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), qualified.NotForLogin},
		"an authority's":             {template(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), qualified.WrongKeyUsage},
		"Mobile-ID":                  {template(func(c *x509.Certificate) { c.Policies = []x509.OID{oid(t, 1, 3, 6, 1, 4, 1, 10015, 1, 3)} }), qualified.NotForLogin},
		"another policy":             {template(func(c *x509.Certificate) { c.Policies = []x509.OID{oid(t, 1, 3, 6, 1, 4, 1, 51361, 1, 1, 1)} }), ""},
		"expired":                    {with(func(r *qualifiedtest.Request) { r.Expired = true }), qualified.Expired},
		"not yet valid":              {with(func(r *qualifiedtest.Request) { r.NotYetValid = true }), qualified.NotYetValid},
		"by somebody":                {func(t *testing.T, d *desk) { d.c = loginDesk(t, nil).c }, qualified.UntrustedService},
		"a withdrawn service":        {func(t *testing.T, d *desk) { d.union.Lists[0].Services[0].Status = "withdrawn"; d.sign(t) }, qualified.WithdrawnService},
		"a list that is out of date": {func(t *testing.T, d *desk) { d.union.Lists[0].Life = 30 * time.Minute; d.sign(t) }, qualified.ListExpired},
		"no lists":                   {func(t *testing.T, d *desk) { d.policy.Trust = nil }, qualified.UntrustedService},
		"revoked": {func(t *testing.T, d *desk) {
			d.Revoke(d.c.Leaf, now.Add(-time.Minute))
			d.answer(t)
		}, qualified.Revoked},
		"nobody speaks for it":        {func(t *testing.T, d *desk) { d.c.OCSPs = nil }, qualified.RevocationUnknown},
		"an answer of yesterday":      {func(t *testing.T, d *desk) { d.at = now.AddDate(0, 0, 1) }, qualified.RevocationUnknown},
		"somebody else":               {who(qualified.Person{Serial: "PNOEE-38001085718", GivenName: "Mari-Liis", Surname: "Männik"}), qualified.WrongPerson},
		"another name, no identifier": {who(qualified.Person{GivenName: "Jane", Surname: "Roe"}), qualified.WrongPerson},
		"a namesake":                  {who(qualified.Person{GivenName: "Mari-Liis", Surname: "Männik"}), qualified.NameAlone},
		"nothing known":               {who(qualified.Person{}), qualified.PersonUnknown},
		"by her signing certificate": {func(t *testing.T, d *desk) {
			id, err := d.Issue(good())
			d.c.Person = qualified.Person{GivenName: "Maria", Surname: "Other", Registered: []*x509.Certificate{must(t, id, err).Cert}}
		}, ""},
		"by a namesake's certificate": {func(t *testing.T, d *desk) {
			r := good()
			r.Serial = "PNOEE-1"
			id, err := d.Issue(r)
			d.c.Person = qualified.Person{GivenName: "Mari-Liis", Surname: "Männik", Registered: []*x509.Certificate{must(t, id, err).Cert}}
		}, qualified.NameAlone},
		"by one that was removed": {func(t *testing.T, d *desk) {
			id, err := d.Issue(good())
			d.c.Person = qualified.Person{GivenName: "Mari-Liis", Surname: "Männik", Removed: []*x509.Certificate{must(t, id, err).Cert}}
		}, qualified.NameAlone},
	} {
		t.Run(name, func(t *testing.T) {
			d := loginDesk(t, nil)
			c.do(t, d)
			r, err := d.policy.AcceptLogin(d.c, d.at)
			if reason(err) != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			checkReport(t, r, err)
			if err == nil && (r.Match == "" || r.Entry == nil) {
				t.Errorf("%+v", r)
			}
			if _, err := d.policy.Accept(d.c, d.at); err == nil && c.want != qualified.SigningOnly {
				t.Error("it signs, too")
			}
		})
	}
}

func oid(t *testing.T, arcs ...uint64) x509.OID {
	t.Helper()
	o, err := x509.OIDFromInts(arcs)
	return must(t, o, err)
}
