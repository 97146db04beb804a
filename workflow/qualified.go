package workflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// Qualifier decides whether a certificate is good for a signature of level
// Qualified (Regulation (EU) 910/2014, article 3(12)).
type Qualifier interface {
	// Qualify looks at the certificate that p would sign with now, with fresh
	// revocation data. chain is DER, the signatory's own first, its issuers as far as they
	// are known. It fills in all of the Qualification but By, Credential and
	// Algorithm. A *Refusal says why the certificate is not taken.
	Qualify(ctx context.Context, p Person, chain [][]byte) (*Qualification, error)
}

// Qualification is why a certificate was taken for a Qualified signature. It
// stays as evidence. While a certificate is awaited with its signature, there are By,
// Credential and Algorithm only.
type Qualification struct {
	By         string           `json:"by"`                   // ByCard, or the name of the QTSP
	Credential string           `json:"credential,omitempty"` // the key's name at the QTSP
	Algorithm  string           `json:"algorithm,omitempty"`  // as package cms names it; empty: the usual one of the key
	Chain      [][]byte         `json:"chain"`                // DER: the signatory's certificate up to that of the service that vouches
	Subject    string           `json:"subject"`              // RFC 4514
	Issuer     string           `json:"issuer"`
	Serial     string           `json:"serial"` // lower-case hex
	NotAfter   time.Time        `json:"not_after"`
	Vouched    string           `json:"vouched"` // which entry of which trusted list, or the organisation's own choice
	At         time.Time        `json:"at"`
	Checks     []QualifiedCheck `json:"checks"`
	Register   Registering      `json:"register,omitempty"`
}

// Registering says whether the certificate is registered when it is first used.
type Registering string

// The choices of a Qualifier.
const (
	RegisterNever    Registering = ""
	RegisterAlways   Registering = "always" // it was recognised by an identifier
	RegisterAtDevice Registering = "device" // only at a device of its person's: a name alone speaks for it
)

