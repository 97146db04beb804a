package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Verification answers a mail to verify@: what is to be said of each file that
// was in it. The mail itself is not kept.
type Verification struct {
	ID     string         `json:"id"` // as of a session
	Person Person         `json:"person"`
	Thread Thread         `json:"thread"`
	Files  []VerifiedFile `json:"files"`
}

// NamedFile is a file as somebody sent it.
type NamedFile struct {
	Name    string
	Content []byte
}

// VerifiedFile is a file with what was found out about its signatures.
type VerifiedFile struct {
	Name       string              `json:"name"`
	Size       int64               `json:"size"`
	SHA256     Digest              `json:"sha256"`
	Verdict    Verdict             `json:"verdict"`
	Signatures []VerifiedSignature `json:"signatures,omitempty"`
	Signs      []string            `json:"signs,omitempty"` // files beside it that its detached signatures are for
	Report     string              `json:"report"`          // everything, in English, as `milterd verify` prints it
}

// VerifiedSignature is one signature or timestamp.
type VerifiedSignature struct {
	By      string    `json:"by"` // its certificate's subject, "" if there is none
	Stamp   bool      `json:"stamp,omitempty"`
	Verdict Verdict   `json:"verdict"`
	At      time.Time `json:"at,omitzero"` // proven by a timestamp that holds
}

// Verdict is what people are told of a file or a signature.
type Verdict string

// The verdicts; the last three are of files only.
const (
	VerdictValid      Verdict = "valid"      // TOTAL-PASSED, all of them
	VerdictInvalid    Verdict = "invalid"    // one is TOTAL-FAILED
	VerdictOpen       Verdict = "open"       // none is, but one is INDETERMINATE
	VerdictChanged    Verdict = "changed"    // what was signed was changed afterwards
	VerdictUnsigned   Verdict = "unsigned"   // there is no signature
	VerdictUnreadable Verdict = "unreadable" // no file that can be judged
)

// maxVerification bounds what is kept of the answer until it is sent, in bytes.
const maxVerification = 1 << 20

// kindVerified is the Ceremony that stays of an answered question, so that it is
// answered once and counted.
const kindVerified = "verified"

// Verified plans the mail that answers v, whose ID it sets. The key is that of
// the mail that asked: the same one within Policy.Repeat is answered once. One
// person gets Policy.PerHour answers in an hour; the *Refusal's Reason is
// "too-many-requests" (4xx), "too-much-to-say" or "store-away".
func (d *Desk) Verified(ctx context.Context, v Verification, key [32]byte) (created bool, err error) {
	now := d.now()
	v.ID = idOf(key[:])
	body, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	if len(body) > maxVerification {
		return false, &Refusal{Code: 554, Enhanced: "5.6.0", Reason: "too-much-to-say",
			Text: "These files have too many signatures for one answer; send fewer of them in one mail."}
	}
	err = d.Store.Do(ctx, func(tx Tx) error {
		n, err := tx.CeremoniesSince(v.Person.Mail, kindVerified, now.Add(-time.Hour)) // and locks
		if err != nil {
			return err
		}
		if _, err := tx.Ceremony(v.ID, now); !errors.Is(err, ErrNotFound) {
			return err
		}
		if d.Policy.PerHour > 0 && n >= d.Policy.PerHour {
			return tooMany(n)
		}
		created = true
		c := &Ceremony{ID: v.ID, Kind: kindVerified, Mail: v.Person.Mail, Created: now, Expires: now.Add(max(d.Policy.Repeat, time.Hour))}
		if err := tx.SaveCeremony(c); err != nil {
			return err
		}
		return tx.Enqueue(Job{Kind: JobVerified, Verification: string(body)})
	})
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return false, r
	case err != nil:
		return false, storeAway(err)
	}
	return created, nil
}

// tellVerified sends the answer.
func (d *Desk) tellVerified(ctx context.Context, j Job) error {
	v := new(Verification)
	if err := json.Unmarshal([]byte(j.Verification), v); err != nil {
		return Drop{fmt.Errorf("a verification: %w", err)}
	}
	n := Notice{Kind: MailVerified, Key: v.ID, Verification: v}
	for i, f := range v.Files {
		name := fmt.Sprintf("verification-%d.txt", i+1)
		if len(v.Files) == 1 {
			name = "verification.txt"
		}
		n.Attachments = append(n.Attachments, Attachment{Name: name, ContentType: "text/plain; charset=utf-8", Content: []byte(f.Report)})
	}
	if err := d.Notifier.Send(ctx, n); err != nil {
		return err
	}
	d.Log.Info("mail to verify@ answered", "verification", v.ID, "to", v.Person.Mail, "files", len(v.Files))
	return nil
}
