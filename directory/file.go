package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"

	"milterd/workflow"
)

// maxFile bounds users.toml; 100,000 people fit.
const maxFile = 32 << 20

// File is a directory in a TOML file, a [[user]] for each person and a [[group]]
// for each group:
//
//	[[user]]
//	mail = "jane@corp.com"          # primary address: what people are told and asked by
//	name = "Jane Doe"               # as it is printed in signatures
//	other = ["j.doe@corp.com"]      # further addresses, optional
//	language = "de"                 # of the mails to her, default "en"
//	login = "jane"                  # SASL login, default: any of her addresses, or its local part
//	given_name = "Jane"             # for Qualified signatures, with surname, where the last word of
//	surname = "Doe"                 # the name is not the surname
//	serial = "PNOEE-38001085718"    # that a qualified certificate must have, optional
//
//	[[group]]
//	name = "board"                  # as the policy and other groups name it
//	mail = "board@corp.com"         # who writes to it asks every member; optional, as is other
//	members = ["jane@corp.com", "directors"]  # users by address, groups by name
//
// It is safe for concurrent use.
type File struct {
	path string

	mu    sync.RWMutex
	index *index
}

var _ Backend = (*File)(nil)

// index finds people and groups by what is asked for. A nil person or group
// stands for several.
type index struct {
	people                 []workflow.Person
	address, local, logins map[string]*workflow.Person
	written                map[string]bool // logins that stand in a login field

	identities map[*workflow.Person]Identity

	groups, groupAddress, groupLocal map[string]*group
	groupsOf                         map[*workflow.Person][]string
}

// user is one entry as it is written.
type user struct {
	Mail     string   `toml:"mail"`
	Name     string   `toml:"name"`
	Other    []string `toml:"other"`
	Language string   `toml:"language"`
	Login    string   `toml:"login"`

	GivenName string `toml:"given_name"`
	Surname   string `toml:"surname"`
	Serial    string `toml:"serial"`
}

// Open reads a file. The error names file, line and field.
func Open(path string) (*File, error) {
	f := &File{path: path}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again (serve does so at SIGHUP). On an error the
// entries stay as they were.
func (f *File) Reload() error {
	ix, err := load(f.path)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.index = ix
	f.mu.Unlock()
	return nil
}

// load reads and checks the file.
func load(path string) (*index, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the directory: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("reading the directory: %s is larger than %d MB", path, maxFile>>20)
	}
	ix, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return ix, nil
}

// Len is how many people are in it.
func (f *File) Len() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.index.people)
}

// ByAddress implements Directory.
func (f *File) ByAddress(_ context.Context, addr string) (workflow.Person, error) {
	return f.find(func(ix *index) map[string]*workflow.Person { return ix.address }, addr)
}

// ByLocalPart implements Directory.
func (f *File) ByLocalPart(_ context.Context, local string) (workflow.Person, error) {
	return f.find(func(ix *index) map[string]*workflow.Person { return ix.local }, local)
}

// ByLogin implements Directory.
func (f *File) ByLogin(_ context.Context, login string) (workflow.Person, error) {
	return f.find(func(ix *index) map[string]*workflow.Person { return ix.logins }, login)
}

func (f *File) find(by func(*index) map[string]*workflow.Person, key string) (workflow.Person, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch p, ok := by(f.index)[fold(key)]; {
	case !ok:
		return workflow.Person{}, ErrNotFound
	case p == nil:
		return workflow.Person{}, ErrAmbiguous
	default:
		return *p, nil
	}
}

// parse reads and checks a file.
func parse(b []byte) (*index, error) {
	var doc struct {
		User  []user  `toml:"user"`
		Group []group `toml:"group"`
	}
	d := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, tomlError(err)
	}
	if len(doc.User) == 0 {
		return nil, errors.New("1: nobody is in it: want at least one [[user]]")
	}
	ix := &index{people: make([]workflow.Person, len(doc.User)),
		address: map[string]*workflow.Person{}, local: map[string]*workflow.Person{}, logins: map[string]*workflow.Person{},
		written: map[string]bool{}, identities: map[*workflow.Person]Identity{}, groups: map[string]*group{}, groupAddress: map[string]*group{},
		groupLocal: map[string]*group{}, groupsOf: map[*workflow.Person][]string{}}
	for i, u := range doc.User {
		if field, err := ix.add(&ix.people[i], u); err != nil {
			return nil, fmt.Errorf("%d: %s: %w", fieldLine(b, "[[user]]", i, field), field, err)
		}
	}
	for i, u := range doc.User {
		// Default logins come last: what is written outright wins over them.
		if u.Login == "" {
			ix.defaultLogins(&ix.people[i], u)
		}
	}
	return ix, ix.addGroups(b, doc.Group)
}

