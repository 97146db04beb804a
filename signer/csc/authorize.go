package csc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
// shows nothing when printed. It is not for concurrent use.
type Activation struct {
	Credential *Credential // as it is after the authorisation: a OneShot one has its certificate here
	Expires    time.Time

	unprinted
	algorithm cms.Algorithm
	digests   [][]byte
	late      bool   // the certificate came with the authorisation
	bearer    *Token // nil: the service's own
	sad       Secret
	handle    Secret // while Pending
	before    *Credential
	spent     bool
}

// Pending reports that the person must still agree on another device; see Check.
func (a *Activation) Pending() bool { return a.handle != "" }

// checkRequest completes a request and checks it against its credential.
func (c *Client) checkRequest(name string, r *Request, mode Mode) error {
	cred := r.Credential
	if cred.Mode != mode {
		return c.fail(name, NotOffered, fmt.Errorf("the credential is authorised by %s, not by %s", cred.Mode, mode))
	}
	if r.Algorithm == "" && len(cred.Algorithms) > 0 {
		r.Algorithm = cred.Algorithms[0]
	}
	if !slices.Contains(cred.Algorithms, r.Algorithm) {
		return c.fail(name, NotOffered, fmt.Errorf("the credential does not offer %q", r.Algorithm))
	}
	if n := len(r.Digests); n < 1 || n > cred.Multisign {
		return c.fail(name, NotOffered, fmt.Errorf("%d digests, the credential signs 1 to %d at once", n, cred.Multisign))
	}
	for _, d := range r.Digests {
		if len(d) != r.Algorithm.Hash().Size() {
			return c.fail(name, HashRefused, fmt.Errorf("digest of %d bytes for %s", len(d), r.Algorithm))
		}
	}
	return nil
}

// Challenge has the provider send a one-time password, or gives the question to
// answer as its own one line of text (CSC 11.8; sendOTP in version 1). question
// is empty if it was sent.
func (c *Client) Challenge(ctx context.Context, user *Token, cred *Credential, factor string) (question string, err error) {
	params := map[string]any{"credentialID": cred.ID}
	name := "credentials/sendOTP"
	if c.p.Version != 1 {
		name = "credentials/getChallenge"
		params["authObjectID"] = factor
	}
	if !slices.ContainsFunc(cred.Factors, func(f Factor) bool { return f.ID == factor && f.Sent() }) {
		return "", c.fail(name, NotOffered, errors.New("the credential has no such factor that is sent"))
	}
	// Not a reading call: it sends a message to a phone.
	a, err := c.method(ctx, user, call{name: name}, params, nil)
	if err != nil || a.status == http.StatusNoContent {
		return "", err
	}
	var out struct {
		Challenge string `json:"challenge"`
	}
	if a.status == http.StatusOK {
		if err := c.decode(name, a, &out); err != nil {
			return "", err
		}
	}
	return clean(out.Challenge, maxSaid), nil
}

// Authorize has a request authorised by what the person typed: an answer for each
// Typed factor (CSC 11.6). For a credential of mode Explicit. It is never tried
// twice by itself: providers count wrong answers.
func (c *Client) Authorize(ctx context.Context, user *Token, r Request, answers map[string]Secret) (*Activation, error) {
	const name = "credentials/authorize"
	if err := c.checkRequest(name, &r, Explicit); err != nil {
		return nil, err
	}
	params := map[string]any{"credentialID": r.Credential.ID, "numSignatures": len(r.Digests)}
	if c.p.Version == 1 {
		params["hash"] = c.encodeAll(r.Digests)
	} else {
		// With SCAL 1 they are optional, but where they are given they bind.
		params["hashes"] = c.encodeAll(r.Digests)
		params["hashAlgorithmOID"] = r.Algorithm.HashOID().String()
	}
	if err := c.answers(name, r.Credential.Factors, answers, params); err != nil {
		return nil, err
	}
	a := &Activation{algorithm: r.Algorithm, digests: r.Digests, bearer: user, before: r.Credential}
	k := call{name: name}
	for _, s := range answers {
		k.secrets = append(k.secrets, s)
	}
	if err := c.activate(ctx, a, k, params); err != nil {
		return nil, err
	}
	return a, nil
}

