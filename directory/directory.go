// Package directory says who may ask and who may sign: it finds a person by
// mail address, by the part before the @, and by the name under which a mail
// client logs in. A file (File) is one backend; others stand behind the same
// interface.
//
// Limits: it answers one question at a time and caches nothing that another
// system owns.
//
// Reference: RFC 5321 2.4 (a local part's case belongs to its host; here, as
// everywhere in practice, addresses compare without regard to case).
package directory

import (
	"context"
	"errors"
	"strings"

	"milterd/workflow"
)

// Directory finds people. A person's identity is Person.Mail: two answers with
// the same Mail are the same person. An error is ErrNotFound, ErrAmbiguous, or
// else temporary: the directory is away, ask again later.
type Directory interface {
	// ByAddress finds who owns a mail address, primary or other.
	ByAddress(ctx context.Context, addr string) (workflow.Person, error)
	// ByLocalPart finds the one person with an address whose part before the @ is local.
	ByLocalPart(ctx context.Context, local string) (workflow.Person, error)
	// ByLogin finds who logs in to the mail server (SASL) under a name.
	ByLogin(ctx context.Context, login string) (workflow.Person, error)
	// Group gives everyone in the one group with an address whose part before
	// the @ is local, groups in groups resolved; ErrNotFound where there is none.
	Group(ctx context.Context, local string) ([]workflow.Person, error)
	// Groups names the groups that the person with a primary address is in,
	// also by way of other groups, as the policy writes them: the name in the
	// file, the distinguished name in LDAP.
	Groups(ctx context.Context, mail string) ([]string, error)
}

// Answers that will be the same next time.
var (
	ErrNotFound  = errors.New("not in the directory")
	ErrAmbiguous = errors.New("fits several people in the directory")
)

// fold makes addresses and logins comparable.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// localPart is what stands before the last @, all of it if there is none.
func localPart(addr string) string {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return addr[:i]
	}
	return addr
}
