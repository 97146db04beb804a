package trustlist_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki/qualified/qualifiedtest"
	"milterd/pki/trustlist"
	"milterd/pki/trustlist/trustlisttest"
	"milterd/signature/xades"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// must is for what only fails where the test itself is wrong.
func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// desk is a provider, a certificate of it, and lists in a folder.
type desk struct {
	*qualifiedtest.Provider
	leaf   *x509.Certificate
	union  *trustlisttest.Union
	folder string
	config trustlist.Config
}

func newDesk(t testing.TB, services ...trustlisttest.Service) *desk {
	t.Helper()
	d := &desk{folder: t.TempDir()}
	var err error
	d.Provider, err = qualifiedtest.New(clock, "")
	must(t, 0, err)
	id, err := d.Issue(qualifiedtest.Request{GivenName: "Mari", Surname: "Maasikas"})
	d.leaf = must(t, id, err).Cert
	if services == nil {
		services = []trustlisttest.Service{d.Service()}
	}
	for i := range services {
		if services[i].CA == nil && services[i].SKI == nil {
			services[i].CA = d.CA
		}
	}
	d.union, err = trustlisttest.Make(now, "", trustlisttest.List{Territory: "EE", Sequence: 7, Services: services})
	must(t, 0, err)
	d.write(t)
	return d
}

func (d *desk) write(t testing.TB) {
	t.Helper()
	must(t, 0, d.union.Write(d.folder))
	d.config = trustlist.Config{Folder: d.folder, Signers: d.union.Trusted(), Now: clock}
}

// sign makes the files anew after a change.
func (d *desk) sign(t testing.TB) {
	t.Helper()
	must(t, 0, d.union.Sign(now))
	d.write(t)
}

func (d *desk) open(t testing.TB) *trustlist.Lists {
	t.Helper()
	l, err := trustlist.Open(d.config)
	return must(t, l, err)
}

func reason(err error) trustlist.Reason {
	var e *trustlist.Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Reason
}

