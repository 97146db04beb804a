package workflow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a page can submit.
const (
	MaxComment = 2000 // characters
	MaxTyped   = 100  // characters of a typed name
	MaxStrokes = 200
	MaxPoints  = 20000 // of all strokes together
	MaxPad     = 10000 // CSS pixels on either side
)

// Consume uses up a person's proof inside the transaction that acts on it. The
// digests, in document order, are of what is about to be signed: a proof that
// was given for others is refused.
type Consume = func(tx Tx, digests []Digest) (Proof, error)

// Sign takes a signatory's act at level Standard: it checks that shown names a
// revision of every mailed document by its digest, calls consume inside the
// transaction to use up the proof for these digests, and stores the act with the
// job that carries it out. The *Refusal's Reason is "not-signatory",
// "already-decided", "ended", "not-viewed", "wrong-level", "digest-mismatch",
// "bad-appearance", "preparing", or comes from consume.
func (d *Desk) Sign(ctx context.Context, v Visit, shown []Shown, a Appearance, client string, consume Consume) error {
	return d.noteRefusal(ctx, v, EventRefused, "", client, d.signStandard(ctx, v, shown, a, client, consume))
}

func (d *Desk) signStandard(ctx context.Context, v Visit, shown []Shown, a Appearance, client string, consume Consume) error {
	if err := a.tidy(); err != nil {
		return err
	}
	return d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		if s.Level != Standard {
			return refuse("wrong-level", "This session asks for a signature with your own key.", nil)
		}
		if err := checkLook(s, p, shown); err != nil {
			return err
		}
		proof, err := consume(tx, shownDigests(shown))
		if err != nil {
			return err
		}
		now := d.now()
		p.State, p.Decided = Signing, now
		p.Act = &Act{Shown: shown, Appearance: a, Proof: proof, At: now}
		if err := tx.Append(s.ID, signed(s, p, client)); err != nil {
			return err
		}
		if err := tx.Enqueue(Job{Kind: JobSign, Session: s.ID, Person: v.Person}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// signed is the event of an act.
func signed(s *Session, p *Participant, client string) Event {
	a := p.Act
	e := Event{Time: a.At, Kind: EventSigned, Actor: p.Mail, Client: client, Detail: map[string]string{
		"proof": a.Proof.Method, "challenge": a.Proof.Challenge, "appearance": a.Appearance.kind(),
	}}
	if a.Proof.Device != "" {
		e.Detail["device"] = a.Proof.Device
	}
	for _, sh := range a.Shown {
		n := "document " + strconv.Itoa(sh.Document+1)
		e.Detail[n] = s.Documents[sh.Document].Name
		e.Detail[n+" shown sha-256"] = sh.SHA256.String()
	}
	return e
}

// Decline ends the session; comment (at most MaxComment characters) goes to
// everyone. The *Refusal's Reason is "not-signatory", "already-decided",
// "ended", "comment-too-long" or "preparing".
func (d *Desk) Decline(ctx context.Context, v Visit, comment, client string) error {
	comment = strings.TrimSpace(strings.ToValidUTF8(comment, "\uFFFD"))
	if utf8.RuneCountInString(comment) > MaxComment {
		return refuse("comment-too-long", fmt.Sprintf("The comment is too long: at most %d characters.", MaxComment), nil)
	}
	return d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		now := d.now()
		p.State, p.Decided, p.Comment = Refused, now, comment
		e := Event{Time: now, Kind: EventDeclined, Actor: p.Mail, Client: client}
		if comment != "" {
			e.Detail = map[string]string{"comment": comment}
		}
		return d.end(tx, s, Declined, e)
	})
}

