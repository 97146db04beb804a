package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Identity is what a qualified certificate of a person is compared with. What
// the directory does not hold is empty.
type Identity struct {
	Serial       string   // identifier as in ETSI EN 319 412-1, clause 5.1.3: "PNOEE-38001085718"
	GivenName    string   // one line, as they stand in the directory
	Surname      string   //
	Certificates [][]byte // DER, the person's own; nobody has checked them
}

// Identity implements Backend.
func (l *LDAP) Identity(ctx context.Context, addr string) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r, err := l.byAddress(ctx, addr)
	if err != nil {
		return Identity{}, err
	}
	c := l.config
	attributes := some(c.GivenName, c.Surname, c.Certificate, c.Serial)
	// Not kept: it is asked when somebody signs, and a card that was taken from
	// its person must not serve for five more minutes.
	entries, err := l.now.Load().servers.search(ctx, &ldap.SearchRequest{BaseDN: r.dn, Scope: ldap.ScopeBaseObject,
		Filter: anything, Attributes: attributes})
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	name, _, _ := strings.Cut(c.Certificate, ";")
	for _, e := range entries {
		for attribute, to := range map[string]*string{c.GivenName: &id.GivenName, c.Surname: &id.Surname, c.Serial: &id.Serial} {
			if attribute != "" {
				*to = printable(value(e, attribute), "")
			}
		}
		for _, a := range e.Attributes {
			// The option ;binary (RFC 4522) comes back or does not.
			if n, _, _ := strings.Cut(a.Name, ";"); strings.EqualFold(n, name) {
				id.Certificates = append(id.Certificates, a.ByteValues...)
			}
		}
	}
	return id, nil
}

// Identity implements Backend. Where an entry has no given name and surname, the
// last word of the name is the surname.
func (f *File) Identity(_ context.Context, addr string) (Identity, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	p := f.index.address[fold(addr)]
	if p == nil {
		return Identity{}, ErrNotFound
	}
	id := f.index.identities[p]
	if i := strings.LastIndexByte(p.Name, ' '); i > 0 && id.GivenName == "" && id.Surname == "" {
		id.GivenName, id.Surname = p.Name[:i], p.Name[i+1:]
	}
	return id, nil
}

// some are those that are not empty.
func some(names ...string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}
