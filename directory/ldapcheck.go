package directory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// anything is the filter that fits every entry.
const anything = "(objectClass=*)"

// none asks for an entry without its attributes (RFC 4511, 4.5.1.8).
var none = []string{"1.1"}

// Check implements Backend: it connects to each server anew, logs in, and looks
// whether the bases are there.
func (l *LDAP) Check(ctx context.Context) []Status {
	s := l.now.Load().servers
	var all []Status
	for _, sv := range s.list {
		begin := time.Now()
		err := l.check(ctx, s, sv)
		all = append(all, Status{Source: sv.url, Took: time.Since(begin), Err: err})
	}
	return all
}

func (l *LDAP) check(ctx context.Context, s *servers, sv *server) error {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	c, err := sv.connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.raw.Close() })()
	for _, base := range []string{l.config.Base, l.config.GroupBase} {
		if base == "" {
			continue
		}
		result, err := c.Search(&ldap.SearchRequest{BaseDN: base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: none})
		if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) || err == nil && len(result.Entries) == 0 {
			return fmt.Errorf("%s does not exist there, or %q may not read it", base, l.config.BindDN)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sample implements Backend.
func (l *LDAP) Sample(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	s := l.now.Load()
	return kept(ctx, s.lists, "sample", func(ctx context.Context) (string, error) {
		entries, err := s.servers.search(ctx, &ldap.SearchRequest{BaseDN: l.config.Base, Scope: ldap.ScopeWholeSubtree,
			SizeLimit: maxFits, Filter: "(&" + l.config.Filter + "(" + l.config.Addresses[0] + "=*))", Attributes: l.personAttributes})
		for _, e := range entries {
			if r, ok := l.record(e); ok {
				return r.person.Mail, nil
			}
		}
		if err != nil && !errors.Is(err, errTooLong) && !ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
			return "", err
		}
		return "", ErrNotFound
	})
}

// entry reads one entry if it is there and fits the filter.
func (s *servers) entry(ctx context.Context, dn, filter string, attributes []string) (*ldap.Entry, error) {
	entries, err := s.search(ctx, &ldap.SearchRequest{BaseDN: dn, Scope: ldap.ScopeBaseObject, Filter: filter, Attributes: attributes})
	if ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax) {
		return nil, nil
	}
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries[0], nil
}
