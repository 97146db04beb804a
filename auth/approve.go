package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// DefaultPasswordTries is below the lock-out of every directory that we met:
// those lock after five wrong passwords or more.
const DefaultPasswordTries = 3

const (
	kindPassword   = "password" // Ceremony: a try that counts
	passwordWindow = time.Hour
	passwordDay    = 24 * time.Hour
	perDay         = 3    // times the tries of an hour: who has somebody's mailbox must not guess on and on
	maxPassword    = 1024 // bytes
)

// Passwords checks passwords of the directory.
type Passwords interface {
	// CheckPassword asks the directory whether a password is that of the person
	// with a mail address. An error says that it did not answer; asked is
	// whether it got the password all the same, and so may have counted it.
	CheckPassword(ctx context.Context, mail, password string) (right, asked bool, err error)
}

// Password is the second proof by the password of the directory. Tries are
// counted before the directory is asked, so that guesses at the same time are
// as few as guesses one after another, and for the person in all sessions: the
// directory never locks an account because of us. A right password, and one
// that could not reach the directory, are not counted; one for somebody whom the
// directory does not know is, or it would fill the audit trail. Reasons: "enrolment-gone",
// "way-not-accepted", "wrong-password" (with the tries that are left in Text),
// "too-many-passwords", "no-more-passwords", "directory-away".
func (e *Enrolments) Password(ctx context.Context, v workflow.Visit, handle, password, client string) (*Enrolment, error) {
	n, err := e.State(ctx, v, handle)
	switch {
	case err != nil:
		return nil, err
	case n.ApprovedBy != "":
		return n, nil
	case !slices.Contains(n.Ways, WayPassword):
		return nil, wayNotAccepted()
	case password == "" || len(password) > maxPassword:
		return nil, refuse("wrong-password", "Please type your password.")
	}
	try := random()
	left, err := e.countTry(ctx, v, try)
	if err != nil {
		return nil, err
	}
	right, asked, away := e.Passwords.CheckPassword(ctx, v.Who().Mail, password)
	// Whoever left the page meanwhile must not leave a try behind that was none.
	ctx = context.WithoutCancel(ctx)
	if right || !asked && away != nil {
		if err := e.do(ctx, func(tx workflow.Tx) error { return tx.EndCeremony(try) }); err != nil {
			return nil, err
		}
	}
	switch {
	case away != nil:
		return nil, &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "directory-away", Err: away,
			Text: "The directory does not answer, so your password cannot be checked. Please try again in a few minutes."}
	case !right:
		return nil, e.wrongPassword(ctx, v, n.ID, client, left)
	}
	err = e.do(ctx, func(tx workflow.Tx) error {
		c, d, err := e.find(tx, v, handle)
		if err != nil {
			return err
		}
		c.Expires = e.now().Add(ProofLifetime)
		return e.approve(tx, c, d, "directory password", "", v.Who().Mail, client)
	})
	if err != nil {
		return nil, err
	}
	return e.State(ctx, v, handle)
}

// countTry takes one of the tries of a person's hour and day, and says how many are
// left in both.
func (e *Enrolments) countTry(ctx context.Context, v workflow.Visit, id string) (left int, err error) {
	err = e.do(ctx, func(tx workflow.Tx) error {
		n, err := tx.CeremoniesSince(v.Who().Mail, kindPassword, e.now().Add(-passwordWindow))
		if err != nil {
			return err
		}
		day, err := tx.CeremoniesSince(v.Who().Mail, kindPassword, e.now().Add(-passwordDay))
		switch {
		case err != nil:
			return err
		case day >= perDay*e.PasswordTries:
			return refuse("no-more-passwords", "Too many wrong passwords. Please try again tomorrow, or ask your administrator to approve this device.")
		case n >= e.PasswordTries:
			return refuse("too-many-passwords", "Too many wrong passwords. Please try again in an hour, or ask your administrator to approve this device.")
		}
		left = min(e.PasswordTries-n, perDay*e.PasswordTries-day) - 1
		return e.save(tx, v, id, kindPassword, passwordDay, struct{}{})
	})
	return left, err
}

