package cades

import (
	"context"
	"crypto"
	"fmt"

	"milterd/signature/cms"
)

// Finish verifies a signature value over p.Attributes, asks ts for its time (nil
// for none: B-B) and gives the detached message, DER. ECDSA values may be r‖s or
// DER. After an error it can be tried again. Errors wrap cms.ErrSignature for a
// wrong value, cms.ErrExpired, or what the Timestamper said.
func (p *Preparation) Finish(ctx context.Context, value []byte, ts cms.Timestamper) ([]byte, error) {
	der, err := p.finish(ctx, value, ts)
	if err != nil {
		return nil, fmt.Errorf("finishing a signature: %w", err)
	}
	return der, nil
}

func (p *Preparation) finish(ctx context.Context, value []byte, ts cms.Timestamper) ([]byte, error) {
	certs, err := cms.Kept(p.Certificates)
	if err != nil {
		return nil, err
	}
	return cms.SignedData{Algorithm: p.Algorithm, Certificates: certs, Attributes: p.Attributes}.Finish(ctx, value, ts)
}

// FinishCMS is Finish for a complete CMS that a provider made over p.Digest. It
// must be what Finish would have made: detached, one signer with p's certificate,
// the same digest, signingCertificateV2 and signing-time. Its timestamps are
// checked; if it has none and ts is not nil, one is added.
func (p *Preparation) FinishCMS(ctx context.Context, der []byte, ts cms.Timestamper) ([]byte, error) {
	out, err := p.finishCMS(ctx, der, ts)
	if err != nil {
		return nil, fmt.Errorf("finishing with a provider's signature: %w", err)
	}
	return out, nil
}

func (p *Preparation) finishCMS(ctx context.Context, der []byte, ts cms.Timestamper) ([]byte, error) {
	certs, err := cms.Kept(p.Certificates)
	if err != nil {
		return nil, err
	}
	m, err := cms.Provided(der, p.Algorithm, p.Digest, certs[0])
	if err != nil {
		return nil, err
	}
	if m.SigningTime.IsZero() {
		return nil, fmt.Errorf("%w: no signing-time, which CAdES demands", cms.ErrFormat)
	}
	return m.Stamped(ctx, ts, certs[0])
}

// SignWith gives the value that a key makes over the attributes.
func (p *Preparation) SignWith(key crypto.Signer) ([]byte, error) {
	return p.Algorithm.SignWith(key, p.Attributes)
}

// Sign prepares and finishes with a key in this process; it must be the one of
// p.Certificate.
func Sign(ctx context.Context, content []byte, p Params, key crypto.Signer, ts cms.Timestamper) ([]byte, error) {
	prep, err := Prepare(content, p)
	if err != nil {
		return nil, err
	}
	value, err := prep.SignWith(key)
	if err != nil {
		return nil, err
	}
	return prep.Finish(ctx, value, ts)
}
