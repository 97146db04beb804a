package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of Algorithm
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Algorithm names a signature algorithm with its hash, in the words of RFC 7518
// (JWA). For ECDSA the curve is the key's: ES256 means SHA-256 on any curve.
type Algorithm string

// The algorithms that are made and accepted: RSA PKCS #1 v1.5, RSA-PSS (MGF1
// with the same hash), ECDSA.
const (
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
)

var (
	oidSHA1   = newOID(1, 3, 14, 3, 2, 26)
	oidSHA256 = newOID(2, 16, 840, 1, 101, 3, 4, 2, 1)
	oidSHA384 = newOID(2, 16, 840, 1, 101, 3, 4, 2, 2)
	oidSHA512 = newOID(2, 16, 840, 1, 101, 3, 4, 2, 3)

	oidRSA  = newOID(1, 2, 840, 113549, 1, 1, 1)
	oidMGF1 = newOID(1, 2, 840, 113549, 1, 1, 8)
	oidPSS  = newOID(1, 2, 840, 113549, 1, 1, 10)
)

// schemes lists what stands in a SignerInfo for each Algorithm. All PSS
// algorithms share one OID; their hash is in the parameters (RFC 4055).
var schemes = []struct {
	alg  Algorithm
	hash crypto.Hash
	sig  objectID
}{
	{RS256, crypto.SHA256, newOID(1, 2, 840, 113549, 1, 1, 11)},
	{RS384, crypto.SHA384, newOID(1, 2, 840, 113549, 1, 1, 12)},
	{RS512, crypto.SHA512, newOID(1, 2, 840, 113549, 1, 1, 13)},
	{PS256, crypto.SHA256, oidPSS},
	{PS384, crypto.SHA384, oidPSS},
	{PS512, crypto.SHA512, oidPSS},
	{ES256, crypto.SHA256, newOID(1, 2, 840, 10045, 4, 3, 2)},
	{ES384, crypto.SHA384, newOID(1, 2, 840, 10045, 4, 3, 3)},
	{ES512, crypto.SHA512, newOID(1, 2, 840, 10045, 4, 3, 4)},
}

// AlgorithmFor gives the usual algorithm of a key: RS256 for RSA, and for ECDSA
// the hash that belongs to the curve (P-256, P-384, P-521).
func AlgorithmFor(key crypto.PublicKey) (Algorithm, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return RS256, nil
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return ES256, nil
		case 384:
			return ES384, nil
		case 521:
			return ES512, nil
		}
	}
	return "", fmt.Errorf("%w: key of type %T", ErrAlgorithm, key)
}

// Hash is the hash of the algorithm, zero for an unknown name.
func (a Algorithm) Hash() crypto.Hash {
	for _, s := range schemes {
		if s.alg == a {
			return s.hash
		}
	}
	return 0
}

// Options are what a crypto.Signer wants to hear to sign a digest with the
// algorithm.
func (a Algorithm) Options() crypto.SignerOpts {
	if a.isPSS() {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.Hash()}
	}
	return a.Hash()
}

func (a Algorithm) isPSS() bool   { return len(a) > 0 && a[0] == 'P' }
func (a Algorithm) isECDSA() bool { return len(a) > 0 && a[0] == 'E' }

// fits reports whether a key can be used with the algorithm, and is long enough
// (ETSI TS 119 312: RSA from 2048 bits on, ECDSA from P-256 on).
func (a Algorithm) fits(key crypto.PublicKey) error {
	if a.Hash() == 0 {
		return fmt.Errorf("%w: %q", ErrAlgorithm, a)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if a.isECDSA() {
			return fmt.Errorf("%w: %s with an RSA key", ErrAlgorithm, a)
		}
		if k.N.BitLen() < 2048 {
			return fmt.Errorf("%w: RSA key of %d bits", ErrAlgorithm, k.N.BitLen())
		}
		return nil
	case *ecdsa.PublicKey:
		if !a.isECDSA() {
			return fmt.Errorf("%w: %s with an ECDSA key", ErrAlgorithm, a)
		}
		if k.Curve.Params().BitSize < 256 {
			return fmt.Errorf("%w: curve %s", ErrAlgorithm, k.Curve.Params().Name)
		}
		return nil
	}
	return fmt.Errorf("%w: key of type %T", ErrAlgorithm, key)
}

// digestAlgorithm is the AlgorithmIdentifier of a hash, parameters absent
// (RFC 5754, section 2).
func digestAlgorithm(h crypto.Hash) []byte { return tlv(tag.SEQUENCE, hashOID(h).der) }

func hashOID(h crypto.Hash) objectID {
	switch h {
	case crypto.SHA384:
		return oidSHA384
	case crypto.SHA512:
		return oidSHA512
	}
	return oidSHA256
}

// hashOf reads the AlgorithmIdentifier of a hash.
func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	switch {
	case oid.Equal(oidSHA256.ObjectIdentifier):
		return crypto.SHA256, nil
	case oid.Equal(oidSHA384.ObjectIdentifier):
		return crypto.SHA384, nil
	case oid.Equal(oidSHA512.ObjectIdentifier):
		return crypto.SHA512, nil
	case oid.Equal(oidSHA1.ObjectIdentifier):
		return 0, fmt.Errorf("%w: SHA-1", ErrAlgorithm)
	}
	return 0, fmt.Errorf("%w: hash %s", ErrAlgorithm, oid)
}