// add enters one user and says which field is wrong.
func (ix *index) add(p *workflow.Person, u user) (field string, err error) {
	u.Login = strings.TrimSpace(u.Login)
	*p = workflow.Person{Mail: canonical(u.Mail), Name: strings.TrimSpace(u.Name), Language: u.Language}
	if p.Name == "" {
		return "name", errors.New("missing: it is printed in signatures")
	}
	if len(p.Name) > 200 || strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "name", fmt.Errorf("%q: want one line of at most 200 bytes", p.Name)
	}
	if (u.GivenName == "") != (u.Surname == "") {
		return "surname", errors.New("given_name and surname go together")
	}
	ix.identities[p] = Identity{Serial: strings.TrimSpace(u.Serial), GivenName: u.GivenName, Surname: u.Surname}
	if p.Language == "" {
		p.Language = "en"
	}
	if _, err := language.Parse(p.Language); err != nil {
		return "language", fmt.Errorf("%q: want a language tag as in BCP 47: en, de, fr", p.Language)
	}
	for i, a := range append([]string{u.Mail}, u.Other...) {
		field = "other"
		if i == 0 {
			field = "mail"
		}
		if parsed, err := mail.ParseAddress(a); err != nil || parsed.Address != a {
			return field, fmt.Errorf("%q: want a mail address: jane@corp.com", a)
		}
		if q, ok := ix.address[fold(a)]; ok && q != p {
			return field, fmt.Errorf("%q stands with %s already", a, q.Name)
		}
		ix.address[fold(a)] = p
		enter(ix.local, localPart(fold(a)), p)
	}
	if u.Login != "" {
		if q, ok := ix.logins[fold(u.Login)]; ok {
			return "login", fmt.Errorf("%q stands with %s already", u.Login, q.Name)
		}
		ix.logins[fold(u.Login)], ix.written[fold(u.Login)] = p, true
	}
	return "", nil
}

// defaultLogins are the addresses and their local parts. A login that is
// written out for somebody is taken from nobody.
func (ix *index) defaultLogins(p *workflow.Person, u user) {
	for _, a := range append([]string{u.Mail}, u.Other...) {
		for _, l := range []string{fold(a), localPart(fold(a))} {
			if !ix.written[l] {
				enter(ix.logins, l, p)
			}
		}
	}
}

// enter marks a key that fits two as ambiguous.
func enter[T any](m map[string]*T, key string, p *T) {
	if q, ok := m[key]; ok && q != p {
		p = nil
	}
	m[key] = p
}

// canonical folds the domain of an address and keeps its local part.
func canonical(a string) string {
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		return a[:i] + fold(a[i:])
	}
	return a
}

// tomlError words what the decoder found with its line and key.
func tomlError(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		e := strict.Errors[0]
		line, _ := e.Position()
		return fmt.Errorf("%d: %s: unknown field; a [[user]] has mail, name, other, language, login, given_name, surname, serial, a [[group]] name, mail, other, members", line, strings.Join(e.Key(), "."))
	}
	var e *toml.DecodeError
	if errors.As(err, &e) {
		line, _ := e.Position()
		if k := e.Key(); len(k) > 0 {
			return fmt.Errorf("%d: %s: %w", line, strings.Join(k, "."), err)
		}
		return fmt.Errorf("%d: %w", line, err)
	}
	return err
}

// fieldLine finds where a field of the nth table with a header is written, or
// where that table begins.
func fieldLine(b []byte, header string, n int, field string) int {
	begin, inside := 1, false
	for i, l := range strings.Split(string(b), "\n") {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			if inside {
				break
			}
			if strings.HasPrefix(strings.ReplaceAll(l, " ", ""), header) {
				if n == 0 {
					begin, inside = i+1, true
				}
				n--
			}
		} else if key, _, ok := strings.Cut(l, "="); inside && ok && strings.TrimSpace(key) == field {
			return i + 1
		}
	}
	return begin
}
