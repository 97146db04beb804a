package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a preparation.
const (
	PreparationLease = 60 * time.Second // the head is kept for its page this long after each sign of life
	PreparationTime  = 10 * time.Minute // and this long in all
	PreparationLimit = 30               // that one person can make in a session within an hour
)

// valueTime is how long a value waits for its time at most: as long as a job
// that is out of tries can be told to try again.
const valueTime = 365 * 24 * time.Hour

// kindPreparation is the Ceremony's; kindPreparing, with the session's id, counts
// how often one was begun.
const (
	kindPreparation = "preparation"
	kindPreparing   = "preparing"
)

// Preparation is what a page must check and sign with its device's key: a
// revision of each mailed document, in order, that lacks only the signature value.
type Preparation struct {
	ID        string
	Expires   time.Time  // unless Keep is called before
	Documents []Prepared // without Suffix, Signer, Value and Made
}

// preparation is what its Ceremony keeps.
type preparation struct {
	Shown       []Shown    `json:"shown"`
	Appearance  Appearance `json:"appearance"`
	Certificate string     `json:"certificate"` // serial
	Documents   []Prepared `json:"documents"`

	Accepted *Acceptance `json:"accepted,omitempty"` // not from the organisation's authority
}

// Prepare begins a signature by the signatory's own key: it takes the head of
// the documents for its person (decision 10) and writes the revisions that the
// device is to sign. shown is checked as Sign does, certificate is the serial
// of one of the person's own. A newer preparation of the same person replaces
// the older one, whose Finish is then "preparation-gone".
//
// The *Refusal's Reason is one of Sign's, or "no-certificate",
// "certificate-expired", "certificate-revoked", "too-many-tries", and with a
// 4xx code "busy" while a colleague's signature is being made (nobody has been
// asked to prove anything yet: try again in some seconds) and "time-away" while
// no timestamp authority answers.
func (d *Desk) Prepare(ctx context.Context, v Visit, shown []Shown, a Appearance, certificate, client string) (*Preparation, error) {
	p, err := d.prepareOwn(ctx, v, shown, a, client, func() (ownKey, error) {
		cert, err := d.ownCertificate(ctx, v, certificate)
		return ownKey{cert: cert}, err
	})
	return p, d.noteRefusal(ctx, v, EventRefused, "", client, err)
}

func (d *Desk) prepareOwn(ctx context.Context, v Visit, shown []Shown, a Appearance, client string, with func() (ownKey, error)) (*Preparation, error) {
	if err := a.tidy(); err != nil {
		return nil, err
	}
	if err := d.Ready(ctx); err != nil {
		return nil, &Refusal{Code: 451, Enhanced: "4.4.1", Reason: "time-away", Err: err,
			Text: "The authority that gives signatures their time does not answer. Please try again in a few minutes."}
	}
	key, err := with()
	if err != nil {
		return nil, err
	}
	id := newID()
	s, err := d.reserve(ctx, v, id, shown, key, client)
	if err != nil {
		return nil, err
	}
	pr := &preparation{Shown: shown, Appearance: a, Certificate: key.serial(), Accepted: key.accepted}
	if pr.Documents, err = d.prepareAll(ctx, s, v.Person, a, key.key(d)); err == nil {
		var until time.Time
		if until, err = d.savePreparation(ctx, v, id, pr, client); err == nil {
			return pr.page(id, until), nil
		}
	}
	d.release(s.ID, holder(v.Person, id))
	return nil, err
}

// reserve takes the head for a person, and gives the session as it is then.
func (d *Desk) reserve(ctx context.Context, v Visit, id string, shown []Shown, key ownKey, client string) (out *Session, err error) {
	err = d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		now := d.now()
		if s.Level != key.level() {
			return wrongLevel()
		}
		if err := checkLook(s, p, shown); err != nil {
			return err
		}
		if err := s.free(v.Person, now); err != nil {
			return err
		}
		if err := key.usable(tx, now); err != nil {
			return err
		}
		// Counted before the work, so that one that is overtaken counts, too.
		if err := d.mayAgain(tx, v, kindPreparing+" "+s.ID, PreparationLimit, time.Hour, refuse("too-many-tries",
			"You have begun to sign too often within the hour. Please try again later.", nil)); err != nil {
			return err
		}
		if old := s.Lease.preparation(v.Person); old != "" {
			if err := d.abandon(tx, s, p, old, "replaced", client); err != nil {
				return err
			}
		}
		s.Lease = Lease{Holder: holder(v.Person, id), Until: now.Add(PreparationLease)}
		out = s
		return tx.Save(s)
	})
	return out, err
}

