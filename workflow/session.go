package workflow

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Level is how strongly a signature binds its signatory (eIDAS: simple,
// advanced, qualified). A level is never silently lowered.
type Level string

// The levels that a subject can name.
const (
	Standard  Level = "standard"
	Advanced  Level = "advanced"
	Qualified Level = "qualified"
)

// ParseLevel reads a level word in any case.
func ParseLevel(s string) (Level, bool) {
	switch l := Level(strings.ToLower(s)); l {
	case Standard, Advanced, Qualified:
		return l, true
	}
	return "", false
}

// String gives the word as people write it: Standard, Advanced, Qualified.
func (l Level) String() string {
	if l == "" {
		return ""
	}
	return strings.ToUpper(string(l[:1])) + string(l[1:])
}

// State of a session.
type State string

// The states; Ended tells which are final.
const (
	Preparing State = "preparing" // stored, pages and fields not yet laid out
	Open      State = "open"      // signatories are asked
	Sealing   State = "sealing"   // everyone has signed, the seal is not yet on it
	Done      State = "done"
	Declined  State = "declined"
	Expired   State = "expired"
	Cancelled State = "cancelled"
)

// Ended reports whether no transition leaves the state.
func (s State) Ended() bool {
	return s == Done || s == Declined || s == Expired || s == Cancelled
}

// Person is an entry of the directory.
type Person struct {
	Mail     string `json:"mail"`     // primary address, lower case domain
	Name     string `json:"name"`     // as it is printed
	Language string `json:"language"` // BCP 47: en, de, fr
}

// SignatoryState is where one signatory stands.
type SignatoryState string

// The states of a signatory.
const (
	Waiting  SignatoryState = "waiting"  // asked, has not answered
	Signing  SignatoryState = "signing"  // has signed; the signature value or its time is still to come
	Signed   SignatoryState = "signed"   // the signature stands in every document
	Refused  SignatoryState = "declined" // has declined
	NotAsked SignatoryState = ""         // not a signatory
)

// Participant is a person's part in one session. Its index in Session.People
// is stable and names it in links, jobs and field names.
type Participant struct {
	Person
	Sender    bool           `json:"sender,omitempty"`
	Signatory bool           `json:"signatory,omitempty"`
	Copy      bool           `json:"copy,omitempty"` // internal Cc
	State     SignatoryState `json:"state,omitempty"`
	Opened    time.Time      `json:"opened,omitzero"`  // first look at the documents
	Decided   time.Time      `json:"decided,omitzero"` // pressed Sign or Decline
	Comment   string         `json:"comment,omitempty"`
	Act       *Act           `json:"act,omitempty"`   // what Sign or Finish submitted
	Again     string         `json:"again,omitempty"` // asked to sign once more: why, one of AgainReasons
}

// Act is what a signatory did on the page. It is kept until the signature
// stands in every document, so that a timestamp authority that is away costs
// nobody a second visit.
type Act struct {
	Shown      []Shown    `json:"shown"`
	Appearance Appearance `json:"appearance"`
	Proof      Proof      `json:"proof"`
	At         time.Time  `json:"at"`

	// For a signature by the signatory's own key:
	Preparation string     `json:"preparation,omitempty"` // the Ceremony that keeps the values until they have their time
	Own         []SignedBy `json:"own,omitempty"`

	Accepted *Acceptance `json:"accepted,omitempty"` // why the certificate of another authority was taken
}

// Shown names a document as the page showed it: the digest is SHA-256 over the
// whole revision, computed by the page itself from the bytes that it rendered.
type Shown struct {
	Document int    `json:"document"`
	Revision int    `json:"revision"`
	SHA256   Digest `json:"sha256"`
}

// Appearance is what stands in the signature field: strokes drawn with a
// finger, or a typed name. Exactly one of the two is set.
type Appearance struct {
	Typed   string   `json:"typed,omitempty"`
	Strokes []Stroke `json:"strokes,omitempty"`
	Width   float64  `json:"width,omitempty"`  // of the pad, in CSS pixels
	Height  float64  `json:"height,omitempty"` // of the pad, in CSS pixels
}

// Stroke is a polyline in pad coordinates, origin at the top left. No timing
// is kept (design.md, decision 18).
type Stroke []Point

// Point is a place on the pad.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Proof says how the person at the page was authenticated for an act.
type Proof struct {
	Method    string     `json:"method"` // "mailed code", "passkey", "one-time password"
	Challenge string     `json:"challenge"`
	At        time.Time  `json:"at"`
	Client    string     `json:"client,omitempty"`    // address, evidence only
	Device    string     `json:"device,omitempty"`    // name of the credential
	Enrolled  time.Time  `json:"enrolled,omitzero"`   // when it became one
	Approved  string     `json:"approved,omitempty"`  // and by which second proof: Credential.ApprovedBy
	Assertion *Assertion `json:"assertion,omitempty"` // of a passkey
}

// Digest is a SHA-256 value; it reads and writes as lower-case hex.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText gives 64 hex digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes 64 hex digits.
func (d *Digest) UnmarshalText(b []byte) error {
	v, err := hex.DecodeString(string(b))
	if err != nil || len(v) != len(d) {
		return fmt.Errorf("digest: want 64 hex digits, got %q", b)
	}
	copy(d[:], v)
	return nil
}

// RevisionKind says what an increment of a document is for.
type RevisionKind string

// The kinds, in the order in which they come.
const (
	Original  RevisionKind = "original"  // as it was mailed
	Layout    RevisionKind = "layout"    // signature pages and fields, once
	Signature RevisionKind = "signature" // a signatory's signature with its timestamp
	DSS       RevisionKind = "dss"       // certificates and revocation data
	Seal      RevisionKind = "seal"      // the organisation's seal
	Archive   RevisionKind = "archive"   // document timestamp over all
)

// Revision is a document after one more signature or timestamp. Number 0 is the
// original; the bytes of revision n are those of n-1, less what Cut takes off
// their end, followed by its suffix.
type Revision struct {
	Number  int          `json:"number"`
	Kind    RevisionKind `json:"kind"`
	Size    int64        `json:"size"` // of the whole revision
	SHA256  Digest       `json:"sha256"`
	Person  int          `json:"person"` // who signed; -1 for the organisation
	Created time.Time    `json:"created"`
	Until   time.Time    `json:"until,omitzero"` // for Archive: when the certificate of its timestamp ends
	Cut     int64        `json:"cut,omitempty"`  // bytes; of a PDF none: there every revision only adds
}

// DocumentKind tells mailed documents from the report that we add.
type DocumentKind string

// The kinds of document in a session.
const (
	Mailed      DocumentKind = "mailed"      // to be signed; where Source says so, made of what was mailed
	Unconverted DocumentKind = "unconverted" // a file as it was mailed, of which a PDF was made; nobody signs it
	Report      DocumentKind = "report"      // certificate of completion, made when all is done
)

// Document is one file of a session.
type Document struct {
	Name      string       `json:"name"` // safe file name
	Kind      DocumentKind `json:"kind"`
	Form      Form         `json:"form,omitempty"` // empty is PAdES
	Type      string       `json:"type,omitempty"` // media type; empty is a PDF's
	Sight     Sight        `json:"sight,omitempty"`
	Pages     int          `json:"pages"`            // of a PDF
	Signed    bool         `json:"signed"`           // had signatures when it came in
	Notes     []string     `json:"notes,omitempty"`  // what the signatory must be told: JavaScript, …
	Source    int          `json:"source,omitempty"` // index of the Unconverted document of which this one was made, 0 for none
	Maker     string       `json:"maker,omitempty"`  // what made it: "LibreOffice 7.4"
	Revisions []Revision   `json:"revisions"`
}

// Original is the document as it was mailed.
func (d *Document) Original() Revision { return d.Revisions[0] }

// Head is the newest revision.
func (d *Document) Head() Revision { return d.Revisions[len(d.Revisions)-1] }

// Delivery is how the result reaches people, decided at intake from sizes.
type Delivery string

// The two ways.
const (
	Attached Delivery = "attached"
	Download Delivery = "download" // the attachments would exceed the mail size limit
)

// Thread is what a mail in the thread of the request needs to name.
type Thread struct {
	MessageID  string   `json:"message_id"` // with angle brackets
	References []string `json:"references,omitempty"`
	Subject    string   `json:"subject"`
}

// Session is one mail's request for signatures.
type Session struct {
	ID        string        `json:"id"`      // 16 lower-case base32 digits
	Version   int64         `json:"version"` // grows with every Save; fences jobs
	State     State         `json:"state"`
	Level     Level         `json:"level"`
	People    []Participant `json:"people"`
	Documents []Document    `json:"documents"`
	Thread    Thread        `json:"thread"`
	Message   string        `json:"message,omitempty"` // the mail's own words, for the invitation
	Delivery  Delivery      `json:"delivery"`
	Created   time.Time     `json:"created"`
	Deadline  time.Time     `json:"deadline"`
	Ended     time.Time     `json:"ended,omitzero"`
	Reason    string        `json:"reason,omitempty"` // an administrator's, for a cancelled session
	Purged    time.Time     `json:"purged,omitzero"`  // documents are gone, evidence stays
	Lease     Lease         `json:"lease,omitzero"`
	Round     int           `json:"round,omitempty"`    // how often an administrator had its mails sent again
	Returned  []Returned    `json:"returned,omitempty"` // mails that did not arrive, in the order in which it was learned
	ProvenBy  string        `json:"proven_by"`          // how the sender was proven: "sasl jane", "client 10.0.0.5"
}

// Lease is the time-limited right to extend the documents of a session
// (design.md, decision 10).
type Lease struct {
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// Sender is who asked.
func (s *Session) Sender() *Participant {
	for i := range s.People {
		if s.People[i].Sender {
			return &s.People[i]
		}
	}
	return nil
}

// Signatories gives the indices of those who are asked to sign.
func (s *Session) Signatories() []int {
	var out []int
	for i := range s.People {
		if s.People[i].Signatory {
			out = append(out, i)
		}
	}
	return out
}

// SourceOf is the file of which a document was made, nil where it is as it came.
func (s *Session) SourceOf(d *Document) *Document {
	if d.Source <= 0 || d.Source >= len(s.Documents) {
		return nil
	}
	return &s.Documents[d.Source]
}

// Mailed gives the indices of the documents that came by mail, and are signed.
func (s *Session) Mailed() []int {
	var out []int
	for i := range s.Documents {
		if s.Documents[i].Kind == Mailed {
			out = append(out, i)
		}
	}
	return out
}
