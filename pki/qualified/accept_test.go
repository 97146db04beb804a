package qualified_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var mari = qualified.Person{Serial: "PNOEE-60001019906", GivenName: "Mari-Liis", Surname: "Männik"}

// good is a request for a certificate that is taken.
func good() qualifiedtest.Request {
	return qualifiedtest.Request{GivenName: "MARI LIIS", Surname: "MÄNNIK", Serial: "PNOEE-60001019906"}
}

// desk is a provider with its lists, and a candidate.
type desk struct {
	*qualifiedtest.Provider
	union  *trustlisttest.Union
	folder string
	policy qualified.Policy
	c      qualified.Candidate
	at     time.Time
}

func newDesk(t testing.TB, r qualifiedtest.Request) *desk {
	t.Helper()
	d := &desk{folder: t.TempDir(), at: now}
	var err error
	d.Provider, err = qualifiedtest.New(clock, "")
	must(t, 0, err)
	d.union, err = d.Lists()
	must(t, 0, err)
	d.publish(t)
	d.issue(t, r)
	return d
}

// publish opens the lists anew, after a change and a signature.
func (d *desk) publish(t testing.TB) {
	t.Helper()
	must(t, 0, d.union.Write(d.folder))
	l, err := trustlist.Open(trustlist.Config{Folder: d.folder, Signers: d.union.Trusted(), Now: clock})
	d.policy.Trust = must(t, l, err)
}

func (d *desk) sign(t testing.TB) {
	t.Helper()
	must(t, 0, d.union.Sign(now))
	d.publish(t)
}

func (d *desk) issue(t testing.TB, r qualifiedtest.Request) {
	t.Helper()
	id, err := d.Issue(r)
	leaf := must(t, id, err).Cert
	d.c = qualified.Candidate{Leaf: leaf, Issuers: []*x509.Certificate{d.CA, d.Root}, Person: mari}
	d.answer(t)
}

func (d *desk) answer(t testing.TB) {
	t.Helper()
	der, err := d.OCSP(d.c.Leaf)
	d.c.OCSPs = [][]byte{must(t, der, err)}
}

