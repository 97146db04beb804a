//go:build cgo

package pki

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"sync"

	"github.com/ThalesGroup/crypto11"
)

// tokens are the sessions of this process, one for each token. They stay open:
// a login lasts as long as a session does, and keys are used until the end.
var tokens struct {
	sync.Mutex
	open map[[2]string]*crypto11.Context
}

// session logs in, once.
func (k *Keys) session() (*crypto11.Context, error) {
	tokens.Lock()
	defer tokens.Unlock()
	name := [2]string{k.Module, k.Label}
	if c := tokens.open[name]; c != nil {
		return c, nil
	}
	pin, err := k.pin()
	if err != nil {
		return nil, err
	}
	c, err := crypto11.Configure(&crypto11.Config{Path: k.Module, TokenLabel: k.Label, Pin: pin})
	if err != nil {
		return nil, err
	}
	if tokens.open == nil {
		tokens.open = map[[2]string]*crypto11.Context{}
	}
	tokens.open[name] = c
	return c, nil
}

// find gives all keys with a label.
func (k *Keys) find(name string) ([]crypto.Signer, error) {
	c, err := k.session()
	if err != nil {
		return nil, err
	}
	found, err := c.FindKeyPairs(nil, []byte(name))
	var out []crypto.Signer
	for _, key := range found {
		out = append(out, key)
	}
	return out, err
}

// generate makes a key in the token, which never leaves it. Remove takes it back.
func (k *Keys) generate(name string, kind KeyType) (key crypto.Signer, remove func() error, err error) {
	c, err := k.session()
	if err != nil {
		return nil, nil, err
	}
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	var made crypto11.Signer
	if kind == P256 {
		made, err = c.GenerateECDSAKeyPairWithLabel(id[:], []byte(name), elliptic.P256())
	} else {
		made, err = c.GenerateRSAKeyPairWithLabel(id[:], []byte(name), 3072)
	}
	if err != nil {
		return nil, nil, err
	}
	return made, made.Delete, nil
}
