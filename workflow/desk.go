package workflow

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Desk carries out what people and jobs ask of sessions. It is the only place
// that changes a session's state. Its methods are safe for concurrent use.
type Desk struct {
	Store     Store
	Signer    Signer
	Certifier Certifier          // of people's own keys
	Acceptors map[Level]Acceptor // of other authorities' certificates; none: a level takes no such
	Archivist Archivist
	Reporter  Reporter
	Notifier  Notifier
	Secrets   Secrets
	Log       *slog.Logger
	Now       func() time.Time
	Policy    Policy

	ready readiness
}

// Policy is what the configuration decides about sessions.
type Policy struct {
	URL       string        // base of the signing pages, https://sign.corp.com, no slash at the end
	Deadline  time.Duration // of a session, at most MaxDeadline
	Retention time.Duration // of documents after the end of their session
	MailLimit int64         // bytes: the largest mail that Postfix takes (message_size_limit)
	Repeat    time.Duration // how long the same mail opens nothing twice
	PerHour   int           // sessions that one sender may open in an hour; 0 for any number

	// MailSize gives the size in bytes, from above, of a result mail with
	// attachments of these sizes.
	MailSize func(attachments ...int64) int64
}

// MaxDeadline is the longest time that a session stays open.
const MaxDeadline = 30 * 24 * time.Hour

// Visit is somebody who came with a valid link.
type Visit struct {
	Session *Session
	Person  int // index in Session.People
	// Device is the credential of the enrolled device at which the visitor is, as
	// its browser is remembered; empty after a mailed code.
	Device string
}

// Who is the participant who visits.
func (v Visit) Who() *Participant { return &v.Session.People[v.Person] }

// Actor names of events that nobody in the session caused.
const (
	byMilterd = "milterd"
	byAdmin   = "administrator"
)

// Visit finds the session of a link's token. Its error is a *Refusal:
// "unknown-link", or "store-away". Nothing is recorded.
func (d *Desk) Visit(ctx context.Context, token string) (Visit, error) {
	id, person, err := d.Store.Participant(ctx, d.Secrets.TokenHash(token))
	if errors.Is(err, ErrNotFound) {
		return Visit{}, refuse("unknown-link", "This link is not known here. Please open it again from the mail.", nil)
	}
	if err != nil {
		return Visit{}, storeAway(err)
	}
	s, err := d.Store.Session(ctx, id)
	if err != nil {
		return Visit{}, storeAway(err)
	}
	return Visit{Session: s, Person: person}, nil
}

// View gives a document to a visitor whose device is proven, in the revision
// that pages show, and records the first look of each visitor. The *Refusal's Reason is
// "preparing", "no-document", or "gone" after retention.
func (d *Desk) View(ctx context.Context, v Visit, document int, client string) ([]byte, Revision, error) {
	s := v.Session
	switch {
	case s.State == Preparing:
		return nil, Revision{}, stillPreparing()
	case document < 0 || document >= len(s.Documents):
		return nil, Revision{}, refuse("no-document", "There is no such document in this session.", nil)
	case !s.Purged.IsZero():
		return nil, Revision{}, gone()
	}
	head := s.Shown(document)
	b, err := d.Store.Content(ctx, s.ID, document, head.Number)
	if errors.Is(err, ErrGone) {
		return nil, Revision{}, gone()
	}
	if err != nil {
		return nil, Revision{}, storeAway(err)
	}
	if v.Who().Opened.IsZero() {
		if err := d.recordView(ctx, v, client); err != nil {
			return nil, Revision{}, storeAway(err)
		}
	}
	return b, head, nil
}

func (d *Desk) recordView(ctx context.Context, v Visit, client string) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		s, err := tx.Session(v.Session.ID)
		if err != nil {
			return err
		}
		p := &s.People[v.Person]
		if !p.Opened.IsZero() {
			return nil
		}
		p.Opened = d.now()
		if err := tx.Append(s.ID, Event{Time: p.Opened, Kind: EventViewed, Actor: p.Mail, Client: client}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// Sweep drops what is out of date: request keys, codes, devices. serve calls
// it from time to time.
func (d *Desk) Sweep(ctx context.Context) error {
	return d.Store.Do(ctx, func(tx Tx) error { return tx.Sweep(d.now()) })
}

// Ready says whether a signature could be completed now: nil, or which
// timestamp authority is away. The answer is kept for some seconds, so that
// visitors cannot make us hammer an authority.
func (d *Desk) Ready(ctx context.Context) error {
	r := &d.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := d.now(); r.at.IsZero() || now.Sub(r.at) > 10*time.Second || now.Before(r.at) {
		// A visitor who goes away must not leave "away" behind for the next.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		r.err, r.at = d.Signer.Ready(ctx), now
	}
	return r.err
}

type readiness struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// now is cut to what both databases keep.
func (d *Desk) now() time.Time { return d.Now().UTC().Truncate(time.Microsecond) }

// newID gives 80 random bits as 16 lower-case base32 digits.
func newID() string {
	var b [10]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return idOf(b[:])
}

// idOf makes an id of the first 80 bits.
func idOf(b []byte) string { return strings.ToLower(base32.StdEncoding.EncodeToString(b[:10])) }

// refuse makes a refusal for a page; its SMTP code is never used there.
func refuse(reason, text string, err error) *Refusal {
	return &Refusal{Code: 550, Enhanced: "5.7.1", Reason: reason, Text: text, Err: err}
}

func storeAway(err error) *Refusal {
	return &Refusal{Code: 451, Enhanced: "4.3.0", Reason: "store-away",
		Text: "The signature desk cannot reach its database. Please try again in a few minutes.", Err: err}
}

func stillPreparing() *Refusal {
	return refuse("preparing", "The documents are being prepared. Please try again in a moment.", nil)
}

func gone() *Refusal {
	return refuse("gone", "The documents of this session were deleted when their retention time was over.", ErrGone)
}
