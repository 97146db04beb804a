package directory

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"milterd/directory/ldaptest"
)

// withPasswords are people who can log in, and one who cannot.
var withPasswords = ldaptest.Person("jane", "Jane Roe", "Jane.Roe@Corp.Test", "userPassword: jane's word", "proxyAddresses: smtp:jroe@corp.test") +
	ldaptest.Person("john", "John Doe", "john.doe@corp.test", "userPassword: john's word") +
	ldaptest.Person("nopass", "No Password", "nopass@corp.test")

// check asks for a password and tells the answer in a word.
func check(t *testing.T, l *LDAP, addr, password string) string {
	t.Helper()
	begin := time.Now()
	right, asked, err := l.CheckPassword(t.Context(), addr, password)
	if took := time.Since(begin); took > Limit+slack {
		t.Errorf("it took %v", took)
	}
	if err != nil && strings.Contains(err.Error(), password) {
		t.Errorf("the error tells the password: %v", err)
	}
	switch {
	case right && asked && err == nil:
		return "right"
	case right:
		return fmt.Sprintf("right, %v, %v", asked, err)
	case err == nil && asked:
		return "wrong"
	case err == nil:
		return "no"
	case asked:
		return "unanswered"
	}
	return "away"
}

func TestCheckPassword(t *testing.T) {
	s := ldaptest.Start(t, withPasswords)
	for _, tls := range []bool{true, false} {
		c := config(s)
		c.StartTLS = tls
		l := openLDAP(t, c)
		for _, q := range [][3]string{
			{"jane.roe@corp.test", "jane's word", "right"},
			{"JROE@corp.test", "jane's word", "right"},
			{"jane.roe@corp.test", "john's word", "wrong"},
			{"jane.roe@corp.test", "Jane's word", "wrong"},
			{"jane.roe@corp.test", ldaptest.Password, "wrong"},
			{"jane.roe@corp.test", "", "no"}, // a server would say yes, to anonymous
			{"nopass@corp.test", "x", "wrong"},
			{"nobody@corp.test", "x", "no"},
			{"*", "jane's word", "no"},
		} {
			if got := check(t, l, q[0], q[1]); got != q[2] {
				t.Errorf("%s with %q: %s, want %s", q[0], q[1], got, q[2])
			}
			// milterd's own connections are still milterd's: anonymous reads nothing, and they stay few.
			if p, err := l.ByLogin(t.Context(), "john"); err != nil || p.Mail != "john.doe@corp.test" {
				t.Fatalf("after it, a look-up gives %v, %v", p, err)
			}
		}
	}
}

// Who has a password right on a server that cannot be believed has shown nothing,
// and the password stays here.
func TestCheckPasswordNeedsTLS(t *testing.T) {
	s := ldaptest.StartWith(t, ldaptest.Options{LDIF: withPasswords, Names: []string{"elsewhere.test"}})
	c := config(s)
	c.StartTLS, c.Cache = false, time.Hour
	l := openLDAP(t, c)
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "right" {
		t.Fatal(got)
	}
	l.now.Load().servers.startTLS = true // the person is known
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "away" {
		t.Error(got)
	}
}

func TestCheckPasswordAway(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t, withPasswords)
	c := config(s)
	c.Cache = time.Hour // the person is known
	l := openLDAP(t, c)
	c.StartTLS = false
	plain := openLDAP(t, c)
	expect := func(what string, l *LDAP, want string) {
		t.Helper()
		if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("before", l, "right")
	expect("before, plain", plain, "right")
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	expect("frozen, before TLS", l, "away")
	expect("frozen, with the password on its way", plain, "unanswered")
	s.Kill()
	time.Sleep(pause)
	expect("killed", l, "away")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	expect("back", l, "right")
	expect("back, plain", plain, "right")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if right, asked, err := l.CheckPassword(gone, "jane.roe@corp.test", "jane's word"); right || asked || err == nil {
		t.Errorf("for nobody: %v, %v, %v", right, asked, err)
	}
}

// Another server answers in the place of one that is away; but a password that
// one of them got goes to no other, where it would count twice.
func TestCheckPasswordTwoServers(t *testing.T) {
	t.Parallel()
	one, two := ldaptest.Start(t, withPasswords), ldaptest.Start(t, withPasswords)
	c := config(one)
	c.Servers = []string{one.TLSURL, two.URL}
	c.StartTLS = false
	c.Cache = time.Hour
	c.CA = one.CA
	l := openLDAP(t, c)
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "right" {
		t.Fatal(got)
	}
	one.Kill()
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "right" {
		t.Errorf("the first is killed: %s", got)
	}
	if got := check(t, l, "jane.roe@corp.test", "john's word"); got != "wrong" {
		t.Errorf("the first is killed: %s", got)
	}
	if err := one.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Servers = []string{one.URL, two.URL}
	l = openLDAP(t, c)
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "right" {
		t.Fatal(got)
	}
	if err := one.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got := check(t, l, "jane.roe@corp.test", "jane's word"); got != "unanswered" {
		t.Errorf("the first has it and is silent: %s", got)
	}
}
