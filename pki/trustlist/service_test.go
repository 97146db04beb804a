package trustlist_test

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
)

const year = 365 * 24 * time.Hour

func ago(t time.Time) time.Duration { return now.Sub(t) }

func TestStatusAtATime(t *testing.T) {
	eidas := time.Date(2016, 6, 30, 22, 0, 0, 0, time.UTC)
	older := []trustlisttest.State{{Status: "undersupervision", Age: 15 * year}}
	for _, c := range []struct {
		name    string
		service trustlisttest.Service
		at      time.Time
		want    trustlist.Reason
		status  string
	}{
		{"granted", trustlisttest.Service{}, now, "", "granted"},
		{"withdrawn", trustlisttest.Service{State: trustlisttest.State{Status: "withdrawn", Age: year}}, now, trustlist.NotGranted, ""},
		{"withdrawn, before", trustlisttest.Service{State: trustlisttest.State{Status: "withdrawn", Age: year}, History: []trustlisttest.State{{Age: 3 * year}}},
			now.AddDate(-2, 0, 0), "", "granted"},
		{"withdrawn, the second it was", trustlisttest.Service{State: trustlisttest.State{Status: "withdrawn", Age: year}, History: []trustlisttest.State{{Age: 3 * year}}},
			now.Add(-year), trustlist.NotGranted, ""},
		{"history in another order", trustlisttest.Service{State: trustlisttest.State{Age: year}, History: []trustlisttest.State{{Age: 3 * year}, {Status: "withdrawn", Age: 2 * year}}},
			now.Add(-2*year + time.Hour), trustlist.NotGranted, ""},
		{"not listed yet", trustlisttest.Service{}, now.AddDate(-10, 0, 0), trustlist.NotGranted, ""},
		{"under supervision before the Regulation", trustlisttest.Service{State: trustlisttest.State{Age: ago(eidas)}, History: older}, eidas.Add(-time.Second), "", "undersupervision"},
		{"under supervision after it", trustlisttest.Service{State: older[0]}, now, trustlist.NotGranted, ""},
		{"accredited before it", trustlisttest.Service{State: trustlisttest.State{Status: "accredited", Age: 15 * year}}, eidas.AddDate(-1, 0, 0), "", "accredited"},
		{"supervision revoked before it", trustlisttest.Service{State: trustlisttest.State{Status: "supervisionrevoked", Age: 15 * year}}, eidas.AddDate(-1, 0, 0), trustlist.NotGranted, ""},
		{"granted as another service", trustlisttest.Service{State: trustlisttest.State{Type: "CA/PKC"}}, now, trustlist.Untrusted, ""},
		{"another service since", trustlisttest.Service{State: trustlisttest.State{Type: "CA/PKC", Age: year}, History: []trustlisttest.State{{Age: 3 * year}}}, now, trustlist.NotGranted, ""},
		{"an unknown critical extension", trustlisttest.Service{State: trustlisttest.State{Extensions: `<Extension Critical="true"><New/></Extension>`}}, now, trustlist.Unreadable, ""},
		{"an unknown extension", trustlisttest.Service{State: trustlisttest.State{Extensions: `<Extension Critical="false"><New/></Extension>`}}, now, "", "granted"},
		{"an empty critical extension", trustlisttest.Service{State: trustlisttest.State{Extensions: `<Extension Critical="true"/>`}}, now, trustlist.Unreadable, ""},
		{"an unknown criterion, not critical", trustlisttest.Service{State: trustlisttest.State{
			Extensions: strings.Replace(trustlisttest.Qualify("all", "<sie:Moon/>", "NotQualified"), `"true"`, `"false"`, 1)}}, now, trustlist.Unreadable, ""},
		{"an unknown qualifier", trustlisttest.Service{State: trustlisttest.State{Extensions: trustlisttest.Qualify("all", trustlisttest.Commitment, "QCForMoons")}}, now, trustlist.Unreadable, ""},
		{"an unknown assertion", trustlisttest.Service{State: trustlisttest.State{Extensions: trustlisttest.Qualify("most", trustlisttest.Commitment, "NotQualified")}}, now, trustlist.Unreadable, ""},
		{"no criteria", trustlisttest.Service{State: trustlisttest.State{Extensions: trustlisttest.Qualify("all", "", "NotQualified")}}, now, trustlist.Unreadable, ""},
		{"criteria without a bottom", trustlisttest.Service{State: trustlisttest.State{Extensions: trustlisttest.Qualify("all",
			strings.Repeat(`<sie:CriteriaList assert="all">`, 20)+trustlisttest.Commitment+strings.Repeat(`</sie:CriteriaList>`, 20), "NotQualified")}}, now, trustlist.Unreadable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, c.service)
			e, err := d.open(t).Vouch(d.leaf, nil, c.at)
			if reason(err) != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err == nil && e.Status != c.status {
				t.Errorf("status %q, want %q", e.Status, c.status)
			}
		})
	}
}

