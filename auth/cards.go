package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"milterd/auth/webeid"
	"milterd/workflow"
)

// Cards judges certificates of people's cards and of their keys at providers. Its
// errors are *workflow.Refusal where the certificate is at fault.
type Cards interface {
	// Registrable says whether a certificate that a second proof vouches for as p's
	// can be registered: chain is DER, the certificate first.
	Registrable(ctx context.Context, p workflow.Person, chain [][]byte) (*workflow.Acceptance, error)
	// Login says whether a certificate for logging in names p now: by an
	// identifier, and with fresh revocation data. That whoever is there has its
	// key, the caller has seen. It gives the certificate's subject, for the records.
	Login(ctx context.Context, p workflow.Person, cert *x509.Certificate) (subject string, err error)
}

// kindCard is the Ceremony of a card's challenge.
const kindCard = "card"

// challenged is its Data.
type challenged struct {
	Enrolment string `json:"enrolment"`
	Nonce     string `json:"nonce"` // base64, as the card signs it
}

// BeginCard starts the second proof by an identity card: nonce is what Web eID's
// authenticate is given, once and for CeremonyLifetime, and for the browser that began the
// enrolment. Reasons: "enrolment-gone", "way-not-accepted".
func (e *Enrolments) BeginCard(ctx context.Context, v workflow.Visit, handle string) (nonce, ceremony string, err error) {
	n, err := e.State(ctx, v, handle)
	if err != nil {
		return "", "", err
	}
	if !slices.Contains(n.Ways, WayCard) {
		return "", "", wayNotAccepted()
	}
	nonce, ceremony = webeid.NewNonce(), random()
	err = e.do(ctx, func(tx workflow.Tx) error {
		return e.save(tx, v, ceremony, kindCard, CeremonyLifetime, challenged{n.ID, nonce})
	})
	return nonce, ceremony, err
}

// Card is the second proof by an identity card: token is what Web eID's authenticate
// gave for the nonce of the ceremony, which ends whatever it is. The certificate must be a
// card's for logging in, good now, and name the visitor by an identifier. What is
// refused is on record. Reasons: "enrolment-gone", "way-not-accepted", "ceremony-gone",
// "card-token", "card-answer", "weak-algorithm", and those of Cards.Login.
func (e *Enrolments) Card(ctx context.Context, v workflow.Visit, handle, ceremony string, token []byte, client string) (*Enrolment, error) {
	n, err := e.State(ctx, v, handle)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(n.Ways, WayCard) {
		return nil, wayNotAccepted()
	}
	subject, err := e.answered(ctx, v, n, ceremony, token)
	if err != nil {
		return nil, e.refused(ctx, v, client, "approve", err)
	}
	err = e.do(context.WithoutCancel(ctx), func(tx workflow.Tx) error {
		c, d, err := e.find(tx, v, handle)
		if err != nil {
			return err
		}
		c.Expires = e.now().Add(ProofLifetime)
		d.Subject = subject
		return e.approve(tx, c, d, byCard, "", v.Who().Mail, client)
	})
	if err != nil {
		return nil, err
	}
	return e.State(ctx, v, handle)
}

// byCard is who approved, for the records.
const byCard = "identity card"

// answered uses up a challenge, and gives the subject of the card that answered it.
func (e *Enrolments) answered(ctx context.Context, v workflow.Visit, n *Enrolment, ceremony string, token []byte) (subject string, err error) {
	var q challenged
	if err := e.do(ctx, func(tx workflow.Tx) error {
		if _, err := e.load(tx, v, ceremony, kindCard, &q); err != nil {
			return err
		}
		return tx.EndCeremony(ceremony)
	}); err != nil {
		return "", err
	}
	if q.Enrolment != n.ID {
		return "", ceremonyGone()
	}
	t, cert, err := webeid.Parse(token)
	if err == nil {
		err = t.Verify(cert, e.origin, q.Nonce)
	}
	switch {
	case errors.Is(err, webeid.ErrFormat):
		return "", refuseBy("card-token", "What Web eID has answered cannot be read. Please bring its program and extension up to date.", err)
	case errors.Is(err, webeid.ErrAlgorithm):
		return "", refuseBy("weak-algorithm", "The key of this card is not of a kind and length that is accepted.", err)
	case err != nil:
		return "", refuseBy("card-answer", "The card's answer is not one to this page's question. Please try again.", err)
	}
	return e.Cards.Login(ctx, v.Who().Person, cert)
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
