package program

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