func TestQualifiers(t *testing.T) {
	const (
		policy = `<sie:PolicySet><sie:PolicyIdentifier><xades:Identifier Qualifier="OIDAsURN">urn:oid:1.2.3.4</xades:Identifier></sie:PolicyIdentifier></sie:PolicySet>`
		other  = `<sie:PolicySet><sie:PolicyIdentifier><xades:Identifier>1.2.3.5</xades:Identifier></sie:PolicyIdentifier></sie:PolicySet>`
		usage  = trustlisttest.Commitment
		not    = `<sie:KeyUsage><sie:KeyUsageBit name="nonRepudiation">true</sie:KeyUsageBit><sie:KeyUsageBit name="digitalSignature">true</sie:KeyUsageBit></sie:KeyUsage>`
		eku    = `<sie:otherCriteriaList><tslx:ExtendedKeyUsage><tslx:KeyPurposeId><xades:Identifier>1.3.6.1.5.5.7.3.4</xades:Identifier></tslx:KeyPurposeId></tslx:ExtendedKeyUsage></sie:otherCriteriaList>`
		name   = `<sie:otherCriteriaList><tslx:CertSubjectDNAttribute><tslx:AttributeOID><xades:Identifier>2.5.4.4</xades:Identifier></tslx:AttributeOID></tslx:CertSubjectDNAttribute></sie:otherCriteriaList>`
		org    = `<sie:otherCriteriaList><tslx:CertSubjectDNAttribute><tslx:AttributeOID><xades:Identifier>2.5.4.97</xades:Identifier></tslx:AttributeOID></tslx:CertSubjectDNAttribute></sie:otherCriteriaList>`
	)
	list := func(assert, in string) string {
		return `<sie:CriteriaList assert="` + assert + `">` + in + `</sie:CriteriaList>`
	}
	for _, c := range []struct {
		name, assert, criteria string
		want                   bool
	}{
		{"a policy", "all", policy, true},
		{"another policy", "all", other, false},
		{"a usage", "all", usage, true},
		{"a usage of two bits", "all", not, false},
		{"all", "all", policy + usage, true},
		{"not all", "all", policy + other, false},
		{"one", "atLeastOne", policy + other, true},
		{"none of them", "none", other + not, true},
		{"one of none", "none", other + usage, false},
		{"nested", "all", usage + list("atLeastOne", other+list("none", other)), true},
		{"nested, none", "all", usage + list("none", policy), false},
		{"an extended usage", "all", eku, true},
		{"an attribute", "all", name, true},
		{"another attribute", "all", org, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, trustlisttest.Service{State: trustlisttest.State{Extensions: trustlisttest.Qualify(c.assert, c.criteria, "QCWithQSCD", "QCForESig")}})
			id, err := d.Issue(qualifiedtest.Request{GivenName: "Mari", Surname: "Maasikas", Change: func(c *x509.Certificate) {
				oid, _ := x509.OIDFromInts([]uint64{1, 2, 3, 4})
				c.Policies, c.PolicyIdentifiers = []x509.OID{oid}, []asn1.ObjectIdentifier{{1, 2, 3, 4}}
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
			}})
			e, err := d.open(t).Vouch(must(t, id, err).Cert, nil, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Equal(e.Qualifiers, []string{"QCWithQSCD", "QCForESig"}); got != c.want || !c.want && len(e.Qualifiers) > 0 {
				t.Errorf("qualifiers %v, want them: %v", e.Qualifiers, c.want)
			}
		})
	}
}

