package csc

import "context"

// SignHash gives a signature value for each digest of the request, in order (CSC
// 11.10). Each is verified over its digest with the leaf; ECDSA values are DER.
// The activation is spent whatever happens. The error is OneShot where the
// certificate was not known when the digests were made.
func (c *Client) SignHash(ctx context.Context, a *Activation) ([][]byte, error) {
	panic("csc: its body is in the next commit")
}

// SignDoc gives a complete CMS (DER, PAdES baseline B) for each digest of a
// ByteRange, in order (CSC 11.11 with documentDigests; version 2 only). Each is
// verified: detached, over its digest, by a.Credential's leaf. The activation is spent
// whatever happens.
func (c *Client) SignDoc(ctx context.Context, a *Activation) ([][]byte, error) {
	panic("csc: its body is in the next commit")
}
