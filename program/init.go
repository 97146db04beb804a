package program

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"milterd/config"
	"milterd/pki"
)

// masterSize is the length of the master key, in bytes.
const masterSize = 32

// Init makes the data folder, the master key and the keys with their
// certificates. What is there already stays as it is. made names what is new.
// The sample itself is ErrSample.
func Init(c *config.Config, key pki.KeyType) (made []string, err error) {
	if isSample(c) {
		return nil, ErrSample
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	switch err := writeMaster(masterFile(c)); {
	case err == nil:
		made = append(made, masterFile(c))
	case !errors.Is(err, fs.ErrExist):
		return made, err
	}
	err = pki.Init(keysDir(c), pki.Options{Organisation: c.Organisation.Name, Country: c.Organisation.Country,
		VAT: c.Organisation.VAT, URL: c.URL, Key: key, Keys: whereKeys(c)})
	switch {
	case err == nil:
		made = append(made, keysDir(c))
	case !errors.Is(err, pki.ErrExists):
		return made, fmt.Errorf("keys: %w", err)
	}
	return made, nil
}

// writeMaster makes the key from which links and codes are derived, 0600 and
// on the disk before it returns. An existing one is fs.ErrExist.
func writeMaster(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	var key [masterSize]byte
	rand.Read(key[:])                                       // never fails (crypto/rand)
	f, err := os.CreateTemp(filepath.Dir(path), ".master-") // 0600
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(key[:])
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	// A link, unlike a rename, never takes the place of a file.
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	defer dir.Close()
	return dir.Sync()
}

// readMaster refuses a key that others can read.
func readMaster(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w (milterd init makes it)", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key: others can read %s (mode %04o), want: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if len(key) != masterSize {
		return nil, fmt.Errorf("master key: %s has %d bytes, want %d", path, len(key), masterSize)
	}
	return key, nil
}
