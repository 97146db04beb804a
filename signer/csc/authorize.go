package csc

import (
	"context"
	"time"

	"milterd/signature/cms"
)

// Request is what is to be signed: one signature for each digest, at most
// Credential.Multisign.
type Request struct {
	Credential *Credential
	Algorithm  cms.Algorithm // one of Credential.Algorithms; empty: the first
	Digests    [][]byte      // under Algorithm's hash: of signed attributes for SignHash, of the ByteRange for SignDoc
}

// Activation is the authorisation of one request (CSC: SAD, or a token with scope
// credential). It is spent by the first SignHash or SignDoc, stays in memory, and
// shows nothing when printed.
type Activation struct {
	Credential *Credential // as it is after the authorisation: a OneShot one has its certificate here
	Expires    time.Time

	request Request
	bearer  *Token // nil: the service's own
	sad     Secret
	handle  Secret // while Pending
	spent   bool
}

// Pending reports that the person must still agree on another device; see Check.
func (a *Activation) Pending() bool { return a.handle != "" }

// Challenge has the provider send a one-time password, or gives the question to
// answer as its own one line of text (CSC 11.8; sendOTP in version 1). question
// is empty if it was sent.
func (c *Client) Challenge(ctx context.Context, user *Token, cred *Credential, factor string) (question string, err error) {
	panic("csc: its body is in the next commit")
}

// Authorize has a request authorised by what the person typed: an answer for each
// Typed factor (CSC 11.6). For a credential of mode Explicit. It is never tried
// twice by itself: providers count wrong answers.
func (c *Client) Authorize(ctx context.Context, user *Token, r Request, answers map[string]Secret) (*Activation, error) {
	panic("csc: its body is in the next commit")
}

// Check asks once whether a Pending activation was agreed to (CSC 11.7); a is Pending
// still if not. The caller decides how often: every few seconds.
func (c *Client) Check(ctx context.Context, a *Activation) error {
	panic("csc: its body is in the next commit")
}