// QualifiedCheck is one thing that was looked at.
type QualifiedCheck struct {
	Name    string `json:"name"`   // "QcSSCD"
	Clause  string `json:"clause"` // "EN 319 412-5, 4.2.2"
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

// late reports that the certificate comes with the signature.
func (q *Qualification) late() bool { return q != nil && len(q.Chain) == 0 }

// ByCard is Qualification.By for an eID card at the signatory's own reader.
const ByCard = "Web eID"

// ownKey is what a signatory signs with: a key that the organisation's authority
// has certified, or one with a qualified certificate.
type ownKey struct {
	cert      *Certificate
	qualified *Qualification
	whole     bool // Key.Whole
}

func (k ownKey) level() Level {
	if k.qualified != nil {
		return Qualified
	}
	return Advanced
}

// serial names the certificate in evidence.
func (k ownKey) serial() string {
	if k.qualified != nil {
		return k.qualified.Serial
	}
	return k.cert.Serial
}

// key is what a Signer needs of it.
func (k ownKey) key(d *Desk) Key {
	if k.qualified != nil {
		return Key{Chain: k.qualified.Chain, Algorithm: k.qualified.Algorithm, Whole: k.whole}
	}
	return Key{Chain: append([][]byte{k.cert.DER}, d.Certifier.Issuers()...)}
}

// usable is asked within the transaction that uses it.
func (k ownKey) usable(tx Tx, now time.Time) error {
	switch {
	case k.qualified == nil:
		return usable(tx, k.cert, now)
	case k.qualified.late():
		return nil
	}
	if now.After(k.qualified.NotAfter) {
		return certificateExpired()
	}
	return nil
}

// add tells an event of it.
func (k ownKey) add(detail map[string]string) {
	if q := k.qualified; q.late() {
		detail["certificate"], detail["qualified by"] = "comes with the signature", q.By
		return
	}
	detail["certificate"] = k.serial()
	if q := k.qualified; q != nil {
		detail["qualified by"], detail["subject"], detail["issuer"], detail["vouched for"] = q.By, q.Subject, q.Issuer, q.Vouched
	}
}

// Offer is a certificate that a signatory wants to sign with at level Qualified.
type Offer struct {
	By         string // ByCard, or the name of the QTSP
	Credential string
	Algorithm  string
	Chain      [][]byte // DER, the signatory's own first; empty if it comes with the signature
	Whole      bool     // By gets the document and gives it back signed; the Chain is empty then
}

// PrepareQualified is Prepare with a qualified certificate: the Qualifier looks at
// it first, or in FinishQualified where it comes with the signature. The *Refusal's
// Reason is one of the Qualifier's, of Prepare's but for those about certificates, or
// "level-unavailable", "pdf-only".
func (d *Desk) PrepareQualified(ctx context.Context, v Visit, shown []Shown, a Appearance, o Offer, client string) (*Preparation, error) {
	p, err := d.prepareOwn(ctx, v, shown, a, client, func() (ownKey, error) {
		if d.Qualifier == nil {
			return ownKey{}, refuse("level-unavailable", "No qualified certificates are taken here.", nil)
		}
		if v.Session.Level != Qualified { // reserve says so, too, but the outside need not be asked
			return ownKey{}, wrongLevel()
		}
		if len(o.Chain) == 0 {
			return late(v.Session, o)
		}
		q, err := d.Qualifier.Qualify(ctx, v.Who().Person, o.Chain)
		if err != nil {
			return ownKey{}, err
		}
		q.By, q.Credential, q.Algorithm = o.By, o.Credential, o.Algorithm
		return ownKey{qualified: q}, nil
	})
	return p, d.noteRefusal(ctx, v, EventRefused, "", client, err)
}

// Prepared gives a preparation of a visitor's again, whole: for a value that comes
// by another way than its page. Reasons: "preparation-gone", "store-away".
func (d *Desk) Prepared(ctx context.Context, v Visit, id string) (*Preparation, *Qualification, error) {
	c, err := d.ceremony(ctx, v, id)
	if err != nil {
		return nil, nil, err
	}
	pr, err := c.preparation()
	if err != nil {
		return nil, nil, err
	}
	return pr.page(id, c.Expires), pr.Qualified, nil
}

// Leave keeps the head for a preparation's person until its time is over: the
// browser goes to the provider's page and cannot say that it is still there.
// Reasons are those of Keep.
func (d *Desk) Leave(ctx context.Context, v Visit, id string) (until time.Time, err error) {
	return d.prolong(ctx, v, id, PreparationTime)
}

// FinishQualified is Finish where the value itself is the proof: only the
// signatory can have had it made. Where the certificate comes with the signature, values
// are complete ones. Reasons are those of Finish, and there those of the Qualifier and of
// Signer.Take, too, and "several-certificates".
func (d *Desk) FinishQualified(ctx context.Context, v Visit, id string, values [][]byte, client string) error {
	consume := func(tx Tx, _ []Digest) (Proof, error) {
		c, err := tx.Ceremony(id, d.now())
		if err != nil {
			return Proof{}, err
		}
		pr, err := c.preparation()
		if err != nil {
			return Proof{}, err
		}
		if pr.Qualified == nil {
			return Proof{}, fmt.Errorf("preparation %s is for no qualified certificate", id)
		}
		return Proof{Method: "qualified signature", Challenge: id, At: d.now(), Client: client, Device: pr.Qualified.By}, nil
	}
	return d.noteRefusal(ctx, v, EventRefused, id, client, d.finishOwn(ctx, v, id, values, client, Qualified, consume))
}

// late is the key of an offer whose certificate comes with the signature.
func late(s *Session, o Offer) (ownKey, error) {
	for _, i := range s.Mailed() {
		if !s.Documents[i].Grows() {
			return ownKey{}, refuse("pdf-only", "Only PDF documents can be signed with "+o.By+". Please sign in another way.", nil)
		}
	}
	return ownKey{qualified: &Qualification{By: o.By, Credential: o.Credential, Algorithm: o.Algorithm}, whole: o.Whole}, nil
}

// take verifies what was made elsewhere for a preparation whose certificate was not
// known, and decides about the certificate that came with it, one for all documents.
func (d *Desk) take(ctx context.Context, v Visit, pr *preparation, made [][]byte) error {
	if d.Qualifier == nil {
		return refuse("level-unavailable", "No qualified certificates are taken here.", nil)
	}
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
	q, err := d.Qualifier.Qualify(ctx, v.Who().Person, key.Chain)
	if err != nil {
		return err
	}
	q.By, q.Credential, q.Algorithm = pr.Qualified.By, pr.Qualified.Credential, key.Algorithm
	pr.Qualified, pr.Certificate = q, q.Serial
	return nil
}

// Refused puts on record why nothing came of a visitor's preparation, where others had
// to sign what was prepared, and gives the error back.
func (d *Desk) Refused(ctx context.Context, v Visit, id, client string, err error) error {
	return d.noteRefusal(ctx, v, EventRefused, id, client, err)
}
