package auth

import (
	"context"
	"errors"
	"time"

	"milterd/workflow"
)

// Cards judges certificates of people's cards and of their keys at providers. Its
// errors are *workflow.Refusal where the certificate is at fault.
type Cards interface {
	// Registrable says whether a certificate that a second proof vouches for as p's
	// can be registered: chain is DER, the certificate first.
	Registrable(ctx context.Context, p workflow.Person, chain [][]byte) (*workflow.Qualification, error)
}

// kindCardFailed counts what was refused of a card.
const kindCardFailed = "card-failed"

// refused puts on record why something of a card was not taken, and gives the error back. By it
// nobody can fill a trail.
func (e *Enrolments) refused(ctx context.Context, v workflow.Visit, client, what string, err error) error {
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code < 500 {
		return err
	}
	recorded := e.do(context.WithoutCancel(ctx), func(tx workflow.Tx) error {
		now, mail := e.now(), v.Who().Mail
		n, err := tx.CeremoniesSince(mail, kindCardFailed, now.Add(-24*time.Hour))
		if err != nil || n >= failuresPerDay {
			return err
		}
		if err := e.save(tx, v, random(), kindCardFailed, 24*time.Hour, struct{}{}); err != nil {
			return err
		}
		return tx.Append(v.Session.ID, workflow.Event{Time: now, Kind: workflow.EventCardRefused, Actor: mail, Client: client,
			Detail: map[string]string{"reason": r.Reason, "for": what}})
	})
	if recorded != nil {
		e.Log.Error("auth: a refused card is not on record", "session", v.Session.ID, "err", recorded)
	}
	return err
}

func noCards() *workflow.Refusal {
	return refuse("no-card", "Identity cards are not taken here.")
}
