package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Held is a mail that names somebody of the directory as its sender, which
// nothing has proven. It opens nothing until that person confirms it on a page
// whose link went to their mailbox, and only there.
//
// Its details are for that page; the mail that asks quotes none of them.
type Held struct {
	ID         string         `json:"id"`                  // as of a session
	Key        Digest         `json:"key"`                 // of sender, Message-ID, subject and body: the same mail
	Person     Person         `json:"person"`              // whom From and envelope name
	Client     string         `json:"client"`              // network of who brought it; "" if only the LMTP door knows of it
	Delivered  bool           `json:"delivered,omitempty"` // came by the LMTP door
	From       string         `json:"from"`                // envelope sender
	Recipients []string       `json:"recipients"`
	QueueID    string         `json:"queue_id"`
	Subject    string         `json:"subject,omitempty"`
	Level      Level          `json:"level,omitempty"`
	Asks       []Person       `json:"asks,omitempty"`
	Documents  []HeldDocument `json:"documents,omitempty"`
	Received   time.Time      `json:"received"`
	State      HeldState      `json:"state"`
	Session    string         `json:"session,omitempty"` // that it opened
}

// HeldDocument is an attachment that nobody has looked into yet.
type HeldDocument struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 Digest `json:"sha256"`
}

// HeldState says what became of a held mail. Decided ones are kept without
// their content until Until, because they count towards the limits.
type HeldState string

// The states.
const (
	HeldWaiting   HeldState = "waiting"
	HeldConfirmed HeldState = "confirmed" // its session is open
	HeldDenied    HeldState = "denied"    // "this was not me"
	HeldRefused   HeldState = "refused"   // confirmed, but nothing could be opened
)

// Limits of held mails. They bound what a forger can make us send and store;
// who sends much without proof should log in.
const (
	HeldFor       = 24 * time.Hour
	HeldPerPerson = 3         // in that time; one of them may wait
	HeldPerClient = 20        // in that time, from one network; the LMTP door is one
	HeldInAll     = 200       // in that time
	HeldBytes     = 100 << 20 // of waiting mails
)

// Until is when a held mail is forgotten.
func (h *Held) Until() time.Time { return h.Received.Add(HeldFor) }

// Hold keeps a mail, and plans the mail that asks its supposed sender. If the
// same mail waits already, or was confirmed, only recipients that the LMTP door
// brings are added, and nobody is asked again; created is false then. The caller sets all fields but
// ID, Received and State. The *Refusal's Reason is "confirmation-denied",
// "confirmation-waits", "too-many-held" (4xx where waiting may help), or "store-away".
func (d *Desk) Hold(ctx context.Context, h Held, mail []byte) (held *Held, created bool, err error) {
	now := d.now()
	h.ID, h.Received, h.State = newID(), now, HeldWaiting
	err = d.Store.Do(ctx, func(tx Tx) error {
		all, bytes, err := tx.HeldNow()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(o *Held) bool { return !now.Before(o.Until()) })
		for _, o := range all {
			if o.Key != h.Key {
				continue
			}
			if held, err = tx.Held(o.ID); err != nil { // locked: it may be decided just now
				return err
			}
			added, err := held.join(&h)
			if err != nil || !added {
				return err
			}
			return tx.SaveHeld(held)
		}
		if err := roomFor(&h, all, bytes+int64(len(mail))); err != nil {
			return err
		}
		token := d.Secrets.HeldToken(h.ID)
		held, created = &h, true
		if err := tx.Hold(&h, d.Secrets.TokenHash(token), mail); err != nil {
			return err
		}
		return tx.Enqueue(Job{Kind: JobAsk, Held: h.ID}, Job{Kind: JobForget, Held: h.ID, At: h.Until()})
	})
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return nil, false, r
	case err != nil:
		return nil, false, storeAway(err)
	}
	return held, created, nil
}

// join takes the recipients of the same mail that came once more; added is true
// if there are new ones. They come by the LMTP door only, where an alias chose
// them: at the other door whoever has a copy of the mail could add somebody
// after its supposed sender has looked at the page. None ever leaves, so their
// number tells whether a page shows them all.
func (h *Held) join(again *Held) (added bool, err error) {
	var fresh []string
	for _, r := range again.Recipients {
		if !slices.Contains(h.Recipients, r) {
			fresh = append(fresh, r)
		}
	}
	switch {
	case h.State == HeldDenied, h.State == HeldRefused:
		return false, notYours("confirmation-denied", 550, "5.7.1")
	case h.State == HeldConfirmed && len(fresh) > 0:
		return false, notYours("confirmation-waits", 550, "5.7.1")
	case len(fresh) == 0:
		return false, nil
	case !again.Delivered:
		return false, notYours("confirmation-waits", 450, "4.7.1")
	}
	h.Recipients = append(h.Recipients, fresh...)
	for _, p := range again.Asks {
		if !slices.ContainsFunc(h.Asks, func(q Person) bool { return q.Mail == p.Mail }) {
			h.Asks = append(h.Asks, p)
		}
	}
	return true, nil
}

