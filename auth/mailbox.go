package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// Limits of mailed codes and remembered devices. Only codes that nobody answered
// rightly count: whoever signs twenty contracts a day needs twenty. A code is a
// guess in a million; five tries and twenty codes a day make one in ten thousand
// a day, for somebody who has links. One link can use up half of that: the
// others of its person still work.
const (
	CodeTries      = 5
	CodesPerHour   = 6 // of one link
	CodesPerDay    = 10
	CodesOfAddress = 20               // a day, by all links of a mail address
	CodePause      = 20 * time.Second // an impatient second tap sends no second code
	DeviceLifetime = 90 * 24 * time.Hour
)

// Mailbox proves that a visitor reads the mailbox of a participant.
type Mailbox struct {
	Store workflow.Store
	Keys  *Keys
	Now   func() time.Time
}

// RequestCode starts a new challenge and the job that mails its code. The
// *workflow.Refusal's Reason is "too-many-codes" when too many were asked for and
// not answered.
func (m *Mailbox) RequestCode(ctx context.Context, v workflow.Visit, client string) (expires time.Time, err error) {
	err = m.do(ctx, func(tx workflow.Tx) error {
		if _, err := tx.Session(v.Session.ID); err != nil { // the lock that serialises two taps
			return err
		}
		now, mail := m.now(), v.Who().Mail
		last, err := tx.Challenge(v.Session.ID, v.Person)
		if err != nil && !errors.Is(err, workflow.ErrNotFound) {
			return err
		}
		if err == nil && now.Sub(last.Issued) < CodePause && last.Signed.IsZero() && last.Tries < CodeTries {
			expires = last.Issued.Add(workflow.CodeLifetime)
			return nil
		}
		if err := m.checkShare(tx, v, now); err != nil {
			return err
		}
		c := &workflow.Challenge{ID: random(), Session: v.Session.ID, Person: v.Person, Mail: mail, Issued: now}
		expires = now.Add(workflow.CodeLifetime)
		if err := tx.SaveChallenge(c); err != nil {
			return err
		}
		e := workflow.Event{Time: now, Kind: workflow.EventCodeAsked, Actor: mail, Client: client,
			Detail: map[string]string{"challenge": c.ID}}
		if err := tx.Append(c.Session, e); err != nil {
			return err
		}
		return tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: c.Session, Person: c.Person,
			Mail: workflow.MailCode, Challenge: c.ID})
	})
	return expires, err
}

