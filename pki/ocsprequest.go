package pki

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // names of certificates in requests, not signatures
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// Limits of a request. A browser's has 80 bytes and asks about one certificate.
const (
	maxOCSPRequest = 4 << 10
	maxAsked       = 16
	maxNonce       = 128 // RFC 9654, 2.1
)

var (
	oidOCSPBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidOCSPNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

// certHashes are the algorithms that may name an issuer (RFC 5019 clients use
// SHA-1, RFC 9654 ones SHA-256).
var certHashes = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// certID names a certificate (RFC 6960, 4.1.1). Raw is what an answer repeats.
type certID struct {
	Raw      asn1.RawContent
	Hash     pkix.AlgorithmIdentifier
	NameHash []byte
	KeyHash  []byte
	Serial   *big.Int
}

// The wire form of a request.
type (
	wireRequest struct {
		TBS       wireTBSRequest
		Signature asn1.RawValue `asn1:"explicit,tag:0,optional"` // who asks does not matter
	}
	wireTBSRequest struct {
		Version    int           `asn1:"explicit,tag:0,default:0,optional"`
		Requestor  asn1.RawValue `asn1:"explicit,tag:1,optional"`
		List       []wireAsked
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
	}
	wireAsked struct {
		ID         certID
		Extensions []pkix.Extension `asn1:"explicit,tag:0,optional"`
	}
)

// ocspRequest is what somebody wants to know.
type ocspRequest struct {
	asked []certID        // 1 to maxAsked
	nonce *pkix.Extension // to be repeated; nil without
}

// parseOCSPRequest reads an OCSPRequest (RFC 6960, 4.1.1).
func parseOCSPRequest(der []byte) (*ocspRequest, error) {
	if len(der) > maxOCSPRequest {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(der), maxOCSPRequest)
	}
	var w wireRequest
	rest, err := asn1.Unmarshal(der, &w)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, errors.New("trailing data")
	case w.TBS.Version != 0:
		return nil, fmt.Errorf("version %d", w.TBS.Version+1)
	case len(w.TBS.List) == 0 || len(w.TBS.List) > maxAsked:
		return nil, fmt.Errorf("asks about %d certificates, want 1 to %d", len(w.TBS.List), maxAsked)
	}
	r := &ocspRequest{}
	for _, a := range w.TBS.List {
		for _, x := range a.Extensions {
			if x.Critical {
				return nil, fmt.Errorf("critical extension %v", x.Id)
			}
		}
		r.asked = append(r.asked, a.ID)
	}
	for _, x := range w.TBS.Extensions {
		switch {
		case x.Id.Equal(oidOCSPNonce):
			if r.nonce != nil {
				return nil, errors.New("two nonces")
			}
			if err := checkNonce(x.Value); err != nil {
				return nil, err
			}
			r.nonce = &pkix.Extension{Id: oidOCSPNonce, Value: x.Value}
		case x.Critical:
			return nil, fmt.Errorf("critical extension %v", x.Id)
		}
	}
	return r, nil
}

// checkNonce demands an OCTET STRING of 1 to 128 bytes (RFC 9654, 2.1).
func checkNonce(value []byte) error {
	var nonce []byte
	rest, err := asn1.Unmarshal(value, &nonce)
	if err != nil || len(rest) > 0 {
		return errors.New("the nonce is no OCTET STRING")
	}
	if len(nonce) == 0 || len(nonce) > maxNonce {
		return fmt.Errorf("a nonce of %d bytes, want 1 to %d", len(nonce), maxNonce)
	}
	return nil
}

// names reports whether the certificate that is asked about has this issuer.
func (id *certID) names(issuer *x509.Certificate) bool {
	hash, ok := certHashes[id.Hash.Algorithm.String()]
	if !ok {
		return false
	}
	name, key := hash.New(), hash.New()
	name.Write(issuer.RawSubject)
	bits, err := publicKeyBits(issuer)
	if err != nil {
		return false
	}
	key.Write(bits)
	return bytes.Equal(name.Sum(nil), id.NameHash) && bytes.Equal(key.Sum(nil), id.KeyHash)
}

// publicKeyBits is the BIT STRING in a SubjectPublicKeyInfo, without tag, length
// and unused bits: what OCSP hashes.
func publicKeyBits(c *x509.Certificate) ([]byte, error) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, err
	}
	return spki.Key.RightAlign(), nil
}
