package pki

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// keeper makes keys where Keys wants them.
type keeper struct {
	kind KeyType
	keys Keys
	pass []byte

	remove []func() error // takes back what was made in the token
}

func newKeeper(kind KeyType, keys Keys) (*keeper, error) {
	k := &keeper{kind: kind, keys: keys}
	if keys.Passphrase == "" {
		return k, nil
	}
	var err error
	k.pass, err = credential(keys.Passphrase)
	return k, err
}

// make gives one key for each name.
func (k *keeper) make(names []string) ([]crypto.Signer, error) {
	// First look: keys are never overwritten, and two of a name never found again.
	for _, name := range names {
		if !k.keys.inToken(name) {
			continue
		}
		switch there, err := k.keys.find(name); {
		case err != nil:
			return nil, fmt.Errorf("token %q: %w", k.keys.Label, err)
		case len(there) > 0:
			return nil, fmt.Errorf("token %q: it holds a key with the label %q; keys are never overwritten", k.keys.Label, name)
		}
	}
	keys := make([]crypto.Signer, len(names))
	var g errgroup.Group
	for i, name := range names {
		if k.keys.inToken(name) {
			key, remove, err := k.keys.generate(name, k.kind)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("token %q: making the key %q: %w", k.keys.Label, name, err), g.Wait())
			}
			keys[i], k.remove = key, append(k.remove, remove)
			continue
		}
		g.Go(func() (err error) {
			keys[i], err = k.kind.generate()
			return err
		})
	}
	return keys, g.Wait()
}

// write keeps a key that the token does not.
func (k *keeper) write(dir, name string, key crypto.Signer) error {
	if k.keys.inToken(name) {
		return nil
	}
	block, err := marshalKey(key, k.pass)
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, name+".key"), pem.EncodeToMemory(block), 0o600)
}

// undo empties the token again; files are in a folder that is removed.
func (k *keeper) undo() error {
	var errs []error
	for _, remove := range k.remove {
		errs = append(errs, remove())
	}
	return errors.Join(errs...)
}
