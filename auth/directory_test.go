package auth_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"milterd/auth"
	"milterd/directory"
	"milterd/directory/ldaptest"
	"milterd/workflow"
)

// lockout makes slapd lock an account after five wrong passwords (slapo-ppolicy).
const lockout = `moduleload ppolicy
overlay ppolicy
ppolicy_default "cn=policy,ou=services,` + ldaptest.Base + `"
`

const policy = `dn: cn=policy,ou=services,` + ldaptest.Base + `
objectClass: applicationProcess
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 5

`

// A real directory says yes and no, is away and comes back, and does not lock
// John out although somebody who reads his mail guesses all day.
func TestPasswordInLDAP(t *testing.T) {
	s := ldaptest.StartWith(t, ldaptest.Options{Config: lockout, LDIF: policy +
		ldaptest.Person("john", "John Doe", "john.doe@corp.test", "userPassword: john's word") +
		ldaptest.Person("jane", "Jane Roe", "jane@corp.test", "userPassword: jane's word")})
	people, err := directory.OpenLDAP(directory.LDAPConfig{Servers: []string{s.TLSURL}, CA: s.CA, BindDN: s.BindDN, PasswordFile: s.PasswordFile,
		Base: ldaptest.People, Filter: "(objectClass=person)", Addresses: []string{"mail"}, Logins: []string{"uid"}, Name: "cn",
		Language: "preferredLanguage", Certificate: "userCertificate;binary", GroupFilter: "(objectClass=groupOfNames)",
		GroupAddresses: []string{"mail"}, Member: "member", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	d.Passwords = people
	n := d.begin(t, d.john)
	_, r := d.password(d.john, n.Handle, "jane's word")
	want(t, "somebody else's", r, "wrong-password")

	s.Stop()
	for range auth.DefaultPasswordTries + 1 {
		_, r = d.password(d.john, n.Handle, "john's word")
		want(t, "away", r, "directory-away")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // a server that was away rests for a second
	n, r = d.password(d.john, n.Handle, "john's word")
	want(t, "back", r, "")
	c, _, r := d.register(t, d.john, n.Handle, d.device)
	want(t, "register", r, "")
	want(t, "approved by", c.ApprovedBy, "directory password")

	guesses := 0
	for range 10 {
		n := d.begin(t, d.john)
		if _, r := d.password(d.john, n.Handle, "guess"); r == "wrong-password" {
			guesses++
		}
		if err := d.Store.Do(t.Context(), func(tx workflow.Tx) error { return tx.EndCeremony(n.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	if guesses != 2 { // the first one, of above, counts
		t.Errorf("%d guesses reached the directory", guesses)
	}
	if err := s.Change(func(c *ldap.Conn) error { return c.Bind(ldaptest.DN("john"), "john's word") }); err != nil {
		t.Errorf("John is locked out: %v", err)
	}
	// It would have locked him.
	for range 5 {
		if err := s.Change(func(c *ldap.Conn) error { return c.Bind(ldaptest.DN("john"), "guess") }); err == nil {
			t.Error("a guess is right")
		}
	}
	if err := s.Change(func(c *ldap.Conn) error { return c.Bind(ldaptest.DN("john"), "john's word") }); err == nil {
		t.Error("this directory locks nobody out, so the test shows nothing")
	}
}
