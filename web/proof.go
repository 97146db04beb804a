package web

import (
	"context"
	"encoding/json"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// Passkeys is what the pages need of auth.Passkeys.
type Passkeys interface {
	// Begin starts a ceremony whose challenge binds the digests. Options are
	// those of navigator.credentials.get, in JSON.
	Begin(ctx context.Context, v workflow.Visit, label string, digests []workflow.Digest) (options json.RawMessage, ceremony string, err error)
	// Open proves the visitor without a mailed code and remembers the device.
	Open(ctx context.Context, v workflow.Visit, ceremony string, response []byte, client, agent string) (cookie string, expires time.Time, err error)
	// ForSigning checks a response; consume uses it up for what is then signed.
	ForSigning(ctx context.Context, v workflow.Visit, ceremony string, response []byte, client string) (consume workflow.Consume, err error)
	// ForKey uses up a response that stands for a new key, and says whose it is.
	ForKey(ctx context.Context, v workflow.Visit, ceremony string, response []byte, key workflow.Digest, client string) (c *workflow.Credential, err error)
}

// TOTP is what the pages need of auth.TOTP.
type TOTP interface {
	Begin(ctx context.Context, v workflow.Visit, handle string) (uri string, png []byte, ceremony string, err error)
	Finish(ctx context.Context, v workflow.Visit, handle, ceremony, code, name, client, agent string) (c *workflow.Credential, cookie string, expires time.Time, err error)
	ForSigning(ctx context.Context, v workflow.Visit, code, client string) (consume workflow.Consume, err error)
	// ForKey uses up a code that stands for a new key, and says whose it is.
	ForKey(ctx context.Context, v workflow.Visit, code, client string) (c *workflow.Credential, err error)
}

// passkey is a page's answer to a ceremony.
type passkey struct {
	Ceremony string          `json:"ceremony"`
	Response json.RawMessage `json:"response"` // PublicKeyCredential.toJSON()
}

// given is the proof that a request brings along: exactly one.
type given struct {
	Code    string   `json:"code"`
	TOTP    string   `json:"totp"`
	Passkey *passkey `json:"passkey"`
}

// kind names the proof; empty if there is none, or more than one.
func (g given) kind() string {
	var all []string
	if g.Code != "" {
		all = append(all, auth.ProofCode)
	}
	if g.TOTP != "" {
		all = append(all, auth.ProofTOTP)
	}
	if g.Passkey != nil {
		all = append(all, auth.ProofPasskey)
	}
	if len(all) != 1 {
		return ""
	}
	return all[0]
}

// forSigning checks a proof that the session's level accepts.
func (s *site) forSigning(ctx context.Context, c *call, g given) (workflow.Consume, error) {
	kind := g.kind()
	if kind == "" {
		return nil, refusal("bad-request", "This request brings no proof, or several.", nil)
	}
	if err := s.Proofs.Check(c.visit.Session.Level, kind); err != nil {
		return nil, err
	}
	switch kind {
	case auth.ProofPasskey:
		return s.Passkeys.ForSigning(ctx, c.visit, g.Passkey.Ceremony, g.Passkey.Response, c.client)
	case auth.ProofTOTP:
		if err := s.guess(c, g.TOTP); err != nil {
			return nil, err
		}
		return s.TOTP.ForSigning(ctx, c.visit, g.TOTP, c.client)
	}
	if err := s.guess(c, g.Code); err != nil {
		return nil, err
	}
	return s.Mailbox.ForSigning(ctx, c.visit, g.Code, c.client)
}

// passkeyBegin starts a ceremony. The page names the digests that it is about;
// whoever uses the answer computes them anew, so that others are of no use.
func (s *site) passkeyBegin(ctx context.Context, c *call) error {
	var in struct {
		Token   string            `json:"token"`
		Purpose string            `json:"purpose"`
		Digests []workflow.Digest `json:"digests"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	least, most := 1, 1
	switch in.Purpose {
	case "open":
		least, most = 0, 0
	case "sign":
		most = maxShown
	case "key", "approve":
	default:
		return refusal("bad-request", "There is no such purpose.", nil)
	}
	if in.Purpose != "open" {
		if err := c.needProof(); err != nil {
			return err
		}
	}
	if len(in.Digests) < least || len(in.Digests) > most {
		return refusal("bad-request", "This request names another number of digests.", nil)
	}
	options, ceremony, err := s.Passkeys.Begin(ctx, c.visit, in.Purpose, in.Digests)
	if err != nil {
		return err
	}
	return c.answer(begun{ceremony, options})
}

// begun is a ceremony that the page is to carry out.
type begun struct {
	Ceremony string          `json:"ceremony"`
	Options  json.RawMessage `json:"options"`
}

// passkeyOpen proves the visitor by a passkey instead of a mailed code.
func (s *site) passkeyOpen(ctx context.Context, c *call) error {
	var in struct {
		Token   string  `json:"token"`
		Passkey passkey `json:"passkey"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	cookie, expires, err := s.Passkeys.Open(ctx, c.visit, in.Passkey.Ceremony, in.Passkey.Response, c.client, browser(c.UserAgent()))
	if err != nil {
		return err
	}
	s.remember(ctx, c, cookie, expires)
	return s.show(ctx, c, c.visit, true)
}
