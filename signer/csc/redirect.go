package csc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strconv"
	"time"

	"milterd/signature/cms"
)

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

// unprinted is embedded in whatever holds secrets in fields that are not exported:
// there package fmt cannot ask Secret how it wants to be printed.
type unprinted struct{}

// Format shows nothing.
func (unprinted) Format(f fmt.State, verb rune) { Secret("").Format(f, verb) }

// Format shows neither State nor Verifier.
func (r Redirect) Format(f fmt.State, verb rune) { unprinted{}.Format(f, verb) }

// LogValue shows neither State nor Verifier.
func (r Redirect) LogValue() slog.Value {
	return slog.GroupValue(slog.String("credential", r.CredentialID), slog.Time("expires", r.Expires))
}

// redirectLife is how long a person may take on the provider's page.
const redirectLife = 15 * time.Minute

const authorizeCall = "oauth2/authorize"

// SignIn starts the way to a person's own token with scope service, for a provider
// that shows a person's credentials only to that person. lang is the page's
// language (RFC 5646), "" for the provider's choice.
func (c *Client) SignIn(lang string) (*Redirect, error) {
	return c.direct(&Redirect{}, url.Values{"scope": {"service"}}, lang)
}

// SignedIn ends the way of SignIn: query is what the browser brought back to
// RedirectURI. The error is Denied, OtherState or Expired, or of the token endpoint.
func (c *Client) SignedIn(ctx context.Context, r *Redirect, query url.Values) (*Token, error) {
	if r.CredentialID != "" {
		return nil, c.fail(authorizeCall, OtherState, errors.New("the browser left for a credential, not to sign in"))
	}
	g, err := c.exchange(ctx, r, query, nil)
	if err != nil {
		return nil, err
	}
	return g.token, nil
}

// Begin starts the authorisation of a request on the provider's page (CSC 8.4.2,
// scope credential). For a credential of mode OAuth2Code.
func (c *Client) Begin(r Request, lang string) (*Redirect, error) {
	if err := c.checkRequest(authorizeCall, &r, OAuth2Code); err != nil {
		return nil, err
	}
	out := &Redirect{CredentialID: r.Credential.ID, Algorithm: r.Algorithm, Digests: r.Digests}
	if leaf := r.Credential.Leaf(); leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		out.Leaf = sum[:]
	}
	form := url.Values{}
	switch {
	case c.p.RichRequests:
		form.Set("authorization_details", c.details(out))
	case c.p.Version == 1:
		form.Set("hash", c.queryDigests(r.Digests))
	default:
		form.Set("hashes", c.queryDigests(r.Digests))
		form.Set("hashAlgorithmOID", r.Algorithm.HashOID().String())
	}
	if !c.p.RichRequests {
		form.Set("scope", "credential")
		form.Set("credentialID", r.Credential.ID)
		form.Set("numSignatures", strconv.Itoa(len(r.Digests)))
	}
	return c.direct(out, form, lang)
}

// direct completes what the browser takes along, and its address.
func (c *Client) direct(r *Redirect, form url.Values, lang string) (*Redirect, error) {
	if c.p.AuthorizeURL == "" {
		return nil, c.fail(authorizeCall, NotOffered, errors.New("no AuthorizeURL is configured"))
	}
	r.State, r.Verifier, r.Expires = random(), random(), c.now().Add(redirectLife)
	challenge := sha256.Sum256([]byte(r.Verifier)) // RFC 7636, 4.2
	form.Set("response_type", "code")
	form.Set("client_id", c.p.ClientID)
	form.Set("redirect_uri", c.p.RedirectURI)
	form.Set("state", r.State)
	form.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
	form.Set("code_challenge_method", "S256")
	if lang != "" {
		form.Set("lang", lang)
	}
	r.URL = c.p.AuthorizeURL + "?" + form.Encode()
	return r, nil
}

