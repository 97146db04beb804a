package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Acceptor decides whether a certificate of another authority than the organisation's
// own is good for a signature of one level: Qualified (Regulation (EU) 910/2014, article
// 3(12)), or Advanced (articles 3(11) and 26).
type Acceptor interface {
	// Accept looks at the certificate that p would sign with now, with fresh
	// revocation data. chain is DER, the signatory's own first, its issuers as far as they
	// are known. It fills in all of the Acceptance but By, Credential and
	// Algorithm. A *Refusal says why the certificate is not taken.
	Accept(ctx context.Context, p Person, chain [][]byte) (*Acceptance, error)
}

// Acceptance is why a certificate of another authority was taken for a signature. It
// stays as evidence. While a certificate is awaited with its signature, there are Level,
// By, Credential and Algorithm only.
type Acceptance struct {
	Level      Level             `json:"level"`                // what it was taken for
	By         string            `json:"by"`                   // ByCard, or the name of the QTSP or of the server that asks phones
	Credential string            `json:"credential,omitempty"` // the key's name at the QTSP
	Algorithm  string            `json:"algorithm,omitempty"`  // as package cms names it; empty: the usual one of the key
	Chain      [][]byte          `json:"chain"`                // DER: the signatory's certificate up to that of the service that vouches
	Subject    string            `json:"subject"`              // RFC 4514
	Issuer     string            `json:"issuer"`
	Serial     string            `json:"serial"` // lower-case hex
	NotAfter   time.Time         `json:"not_after"`
	Vouched    string            `json:"vouched"` // which entry of which trusted list, or which choice of the organisation's
	At         time.Time         `json:"at"`
	Checks     []AcceptanceCheck `json:"checks"`
	Register   Registering       `json:"register,omitempty"`
}

// Registering says whether the certificate is registered when it is first used.
type Registering string

// The choices of an Acceptor.
const (
	RegisterNever    Registering = ""
	RegisterAlways   Registering = "always" // it was recognised by an identifier
	RegisterAtDevice Registering = "device" // only at a device of its person's: a name alone speaks for it
)

