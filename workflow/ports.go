package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps sessions, documents, evidence and jobs. A transaction that
// returned nil has reached the disk.
type Store interface {
	// Do runs fn in one read-write transaction; an error or panic rolls back.
	// On SQLite it begins IMMEDIATE; on PostgreSQL Tx.Session locks its row.
	Do(ctx context.Context, fn func(Tx) error) error

	// Session reads without locking; ErrNotFound.
	Session(ctx context.Context, id string) (*Session, error)
	// Content gives a whole revision: the original, and of every revision up to
	// it what Cut leaves of the one before and the suffix, checked against its
	// digest. ErrGone after retention.
	Content(ctx context.Context, session string, document, revision int) ([]byte, error)
	// Events gives the audit trail in order, checked against its chain.
	Events(ctx context.Context, session string) ([]Event, error)
	// List gives sessions, newest first.
	List(ctx context.Context, f Filter) ([]*Session, error)
	// Jobs gives the jobs of a session, or with "" every job that ran out of tries.
	Jobs(ctx context.Context, session string) ([]JobInfo, error)
	// Participant finds whose link a token hash is; ErrNotFound.
	Participant(ctx context.Context, tokenHash []byte) (session string, person int, err error)
	// Device finds a remembered device by the hash of its cookie; ErrNotFound.
	Device(ctx context.Context, hash []byte) (*Device, error)
	// Held finds a held mail by the hash of its link's token; ErrNotFound.
	Held(ctx context.Context, tokenHash []byte) (*Held, error)
	// HeldMail gives the bytes of a held mail; ErrNotFound if it does not wait.
	HeldMail(ctx context.Context, id string) ([]byte, error)

	// Credentials are a person's enrolled devices, revoked ones too, oldest
	// first; with "" everybody's.
	Credentials(ctx context.Context, mail string) ([]*Credential, error)
	// Ceremony reads without locking; ErrNotFound, also when its time is over.
	Ceremony(ctx context.Context, id string, now time.Time) (*Ceremony, error)
	// Ceremonies are those of a kind whose time is not over, oldest first.
	Ceremonies(ctx context.Context, kind string, now time.Time) ([]*Ceremony, error)
	// Certificate finds one by its serial number; ErrNotFound.
	Certificate(ctx context.Context, serial string) (*Certificate, error)
	// Certificates gives entries of the register, newest first.
	Certificates(ctx context.Context, f CertificateFilter) ([]*Certificate, error)
	// Log is what the authority did, in order, checked against its chain
	// (CheckChain with the name LogName).
	Log(ctx context.Context) ([]Event, error)
}

// LogName stands in the place of a session's id in the chain of the authority's log.
const LogName = "authority"

// Filter chooses sessions; zero fields choose all.
type Filter struct {
	State  State
	Person string    // mail address of anyone involved
	Before time.Time // ended before
	Limit  int       // 0 means 100
}

