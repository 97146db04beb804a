package cms

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
)

// Timestamper gives RFC 3161 tokens over SHA-256 digests, as DER. It vouches
// for the chain of the authority; everything else is checked by who asks.
type Timestamper interface {
	Timestamp(ctx context.Context, digest []byte) (token []byte, err error)
}

// ErrExpired: the certificate is not valid at the claimed time, or was not at
// the time that the timestamp proves.
var ErrExpired = errors.New("certificate not valid at the time of the signature")

// Stamp gets a token over a signature value and checks it as CheckTimestamp does.
func Stamp(ctx context.Context, ts Timestamper, value []byte, signer *x509.Certificate) ([]byte, error) {
	digest := sha256.Sum256(value)
	token, err := ts.Timestamp(ctx, digest[:])
	if err != nil {
		return nil, fmt.Errorf("asking for the time: %w", err)
	}
	return token, CheckTimestamp(token, value, signer)
}

// CheckTimestamp wants a sound token over value whose time lies in the signer's
// certificate's lifetime (ErrExpired).
func CheckTimestamp(token, value []byte, signer *x509.Certificate) error {
	t, err := ParseToken(token)
	if err != nil {
		return err
	}
	if err := t.CheckImprint(t.ImprintHash, sum(t.ImprintHash, value)); err != nil {
		return err
	}
	if _, err := t.CheckSigner(); err != nil {
		return err
	}
	if t.Time.Before(signer.NotBefore) || t.Time.After(signer.NotAfter) {
		return fmt.Errorf("%w: %s", ErrExpired, t.Time)
	}
	return nil
}

// StampDigest gets a token over a SHA-256 digest and checks imprint and
// signature.
func StampDigest(ctx context.Context, ts Timestamper, digest []byte) (*Token, error) {
	der, err := ts.Timestamp(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("asking for the time: %w", err)
	}
	t, err := ParseToken(der)
	if err != nil {
		return nil, err
	}
	if err := t.CheckImprint(crypto.SHA256, digest); err != nil {
		return nil, err
	}
	_, err = t.CheckSigner()
	return t, err
}