func reason(err error) qualified.Reason {
	var r *qualified.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// Every refusal, each by one defect of a certificate that is otherwise good.
func TestRefusals(t *testing.T) {
	with := func(change func(*qualifiedtest.Request)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			r := good()
			change(&r)
			d.issue(t, r)
		}
	}
	template := func(change func(*x509.Certificate)) func(*testing.T, *desk) {
		return with(func(r *qualifiedtest.Request) { r.Change = change })
	}
	listed := func(change func(*trustlisttest.Service)) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			change(&d.union.Lists[0].Services[0])
			d.sign(t)
		}
	}
	says := func(qualifiers ...string) func(*trustlisttest.Service) {
		return func(s *trustlisttest.Service) {
			s.Extensions = trustlisttest.Qualify("all", trustlisttest.Commitment, qualifiers...)
		}
	}
	spoilt := func(file, from, to string) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			raw := string(d.union.Files[file])
			if !strings.Contains(raw, from) {
				t.Fatalf("no %q in %s", from, file)
			}
			d.union.Files[file] = []byte(strings.Replace(raw, from, to, 1))
			d.publish(t)
		}
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T, *desk)
		want qualified.Reason
	}{
		{"good", func(*testing.T, *desk) {}, ""},

		{"authentication certificate", with(func(r *qualifiedtest.Request) { r.Authentication = true }), qualified.AuthenticationOnly},
		{"digitalSignature only", template(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), qualified.WrongKeyUsage},
		{"no key usage", template(func(c *x509.Certificate) { c.KeyUsage = 0 }), qualified.WrongKeyUsage},
		{"an authority", template(func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, c.KeyUsage|x509.KeyUsageCertSign
		}), qualified.WrongKeyUsage},

		{"an authority that signs no certificates", template(func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), qualified.WrongKeyUsage},

		{"signed with SHA-1", with(func(r *qualifiedtest.Request) { r.SHA1 = true }), qualified.DowngradedHash},
		{"RSA of 1024 bits", func(t *testing.T, d *desk) {
			t.Setenv("GODEBUG", "rsa1024min=0")
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			r := good()
			r.Key = must(t, key, err).Public()
			d.issue(t, r)
		}, qualified.WeakAlgorithm},
		{"P-224", func(t *testing.T, d *desk) {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			r := good()
			r.Key = must(t, key, err).Public()
			d.issue(t, r)
		}, qualified.WeakAlgorithm},
		{"Ed25519", func(t *testing.T, d *desk) {
			key, _, err := ed25519.GenerateKey(rand.Reader)
			r := good()
			r.Key = must(t, key, err)
			d.issue(t, r)
		}, qualified.WeakAlgorithm},

		{"expired", with(func(r *qualifiedtest.Request) { r.Expired = true }), qualified.Expired},
		{"not yet valid", with(func(r *qualifiedtest.Request) { r.NotYetValid = true }), qualified.NotYetValid},

		{"untrusted service", func(t *testing.T, d *desk) { d.union.Lists[0].Services[0].CA = d.Root; d.sign(t) }, qualified.UntrustedService},
		{"withdrawn service", listed(func(s *trustlisttest.Service) {
			s.History = []trustlisttest.State{s.State}
			s.State = trustlisttest.State{Status: "withdrawn", Age: time.Hour}
		}), qualified.WithdrawnService},
		{"granted after the issue", listed(func(s *trustlisttest.Service) { s.Age = time.Hour }), qualified.WithdrawnService},
		{"withdrawn at the issue", listed(func(s *trustlisttest.Service) {
			s.State = trustlisttest.State{Age: time.Hour}
			s.History = []trustlisttest.State{{Status: "withdrawn"}}
		}), qualified.WithdrawnService},
		{"unreadable service", listed(func(s *trustlisttest.Service) { s.Extensions = `<Extension Critical="true"><New/></Extension>` }), qualified.UnreadableService},
		{"list tampered", spoilt("EE.xml", "ForeSignatures", "ForeSignatureS"), qualified.ListTampered},
		{"list of the lists tampered", spoilt("EU.xml", "https://lists.test/", "https://other.test/"), qualified.ListTampered},
		{"list expired", func(t *testing.T, d *desk) {
			d.union.Lists[0].Life = 30 * time.Minute
			d.sign(t)
		}, qualified.ListExpired},
		{"list rolled back", func(t *testing.T, d *desk) {
			d.union.Lists[0].Sequence = 9
			d.sign(t)
			d.union.Lists[0].Sequence = 8
			d.sign(t)
		}, qualified.ListRolledBack},
		{"list from the future", func(t *testing.T, d *desk) { d.union.Lists[0].Age = -time.Hour; d.sign(t) }, qualified.ListFromFuture},
		{"nobody configured", func(t *testing.T, d *desk) { d.policy.Trust = nil }, qualified.UntrustedService},
		{"list missing", func(t *testing.T, d *desk) {
			empty := t.TempDir()
			l, err := trustlist.Open(trustlist.Config{Folder: empty, Signers: d.union.Trusted(), Now: clock})
			d.policy.Trust = must(t, l, err)
		}, qualified.ListMissing},
		{"list malformed", func(t *testing.T, d *desk) { d.union.Lists[0].Version = 2; d.sign(t) }, qualified.ListMalformed},

		{"a critical extension that nobody knows", template(func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}), qualified.BrokenChain},

		{"no statements", with(func(r *qualifiedtest.Request) { r.NoStatements = true }), qualified.NotQualified},
		{"no QcCompliance", with(func(r *qualifiedtest.Request) { r.NoCompliance = true }), qualified.NotQualified},
		{"qualified in another country", with(func(r *qualifiedtest.Request) { r.Countries = []string{"CH"} }), qualified.NotQualified},
		{"not qualified, says the list", listed(says("NotQualified")), qualified.NotQualified},
		{"qualified and not, says the list", listed(says("NotQualified", "QCStatement")), qualified.Contradictory},
		{"statements that are no DER", template(func(c *x509.Certificate) { c.ExtraExtensions[0].Value = []byte{0x30, 0x80, 0, 0} }), qualified.Malformed},

		{"for seals", with(func(r *qualifiedtest.Request) { r.Seal = true }), qualified.NotForSignature},
		{"for websites", with(func(r *qualifiedtest.Request) { r.Web = true }), qualified.NotForSignature},
		{"for seals, says the list", listed(says("QCForESeal")), qualified.NotForSignature},
		{"of a legal person, says the list", listed(says("QCForLegalPerson")), qualified.NotForSignature},
		{"for both, says the list", listed(says("QCForESeal", "QCForESig")), qualified.Contradictory},
		{"of a service for seals", listed(func(s *trustlisttest.Service) { s.Purposes = []string{"ForeSeals"} }), qualified.NotForSignature},

		{"no QcSSCD", with(func(r *qualifiedtest.Request) { r.NoQSCD = true }), qualified.NoQSCD},
		{"no QSCD, says the list", listed(says("QCNoQSCD")), qualified.NoQSCD},
		{"a device of before the Regulation", func(t *testing.T, d *desk) {
			listed(says("QCWithSSCD"))(t, d)
			with(func(r *qualifiedtest.Request) { r.NoQSCD = true })(t, d)
		}, qualified.NoQSCD},
		{"as in the certificate, which has none", func(t *testing.T, d *desk) {
			listed(says("QCQSCDStatusAsInCert"))(t, d)
			with(func(r *qualifiedtest.Request) { r.NoQSCD = true })(t, d)
		}, qualified.NoQSCD},
		{"a device, and as in the certificate, which has none", func(t *testing.T, d *desk) {
			listed(says("QCWithQSCD", "QCQSCDStatusAsInCert"))(t, d)
			with(func(r *qualifiedtest.Request) { r.NoQSCD = true })(t, d)
		}, qualified.NoQSCD},
		{"a device and none, says the list", listed(says("QCNoQSCD", "QCWithQSCD")), qualified.Contradictory},

		{"revoked", func(t *testing.T, d *desk) { d.Revoke(d.c.Leaf, now.Add(-time.Hour)); d.answer(t) }, qualified.Revoked},
		{"revoked, by the list of revocations", func(t *testing.T, d *desk) {
			d.Revoke(d.c.Leaf, now.Add(-time.Hour))
			der, err := d.CRL()
			d.c.CRLs = [][]byte{must(t, der, err)} // the good OCSP answer, too
		}, qualified.Revoked},
		{"unknown to OCSP", func(t *testing.T, d *desk) { d.Forget(d.c.Leaf); d.answer(t) }, qualified.RevocationUnknown},
		{"no answer", func(t *testing.T, d *desk) { d.c.OCSPs = nil }, qualified.RevocationUnknown},
		{"an answer about another certificate", func(t *testing.T, d *desk) {
			other := d.c.OCSPs
			d.issue(t, good())
			d.c.OCSPs = other
		}, qualified.RevocationUnknown},
		{"an answer by somebody else", func(t *testing.T, d *desk) {
			p, err := qualifiedtest.New(clock, "")
			must(t, 0, err)
			der, err := p.OCSP(d.c.Leaf)
			d.c.OCSPs = [][]byte{must(t, der, err)}
		}, qualified.RevocationUnknown},
		{"an answer of yesterday", func(t *testing.T, d *desk) { d.at = now.AddDate(0, 0, 1) }, qualified.RevocationUnknown},

		{"wrong person", func(t *testing.T, d *desk) { d.c.Person.Serial = "PNOEE-38001085718" }, qualified.WrongPerson},
		{"wrong person, registered", func(t *testing.T, d *desk) {
			d.c.Person.Serial, d.c.Person.Registered = "PNOEE-38001085718", []*x509.Certificate{d.c.Leaf}
		}, qualified.WrongPerson},
		{"another name", func(t *testing.T, d *desk) {
			d.c.Person = qualified.Person{GivenName: "Mari", Surname: "Männik"}
		}, qualified.WrongPerson},
		{"another accent", func(t *testing.T, d *desk) {
			d.c.Person = qualified.Person{GivenName: "Mari-Liis", Surname: "Mannik"}
		}, qualified.WrongPerson},
		{"a name without the name", func(t *testing.T, d *desk) {
			with(func(r *qualifiedtest.Request) { r.GivenName = "" })(t, d)
			d.c.Person = qualified.Person{GivenName: "Mari-Liis", Surname: "Männik"}
		}, qualified.WrongPerson},
		{"half a name", func(t *testing.T, d *desk) { d.c.Person = qualified.Person{Surname: "Männik"} }, qualified.PersonUnknown},
		{"nothing known", func(t *testing.T, d *desk) { d.c.Person = qualified.Person{} }, qualified.PersonUnknown},
		{"another certificate registered", func(t *testing.T, d *desk) {
			r := good()
			r.Serial = "PNOEE-38001085718"
			id, err := d.Issue(r)
			d.c.Person = qualified.Person{Registered: []*x509.Certificate{must(t, id, err).Cert}}
		}, qualified.WrongPerson},
		{"not registered", func(t *testing.T, d *desk) { d.policy.Registration = qualified.Required }, qualified.NotRegistered},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, good())
			c.do(t, d)
			r, err := d.policy.Accept(d.c, d.at)
			if reason(err) != c.want || (err == nil) != (c.want == "") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			checkReport(t, r, err)
		})
	}
}