// Tx is the inside of one transaction.
type Tx interface {
	// Create inserts a new session at Version 1 with its original mail and the
	// original bytes of each document, in order.
	Create(s *Session, mail []byte, originals [][]byte) error
	// Session loads and locks; ErrNotFound.
	Session(id string) (*Session, error)
	// Save writes the session if nobody saved since it was loaded and adds one
	// to its Version; ErrConflict.
	Save(s *Session) error
	// AddSuffix stores the bytes that lead from revision n-1, less Revision.Cut, to
	// n of a document
	// (for a document that was not mailed, suffix 0 is the whole). The Session's
	// own list of revisions is the caller's to extend and Save.
	AddSuffix(session string, document, revision int, suffix []byte) error
	// Append adds to the audit trail: it sets Seq, Prev and Hash (see Event.Chain).
	Append(session string, e Event) error
	// Enqueue inserts jobs in this transaction, no two of them equal. One that has
	// an equal that is still pending is left out.
	Enqueue(jobs ...Job) error
	// CancelJobs takes back the jobs of a session that have not started; those
	// of a kind listed in keep stay.
	CancelJobs(session string, keep ...JobKind) error
	// RetryJob makes a job that ran out of tries, or waits for one, run now.
	RetryJob(id int64) error
	// Seen gives the session that a request key opened, if it is not older than
	// its bound; Remember records one.
	Seen(key [32]byte, now time.Time) (session string, ok bool, err error)
	Remember(key [32]byte, session string, until time.Time) error
	// OpenedSince counts the sessions that a sender, known by the primary
	// address, has opened. Until the end of the transaction nobody else opens
	// one in that name.
	OpenedSince(mail string, since time.Time) (int, error)
	// AddToken makes a participant's link findable by the token's keyed hash.
	AddToken(hash []byte, session string, person int) error
	// Challenge gives the newest code challenge of a participant; ErrNotFound.
	Challenge(session string, person int) (*Challenge, error)
	// SaveChallenge inserts or replaces by Challenge.ID.
	SaveChallenge(c *Challenge) error
	// ChallengesSince gives the challenges of a mail address, in all sessions.
	// Until the end of the transaction nobody else reads those of the same.
	ChallengesSince(mail string, since time.Time) ([]*Challenge, error)
	// AddDevice and RemoveDevices are the remembered devices of a person.
	AddDevice(d *Device) error
	RemoveDevices(mail string) error
	// Hold keeps a mail until its sender confirms it.
	Hold(h *Held, tokenHash, mail []byte) error
	// Held loads and locks a held mail; ErrNotFound.
	Held(id string) (*Held, error)
	// SaveHeld replaces what Hold kept, and drops the mail itself unless the
	// state is HeldWaiting.
	SaveHeld(h *Held) error
	// DropHeld forgets a held mail, if it is there.
	DropHeld(id string) error
	// HeldNow gives all held mails without their bytes, and the bytes of those
	// that wait. Until the end of the transaction nobody else holds a mail.
	HeldNow() ([]*Held, int64, error)
	// Purge drops the mail, the originals and the suffixes of a session, and its
	// challenges. Session row, events and token hashes stay, so that an old link
	// still says what became of its documents.
	Purge(session string) error
	// Sweep drops what is out of date: request keys, challenges, devices, ceremonies.
	Sweep(now time.Time) error

	// Credential loads and locks; ErrNotFound. SaveCredential inserts or
	// replaces by ID; somebody else's ID is ErrConflict.
	Credential(id string) (*Credential, error)
	SaveCredential(c *Credential) error
	// CredentialsOf gives a person's, also revoked ones, oldest first. Until the
	// end of the transaction nobody else reads those of the same.
	CredentialsOf(mail string) ([]*Credential, error)
	// Ceremony loads and locks; ErrNotFound, also when its time is over.
	// SaveCeremony inserts or replaces by ID; EndCeremony forgets it, if it is there.
	Ceremony(id string, now time.Time) (*Ceremony, error)
	SaveCeremony(c *Ceremony) error
	EndCeremony(id string) error
	// CeremoniesSince counts those of a kind that a mail address has begun.
	// Until the end of the transaction nobody else counts the same.
	CeremoniesSince(mail, kind string, since time.Time) (int, error)
	// Certificate loads and locks; ErrNotFound. CertificatesOf are those of a
	// credential, locked, oldest first. SaveCertificate inserts or replaces by
	// Serial. Whoever locks several things locks in the order session,
	// credential, certificate, log.
	Certificate(serial string) (*Certificate, error)
	CertificatesOf(credential string) ([]*Certificate, error)
	SaveCertificate(c *Certificate) error
	// AppendLog adds to the authority's log, as Append does to a session's trail.
	AppendLog(e Event) error
}

