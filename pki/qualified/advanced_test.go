package qualified_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
)

const mariMail = "mari.mannik@corp.test"

// anchors is a folder of authorities.
func anchors(t testing.TB, certs ...*x509.Certificate) *trustlist.Anchors {
	t.Helper()
	folder := t.TempDir()
	var raw []byte
	for _, c := range certs {
		raw = append(raw, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	must(t, 0, os.WriteFile(filepath.Join(folder, "ca.pem"), raw, 0o600))
	a, err := trustlist.OpenAnchors(folder)
	return must(t, a, err)
}

// corporate is a request for a certificate of the organisation's own authority, as it is
// taken for an Advanced signature.
func corporate() qualifiedtest.Request {
	return qualifiedtest.Request{GivenName: "M.", Surname: "M", NoStatements: true, Change: func(c *x509.Certificate) {
		c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{mariMail}
	}}
}

// corporateDesk has such a certificate, and a folder that names its authority.
func corporateDesk(t *testing.T, r qualifiedtest.Request) *desk {
	t.Helper()
	d := &desk{at: now}
	var err error
	d.Provider, err = qualifiedtest.New(clock, "")
	must(t, 0, err)
	d.policy.Trust = anchors(t, d.CA)
	d.corporate(t, r)
	return d
}

func (d *desk) corporate(t *testing.T, r qualifiedtest.Request) {
	t.Helper()
	d.issue(t, r)
	d.c.Person = qualified.Person{Mail: mariMail, GivenName: "Mari-Liis", Surname: "Männik"}
}

// Every refusal of a certificate for an Advanced signature, each by one defect, and what
// counts for a person.
func TestAdvanced(t *testing.T) {
	with := func(change func(*qualifiedtest.Request)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			r := corporate()
			change(&r)
			who := d.c.Person
			d.corporate(t, r)
			d.c.Person = who
		}
	}
	template := func(change func(*x509.Certificate)) func(*testing.T, *desk) {
		return with(func(r *qualifiedtest.Request) {
			good := r.Change
			r.Change = func(c *x509.Certificate) { good(c); change(c) }
		})
	}
	usage := func(k x509.KeyUsage, extended ...x509.ExtKeyUsage) func(*testing.T, *desk) {
		return template(func(c *x509.Certificate) { c.KeyUsage, c.ExtKeyUsage = k, extended })
	}
	purpose := func(oid ...int) func(*testing.T, *desk) {
		return template(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oid} })
	}
	mails := func(m ...string) func(*testing.T, *desk) {
		return template(func(c *x509.Certificate) { c.EmailAddresses = m })
	}
	subject := func(oid asn1.ObjectIdentifier, value string) func(*testing.T, *desk) {
		return template(func(c *x509.Certificate) {
			c.EmailAddresses = nil
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: value})
		})
	}
	organisation := func(value string) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			template(func(c *x509.Certificate) {
				c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 97}, Value: value})
			})(t, d)
			d.policy.Organisation = "VATLU-12345678"
		}
	}
	serial := func(theirs, directory string, more func(*qualifiedtest.Request)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			with(func(r *qualifiedtest.Request) {
				r.Serial = theirs
				if more != nil {
					more(r)
				}
			})(t, d)
			d.c.Person.Serial = directory
		}
	}
	named := func(r *qualifiedtest.Request) {
		r.GivenName, r.Surname, r.Change = "MARI LIIS", "MÄNNIK", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }
	}
	colleague := func(r *qualifiedtest.Request) {
		r.Change = func(c *x509.Certificate) {
			c.KeyUsage, c.EmailAddresses = x509.KeyUsageDigitalSignature, []string{"john@corp.test"}
		}
	}
	for name, c := range map[string]struct {
		do    func(*testing.T, *desk)
		want  qualified.Reason
		match qualified.Match // "" means ByMail
	}{
		"good":                        {func(*testing.T, *desk) {}, "", ""},
		"nothing came with it":        {func(t *testing.T, d *desk) { d.c.Issuers = nil }, "", ""},
		"the root is in the folder":   {func(t *testing.T, d *desk) { d.policy.Trust = anchors(t, d.Root) }, qualified.RevocationUnknown, ""}, // of the CA below it
		"contentCommitment":           {usage(x509.KeyUsageContentCommitment), "", ""},
		"both":                        {usage(x509.KeyUsageContentCommitment | x509.KeyUsageDigitalSignature), "", ""},
		"contentCommitment and login": {usage(x509.KeyUsageContentCommitment, x509.ExtKeyUsageClientAuth), "", ""},
		"for mail":                    {usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageEmailProtection), "", ""},
		"for anything":                {usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageAny), "", ""},
		"for documents":               {purpose(1, 3, 6, 1, 5, 5, 7, 3, 36), "", ""},
		"for documents, Microsoft":    {purpose(1, 3, 6, 1, 4, 1, 311, 10, 3, 12), "", ""},
		"for documents, Adobe":        {purpose(1, 2, 840, 113583, 1, 1, 5), "", ""},
		"for something":               {purpose(1, 3, 6, 1, 4, 1, 4711), qualified.WrongKeyUsage, ""},
		"for logging in":              {usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageClientAuth), qualified.AuthenticationOnly, ""},
		"for code":                    {usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageCodeSigning), qualified.WrongKeyUsage, ""},
		"for encryption":              {usage(x509.KeyUsageKeyAgreement), qualified.WrongKeyUsage, ""},
		"for nothing":                 {usage(0), qualified.WrongKeyUsage, ""},
		"an authority's":              {template(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), qualified.WrongKeyUsage, ""},
		"expired":                     {with(func(r *qualifiedtest.Request) { r.Expired = true }), qualified.Expired, ""},
		"not yet valid":               {with(func(r *qualifiedtest.Request) { r.NotYetValid = true }), qualified.NotYetValid, ""},
		"SHA-1":                       {with(func(r *qualifiedtest.Request) { r.SHA1 = true }), qualified.DowngradedHash, ""},
		"a short key": {with(func(r *qualifiedtest.Request) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			r.Key = must(t, key, err).Public()
		}), qualified.WeakAlgorithm, ""},
		"by a foreign authority": {func(t *testing.T, d *desk) { d.c = corporateDesk(t, corporate()).c }, qualified.UntrustedService, ""},
		"that brings its authority": {func(t *testing.T, d *desk) {
			o := corporateDesk(t, corporate())
			d.c.Leaf, d.c.Issuers, d.c.OCSPs = o.c.Leaf, []*x509.Certificate{o.CA, o.Root, d.CA}, o.c.OCSPs
		}, qualified.UntrustedService, ""},
		"no authorities":        {func(t *testing.T, d *desk) { d.policy.Trust = nil }, qualified.UntrustedService, ""},
		"trusted lists instead": {func(t *testing.T, d *desk) { d.policy.Trust = newDesk(t, good()).policy.Trust }, qualified.UntrustedService, ""},
		"an authority that has ended": {func(t *testing.T, d *desk) {
			template(func(c *x509.Certificate) { c.NotAfter = now.AddDate(9, 0, 0) })(t, d)
			d.at = now.AddDate(6, 0, 0)
		}, qualified.BrokenChain, ""},
		"revoked":                  {func(t *testing.T, d *desk) { d.Revoke(d.c.Leaf, now.Add(-time.Minute)); d.answer(t) }, qualified.Revoked, ""},
		"nobody speaks for it":     {func(t *testing.T, d *desk) { d.c.OCSPs = nil }, qualified.RevocationUnknown, ""},
		"unknown to its authority": {func(t *testing.T, d *desk) { d.Forget(d.c.Leaf); d.answer(t) }, qualified.RevocationUnknown, ""},
		"an answer of yesterday":   {func(t *testing.T, d *desk) { d.at = now.AddDate(0, 0, 1) }, qualified.RevocationUnknown, ""},

		"a colleague's":                {with(colleague), qualified.WrongPerson, ""},
		"a colleague of the same name": {mails("other.mari@corp.test"), qualified.WrongPerson, ""},
		"a namesake's with her address elsewhere": {func(t *testing.T, d *desk) {
			with(func(r *qualifiedtest.Request) { named(r); colleague(r) })(t, d)
		}, qualified.WrongPerson, ""},
		"the address in capitals":        {mails("Mari.Mannik@CORP.test"), "", ""},
		"one of several addresses":       {mails("info@corp.test", mariMail), "", ""},
		"a letter that folds into ASCII": {subject(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, "mari.manni\u212a@corp.test"), qualified.WrongPerson, ""},
		"the address in the subject":     {subject(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, mariMail), "", ""},
		"somebody's there":               {subject(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, "john@corp.test"), qualified.WrongPerson, ""},
		"no address, the name":           {with(named), "", qualified.ByName},
		"no address, another name":       {mails(), qualified.WrongPerson, ""},
		"nothing known of her":           {func(t *testing.T, d *desk) { d.c.Person = qualified.Person{} }, qualified.PersonUnknown, ""},
		"the identifier":                 {serial("PNOEE-60001019906", "PNOEE-60001019906", colleague), "", qualified.BySerial},
		"another's identifier":           {serial("PNOEE-38001085718", "PNOEE-60001019906", nil), qualified.WrongPerson, ""},
		"an identifier, none known":      {serial("PNOEE-38001085718", "", nil), "", ""},
		"none in it, and the address":    {serial("", "PNOEE-60001019906", nil), "", ""},
		"a number of the house":          {serial("4711", "PNOEE-60001019906", nil), "", ""},
		"none in it, and the name alone": {serial("", "PNOEE-60001019906", named), qualified.WrongPerson, ""},
		"registered": {func(t *testing.T, d *desk) {
			with(colleague)(t, d)
			d.c.Person.Registered = []*x509.Certificate{d.c.Leaf}
		}, "", qualified.ByRegister},
		"registered, none in it": {func(t *testing.T, d *desk) {
			with(colleague)(t, d)
			d.c.Person.Registered, d.c.Person.Serial = []*x509.Certificate{d.c.Leaf}, "PNOEE-1"
		}, "", qualified.ByRegister},
		"removed": {func(t *testing.T, d *desk) { d.c.Person.Removed = []*x509.Certificate{d.c.Leaf} }, qualified.Removed, ""},
		"removed, none in it": {func(t *testing.T, d *desk) {
			d.c.Person.Removed, d.c.Person.Serial = []*x509.Certificate{d.c.Leaf}, "PNOEE-1"
		}, qualified.Removed, ""},
		"this organisation's":             {organisation("VATLU-12345678"), "", ""},
		"another organisation's":          {organisation("VATLU-87654321"), qualified.WrongOrganisation, ""},
		"of no organisation, by a vendor": {func(t *testing.T, d *desk) { d.policy.Organisation = "VATLU-12345678" }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := corporateDesk(t, corporate())
			c.do(t, d)
			r, err := d.policy.AcceptAdvanced(d.c, d.at)
			if reason(err) != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			checkReport(t, r, err)
			if c.match == "" {
				c.match = qualified.ByMail
			}
			if err == nil && (r.Match != c.match || r.Entry == nil || !r.Entry.Own || r.Purpose != qualified.ForAdvanced) {
				t.Errorf("%+v", r)
			}
			if text := r.Checks[len(r.Checks)-1].Detail; err != nil && (strings.Contains(text, "card") || strings.Contains(text, "list")) {
				t.Errorf("words of another level: %s", text)
			}
			if _, err := d.policy.Accept(d.c, d.at); err == nil {
				t.Error("it is taken for a Qualified signature, too")
			}
		})
	}
}

