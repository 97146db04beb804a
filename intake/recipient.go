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
	check      = "check" // with a tag of ours
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
// mail is sent is said here. What a stranger hears does not depend on the
// directory. A delivered or submitted mail is never refused here: who would be
// told, is known when it has been read.
func (in *Intake) Recipient(ctx context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	a := parseAddress(recipient)
	switch word := a.word(); {
	case !a.plus && (word == postmaster || word == abuse):
		// RFC 2142: a person's, by way of Postfix's aliases. Those do not know
		// postmaster+x, which would wait in the queue and then bounce to whomever
		// a stranger named as its sender.
		return milter.Pass, nil
	case word == bounce:
		return milter.Take, nil
	}
	if e.Bounced() || in.tried(a) {
		return milter.Take, nil
	}
	if err := in.reserved(a); err != nil {
		return milter.Pass, err
	}
	if e.From == "" {
		return milter.Pass, errNullSender()
	}
	p, err := in.known(ctx, e)
	switch {
	case err != nil:
		return milter.Pass, err
	case p.by == "" && in.readsMail():
		return milter.Take, nil
	case p.by == "":
		return milter.Pass, in.errUnproven("")
	}
	if p.person != nil {
		if err := in.mayAsk(ctx, *p.person); err != nil {
			return milter.Pass, err
		}
	}
	if a.word() == verify {
		return milter.Take, nil
	}
	if _, _, err := in.meant(ctx, a, p.person); err != nil {
		return milter.Pass, err
	}
	return milter.Take, nil
}

// reserved refuses addresses of the desk itself that take no requests.
func (in *Intake) reserved(a address) error {
	switch a.word() {
	case answer:
		return in.errAnswer()
	case verify:
		if in.Verify == nil {
			return in.errVerify()
		}
	}
	return nil
}

// tried reports whether a mail to this address is milterd's own trial.
func (in *Intake) tried(a address) bool {
	return a.word() == check && in.Returned != nil && in.Returned.Known(a.tag)
}

// meant finds who is meant by an address, one person or the members of a group,
// and the level that it names. sender is who self is; nil where that is not
// known yet, and then nobody is given for self.
func (in *Intake) meant(ctx context.Context, a address, sender *workflow.Person) ([]workflow.Person, workflow.Level, error) {
	if a.word() != self {
		// Somebody's address may have a + of its own.
		people, err := in.named(ctx, a.local)
		if err == nil || !a.plus || !errors.Is(err, directory.ErrNotFound) {
			return people, "", in.errSignatory(a, err)
		}
	}
	var level workflow.Level
	if a.plus {
		l, ok := workflow.ParseLevel(a.tag)
		if !ok {
			return nil, "", in.errTag(a)
		}
		if !in.offers(l) {
			return nil, "", errLevel(l)
		}
		level = l
	}
	if a.word() == self {
		if sender == nil {
			return nil, level, nil
		}
		return []workflow.Person{*sender}, level, nil
	}
	people, err := in.named(ctx, a.base)
	return people, level, in.errSignatory(a, err)
}

// named gives the person, or else the members of the group, with a local part.
func (in *Intake) named(ctx context.Context, local string) ([]workflow.Person, error) {
	p, err := in.Directory.ByLocalPart(ctx, local)
	if !errors.Is(err, directory.ErrNotFound) {
		return []workflow.Person{p}, err
	}
	people, err := in.Directory.Group(ctx, local)
	if err == nil && len(people) == 0 {
		return nil, errNoMembers
	}
	return people, err
}

// errNoMembers is a group that nobody is in.
var errNoMembers = errors.New("group without members")
