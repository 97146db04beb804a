package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// The second proofs that an enrolment can have, besides the mailed code.
const (
	WayPassword      = "password"      // of the directory, by bind
	WayDevice        = "device"        // that is enrolled already, by its passkey
	WayCard          = "card"          // identity card, by Web eID
	WayAdministrator = "administrator" // milterd device approve
)

// Times and limits of enrolments.
const (
	ProofLifetime     = 30 * time.Minute   // for a password or a passkey, and for what follows them
	EnrolmentLifetime = 3 * 24 * time.Hour // for the administrator, and for what follows
	EnrolmentsPerDay  = 10                 // that one person may begin, to leave or to end them
)

// kindEnrolment is the Ceremony of an enrolment, kindEnrolled what stays for a
// day of one that has ended with a device.
const (
	kindEnrolment = "enrolment"
	kindEnrolled  = "enrolled"
)

// Enrolments take new devices in: a visitor who has proven the mailbox begins
// one, gives a second proof, and registers a passkey (or, by TOTP, a secret).
// Its methods are safe for concurrent use.
type Enrolments struct {
	*Passkeys
	Passwords     Passwords // nil: no directory knows passwords
	PasswordTries int       // wrong ones that a person has in an hour, in all sessions; keep it below the directory's lock-out
	Ways          []string  // second proofs that are accepted
	Cards         Cards     // nil: no qualified certificates are taken here
	Readers       bool      // people have readers for identity cards
}

// Enrolment is a device that wants to be enrolled.
type Enrolment struct {
	ID         string    `json:"id"`               // what an approver names
	Handle     string    `json:"handle,omitempty"` // what the device itself names: no approver learns it
	Mail       string    `json:"mail"`
	Number     string    `json:"number"` // four digits that its page and its approver's show, to compare
	Ways       []string  `json:"ways"`   // that it still has: WayPassword, …
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	ApprovedBy string    `json:"approved_by,omitempty"` // the second proof: "directory password", "device NAME", "administrator"
	Agent      string    `json:"agent"`                 // browser, as a person would name it
	Client     string    `json:"client,omitempty"`      // address
}

// enrolment is the Data of a Ceremony of kindEnrolment.
type enrolment struct {
	Number     string `json:"number"`
	Agent      string `json:"agent"`
	Client     string `json:"client,omitempty"`
	ApprovedBy string `json:"approved_by,omitempty"`
	Passkey    string `json:"passkey,omitempty"` // which approved it
	Subject    string `json:"subject,omitempty"` // of the card that approved it
}

// Begin starts an enrolment for a visitor whose mailbox is proven. Reason:
// "too-many-enrolments".
func (e *Enrolments) Begin(ctx context.Context, v workflow.Visit, client, agent string) (*Enrolment, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(10_000))
	if err != nil {
		return nil, fmt.Errorf("choosing a number: %w", err)
	}
	id, data := random(), enrolment{Number: fmt.Sprintf("%04d", n), Agent: agent, Client: client}
	err = e.do(ctx, func(tx workflow.Tx) error {
		now, mail := e.now(), v.Who().Mail
		begun, err := tx.CeremoniesSince(mail, kindEnrolment, now.Add(-24*time.Hour))
		if err != nil {
			return err
		}
		ended, err := tx.CeremoniesSince(mail, kindEnrolled, now.Add(-24*time.Hour))
		if err != nil {
			return err
		}
		if begun+ended >= EnrolmentsPerDay {
			return refuse("too-many-enrolments", "Too many enrolments were begun. Please try again tomorrow.")
		}
		if err := e.save(tx, v, id, kindEnrolment, EnrolmentLifetime, data); err != nil {
			return err
		}
		return tx.Append(v.Session.ID, workflow.Event{Time: now, Kind: workflow.EventEnrolling, Actor: mail, Client: client,
			Detail: map[string]string{"enrolment": id, "device": agent}})
	})
	if err != nil {
		return nil, err
	}
	return e.State(ctx, v, e.handle(id))
}

// State gives an enrolment to the device that began it, so that its page sees
// an approval, and goes on after a reload. Reason: "enrolment-gone".
func (e *Enrolments) State(ctx context.Context, v workflow.Visit, handle string) (out *Enrolment, err error) {
	err = e.do(ctx, func(tx workflow.Tx) error {
		c, d, err := e.find(tx, v, handle)
		if err != nil {
			return err
		}
		out = describe(c, d)
		out.Handle = handle
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.Ways, err = e.ways(ctx, out)
	return out, err
}

// ways are the second proofs that an enrolment can still have.
func (e *Enrolments) ways(ctx context.Context, n *Enrolment) (ways []string, err error) {
	all, err := e.Store.Credentials(ctx, n.Mail)
	if err != nil {
		return nil, forPage(err)
	}
	enrolled := slices.ContainsFunc(all, func(c *workflow.Credential) bool { return c.Kind == workflow.Passkey && c.Revoked.IsZero() })
	fresh := e.now().Before(n.Created.Add(ProofLifetime))
	for _, w := range e.Ways {
		if w == WayPassword && (e.Passwords == nil || !fresh) || w == WayDevice && (!enrolled || !fresh) ||
			w == WayCard && (e.Cards == nil || !e.Readers || !fresh) {
			continue
		}
		ways = append(ways, w)
	}
	return ways, nil
}

// Pending are the enrolments of a person that wait for their second proof, or
// with "" everybody's, oldest first. They have no Handle.
func (e *Enrolments) Pending(ctx context.Context, mail string) (out []*Enrolment, err error) {
	all, err := e.Store.Ceremonies(ctx, kindEnrolment, e.now())
	if err != nil {
		return nil, forPage(err)
	}
	for _, c := range all {
		var d enrolment
		if err := json.Unmarshal(c.Data, &d); err != nil {
			return nil, fmt.Errorf("reading the enrolment %s: %w", c.ID, err)
		}
		if d.ApprovedBy != "" || mail != "" && !strings.EqualFold(c.Mail, mail) {
			continue
		}
		n := describe(c, &d)
		if n.Ways, err = e.ways(ctx, n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// handle gives the word by which the device that began an enrolment names it.
// It is derived and stored nowhere: whoever reads the list of what waits for
// approval cannot take the approval for a device of their own.
func (e *Enrolments) handle(id string) string {
	return id + "." + encode(mac(e.Keys.enrolment, id)[:16])
}

// find loads an enrolment of a visit by its handle.
func (e *Enrolments) find(tx workflow.Tx, v workflow.Visit, handle string) (*workflow.Ceremony, *enrolment, error) {
	id, _, _ := strings.Cut(handle, ".")
	if subtle.ConstantTimeCompare([]byte(e.handle(id)), []byte(handle)) != 1 {
		return nil, nil, enrolmentGone()
	}
	var d enrolment
	c, err := e.load(tx, v, id, kindEnrolment, &d)
	var r *workflow.Refusal
	if errors.As(err, &r) {
		return nil, nil, enrolmentGone()
	}
	return c, &d, err
}

func describe(c *workflow.Ceremony, d *enrolment) *Enrolment {
	return &Enrolment{ID: c.ID, Mail: c.Mail, Number: d.Number, Created: c.Created, Expires: c.Expires,
		ApprovedBy: d.ApprovedBy, Agent: d.Agent, Client: d.Client}
}

func enrolmentGone() *workflow.Refusal {
	return refuse("enrolment-gone", "This enrolment has expired. Please begin it again.")
}