// random is a value that cannot be guessed: 32 bytes as base64url.
func random() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// details is the authorization_details of a redirect (CSC 8.4.2, RFC 9396). The label, which
// would be the document's name, says nothing.
func (c *Client) details(r *Redirect) string {
	type digest struct {
		Hash  string `json:"hash"`
		Label string `json:"label"`
	}
	type detail struct {
		Type    string   `json:"type"`
		ID      string   `json:"credentialID"`
		Digests []digest `json:"documentDigests"`
		Hash    string   `json:"hashAlgorithmOID"`
	}
	d := detail{Type: "credential", ID: r.CredentialID, Hash: r.Algorithm.HashOID().String()}
	for i, sum := range r.Digests {
		d.Digests = append(d.Digests, digest{c.encode(sum), strconv.Itoa(i + 1)})
	}
	b, err := json.Marshal([]detail{d})
	if err != nil {
		panic(err) // strings only
	}
	return string(b)
}

// exchange checks what the browser brought and turns the code into a token (RFC
// 6749, 4.1.2 and 4.1.3). more goes into the form.
func (c *Client) exchange(ctx context.Context, r *Redirect, query url.Values, more url.Values) (*granted, error) {
	for _, name := range []string{"state", "code", "error", "error_description"} {
		if len(query[name]) > 1 || len(query.Get(name)) > 16<<10 {
			return nil, c.fail(authorizeCall, OtherState, fmt.Errorf("the browser brought %s twice, or too long", name))
		}
	}
	// Before anything else: a forged return may not even tell of an error.
	if r.State == "" || subtle.ConstantTimeCompare([]byte(r.State), []byte(query.Get("state"))) != 1 {
		return nil, c.fail(authorizeCall, OtherState, errors.New("the browser brought another state"))
	}
	if code := query.Get("error"); code != "" {
		e := c.fail(authorizeCall, "", nil)
		secrets := []Secret{Secret(r.State), Secret(r.Verifier)}
		e.Code, e.Said = clean(hide(code, secrets), maxCode), clean(hide(query.Get("error_description"), secrets), maxSaid)
		e.Reason = reasonFor(0, e.Code, e.Said)
		return nil, e
	}
	if !c.now().Before(r.Expires) {
		return nil, c.fail(authorizeCall, Expired, errors.New("the browser came back too late"))
	}
	if query.Get("code") == "" {
		return nil, c.fail(authorizeCall, WrongAnswer, errors.New("the browser brought neither code nor error"))
	}
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {query.Get("code")},
		"redirect_uri":  {c.p.RedirectURI},
		"code_verifier": {r.Verifier},
	}
	maps.Copy(form, more)
	return c.token(ctx, form, false, r.CredentialID != "")
}

// Complete ends the way of Begin: it checks state and error in query, exchanges the
// code, reads the credential again with the new token and compares its leaf.
// user is as for Credentials; version 1 needs it to sign, version 2 does not. The code is spent
// whatever happens: after an error other than OtherState, Begin again.
func (c *Client) Complete(ctx context.Context, user *Token, r *Redirect, query url.Values) (*Activation, error) {
	if r.CredentialID == "" {
		return nil, c.fail(authorizeCall, OtherState, errors.New("the browser left to sign in, not for a credential"))
	}
	var more url.Values
	if c.p.RichRequests {
		more = url.Values{"authorization_details": {c.details(r)}} // CSC 8.4.4
	}
	g, err := c.exchange(ctx, r, query, more)
	if err != nil {
		return nil, err
	}
	if g.credential != "" && g.credential != r.CredentialID {
		return nil, c.fail(tokenCall, WrongAnswer, errors.New("a token for another credential than the one asked for"))
	}
	a := &Activation{Expires: g.token.Expires, bearer: g.token, algorithm: r.Algorithm, digests: r.Digests}
	if c.p.Version == 1 {
		// There the token takes the place of the SAD, beside one with scope service.
		a.bearer, a.sad = user, g.token.value
	}
	if err := c.settle(ctx, a, r.CredentialID, r.Leaf); err != nil {
		return nil, err
	}
	return a, nil
}
