package auth

import (
	"context"
	"errors"
	"time"

	"milterd/workflow"
)

// Limits of mailed codes and remembered devices.
const (
	CodeLifetime   = 10 * time.Minute
	CodeTries      = 5
	CodesPerHour   = 6 // for one mail address
	DeviceLifetime = 90 * 24 * time.Hour
)

// Mailbox proves that a visitor reads the mailbox of a participant.
type Mailbox struct {
	Store workflow.Store
	Keys  *Keys
	Now   func() time.Time
}

var errUnwritten = errors.New("unwritten")

// RequestCode starts a new challenge and the job that mails its code. The
// *workflow.Refusal's Reason is "too-many-codes" when the hour's share is used up.
func (m *Mailbox) RequestCode(ctx context.Context, v workflow.Visit, client string) (expires time.Time, err error) {
	return time.Time{}, errUnwritten
}

// Open checks a code for opening the documents and remembers the device:
// cookie is the value that the browser gets. Reasons: "wrong-code" (with the
// tries that are left in Text), "code-expired" (also: used up, or none asked).
func (m *Mailbox) Open(ctx context.Context, v workflow.Visit, code, client, agent string) (cookie string, expires time.Time, err error) {
	return "", time.Time{}, errUnwritten
}

// Remembered reports whether a cookie's device has proven the visitor's mailbox.
func (m *Mailbox) Remembered(ctx context.Context, v workflow.Visit, cookie string) bool {
	return false
}

// ForSigning checks a code, counts a wrong one, and returns what uses it up
// inside the transaction of workflow.Desk.Sign. A code that opened the
// documents may sign once within its lifetime. Reasons as for Open.
func (m *Mailbox) ForSigning(ctx context.Context, v workflow.Visit, code, client string) (consume func(workflow.Tx) (workflow.Proof, error), err error) {
	return nil, errUnwritten
}
