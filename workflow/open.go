package workflow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Opening is a request that has passed the door: sender proven, signatories
// found in the directory, documents inspected.
type Opening struct {
	Level       Level
	Sender      Person
	ProvenBy    string   // "sasl jane", "client 10.0.0.5"
	Held        string   // id of the Held that its sender has confirmed: used up in the same transaction
	Seen        int      // recipients of Held when its page showed it
	Client      string   // address of who confirmed it, evidence only
	Signatories []Person // at least one, no address twice
	Copies      []Person // internal Cc; sender and signatories among them are ignored
	Thread      Thread
	Message     string // the mail's own text, at most a few hundred characters
	Documents   []NewDocument
	Mail        []byte   // as it came
	BodyHash    [32]byte // SHA-256 of the mail's body without regard to blanks, for the request key
}

// NewDocument is an inspected document of an Opening.
type NewDocument struct {
	Name    string
	Content []byte
	SHA256  Digest // of Content; Open makes it where it is zero
	Form    Form
	Type    string // media type, of what is no PDF
	Sight   Sight
	Pages   int
	Signed  bool     // has signatures already
	Notes   []string // what the signatory must be told
	Source  *Source  // of what it was made, nil where it is as it came
}

// Source is a file of which a PDF was made before anybody saw it.
type Source struct {
	Name    string
	Type    string // media type
	Content []byte
	Maker   string // what made the PDF: "LibreOffice 7.4"
}

// Open stores a session, its first event and its first job in one transaction.
// Signatories whom the same mail has asked before (decision 2) are left out; if
// none remains, the session that it opened then is returned and created is
// false. An error is a *Refusal, with a 4xx code if the store is away or the
// sender has opened too many ("too-many-requests"), and with the Reasons of
// Waiting for a Held, and "held-changed" (4xx) if recipients have joined unseen.
func (d *Desk) Open(ctx context.Context, o Opening) (s *Session, created bool, err error) {
	if len(o.Signatories) == 0 || len(o.Documents) == 0 {
		return nil, false, &Refusal{Code: 550, Enhanced: "5.6.0", Reason: "nothing-to-sign",
			Text: "There is nothing to sign, or nobody to sign it."}
	}
	sums := make([]Digest, len(o.Documents)) // made before anybody has to wait for us
	for i, n := range o.Documents {
		if sums[i] = n.SHA256; sums[i] == (Digest{}) {
			sums[i] = sha256.Sum256(n.Content)
		}
	}
	err = d.Store.Do(ctx, func(tx Tx) error {
		now := d.now()
		var fresh []Person
		known := ""
		for _, p := range o.Signatories {
			id, ok, err := tx.Seen(requestKey(o, p), now)
			if err != nil {
				return err
			}
			if ok {
				known = cmp.Or(known, id)
			} else {
				fresh = append(fresh, p)
			}
		}
		if len(fresh) > 0 {
			if err := d.ration(tx, o.Sender, now); err != nil {
				return err
			}
			s, created = d.newSession(o, sums, fresh), true
			err = d.create(tx, s, o, fresh)
		} else {
			s, err = tx.Session(known)
		}
		if err != nil || o.Held == "" {
			return err
		}
		return d.decideHeld(tx, o.Held, HeldConfirmed, s.ID, o.Seen)
	})
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return nil, false, r
	case err != nil:
		return nil, false, storeAway(err)
	}
	return s, created, nil
}

// requestKey is what makes the same mail the same: sender, Message-ID, subject
// (scripts send mail without a Message-ID), body and one sign recipient. Added
// headers and other recipients change nothing, nor do blanks: a DKIM signature
// lets them be changed by whoever sends a mail again.
func requestKey(o Opening, signatory Person) [32]byte {
	return sha256.Sum256([]byte(strings.Join([]string{
		strings.ToLower(o.Sender.Mail), o.Thread.MessageID, strings.Join(strings.Fields(o.Thread.Subject), " "),
		string(o.BodyHash[:]), strings.ToLower(signatory.Mail),
	}, "\x00")))
}

// ration counts the sessions that a sender has opened within the hour.
func (d *Desk) ration(tx Tx, sender Person, now time.Time) error {
	if d.Policy.PerHour == 0 {
		return nil
	}
	n, err := tx.OpenedSince(sender.Mail, now.Add(-time.Hour))
	if err != nil || n < d.Policy.PerHour {
		return err
	}
	return tooMany(n)
}

func tooMany(n int) *Refusal {
	return &Refusal{Code: 450, Enhanced: "4.7.1", Reason: "too-many-requests",
		Text: fmt.Sprintf("You have opened %d requests within the hour, as many as the signature desk takes from one sender; please try again later.", n)}
}

