package csc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"milterd/signature/cms"
)

// SignHash gives a signature value for each digest of the request, in order (CSC
// 11.10). Each is verified over its digest with the leaf; ECDSA values are DER.
// The activation is spent whatever happens. The error is OneShot where the
// certificate was not known when the digests were made.
func (c *Client) SignHash(ctx context.Context, a *Activation) ([][]byte, error) {
	const name = "signatures/signHash"
	if a.late {
		return nil, c.fail(name, OneShot, errors.New("the certificate came after the digests"))
	}
	params := map[string]any{}
	if c.p.Version == 1 {
		params["hash"], params["hashAlgo"] = c.encodeAll(a.digests), a.algorithm.HashOID().String()
	} else {
		// hashAlgorithmOID is ignored where signAlgo says it, and needed where not.
		params["hashes"], params["hashAlgorithmOID"] = c.encodeAll(a.digests), a.algorithm.HashOID().String()
	}
	var out struct {
		Signatures []string `json:"signatures"`
	}
	if err := c.spend(ctx, a, name, params, params, &out); err != nil {
		return nil, err
	}
	values, err := c.values(name, out.Signatures, len(a.digests))
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		if values[i], err = cms.VerifyDigest(a.Credential.Leaf(), a.algorithm, a.digests[i], v); err != nil {
			return nil, c.fail(name, WrongSignature, fmt.Errorf("signature %d of %d: %w", i+1, len(values), err))
		}
	}
	return values, nil
}

// SignDoc gives a complete CMS (DER, PAdES baseline B) for each digest of a
// ByteRange, in order (CSC 11.11 with documentDigests; version 2 only). Each is
// verified: detached, over its digest, by a.Credential's leaf. The activation is spent
// whatever happens.
func (c *Client) SignDoc(ctx context.Context, a *Activation) ([][]byte, error) {
	const name = "signatures/signDoc"
	if c.p.Version == 1 {
		return nil, c.fail(name, NotOffered, errors.New("version 1 of the API has no signDoc"))
	}
	// Revision: an approval signature. Without the word it would be a certification.
	entry := map[string]any{
		"hashes":                   c.encodeAll(a.digests),
		"hashAlgorithmOID":         a.algorithm.HashOID().String(),
		"signature_format":         "P",
		"signed_envelope_property": "Revision",
	}
	var out struct {
		Signatures []string `json:"SignatureObject"`
		Documents  []string `json:"DocumentWithSignature"`
	}
	if err := c.spend(ctx, a, name, map[string]any{"documentDigests": []any{entry}}, entry, &out); err != nil {
		return nil, err
	}
	if len(out.Signatures) == 0 {
		out.Signatures = out.Documents // some give it there
	}
	messages, err := c.values(name, out.Signatures, len(a.digests))
	if err != nil {
		return nil, err
	}
	for i, m := range messages {
		der, err := cms.FromBER(m)
		if err == nil {
			_, err = cms.Provided(der, a.algorithm, a.digests[i], a.Credential.Leaf())
		}
		if err != nil {
			return nil, c.fail(name, WrongSignature, fmt.Errorf("signature %d of %d: %w", i+1, len(messages), err))
		}
		messages[i] = der
	}
	return messages, nil
}

// spend makes the call that uses an activation up. algorithm is where signAlgo stands.
func (c *Client) spend(ctx context.Context, a *Activation, name string, params, algorithm map[string]any, into any) error {
	switch {
	case a.Credential == nil:
		return c.fail(name, Expired, errors.New("not authorised"))
	case a.spent:
		return c.fail(name, Expired, errors.New("the authorisation is spent"))
	case !c.now().Before(a.Expires):
		return c.fail(name, Expired, errors.New("the authorisation's time is over"))
	}
	a.spent = true
	params["credentialID"] = a.Credential.ID
	if a.sad != "" {
		params["SAD"] = string(a.sad)
	}
	algorithm["signAlgo"] = a.Credential.oids[a.algorithm]
	if p := a.algorithm.Parameters(); p != nil {
		algorithm["signAlgoParams"] = base64.StdEncoding.EncodeToString(p)
	}
	got, err := c.method(ctx, a.bearer, call{name: name, secrets: []Secret{a.sad}}, params, into)
	if err == nil && got.status != http.StatusOK {
		err = c.fail(name, WrongAnswer, fmt.Errorf("status %d without signatures", got.status))
	}
	return err
}

// values decodes as many signatures as were asked for.
func (c *Client) values(name string, encoded []string, want int) ([][]byte, error) {
	if len(encoded) != want {
		return nil, c.fail(name, WrongAnswer, fmt.Errorf("%d signatures for %d digests", len(encoded), want))
	}
	out := make([][]byte, want)
	for i, s := range encoded {
		v, err := c.value(s)
		if err != nil {
			return nil, c.fail(name, WrongAnswer, fmt.Errorf("signature %d of %d: no base64", i+1, want))
		}
		out[i] = v
	}
	return out, nil
}
