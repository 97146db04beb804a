package workflow

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// EventKind names what happened.
type EventKind string

// The events of an audit trail.
const (
	EventOpened    EventKind = "opened"   // session stored, before Postfix heard 250
	EventPrepared  EventKind = "prepared" // pages and fields laid out
	EventMailed    EventKind = "mailed"   // Postfix took a mail of ours
	EventCodeAsked EventKind = "code"     // a code was asked for
	EventCodeWrong EventKind = "code-wrong"
	EventProven    EventKind = "proven"     // mailbox proven by code
	EventViewed    EventKind = "viewed"     // a document was shown to a proven device
	EventForeign   EventKind = "foreign"    // another site used a person's link
	EventSigned    EventKind = "signed"     // the signatory pressed Sign
	EventSealedFor EventKind = "sealed-for" // the organisation signed on behalf of a signatory
	EventDeclined  EventKind = "declined"
	EventSealed    EventKind = "sealed"  // the organisation's seal and archive timestamp are in place
	EventDone      EventKind = "done"    // certificate of completion sealed, result on its way
	EventUnsent    EventKind = "unsent"  // a mail of ours was refused for good
	EventBounced   EventKind = "bounced" // a mail of ours came back
	EventExpired   EventKind = "expired"
	EventCancelled EventKind = "cancelled"
	EventResent    EventKind = "resent"
	EventRenewed   EventKind = "renewed" // a younger archive timestamp stands over the documents
	EventPurged    EventKind = "purged"

	EventEnrolling      EventKind = "enrolling"      // a device wants to be enrolled
	EventPasswordWrong  EventKind = "password-wrong" // of the directory, for an enrolment
	EventApproved       EventKind = "approved"       // an enrolment has its second proof
	EventEnrolled       EventKind = "enrolled"       // a passkey or a one-time password's secret is registered
	EventRegistered     EventKind = "registered"     // a qualified certificate is known as its person's; also in the authority's log
	EventCardRefused    EventKind = "card-refused"   // a certificate, or the answer of an identity card
	EventPasskeyRefused EventKind = "passkey-refused"
	EventTOTPWrong      EventKind = "totp-wrong" // one-time password

	// With a signatory's own key:
	EventCertified     EventKind = "certified"      // a device's key got a certificate
	EventOwnPrepared   EventKind = "prepared-own"   // revisions were prepared that wait for the key's values
	EventAbandoned     EventKind = "abandoned"      // and are waited for no more
	EventRefused       EventKind = "refused"        // what came from a page was not taken for a signature
	EventKeyRefused    EventKind = "key-refused"    // a device's key got no certificate
	EventSignedOwn     EventKind = "signed-own"     // the signatory's own signature stands in the documents with its time
	EventAgain         EventKind = "again"          // it could not be completed: the signatory was asked again
	EventDeviceRevoked EventKind = "device-revoked" // also in the authority's log

	// In the authority's log:
	EventIssuing   EventKind = "issuing" // a certificate stands in the register and is about to be signed
	EventIssued    EventKind = "issued"
	EventRevoked   EventKind = "revoked"
	EventUnrevoked EventKind = "unrevoked" // taken off hold
)

// Events of the authority's log that are about itself.
const (
	EventEntered   EventKind = "entered"   // a certificate of its own was put into the register
	EventInstalled EventKind = "installed" // a company's CA has taken the issuing CA below itself
)

// Event is one entry of a session's audit trail.
type Event struct {
	Seq    int               `json:"seq"` // from 1
	Time   time.Time         `json:"time"`
	Kind   EventKind         `json:"kind"`
	Actor  string            `json:"actor"`            // mail address, "milterd" or "administrator"
	Client string            `json:"client,omitempty"` // address, where evidence needs it
	Detail map[string]string `json:"detail,omitempty"`
	Prev   Digest            `json:"prev"`
	Hash   Digest            `json:"hash"`
}

// Chain gives the event its place after prev (nil for the first): Seq, Prev
// and Hash, which is SHA-256 over the session's id, a zero byte and the event
// as JSON with an all-zero Hash. Times are cut to microseconds UTC first, so
// that both databases give back what was hashed.
func (e Event) Chain(session string, prev *Event) (Event, error) {
	e.Seq, e.Prev = 1, Digest{}
	if prev != nil {
		e.Seq, e.Prev = prev.Seq+1, prev.Hash
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	e.Hash = Digest{}
	b, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("audit trail: %w", err)
	}
	h := sha256.New()
	h.Write([]byte(session))
	h.Write([]byte{0})
	h.Write(b)
	h.Sum(e.Hash[:0])
	return e, nil
}

// CheckChain recomputes a whole trail and names the first entry that is wrong.
func CheckChain(session string, events []Event) error {
	var prev *Event
	for i := range events {
		want, err := events[i].Chain(session, prev)
		if err != nil {
			return err
		}
		if want.Hash != events[i].Hash || want.Seq != events[i].Seq || want.Prev != events[i].Prev {
			return fmt.Errorf("audit trail of %s: entry %d was changed", session, i+1)
		}
		prev = &events[i]
	}
	return nil
}