// prepareAll writes the revisions, outside of any transaction.
func (d *Desk) prepareAll(ctx context.Context, s *Session, person int, a Appearance, key Key) ([]Prepared, error) {
	at := d.now()
	var out []Prepared
	for _, i := range s.Mailed() {
		r := s.Documents[i].Head()
		head, err := d.Store.Content(ctx, s.ID, i, r.Number)
		if errors.Is(err, ErrGone) {
			return nil, gone()
		}
		if err != nil {
			return nil, storeAway(err)
		}
		p, err := d.Signer.Prepare(ctx, s, i, person, a, at, key, head)
		if err != nil {
			return nil, fmt.Errorf("document %d of session %s: %w", i+1, s.ID, err)
		}
		p.Document, p.Revision, p.Head = i, r.Number, r.SHA256
		out = append(out, *p)
	}
	return out, nil
}

func (d *Desk) savePreparation(ctx context.Context, v Visit, id string, pr *preparation, client string) (until time.Time, err error) {
	data, err := json.Marshal(pr)
	if err != nil {
		return time.Time{}, fmt.Errorf("keeping a preparation: %w", err)
	}
	err = d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		if !pr.holds(s, v.Person, id) {
			return preparationGone()
		}
		now := d.now()
		c := &Ceremony{ID: id, Kind: kindPreparation, Session: s.ID, Person: v.Person, Mail: p.Mail,
			Created: now, Expires: now.Add(PreparationTime), Data: data}
		if err := tx.SaveCeremony(c); err != nil {
			return err
		}
		e := Event{Time: now, Kind: EventOwnPrepared, Actor: p.Mail, Client: client,
			Detail: map[string]string{"preparation": id, "certificate": pr.Certificate}}
		if pr.Accepted != nil {
			ownKey{accepted: pr.Accepted}.add(e.Detail)
		}
		pr.addDigests(e.Detail, s)
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		s.Lease.Until = now.Add(PreparationLease)
		until = s.Lease.Until
		return tx.Save(s)
	})
	return until, err
}

// PreparedContent gives the whole revision of a document that a preparation
// wrote; of what is no PDF the manifest of the container, or nothing. The *Refusal's Reason is "preparation-gone", "no-document", "gone" or "store-away".
func (d *Desk) PreparedContent(ctx context.Context, v Visit, id string, document int) ([]byte, error) {
	pr, err := d.preparation(ctx, v, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pr.Documents, func(p Prepared) bool { return p.Document == document })
	if i < 0 {
		return nil, refuse("no-document", "There is no such document in this session.", nil)
	}
	p := &pr.Documents[i]
	head, err := d.Store.Content(ctx, v.Session.ID, document, p.Revision)
	if errors.Is(err, ErrGone) {
		return nil, gone()
	}
	if err != nil {
		return nil, storeAway(err)
	}
	b := p.Suffix
	if v.Session.Documents[document].Grows() {
		b = slices.Concat(head, p.Suffix)
	}
	if sha256.Sum256(b) != p.SHA256 {
		return nil, fmt.Errorf("document %d of preparation %s: its bytes are not those that were prepared", document+1, id)
	}
	return b, nil
}

// Keep says that the page is still open: the head stays with its person until
// the time that it gives, which ends PreparationTime after Prepare. Reasons:
// "preparation-gone", and those of one who may sign no more.
func (d *Desk) Keep(ctx context.Context, v Visit, id string) (until time.Time, err error) {
	return d.prolong(ctx, v, id, PreparationLease)
}

func (d *Desk) prolong(ctx context.Context, v Visit, id string, by time.Duration) (until time.Time, err error) {
	err = d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		now := d.now()
		c, err := tx.Ceremony(id, now)
		if errors.Is(err, ErrNotFound) || err == nil && !c.of(v) || s.Lease.preparation(v.Person) != id {
			return preparationGone()
		}
		if err != nil {
			return err
		}
		until = now.Add(by)
		if c.Expires.Before(until) {
			until = c.Expires
		}
		if s.Lease.Until.After(until) { // its person has left for a provider's page, and a page is still open
			until = s.Lease.Until
		}
		s.Lease.Until = until
		return tx.Save(s)
	})
	return until, err
}

// CheckFailed stands before one of CheckFailures in the reason of an EventAbandoned.
const CheckFailed = "check-"

// CheckFailures are the checks that a page makes before its device's key signs,
// by the words that Abandon takes, and what it means that one has failed.
var CheckFailures = map[string]string{
	"documents":      "other documents were prepared than those that it had shown",
	"digest":         "a prepared document was not the one that had been announced by its digest",
	"byte-range":     "the signature would not have covered the document as it was shown, and all that is new but the signature itself",
	"contents":       "the place for the signature was not empty",
	"manifest":       "the container's manifest named another file, or another content of it, than the page had shown",
	"message-digest": "what was to be signed was the digest of something else",
	"certificate":    "the signed attributes named another certificate than that of its device",
	"attributes":     "the signed attributes said more, or something else, than a signature's",
	"unreadable":     "a prepared document could not be shown",
}