// checkReport wants a report that says what the refusal says, and can be kept.
func checkReport(t *testing.T, r *qualified.Report, err error) {
	t.Helper()
	for i, c := range r.Checks {
		if last := i == len(r.Checks)-1; (c.Outcome == qualified.Failed) != (last && err != nil) || c.Name == "" || c.Clause == "" || c.Detail == "" {
			t.Errorf("check %+v", c)
		}
	}
	var refusal *qualified.Refusal
	if errors.As(err, &refusal) && (refusal.Text == "" || !strings.HasSuffix(refusal.Text, ".") || r.Checks[len(r.Checks)-1].Detail != refusal.Text) {
		t.Errorf("text %q", refusal.Text)
	}
	b, jsonErr := json.Marshal(r)
	var again qualified.Report
	if must(t, b, jsonErr); json.Unmarshal(b, &again) != nil || len(again.Checks) != len(r.Checks) || again.Fingerprint != r.Fingerprint {
		t.Errorf("kept as %s", b)
	}
}

// What is taken though something about it is unusual.
func TestAccepted(t *testing.T) {
	listed := func(qualifiers ...string) func(*testing.T, *desk) {
		return func(t *testing.T, d *desk) {
			d.union.Lists[0].Services[0].Extensions = trustlisttest.Qualify("all", trustlisttest.Commitment, qualifiers...)
			d.sign(t)
		}
	}
	for _, c := range []struct {
		name  string
		do    func(*testing.T, *desk)
		noted string // the check that has a note; "" for none
	}{
		{"by its serial number", func(*testing.T, *desk) {}, ""},
		{"by its serial number in another case", func(t *testing.T, d *desk) { d.c.Person = qualified.Person{Serial: "pnoee-60001019906"} }, ""},
		{"by its name alone", func(t *testing.T, d *desk) { d.c.Person.Serial = "" }, "person"},
		{"registered", func(t *testing.T, d *desk) {
			d.policy.Registration = qualified.Required
			d.c.Person = qualified.Person{Registered: []*x509.Certificate{d.c.Leaf}}
		}, ""},
		{"the name is composed otherwise", func(t *testing.T, d *desk) {
			d.c.Person = qualified.Person{GivenName: "liis MARI", Surname: "Ma\u0308nnik"}
		}, "person"},
		{"an apostrophe", func(t *testing.T, d *desk) {
			r := good()
			r.Surname = "O’BRIEN-STRASSE"
			d.issue(t, r)
			d.c.Person = qualified.Person{GivenName: "Mari-Liis", Surname: "O'Brien Straße"}
		}, "person"},
		{"without QcType", func(t *testing.T, d *desk) { r := good(); r.NoType = true; d.issue(t, r) }, "QcType"},
		{"with digitalSignature, too", func(t *testing.T, d *desk) {
			r := good()
			r.Change = func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature }
			d.issue(t, r)
		}, "key usage"},
		{"RSA of 2048 bits", func(t *testing.T, d *desk) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			r := good()
			r.Key = must(t, key, err).Public()
			d.issue(t, r)
		}, "algorithm"},
		{"a device, says the list", func(t *testing.T, d *desk) {
			listed("QCWithQSCD")(t, d)
			r := good()
			r.NoQSCD = true
			d.issue(t, r)
		}, ""},
		{"a device of the provider, says the list", func(t *testing.T, d *desk) {
			listed("QCQSCDManagedOnBehalf")(t, d)
			r := good()
			r.NoQSCD = true
			d.issue(t, r)
		}, ""},
		{"qualified, says the list", func(t *testing.T, d *desk) {
			listed("QCStatement", "QCForESig", "QCWithQSCD")(t, d)
			r := good()
			r.NoStatements = true
			d.issue(t, r)
		}, ""},
		{"by a list of revocations", func(t *testing.T, d *desk) {
			der, err := d.CRL()
			d.c.OCSPs, d.c.CRLs = nil, [][]byte{must(t, der, err)}
		}, ""},
		{"revoked later", func(t *testing.T, d *desk) {
			d.Revoke(d.c.Leaf, now.Add(-time.Minute))
			good := d.c.OCSPs
			d.answer(t)
			d.c.OCSPs = append(d.c.OCSPs, good...)
			d.at = now.Add(-time.Hour)
		}, "revocation"},
		{"short-lived, without revocation data", func(t *testing.T, d *desk) {
			r := good()
			r.Change = func(c *x509.Certificate) {
				c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{0, 4, 0, 194121, 2, 1}, Value: []byte{5, 0}})
			}
			d.issue(t, r)
			d.c.OCSPs = nil
		}, "revocation"},
		{"without its issuers", func(t *testing.T, d *desk) { d.c.Issuers = nil }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, good())
			c.do(t, d)
			r, err := d.policy.Accept(d.c, d.at)
			if err != nil {
				t.Fatal(err)
			}
			checkReport(t, r, nil)
			for _, check := range r.Checks {
				if (check.Outcome == qualified.Noted) != (check.Name == c.noted) {
					t.Errorf("%+v", check)
				}
			}
			if r.Entry.Territory != "EE" || len(r.Checks) < 9 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// The organisation's qualified seal.
