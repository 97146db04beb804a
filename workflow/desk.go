package workflow

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Desk carries out what people and jobs ask of sessions. It is the only place
// that changes a session's state. Its methods are safe for concurrent use.
type Desk struct {
	Store    Store
	Signer   Signer
	Reporter Reporter
	Notifier Notifier
	Secrets  Secrets
	Log      *slog.Logger
	Now      func() time.Time
	Policy   Policy
}

// Policy is what the configuration decides about sessions.
type Policy struct {
	URL       string        // base of the signing pages, https://sign.corp.com, no slash at the end
	Deadline  time.Duration // of a session, at most 30 days
	Retention time.Duration // of documents after the end of their session
	MailLimit int64         // bytes: the largest mail that Postfix takes (message_size_limit)
	Repeat    time.Duration // how long the same mail opens nothing twice
}

// Opening is a request that has passed the door: sender proven, signatories
// found in the directory, documents inspected.
type Opening struct {
	Level       Level
	Sender      Person
	ProvenBy    string
	Signatories []Person // at least one, no address twice
	Copies      []Person // internal Cc, without sender and signatories
	Thread      Thread
	Message     string // the mail's own text, at most a few hundred characters
	Documents   []NewDocument
	Mail        []byte   // as it came
	BodyHash    [32]byte // SHA-256 of the mail's body, for the request key
}

// NewDocument is an inspected document of an Opening.
type NewDocument struct {
	Name    string
	Content []byte
	Pages   int
	Signed  bool     // has signatures already
	Notes   []string // what the signatory must be told
}

// Visit is somebody who came with a valid link.
type Visit struct {
	Session *Session
	Person  int // index in Session.People
}

// Who is the participant who visits.
func (v Visit) Who() *Participant { return &v.Session.People[v.Person] }

var errUnwritten = errors.New("unwritten")

// Open stores a session, its first event and its first job in one transaction.
// Signatories whom the same mail has asked before (decision 2) are left out; if
// none remains, the session that it opened then is returned and created is
// false. An error is a *Refusal with a 4xx code if the store is away.
func (d *Desk) Open(ctx context.Context, o Opening) (s *Session, created bool, err error) {
	return nil, false, errUnwritten
}

// Visit finds the session of a link's token. Its error is a *Refusal:
// "unknown-link" or, after retention, "gone". Nothing is recorded.
func (d *Desk) Visit(ctx context.Context, token string) (Visit, error) {
	return Visit{}, errUnwritten
}

// View gives the head revision of a document to a visitor whose device is
// proven, and records the first look of each visitor. Reason "gone" after retention.
func (d *Desk) View(ctx context.Context, v Visit, document int, client string) ([]byte, Revision, error) {
	return nil, Revision{}, errUnwritten
}

// Sign takes a signatory's act: it checks that shown names a revision of every
// mailed document by its digest, calls consume inside the transaction to use up
// the proof, and stores the act with the job that carries it out. The *Refusal's
// Reason is "not-signatory", "already-decided", "ended" (with the session's
// state in Text), "digest-mismatch", "bad-appearance", "preparing", or comes from consume.
func (d *Desk) Sign(ctx context.Context, v Visit, shown []Shown, a Appearance, client string, consume func(Tx) (Proof, error)) error {
	return errUnwritten
}

// Decline ends the session; comment (at most 2,000 characters) goes to everyone.
func (d *Desk) Decline(ctx context.Context, v Visit, comment, client string) error {
	return errUnwritten
}

// Ready says whether a signature could be completed now: nil, or which
// timestamp authority is away.
func (d *Desk) Ready(ctx context.Context) error { return errUnwritten }

// Cancel stops a session for an administrator.
func (d *Desk) Cancel(ctx context.Context, id, reason string) error { return errUnwritten }

// Resend mails again what a session's state calls for: invitations to those who
// have not answered, or the result; and retries jobs that ran out of tries.
// It returns how many mails and jobs were started.
func (d *Desk) Resend(ctx context.Context, id string) (int, error) { return 0, errUnwritten }

// Run does the work of a job.
func (d *Desk) Run(ctx context.Context, j Job) error { return errUnwritten }