func TestVouch(t *testing.T) {
	d := newDesk(t)
	e, err := d.open(t).Vouch(d.leaf, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if !e.Anchor.Equal(d.CA) || e.Territory != "EE" || e.Provider != "Test TSP" || e.Service != d.CA.Subject.CommonName || e.Status != trustlist.Granted ||
		e.Sequence != 7 || len(e.List) != 64 || len(e.Purposes) != 2 || e.Since.IsZero() || e.Own {
		t.Errorf("entry %+v", e)
	}
	other := must(t, d.Provider, nil)
	stranger, err := qualifiedtest.New(clock, "")
	must(t, 0, err)
	id, err := stranger.Issue(qualifiedtest.Request{GivenName: "Mari", Surname: "Maasikas"})
	// The stranger's authorities have the names of the listed ones, and other keys.
	if _, err := d.open(t).Vouch(must(t, id, err).Cert, []*x509.Certificate{stranger.CA, stranger.Root, other.CA}, now); reason(err) != trustlist.Untrusted {
		t.Errorf("a stranger: %v", err)
	}
	// The listed authority's key under another name, which the list does not know.
	c := *d.CA
	c.Subject, c.RawSubject, c.SerialNumber = pkix.Name{CommonName: "Other use of the key"}, nil, big.NewInt(99)
	der, err := x509.CreateCertificate(rand.Reader, &c, d.Root, d.CAKey.Public(), d.RootKey)
	must(t, der, err)
	d.CA, err = x509.ParseCertificate(der)
	must(t, 0, err)
	id, err = d.Issue(qualifiedtest.Request{GivenName: "Mari", Surname: "Maasikas"})
	if _, err := d.open(t).Vouch(must(t, id, err).Cert, []*x509.Certificate{d.CA}, now); reason(err) != trustlist.Untrusted {
		t.Errorf("another name: %v", err)
	}
}

// What makes a list not count, for both kinds of list.
func TestListsThatDoNotCount(t *testing.T) {
	replaced := func(from, to string) func(*testing.T, *desk, string) {
		return func(t *testing.T, d *desk, file string) {
			if !bytes.Contains(d.union.Files[file], []byte(from)) {
				t.Fatalf("%s has no %q", file, from)
			}
			d.union.Files[file] = bytes.Replace(d.union.Files[file], []byte(from), []byte(to), 1)
		}
	}
	change := func(change func(*trustlisttest.List)) func(*testing.T, *desk, string) {
		return func(t *testing.T, d *desk, file string) {
			if file == "EU.xml" {
				change(&d.union.LOTL)
			} else {
				change(&d.union.Lists[0])
			}
			must(t, 0, d.union.Sign(now))
		}
	}
	for _, c := range []struct {
		name string
		do   func(*testing.T, *desk, string)
		want trustlist.Reason
	}{
		{"as it is", func(*testing.T, *desk, string) {}, ""},
		{"a byte changed", replaced(`<Name xml:lang="en">Test`, `<Name xml:lang="en">Tost`), trustlist.ListTampered},
		{"an element added", replaced(`</TrustServiceStatusList>`, `<More/></TrustServiceStatusList>`), trustlist.ListTampered},
		{"an instruction before the root", replaced(`<TrustServiceStatusList`, `<?xml-stylesheet href="x"?><TrustServiceStatusList`), trustlist.ListTampered},
		{"without a signature", func(t *testing.T, d *desk, file string) {
			raw := d.union.Files[file]
			from, to := bytes.Index(raw, []byte("<ds:Signature ")), bytes.Index(raw, []byte("</ds:Signature>"))
			d.union.Files[file] = append(bytes.Clone(raw[:from]), raw[to+len("</ds:Signature>"):]...)
		}, trustlist.ListTampered},
		{"signed by somebody else", func(t *testing.T, d *desk, file string) {
			other, err := trustlisttest.NewSigner("Signer of the list EE", now)
			must(t, 0, err)
			l := d.union.Lists[0]
			if file == "EU.xml" {
				l = trustlisttest.List{Territory: "EU", Pointers: []trustlisttest.Pointer{{Territory: "EE", Location: "https://lists.test/", Signers: []*x509.Certificate{d.union.Signers["EE"].Cert}}}}
			}
			raw, err := other.Sign(l.XML(now), now)
			d.union.Files[file] = must(t, raw, err)
		}, trustlist.ListTampered},
		{"signed twice", func(t *testing.T, d *desk, file string) {
			raw, err := d.union.Signers["EE"].Sign(d.union.Files[file], now)
			d.union.Files[file] = must(t, raw, err)
		}, trustlist.ListTampered},
		{"its signature elsewhere", func(t *testing.T, d *desk, file string) {
			rest, signature := cut(t, string(d.union.Files[file]))
			d.union.Files[file] = []byte(strings.Replace(rest, "</SchemeInformation>", signature+"</SchemeInformation>", 1))
		}, trustlist.ListTampered},
		{"the signature's value changed", func(t *testing.T, d *desk, file string) {
			raw := d.union.Files[file]
			i := bytes.Index(raw, []byte(`-v">`)) + 10
			raw[i] = map[bool]byte{true: 'B', false: 'A'}[raw[i] == 'A']
		}, trustlist.ListTampered},
		{"the time of signing changed", replaced(`<xades:SigningTime>2026-`, `<xades:SigningTime>2025-`), trustlist.ListTampered},
		{"wrapped, and signed by identifier", func(t *testing.T, d *desk, file string) {
			if byID(t, d, file); open(t, d) != nil {
				t.Fatal("the list as it was signed does not count")
			}
			wrap(true)(t, d, file)
		}, trustlist.ListTampered},
		{"wrapped in another list", wrap(false), trustlist.ListTampered},
		{"wrapped, with its signature below the root", wrap(true), trustlist.ListTampered},
		{"signed before its signer's certificate", func(t *testing.T, d *desk, file string) {
			l := d.union.Lists[0]
			if file == "EU.xml" {
				l = trustlisttest.List{Territory: "EU", Pointers: []trustlisttest.Pointer{{Territory: "EE", Location: "https://lists.test/", Signers: []*x509.Certificate{d.union.Signers["EE"].Cert}}}}
			}
			who := d.union.Signers[strings.TrimSuffix(file, ".xml")]
			raw := signedWhenever(t, who, l.XML(now))
			d.union.Files[file] = raw
		}, trustlist.ListTampered},
		{"another territory's", func(t *testing.T, d *desk, file string) {
			other := "EU.xml"
			if file == other {
				other = "EE.xml"
				d.config.Signers = []*x509.Certificate{d.union.Signers["EE"].Cert}
			} else {
				d.union.Signers["EE"] = d.union.Signers["EU"]
				must(t, 0, d.union.Sign(now))
			}
			d.union.Files[file] = d.union.Files[other]
		}, trustlist.ListTampered},
		{"out of date", change(func(l *trustlisttest.List) { l.Age, l.Life = 48*time.Hour, 47*time.Hour }), trustlist.ListExpired},
		{"closed", change(func(l *trustlisttest.List) { l.Closed = true }), trustlist.ListExpired},
		{"from the future", change(func(l *trustlisttest.List) { l.Age = -time.Hour }), trustlist.ListFromFuture},
		{"of another version", change(func(l *trustlisttest.List) { l.Version = 4 }), trustlist.ListMalformed},
		{"no XML", func(t *testing.T, d *desk, file string) { d.union.Files[file] = []byte("%PDF-1.7") }, trustlist.ListMalformed},
		{"with entities", replaced(`<TrustServiceStatusList`, `<!DOCTYPE x [<!ENTITY a "b">]><TrustServiceStatusList`), trustlist.ListMalformed},
		{"missing", func(t *testing.T, d *desk, file string) {
			delete(d.union.Files, file)
			must(t, 0, os.Remove(filepath.Join(d.folder, file)))
		}, trustlist.ListMissing},
	} {
		for _, file := range []string{"EU.xml", "EE.xml"} {
			t.Run(c.name+" "+file, func(t *testing.T) {
				d := newDesk(t)
				before := d.config.Signers
				c.do(t, d, file)
				signers := d.config.Signers
				d.write(t)
				if signers[0] != before[0] {
					d.config.Signers = signers
				}
				l := d.open(t)
				_, err := l.Vouch(d.leaf, nil, now)
				if reason(err) != c.want || (err == nil) != (c.want == "") {
					t.Errorf("got %v, want %q", err, c.want)
				}
				found := trustlist.Reason("")
				for _, s := range l.Status() {
					if s.Territory+".xml" == file {
						found = s.Reason
					}
				}
				if found != c.want {
					t.Errorf("status %q, want %q", found, c.want)
				}
			})
		}
	}
}

// wrap puts the signed list into an element of another one, whose services nobody
// signed: signature wrapping. The signature stays with its list, or moves to where it is looked for.
func wrap(move bool) func(*testing.T, *desk, string) {
	return func(t *testing.T, d *desk, file string) {
		raw := string(d.union.Files[file])
		_, signed, ok := strings.Cut(raw, "?>\n")
		if !ok {
			t.Fatal("no declaration")
		}
		signature := ""
		if move {
			signed, signature = cut(t, signed)
		}
		evil := d.union.Lists[0]
		if file == "EU.xml" {
			evil = trustlisttest.List{Territory: "EU", Pointers: []trustlisttest.Pointer{}}
		}
		out := string(evil.XML(now))
		out = strings.Replace(out, ` Id="list"`, ` Id="other"`, 1)
		d.union.Files[file] = []byte(strings.Replace(out, "</TrustServiceStatusList>", "<Object>"+signed+"</Object>"+signature+"</TrustServiceStatusList>", 1))
	}
}

// cut takes the signature out of a list.
func cut(t *testing.T, list string) (rest, signature string) {
	t.Helper()
	from, to := strings.Index(list, "<ds:Signature "), strings.Index(list, "</ds:Signature>")+len("</ds:Signature>")
	if from < 0 {
		t.Fatal("no signature")
	}
	return list[:from] + list[to:], list[from:to]
}

// byID signs a list anew, with a reference to the root's identifier (TS 119 612, annex B,
// allows it): its digest holds wherever the list is put.
func byID(t *testing.T, d *desk, file string) {
	t.Helper()
	list, _ := cut(t, string(d.union.Files[file]))
	who := d.union.Signers[strings.TrimSuffix(file, ".xml")]
	prep, err := xades.Envelope([]byte(list), xades.Params{Certificate: who.Cert, Time: now})
	must(t, prep, err)
	for _, part := range []*[]byte{&prep.Element, &prep.SignedInfo} {
		*part = bytes.Replace(*part, []byte(` URI=""`), []byte(` URI="#list"`), 1)
	}
	value, err := prep.SignWith(who.Key)
	must(t, value, err)
	element, err := prep.Finish(t.Context(), value, nil)
	must(t, element, err)
	out, err := xades.Put([]byte(list), element)
	d.union.Files[file] = must(t, out, err)
}

// open gives why nobody vouches for the desk's certificate, with the files as
// they are now.
func open(t *testing.T, d *desk) error {
	t.Helper()
	d.write(t)
	_, err := d.open(t).Vouch(d.leaf, nil, now)
	must(t, 0, os.Remove(filepath.Join(d.folder, "state.json")))
	return err
}

// signedWhenever signs with a certificate that was not valid yet.
func signedWhenever(t *testing.T, s *trustlisttest.Signer, list []byte) []byte {
	t.Helper()
	cert := *s.Cert
	cert.NotBefore = time.Time{} // the library would refuse to sign
	raw, err := (&trustlisttest.Signer{Cert: &cert, Key: s.Key}).Sign(list, now.AddDate(-5, 0, 0))
	return must(t, raw, err)
}

// A list that was seen keeps older ones out, also when the newer file is gone.
func TestRollback(t *testing.T) {
	d := newDesk(t)
	old := d.union.Files["EE.xml"]
	d.open(t)
	d.union.Lists[0].Sequence, d.union.Lists[0].Age = 8, 30*time.Minute
	d.sign(t)
	if e, err := d.open(t).Vouch(d.leaf, nil, now); err != nil || e.Sequence != 8 {
		t.Fatal(e, err)
	}
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "EE.xml"), old, 0o644))
	if _, err := d.open(t).Vouch(d.leaf, nil, now); reason(err) != trustlist.ListRolledBack {
		t.Errorf("an older number: %v", err)
	}
	d.union.Lists[0].Age = 2 * time.Hour
	d.sign(t)
	if _, err := d.open(t).Vouch(d.leaf, nil, now); reason(err) != trustlist.ListRolledBack {
		t.Errorf("the same number, issued earlier: %v", err)
	}
	must(t, 0, os.Remove(filepath.Join(d.folder, "state.json")))
	if _, err := d.open(t).Vouch(d.leaf, nil, now); err != nil {
		t.Errorf("the administrator started anew: %v", err)
	}
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "state.json"), []byte("{"), 0o644))
	if _, err := trustlist.Open(d.config); err == nil || !strings.Contains(err.Error(), "state.json") {
		t.Errorf("a damaged state: %v", err)
	}
}

// A list counts until its next update, also while the process runs.
func TestExpiresWhileOpen(t *testing.T) {
	d := newDesk(t)
	at := now
	d.config.Now = func() time.Time { return at }
	l := d.open(t)
	if _, err := l.Vouch(d.leaf, nil, at); err != nil {
		t.Fatal(err)
	}
	at = now.AddDate(0, 0, 91)
	if _, err := l.Vouch(d.leaf, nil, now); reason(err) != trustlist.ListExpired {
		t.Errorf("after the next update: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	d := newDesk(t)
	for name, change := range map[string]func(*trustlist.Config){
		"no signers":   func(c *trustlist.Config) { c.Signers = nil },
		"no folder":    func(c *trustlist.Config) { c.Folder += "x" },
		"no territory": func(c *trustlist.Config) { c.Territories = []string{"../EE"} },
	} {
		c := d.config
		change(&c)
		if _, err := trustlist.Open(c); err == nil {
			t.Error(name)
		}
	}
	d.config.Territories = []string{"LU"}
	if _, err := d.open(t).Vouch(d.leaf, nil, now); reason(err) != trustlist.Untrusted {
		t.Errorf("a territory that is not wanted: %v", err)
	}
}