func TestSeal(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*qualifiedtest.Request)
		want   qualified.Reason
	}{
		{"eseal", func(r *qualifiedtest.Request) { r.Seal, r.Organisation = true, "Corp Ltd" }, ""},
		{"esign", func(r *qualifiedtest.Request) {}, qualified.NotForSeal},
		{"no type", func(r *qualifiedtest.Request) { r.NoType = true }, qualified.NotForSeal},
		{"no device", func(r *qualifiedtest.Request) { r.Seal, r.NoQSCD = true, true }, qualified.NoQSCD},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good()
			c.change(&r)
			d := newDesk(t, r)
			d.policy.Purpose = qualified.ForSeal
			d.c.Person = qualified.Person{}
			if _, err := d.policy.Accept(d.c, now); reason(err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Path leads to what revocation data is gathered for.
func TestPath(t *testing.T) {
	d := newDesk(t, good())
	path, err := d.policy.Path(d.c.Leaf, d.c.Issuers, now)
	if err != nil || len(path) != 2 || !path[1].Equal(d.CA) {
		t.Errorf("%d certificates, %v", len(path), err)
	}
	d.union.Lists[0].Services[0] = trustlisttest.Service{CA: d.Root, State: trustlisttest.State{Purposes: []string{"RootCA-QC", "ForeSignatures"}}}
	d.sign(t)
	if path, err = d.policy.Path(d.c.Leaf, d.c.Issuers, now); err != nil || len(path) != 3 || !path[2].Equal(d.Root) {
		t.Errorf("%d certificates, %v", len(path), err)
	}
	// The issuing authority now needs an answer of its own, and has none.
	if _, err := d.policy.Accept(d.c, now); reason(err) != qualified.RevocationUnknown {
		t.Errorf("got %v", err)
	}
}

// foreign is a Trust whose errors are none of package trustlist.
type foreign struct{}

func (foreign) Vouch(*x509.Certificate, []*x509.Certificate, time.Time) (*trustlist.Entry, error) {
	return nil, errors.New("broken")
}

func TestForeignTrust(t *testing.T) {
	d := newDesk(t, good())
	d.policy.Trust = foreign{}
	if _, err := d.policy.Accept(d.c, now); reason(err) != qualified.UntrustedService {
		t.Errorf("got %v", err)
	}
}

// Own anchors: no list is asked, and the report says so.
func TestOwnAnchors(t *testing.T) {
	d := newDesk(t, good())
	r := good()
	r.Countries = []string{"CH"}
	d.issue(t, r)
	d.policy.Trust = anchor{d.CA}
	report, err := d.policy.Accept(d.c, now)
	if err != nil || !report.Entry.Own {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(report.Checks, func(c qualified.Check) bool {
		return c.Name == "trusted service" && c.Outcome == qualified.Noted && strings.Contains(c.Detail, "no trusted list")
	}) || !slices.ContainsFunc(report.Checks, func(c qualified.Check) bool {
		return c.Name == "QcCompliance" && c.Outcome == qualified.Noted && strings.Contains(c.Detail, "CH")
	}) {
		t.Errorf("%+v", report.Checks)
	}
}

type anchor struct{ ca *x509.Certificate }

func (a anchor) Vouch(*x509.Certificate, []*x509.Certificate, time.Time) (*trustlist.Entry, error) {
	return &trustlist.Entry{Anchor: a.ca, Own: true, Service: a.ca.Subject.CommonName}, nil
}