func (d *Desk) newSession(o Opening, sums []Digest, signatories []Person) *Session {
	now := d.now()
	s := &Session{
		ID: newID(), State: Preparing, Level: o.Level, Thread: o.Thread, Message: o.Message,
		Created: now, Deadline: now.Add(min(d.Policy.Deadline, MaxDeadline)), ProvenBy: o.ProvenBy,
	}
	s.add(o.Sender).Sender = true
	for _, p := range signatories {
		q := s.add(p)
		q.Signatory, q.State = true, Waiting
	}
	for _, p := range o.Copies {
		if q := s.add(p); !q.Sender && !q.Signatory {
			q.Copy = true
		}
	}
	for i, n := range o.Documents {
		s.Documents = append(s.Documents, Document{
			Name: n.Name, Kind: Mailed, Form: n.Form, Type: n.Type, Sight: n.Sight, Pages: n.Pages, Signed: n.Signed, Notes: n.Notes,
			Revisions: []Revision{{Kind: Original, Size: int64(len(n.Content)),
				SHA256: sums[i], Person: -1, Created: now}},
		})
	}
	for i, n := range o.Documents {
		if f := n.Source; f != nil {
			s.Documents[i].Source, s.Documents[i].Maker = len(s.Documents), f.Maker
			s.Documents = append(s.Documents, Document{Name: f.Name, Kind: Unconverted, Type: f.Type, Sight: AsFile,
				Revisions: []Revision{{Kind: Original, Size: int64(len(f.Content)), SHA256: sha256.Sum256(f.Content), Person: -1, Created: now}}})
		}
	}
	s.Delivery = Attached
	if d.Policy.MailSize(expectedSizes(s)...) > d.Policy.MailLimit {
		s.Delivery = Download
	}
	return s
}

// add gives the participant with that address, a new one if there is none.
func (s *Session) add(p Person) *Participant {
	for i := range s.People {
		if strings.EqualFold(s.People[i].Mail, p.Mail) {
			return &s.People[i]
		}
	}
	s.People = append(s.People, Participant{Person: p})
	return &s.People[len(s.People)-1]
}

func (d *Desk) create(tx Tx, s *Session, o Opening, fresh []Person) error {
	originals := make([][]byte, len(o.Documents))
	for i := range o.Documents {
		originals[i] = o.Documents[i].Content
	}
	for _, n := range o.Documents { // as newSession has them
		if n.Source != nil {
			originals = append(originals, n.Source.Content)
		}
	}
	if err := tx.Create(s, o.Mail, originals); err != nil {
		return err
	}
	for i := range s.People {
		if err := tx.AddToken(d.Secrets.TokenHash(d.Secrets.Token(s.ID, i)), s.ID, i); err != nil {
			return err
		}
	}
	for _, p := range fresh {
		if err := tx.Remember(requestKey(o, p), s.ID, s.Created.Add(d.Policy.Repeat)); err != nil {
			return err
		}
	}
	e := opened(s)
	e.Client = o.Client
	if err := tx.Append(s.ID, e); err != nil {
		return err
	}
	return tx.Enqueue(Job{Kind: JobPrepare, Session: s.ID}, Job{Kind: JobExpire, Session: s.ID, At: s.Deadline})
}

func opened(s *Session) Event {
	e := Event{Time: s.Created, Kind: EventOpened, Actor: s.Sender().Mail, Detail: map[string]string{
		"level": string(s.Level), "message-id": s.Thread.MessageID, "subject": s.Thread.Subject,
		"sender proven by": s.ProvenBy,
	}}
	for n, i := range s.Signatories() {
		e.Detail["signatory "+strconv.Itoa(n+1)] = s.People[i].Mail
	}
	addDigests(e.Detail, s)
	for i := range s.Documents {
		if from := s.SourceOf(&s.Documents[i]); from != nil {
			n := "document " + strconv.Itoa(i+1)
			e.Detail[n+" made of"] = fmt.Sprintf("document %d, %s, %d bytes", s.Documents[i].Source+1, from.Name, from.Original().Size)
			e.Detail[n+" made by"] = s.Documents[i].Maker
		}
	}
	return e
}

// addDigests notes the head revision of every document.
func addDigests(detail map[string]string, s *Session) {
	for i := range s.Documents {
		doc := &s.Documents[i]
		n := strconv.Itoa(i + 1)
		detail["document "+n] = doc.Name
		detail["document "+n+" sha-256"] = doc.Head().SHA256.String()
	}
}

// What a session adds to documents, in bytes, from above: a layout with fonts
// and, for each signature, an appearance, a CMS of a few certificates with its
// timestamp, and revocation data. Real increments are smaller.
const (
	layoutBytes    = 160 << 10
	signatureBytes = 128 << 10
	sealBytes      = 192 << 10
	reportBytes    = 512 << 10
	frameBytes     = 16 << 10 // of a container or message around a file
)

// expectedSizes are those of the attachments of the result mail.
func expectedSizes(s *Session) []int64 {
	sizes := []int64{reportBytes}
	for i := range s.Documents {
		d := &s.Documents[i]
		added := sealBytes + signatureBytes*int64(len(s.Signatories()))
		switch {
		case d.Kind == Unconverted:
			added = 0
		case d.Grows():
			added += layoutBytes
		case d.Form == XAdES:
			added += added / 3 // base64
		default: // a file that does not shrink is not compressed
			added += frameBytes
		}
		sizes = append(sizes, d.Head().Size+added)
	}
	return sizes
}

// String names the session for logs.
func (s *Session) String() string { return fmt.Sprintf("session %s (%s, %s)", s.ID, s.Level, s.State) }
