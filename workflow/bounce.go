package workflow

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Mailing names one mail of ours; its bounce address carries it. A code mailed
// anew counts as the same mailing.
type Mailing struct {
	Session string // or the id of a Held, for MailConfirm
	Person  int    // index in Session.People
	Mail    MailKind
	Round   int // Session.Round when it was sent again
}

// Failure is what a mail server said of a mail that it did not deliver. Its
// texts are foreign: Desk makes one line of them and cuts them.
type Failure struct {
	Unclear    bool   `json:"unclear,omitempty"`    // the mail came back, but not in a form that programs read
	Recipient  string `json:"recipient,omitempty"`  // as the server names it, if it is not the participant's address
	Status     string `json:"status,omitempty"`     // RFC 3463: "5.1.1"
	Diagnostic string `json:"diagnostic,omitempty"` // the server's own words
}

// Returned is a mail of ours that did not arrive. Each mailing has at most one.
type Returned struct {
	Person int       `json:"person"`
	Mail   MailKind  `json:"mail"`
	Round  int       `json:"round,omitempty"`
	At     time.Time `json:"at"`
	Failure
}

// Rejected is in the chain of a Notifier's Drop if a mail server refused the
// mail for good while it was handed over.
type Rejected struct{ Failure }

func (r Rejected) Error() string { return r.Diagnostic }

// maxDiagnostic bounds what is kept of a server's words, in characters.
const maxDiagnostic = 300

// tidy makes one short line of each foreign text.
func (f Failure) tidy(to string) Failure {
	f.Recipient, f.Status, f.Diagnostic = line(f.Recipient, 254), line(f.Status, 11), line(f.Diagnostic, maxDiagnostic)
	if strings.EqualFold(f.Recipient, to) {
		f.Recipient = ""
	}
	return f
}

// line drops what is no text, makes one space of white space, and cuts after
// max characters.
func line(s string, max int) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " ")
	if r := []rune(s); len(r) > max {
		s = string(r[:max-1]) + "…"
	}
	return s
}

// Bounced notes that a mail of ours came back, and has the sender told. A
// mailing that is on record already, or that the session does not know, changes
// nothing; noted is false then. The error is a *Refusal, "store-away".
func (d *Desk) Bounced(ctx context.Context, m Mailing, f Failure) (noted bool, err error) {
	err = d.change(ctx, m.Session, func(tx Tx, s *Session) error {
		if !s.mailed(m) {
			return errMoot
		}
		noted = true
		return d.undelivered(tx, s, m, f, Event{Time: d.now(), Kind: EventBounced, Actor: byMilterd, Detail: map[string]string{
			"mail": string(m.Mail), "to": s.People[m.Person].Mail}})
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, storeAway(err)
	}
	return noted, nil
}

// mailed reports whether a mailing can have gone out and is not on record as
// undelivered.
func (s *Session) mailed(m Mailing) bool {
	if m.Person < 0 || m.Person >= len(s.People) || m.Round < 0 || m.Round > s.Round {
		return false
	}
	for _, r := range s.Returned {
		if r.Person == m.Person && r.Mail == m.Mail && r.Round == m.Round {
			return false
		}
	}
	return true
}

// undelivered puts a mail that did not arrive on record, and plans the mail
// that tells the sender, unless it was to the sender or nobody misses it.
func (d *Desk) undelivered(tx Tx, s *Session, m Mailing, f Failure, e Event) error {
	r := Returned{Person: m.Person, Mail: m.Mail, Round: m.Round, At: e.Time, Failure: f.tidy(s.People[m.Person].Mail)}
	for k, v := range map[string]string{"status": r.Status, "diagnostic": r.Diagnostic, "recipient": r.Recipient} {
		if v != "" {
			e.Detail[k] = v
		}
	}
	if r.Unclear {
		e.Detail["reason"] = "returned without a readable report"
	}
	if err := tx.Append(s.ID, e); err != nil {
		return err
	}
	s.Returned = append(s.Returned, r)
	if n := len(s.Returned); s.misses(&r) {
		if err := tx.Enqueue(Job{Kind: JobMail, Session: s.ID, Person: s.senderIndex(), Mail: MailReturned, Returned: n}); err != nil {
			return err
		}
	}
	return tx.Save(s)
}

// misses reports whether the sender should hear that a mail did not arrive:
// never of his own mails, which would only come back again; of an invitation,
// asked anew or not, or a code as long as its reader is waited for; of a result in any case.
func (s *Session) misses(r *Returned) bool {
	p := &s.People[r.Person]
	switch {
	case p.Sender:
		return false
	case r.Mail == MailResult:
		return s.State == Done && s.Purged.IsZero()
	case r.Mail == MailInvitation, r.Mail == MailAgain, r.Mail == MailCode:
		return s.State == Open && p.State == Waiting
	}
	return false
}

func (s *Session) senderIndex() int {
	for i := range s.People {
		if s.People[i].Sender {
			return i
		}
	}
	return -1
}

// Unreached reports whether a participant is missed because a mail did not
// arrive: the newest invitation or a code while the session waits for the
// participant, or the result.
func (s *Session) Unreached(person int) bool {
	for i := range s.Returned {
		r := &s.Returned[i]
		newest := r.Mail != MailInvitation || r.Round == s.Round
		if r.Person == person && newest && s.misses(r) {
			return true
		}
	}
	return false
}

// returned gives the entry that a job of MailReturned is about.
func (s *Session) returned(j Job) *Returned {
	if j.Returned < 1 || j.Returned > len(s.Returned) {
		return nil
	}
	return &s.Returned[j.Returned-1]
}

// returnedKey tells mails of one kind apart: about different returned mails, codes,
// preparations, devices.
func (j Job) returnedKey() string {
	if j.Returned == 0 {
		return cmp.Or(j.Challenge, j.Preparation, j.Credential)
	}
	return "returned " + strconv.Itoa(j.Returned)
}
