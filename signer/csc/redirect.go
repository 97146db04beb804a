package csc

import (
	"context"
	"net/url"
	"time"

	"milterd/signature/cms"
)

// Token is a person's bearer token at the provider. It stays in memory and shows
// nothing when printed.
type Token struct {
	Expires time.Time

	value      Secret
	credential bool // scope credential; else service
}

// Redirect is a person's way to the provider's page and back. It can be kept as
// JSON until the browser returns; keep it on the server, bound to the browser's
// session: Verifier is a secret until Complete, and State must not be learnt by others.
// It prints and logs without both.
type Redirect struct {
	URL          string        `json:"url"` // where the browser goes
	State        string        `json:"state"`
	Verifier     string        `json:"verifier"`                // PKCE, RFC 7636
	CredentialID string        `json:"credential_id,omitempty"` // empty: SignIn
	Algorithm    cms.Algorithm `json:"algorithm,omitempty"`
	Digests      [][]byte      `json:"digests,omitempty"`
	Leaf         []byte        `json:"leaf,omitempty"` // SHA-256 of the certificate that the digests were prepared for
	Expires      time.Time     `json:"expires"`        // when nobody needs to come back any more
}

// SignIn starts the way to a person's own token with scope service, for a provider
// that shows a person's credentials only to that person. lang is the page's
// language (RFC 5646), "" for the provider's choice.
func (c *Client) SignIn(lang string) (*Redirect, error) { panic("csc: its body is in the next commit") }

// SignedIn ends the way of SignIn: query is what the browser brought back to
// RedirectURI. The error is Denied, OtherState or Expired, or of the token endpoint.
func (c *Client) SignedIn(ctx context.Context, r *Redirect, query url.Values) (*Token, error) {
	panic("csc: its body is in the next commit")
}

// Begin starts the authorisation of a request on the provider's page (CSC 8.4.2,
// scope credential). For a credential of mode OAuth2Code.
func (c *Client) Begin(r Request, lang string) (*Redirect, error) {
	panic("csc: its body is in the next commit")
}

// Complete ends the way of Begin: it checks state and error in query, exchanges the
// code, reads the credential again with the new token and compares its leaf.
// user is as for Credentials; version 1 needs it to sign, version 2 does not. The code is spent
// whatever happens: after an error other than OtherState, Begin again.
func (c *Client) Complete(ctx context.Context, user *Token, r *Redirect, query url.Values) (*Activation, error) {
	panic("csc: its body is in the next commit")
}
