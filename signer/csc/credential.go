package csc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"milterd/signature/cms"
)

// Mode says how a credential is authorised.
type Mode string

// The modes.
const (
	Explicit   Mode = "explicit"   // Authorize, with what Factors asks for (nothing, if it is empty)
	OAuth2Code Mode = "oauth2code" // Begin and Complete, on the provider's own page
)

// Factor is one thing that Authorize needs (CSC 8.3).
type Factor struct {
	ID        string // key of the answers given to Authorize: "PIN", "OTP"
	Type      string // "Password", "PasswordOOB", "ChallengeResponse", "ChallengeResponseOOB"
	Numeric   bool   // digits only
	Optional  bool   // may be left out (version 1, or an expression with OR)
	Label     string // the provider's words for it, one line, at most 80 characters; may be empty
	Generator string // "totp" and the like; may be empty
}

// Typed reports whether the person types an answer here; else it is given elsewhere,
// on a phone, and Check waits for it.
func (f Factor) Typed() bool { return f.Type == "Password" || f.Type == "ChallengeResponse" }

// Sent reports whether Challenge must be called before the answer can be known.
func (f Factor) Sent() bool { return f.Type == "ChallengeResponse" }

// Credential is a key at the provider with its certificate (CSC 11.5).
type Credential struct {
	ID          string
	Description string              // the provider's words, one line; may be empty
	Qualifier   string              // "eu_eidas_qes", "eu_eidas_qeseal"; a claim only; may be empty
	Chain       []*x509.Certificate // the leaf, then its issuers as far as given; nil if OneShot
	Algorithms  []cms.Algorithm     // that the key offers and we accept, the usual one first
	Mode        Mode
	Factors     []Factor // for Explicit
	SCAL2       bool     // the authorisation is bound to the digests
	Multisign   int      // signatures that one authorisation can cover, at least 1

	oids map[cms.Algorithm]string // the signAlgo for each
}

// OneShot reports that the certificate is made at each authorisation, so that no
// signed attributes can name it before: such a credential serves SignDoc only.
func (c *Credential) OneShot() bool { return len(c.Chain) == 0 }

// Leaf is the certificate that signs; nil if OneShot.
func (c *Credential) Leaf() *x509.Certificate {
	if c.OneShot() {
		return nil
	}
	return c.Chain[0]
}

// Info is what the provider says of itself (CSC 11.1).
type Info struct {
	Specs   string   // "2.0.0.2"
	Name    string   // one line
	Methods []string // "signatures/signHash"
	OAuth2  string   // base or issuer address of its authorization server; never followed, for the administrator to compare
}

// Offers reports whether the provider implements a method.
func (i *Info) Offers(method string) bool { return slices.Contains(i.Methods, method) }

// Info asks what the provider offers. It needs no token.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	const name = "info"
	a, err := c.post(ctx, call{name: name, url: c.p.URL + "/" + name, media: "application/json", body: []byte("{}"), reading: true})
	if err != nil {
		return nil, err
	}
	return c.readInfo(a)
}

// Credentials lists the usable credentials of a person: enabled, with a certificate
// that is in its time, an accepted key, or none yet (OneShot). user is the
// person's own token from SignedIn, and userID is "" then; or user is nil, the
// service's own token is used, and userID is the person at the provider. What
// cannot be used is left out and its reasons are in skipped, for the log.
func (c *Client) Credentials(ctx context.Context, user *Token, userID string) (usable []*Credential, skipped []error, err error) {
	const name = "credentials/list"
	params := map[string]any{}
	if userID != "" {
		params["userID"] = userID
	}
	if c.p.Version != 1 {
		for _, p := range []string{"credentialInfo", "certInfo", "authInfo", "onlyValid"} {
			params[p] = true
		}
		params["certificates"] = "chain"
	}
	var out listJSON
	if _, err := c.method(ctx, user, call{name: name, reading: true}, params, &out); err != nil {
		return nil, nil, err
	}
	infos, err := c.readList(&out)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range out.IDs {
		var cred *Credential
		if j := infos[id]; j != nil {
			cred, err = c.readCredential(name, id, j)
		} else {
			cred, err = c.Credential(ctx, user, id)
		}
		var e *Error
		switch {
		case err == nil:
			usable = append(usable, cred)
		case errors.As(err, &e) && (e.Reason == Unusable || e.Reason == WrongAnswer):
			skipped = append(skipped, fmt.Errorf("credential %q: %w", clean(id, maxCode), err))
		default:
			return nil, nil, err
		}
	}
	return usable, skipped, nil
}

// Credential reads one credential. The error is Unusable if it cannot sign.
func (c *Client) Credential(ctx context.Context, user *Token, id string) (*Credential, error) {
	const name = "credentials/info"
	params := map[string]any{"credentialID": id, "certificates": "chain", "certInfo": true, "authInfo": true}
	var out credentialJSON
	if _, err := c.method(ctx, user, call{name: name, reading: true}, params, &out); err != nil {
		return nil, err
	}
	return c.readCredential(name, id, &out)
}
