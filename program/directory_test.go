package program

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-milter"

	"milterd/config"
	"milterd/directory"
	"milterd/directory/ldaptest"
)

// TestDirectoryInLDAP: milterd is built while LDAP is away, finds people as soon
// as it is there, and sees changes after a reload.
func TestDirectoryInLDAP(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("jane", "Jane Roe", "jane.roe@corp.test"))
	s.Stop()
	c := configured(t)
	l := &c.Directory.LDAP
	l.Servers, l.CA, l.BindDN, l.PasswordFile = []string{s.URL}, s.CA, s.BindDN, s.PasswordFile
	l.Base, l.GroupBase = ldaptest.People, ldaptest.Groups
	p, err := Build(t.Context(), c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Directory.ByLocalPart(t.Context(), "jane.roe"); err == nil || errors.Is(err, directory.ErrNotFound) {
		t.Errorf("LDAP is away: %v", err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		person, err := p.Directory.ByLocalPart(t.Context(), "jane.roe")
		if err == nil && person.Name == "Jane Roe" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	s.Stop()
	if _, err := p.Directory.ByLocalPart(t.Context(), "jane.roe"); err != nil {
		t.Errorf("not remembered: %v", err)
	}
	p.Reload()
	if _, err := p.Directory.ByLocalPart(t.Context(), "jane.roe"); err == nil {
		t.Error("remembered across a reload")
	}
}

// TestDirectoryRefused: what the directory's settings name must be there.
func TestDirectoryRefused(t *testing.T) {
	for want, spoil := range map[string]func(*config.Config){
		`policy: the group "board" is not in `: func(c *config.Config) { c.Policy.Sign.Standard = []string{"staff", "board"} },
		"directory.ldap.password_file: ": func(c *config.Config) {
			l := &c.Directory.LDAP
			l.Servers, l.Base, l.BindDN, l.PasswordFile = []string{"ldaps://ldap.corp.test"}, "dc=corp", "cn=x", filepath.Join(c.Data, "none")
		},
	} {
		c := configured(t)
		f, err := os.OpenFile(c.Directory.Users, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("[[group]]\nname = \"Staff\"\nmembers = [\"jane.roe@corp.test\"]\n")
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDirectory(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		spoil(c)
		if _, err := OpenDirectory(t.Context(), c, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}

// TestDoorWithLDAP: while LDAP is frozen or dead, Postfix hears 451 before it
// gives the milter up, at each recipient; then mail is taken again.
func TestDoorWithLDAP(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Person("jane", "Jane Roe", "jane.roe@corp.test")+ldaptest.Person("john", "John Doe", "john.doe@corp.test")+
		ldaptest.Group("staff", "staff@corp.test", ldaptest.DN("john")))
	c := configured(t)
	l := &c.Directory.LDAP
	l.Servers, l.CA, l.BindDN, l.PasswordFile = []string{s.TLSURL, s.URL}, s.CA, s.BindDN, s.PasswordFile
	l.Base, l.GroupBase = ldaptest.People, ldaptest.Groups
	l.Cache.Duration = 0
	serve(t, c)
	rcpt := func(to string) (answer string, took time.Duration) {
		t.Helper()
		door := milter.NewClientWithOptions("unix", strings.TrimPrefix(c.Milter.Listen, "unix:"), milter.ClientOptions{
			ActionMask: milter.OptRemoveRcpt, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second})
		mta, err := door.Session()
		if err != nil {
			t.Fatal(err)
		}
		defer mta.Close()
		mta.Macros(milter.CodeMail, "{auth_authen}", "jane", "{client_addr}", "192.0.2.1", "{mail_addr}", "jane.roe@corp.test")
		if _, err := mta.Mail("jane.roe@corp.test", nil); err != nil {
			t.Fatal(err)
		}
		mta.Macros(milter.CodeRcpt, "{rcpt_addr}", to)
		begin := time.Now()
		a, err := mta.Rcpt(to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Code == milter.ActReplyCode {
			return fmt.Sprintf("%d %s", a.SMTPCode, a.SMTPText), time.Since(begin)
		}
		return string(rune(a.Code)), time.Since(begin)
	}
	taken := func(when string) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for _, to := range []string{"john.doe@sign.corp.test", "staff@sign.corp.test"} {
			for {
				answer, _ := rcpt(to)
				if answer == "c" {
					break
				}
				if time.Now().After(deadline) || !strings.HasPrefix(answer, "451 4.4.3 ") {
					t.Fatalf("%s: %s: %s", when, to, answer)
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	away := func(when string) {
		t.Helper()
		for _, to := range []string{"nobody@sign.corp.test", "self@sign.corp.test"} {
			answer, took := rcpt(to)
			if !strings.HasPrefix(answer, "451 4.4.3 ") || took > 5*time.Second {
				t.Errorf("%s: %s: %s after %v", when, to, answer, took)
			}
		}
	}
	taken("at first")
	if answer, _ := rcpt("nobody@sign.corp.test"); !strings.HasPrefix(answer, "550 5.1.1 ") {
		t.Errorf("nobody: %s", answer)
	}
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	away("frozen")
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	taken("thawed")
	s.Kill()
	away("killed")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	taken("restarted")
}
