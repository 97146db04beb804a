package pki

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// keeper makes keys and writes down where they are.
type keeper interface {
	make(names []string) ([]crypto.Signer, error)
	write(path, name string, key crypto.Signer) error
	undo() error // takes back what was made
}

func (o *Options) keeper() (keeper, error) {
	if o.Token != "" {
		u, err := parseTokenURI(o.Token)
		return &tokenKeeper{kind: o.Key, token: u}, err
	}
	pass, err := credential(passphraseCredential)
	if errors.Is(err, errLocked) { // nobody wants them encrypted
		return &fileKeeper{kind: o.Key}, nil
	}
	return &fileKeeper{kind: o.Key, pass: pass}, err
}

// fileKeeper keeps keys in files, encrypted where there is a passphrase.
type fileKeeper struct {
	kind KeyType
	pass []byte
}

func (k *fileKeeper) make(names []string) ([]crypto.Signer, error) {
	keys := make([]crypto.Signer, len(names))
	var g errgroup.Group
	for i := range names {
		g.Go(func() (err error) {
			keys[i], err = k.kind.generate()
			return err
		})
	}
	return keys, g.Wait()
}

func (k *fileKeeper) write(path, _ string, key crypto.Signer) error {
	block, err := marshalKey(key, k.pass)
	if err != nil {
		return err
	}
	return writeNew(path, pem.EncodeToMemory(block), 0o600)
}

func (k *fileKeeper) undo() error { return nil } // the files are in a folder that is removed

// tokenKeeper keeps keys in a PKCS#11 token, and their addresses in files.
type tokenKeeper struct {
	kind   KeyType
	token  *tokenURI
	remove []func() error
}

// address is where a key of ours is in the token.
func (k *tokenKeeper) address(name string) *tokenURI {
	u := *k.token
	u.object = "milterd-" + name
	return &u
}

func (k *tokenKeeper) make(names []string) ([]crypto.Signer, error) {
	// First look: keys are never overwritten, and two of a name never found again.
	for _, name := range names {
		u := k.address(name)
		switch there, err := u.find(); {
		case err != nil:
			return nil, fmt.Errorf("token %s: %w", u.name(), err)
		case len(there) > 0:
			return nil, fmt.Errorf("token %s: it holds a key %s; keys are never overwritten", u.name(), u.key())
		}
	}
	var keys []crypto.Signer
	for _, name := range names {
		key, remove, err := k.address(name).generate(k.kind)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("token %s: %w", k.token.name(), err), k.undo())
		}
		keys, k.remove = append(keys, key), append(k.remove, remove)
	}
	return keys, nil
}

func (k *tokenKeeper) write(path, name string, _ crypto.Signer) error {
	return writeNew(path, []byte(k.address(name).String()+"\n"), 0o600)
}

func (k *tokenKeeper) undo() error {
	var errs []error
	for _, remove := range k.remove {
		errs = append(errs, remove())
	}
	k.remove = nil
	return errors.Join(errs...)
}
