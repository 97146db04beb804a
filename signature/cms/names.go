package cms

import (
	"crypto"
	"encoding/asn1"
)

// What follows is for protocols that name algorithms beside the signature itself, as
// the API of the Cloud Signature Consortium does.

// Algorithms are all that are made and accepted.
func Algorithms() (all []Algorithm) {
	for _, s := range schemes {
		all = append(all, s.alg)
	}
	return all
}

// OID is the object identifier of the signature algorithm, nil for an unknown
// name. The three of PSS share one.
func (a Algorithm) OID() asn1.ObjectIdentifier {
	for _, s := range schemes {
		if s.alg == a {
			return s.sig.ObjectIdentifier
		}
	}
	return nil
}

// HashOID is the object identifier of the algorithm's hash, nil for an unknown name.
func (a Algorithm) HashOID() asn1.ObjectIdentifier {
	if a.Hash() == 0 {
		return nil
	}
	return hashOID(a.Hash()).ObjectIdentifier
}

// Parameters is the DER of RSASSA-PSS-params (RFC 4055, 3.1) for PSS, nil for others.
func (a Algorithm) Parameters() []byte {
	if !a.isPSS() || a.Hash() == 0 {
		return nil
	}
	return a.pssParameters()
}

// Fits reports whether a key can be used with the algorithm, and is long enough
// (ETSI TS 119 312: RSA from 2048 bits on, ECDSA from P-256 on). The error wraps
// ErrAlgorithm.
func (a Algorithm) Fits(key crypto.PublicKey) error { return a.fits(key) }
