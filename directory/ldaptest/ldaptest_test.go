package ldaptest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// TestServer: it answers over TLS whom it knows, tells a stranger nothing,
// and comes back with its entries on the same ports.
func TestServer(t *testing.T) {
	s := Start(t, Person("jane", "Jane Roe", "jane.roe@corp.test")+Group("staff", "", DN("jane")))
	count := func(dn, password string) int {
		t.Helper()
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		c, err := ldap.DialURL(s.TLSURL, ldap.DialWithTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if dn != "" {
			if err := c.Bind(dn, password); err != nil {
				t.Fatal(err)
			}
		}
		r, err := c.Search(&ldap.SearchRequest{BaseDN: Base, Scope: ldap.ScopeWholeSubtree, Filter: "(|(uid=jane)(member=" + DN("jane") + "))"})
		if err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
			t.Fatal(err)
		}
		return len(r.Entries)
	}
	if n := count(BindDN, Password); n != 2 {
		t.Errorf("found %d entries, want 2", n)
	}
	if n := count("", ""); n != 0 {
		t.Errorf("a stranger found %d entries", n)
	}
	s.Kill()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(s.BindDN, s.Password); n != 2 {
		t.Errorf("after a restart: found %d entries, want 2", n)
	}
}
