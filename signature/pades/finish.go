package pades

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"

	"milterd/signature/cms"
)

// Timestamper gives RFC 3161 tokens over SHA-256 digests, as DER. It vouches
// for the chain of the authority; everything else is checked here.
type Timestamper = cms.Timestamper

// Errors of Finish.
var (
	// ErrTooLarge: the CMS outgrew its place; prepare again with more room.
	ErrTooLarge = errors.New("signature larger than the place prepared for it")
	// ErrExpired: the certificate is not valid at the claimed time, or was not at
	// the time that the timestamp proves.
	ErrExpired = cms.ErrExpired
)

// Finish verifies a signature value over p.Attributes, asks ts for its time (nil
// for none: B-B) and gives the finished suffix. ECDSA values may be r‖s or DER.
// The Preparation is not changed: after an error it can be tried again. Errors
// wrap cms.ErrSignature for a wrong value, ErrExpired, ErrTooLarge, or what the
// Timestamper said.
func (p *Preparation) Finish(ctx context.Context, value []byte, ts Timestamper) ([]byte, error) {
	suffix, err := p.finish(ctx, value, ts)
	if err != nil {
		return nil, fmt.Errorf("finishing a signature: %w", err)
	}
	return suffix, nil
}

func (p *Preparation) finish(ctx context.Context, value []byte, ts Timestamper) ([]byte, error) {
	certs, err := p.signer()
	if err != nil {
		return nil, err
	}
	der, err := cms.SignedData{Algorithm: p.Algorithm, Certificates: certs, Attributes: p.Attributes}.Finish(ctx, value, ts)
	if err != nil {
		return nil, err
	}
	return embed(p.Suffix, p.Offset, p.Room, der)
}

// FinishCMS is Finish for a complete CMS that a provider made over p.Digest. It
// must be what Finish would have made: detached, one signer with p's
// certificate, the same digest, signingCertificateV2, no signing-time. Its
// timestamps are checked; if it has none and ts is not nil, one is added.
func (p *Preparation) FinishCMS(ctx context.Context, der []byte, ts Timestamper) ([]byte, error) {
	suffix, err := p.finishCMS(ctx, der, ts)
	if err != nil {
		return nil, fmt.Errorf("finishing with a provider's signature: %w", err)
	}
	return suffix, nil
}

func (p *Preparation) finishCMS(ctx context.Context, der []byte, ts Timestamper) ([]byte, error) {
	certs, err := p.signer()
	if err != nil {
		return nil, err
	}
	m, err := cms.Provided(der, p.Algorithm, p.Digest, certs[0])
	if err != nil {
		return nil, err
	}
	if !m.SigningTime.IsZero() {
		return nil, fmt.Errorf("%w: signing-time, which PAdES forbids", cms.ErrFormat)
	}
	if der, err = m.Stamped(ctx, ts, certs[0]); err != nil {
		return nil, err
	}
	return embed(p.Suffix, p.Offset, p.Room, der)
}

// Take gives a preparation without a certificate the complete CMS that a provider made
// over p.Digest, and with it certificate and attributes. The CMS must be what
// Finish would have made without a time: detached, one signer whose certificate is
// in it, p's algorithm and digest, the attributes of B-B and no others, and room for
// token more bytes must be left. FinishCMS with the same CMS ends it. The chain that it
// gives is what came with it, DER, the signer's certificate first. The error wraps
// ErrTooLarge, or an error of package cms.
func (p *Preparation) Take(der []byte, token int) (m *cms.Message, chain [][]byte, err error) {
	if len(p.Certificates) > 0 {
		return nil, nil, errors.New("taking a provider's signature: prepared for a certificate")
	}
	if m, chain, err = p.take(der, token); err != nil {
		return nil, nil, fmt.Errorf("taking a provider's signature: %w", err)
	}
	p.Certificates, p.Attributes, p.certs = chain, m.Attributes, nil
	return m, chain, nil
}

func (p *Preparation) take(der []byte, token int) (*cms.Message, [][]byte, error) {
	if len(der)+token > p.Room {
		return nil, nil, fmt.Errorf("%w: %d bytes and a time of %d for a place of %d", ErrTooLarge, len(der), token, p.Room)
	}
	m, err := cms.Parse(der)
	if err != nil {
		return nil, nil, err
	}
	signer, err := m.SignerCertificate()
	if err != nil {
		return nil, nil, err
	}
	if _, err := cms.Provided(der, p.Algorithm, p.Digest, signer); err != nil {
		return nil, nil, err
	}
	if err := m.CheckPlain(); err != nil {
		return nil, nil, err
	}
	if m.Algorithm != p.Algorithm {
		return nil, nil, fmt.Errorf("%w: %s where %s was prepared", cms.ErrAlgorithm, m.Algorithm, p.Algorithm)
	}
	if _, err := cms.VerifyValue(signer, p.Algorithm, m.Attributes, m.Value); err != nil { // PSS with the usual salt, as evidence will have it
		return nil, nil, err
	}
	chain := [][]byte{signer.Raw}
	for _, c := range m.Certificates {
		if !c.Equal(signer) {
			chain = append(chain, c.Raw)
		}
	}
	return m, chain, nil
}

// Sign prepares and finishes with a key in this process (or one that PKCS #11
// makes look like it). The key must be the one of p.Certificate.
func Sign(ctx context.Context, head []byte, p Params, key crypto.Signer, ts Timestamper) ([]byte, error) {
	prep, err := Prepare(head, p)
	if err != nil {
		return nil, err
	}
	value, err := prep.SignWith(key)
	if err != nil {
		return nil, err
	}
	return prep.Finish(ctx, value, ts)
}

// SignWith gives the value that a key makes over the attributes.
func (p *Preparation) SignWith(key crypto.Signer) ([]byte, error) {
	return p.Algorithm.SignWith(key, p.Attributes)
}

// Covers reports whether head is the file that the preparation was made for:
// its digest over head and suffix is the one that was signed.
func (p *Preparation) Covers(head []byte) bool {
	end := p.Offset + 2*p.Room
	if len(head) != p.HeadSize || p.Offset < 1 || p.Room < 0 || end >= len(p.Suffix) || p.Algorithm.Hash() == 0 {
		return false
	}
	h := p.Algorithm.Hash().New()
	h.Write(head)
	h.Write(p.Suffix[:p.Offset-1]) // without the < and > around the digits
	h.Write(p.Suffix[end+1:])
	return bytes.Equal(h.Sum(nil), p.Digest)
}