// Abandon gives the head back: the page was left, or failed, one of
// CheckFailures, which is then on record. A preparation that is gone is no error.
// The *Refusal's Reason is "unknown-check", or one of those who may sign no more.
func (d *Desk) Abandon(ctx context.Context, v Visit, id, failed, client string) error {
	why := "left"
	if failed != "" {
		if CheckFailures[failed] == "" {
			return refuse("unknown-check", "This page makes no such check.", nil)
		}
		why = CheckFailed + failed
	}
	return d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		if s.Lease.preparation(v.Person) != id {
			return nil
		}
		s.Lease = Lease{}
		if err := d.abandon(tx, s, p, id, why, client); err != nil {
			return err
		}
		if failed != "" {
			d.Log.Warn("a page refused what was prepared for it", "session", s.ID, "check", failed)
		}
		return tx.Save(s)
	})
}

func (d *Desk) abandon(tx Tx, s *Session, p *Participant, id, why, client string) error {
	if err := tx.EndCeremony(id); err != nil {
		return err
	}
	return tx.Append(s.ID, Event{Time: d.now(), Kind: EventAbandoned, Actor: p.Mail, Client: client,
		Detail: map[string]string{"preparation": id, "reason": why}})
}

// preparation loads what a page has begun; Reason "preparation-gone".
func (d *Desk) preparation(ctx context.Context, v Visit, id string) (*preparation, error) {
	c, err := d.ceremony(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return c.preparation()
}

// ceremony is what keeps it.
func (d *Desk) ceremony(ctx context.Context, v Visit, id string) (*Ceremony, error) {
	c, err := d.Store.Ceremony(ctx, id, d.now())
	if errors.Is(err, ErrNotFound) || err == nil && !c.of(v) {
		return nil, preparationGone()
	}
	if err != nil {
		return nil, storeAway(err)
	}
	return c, nil
}

// of reports whether a ceremony is a visitor's preparation.
func (c *Ceremony) of(v Visit) bool {
	return c.Kind == kindPreparation && c.Session == v.Session.ID && c.Person == v.Person
}

func (c *Ceremony) preparation() (*preparation, error) {
	pr := new(preparation)
	if err := json.Unmarshal(c.Data, pr); err != nil {
		return nil, fmt.Errorf("preparation %s: %w", c.ID, err)
	}
	return pr, nil
}

func wrongLevel() *Refusal {
	return refuse("wrong-level", "This session asks for a signature of another level.", nil)
}

func preparationGone() *Refusal {
	return refuse("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", nil)
}

// holds reports whether the head is still this preparation's, and where it was.
func (pr *preparation) holds(s *Session, person int, id string) bool {
	if s.Lease.preparation(person) != id {
		return false
	}
	for i := range pr.Documents {
		p := &pr.Documents[i]
		if r := s.Documents[p.Document].Head(); r.Number != p.Revision || r.SHA256 != p.Head {
			return false
		}
	}
	return true
}

// page leaves out what is not the page's.
func (pr *preparation) page(id string, until time.Time) *Preparation {
	out := &Preparation{ID: id, Expires: until, Documents: slices.Clone(pr.Documents)}
	for i := range out.Documents {
		out.Documents[i].Suffix, out.Documents[i].Signer, out.Documents[i].Value, out.Documents[i].Made = nil, nil, nil, nil
	}
	return out
}

// digests are those of the attributes, in document order: what a proof must be for.
func (pr *preparation) digests() []Digest {
	out := make([]Digest, len(pr.Documents))
	for i := range pr.Documents {
		out[i] = sha256.Sum256(pr.Documents[i].Attributes)
	}
	return out
}

func (pr *preparation) addDigests(detail map[string]string, s *Session) {
	for i, attributes := range pr.digests() {
		p := &pr.Documents[i]
		n := "document " + strconv.Itoa(p.Document+1)
		detail[n] = s.Documents[p.Document].Name
		detail[n+" prepared sha-256"] = p.SHA256.String()
		if len(p.Attributes) > 0 {
			detail[n+" attributes sha-256"] = attributes.String()
		} else if len(p.Digest) > 0 {
			detail[n+" byte range digest"] = hex.EncodeToString(p.Digest)
		}
	}
}

// holder is how a person's preparation holds the lease.
func holder(person int, id string) string { return fmt.Sprintf("person %d %s", person, id) }

// preparation is the id by which a person holds the lease, also when its time
// is over and nobody else has taken it; "" if somebody else does.
func (l Lease) preparation(person int) string {
	id, ok := strings.CutPrefix(l.Holder, holder(person, ""))
	if !ok {
		return ""
	}
	return id
}

// free says whether a person may take the head: a *Refusal "busy" while it is
// at a colleague's page, or a colleague's values wait for their time.
func (s *Session) free(person int, now time.Time) error {
	for i := range s.People {
		if p := &s.People[i]; i != person && (p.State == Signing || now.Before(s.Lease.Until) && s.Lease.preparation(i) != "") {
			return busy(p.Name)
		}
	}
	if s.Lease.Holder != "" && now.Before(s.Lease.Until) && s.Lease.preparation(person) == "" {
		return busy("The signature desk")
	}
	return nil
}

func busy(who string) *Refusal {
	return &Refusal{Code: 450, Enhanced: "4.2.1", Reason: "busy", Text: who + " is signing just now. Please wait a moment."}
}
