package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"milterd/workflow"
)

// LDAPConfig says where people and groups are and what their attributes mean,
// as [directory.ldap] of the configuration file, which documents the fields.
type LDAPConfig struct {
	Servers                []string // ldaps://HOST[:PORT] or ldap://HOST[:PORT], asked in this order
	StartTLS               bool     // on ldap:// connections
	CA                     string   // PEM file; empty for the system's authorities
	BindDN, PasswordFile   string   // both empty for anonymous
	Base, Filter           string   // of people
	Addresses, Logins      []string
	Name, Language         string
	Certificate            string
	GivenName, Surname     string // these three may be empty
	Serial                 string
	GroupBase, GroupFilter string // GroupBase empty: no groups
	GroupAddresses         []string
	Member                 string
	Cache                  time.Duration
	Log                    *slog.Logger // nil for none
}

// LDAP is a directory in LDAP. Its servers are asked in order; one that is
// away is left out for a while. Answers are kept for the configured time, and
// equal questions at the same time are asked once. It is safe for concurrent
// use.
type LDAP struct {
	config                LDAPConfig
	personBase, groupBase *ldap.DN
	personAttributes      []string

	now atomic.Pointer[state]
}

var _ Backend = (*LDAP)(nil)

// state is what Reload replaces: who is asked, and what they answered.
type state struct {
	servers       *servers
	people, lists *answers
}

// attributeName is an attribute description of RFC 4512, 2.5.
var attributeName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+)(;[A-Za-z0-9-]+)*$`)

// OpenLDAP reads the files that the configuration names and connects to
// nothing: milterd starts while the directory is away. The error names the field.
func OpenLDAP(c LDAPConfig) (*LDAP, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &LDAP{config: c}
	var err error
	if l.personBase, err = ldap.ParseDN(c.Base); err != nil {
		return nil, fmt.Errorf("directory.ldap.base: %q is no distinguished name: %w", c.Base, err)
	}
	if l.groupBase, err = ldap.ParseDN(c.GroupBase); err != nil {
		return nil, fmt.Errorf("directory.ldap.group_base: %q is no distinguished name: %w", c.GroupBase, err)
	}
	for field, filter := range map[string]string{"filter": c.Filter, "group_filter": c.GroupFilter} {
		if _, err := ldap.CompileFilter(filter); err != nil {
			return nil, fmt.Errorf("directory.ldap.%s: %q is no filter as in RFC 4515, want for example (objectClass=person): %w", field, filter, err)
		}
	}
	for field, names := range map[string][]string{"addresses": c.Addresses, "logins": c.Logins, "group_addresses": c.GroupAddresses,
		"name": {c.Name}, "language": {c.Language}, "certificate": {c.Certificate}, "member": {c.Member},
		"given_name": some(c.GivenName), "surname": some(c.Surname), "serial": some(c.Serial)} {
		for _, name := range names {
			if !attributeName.MatchString(name) {
				return nil, fmt.Errorf("directory.ldap.%s: %q is no attribute name, want for example mail", field, name)
			}
		}
	}
	if len(c.Servers) == 0 || len(c.Addresses) == 0 || len(c.Logins) == 0 {
		return nil, errors.New("directory.ldap: servers, addresses and logins may not be empty")
	}
	l.personAttributes = append(append([]string{c.Name, c.Language}, c.Addresses...), c.Logins...)
	return l, l.Reload()
}

// Reload implements Backend: the password and the authorities are read again,
// answers are forgotten and connections made anew.
func (l *LDAP) Reload() error {
	c := l.config
	s := &servers{startTLS: c.StartTLS, bindDN: c.BindDN, log: c.Log, slots: make(chan struct{}, maxQuestions)}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("directory.ldap.password_file: %w", err)
		}
		s.password = strings.TrimRight(string(b), "\r\n")
		if s.password == "" {
			// With an empty password a server lets anybody in, as anonymous (RFC 4513, 5.1.2).
			return fmt.Errorf("directory.ldap.password_file: %s is empty", c.PasswordFile)
		}
	}
	var roots *x509.CertPool
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return fmt.Errorf("directory.ldap.ca: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("directory.ldap.ca: %s holds no PEM certificate", c.CA)
		}
	}
	for _, url := range c.Servers {
		sv, err := newServer(url, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err != nil {
			return fmt.Errorf("directory.ldap.servers: %w", err)
		}
		s.list = append(s.list, sv)
	}
	if old := l.now.Swap(&state{s, newAnswers(c.Cache, maxPeople), newAnswers(c.Cache, maxLists)}); old != nil {
		old.servers.close()
	}
	return nil
}

// ByAddress implements Directory.
func (l *LDAP) ByAddress(ctx context.Context, addr string) (workflow.Person, error) {
	p, err := l.byAddress(ctx, addr)
	return p.person, err
}

func (l *LDAP) byAddress(ctx context.Context, addr string) (record, error) {
	addr = fold(addr)
	return l.find(ctx, "address", addr, addressFilter(l.config.Addresses, addr), func(r record) bool {
		return r.owns(addr)
	})
}

// ByLocalPart implements Directory.
func (l *LDAP) ByLocalPart(ctx context.Context, local string) (workflow.Person, error) {
	local = fold(local)
	filter := "(|" + localPartFilter(l.config.Addresses, local) + equal(l.config.Logins, local) + ")"
	r, err := l.find(ctx, "local", local, filter, func(r record) bool {
		return r.hasLocalPart(local) || r.logsInAs(local)
	})
	return r.person, err
}

// ByLogin implements Directory.
func (l *LDAP) ByLogin(ctx context.Context, login string) (workflow.Person, error) {
	login = fold(login)
	r, err := l.find(ctx, "login", login, "(|"+equal(l.config.Logins, login)+")", func(r record) bool {
		return r.logsInAs(login)
	})
	return r.person, err
}

// find gives the one person for whom a filter that was made of key is right.
// Whether it is, fits decides anew: servers compare by rules of their own
// (blanks, width, accents), and no word that a stranger wrote may find somebody
// whom it does not name. The key is folded before the server sees it, so that
// what is kept under it is the answer to every way to write it.
func (l *LDAP) find(ctx context.Context, kind, key, filter string, fits func(record) bool) (record, error) {
	if !askable(key) {
		return record{}, ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	s := l.now.Load()
	return kept(ctx, s.people, kind+" "+key, func(ctx context.Context) (record, error) {
		var found record
		entries, err := s.servers.search(ctx, &ldap.SearchRequest{BaseDN: l.config.Base, Scope: ldap.ScopeWholeSubtree,
			SizeLimit: maxFits, TimeLimit: int(Limit.Seconds()), Filter: "(&" + l.config.Filter + filter + ")", Attributes: l.personAttributes})
		n := 0
		for _, e := range entries {
			r, ok := l.record(e)
			if !ok || !fits(r) {
				continue
			}
			if n++; n > 1 {
				// Certain, whatever a server left out.
				return record{}, fmt.Errorf("%w: %s and %s", ErrAmbiguous, found.dn, r.dn)
			}
			found = r
		}
		switch {
		case err != nil:
			return record{}, err
		case n == 0:
			return record{}, ErrNotFound
		}
		return found, nil
	})
}
