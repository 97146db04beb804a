package remote

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"milterd/signature/cms"
	"milterd/signer/csc"
	"milterd/workflow"
)

// maxCredentials is how many certificates of one person are offered.
const maxCredentials = 10

// How long Sign waits for somebody to agree on another device, and how often it asks.
const (
	agree = 45 * time.Second
	every = 2 * time.Second
)

// Providers are the configured ones. They may be used by many at once.
type Providers struct {
	Clients []*csc.Client
	Seal    func(id, mail string, secret []byte) ([]byte, error) // encrypts what the browser keeps while it is away
	Unseal  func(id, mail string, sealed []byte) ([]byte, error)
	Log     *slog.Logger

	agree, every time.Duration // 0: the constants
}

// Names are those of the providers, for people.
func (p *Providers) Names() []string {
	var out []string
	for _, c := range p.Clients {
		out = append(out, c.Name())
	}
	return out
}

// Credential is a person's key at a provider. Without a Chain its certificate is made for
// each signature; Subject and Until are empty then.
type Credential struct {
	workflow.Offer
	Way
	Subject string    // of the certificate: its common name
	Until   time.Time // when the certificate ends
}

// Way is how its person agrees to a signature.
type Way struct {
	Page    bool     // on the provider's own page; else Factors
	Factors []Factor // what to type or to do; may be empty
}

// Factor is one thing that a person types or does.
type Factor struct {
	ID      string `json:"id"`
	Label   string `json:"label,omitempty"` // the provider's words; may be empty
	Typed   bool   `json:"typed"`           // else it is done on another device
	Sent    bool   `json:"sent,omitempty"`  // must be asked for: Challenge
	Numeric bool   `json:"numeric,omitempty"`
	Hidden  bool   `json:"hidden,omitempty"` // a PIN, not a code that serves once
}

// Find gives a person's keys at a provider that could sign documents so many at
// once. The error is a *workflow.Refusal: "no-credential", or a reason of package csc.
func (p *Providers) Find(ctx context.Context, name string, who workflow.Person, documents int) ([]Credential, error) {
	c, err := p.client(name)
	if err != nil {
		return nil, err
	}
	unknown := func() error {
		return refuse("no-credential", fmt.Sprintf("%s knows no certificate for %s that could sign.", name, who.Mail), nil)
	}
	all, skipped, err := c.Credentials(ctx, nil, who.Mail)
	var e *csc.Error
	if errors.As(err, &e) && e.Reason == csc.NoSuchCredential {
		return nil, unknown()
	}
	if err != nil {
		return nil, p.refusal(err)
	}
	for _, err := range skipped {
		p.Log.Info("a certificate at a provider cannot be used", "provider", name, "err", err)
	}
	var out []Credential
	for _, k := range all {
		if k.Qualifier == "eu_eidas_qeseal" || k.Multisign < documents || len(k.Algorithms) == 0 || len(out) == maxCredentials {
			continue
		}
		out = append(out, credential(name, k))
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(all) > 0:
		return nil, refuse("no-credential", fmt.Sprintf("None of your certificates at %s can sign these documents.", name), nil)
	}
	return nil, unknown()
}

func credential(provider string, k *csc.Credential) Credential {
	out := Credential{Offer: workflow.Offer{By: provider, Credential: k.ID, Algorithm: string(k.Algorithms[0])},
		Way: Way{Page: k.Mode == csc.OAuth2Code}}
	if leaf := k.Leaf(); leaf != nil {
		out.Subject, out.Until = leaf.Subject.CommonName, leaf.NotAfter
	}
	for _, cert := range k.Chain {
		out.Chain = append(out.Chain, cert.Raw)
	}
	for _, f := range k.Factors {
		if f.Optional {
			continue
		}
		out.Factors = append(out.Factors, Factor{ID: f.ID, Label: f.Label, Typed: f.Typed(), Sent: f.Sent(), Numeric: f.Numeric, Hidden: f.Type == "Password"})
	}
	return out
}

// Challenge has a one-time password sent. question is empty, or what to answer.
func (p *Providers) Challenge(ctx context.Context, q *workflow.Acceptance, factor string) (question string, err error) {
	c, k, err := p.known(ctx, q)
	if err != nil {
		return "", err
	}
	question, err = c.Challenge(ctx, nil, k, factor)
	return question, p.refusal(err)
}

// Sign has what is given signed by what the person typed, answers by the factors' ids:
// signed attributes, or digests of ByteRanges where q has no Chain. What comes back is in
// their order: values, or complete CMS.
func (p *Providers) Sign(ctx context.Context, q *workflow.Acceptance, signed [][]byte, answers map[string]string) ([][]byte, error) {
	c, k, err := p.known(ctx, q)
	if err != nil {
		return nil, err
	}
	given := map[string]csc.Secret{}
	for id, a := range answers {
		given[id] = csc.Secret(a)
	}
	a, err := c.Authorize(ctx, nil, request(k, q, signed), given)
	if err != nil {
		return nil, p.refusal(err)
	}
	if err := p.wait(ctx, c, a); err != nil {
		return nil, err
	}
	return p.signed(ctx, c, q, a)
}