// decide runs fn on the locked session if its visitor may still sign or decline.
func (d *Desk) decide(ctx context.Context, v Visit, fn func(Tx, *Session, *Participant) error) error {
	err := d.Store.Do(ctx, func(tx Tx) error {
		s, err := tx.Session(v.Session.ID)
		if err != nil {
			return err
		}
		p := &s.People[v.Person]
		switch {
		case !p.Signatory:
			return refuse("not-signatory", "You are not asked to sign in this session.", nil)
		case s.State == Preparing:
			return stillPreparing()
		case p.State != Waiting:
			return refuse("already-decided", "Your answer is already on record.", nil)
		case s.State != Open:
			return refuse("ended", "This session is "+string(s.State)+".", nil)
		case !d.now().Before(s.Deadline):
			return refuse("ended", "The deadline of this session has passed.", nil)
		}
		return fn(tx, s, p)
	})
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		return storeAway(err)
	}
	return err
}

// checkLook wants a signatory who has looked, and at what is to be signed.
func checkLook(s *Session, p *Participant, shown []Shown) error {
	if p.Opened.IsZero() {
		return refuse("not-viewed", "Please look at the documents before you sign them.", nil)
	}
	return checkShown(s, shown)
}

// shownDigests are in document order, whatever order the page has.
func shownDigests(shown []Shown) []Digest {
	shown = slices.SortedFunc(slices.Values(shown), func(a, b Shown) int { return a.Document - b.Document })
	out := make([]Digest, len(shown))
	for i := range shown {
		out[i] = shown[i].SHA256
	}
	return out
}

// checkShown wants each mailed document exactly once, by the digest of one of
// the revisions that pages show: those since the layout, which add signatures
// only, or of what is no PDF the original.
func checkShown(s *Session, shown []Shown) error {
	mismatch := refuse("digest-mismatch", "What the page showed is not what would be signed. Please load the page again.", nil)
	seen := make(map[int]bool)
	for _, sh := range shown {
		if sh.Document < 0 || sh.Document >= len(s.Documents) || seen[sh.Document] {
			return mismatch
		}
		doc := &s.Documents[sh.Document]
		if doc.Kind != Mailed || sh.Revision < doc.firstShown() || sh.Revision >= len(doc.Revisions) || !doc.Grows() && sh.Revision > 0 ||
			doc.Revisions[sh.Revision].SHA256 != sh.SHA256 {
			return mismatch
		}
		seen[sh.Document] = true
	}
	if len(seen) != len(s.Mailed()) {
		return mismatch
	}
	return nil
}

// firstShown is the layout, or the original where nothing was laid out.
func (d *Document) firstShown() int {
	if len(d.Revisions) > 1 && d.Revisions[1].Kind == Layout {
		return 1
	}
	return 0
}

func (a Appearance) kind() string {
	if a.Typed != "" {
		return "typed"
	}
	return "drawn"
}

// tidy trims a typed name; the error is a *Refusal for what cannot be used.
func (a *Appearance) tidy() error {
	a.Typed = strings.TrimSpace(a.Typed)
	if err := a.check(); err != nil {
		return refuse("bad-appearance", "The drawn or typed signature cannot be used: "+err.Error()+".", nil)
	}
	return nil
}

func (a Appearance) check() error {
	if (a.Typed == "") == (len(a.Strokes) == 0) {
		return errors.New("either draw or type your name")
	}
	if a.Typed != "" {
		if utf8.RuneCountInString(a.Typed) > MaxTyped {
			return fmt.Errorf("at most %d characters", MaxTyped)
		}
		if strings.ContainsFunc(a.Typed, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return errors.New("it has characters that cannot be printed")
		}
		return nil
	}
	return a.checkStrokes()
}

func (a Appearance) checkStrokes() error {
	if !within(a.Width, 1, MaxPad) || !within(a.Height, 1, MaxPad) {
		return errors.New("the size of the pad is missing")
	}
	points := 0
	for _, s := range a.Strokes {
		points += len(s)
		for _, p := range s {
			if !within(p.X, -MaxPad, 2*MaxPad) || !within(p.Y, -MaxPad, 2*MaxPad) {
				return errors.New("a point lies outside the pad")
			}
		}
	}
	if len(a.Strokes) > MaxStrokes || points > MaxPoints {
		return errors.New("it has too many strokes")
	}
	if points < 2 {
		return errors.New("it is only a dot")
	}
	return nil
}

