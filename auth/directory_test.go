package auth_test

import (
	"context"
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

// patient asks again while a server that runs has not answered: on a busy machine
// the three seconds of directory.Limit may be too few, and what is then said and
// counted (see TestPasswordWhileDirectoryIsAway) is not what is tested here.
type patient struct {
	auth.Passwords
	away bool // the server does not run
}

func (p *patient) CheckPassword(ctx context.Context, mail, password string) (right, asked bool, err error) {
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		right, asked, err = p.Passwords.CheckPassword(ctx, mail, password)
		if err == nil || p.away || time.Now().After(end) {
			return right, asked, err
		}
	}
}

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
	passwords := &patient{Passwords: people}
	d.Passwords = passwords
	// login says whether the directory takes John's password; that it has not answered is neither yes nor no.
	login := func(password string) (right bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			err := s.Change(func(c *ldap.Conn) error { return c.Bind(ldaptest.DN("john"), password) })
			if err == nil || ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
				return err == nil
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	n := d.begin(t, d.john)
	_, r := d.password(d.john, n.Handle, "jane's word")
	want(t, "somebody else's", r, "wrong-password")

	s.Stop()
	passwords.away = true
	for range auth.DefaultPasswordTries + 1 {
		_, r = d.password(d.john, n.Handle, "john's word")
		want(t, "away", r, "directory-away")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	passwords.away = false
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
	if !login("john's word") {
		t.Error("John is locked out")
	}
	// It would have locked him.
	for range 5 {
		if login("guess") {
			t.Error("a guess is right")
		}
	}
	if login("john's word") {
		t.Error("this directory locks nobody out, so the test shows nothing")
	}
}