// signed spends an authorisation.
func (p *Providers) signed(ctx context.Context, c *csc.Client, q *workflow.Acceptance, a *csc.Activation) ([][]byte, error) {
	sign := c.SignHash
	if len(q.Chain) == 0 {
		sign = c.SignDoc
	}
	values, err := sign(ctx, a)
	return values, p.refusal(err)
}

// wait asks until the person has agreed on another device.
func (p *Providers) wait(ctx context.Context, c *csc.Client, a *csc.Activation) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.agree, agree))
	defer cancel()
	for a.Pending() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(cmp.Or(p.every, every)):
			if err := c.Check(ctx, a); err != nil && ctx.Err() == nil {
				return p.refusal(err)
			}
		}
	}
	if a.Pending() {
		return refuse("not-agreed", "Nobody has agreed to the signature on the other device. Please try again.", ctx.Err())
	}
	return nil
}

// Leave begins the way to the provider's page: where the browser goes, and what it
// must keep until it is back, which only Return can read.
func (p *Providers) Leave(ctx context.Context, q *workflow.Acceptance, preparation, mail string, signed [][]byte, lang string) (address string, kept []byte, err error) {
	c, k, err := p.known(ctx, q)
	if err != nil {
		return "", nil, err
	}
	r, err := c.Begin(request(k, q, signed), lang)
	if err != nil {
		return "", nil, p.refusal(err)
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return "", nil, err
	}
	kept, err = p.Seal(preparation, mail, plain)
	return r.URL, kept, err
}

// Return ends it: kept is what Leave gave, query what the browser brought back
// from the provider's page.
func (p *Providers) Return(ctx context.Context, q *workflow.Acceptance, preparation, mail string, signed [][]byte, kept []byte, query url.Values) ([][]byte, error) {
	c, err := p.client(q.By)
	if err != nil {
		return nil, err
	}
	plain, err := p.Unseal(preparation, mail, kept)
	if err != nil {
		return nil, refuse("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", err)
	}
	r := new(csc.Redirect)
	if err := json.Unmarshal(plain, r); err != nil {
		return nil, fmt.Errorf("a kept redirect: %w", err)
	}
	want := request(nil, q, signed)
	if r.CredentialID != q.Credential || r.Algorithm != want.Algorithm || !slices.EqualFunc(r.Digests, want.Digests, slices.Equal) {
		return nil, refuse("preparation-gone", "What was prepared for your signature is out of date. Please sign again.", errors.New("the redirect was for other digests"))
	}
	a, err := c.Complete(ctx, nil, r, query)
	if err != nil {
		return nil, p.refusal(err)
	}
	return p.signed(ctx, c, q, a)
}

func request(k *csc.Credential, q *workflow.Acceptance, signed [][]byte) csc.Request {
	r := csc.Request{Credential: k, Algorithm: cms.Algorithm(q.Algorithm)}
	if len(q.Chain) == 0 {
		r.Digests = signed
		return r
	}
	for _, a := range signed {
		h := r.Algorithm.Hash().New()
		h.Write(a) // never fails (hash.Hash)
		r.Digests = append(r.Digests, h.Sum(nil))
	}
	return r
}

// known reads the key that something was prepared for again. It must still be the
// same one.
func (p *Providers) known(ctx context.Context, q *workflow.Acceptance) (*csc.Client, *csc.Credential, error) {
	c, err := p.client(q.By)
	if err != nil {
		return nil, nil, err
	}
	k, err := c.Credential(ctx, nil, q.Credential)
	if err != nil {
		return nil, nil, p.refusal(err)
	}
	if len(q.Chain) == 0 { // a certificate that is there now is of an authorisation before this one
		k.Chain = nil
		return c, k, nil
	}
	leaf, err := x509.ParseCertificate(q.Chain[0])
	if err != nil {
		return nil, nil, err
	}
	if k.OneShot() || !k.Leaf().Equal(leaf) {
		return nil, nil, refuse(string(csc.Changed), "Your certificate has changed since the signature was prepared. Please sign again.", nil)
	}
	return c, k, nil
}

func (p *Providers) client(name string) (*csc.Client, error) {
	for _, c := range p.Clients {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, refuse("no-provider", "This trust service provider is not, or no longer, set up here.", nil)
}

// refusal gives a provider's error as words for the person; the log has the whole.
func (p *Providers) refusal(err error) error {
	var e *csc.Error
	if !errors.As(err, &e) {
		return err
	}
	r := refuse(string(e.Reason), e.Sentence(), e)
	if slices.Contains(passing, e.Reason) {
		r.Code, r.Enhanced = 450, "4.7.0"
	}
	p.Log.Warn("a trust service provider did not sign", "err", e)
	return r
}

// passing are reasons that lie with the provider, and may be gone in a while.
var passing = []csc.Reason{csc.Away, csc.Busy, csc.WrongAnswer, csc.WrongSignature, csc.Misconfigured, csc.Refused}

func refuse(reason, text string, err error) *workflow.Refusal {
	return &workflow.Refusal{Code: 550, Enhanced: "5.7.0", Text: text, Reason: reason, Err: err}
}
