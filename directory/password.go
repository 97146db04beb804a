package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// CheckPassword asks LDAP whether a password is that of the person with a mail
// address, by a bind in that person's name (RFC 4513, 5.1.3) on a connection of
// its own, which is closed after it. An error says that there is no answer;
// asked is whether a server got the password all the same: it may have counted
// it, so the password goes to no second server.
func (l *LDAP) CheckPassword(ctx context.Context, addr, password string) (right, asked bool, err error) {
	if password == "" {
		// A server would let it in as anonymous (RFC 4513, 5.1.2), and the answer
		// would say nothing of the person.
		return false, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r, err := l.byAddress(ctx, addr)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrAmbiguous) {
		return false, false, nil // nobody who could log in
	}
	if err != nil {
		return false, false, err
	}
	return l.now.Load().servers.bind(ctx, r.dn, password)
}

// bind tries a password at the first server that can be reached.
func (s *servers) bind(ctx context.Context, dn, password string) (right, asked bool, err error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, false, fmt.Errorf("waiting for the directory: %w", ctx.Err())
	}
	nobody := *s
	nobody.bindDN, nobody.password = "", "" // the person logs in, not milterd
	candidates, why := s.candidates(time.Now())
	for i, sv := range candidates {
		attempt, cancel := share(ctx, len(candidates)-i)
		c, err := sv.connect(attempt, &nobody)
		cancel()
		if err == nil {
			if right, err = tryPassword(ctx, c, dn, password); err != nil {
				err = fmt.Errorf("%s: %w", sv.url, err)
			}
			return right, true, err
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return false, false, ctx.Err()
		}
		sv.failed(s.log, s.bindDN, err)
		why = append(why, sv.url+": "+err.Error())
		if ctx.Err() != nil {
			break
		}
	}
	return false, false, fmt.Errorf("%w: %s", errAway, strings.Join(why, "; "))
}

// tryPassword binds and closes the connection. What the server says of the
// account beside a wrong password (locked, expired, none there) is a no like any
// other: whoever is at the page has not proven to be the person.
func tryPassword(ctx context.Context, c *connection, dn, password string) (right bool, err error) {
	defer c.Close()
	release := context.AfterFunc(ctx, func() { c.raw.Close() })
	err = c.Bind(dn, password)
	open := release()
	switch {
	case err == nil && open:
		return true, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultNoSuchObject, ldap.LDAPResultConstraintViolation):
		return false, nil
	case !open:
		return false, fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return false, fmt.Errorf("checking a password: %w", err)
}
