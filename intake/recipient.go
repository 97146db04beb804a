package intake

import (
	"context"
	"errors"
	"strings"

	"milterd/directory"
	"milterd/milter"
	"milterd/workflow"
)

// Reserved local parts of the sign domain (design.md, decision 6).
const (
	self       = "self"
	verify     = "verify"
	bounce     = "bounce"
	answer     = "reply"
	postmaster = "postmaster"
	abuse      = "abuse"
)

// address is a recipient on the sign domain, taken apart.
type address struct {
	full  string // john.doe+advanced@sign.corp.com
	local string // john.doe+advanced
	base  string // john.doe
	plus  bool   // has a +
	tag   string // what stands behind it: advanced
}

func parseAddress(full string) address {
	a := address{full: full, local: full}
	if i := strings.LastIndexByte(full, '@'); i >= 0 {
		a.local = full[:i]
	}
	a.base, a.tag, a.plus = strings.Cut(a.local, "+")
	return a
}

// word is the base in lower case, to compare with the reserved local parts.
func (a address) word() string { return strings.ToLower(a.base) }

// Recipient implements milter.Intake: everything that can be said before the
// mail is sent is said here.
func (in *Intake) Recipient(ctx context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	a := parseAddress(recipient)
	switch a.word() {
	case postmaster, abuse:
		return milter.Pass, nil // RFC 2142: a person's, by way of Postfix's aliases
	case bounce:
		return milter.Take, nil
	case answer:
		return milter.Pass, in.errAnswer()
	case verify:
		return milter.Pass, in.errVerify()
	}
	if e.From == "" {
		return milter.Pass, errNullSender()
	}
	p, err := in.proof(ctx, e)
	if err != nil {
		return milter.Pass, err
	}
	if _, _, err := in.signatory(ctx, a, p.person); err != nil {
		return milter.Pass, err
	}
	return milter.Take, nil
}

// signatory finds who is meant by an address, and the level that it names.
// sender is who self is; nil where that is not known yet.
func (in *Intake) signatory(ctx context.Context, a address, sender *workflow.Person) (workflow.Person, workflow.Level, error) {
	var none workflow.Person
	if a.word() != self {
		// Somebody's address may have a + of its own.
		p, err := in.Directory.ByLocalPart(ctx, a.local)
		if err == nil || !a.plus || !errors.Is(err, directory.ErrNotFound) {
			return p, "", in.errSignatory(a, err)
		}
	}
	var level workflow.Level
	if a.plus {
		l, ok := workflow.ParseLevel(a.tag)
		if !ok {
			return none, "", in.errTag(a)
		}
		if l != workflow.Standard {
			return none, "", errLevel(l)
		}
		level = l
	}
	if a.word() == self {
		if sender == nil {
			return none, level, nil
		}
		return *sender, level, nil
	}
	p, err := in.Directory.ByLocalPart(ctx, a.base)
	return p, level, in.errSignatory(a, err)
}
