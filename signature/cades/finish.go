package cades

import (
	"context"
	"crypto"
	"crypto/rand"
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
	certs, err := p.chain()
	if err != nil {
		return nil, err
	}
	value, err = cms.VerifyValue(certs[0], p.Algorithm, p.Attributes, value)
	if err != nil {
		return nil, err
	}
	sd := cms.SignedData{Algorithm: p.Algorithm, Certificates: certs, Attributes: p.Attributes}
	if ts != nil {
		if sd.Timestamp, err = cms.Stamp(ctx, ts, value, certs[0]); err != nil {
			return nil, err
		}
	}
	return sd.MarshalVerified(value)
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
	certs, err := p.chain()
	if err != nil {
		return nil, err
	}
	m, err := cms.Parse(der)
	if err != nil {
		return nil, err
	}
	if m.Hash() != p.Algorithm.Hash() {
		return nil, fmt.Errorf("%w: %s where %s was prepared", cms.ErrAlgorithm, m.Hash(), p.Algorithm)
	}
	signer, err := m.Verify(p.Digest, certs...)
	if err != nil {
		return nil, err
	}
	if !signer.Equal(certs[0]) {
		return nil, fmt.Errorf("%w: signed by %q", cms.ErrCertificate, signer.Subject)
	}
	if m.SigningTime.IsZero() {
		return nil, fmt.Errorf("%w: no signing-time, which CAdES demands", cms.ErrFormat)
	}
	for _, token := range m.Timestamps {
		if err := cms.CheckTimestamp(token, m.Value, signer); err != nil {
			return nil, err
		}
	}
	if len(m.Timestamps) > 0 || ts == nil {
		return der, nil
	}
	token, err := cms.Stamp(ctx, ts, m.Value, signer)
	if err != nil {
		return nil, err
	}
	return m.WithTimestamp(token)
}

// SignWith gives the value that a key makes over the attributes.
func (p *Preparation) SignWith(key crypto.Signer) ([]byte, error) {
	h := p.Algorithm.Hash().New()
	h.Write(p.Attributes)
	value, err := key.Sign(rand.Reader, h.Sum(nil), p.Algorithm.Options())
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", p.Algorithm, err)
	}
	return value, nil
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
