package cms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

// Names beside a signature are those in it.
func TestNames(t *testing.T) {
	for _, a := range Algorithms() {
		identifier := cryptobyte.String(tlv(0x30, newOID(a.OID()...).der, a.Parameters()))
		var inner cryptobyte.String
		if !identifier.ReadASN1(&inner, 0x30) {
			t.Fatal(a)
		}
		got, _, err := readAlgorithm(a.Hash(), inner)
		if err != nil || got != a {
			t.Errorf("%s reads as %q: %v", a, got, err)
		}
		if h, err := hashOf(a.HashOID()); err != nil || h != a.Hash() {
			t.Errorf("%s: hash %v, %v", a, h, err)
		}
	}
	if len(Algorithms()) != 9 || Algorithm("X").OID() != nil || Algorithm("X").HashOID() != nil || Algorithm("PS1").Parameters() != nil {
		t.Error("an unknown name has an object identifier")
	}
}

// A digest of another length is no digest of the algorithm, whatever ECDSA makes of it.
func TestVerifyDigest(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{PublicKey: key.Public()}
	digest := sum(crypto.SHA256, []byte("attributes"))
	value, err := ecdsa.SignASN1(rand.Reader, key, digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyDigest(cert, ES256, digest, value); err != nil {
		t.Error(err)
	}
	if _, err := VerifyDigest(cert, ES256, append(digest, 0), value); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("33 bytes: %v", err)
	}
	digest[0] ^= 1
	if _, err := VerifyDigest(cert, ES256, digest, value); !errors.Is(err, ErrSignature) {
		t.Errorf("another digest: %v", err)
	}
}
