package csc

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"milterd/signature/cms"
)

// Key is a credential as a crypto.Signer: the organisation's seal at a provider. Each
// Sign is an authorisation with the same answers (a PIN, or none) and a signature,
// over the network, within the provider's timeout for each call.
type Key struct {
	unprinted
	c       *Client
	cred    *Credential
	answers map[string]Secret
}

// Key finds a credential for the organisation's own use, with the service's token.
// The error is Unusable if it is not Explicit, OneShot, or wants more than answers.
func (c *Client) Key(ctx context.Context, id string, answers map[string]Secret) (*Key, error) {
	cred, err := c.Credential(ctx, nil, id)
	if err != nil {
		return nil, err
	}
	const name = "credentials/info"
	switch {
	case cred.Mode != Explicit:
		err = fmt.Errorf("it is authorised by %s; nobody sits before the seal's page", cred.Mode)
	case cred.OneShot():
		err = errors.New("its certificate is made for each signature")
	default:
		err = c.answers(name, cred.Factors, answers, map[string]any{})
	}
	for _, f := range cred.Factors {
		if _, answered := answers[f.ID]; err == nil && (f.Sent() || !f.Typed()) && (answered || !f.Optional) {
			err = fmt.Errorf("%s needs a person each time", f.ID)
		}
	}
	if err != nil {
		return nil, c.fail(name, Unusable, err)
	}
	return &Key{c: c, cred: cred, answers: answers}, nil
}

// Chain is the key's certificate and its issuers.
func (k *Key) Chain() []*x509.Certificate { return k.cred.Chain }

// Public is the key of the certificate.
func (k *Key) Public() crypto.PublicKey { return k.cred.Leaf().PublicKey }

// Sign signs a digest. opts is a hash or *rsa.PSSOptions with a salt as long as the
// hash. Errors are *Error.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	alg, err := k.algorithm(opts)
	if err != nil {
		return nil, k.c.fail("credentials/authorize", NotOffered, err)
	}
	ctx := context.Background() // crypto.Signer knows none; each call has the provider's timeout
	a, err := k.c.Authorize(ctx, nil, Request{Credential: k.cred, Algorithm: alg, Digests: [][]byte{digest}}, k.answers)
	if err != nil {
		return nil, err
	}
	values, err := k.c.SignHash(ctx, a)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// algorithm finds what opts ask for among what the credential offers.
func (k *Key) algorithm(opts crypto.SignerOpts) (cms.Algorithm, error) {
	pss, isPSS := opts.(*rsa.PSSOptions)
	if isPSS && pss.SaltLength != rsa.PSSSaltLengthEqualsHash && pss.SaltLength != opts.HashFunc().Size() {
		return "", errors.New("PSS with a salt that is not as long as the hash")
	}
	for _, a := range k.cred.Algorithms {
		if _, wantsPSS := a.Options().(*rsa.PSSOptions); a.Hash() == opts.HashFunc() && wantsPSS == isPSS {
			return a, nil
		}
	}
	return "", fmt.Errorf("the credential offers no signature with %s (PSS: %t)", opts.HashFunc(), isPSS)
}
