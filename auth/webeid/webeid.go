// Package webeid reads the authentication tokens of Web eID, by which an identity card
// says who is at a page, and verifies their signature: over the page's origin and
// a nonce of ours. Whose the certificate is, and whether it is good, others decide
// (package pki/qualified); the token calls it unverified, and so does this package.
//
// Limits: format version 1; ECDSA on P-256, P-384, P-521 and RSA from 2,048 bits.
// Reference: "Web eID authentication token format" of the Web eID project, version 2 of its
// specification (format "web-eid:1.x"); RFC 7518, sections 3.3 to 3.5.
package webeid

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
)

// MaxToken is the size of a token, in bytes of JSON. Real ones have some 3,000.
const MaxToken = 16 << 10

const (
	nonceSize = 32 // bytes; the format wants 256 bits
	minRSA    = 2048
	maxRSA    = 8192
)

// Errors of tokens.
var (
	ErrFormat    = errors.New("webeid: the token cannot be read")
	ErrAlgorithm = errors.New("webeid: the algorithm is not one for this key")
	ErrSignature = errors.New("webeid: the signature is not over this origin and nonce")
)

// Token is what the extension gives. Of it only what the signature covers is
// evidence, and the certificate is the sender's word.
type Token struct {
	UnverifiedCertificate string `json:"unverifiedCertificate"` // base64 of the DER
	Algorithm             string `json:"algorithm"`             // RFC 7518: "ES384"
	Signature             string `json:"signature"`             // base64; ECDSA as r‖s
	Format                string `json:"format"`                // "web-eid:1.0"
	AppVersion            string `json:"appVersion"`            // of Web eID's program, says who writes the token
}

// version is major version 1; a minor one that is newer adds only.
var version = regexp.MustCompile(`^web-eid:1(\.[0-9]{1,3})?$`)

type algorithm struct {
	hash  crypto.Hash
	curve elliptic.Curve // nil for RSA
	pss   bool
}

// digest is the hash over what is signed: hash(origin) ‖ hash(nonce).
func (a algorithm) digest(origin, nonce []byte) []byte {
	sum := func(parts ...[]byte) []byte {
		h := a.hash.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	return sum(sum(origin), sum(nonce))
}

// algorithms are those of RFC 7518 that the format allows.
var algorithms = map[string]algorithm{
	"ES256": {crypto.SHA256, elliptic.P256(), false}, "ES384": {crypto.SHA384, elliptic.P384(), false}, "ES512": {crypto.SHA512, elliptic.P521(), false},
	"RS256": {crypto.SHA256, nil, false}, "RS384": {crypto.SHA384, nil, false}, "RS512": {crypto.SHA512, nil, false},
	"PS256": {crypto.SHA256, nil, true}, "PS384": {crypto.SHA384, nil, true}, "PS512": {crypto.SHA512, nil, true},
}

// NewNonce makes a challenge: 256 random bits as base64, 44 characters.
func NewNonce() string {
	var b [nonceSize]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// Parse reads a token and its certificate. The page hands on the five fields and
// nothing else, so others are refused. The error is an ErrFormat.
func Parse(b []byte) (*Token, *x509.Certificate, error) {
	if len(b) > MaxToken {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrFormat, len(b))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	t := new(Token)
	if err := d.Decode(t); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("%w: something follows it", ErrFormat)
	}
	if !version.MatchString(t.Format) {
		return nil, nil, fmt.Errorf("%w: its format is %.40q", ErrFormat, t.Format)
	}
	if len(t.AppVersion) > 256 {
		return nil, nil, fmt.Errorf("%w: its appVersion is too long", ErrFormat)
	}
	der, err := base64.StdEncoding.Strict().DecodeString(t.UnverifiedCertificate)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: certificate: %w", ErrFormat, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: certificate: %w", ErrFormat, err)
	}
	return t, cert, nil
}

// Verify wants the signature to be the certificate's key's over hash(origin) ‖
// hash(nonce), with the algorithm's own hash for all: hashes first, so that no
// part of one can pass for a part of the other. The origin is as browsers write it,
// the nonce the text that the page was given. Errors are ErrFormat, ErrAlgorithm or
// ErrSignature.
func (t *Token) Verify(cert *x509.Certificate, origin, nonce string) error {
	if raw, err := base64.StdEncoding.DecodeString(nonce); err != nil || len(raw) < nonceSize {
		return fmt.Errorf("%w: the nonce is too short", ErrSignature)
	}
	alg, ok := algorithms[t.Algorithm]
	if !ok {
		return fmt.Errorf("%w: %.20q", ErrAlgorithm, t.Algorithm)
	}
	value, err := base64.StdEncoding.Strict().DecodeString(t.Signature)
	if err != nil {
		return fmt.Errorf("%w: signature: %w", ErrFormat, err)
	}
	digest := alg.digest([]byte(origin), []byte(nonce))
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if alg.curve == nil || alg.curve != key.Curve {
			return fmt.Errorf("%w: %s with a key on %s", ErrAlgorithm, t.Algorithm, key.Curve.Params().Name)
		}
		n := (key.Curve.Params().N.BitLen() + 7) / 8
		if len(value) != 2*n {
			return fmt.Errorf("%w: %d bytes, want %d", ErrSignature, len(value), 2*n)
		}
		if !ecdsa.Verify(key, digest, new(big.Int).SetBytes(value[:n]), new(big.Int).SetBytes(value[n:])) {
			return ErrSignature
		}
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case alg.curve != nil:
			return fmt.Errorf("%w: %s with an RSA key", ErrAlgorithm, t.Algorithm)
		case bits < minRSA || bits > maxRSA:
			return fmt.Errorf("%w: RSA of %d bits", ErrAlgorithm, bits)
		case alg.pss:
			err = rsa.VerifyPSS(key, alg.hash, digest, value, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		default:
			err = rsa.VerifyPKCS1v15(key, alg.hash, digest, value)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSignature, err)
		}
	default:
		return fmt.Errorf("%w: a key of type %T", ErrAlgorithm, key)
	}
	return nil
}
