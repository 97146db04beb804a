package directory

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// group is one [[group]] as it is written.
type group struct {
	Name    string   `toml:"name"`
	Mail    string   `toml:"mail"`
	Other   []string `toml:"other"`
	Members []string `toml:"members"`

	people []*workflow.Person // once resolved: everybody, also by way of other groups
	state  resolving
}

// resolving is where the walk through groups in groups stands.
type resolving int

const (
	unseen resolving = iota
	walking
	resolved
)

// Group implements Directory.
func (f *File) Group(_ context.Context, local string) ([]workflow.Person, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	g, ok := f.index.groupLocal[fold(local)]
	switch {
	case !ok:
		return nil, ErrNotFound
	case g == nil:
		return nil, ErrAmbiguous
	}
	people := make([]workflow.Person, len(g.people))
	for i, p := range g.people {
		people[i] = *p
	}
	return people, nil
}

// Groups implements Directory.
func (f *File) Groups(_ context.Context, mail string) ([]string, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	p, ok := f.index.address[fold(mail)]
	if !ok {
		return nil, ErrNotFound
	}
	return slices.Clone(f.index.groupsOf[p]), nil
}

// Check implements Backend: the file was good when it was read.
func (f *File) Check(context.Context) []Status {
	begin := time.Now()
	_, err := load(f.path)
	return []Status{{Source: f.path, Took: time.Since(begin), Err: err}}
}

// Missing implements Backend.
func (f *File) Missing(_ context.Context, groups []string) ([]string, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var missing []string
	for _, name := range groups {
		if _, ok := f.index.groups[GroupName(name)]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// Sample implements Backend.
func (f *File) Sample(context.Context) (string, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.index.people[0].Mail, nil
}

// addGroups enters the groups of the file b and resolves their members.
func (ix *index) addGroups(b []byte, groups []group) error {
	number := map[*group]int{}
	for i := range groups {
		number[&groups[i]] = i
		if field, err := ix.addGroup(&groups[i]); err != nil {
			return fmt.Errorf("%d: %s: %w", fieldLine(b, "[[group]]", i, field), field, err)
		}
	}
	for i := range groups {
		err := ix.resolve(&groups[i], nil)
		var at *memberError
		if errors.As(err, &at) {
			line := fieldLine(b, "[[group]]", number[at.group], "members")
			return fmt.Errorf("%d: members: %w", wordLine(b, line, at.member), err)
		}
	}
	for _, names := range ix.groupsOf {
		slices.Sort(names)
	}
	return nil
}

// addGroup enters one group, not yet its members, and says which field is wrong.
func (ix *index) addGroup(g *group) (field string, err error) {
	g.Name = strings.TrimSpace(g.Name)
	switch {
	case g.Name == "":
		return "name", errors.New("missing: the policy and other groups name it")
	case len(g.Name) > 200 || strings.ContainsAny(g.Name, "=@") || strings.ContainsFunc(g.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "name", fmt.Errorf("%q: want one line of at most 200 bytes without = and @", g.Name)
	}
	if _, ok := ix.groups[GroupName(g.Name)]; ok {
		return "name", fmt.Errorf("%q is another group already", g.Name)
	}
	ix.groups[GroupName(g.Name)] = g
	for i, a := range append([]string{g.Mail}, g.Other...) {
		field = "other"
		if i == 0 {
			if a == "" {
				continue
			}
			field = "mail"
		}
		if parsed, err := mail.ParseAddress(a); err != nil || parsed.Address != a {
			return field, fmt.Errorf("%q: want a mail address: team@corp.com", a)
		}
		if q, ok := ix.address[fold(a)]; ok {
			return field, fmt.Errorf("%q stands with %s already", a, q.Name)
		}
		if q, ok := ix.groupAddress[fold(a)]; ok && q != g {
			return field, fmt.Errorf("%q stands with the group %s already", a, q.Name)
		}
		ix.groupAddress[fold(a)] = g
		enter(ix.groupLocal, localPart(fold(a)), g)
	}
	return "", nil
}

// resolve finds a group's people. above are the groups that led here. The
// error is a *memberError, or for whoever named g the reason that g leads back
// to itself.
func (ix *index) resolve(g *group, above []string) error {
	switch g.state {
	case resolved:
		return nil
	case walking:
		return fmt.Errorf("is a member of itself: %s", strings.Join(append(above, g.Name), ", "))
	}
	g.state = walking
	seen := map[*workflow.Person]bool{}
	take := func(p *workflow.Person) {
		if !seen[p] {
			seen[p] = true
			g.people = append(g.people, p)
		}
	}
	for _, m := range g.Members {
		if strings.ContainsRune(m, '@') {
			p, ok := ix.address[fold(m)]
			if !ok {
				return &memberError{g, m, errors.New("is no user's address")}
			}
			take(p)
			continue
		}
		inner, ok := ix.groups[GroupName(m)]
		if !ok {
			return &memberError{g, m, errors.New("is no group; a user is named by mail address")}
		}
		if err := ix.resolve(inner, append(above, g.Name)); err != nil {
			var at *memberError
			if errors.As(err, &at) {
				return err
			}
			return &memberError{g, m, err}
		}
		for _, p := range inner.people {
			take(p)
		}
	}
	g.state = resolved
	for _, p := range g.people {
		ix.groupsOf[p] = append(ix.groupsOf[p], GroupName(g.Name))
	}
	return nil
}

// wordLine finds a quoted word in the array that begins on a line, and gives
// that line where the word is written otherwise.
func wordLine(b []byte, line int, word string) int {
	lines := strings.Split(string(b), "\n")
	for i := line - 1; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "["); i++ {
		if strings.Contains(lines[i], `"`+word+`"`) || strings.Contains(lines[i], "'"+word+"'") {
			return i + 1
		}
	}
	return line
}

// memberError is what is wrong with one member of a group.
type memberError struct {
	group  *group
	member string
	err    error
}

func (e *memberError) Error() string { return fmt.Sprintf("%q: %v", e.member, e.err) }