// within is false for NaN.
func within(v, low, high float64) bool { return !math.IsNaN(v) && v >= low && v <= high }

// Cancel stops a session for an administrator. It is a *Refusal ("ended") for
// one that has ended, and ErrNotFound for one that is not there.
func (d *Desk) Cancel(ctx context.Context, id, reason string) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		s, err := tx.Session(id)
		if err != nil {
			return err
		}
		if s.State.Ended() {
			return refuse("ended", "This session is already "+string(s.State)+".", nil)
		}
		s.Reason = reason
		e := Event{Time: d.now(), Kind: EventCancelled, Actor: byAdmin}
		if reason != "" {
			e.Detail = map[string]string{"reason": reason}
		}
		return d.end(tx, s, Cancelled, e)
	})
}

// end closes a session without a result: pending work is taken back, everyone
// who knows of the session is told.
func (d *Desk) end(tx Tx, s *Session, state State, e Event) error {
	kind := map[State]MailKind{Declined: MailDeclined, Expired: MailExpired, Cancelled: MailCancelled}[state]
	asked := s.State != Preparing
	s.State, s.Ended, s.Lease = state, e.Time, Lease{}
	if err := tx.Append(s.ID, e); err != nil {
		return err
	}
	// Mails look for themselves whether they are overtaken; that a device was
	// enrolled must be told, whatever ends the session.
	if err := tx.CancelJobs(s.ID, JobMail); err != nil {
		return err
	}
	for i := range s.People {
		if asked || s.People[i].Sender {
			if err := tx.Enqueue(Job{Kind: JobMail, Session: s.ID, Person: i, Mail: kind}); err != nil {
				return err
			}
		}
	}
	if err := d.retain(tx, s); err != nil {
		return err
	}
	return tx.Save(s)
}

// retain books the end of the documents' retention.
func (d *Desk) retain(tx Tx, s *Session) error {
	return tx.Enqueue(Job{Kind: JobRetain, Session: s.ID, At: s.Ended.Add(d.Policy.Retention)})
}

// Resend mails again what a session's state calls for: invitations to those who
// have not answered, the result, or how it ended; and it retries the session's
// jobs that ran out of tries or wait for their next one. It returns how many
// mails and jobs were started.
func (d *Desk) Resend(ctx context.Context, id string) (int, error) {
	jobs, err := d.Store.Jobs(ctx, id)
	if err != nil {
		return 0, err
	}
	n := 0
	err = d.Store.Do(ctx, func(tx Tx) error {
		s, err := tx.Session(id)
		if err != nil {
			return err
		}
		n = 0
		for _, j := range jobs {
			if j.State == "discarded" || j.State == "retryable" {
				if err := tx.RetryJob(j.ID); err != nil {
					return err
				}
				n++
			}
		}
		s.Round++
		for i, kind := range s.due() {
			if err := tx.Enqueue(Job{Kind: JobMail, Session: id, Person: i, Mail: kind, Round: s.Round}); err != nil {
				return err
			}
			n++
		}
		if err := tx.Append(id, Event{Time: d.now(), Kind: EventResent, Actor: byAdmin}); err != nil {
			return err
		}
		return tx.Save(s)
	})
	return n, err
}

// due is the mail that each participant should have by the session's state.
func (s *Session) due() map[int]MailKind {
	out := make(map[int]MailKind)
	for i := range s.People {
		switch p := &s.People[i]; s.State {
		case Open:
			if p.Signatory && p.State == Waiting {
				out[i] = MailInvitation
			}
		case Done:
			out[i] = MailResult
		case Declined:
			out[i] = MailDeclined
		case Expired:
			out[i] = MailExpired
		case Cancelled:
			out[i] = MailCancelled
		}
	}
	return out
}
