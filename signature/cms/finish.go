package cms

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Usable wants a certificate that can sign at a time with an algorithm, empty for
// the usual one of its key, which is given back. The error wraps ErrAlgorithm or
// ErrExpired.
func Usable(cert *x509.Certificate, alg Algorithm, at time.Time) (Algorithm, error) {
	if cert == nil {
		return "", errors.New("no certificate")
	}
	if alg == "" {
		var err error
		if alg, err = AlgorithmFor(cert.PublicKey); err != nil {
			return "", err
		}
	}
	if err := alg.fits(cert.PublicKey); err != nil {
		return "", err
	}
	if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
		return "", fmt.Errorf("%w: %s", ErrExpired, at.UTC().Format(time.RFC3339))
	}
	return alg, nil
}

// Kept reads the certificates that a preparation keeps, DER, the signer's first:
// that one, and its issuers unread (Issuers).
func Kept(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, errors.New("preparation without a certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("certificate of the preparation: %w", err)
	}
	return append([]*x509.Certificate{leaf}, Issuers(chain[1:])...), nil
}

// SignWith gives the value that a key in this process (or one that PKCS #11 makes
// look like it) makes over what is signed.
func (a Algorithm) SignWith(key crypto.Signer, signed []byte) ([]byte, error) {
	value, err := key.Sign(rand.Reader, sum(a.Hash(), signed), a.Options())
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", a, err)
	}
	return value, nil
}

// Finish verifies a value over s.Attributes, asks ts for its time (nil for none)
// and gives the message. The error wraps what VerifyValue and Stamp say.
func (s SignedData) Finish(ctx context.Context, value []byte, ts Timestamper) ([]byte, error) {
	if len(s.Certificates) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrCertificate)
	}
	value, err := VerifyValue(s.Certificates[0], s.Algorithm, s.Attributes, value)
	if err != nil {
		return nil, err
	}
	if ts != nil {
		if s.Timestamp, err = Stamp(ctx, ts, value, s.Certificates[0]); err != nil {
			return nil, err
		}
	}
	return s.MarshalVerified(value)
}

// Provided reads a complete detached message that a provider made over a digest.
// It must be signed with that algorithm's hash and that certificate, and its
// timestamps must be sound (CheckTimestamp).
func Provided(der []byte, alg Algorithm, digest []byte, signer *x509.Certificate) (*Message, error) {
	m, err := Parse(der)
	if err != nil {
		return nil, err
	}
	if m.Hash() != alg.Hash() {
		return nil, fmt.Errorf("%w: %s where %s was prepared", ErrAlgorithm, m.Hash(), alg)
	}
	by, err := m.Verify(digest, signer)
	if err != nil {
		return nil, err
	}
	if !by.Equal(signer) {
		return nil, fmt.Errorf("%w: signed by %q", ErrCertificate, by.Subject)
	}
	for _, token := range m.Timestamps {
		if err := CheckTimestamp(token, m.Value, signer); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Stamped is the message with a timestamp: its own where it has one or where ts
// is nil, else one from ts.
func (m *Message) Stamped(ctx context.Context, ts Timestamper, signer *x509.Certificate) ([]byte, error) {
	if len(m.Timestamps) > 0 || ts == nil {
		return m.Raw, nil
	}
	token, err := Stamp(ctx, ts, m.Value, signer)
	if err != nil {
		return nil, err
	}
	return m.WithTimestamp(token)
}
