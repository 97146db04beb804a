package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sync/errgroup"

	"milterd/workflow"
)

const (
	maxMembers = 1000 // of a group that is asked to sign, groups in groups resolved
	maxGroups  = 1000 // that one person is in
	maxDepth   = 10   // of groups in groups
	many       = 50   // distinguished names in one filter
	atOnce     = 8    // members looked up at the same time
)

// Groups implements Directory. It asks the groups for their members and not the
// person for memberOf: that attribute is a copy, which is missing on many
// servers and stale on some.
func (l *LDAP) Groups(ctx context.Context, mail string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r, err := l.byAddress(ctx, mail)
	if err != nil || l.config.GroupBase == "" {
		return nil, err
	}
	s := l.now.Load()
	return kept(ctx, s.lists, "groups "+fold(r.dn), func(ctx context.Context) ([]string, error) {
		return l.climb(ctx, s.servers, r.dn)
	})
}

// climb walks from a person up through groups in groups, level by level. A
// circle ends where it closes.
func (l *LDAP) climb(ctx context.Context, s *servers, dn string) ([]string, error) {
	seen := map[string]bool{}
	level := []string{dn}
	for depth := 0; len(level) > 0; depth++ {
		if depth == maxDepth {
			return nil, fmt.Errorf("groups in groups are deeper than %d above %s", maxDepth, dn)
		}
		var above []string
		for names := range slices.Chunk(level, many) {
			var members strings.Builder
			for _, name := range names {
				members.WriteString(equal([]string{l.config.Member}, name))
			}
			entries, err := s.searchAll(ctx, &ldap.SearchRequest{BaseDN: l.config.GroupBase, Scope: ldap.ScopeWholeSubtree,
				Filter: "(&" + l.config.GroupFilter + "(|" + members.String() + "))", Attributes: none}, maxGroups)
			if err != nil {
				return nil, fmt.Errorf("groups of %s: %w", dn, err)
			}
			for _, e := range entries {
				if name := GroupName(e.DN); !seen[name] {
					seen[name] = true
					above = append(above, e.DN)
				}
			}
		}
		if len(seen) > maxGroups {
			return nil, fmt.Errorf("%s is in more than %d groups", dn, maxGroups)
		}
		level = above
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Group implements Directory. Members who are no people of this directory
// (without a mail address, outside the base, deleted) are left out.
func (l *LDAP) Group(ctx context.Context, local string) ([]workflow.Person, error) {
	local = fold(local)
	if !askable(local) || l.config.GroupBase == "" {
		return nil, ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	s := l.now.Load()
	people, err := kept(ctx, s.lists, "group "+local, func(ctx context.Context) ([]workflow.Person, error) {
		found, err := l.group(ctx, s.servers, local)
		if err != nil {
			return nil, err
		}
		return l.expand(ctx, s.servers, found)
	})
	return slices.Clone(people), err
}

// group finds the entry of a group.
func (l *LDAP) group(ctx context.Context, s *servers, local string) (*ldap.Entry, error) {
	filter := "(|" + localPartFilter(l.config.GroupAddresses, local) + equal(l.config.GroupAddresses, local) + ")"
	entries, err := s.search(ctx, &ldap.SearchRequest{BaseDN: l.config.GroupBase, Scope: ldap.ScopeWholeSubtree, SizeLimit: maxFits,
		Filter: "(&" + l.config.GroupFilter + filter + ")", Attributes: append([]string{l.config.Member}, l.config.GroupAddresses...)})
	var found []*ldap.Entry
	for _, e := range entries {
		if l.isGroup(e, local) {
			found = append(found, e)
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("%w: %s and %s", ErrAmbiguous, found[0].DN, found[1].DN)
	case errors.Is(err, errTooLong):
		return nil, fmt.Errorf("%w: %w", ErrTooMany, err)
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, ErrNotFound
	}
	return found[0], nil
}

// isGroup reports whether a group's entry has an address with a folded local part, or
// is called just so where the attribute holds no addresses (cn).
func (l *LDAP) isGroup(e *ldap.Entry, local string) bool {
	_, all := addresses(e, l.config.GroupAddresses)
	for _, a := range l.config.GroupAddresses {
		for _, v := range values(e, a) {
			if !strings.ContainsRune(v, '@') {
				all = append(all, fold(strings.TrimSpace(v)))
			}
		}
	}
	return slices.ContainsFunc(all, func(a string) bool { return localPart(a) == local })
}

// members are the distinguished names in a group's entry.
func (l *LDAP) members(e *ldap.Entry) ([]string, error) {
	var all []string
	for _, a := range e.Attributes {
		name, option, _ := strings.Cut(a.Name, ";")
		if !strings.EqualFold(name, l.config.Member) {
			continue
		}
		// Active Directory gives 1,500 values at a time, as member;range=0-1499:
		// more than are taken here, so the rest need not be asked for.
		if option = strings.ToLower(option); strings.HasPrefix(option, "range=") && !strings.HasSuffix(option, "-*") {
			return nil, fmt.Errorf("%w: %s", ErrTooMany, e.DN)
		}
		all = append(all, a.Values...)
	}
	return all, nil
}

// member is what a distinguished name in a group stands for: a person, a group
// with members, or neither.
type member struct {
	person  *workflow.Person
	members []string
}

// expand walks from a group down through groups in groups, level by level.
func (l *LDAP) expand(ctx context.Context, s *servers, group *ldap.Entry) ([]workflow.Person, error) {
	level, err := l.members(group)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{GroupName(group.DN): true}
	people := map[string]workflow.Person{}
	for depth := 0; len(level) > 0; depth++ {
		if depth == maxDepth {
			return nil, fmt.Errorf("%w: groups in groups are deeper than %d below %s", ErrTooMany, maxDepth, group.DN)
		}
		var news []string
		for _, dn := range level {
			if name := GroupName(dn); !seen[name] {
				seen[name] = true
				news = append(news, dn)
			}
		}
		if len(seen) > maxMembers+1 {
			return nil, fmt.Errorf("%w: %s", ErrTooMany, group.DN)
		}
		found, err := l.lookUp(ctx, s, news)
		if err != nil {
			return nil, fmt.Errorf("members of %s: %w", group.DN, err)
		}
		level = nil
		for i, m := range found {
			switch {
			case m.person != nil:
				people[m.person.Mail] = *m.person
			case m.members == nil:
				l.config.Log.Info("a member of a group is nobody who could sign", "group", group.DN, "member", news[i])
			}
			level = append(level, m.members...)
		}
	}
	all := make([]workflow.Person, 0, len(people))
	for _, p := range people {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b workflow.Person) int { return strings.Compare(a.Mail, b.Mail) })
	return all, nil
}

// lookUp finds what names stand for, several at a time.
func (l *LDAP) lookUp(ctx context.Context, s *servers, names []string) ([]member, error) {
	found := make([]member, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, dn := range names {
		g.Go(func() error {
			m, err := l.member(ctx, s, dn)
			found[i] = m
			return err
		})
	}
	return found, g.Wait()
}

func (l *LDAP) member(ctx context.Context, s *servers, dn string) (member, error) {
	parsed, err := ldap.ParseDN(dn)
	if err != nil {
		return member{}, nil
	}
	if l.personBase.AncestorOfFold(parsed) {
		e, err := s.entry(ctx, dn, l.config.Filter, l.personAttributes)
		if err != nil {
			return member{}, err
		}
		if e != nil {
			if r, ok := l.record(e); ok {
				return member{person: &r.person}, nil
			}
		}
	}
	if l.groupBase.AncestorOfFold(parsed) {
		e, err := s.entry(ctx, dn, l.config.GroupFilter, []string{l.config.Member})
		if err != nil || e == nil {
			return member{}, err
		}
		members, err := l.members(e)
		return member{members: append([]string{}, members...)}, err
	}
	return member{}, nil
}

// Missing implements Backend.
func (l *LDAP) Missing(ctx context.Context, groups []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	var missing []string
	for _, name := range groups {
		dn, err := ldap.ParseDN(name)
		if err == nil && l.config.GroupBase != "" && l.groupBase.AncestorOfFold(dn) {
			switch e, err := l.now.Load().servers.entry(ctx, name, l.config.GroupFilter, none); {
			case err != nil:
				return nil, err
			case e != nil:
				continue
			}
		}
		missing = append(missing, name)
	}
	return missing, nil
}
