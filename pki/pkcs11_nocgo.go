//go:build !cgo

package pki

import (
	"crypto"
	"errors"
)

// A token's library is C; a binary without it can be told so at least.
var errNoTokens = errors.New("this milterd was built without PKCS#11: build it with CGO_ENABLED=1 and a C compiler")

func (u *tokenURI) find() ([]crypto.Signer, error) { return nil, errNoTokens }

func (u *tokenURI) generate(KeyType) (crypto.Signer, func() error, error) {
	return nil, nil, errNoTokens
}