// What is qualified is taken for Advanced by its own authority only, and the other way round.
func TestAdvancedIsNotQualified(t *testing.T) {
	d, house := newDesk(t, good()), corporateDesk(t, corporate())
	house.c.Person = mari
	house.c.Person.Mail = mariMail
	advanced, level := house.policy, d.policy
	for name, c := range map[string]struct {
		err  error
		want qualified.Reason
	}{
		"a qualified one, by the lists":                 {second(level.Accept(d.c, now)), ""},
		"a qualified one, at Advanced":                  {second(advanced.AcceptAdvanced(d.c, now)), qualified.UntrustedService},
		"the house's, at Advanced":                      {second(advanced.AcceptAdvanced(house.c, now)), ""},
		"the house's, by the lists":                     {second(level.Accept(house.c, now)), qualified.WrongKeyUsage},
		"the house's, and its folder taken for anchors": {second(advanced.Accept(house.c, now)), qualified.WrongKeyUsage},
	} {
		if reason(c.err) != c.want || (c.err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want %q", name, c.err, c.want)
		}
	}
	r := corporate()
	r.Change = func(c *x509.Certificate) { c.EmailAddresses = []string{mariMail} }
	house.corporate(t, r) // for content commitment, and no word of being qualified
	if _, err := level.Accept(house.c, now); reason(err) != qualified.UntrustedService {
		t.Errorf("by the lists: %v", err)
	}
	if _, err := advanced.Accept(house.c, now); reason(err) != qualified.NotQualified {
		t.Errorf("its folder taken for anchors: %v", err)
	}
}

func second(_ *qualified.Report, err error) error { return err }