// Two entries with one key, for signatures and for seals, count together; one
// that is withdrawn does not.
func TestSeveralServicesOfOneKey(t *testing.T) {
	d := newDesk(t, trustlisttest.Service{State: trustlisttest.State{Purposes: []string{"ForeSignatures"}}},
		trustlisttest.Service{State: trustlisttest.State{Purposes: []string{"ForeSeals"}, Extensions: trustlisttest.Qualify("all", trustlisttest.Commitment, "QCWithQSCD")}},
		trustlisttest.Service{State: trustlisttest.State{Status: "withdrawn", Purposes: []string{"ForWebSiteAuthentication"}}})
	e, err := d.open(t).Vouch(d.leaf, nil, now)
	if err != nil || !slices.Equal(e.Purposes, []string{"ForeSignatures", "ForeSeals"}) || !slices.Equal(e.Qualifiers, []string{"QCWithQSCD"}) {
		t.Errorf("%+v %v", e, err)
	}
}

// An authority above the issuer counts only as a RootCA-QC.
func TestRootOfQualified(t *testing.T) {
	for _, c := range []struct {
		purposes []string
		want     trustlist.Reason
	}{{[]string{"RootCA-QC", "ForeSignatures"}, ""}, {[]string{"ForeSignatures"}, trustlist.Untrusted}} {
		d := newDesk(t)
		d.union.Lists[0].Services = []trustlisttest.Service{{CA: d.Root, State: trustlisttest.State{Purposes: c.purposes}}}
		d.sign(t)
		l := d.open(t)
		e, err := l.Vouch(d.leaf, []*x509.Certificate{d.Root, d.CA}, now)
		if reason(err) != c.want || err == nil && !e.Anchor.Equal(d.Root) {
			t.Errorf("%v: %v", c.purposes, err)
		}
		if _, err := l.Vouch(d.leaf, nil, now); reason(err) != trustlist.Untrusted {
			t.Errorf("without the issuer's certificate: %v", err)
		}
	}
}

// A service that is known by its key's identifier: computed from the key, and not read from a
// certificate that says so.
func TestKeyIdentifier(t *testing.T) {
	d := newDesk(t)
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	rest, err := asn1.Unmarshal(d.CA.RawSubjectPublicKeyInfo, &spki)
	must(t, rest, err)
	ski := sha1.Sum(spki.Key.Bytes)
	d.union.Lists[0].Services = []trustlisttest.Service{{Name: "by key", SKI: ski[:]}}
	d.sign(t)
	l := d.open(t)
	if e, err := l.Vouch(d.leaf, []*x509.Certificate{d.CA}, now); err != nil || e.Service != "by key" || !e.Anchor.Equal(d.CA) {
		t.Errorf("%+v %v", e, err)
	}
	forger, err := qualifiedtest.New(clock, "")
	must(t, 0, err)
	id, err := forger.Issue(qualifiedtest.Request{GivenName: "Mari", Surname: "Maasikas"})
	must(t, id, err)
	forged := *forger.CA
	forged.SubjectKeyId = ski[:]
	if _, err := l.Vouch(id.Cert, []*x509.Certificate{&forged}, now); reason(err) != trustlist.Untrusted {
		t.Errorf("a certificate that claims the identifier: %v", err)
	}
}

func TestAnchors(t *testing.T) {
	d := newDesk(t)
	folder := t.TempDir()
	write := func(name, kind string, der []byte) {
		must(t, 0, os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
	}
	if _, err := trustlist.OpenAnchors(folder); err == nil {
		t.Error("an empty folder")
	}
	write("root.pem", "CERTIFICATE", d.Root.Raw)
	a, err := trustlist.OpenAnchors(folder)
	must(t, a, err)
	if e, err := a.Vouch(d.leaf, []*x509.Certificate{d.CA}, now); err != nil || !e.Own || !e.Anchor.Equal(d.Root) {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := a.Vouch(d.leaf, nil, now); reason(err) != trustlist.Untrusted {
		t.Errorf("without its issuer: %v", err)
	}
	write("leaf.pem", "CERTIFICATE", d.leaf.Raw)
	if _, err := trustlist.OpenAnchors(folder); err == nil || !strings.Contains(err.Error(), "leaf.pem") {
		t.Errorf("a leaf: %v", err)
	}
	write("leaf.pem", "PRIVATE KEY", []byte("secret"))
	if _, err := trustlist.OpenAnchors(folder); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a key: %v", err)
	}
}