// Challenge is one mailed code. The code itself is derived when the mail is
// sent (Secrets.Code) and stored nowhere.
type Challenge struct {
	ID      string    `json:"id"` // random, the derivation's nonce; not a secret
	Session string    `json:"session"`
	Person  int       `json:"person"`
	Mail    string    `json:"mail"`
	Issued  time.Time `json:"issued"`
	Tries   int       `json:"tries"`  // wrong answers so far
	Opened  time.Time `json:"opened"` // served to open the documents
	Signed  time.Time `json:"signed"` // served to sign; then it is used up
}

// Device is a browser that has proven a mailbox and is remembered by cookie.
type Device struct {
	Hash    []byte    `json:"-"` // keyed hash of the cookie's value
	Mail    string    `json:"mail"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Agent   string    `json:"agent"` // browser, as a person would name it

	// Credential is the enrolled device that the browser is remembered with:
	// when that one is revoked, this is forgotten. Empty after a mailed code.
	Credential string `json:"credential,omitempty"`
}

// Errors of a Store.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("changed by somebody else in the meantime")
	ErrGone     = errors.New("documents were deleted after their retention time")
)

// JobKind names a piece of work.
type JobKind string

// The kinds of job.
const (
	JobPrepare JobKind = "prepare" // lay out signature pages and fields
	JobMail    JobKind = "mail"    // send one mail
	JobSign    JobKind = "sign"    // put a signatory's act into the documents
	JobSeal    JobKind = "seal"    // seal, timestamp, report
	JobExpire  JobKind = "expire"  // at the deadline
	JobRetain  JobKind = "retain"  // when retention is over
	JobAsk     JobKind = "ask"     // mail a held sender for confirmation
	JobForget  JobKind = "forget"  // when a held mail has waited long enough
	JobRenew   JobKind = "renew"   // before the archive timestamps of kept documents age

	JobVerified JobKind = "verified" // answer a mail to verify@
)

// Job is work that follows from a transition. It holds no secret: tokens and
// codes are derived when it runs. Two jobs with equal fields but At are equal.
type Job struct {
	Kind        JobKind   `json:"kind"`
	Session     string    `json:"session"`
	Person      int       `json:"person,omitempty"`      // index in Session.People
	Mail        MailKind  `json:"mail,omitempty"`        // for JobMail
	Challenge   string    `json:"challenge,omitempty"`   // for the mail with a code
	Round       int       `json:"round,omitempty"`       // Session.Round when it was sent again
	Returned    int       `json:"returned,omitempty"`    // for MailReturned: from 1, the entry of Session.Returned
	Held        string    `json:"held,omitempty"`        // for JobAsk and JobForget: the Held's id
	Preparation string    `json:"preparation,omitempty"` // for JobSign with an own key and MailAgain: the Act's
	Credential  string    `json:"credential,omitempty"`  // for MailEnrolled: the new device's
	At          time.Time `json:"-"`                     // not before; zero means now

	Verification string `json:"verification,omitempty"` // for JobVerified: the Verification as JSON
}

// Runner does the work of a job; Desk is one. A job can run twice, so each
// looks first whether its work is already done.
type Runner interface {
	Run(ctx context.Context, j Job) error
}

// Snooze is returned by a Runner that must wait without using up a try.
type Snooze struct{ For time.Duration }

func (s Snooze) Error() string { return fmt.Sprintf("not yet: again in %s", s.For) }

// Drop is returned by a Runner whose job has no purpose any more, or can never
// succeed: it is not tried again.
type Drop struct{ Err error }

func (d Drop) Error() string { return d.Err.Error() }
func (d Drop) Unwrap() error { return d.Err }

// JobInfo is a job as operators see it.
type JobInfo struct {
	ID       int64
	Job      Job
	State    string // available, running, scheduled, retryable, completed, cancelled, discarded (out of tries)
	Attempt  int
	Max      int
	Next     time.Time
	Error    string // of the last attempt
	Finished time.Time
}

// Increment is what a Signer adds to a document.
type Increment struct {
	Kind   RevisionKind
	Suffix []byte
	Cut    int64     // bytes that it takes off the end before, as Revision.Cut
	Until  time.Time // for Archive: when the certificate of its timestamp ends
}

// Signer puts pages, signatures and seals into documents. Its errors are
// retried, unless they are a *Refusal.
type Signer interface {
	// Ready asks the timestamp authority, so that nobody is asked for a
	// signature that would then have to wait. An error says which one is away.
	Ready(ctx context.Context) error
	// Layout gives the first increment of an unsigned PDF: pages and a field for
	// each signatory and the seal. Nil for a document that others have signed
	// already, where nothing may be laid out (decision 9), and for other forms.
	Layout(ctx context.Context, s *Session, document int, original []byte) ([]byte, error)
	// Sign puts the act of a signatory into a document: field, signature with
	// timestamp (B-T), then revocation data (B-LT). It has verified what it returns.
	Sign(ctx context.Context, s *Session, document, person int, head []byte) ([]Increment, error)
	// Seal closes a document: the organisation's seal, revocation data and
	// document timestamp (B-LTA). It has verified what it returns.
	Seal(ctx context.Context, s *Session, document int, head []byte) ([]Increment, error)

	// Prepare writes the revision that will hold a signatory's own signature:
	// field, look, claimed time, the certificate. Revision and Head are the
	// caller's to fill. With an empty key.Chain the certificate comes with the
	// signature: a PDF only, Attributes are not set, and Digest is, unless key.Whole:
	// then nothing is written, and the document itself is given away.
	Prepare(ctx context.Context, s *Session, document, person int, look Appearance, at time.Time, key Key, head []byte) (*Prepared, error)
	// CheckValue verifies a signature value (ECDSA: r‖s or DER) over
	// p.Attributes; a *Refusal "bad-value" if it is wrong.
	CheckValue(p *Prepared, value []byte) error
	// Take verifies what somebody else has made of what was prepared with an empty
	// key.Chain: a complete signature (CMS), or with key.Whole the bytes that lead from
	// head to the signed document. It fills in Attributes, Value and Made, and gives
	// what it was made with; nobody has judged the certificates. A *Refusal
	// "foreign-signature", "foreign-document" or "signature-too-large" if it is not
	// exactly what was asked for.
	Take(ctx context.Context, p *Prepared, head, made []byte) (Key, error)
	// Complete embeds p.Value, or p.Made, gets its time (B-T) and adds revocation data
	// issued after it (B-LT). It has verified what it returns. A *Refusal
	// "certificate-expired" or "certificate-revoked" says that the person must sign again.
	Complete(ctx context.Context, s *Session, document, person int, head []byte, p *Prepared) ([]Increment, error)
}

// Key is what a signatory's own value will be made with.
type Key struct {
	Chain     [][]byte // DER, the signatory's certificate first; empty if it comes with the signature
	Algorithm string   // as package cms names it; empty: the usual one of the key
	Whole     bool     // somebody else makes the signed document, with a certificate that nobody knows yet
}

// Archivist keeps archive timestamps from ageing.
type Archivist interface {
	// Renew puts another document timestamp over a document whose newest one
	// has a certificate that ends before a time, with the evidence about that one
	// (B-LTA, EN 319 142-1, 6.3). It has verified what it returns. A *Refusal
	// "no-archive" says that the document has no document timestamp.
	Renew(ctx context.Context, head []byte, before time.Time) (Renewal, error)
}

// Renewal is what an Archivist did.
type Renewal struct {
	Increments []Increment // none: it was not needed
	Was        time.Time   // when the certificate of the timestamp that was the newest ends
	Until      time.Time   // and that of the one that is
}

// Reporter makes the certificate of completion, an unsigned PDF.
type Reporter interface {
	Report(ctx context.Context, s *Session, events []Event) ([]byte, error)
}

// Secrets derives what must be stored nowhere (decision 5).
type Secrets interface {
	// Token is the participant's link: 16 bytes, base64url without padding.
	Token(session string, person int) string
	// HeldToken is the link that confirms a held mail, in the same form.
	HeldToken(id string) string
	// TokenHash is the keyed hash by which the store finds it.
	TokenHash(token string) []byte
	// Code is six decimal digits.
	Code(session string, person int, challenge string) string
}

// MailKind names the mails that milterd writes.
type MailKind string

// The mails.
const (
	MailInvitation MailKind = "invitation" // to a signatory: please sign
	MailReceipt    MailKind = "receipt"    // to the sender: we have asked them
	MailCode       MailKind = "code"       // to whoever is at the page: prove it
	MailResult     MailKind = "result"     // to everyone: signed
	MailDeclined   MailKind = "declined"   // to everyone: one has declined
	MailExpired    MailKind = "expired"    // to everyone: the deadline has passed
	MailCancelled  MailKind = "cancelled"  // to everyone: an administrator stopped it
	MailReturned   MailKind = "returned"   // to the sender: a mail to somebody else did not arrive
	MailConfirm    MailKind = "confirm"    // to somebody in whose name a mail came: was it you?
	MailEnrolled   MailKind = "enrolled"   // to whose device it is: a new one was enrolled
	MailAgain      MailKind = "again"      // to a signatory: please sign once more
	MailVerified   MailKind = "verified"   // to somebody who asked verify@ about files
)

// Notice is a mail that is to be written: who gets what is decided, how it
// reads is notify's.
type Notice struct {
	Kind         MailKind
	Key          string // the same for the same mail, sent again or not: its Message-ID comes from it
	Session      *Session
	To           int    // index in Session.People
	Round        int    // Session.Round when it was sent again; with Session, To and Kind it makes the Mailing
	Link         string // https://host/s#TOKEN; empty where there is nothing to open
	Code         string // for MailCode
	CodeExpires  time.Time
	By           int           // who declined, for MailDeclined; who was not reached, for MailReturned
	Returned     *Returned     // for MailReturned
	Credential   *Credential   // for MailEnrolled: Name, Enrolled, ApprovedBy
	Again        string        // for MailAgain: why, a Reason of AgainReasons
	Held         *Held         // for MailConfirm, which has no Session
	Verification *Verification // for MailVerified, which has none either
	Until        time.Time     // for MailResult: when retention ends, and Link leads nowhere any more
	Attachments  []Attachment
}

// Attachment is a file in a mail.
type Attachment struct {
	Name        string
	ContentType string
	Content     []byte
}

// Recipient is who gets the mail.
func (n *Notice) Recipient() Person {
	switch {
	case n.Held != nil:
		return n.Held.Person
	case n.Verification != nil:
		return n.Verification.Person
	}
	return n.Session.People[n.To].Person
}

// Mailing is what the mail's bounce address carries.
func (n *Notice) Mailing() Mailing {
	switch {
	case n.Held != nil:
		return Mailing{Session: n.Held.ID, Mail: n.Kind}
	case n.Verification != nil:
		return Mailing{Session: n.Verification.ID, Mail: n.Kind}
	case n.Session == nil:
		return Mailing{Mail: n.Kind}
	}
	return Mailing{Session: n.Session.ID, Person: n.To, Mail: n.Kind, Round: n.Round}
}

// Notifier writes and delivers a mail. An error is retried; a Drop is not (the
// mail was refused for good: there is a Rejected in its chain, if a server did it).
type Notifier interface {
	Send(ctx context.Context, n Notice) error
}

// Refusal is an error with words for the person who caused it, and a code for
// the program in between. It crosses the border to SMTP and to the page.
type Refusal struct {
	Code     int    // SMTP reply code: 550, 552, 554, 451 …
	Enhanced string // RFC 3463: "5.7.1"
	Text     string // one sentence in English that a person can act on
	Reason   string // stable word for metrics, pages and translations: "encrypted-pdf"
	Err      error  // inner cause, for the log
}

func (r *Refusal) Error() string {
	s := fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
	if r.Err != nil {
		s += " (" + r.Err.Error() + ")"
	}
	return s
}

func (r *Refusal) Unwrap() error { return r.Err }