// AcceptanceCheck is one thing that was looked at.
type AcceptanceCheck struct {
	Name    string `json:"name"`   // "QcSSCD"
	Clause  string `json:"clause"` // "EN 319 412-5, 4.2.2"
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

// late reports that the certificate comes with the signature.
func (q *Acceptance) late() bool { return q != nil && len(q.Chain) == 0 }

// ByCard is Acceptance.By for an eID card at the signatory's own reader.
const ByCard = "Web eID"

// ownKey is what a signatory signs with: a key that the organisation's authority
// has certified, or one with another authority's certificate.
type ownKey struct {
	cert     *Certificate
	accepted *Acceptance
	whole    bool // Key.Whole
}

func (k ownKey) level() Level {
	if k.accepted != nil {
		return k.accepted.Level
	}
	return Advanced
}

// serial names the certificate in evidence.
func (k ownKey) serial() string {
	if k.accepted != nil {
		return k.accepted.Serial
	}
	return k.cert.Serial
}

// key is what a Signer needs of it.
func (k ownKey) key(d *Desk) Key {
	if k.accepted != nil {
		return Key{Chain: k.accepted.Chain, Algorithm: k.accepted.Algorithm, Whole: k.whole}
	}
	return Key{Chain: append([][]byte{k.cert.DER}, d.Certifier.Issuers()...)}
}

// usable is asked within the transaction that uses it.
func (k ownKey) usable(tx Tx, now time.Time) error {
	switch {
	case k.accepted == nil:
		return usable(tx, k.cert, now)
	case k.accepted.late():
		return nil
	}
	if now.After(k.accepted.NotAfter) {
		return certificateExpired()
	}
	return nil
}

// add tells an event of it.
func (k ownKey) add(detail map[string]string) {
	if q := k.accepted; q.late() {
		detail["certificate"], detail["signed with"] = "comes with the signature", q.By
		return
	}
	detail["certificate"] = k.serial()
	if q := k.accepted; q != nil {
		detail["signed with"], detail["subject"], detail["issuer"], detail["vouched for"] = q.By, q.Subject, q.Issuer, q.Vouched
	}
}

// Offer is a certificate of another authority that a signatory wants to sign with.
type Offer struct {
	By         string // ByCard, or the name of the QTSP or of the server that asks phones
	Credential string
	Algorithm  string
	Chain      [][]byte // DER, the signatory's own first; empty if it comes with the signature
	Whole      bool     // By gets the document and gives it back signed; the Chain is empty then
}

// PrepareOffer is Prepare with a certificate of another authority: the level's Acceptor
// looks at it first, or in FinishOffer where it comes with the signature. The *Refusal's
// Reason is one of the Acceptor's, of Prepare's but for those about certificates, or
// "level-unavailable", "pdf-only".
func (d *Desk) PrepareOffer(ctx context.Context, v Visit, shown []Shown, a Appearance, o Offer, client string) (*Preparation, error) {
	p, err := d.prepareOwn(ctx, v, shown, a, client, func() (ownKey, error) {
		if v.Session.Level == Standard {
			return ownKey{}, wrongLevel()
		}
		if len(o.Chain) == 0 {
			return d.late(v.Session, o)
		}
		q, err := d.accept(ctx, v, o.Chain)
		if err != nil {
			return ownKey{}, err
		}
		q.By, q.Credential, q.Algorithm = o.By, o.Credential, o.Algorithm
		return ownKey{accepted: q}, nil
	})
	return p, d.noteRefusal(ctx, v, EventRefused, "", client, err)
}

// accept has a certificate judged for the level of a visitor's session.
func (d *Desk) accept(ctx context.Context, v Visit, chain [][]byte) (*Acceptance, error) {
	a := d.Acceptors[v.Session.Level]
	if a == nil {
		return nil, unavailable(v.Session.Level)
	}
	q, err := a.Accept(ctx, v.Who().Person, chain)
	if err == nil && q.Level != v.Session.Level {
		return nil, fmt.Errorf("a certificate was taken for level %q, not %q", q.Level, v.Session.Level)
	}
	return q, err
}

func unavailable(l Level) *Refusal {
	return refuse("level-unavailable", "At level "+l.String()+" no certificates of other authorities are taken here.", nil)
}

// Prepared gives a preparation of a visitor's again, whole: for a value that comes
// by another way than its page. Reasons: "preparation-gone", "store-away".
func (d *Desk) Prepared(ctx context.Context, v Visit, id string) (*Preparation, *Acceptance, error) {
	c, err := d.ceremony(ctx, v, id)
	if err != nil {
		return nil, nil, err
	}
	pr, err := c.preparation()
	if err != nil {
		return nil, nil, err
	}
	return pr.page(id, c.Expires), pr.Accepted, nil
}

// Leave keeps the head for a preparation's person until its time is over: the
// browser goes to the provider's page and cannot say that it is still there.
// Reasons are those of Keep.
func (d *Desk) Leave(ctx context.Context, v Visit, id string) (until time.Time, err error) {
	return d.prolong(ctx, v, id, PreparationTime)
}

// FinishOffer is Finish where the value itself is the proof: only the
// signatory can have had it made. Where the certificate comes with the signature, values
// are complete ones. Reasons are those of Finish, and there those of the Acceptor and of
// Signer.Take, too, and "several-certificates".
func (d *Desk) FinishOffer(ctx context.Context, v Visit, id string, values [][]byte, client string) error {
	consume := func(tx Tx, _ []Digest) (Proof, error) {
		c, err := tx.Ceremony(id, d.now())
		if err != nil {
			return Proof{}, err
		}
		pr, err := c.preparation()
		if err != nil {
			return Proof{}, err
		}
		return Proof{Method: string(pr.Accepted.Level) + " signature", Challenge: id, At: d.now(), Client: client, Device: pr.Accepted.By}, nil
	}
	return d.noteRefusal(ctx, v, EventRefused, id, client, d.finishOwn(ctx, v, id, values, client, true, consume))
}

// late is the key of an offer whose certificate comes with the signature.
func (d *Desk) late(s *Session, o Offer) (ownKey, error) {
	if d.Acceptors[s.Level] == nil {
		return ownKey{}, unavailable(s.Level)
	}
	for _, i := range s.Mailed() {
		if !s.Documents[i].Grows() {
			return ownKey{}, refuse("pdf-only", "Only PDF documents can be signed with "+o.By+". Please sign in another way.", nil)
		}
	}
	return ownKey{accepted: &Acceptance{Level: s.Level, By: o.By, Credential: o.Credential, Algorithm: o.Algorithm}, whole: o.Whole}, nil
}

// take verifies what was made elsewhere for a preparation whose certificate was not
// known, and decides about the certificate that came with it, one for all documents.
func (d *Desk) take(ctx context.Context, v Visit, pr *preparation, made [][]byte) error {
	var key Key
	for i := range pr.Documents {
		p := &pr.Documents[i]
		head, err := d.Store.Content(ctx, v.Session.ID, p.Document, p.Revision)
		switch {
		case errors.Is(err, ErrGone):
			return gone()
		case err != nil:
			return storeAway(err)
		}
		came, err := d.Signer.Take(ctx, p, head, made[i])
		switch {
		case err != nil:
			return err
		case i == 0:
			key = came
		case !bytes.Equal(came.Chain[0], key.Chain[0]) || came.Algorithm != key.Algorithm:
			return refuse("several-certificates", "The documents came back signed with different certificates. Nothing was taken; please sign again.", nil)
		}
	}
	q, err := d.accept(ctx, v, key.Chain)
	if err != nil {
		return err
	}
	q.By, q.Credential, q.Algorithm = pr.Accepted.By, pr.Accepted.Credential, key.Algorithm
	pr.Accepted, pr.Certificate = q, q.Serial
	return nil
}

// Refused puts on record why nothing came of a visitor's preparation, where others had
// to sign what was prepared, and gives the error back.
func (d *Desk) Refused(ctx context.Context, v Visit, id, client string, err error) error {
	return d.noteRefusal(ctx, v, EventRefused, id, client, err)
}