// checkShare counts the codes that were asked for in vain.
func (m *Mailbox) checkShare(tx workflow.Tx, v workflow.Visit, now time.Time) error {
	all, err := tx.ChallengesSince(v.Who().Mail, now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	var hour, day, address int
	for _, c := range all {
		if !c.Opened.IsZero() || !c.Signed.IsZero() {
			continue
		}
		address++
		if c.Session == v.Session.ID && c.Person == v.Person {
			day++
			if now.Sub(c.Issued) < time.Hour {
				hour++
			}
		}
	}
	switch {
	case day >= CodesPerDay || address >= CodesOfAddress:
		return refuse("too-many-codes", "Too many codes were asked for and not used. Please try again tomorrow.")
	case hour >= CodesPerHour:
		return refuse("too-many-codes", "Too many codes were asked for and not used. Please try again in an hour.")
	}
	return nil
}

// Open checks a code for opening the documents and remembers the device:
// cookie is the value that the browser gets. Reasons: "wrong-code" (with the
// tries that are left in Text), "code-expired" (also: used up, or none asked).
func (m *Mailbox) Open(ctx context.Context, v workflow.Visit, code, client, agent string) (cookie string, expires time.Time, err error) {
	err = m.check(ctx, v, code, client, func(tx workflow.Tx, c *workflow.Challenge) error {
		if !c.Opened.IsZero() {
			return expired()
		}
		now := m.now()
		c.Opened, expires = now, now.Add(DeviceLifetime)
		if err := tx.SaveChallenge(c); err != nil {
			return err
		}
		var err error
		if cookie, err = m.Keys.remember(tx, c.Mail, "", agent, now, expires); err != nil {
			return err
		}
		return tx.Append(c.Session, workflow.Event{Time: now, Kind: workflow.EventProven, Actor: c.Mail, Client: client,
			Detail: map[string]string{"proof": methodCode, "challenge": c.ID, "device": agent}})
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return cookie, expires, nil
}

// remember makes a cookie for a browser that has proven somebody's mailbox: by
// a mailed code, or as the device of a credential.
func (k *Keys) remember(tx workflow.Tx, mail, credential, agent string, now, expires time.Time) (cookie string, err error) {
	var b [32]byte
	rand.Read(b[:])
	cookie = encode(b[:])
	return cookie, tx.AddDevice(&workflow.Device{Hash: k.DeviceHash(cookie), Mail: mail, Created: now, Expires: expires, Agent: agent,
		Credential: credential})
}

// methodCode is how reports name the proof by code.
const methodCode = "mailed code"

// Remembered reports whether a cookie's device has proven the visitor's
// mailbox, and was not removed since; enrolled is its credential, if it is a device
// that its person has enrolled.
func (m *Mailbox) Remembered(ctx context.Context, v workflow.Visit, cookie string) (enrolled string, ok bool) {
	if cookie == "" {
		return "", false
	}
	d, err := m.Store.Device(ctx, m.Keys.DeviceHash(cookie))
	if err != nil || !strings.EqualFold(d.Mail, v.Who().Mail) || !m.now().Before(d.Expires) {
		return "", false
	}
	if d.Credential == "" {
		return "", true
	}
	all, err := m.Store.Credentials(ctx, d.Mail)
	return d.Credential, err == nil && slices.ContainsFunc(all, func(c *workflow.Credential) bool { return c.ID == d.Credential && c.Revoked.IsZero() })
}

// ForSigning checks a code, counts a wrong one, and returns what uses it up
// inside the transaction of workflow.Desk.Sign. A code that opened the
// documents may sign once within its lifetime. Reasons as for Open.
func (m *Mailbox) ForSigning(ctx context.Context, v workflow.Visit, code, client string) (consume workflow.Consume, err error) {
	var id string
	err = m.check(ctx, v, code, client, func(_ workflow.Tx, c *workflow.Challenge) error {
		id = c.ID
		if !c.Signed.IsZero() {
			return expired()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func(tx workflow.Tx, _ []workflow.Digest) (workflow.Proof, error) {
		c, err := tx.Challenge(v.Session.ID, v.Person)
		if err != nil {
			return workflow.Proof{}, err
		}
		if c.ID != id || !c.Signed.IsZero() {
			return workflow.Proof{}, expired()
		}
		c.Signed = m.now()
		return workflow.Proof{Method: methodCode, Challenge: id, At: c.Signed, Client: client}, tx.SaveChallenge(c)
	}, nil
}

// check runs fn if the code is that of the participant's newest challenge. A
// wrong code is counted and on record although the call fails.
func (m *Mailbox) check(ctx context.Context, v workflow.Visit, code, client string, fn func(workflow.Tx, *workflow.Challenge) error) error {
	var answer error
	err := m.do(ctx, func(tx workflow.Tx) error {
		answer = nil
		// The session's row is locked first, so that two guesses at once are two tries.
		if _, err := tx.Session(v.Session.ID); err != nil {
			return err
		}
		c, err := tx.Challenge(v.Session.ID, v.Person)
		switch {
		case errors.Is(err, workflow.ErrNotFound):
			answer = expired()
			return nil
		case err != nil:
			return err
		case c.Tries >= CodeTries || !m.now().Before(c.Issued.Add(workflow.CodeLifetime)):
			answer = expired()
			return nil
		}
		want := m.Keys.Code(c.Session, c.Person, c.ID)
		if subtle.ConstantTimeCompare([]byte(want), []byte(digits(code))) == 1 {
			return fn(tx, c)
		}
		c.Tries++
		answer = wrong(CodeTries - c.Tries)
		if err := tx.SaveChallenge(c); err != nil {
			return err
		}
		return tx.Append(c.Session, workflow.Event{Time: m.now(), Kind: workflow.EventCodeWrong, Actor: c.Mail, Client: client,
			Detail: map[string]string{"challenge": c.ID}})
	})
	if err != nil {
		return err
	}
	return answer
}

func (m *Mailbox) do(ctx context.Context, fn func(workflow.Tx) error) error {
	return forPage(m.Store.Do(ctx, fn))
}

// forPage wraps errors of the store for the page.
func forPage(err error) error {
	var r *workflow.Refusal
	if err == nil || errors.As(err, &r) {
		return err
	}
	return &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "store-away", Err: err,
		Text: "The signature desk cannot reach its database. Please try again in a few minutes."}
}

func (m *Mailbox) now() time.Time { return m.Now().UTC().Truncate(time.Microsecond) }

// digits drops what people type between digits.
func digits(code string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, code)
}

// random gives 80 random bits as 16 base32 digits.
func random() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

func refuse(reason, text string) *workflow.Refusal {
	return &workflow.Refusal{Code: 550, Enhanced: "5.7.8", Reason: reason, Text: text}
}

// refuseBy is refuse with its cause, for the log.
func refuseBy(reason, text string, err error) *workflow.Refusal {
	r := refuse(reason, text)
	r.Err = err
	return r
}

func expired() *workflow.Refusal {
	return refuse("code-expired", "This code is no longer valid. Please ask for a new one.")
}

func wrong(left int) *workflow.Refusal {
	if left == 0 {
		return expired()
	}
	return refuse("wrong-code", fmt.Sprintf("This is not the code that we mailed. Tries left: %d.", left))
}
