package csc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Token is a person's bearer token at the provider. It stays in memory and shows
// nothing when printed.
type Token struct {
	Expires time.Time

	unprinted
	value      Secret
	credential bool // scope credential; else service
}

// Lifetimes that the provider does not say (CSC 8.4.4 and 11.6), and how long before
// its end our own token is fetched anew.
const (
	defaultLife = time.Hour
	maxLife     = 30 * 24 * time.Hour
	margin      = 30 * time.Second
)

const tokenCall = "oauth2/token"

// life is a lifetime in seconds as a time.
func (c *Client) until(seconds float64) time.Time {
	d := defaultLife
	if seconds > 0 {
		d = time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second))
	}
	return c.now().Add(d)
}

// own is the service's token by client credentials (RFC 6749, 4.4), kept until
// shortly before its end.
func (c *Client) own(ctx context.Context) (*Token, error) {
	if !c.p.ClientCredentials {
		return nil, c.fail(tokenCall, Expired, errors.New("this provider needs the person's own token: SignIn first"))
	}
	var t *Token
	select {
	case <-ctx.Done():
		return nil, c.fail(tokenCall, Away, ctx.Err())
	case t = <-c.service:
	}
	defer func() { c.service <- t }()
	if t != nil && c.now().Add(margin).Before(t.Expires) {
		return t, nil
	}
	fresh, err := c.token(ctx, url.Values{"grant_type": {"client_credentials"}, "scope": {"service"}}, true, false)
	if err != nil {
		return nil, err
	}
	t = fresh.token
	return t, nil
}

// forget drops the service's token if it is still the one that was refused.
func (c *Client) forget(refused *Token) {
	t := <-c.service
	if t == refused {
		t = nil
	}
	c.service <- t
}

// granted is an answer of the token endpoint.
type granted struct {
	token      *Token
	credential string // the id that the provider names, if it does
}

// token asks the token endpoint (CSC 8.4.4).
func (c *Client) token(ctx context.Context, form url.Values, reading, credential bool) (*granted, error) {
	k := call{name: tokenCall, url: c.p.TokenURL, media: "application/x-www-form-urlencoded", reading: reading,
		secrets: []Secret{Secret(form.Get("code")), Secret(form.Get("code_verifier"))}}
	form.Set("client_id", c.p.ClientID) // CSC wants it in the form in any case
	switch {
	case c.p.Secret == "":
	case c.p.BasicAuth:
		k.basic = true
	default:
		form.Set("client_secret", string(c.p.Secret))
	}
	k.body = []byte(form.Encode())
	a, err := c.post(ctx, k)
	if err != nil {
		return nil, err
	}
	return c.readToken(a, credential)
}

func (c *Client) readToken(a *answer, credential bool) (*granted, error) {
	var t struct {
		AccessToken  string  `json:"access_token"`
		TokenType    string  `json:"token_type"`
		ExpiresIn    float64 `json:"expires_in"`
		CredentialID string  `json:"credentialID"`
	}
	if err := c.decode(tokenCall, a, &t); err != nil {
		return nil, err
	}
	// Version 1 calls a token that stands for a SAD so.
	known := strings.EqualFold(t.TokenType, "Bearer") || credential && strings.EqualFold(t.TokenType, "SAD")
	switch {
	case !sound(t.AccessToken):
		return nil, c.fail(tokenCall, WrongAnswer, errors.New("no access_token, or one that is no header value"))
	case !known:
		return nil, c.fail(tokenCall, WrongAnswer, fmt.Errorf("token_type %q, want Bearer", clean(t.TokenType, maxCode)))
	}
	return &granted{token: &Token{Expires: c.until(t.ExpiresIn), value: Secret(t.AccessToken), credential: credential}, credential: t.CredentialID}, nil
}

// sound reports whether a provider's opaque value can be sent back as it is: visible
// ASCII, at most 16 KiB.
func sound(s string) bool {
	return s != "" && len(s) <= 16<<10 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
