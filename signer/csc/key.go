package csc

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
)

// Key is a credential as a crypto.Signer: the organisation's seal at a provider. Each
// Sign is an authorisation with the same answers (a PIN, or none) and a signature,
// over the network, within the provider's timeout for each call.
type Key struct {
	c       *Client
	cred    *Credential
	answers map[string]Secret
}

// Key finds a credential for the organisation's own use, with the service's token.
// The error is Unusable if it is not Explicit, OneShot, or wants more than answers.
func (c *Client) Key(ctx context.Context, id string, answers map[string]Secret) (*Key, error) {
	panic("csc: its body is in the next commit")
}

// Chain is the key's certificate and its issuers.
func (k *Key) Chain() []*x509.Certificate { return k.cred.Chain }

// Public is the key of the certificate.
func (k *Key) Public() crypto.PublicKey { return k.cred.Leaf().PublicKey }

// Sign signs a digest. opts is a hash or *rsa.PSSOptions with a salt as long as the
// hash. Errors are *Error.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	panic("csc: its body is in the next commit")
}
