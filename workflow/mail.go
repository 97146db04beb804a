package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CodeLifetime is how long a mailed code can be used.
const CodeLifetime = 10 * time.Minute

// mail writes one mail and hands it to the Notifier. The mail's key is the same
// at every try, so that a mail that goes out twice after a crash is the same.
func (d *Desk) mail(ctx context.Context, j Job) error {
	s, err := d.Store.Session(ctx, j.Session)
	if err != nil {
		return err
	}
	if j.Person < 0 || j.Person >= len(s.People) {
		return Drop{fmt.Errorf("session %s has no participant %d", j.Session, j.Person)}
	}
	if j.Mail != MailCode && !s.wants(j) {
		return nil // overtaken by events
	}
	n := Notice{
		Kind: j.Mail, Session: s, To: j.Person, Round: j.Round, By: -1,
		Key: s.MailKey(j.Person, j.Mail, j.Round, j.returnedKey()),
	}
	if sent, err := d.onRecord(ctx, n); sent || err != nil {
		return err
	}
	switch j.Mail {
	case MailInvitation, MailResult:
		n.Link = d.link(s, j.Person)
	case MailAgain:
		n.Link, n.Again = d.link(s, j.Person), s.People[j.Person].Again
	case MailEnrolled:
		n.Link = d.link(s, j.Person)
		if n.Credential, err = d.enrolled(ctx, s.People[j.Person].Mail, j.Credential); err != nil {
			return err
		}
	case MailDeclined:
		for i := range s.People {
			if s.People[i].State == Refused {
				n.By = i
			}
		}
	case MailCode:
		ok, err := d.fillCode(ctx, &n, j)
		if err != nil || !ok {
			return err
		}
	case MailReturned:
		n.Returned = s.returned(j)
		n.By = n.Returned.Person
		if n.Returned.Mail == MailResult {
			n.Link, n.Until = d.link(s, j.Person), s.Ended.Add(d.Policy.Retention)
		}
	}
	if j.Mail == MailResult {
		if err := d.attach(ctx, &n); err != nil {
			return err
		}
	}
	return d.send(ctx, n)
}

func (d *Desk) link(s *Session, person int) string {
	return d.Policy.URL + "/s#" + d.Secrets.Token(s.ID, person)
}

// MailKey names a mail of the session: the same mail, sent again or not, has
// the same key, and its Message-ID comes from it.
func (s *Session) MailKey(person int, kind MailKind, round int, challenge string) string {
	return strings.Join([]string{s.ID, strconv.Itoa(person), string(kind), strconv.Itoa(round), challenge}, ".")
}

// wants reports whether a mail still says what is so.
func (s *Session) wants(j Job) bool {
	p := &s.People[j.Person]
	switch j.Mail {
	case MailInvitation:
		return s.State == Open && p.State == Waiting
	case MailReceipt:
		return s.State == Open || s.State == Sealing
	case MailAgain:
		return s.State == Open && p.State == Waiting && p.Again != ""
	case MailEnrolled:
		return true // whatever became of the session
	case MailReturned:
		r := s.returned(j)
		return r != nil && s.misses(r)
	}
	return s.due()[j.Person] == j.Mail
}

// enrolled is the credential that a mail tells of; ErrNotFound.
func (d *Desk) enrolled(ctx context.Context, mail, id string) (*Credential, error) {
	all, err := d.Store.Credentials(ctx, mail)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, fmt.Errorf("a credential of %s: %w", mail, ErrNotFound)
}

// fillCode derives the code; ok is false when a newer one was asked for, or
// when it would come too late.
func (d *Desk) fillCode(ctx context.Context, n *Notice, j Job) (ok bool, err error) {
	err = d.Store.Do(ctx, func(tx Tx) error {
		c, err := tx.Challenge(j.Session, j.Person)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		n.CodeExpires = c.Issued.Add(CodeLifetime)
		ok = c.ID == j.Challenge && d.now().Before(n.CodeExpires)
		return nil
	})
	n.Code = d.Secrets.Code(j.Session, j.Person, j.Challenge)
	return ok, err
}

// attach adds the signed documents and the report, unless the mail would be
// too large; then its link leads to them.
func (d *Desk) attach(ctx context.Context, n *Notice) error {
	s := n.Session
	if !s.Purged.IsZero() {
		return ErrGone
	}
	n.Until = s.Ended.Add(d.Policy.Retention)
	sizes := make([]int64, len(s.Documents))
	for i := range s.Documents {
		sizes[i] = s.Documents[i].Head().Size
	}
	if s.Delivery == Download || d.Policy.MailSize(sizes...) > d.Policy.MailLimit {
		return nil
	}
	for i := range s.Documents {
		doc := &s.Documents[i]
		b, err := d.Store.Content(ctx, s.ID, i, doc.Head().Number)
		if err != nil {
			return err
		}
		n.Attachments = append(n.Attachments, Attachment{Name: doc.ResultName(), ContentType: doc.ResultType(), Content: b})
	}
	return nil
}

// onRecord reports whether the mail went out before, or was refused for good: a
// job whose end was lost in a crash runs again, and what the trail knows must
// not be sent, or told, twice.
func (d *Desk) onRecord(ctx context.Context, n Notice) (bool, error) {
	events, err := d.Store.Events(ctx, n.Session.ID)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(events, func(e Event) bool {
		return (e.Kind == EventMailed || e.Kind == EventUnsent) && e.Detail["key"] == n.Key
	}), nil
}

// send delivers and puts it on record. A mail that is refused for good is on
// record too, and the sender hears of it as of one that comes back later.
func (d *Desk) send(ctx context.Context, n Notice) error {
	err := d.Notifier.Send(ctx, n)
	var drop Drop
	if err != nil && !errors.As(err, &drop) {
		return err
	}
	e := Event{Time: d.now(), Kind: EventMailed, Actor: byMilterd, Detail: map[string]string{
		"mail": string(n.Kind), "to": n.Recipient().Mail, "key": n.Key,
	}}
	record := func(tx Tx, s *Session) error { return tx.Append(s.ID, e) }
	if err != nil {
		e.Kind = EventUnsent
		e.Detail["error"] = drop.Error()
		var rejected Rejected
		errors.As(err, &rejected)
		record = func(tx Tx, s *Session) error {
			if m := n.Mailing(); s.mailed(m) {
				return d.undelivered(tx, s, m, rejected.Failure, e)
			}
			return tx.Append(s.ID, e)
		}
	}
	if err := d.change(ctx, n.Session.ID, record); err != nil {
		return fmt.Errorf("recording a mail that was sent: %w", err)
	}
	return err
}
