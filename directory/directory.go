// Package directory says who may ask and who may sign: it finds a person by
// mail address, by the part before the @, and by the name under which a mail
// client logs in; it says who is in a group and which groups a person is in.
// Two backends: a file (File), and LDAP (LDAP), where OpenLDAP, Active
// Directory and their kin answer alike.
//
// Limits: it decides nothing about what a person or a group may do. A question
// takes at most three seconds (see Limit) and a group has at most 1,000
// members (see ErrTooMany).
//
// Reference: RFC 5321 2.4 (a local part's case belongs to its host; here, as
// everywhere in practice, addresses compare without regard to case); RFC 4511
// to 4519 (LDAP), 2696 (paging), 2798 (inetOrgPerson).
package directory

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"milterd/workflow"
)

// Directory finds people. A person's identity is Person.Mail: two answers with
// the same Mail are the same person. An error is ErrNotFound, ErrAmbiguous or
// ErrTooMany, or else temporary: the directory is away, ask again later.
type Directory interface {
	// ByAddress finds who owns a mail address, primary or other.
	ByAddress(ctx context.Context, addr string) (workflow.Person, error)
	// ByLocalPart finds the one person with an address whose part before the @
	// is local. In LDAP a login name that equals local finds its owner too.
	ByLocalPart(ctx context.Context, local string) (workflow.Person, error)
	// ByLogin finds who logs in to the mail server (SASL) under a name.
	ByLogin(ctx context.Context, login string) (workflow.Person, error)
	// Group gives everyone in the one group with an address whose part before
	// the @ is local, groups in groups resolved, nobody twice; ErrNotFound where
	// there is none. A group can be empty.
	Group(ctx context.Context, local string) ([]workflow.Person, error)
	// Groups names the groups that the person with an address is in, also by
	// way of other groups, in the form that GroupName gives.
	Groups(ctx context.Context, mail string) ([]string, error)
}

// Backend is a Directory as the program runs and the administrator asks it.
type Backend interface {
	Directory
	// Reload forgets what is remembered and reads files again. On an error
	// everything stays as it was.
	Reload() error
	// Check asks every source of answers by itself, in their order: the file,
	// or each LDAP server.
	Check(ctx context.Context) []Status
	// Missing gives those of the groups, named as in the policy, that do not exist.
	Missing(ctx context.Context, groups []string) ([]string, error)
	// Identity gives what is known of the person with an address beside the name
	// that is printed.
	Identity(ctx context.Context, mail string) (Identity, error)
	// Sample is the address of some person, for trials.
	Sample(ctx context.Context) (string, error)
}

// Status is how one source of answers does.
type Status struct {
	Source string        // path of the file, or URL of the server
	Took   time.Duration // for connecting, logging in and asking
	Err    error         // nil: it is good
}

// Answers that will be the same next time.
var (
	ErrNotFound  = errors.New("not in the directory")
	ErrAmbiguous = errors.New("fits several people in the directory")
	ErrTooMany   = errors.New("has more members than can be asked")
)

// Limit is the longest that a question takes: three seconds, so that Postfix,
// which waits five for each command of the milter, hears 451 and not silence.
// What one command asks together is limited by the deadline of its context.
const Limit = 3 * time.Second

// GroupName writes the name of a group so that equal groups have equal names:
// a distinguished name in RFC 4514's form, and all in lower case.
func GroupName(name string) string {
	if dn, err := ldap.ParseDN(name); err == nil && strings.ContainsRune(name, '=') {
		return fold(dn.String())
	}
	return fold(strings.TrimSpace(name))
}

// fold makes addresses and logins comparable. What is not ASCII stays so: the
// Kelvin sign is no k, or else its bearer could be taken for somebody.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if l := unicode.ToLower(r); r < utf8.RuneSelf || l >= utf8.RuneSelf {
			return l
		}
		return r
	}, s)
}

// localPart is what stands before the last @, all of it if there is none.
func localPart(addr string) string {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return addr[:i]
	}
	return addr
}
