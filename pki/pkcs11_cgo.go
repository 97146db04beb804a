//go:build cgo

package pki

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/ThalesGroup/crypto11"
)

// tokens are the sessions of this process, one for each token. They stay open:
// a login lasts as long as a session does, and keys are used until the end.
var tokens struct {
	sync.Mutex
	open map[tokenURI]*crypto11.Context
}

// session logs in, once.
func (u *tokenURI) session() (*crypto11.Context, error) {
	tokens.Lock()
	defer tokens.Unlock()
	name := tokenURI{module: u.module, token: u.token, serial: u.serial}
	if c := tokens.open[name]; c != nil {
		return c, nil
	}
	pin, err := u.pin()
	if err != nil {
		return nil, err
	}
	c, err := crypto11.Configure(&crypto11.Config{Path: u.module, TokenLabel: u.token, TokenSerial: u.serial, Pin: pin})
	if err != nil {
		return nil, err
	}
	if tokens.open == nil {
		tokens.open = map[tokenURI]*crypto11.Context{}
	}
	tokens.open[name] = c
	return c, nil
}

// find gives all keys that the address names.
func (u *tokenURI) find() ([]crypto.Signer, error) {
	c, err := u.session()
	if err != nil {
		return nil, err
	}
	var id, label []byte
	if u.id != "" {
		id = []byte(u.id)
	}
	if u.object != "" {
		label = []byte(u.object)
	}
	found, err := c.FindKeyPairs(id, label)
	var out []crypto.Signer
	for _, k := range found {
		out = append(out, k)
	}
	return out, err
}

// generate makes a key in the token, which never leaves it. Remove takes it back.
func (u *tokenURI) generate(kind KeyType) (key crypto.Signer, remove func() error, err error) {
	c, err := u.session()
	if err != nil {
		return nil, nil, err
	}
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	var made crypto11.Signer
	if kind == P256 {
		made, err = c.GenerateECDSAKeyPairWithLabel(id[:], []byte(u.object), elliptic.P256())
	} else {
		made, err = c.GenerateRSAKeyPairWithLabel(id[:], []byte(u.object), 3072)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	return made, made.Delete, nil
}
