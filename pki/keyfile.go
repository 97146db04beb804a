package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/youmark/pkcs8"
)

// errLocked says that what opens a key is not here. Such a key can be looked
// at, with its certificate, and signs nothing.
var errLocked = errors.New("locked")

// maxKeyFile bounds what is read: an RSA key with 4096 bits has 3.3 KB.
const maxKeyFile = 64 << 10

// readKeys reads private keys in PEM form (PKCS #8), plain or encrypted: at least
// one, and those before it where a key was renewed. It refuses a file that anybody
// but its owner can read or write; it asks the open file, so that nobody can put
// another one there in between.
func (k *Keys) readKeys(path string) (keys []crypto.Signer, err error) {
	b, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		key, err := k.parseKey(path, block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, noKey(path)
	}
	return keys, nil
}

func noKey(path string) error { return fmt.Errorf("%s: no private key in PEM form (PKCS #8)", path) }

func (k *Keys) parseKey(path string, block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		if k.Passphrase == "" {
			return nil, fmt.Errorf("%s is encrypted: want keys.passphrase, the name of a credential", path)
		}
		var pass []byte
		if pass, err = credential(k.Passphrase); err != nil {
			return nil, fmt.Errorf("%s is encrypted: %w", path, err)
		}
		if key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, pass); err != nil {
			err = fmt.Errorf("it is encrypted, and the credential %q does not open it: %w", k.Passphrase, err)
		}
	default:
		return nil, noKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: this kind of key cannot sign", path)
	}
	return signer, nil
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may use this key (mode %04o): chmod 0600 %s", path, mode, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// marshalKey gives the PEM block of a key file, encrypted where there is a passphrase.
func marshalKey(key crypto.Signer, pass []byte) (*pem.Block, error) {
	if pass == nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return &pem.Block{Type: "PRIVATE KEY", Bytes: der}, err
	}
	// scrypt, because a passphrase is easier to guess than a key.
	der, err := pkcs8.MarshalPrivateKey(key, pass, &pkcs8.Opts{Cipher: pkcs8.AES256CBC,
		KDFOpts: pkcs8.ScryptOpts{SaltSize: 16, CostParameter: 1 << 14, BlockSize: 8, ParallelizationParameter: 1}})
	return &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}, err
}

// credential reads a systemd credential without the end of its line; errLocked
// if there is none.
func credential(name string) ([]byte, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, fmt.Errorf("%w: the credential %q is not here (LoadCredentialEncrypted=%s:FILE in milterd.service)", errLocked, name, name)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: the credential %q is not in %s", errLocked, name, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("credential %q: %w", name, err)
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return nil, fmt.Errorf("credential %q: it is empty", name)
	}
	return b, nil
}

// locked stands for a key that cannot be used: its passphrase or PIN is not
// here, or its certificate has expired.
type locked struct {
	public crypto.PublicKey
	why    error
}

func (l locked) Public() crypto.PublicKey { return l.public }

func (l locked) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, l.why }

// Unlocked reports which of the keys cannot be used, because its passphrase or
// PIN is not here, or the certificate of seal or timestamps has expired. A
// command that only looks needs none of them.
func (a *Authority) Unlocked() error {
	for _, id := range []Identity{a.root, a.issuing, a.seal, a.tsa} {
		if l, ok := id.Key.(locked); ok {
			return l.why
		}
	}
	return nil
}
