package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// VerifyValue checks a signature value over signed attributes (the bytes that
// SignedAttributes gave) and returns it as CMS wants it. An ECDSA value may be
// r‖s, as WebCrypto, Web eID and PKCS #11 give it, or DER; DER is returned.
// The error wraps ErrSignature, or ErrAlgorithm if key and algorithm do not fit.
func VerifyValue(cert *x509.Certificate, alg Algorithm, attributes, value []byte) ([]byte, error) {
	if err := alg.fits(cert.PublicKey); err != nil {
		return nil, err
	}
	return VerifyDigest(cert, alg, sum(alg.Hash(), attributes), value)
}

// VerifyDigest is VerifyValue for whoever has the digest only: a provider that
// signs remotely is given nothing else.
func VerifyDigest(cert *x509.Certificate, alg Algorithm, digest, value []byte) ([]byte, error) {
	if err := alg.fits(cert.PublicKey); err != nil {
		return nil, err
	}
	if len(digest) != alg.Hash().Size() {
		return nil, fmt.Errorf("%w: digest of %d bytes for %s", ErrAlgorithm, len(digest), alg)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		if err := verifyRSA(cert.PublicKey.(*rsa.PublicKey), alg, rsa.PSSSaltLengthEqualsHash, digest, value); err != nil {
			return nil, err
		}
		return value, nil
	}
	// Both forms are tried: 64 bytes of r‖s can look like DER by chance.
	if isECDSAValue(value) && ecdsa.VerifyASN1(key, digest, value) {
		return value, nil
	}
	n := (key.Curve.Params().N.BitLen() + 7) / 8
	if len(value) != 2*n {
		return nil, fmt.Errorf("%w: %d bytes, want %d or DER", ErrSignature, len(value), 2*n)
	}
	der, err := joinECDSA(value[:n], value[n:])
	if err != nil {
		return nil, err
	}
	if !ecdsa.VerifyASN1(key, digest, der) {
		return nil, fmt.Errorf("%w: it belongs to other attributes or another key", ErrSignature)
	}
	return der, nil
}

// verify checks an embedded value: ECDSA in DER only, PSS with the salt length
// of its parameters.
func verify(cert *x509.Certificate, alg Algorithm, salt int, digest, value []byte) error {
	if err := alg.fits(cert.PublicKey); err != nil {
		return err
	}
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return verifyRSA(key, alg, salt, digest, value)
	case *ecdsa.PublicKey:
		if !isECDSAValue(value) || !ecdsa.VerifyASN1(key, digest, value) {
			return ErrSignature
		}
	}
	return nil
}

func verifyRSA(key *rsa.PublicKey, alg Algorithm, salt int, digest, value []byte) error {
	if len(value) != key.Size() {
		return fmt.Errorf("%w: %d bytes, want %d", ErrSignature, len(value), key.Size())
	}
	var err error
	if alg.isPSS() {
		err = rsa.VerifyPSS(key, alg.Hash(), digest, value, &rsa.PSSOptions{SaltLength: salt})
	} else {
		err = rsa.VerifyPKCS1v15(key, alg.Hash(), digest, value)
	}
	if err != nil {
		return fmt.Errorf("%w: %v", ErrSignature, err)
	}
	return nil
}

// isECDSAValue reports whether b is exactly one DER Ecdsa-Sig-Value.
func isECDSAValue(b []byte) bool {
	in := cryptobyte.String(b)
	var seq cryptobyte.String
	var r, s big.Int
	return in.ReadASN1(&seq, tag.SEQUENCE) && in.Empty() &&
		seq.ReadASN1Integer(&r) && seq.ReadASN1Integer(&s) && seq.Empty() &&
		r.Sign() > 0 && s.Sign() > 0
}

func joinECDSA(r, s []byte) ([]byte, error) {
	r, s = bytes.TrimLeft(r, "\x00"), bytes.TrimLeft(s, "\x00")
	if len(r) == 0 || len(s) == 0 {
		return nil, fmt.Errorf("%w: zero", ErrSignature)
	}
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(r))
		b.AddASN1BigInt(new(big.Int).SetBytes(s))
	})
	return b.Bytes()
}

// JoinedValue makes r‖s, as XML has it (RFC 9231, section 2.3.6), of an ECDSA value
// in DER that VerifyValue gave. Values of other keys stay as they are.
func JoinedValue(key crypto.PublicKey, value []byte) ([]byte, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return value, nil
	}
	in := cryptobyte.String(value)
	var seq cryptobyte.String
	var r, s big.Int
	n := (k.Curve.Params().N.BitLen() + 7) / 8
	if !isECDSAValue(value) || !in.ReadASN1(&seq, tag.SEQUENCE) || !seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&s) ||
		r.BitLen() > 8*n || s.BitLen() > 8*n {
		return nil, fmt.Errorf("%w: no DER of a signature of this key", ErrSignature)
	}
	out := make([]byte, 2*n)
	r.FillBytes(out[:n])
	s.FillBytes(out[n:])
	return out, nil
}

// sum is the digest of the parts, one after the other.
func sum(h crypto.Hash, parts ...[]byte) []byte {
	w := h.New()
	for _, p := range parts {
		w.Write(p)
	}
	return w.Sum(nil)
}

// maxValue is the longest signature value that a certificate's key can give, in
// the form that is embedded.
func maxValue(cert *x509.Certificate) int {
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.Size()
	case *ecdsa.PublicKey:
		n := (key.Curve.Params().N.BitLen() + 7) / 8
		return 2*(n+3) + 3
	}
	return 0
}