// noParameters reports whether the rest of an AlgorithmIdentifier is parameters
// that are absent or NULL, both of which readers must take for SHA-2 (RFC 5754,
// section 2). Nothing signs them, so nothing else may hide there.
func noParameters(rest cryptobyte.String) bool {
	return rest.Empty() || len(rest) == 2 && rest[0] == byte(tag.NULL) && rest[1] == 0
}

// identifier is the AlgorithmIdentifier of the signature: parameters are NULL
// for PKCS #1 v1.5 and absent for ECDSA (RFC 5754, section 3).
func (a Algorithm) identifier() []byte {
	var parameters, name []byte
	for _, s := range schemes {
		if s.alg == a {
			name = s.sig.der
		}
	}
	switch {
	case a.isPSS():
		parameters = a.pssParameters()
	case !a.isECDSA():
		parameters = []byte{byte(tag.NULL), 0}
	}
	return tlv(tag.SEQUENCE, name, parameters)
}

// pssParameters is RSASSA-PSS-params (RFC 4055, section 3.1): salt as long as
// the hash, the trailer field at its default.
func (a Algorithm) pssParameters() []byte {
	hash := digestAlgorithm(a.Hash())
	return tlv(tag.SEQUENCE,
		tlv(explicit0, hash),
		tlv(explicit1, tlv(tag.SEQUENCE, oidMGF1.der, hash)),
		tlv(tag.Tag(0x80|0x20|2), tlv(tag.INTEGER, []byte{byte(a.Hash().Size())})),
	)
}

// readAlgorithm reads the signature AlgorithmIdentifier of a SignerInfo whose
// digestAlgorithm is h. salt is the length of the salt for PSS.
func readAlgorithm(h crypto.Hash, in cryptobyte.String) (alg Algorithm, salt int, err error) {
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1ObjectIdentifier(&oid) {
		return "", 0, malformed("signature algorithm")
	}
	hash := h
	if !oid.Equal(oidPSS.ObjectIdentifier) {
		if !noParameters(in) {
			return "", 0, malformed("parameters of the signature algorithm")
		}
	} else {
		if hash, salt, err = readPSSParameters(in); err != nil {
			return "", 0, err
		}
	}
	known := false
	for _, s := range schemes {
		// rsaEncryption leaves the hash to digestAlgorithm (RFC 3370, 3.2).
		if !s.sig.Equal(oid) && !(oid.Equal(oidRSA.ObjectIdentifier) && s.alg[0] == 'R') {
			continue
		}
		if known = true; s.hash == hash && hash == h {
			return s.alg, salt, nil
		}
	}
	if known {
		return "", 0, fmt.Errorf("%w: signature %s with digest algorithm %s", ErrAlgorithm, oid, h)
	}
	return "", 0, fmt.Errorf("%w: signature %s", ErrAlgorithm, oid)
}

// readPSSParameters reads RSASSA-PSS-params; MGF1 must use the same hash, and
// the defaults are SHA-1, which is not accepted.
func readPSSParameters(in cryptobyte.String) (h crypto.Hash, salt int, err error) {
	var params, hash, mgf, alg, inner, rest cryptobyte.String
	var hasHash, hasMGF, hasTrailer bool
	var oid asn1.ObjectIdentifier
	context := func(n uint8) tag.Tag { return tag.Tag(n).ContextSpecific().Constructed() }
	if !in.ReadASN1(&params, tag.SEQUENCE) || !in.Empty() ||
		!params.ReadOptionalASN1(&hash, &hasHash, context(0)) ||
		!params.ReadOptionalASN1(&mgf, &hasMGF, context(1)) ||
		!params.ReadOptionalASN1Integer(&salt, context(2), 20) ||
		!params.ReadOptionalASN1(&rest, &hasTrailer, context(3)) || !params.Empty() {
		return 0, 0, malformed("PSS parameters")
	}
	var trailer int
	if hasTrailer && (!rest.ReadASN1Integer(&trailer) || trailer != 1) {
		return 0, 0, malformed("PSS trailer field")
	}
	if !hasHash || !hasMGF {
		return 0, 0, fmt.Errorf("%w: PSS with SHA-1", ErrAlgorithm)
	}
	if !hash.ReadASN1(&alg, tag.SEQUENCE) || !hash.Empty() || !alg.ReadASN1ObjectIdentifier(&oid) || !noParameters(alg) {
		return 0, 0, malformed("PSS hash")
	}
	if h, err = hashOf(oid); err != nil {
		return 0, 0, err
	}
	if !mgf.ReadASN1(&alg, tag.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidMGF1.ObjectIdentifier) ||
		!alg.ReadASN1(&inner, tag.SEQUENCE) || !alg.Empty() || !inner.ReadASN1ObjectIdentifier(&oid) || !noParameters(inner) {
		return 0, 0, malformed("PSS mask generation")
	}
	if !oid.Equal(hashOID(h).ObjectIdentifier) {
		return 0, 0, fmt.Errorf("%w: PSS mask generation with another hash", ErrAlgorithm)
	}
	if salt < 0 || salt > 512 {
		return 0, 0, malformed("PSS salt length")
	}
	return h, salt, nil
}
