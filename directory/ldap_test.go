package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/language"

	"milterd/directory/ldaptest"
	"milterd/workflow"
)

// staff is who stands in most of the tests' servers.
var staff = ldaptest.Person("jane", "Jane Roe", "Jane.Roe@Corp.Test", "preferredLanguage: de-at, en;q=0.5",
	"proxyAddresses: smtp:jroe@corp.test", "proxyAddresses: SIP:sip@corp.test", "proxyAddresses: X500:/o=corp@x500") +
	ldaptest.Person("john", "John Doe", "john.doe@corp.test") +
	ldaptest.Person("ad", "A D User", "", "proxyAddresses: smtp:old@corp.test", "proxyAddresses: SMTP:ad.user@corp.test") +
	ldaptest.Person("john2", "John Doe the other", "john.doe@other.test") +
	ldaptest.Person("robot", "No Mail", "") +
	ldaptest.Person("star", "Star", "a*b@corp.test") +
	ldaptest.Person("paren", "Paren", "paren@corp.test", `uid: (x)\y`, "proxyAddresses: smtp:jörg@corp.test") +
	ldaptest.Person("broken", "Broken", "no address") +
	ldaptest.Person("jroe", "Another with a login like an address", "other@corp.test")

// config is what an administrator would write for a server.
func config(s *ldaptest.Server) LDAPConfig {
	return LDAPConfig{Servers: []string{s.URL}, StartTLS: true, CA: s.CA, BindDN: s.BindDN, PasswordFile: s.PasswordFile,
		Base: ldaptest.People, Filter: "(objectClass=person)", Addresses: []string{"mail", "proxyAddresses"}, Logins: []string{"uid"},
		Name: "cn", Language: "preferredLanguage", Certificate: "userCertificate;binary", GivenName: "givenName", Surname: "sn",
		GroupBase: ldaptest.Groups, GroupFilter: "(objectClass=groupOfNames)", GroupAddresses: []string{"mail", "proxyAddresses"}, Member: "member"}
}

func openLDAP(t *testing.T, c LDAPConfig) *LDAP {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	l, err := OpenLDAP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.now.Load().servers.close() })
	return l
}

func ask(t *testing.T, d Directory, by, key string) (workflow.Person, error) {
	t.Helper()
	switch by {
	case "address":
		return d.ByAddress(t.Context(), key)
	case "local":
		return d.ByLocalPart(t.Context(), key)
	}
	return d.ByLogin(t.Context(), key)
}

func TestLDAP(t *testing.T) {
	s := ldaptest.Start(t, staff)
	jane := workflow.Person{Mail: "Jane.Roe@corp.test", Name: "Jane Roe", Language: "de-AT"}
	john := workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "en"}
	ad := workflow.Person{Mail: "ad.user@corp.test", Name: "A D User", Language: "en"}
	none := workflow.Person{}
	cases := []struct {
		by, key string
		want    workflow.Person
		err     error
	}{
		{"address", "jane.roe@corp.test", jane, nil},
		{"address", "JROE@corp.test", jane, nil},
		{"address", "sip@corp.test", none, ErrNotFound},
		{"address", "smtp:jroe@corp.test", none, ErrNotFound},
		{"address", "jane@corp.test", none, ErrNotFound},
		{"address", "old@corp.test", ad, nil},
		{"address", "no address", none, ErrNotFound},
		{"local", "jane.roe", jane, nil},
		{"local", "JANE", jane, nil}, // her uid
		{"local", "jane.ro", none, ErrNotFound},
		{"local", "ad.user", ad, nil},
		{"local", "john", john, nil},
		{"local", "john.doe", none, ErrAmbiguous}, // two mail domains
		{"local", "jroe", none, ErrAmbiguous},     // an address of one, the login of another
		{"local", "robot", none, ErrNotFound},     // nobody can write to it
		{"local", "sip", none, ErrNotFound},
		{"local", "broken", none, ErrNotFound},
		{"login", "jane", jane, nil},
		{"login", "jane.roe", none, ErrNotFound},
		{"login", "jane@corp.test", none, ErrNotFound},
		{"login", "robot", none, ErrNotFound},
	}
	for _, way := range []string{"ldaps", "starttls", "plain"} {
		c := config(s)
		switch way {
		case "ldaps":
			c.Servers = []string{s.TLSURL}
		case "plain":
			c.StartTLS, c.CA = false, ""
		}
		l := openLDAP(t, c)
		for _, c := range cases {
			got, err := ask(t, l, c.by, c.key)
			if got != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("%s: by %s %q: got %v, %v, want %v, %v", way, c.by, c.key, got, err, c.want, c.err)
			}
		}
	}
}