// roomFor checks the limits against all that is held.
func roomFor(h *Held, all []*Held, bytes int64) error {
	person, client := 0, 0
	for _, o := range all {
		if strings.EqualFold(o.Person.Mail, h.Person.Mail) {
			person++
			switch o.State {
			case HeldDenied:
				return notYours("confirmation-denied", 550, "5.7.1")
			case HeldWaiting:
				return notYours("confirmation-waits", 450, "4.7.1")
			}
		}
		if o.Client == h.Client {
			client++
		}
	}
	switch {
	case person >= HeldPerPerson:
		return notYours("too-many-held", 550, "5.7.1")
	case client >= HeldPerClient, len(all) >= HeldInAll, bytes > HeldBytes:
		return notYours("too-many-held", 450, "4.7.1")
	}
	return nil
}

func notYours(reason string, code int, enhanced string) *Refusal {
	text := "The signature desk cannot tell who you are, and asks for no further confirmation today; log in to your mail server to send here."
	if reason == "confirmation-waits" {
		text = "An earlier mail in your name waits for your confirmation; confirm it first, or log in to your mail server to send here."
	}
	return &Refusal{Code: code, Enhanced: enhanced, Reason: reason, Text: text}
}

// ask mails the person in whose name a mail is held.
func (d *Desk) ask(ctx context.Context, j Job) error {
	token := d.Secrets.HeldToken(j.Held)
	h, err := d.Store.Held(ctx, d.Secrets.TokenHash(token))
	if err != nil {
		return err
	}
	if h.State != HeldWaiting || !d.now().Before(h.Until()) {
		return nil
	}
	n := Notice{Kind: MailConfirm, Key: h.ID, Held: h, Link: d.Policy.URL + "/c#" + token, Until: h.Until()}
	if err := d.Notifier.Send(ctx, n); err != nil {
		return err
	}
	d.Log.Info("asked to confirm a held mail", "held", h.ID, "to", h.Person.Mail, "queue", h.QueueID)
	return nil
}

// forget ends the wait.
func (d *Desk) forget(ctx context.Context, j Job) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		h, err := tx.Held(j.Held)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if wait := h.Until().Sub(d.now()); wait > 0 {
			return Snooze{For: wait}
		}
		if h.State == HeldWaiting {
			d.Log.Info("held mail forgotten, nobody has confirmed it", "held", h.ID, "to", h.Person.Mail, "queue", h.QueueID)
		}
		return tx.DropHeld(h.ID)
	})
}

// Waiting gives a held mail that can still be confirmed. Nothing is recorded.
// The *Refusal's Reason is "unknown-link", "confirmed", "denied", "expired" or
// "store-away".
func (d *Desk) Waiting(ctx context.Context, token string) (*Held, error) {
	h, err := d.Store.Held(ctx, d.Secrets.TokenHash(token))
	if errors.Is(err, ErrNotFound) {
		return nil, refuse("unknown-link", "This link is not known here. Please open it again from the mail.", nil)
	}
	if err != nil {
		return nil, storeAway(err)
	}
	return h, d.waits(h)
}

// HeldMail gives the bytes of a mail that waits.
func (d *Desk) HeldMail(ctx context.Context, id string) ([]byte, error) {
	mail, err := d.Store.HeldMail(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, dropped()
	}
	if err != nil {
		return nil, storeAway(err)
	}
	return mail, nil
}

func dropped() *Refusal {
	return refuse("expired", "This mail waited for a day and was dropped.", nil)
}

func (d *Desk) waits(h *Held) error {
	switch {
	case h.State == HeldConfirmed:
		return refuse("confirmed", "This request is confirmed already.", nil)
	case h.State == HeldDenied, h.State == HeldRefused:
		return refuse("denied", "This mail was dropped; nothing came of it.", nil)
	case !d.now().Before(h.Until()):
		return dropped()
	}
	return nil
}

// ShownWith refuses a confirmation by somebody who has seen another number of
// recipients; Reason "held-changed" (4xx: the mail still waits).
func (h *Held) ShownWith(recipients int) error {
	if recipients == len(h.Recipients) {
		return nil
	}
	return &Refusal{Code: 450, Enhanced: "4.7.1", Reason: "held-changed",
		Text: "More people were added to this request since you looked. Please look again."}
}

// EndHeld ends a held mail without a session: its supposed sender says that it
// is not theirs, or it cannot be opened. Reasons are those of Waiting.
func (d *Desk) EndHeld(ctx context.Context, id string, state HeldState) error {
	err := d.Store.Do(ctx, func(tx Tx) error { return d.decideHeld(tx, id, state, "", 0) })
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		return storeAway(err)
	}
	return err
}

// decideHeld uses up a held mail: of two visitors at once, one decides. Nobody
// confirms recipients who joined after they looked; seen is how many there were.
func (d *Desk) decideHeld(tx Tx, id string, state HeldState, session string, seen int) error {
	h, err := tx.Held(id)
	if errors.Is(err, ErrNotFound) {
		return dropped()
	}
	if err != nil {
		return fmt.Errorf("held mail %s: %w", id, err)
	}
	if err := d.waits(h); err != nil {
		return err
	}
	if state == HeldConfirmed {
		if err := h.ShownWith(seen); err != nil {
			return err
		}
	}
	h.State, h.Session = state, session
	h.Subject, h.Documents, h.Asks = "", nil, nil
	return tx.SaveHeld(h)
}
