package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"strings"
)

// Seal encrypts a secret that a browser keeps for its person while it is away from
// the page; id says what for, and nothing else opens it.
func (k *Keys) Seal(id, mail string, secret []byte) ([]byte, error) {
	return k.seal(awayPrefix+id, mail, string(secret))
}

// Unseal gives back what Seal took.
func (k *Keys) Unseal(id, mail string, sealed []byte) ([]byte, error) {
	b, err := k.unseal(awayPrefix+id, mail, sealed)
	return []byte(b), err
}

// awayPrefix keeps Seal's secrets apart from those of credentials.
const awayPrefix = "away\x00"

// seal encrypts a secret for a person's credential with an id: AES-256-GCM, the
// nonce first. In another row it is nothing.
func (k *Keys) seal(id, mail, secret string) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, []byte(secret), place(id, mail)), nil
}

// unseal gives back what seal took.
func (k *Keys) unseal(id, mail string, sealed []byte) (string, error) {
	aead, err := k.aead()
	if err != nil {
		return "", err
	}
	if len(sealed) < aead.NonceSize() {
		return "", fmt.Errorf("the secret for %q is too short", id)
	}
	b, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], place(id, mail))
	if err != nil {
		return "", fmt.Errorf("the secret for %q cannot be read with this master key: %w", id, err)
	}
	return string(b), nil
}

func (k *Keys) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.totp)
	if err != nil {
		return nil, fmt.Errorf("the key for secrets: %w", err)
	}
	return cipher.NewGCM(block)
}

// place is what a sealed secret is bound to.
func place(id, mail string) []byte { return []byte(id + "\x00" + strings.ToLower(mail)) }
