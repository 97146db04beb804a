//go:build !cgo

package pki

import (
	"crypto"
	"errors"
)

// A token's library is C; a binary without it can at least be told so.
var errNoTokens = errors.New("this milterd was built without PKCS#11: build it with CGO_ENABLED=1 and a C compiler")

func (*Keys) find(string) ([]crypto.Signer, error) { return nil, errNoTokens }

func (*Keys) generate(string, KeyType) (crypto.Signer, func() error, error) {
	return nil, nil, errNoTokens
}