// wrongPassword puts a wrong one on record.
func (e *Enrolments) wrongPassword(ctx context.Context, v workflow.Visit, enrolment, client string, left int) error {
	err := e.do(ctx, func(tx workflow.Tx) error {
		return tx.Append(v.Session.ID, workflow.Event{Time: e.now(), Kind: workflow.EventPasswordWrong, Actor: v.Who().Mail,
			Client: client, Detail: map[string]string{"enrolment": enrolment}})
	})
	if err != nil {
		return err
	}
	return refuse("wrong-password", fmt.Sprintf("This is not your password in the directory. Tries left in this hour: %d.", left))
}

// Approve is the administrator's second proof. by is who it was, for the page
// and the records: "administrator". Reasons: "enrolment-gone" (also: its time is
// over), "way-not-accepted".
func (e *Enrolments) Approve(ctx context.Context, id, by string) error {
	return e.do(ctx, func(tx workflow.Tx) error {
		c, d, err := e.waiting(tx, id, WayAdministrator)
		if err != nil {
			return err
		}
		c.Expires = e.now().Add(EnrolmentLifetime)
		return e.approve(tx, c, d, by, "", by, "")
	})
}

// ApproveWithPasskey is the second proof by a device that is enrolled already,
// on the page of whichever device: the visitor answered a ceremony that was
// begun with LabelApprove and ApprovalOf(id). Reasons: "enrolment-gone",
// "way-not-accepted", and those of Passkeys.Open.
func (e *Enrolments) ApproveWithPasskey(ctx context.Context, v workflow.Visit, id, ceremony string, response []byte, client string) error {
	return e.attempt(ctx, v, ceremony, client, func(tx workflow.Tx) error {
		c, d, err := e.waiting(tx, id, WayDevice)
		if err != nil {
			return err
		}
		// Of the same person, perhaps begun with the link of another session.
		if !strings.EqualFold(c.Mail, v.Who().Mail) || !e.now().Before(c.Created.Add(ProofLifetime)) {
			return enrolmentGone()
		}
		device, _, err := e.use(tx, v, ceremony, LabelApprove, []workflow.Digest{ApprovalOf(id)}, response)
		if err != nil {
			return err
		}
		c.Expires = e.now().Add(ProofLifetime)
		return e.approve(tx, c, d, "device "+device.Name, device.ID, v.Who().Mail, client)
	})
}

// waiting loads an enrolment for an approver who has a way to do it.
func (e *Enrolments) waiting(tx workflow.Tx, id, way string) (*workflow.Ceremony, *enrolment, error) {
	if !ceremonyForm.MatchString(id) {
		return nil, nil, enrolmentGone()
	}
	c, err := tx.Ceremony(id, e.now())
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return nil, nil, err
	}
	if err != nil || c.Kind != kindEnrolment {
		return nil, nil, enrolmentGone()
	}
	if !slices.Contains(e.Ways, way) {
		return nil, nil, wayNotAccepted()
	}
	var d enrolment
	if err := json.Unmarshal(c.Data, &d); err != nil {
		return nil, nil, fmt.Errorf("reading the enrolment %s: %w", id, err)
	}
	return c, &d, nil
}

// approve puts a second proof on record. The first one counts.
func (e *Enrolments) approve(tx workflow.Tx, c *workflow.Ceremony, d *enrolment, by, passkey, actor, client string) error {
	if d.ApprovedBy != "" {
		return nil
	}
	d.ApprovedBy, d.Passkey = by, passkey
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keeping the enrolment %s: %w", c.ID, err)
	}
	c.Data = b
	if err := tx.SaveCeremony(c); err != nil {
		return err
	}
	detail := map[string]string{"enrolment": c.ID, "by": by, "device": d.Agent, "person": c.Mail}
	if d.Subject != "" {
		detail["subject"] = d.Subject
	}
	return tx.Append(c.Session, workflow.Event{Time: e.now(), Kind: workflow.EventApproved, Actor: actor, Client: client, Detail: detail})
}

func wayNotAccepted() *workflow.Refusal {
	return refuse("way-not-accepted", "This way to approve a device is not possible here, or not any more. Please begin again.")
}