// attacks are keys that would find somebody if a server took them as part of a
// filter or compared them by its own rules.
var attacks = []string{
	"*", "j*", "*)(uid=*", "*)(uid=*))(|(uid=*", "jane)(|(uid=*", "jane*", "*jane", "jane\x00", "\x00", "jane)", "(jane", `jane\`, `\2a`, `\6aane`,
	"a", "", " ", " jane", "jane ", "ja ne", "jane\r\n", "jane\u00a0", "\u212aim", "K\u0130M", "ｊａｎｅ", "jane\u200b", "jane\u00ad", "j\u0430ne", "jane\xff", "\xc3\x28",
	"jane@corp.test)(uid=*", "jane.roe@corp.test*", "jane.roe@*", "*@corp.test", "jane.roe @corp.test", "jane.roe@corp.test\x00",
	strings.Repeat("a", 64), strings.Repeat("(", 255), strings.Repeat("*", 256), strings.Repeat("ä", 100), strings.Repeat("a", 1<<20),
	"smtp:jroe", "smtp", "mail", "@", "jane@", "@corp.test", "jane@corp.test@corp.test",
}

// TestInjection: no attack finds anybody or disturbs the server, and what only
// looks like one finds whom it names.
func TestInjection(t *testing.T) {
	s := ldaptest.Start(t, staff)
	l := openLDAP(t, config(s))
	for _, by := range []string{"address", "local", "login"} {
		for _, key := range attacks {
			if p, err := ask(t, l, by, key); !errors.Is(err, ErrNotFound) {
				t.Errorf("by %s %.40q: got %v, %v", by, key, p, err)
			}
			if _, err := l.Group(t.Context(), key); !errors.Is(err, ErrNotFound) {
				t.Errorf("group %.40q: %v", key, err)
			}
		}
	}
	for by, key := range map[string]string{"address": "JÖRG@corp.test", "local": "a*b", "login": `(X)\y`} {
		if _, err := ask(t, l, by, key); err != nil {
			t.Errorf("by %s %q: %v", by, key, err)
		}
	}
	if p, err := l.ByLogin(t.Context(), "jane"); err != nil || p.Name != "Jane Roe" {
		t.Errorf("after the attacks: %v, %v", p, err)
	}
	// What cannot be anybody's is not even asked.
	s.Stop()
	for _, key := range []string{"", " ", "jane\x00", "jane\r\n.", "jane\xff", strings.Repeat("a", maxKey+1)} {
		if _, err := l.ByLogin(t.Context(), key); !errors.Is(err, ErrNotFound) {
			t.Errorf("%.40q was asked: %v", key, err)
		}
	}
}

// TestCache: an answer is kept for the configured time and no longer, a no for
// half a minute, and a failure not at all.
func TestCache(t *testing.T) {
	s := ldaptest.Start(t, staff)
	c := config(s)
	c.Cache = 5 * time.Minute
	l := openLDAP(t, c)
	var later time.Duration
	l.now.Load().people.clock = func() time.Time { return time.Now().Add(later) }
	name := func(login string) string {
		t.Helper()
		p, err := l.ByLogin(t.Context(), login)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		return p.Name
	}
	if a, b := name("jane"), name("newcomer"); a != "Jane Roe" || b != "" {
		t.Fatalf("got %q, %q", a, b)
	}
	change := func(f func(*ldap.Conn) error) {
		t.Helper()
		if err := s.Change(f); err != nil {
			t.Fatal(err)
		}
	}
	change(func(c *ldap.Conn) error {
		m := ldap.NewModifyRequest(ldaptest.DN("jane"), nil)
		m.Replace("cn", []string{"Jane Married"})
		a := ldap.NewAddRequest(ldaptest.DN("newcomer"), nil)
		a.Attribute("objectClass", []string{"inetOrgPerson"})
		a.Attribute("cn", []string{"New Comer"})
		a.Attribute("sn", []string{"Comer"})
		a.Attribute("mail", []string{"new@corp.test"})
		return errors.Join(c.Modify(m), c.Add(a))
	})
	for _, step := range []struct {
		after         time.Duration
		jane, another string
	}{
		{0, "Jane Roe", ""},
		{29 * time.Second, "Jane Roe", ""},
		{31 * time.Second, "Jane Roe", "New Comer"},
		{4*time.Minute + 59*time.Second, "Jane Roe", "New Comer"},
		{5*time.Minute + time.Second, "Jane Married", "New Comer"},
	} {
		later = step.after
		if a, b := name("jane"), name("newcomer"); a != step.jane || b != step.another {
			t.Errorf("after %v: got %q, %q, want %q, %q", later, a, b, step.jane, step.another)
		}
	}
	change(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(ldaptest.DN("newcomer"), nil)) })
	if name("newcomer") != "New Comer" {
		t.Error("not kept")
	}
	if err := l.Reload(); err != nil {
		t.Fatal(err)
	}
	if name("newcomer") != "" {
		t.Error("kept across a reload")
	}
	s.Stop()
	begin := time.Now()
	_, err := l.ByLogin(t.Context(), "star")
	temporary(t, "stopped", begin, err)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause + 100*time.Millisecond)
	if name("star") != "Star" {
		t.Error("a failure was kept")
	}
}

// TestPoison: no way to write a name that is not that name makes its bearer
// unknown to those who ask after.
func TestPoison(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("kim", "Kim", "kim@corp.test"))
	c := config(s)
	c.Cache = time.Minute
	l := openLDAP(t, c)
	for _, key := range []string{"\u212aim", "K\u0130M", "kim ", " kim", "kim\u00a0", "kim\t", "k\u00adim", "ｋｉｍ", "kim\x00"} {
		for _, by := range []string{"login", "local"} {
			if p, err := ask(t, l, by, key); !errors.Is(err, ErrNotFound) {
				t.Errorf("by %s %q: got %v, %v", by, key, p, err)
			}
		}
		l.ByAddress(t.Context(), key+"@corp.test")
		l.Group(t.Context(), key)
	}
	for by, key := range map[string]string{"login": "KIM", "local": "Kim", "address": "kIM@CORP.test"} {
		if p, err := ask(t, l, by, key); err != nil || p.Name != "Kim" {
			t.Errorf("by %s %q: got %v, %v", by, key, p, err)
		}
	}
}

// TestCacheBounded: a stranger's thousand words push nothing beyond the limit.
func TestCacheBounded(t *testing.T) {
	a := newAnswers(time.Hour, 10)
	for i := range 1000 {
		kept(t.Context(), a, fmt.Sprint(i), func(context.Context) (int, error) { return i, ErrNotFound })
	}
	if n := a.kept.Len(); n != 10 {
		t.Errorf("%d answers are kept, want 10", n)
	}
}

// TestOnce: a hundred equal questions at a time go to the server once.
func TestOnce(t *testing.T) {
	s := ldaptest.Start(t, staff)
	l := openLDAP(t, config(s)) // no cache
	if _, err := l.ByLogin(t.Context(), "jane"); err != nil {
		t.Fatal(err)
	}
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if p, err := l.ByLogin(t.Context(), "john"); err != nil || p.Name != "John Doe" {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	if n := len(l.now.Load().servers.slots); n != 1 {
		t.Errorf("%d questions are under way, want 1", n)
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// TestNames: what people write into the directory themselves stays one
// printable line.
func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"Jane Roe":                      "Jane Roe",
		"  Jane \t\r\n Roe ":            "Jane Roe",
		"Jane\u202eeoR":                 "JaneeoR",
		"Jane\x00\x1b[31m Roe":          "Jane[31m Roe",
		"می\u200cخواهم":                 "می\u200cخواهم",
		"":                              "jane@corp.test",
		"\u200b\u2060":                  "jane@corp.test",
		strings.Repeat("Jane Roe ", 30): "jane@corp.test",
	} {
		if got := printable(in, "jane@corp.test"); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestLanguages(t *testing.T) {
	for in, want := range map[string]string{
		"": "en", "de": "de", "DE": "de", "fr-CA": "fr-CA", "fr, en-gb;q=0.8, en;q=0.7": "fr", "en;q=0.2, de;q=0.9": "de",
		"*": "en", "*, nl": "nl", "deutsch (german)": "en", "zz-!": "en", strings.Repeat("a-", 500): "en", "x-klingon": "en",
	} {
		if got := preferred(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestCertificates: they come as they are, whatever option the server's name for them has.
func TestCertificates(t *testing.T) {
	s := ldaptest.Start(t, staff)
	b, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	der := pemBytes(t, b)
	if err := s.Change(func(c *ldap.Conn) error {
		m := ldap.NewModifyRequest(ldaptest.DN("jane"), nil)
		m.Add("userCertificate;binary", []string{string(der)})
		return c.Modify(m)
	}); err != nil {
		t.Fatal(err)
	}
	l := openLDAP(t, config(s))
	got, err := l.Identity(t.Context(), "jroe@corp.test")
	if err != nil || len(got.Certificates) != 1 || !bytes.Equal(got.Certificates[0], der) || got.Surname == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := l.Identity(t.Context(), "john.doe@corp.test"); err != nil || len(got.Certificates) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestLDAPSettings: a wrong setting is told at start, with its field.
func TestLDAPSettings(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := LDAPConfig{Servers: []string{"ldaps://ldap.corp.test"}, Base: "dc=corp", Filter: "(a=b)", GroupFilter: "(a=b)",
		Addresses: []string{"mail"}, Logins: []string{"uid"}, Name: "cn", Language: "l", Certificate: "c;binary", GivenName: "givenName", Surname: "sn", Member: "member"}
	if _, err := OpenLDAP(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*LDAPConfig){
		`directory.ldap.base: "people" is no distinguished name`:               func(c *LDAPConfig) { c.Base = "people" },
		`directory.ldap.group_base: "groups" is no distinguished name`:         func(c *LDAPConfig) { c.GroupBase = "groups" },
		`directory.ldap.filter: "(a=b" is no filter`:                           func(c *LDAPConfig) { c.Filter = "(a=b" },
		`directory.ldap.group_filter: "" is no filter`:                         func(c *LDAPConfig) { c.GroupFilter = "" },
		`directory.ldap.logins: "uid)(a=*" is no attribute name`:               func(c *LDAPConfig) { c.Logins = []string{"uid)(a=*"} },
		`directory.ldap.password_file: open ` + dir:                            func(c *LDAPConfig) { c.PasswordFile = filepath.Join(dir, "none") },
		`directory.ldap.password_file: ` + empty + ` is empty`:                 func(c *LDAPConfig) { c.PasswordFile = empty },
		`directory.ldap.ca: ` + empty + ` holds no PEM certificate`:            func(c *LDAPConfig) { c.CA = empty },
		`directory.ldap.servers: "http://ldap" is no server`:                   func(c *LDAPConfig) { c.Servers = []string{"http://ldap"} },
		`directory.ldap: servers, addresses and logins may not be empty`:       func(c *LDAPConfig) { c.Addresses = nil },
		`directory.ldap.certificate: "certificate binary" is no attribute nam`: func(c *LDAPConfig) { c.Certificate = "certificate binary" },
	} {
		c := good
		change(&c)
		if _, err := OpenLDAP(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// FuzzFilter: whatever a key is, the filter made of it has the same form, and
// its values are the key.
func FuzzFilter(f *testing.F) {
	for _, a := range attacks {
		if len(a) < 1000 {
			f.Add(a)
		}
	}
	seeds, err := filepath.Glob("testdata/fuzz/FuzzFilter/*")
	if err != nil || len(seeds) < 5 {
		f.Fatalf("seeds are missing: %d, %v", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if !askable(key) {
			return
		}
		attributes := []string{"mail", "proxyAddresses"}
		for _, filter := range []string{addressFilter(attributes, key), "(|" + localPartFilter(attributes, key) + equal([]string{"uid"}, key) + ")"} {
			packet, err := ldap.CompileFilter("(&(objectClass=person)" + filter + ")")
			if err != nil {
				t.Fatalf("%q: %v", key, err)
			}
			var leaves []string
			for _, term := range flatten(packet) {
				leaves = append(leaves, term)
			}
			want := []string{"equal objectClass person", "equal mail " + key, "equal proxyAddresses " + key,
				"equal mail smtp:" + key, "equal proxyAddresses smtp:" + key}
			if len(leaves) != 5 || strings.Contains(leaves[1], "initial") {
				want = []string{"equal objectClass person", "initial mail " + key + "@", "initial mail smtp:" + key + "@",
					"initial proxyAddresses " + key + "@", "initial proxyAddresses smtp:" + key + "@", "equal uid " + key}
			}
			if !slices.Equal(leaves, want) {
				t.Fatalf("%q became %q", key, leaves)
			}
		}
	})
}

// FuzzRecord: whatever stands in an entry, a person has an address that is
// among hers, a name that prints on one line, and a language.
func FuzzRecord(f *testing.F) {
	f.Add("Jane@Corp.test", "SMTP:j@corp.test", "Jane Roe", "de, en;q=0.5")
	f.Add("smtp:a@b", "X500:/o=a@b", "a\u202eb", "*")
	seeds, err := filepath.Glob("testdata/fuzz/FuzzRecord/*")
	if err != nil || len(seeds) < 3 {
		f.Fatalf("seeds are missing: %d, %v", len(seeds), err)
	}
	l := &LDAP{config: LDAPConfig{Addresses: []string{"mail", "proxyAddresses"}, Logins: []string{"uid"}, Name: "cn", Language: "preferredLanguage"}}
	f.Fuzz(func(t *testing.T, mail, proxy, name, lang string) {
		r, ok := l.record(ldap.NewEntry("uid=x", map[string][]string{"mail": {mail, proxy}, "proxyAddresses": {proxy}, "cn": {name}, "preferredLanguage": {lang}}))
		if !ok {
			return
		}
		p := r.person
		if !r.owns(fold(p.Mail)) || !r.hasLocalPart(localPart(fold(p.Mail))) || !askable(p.Mail) {
			t.Errorf("%q is not among %q", p.Mail, r.addresses)
		}
		if p.Name == "" || len(p.Name) > maxKey || strings.ContainsFunc(p.Name, unicode.IsControl) {
			t.Errorf("name %q", p.Name)
		}
		if _, err := language.Parse(p.Language); err != nil {
			t.Errorf("language %q: %v", p.Language, err)
		}
	})
}

func ExampleGroupName() {
	fmt.Println(GroupName("CN=Board, OU=Groups, DC=corp"))
	// Output: cn=board,ou=groups,dc=corp
}
