package pki

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"slices"
)

// Keys says where keys are kept: in files, plain or encrypted, or in a PKCS#11
// token, where a key's label is its name. Certificates are files in any case.
type Keys struct {
	Passphrase string // name of the systemd credential (systemd.exec(5), LoadCredential=) that opens encrypted files; "" for none

	Token   []string // which are in the token: "root", "issuing", "seal", "tsa"
	Module  string   // the token's library
	Label   string   // the token's
	PINFile string
}

// inToken reports whether a key is in the token.
func (k *Keys) inToken(name string) bool { return slices.Contains(k.Token, name) }

// pin reads the token's PIN; errLocked if it is not here or not ours to read.
func (k *Keys) pin() (string, error) {
	info, err := os.Stat(k.PINFile)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("PIN: %w: %w", errLocked, err)
	}
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return "", fmt.Errorf("PIN: others can read %s (mode %04o): chmod 0600 %s", k.PINFile, mode, k.PINFile)
	}
	b, err := os.ReadFile(k.PINFile)
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("PIN: %w: %w", errLocked, err)
	}
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}

// tokenKeys finds keys by their label: at least one, and those before it where a
// key was renewed.
func (k *Keys) tokenKeys(name string) ([]crypto.Signer, error) {
	found, err := k.find(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("key %q in token %q: %w", name, k.Label, err)
	case len(found) == 0:
		return nil, fmt.Errorf("token %q: it holds no key with the label %q", k.Label, name)
	}
	return found, nil
}