// answers puts what the person typed into the parameters, in the order of factors. Each
// factor is named exactly once; what is given elsewhere has no value (CSC 8.3.1.5).
func (c *Client) answers(name string, factors []Factor, given map[string]Secret, params map[string]any) error {
	type object struct {
		ID    string `json:"id"`
		Value string `json:"value,omitempty"`
	}
	data := []object{}
	used := 0
	for _, f := range factors {
		value, has := given[f.ID]
		switch {
		case has && (!f.Typed() || value == ""):
			return c.fail(name, InvalidFactor, fmt.Errorf("an answer for %s, which takes none, or an empty one", f.ID))
		case has:
			used++
		case f.Typed() && !f.Optional:
			return c.fail(name, InvalidFactor, fmt.Errorf("no answer for %s", f.ID))
		case f.Typed(), f.Optional && len(given) > 0:
			continue
		}
		data = append(data, object{f.ID, string(value)})
		if c.p.Version == 1 {
			params[f.ID] = string(value)
		}
	}
	if used != len(given) {
		return c.fail(name, InvalidFactor, errors.New("an answer that the credential does not ask for"))
	}
	if c.p.Version != 1 {
		params["authData"] = data
	}
	return nil
}

// Check asks once whether a Pending activation was agreed to (CSC 11.7); a is Pending
// still if not. The caller decides how often: every few seconds.
func (c *Client) Check(ctx context.Context, a *Activation) error {
	const name = "credentials/authorizeCheck"
	if !a.Pending() {
		return nil
	}
	return c.activate(ctx, a, call{name: name, secrets: []Secret{a.handle}}, map[string]any{"handle": string(a.handle)})
}

// activate makes a call that answers with a SAD, or with a handle to ask again.
func (c *Client) activate(ctx context.Context, a *Activation, k call, params any) error {
	var out struct {
		SAD       string  `json:"SAD"`
		ExpiresIn float64 `json:"expiresIn"`
		Handle    string  `json:"handle"`
	}
	got, err := c.method(ctx, a.bearer, k, params, &out)
	if err != nil {
		return err
	}
	if got.status == http.StatusAccepted {
		if !sound(out.Handle) {
			return c.fail(k.name, WrongAnswer, errors.New("status 202 without a handle"))
		}
		a.handle = Secret(out.Handle)
		return nil
	}
	if !sound(out.SAD) {
		return c.fail(k.name, WrongAnswer, errors.New("no SAD"))
	}
	a.sad, a.handle, a.Expires = Secret(out.SAD), "", c.until(out.ExpiresIn)
	var leaf []byte
	if l := a.before.Leaf(); l != nil {
		sum := sha256.Sum256(l.Raw)
		leaf = sum[:]
	}
	return c.settle(ctx, a, a.before.ID, leaf)
}

// settle reads the credential once more, now that it is authorised: its leaf is the
// one that the digests were prepared for (its SHA-256), or the first one if that is nil.
func (c *Client) settle(ctx context.Context, a *Activation, id string, leaf []byte) error {
	const name = "credentials/info"
	cred, err := c.Credential(ctx, a.bearer, id)
	if err != nil {
		return err
	}
	if cred.OneShot() {
		return c.fail(name, WrongAnswer, errors.New("authorised, and still without a certificate"))
	}
	if sum := sha256.Sum256(cred.Leaf().Raw); leaf != nil && !bytes.Equal(sum[:], leaf) {
		return c.fail(name, Changed, errors.New("another certificate than before the authorisation"))
	}
	if !slices.Contains(cred.Algorithms, a.algorithm) {
		return c.fail(name, Changed, fmt.Errorf("%s is not offered any more", a.algorithm))
	}
	a.Credential, a.late = cred, leaf == nil
	return nil
}
