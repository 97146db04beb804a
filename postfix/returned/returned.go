// Package returned keeps the mails that milterd postfix check sends to itself:
// they go out by the relay, come back to check+TAG of the sign domain through
// either door, and the doctor reads what became of them on their way.
//
// Limits: a tag is made with a key of the organisation and holds for a quarter
// of an hour, so strangers can store nothing. A mail is kept once, cut at
// 64 KiB, in a file that its reader or the next mail removes.
//
// Reference: docs/check.md.
package returned

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// LocalPart is the reserved name before the +.
	LocalPart = "check"

	lifetime = 15 * time.Minute
	maxMail  = 64 << 10
	maxKept  = 8

	stampSize, nonceSize, macSize = 4, 6, 10
)

// Box is a folder for mails that came back. It is safe for concurrent use, by
// several processes too.
type Box struct {
	dir string
	key []byte
	now func() time.Time
}

// New gives the box of a data folder. master is the organisation's master key;
// what is derived from it serves here only.
func New(data string, master []byte) (*Box, error) {
	if len(master) < 32 {
		return nil, fmt.Errorf("box for check mails: a master key of %d bytes, want 32", len(master))
	}
	key, err := hkdf.Key(sha256.New, master, nil, "milterd check mail", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("box for check mails: %w", err)
	}
	return &Box{dir: filepath.Join(data, "check"), key: key, now: time.Now}, nil
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding) // 20 bytes are 32 letters

// Tag makes the part between check+ and the @.
func (b *Box) Tag() string {
	tag := make([]byte, stampSize+nonceSize)
	binary.BigEndian.PutUint32(tag, uint32(b.now().Unix()))
	rand.Read(tag[stampSize:]) // never fails (crypto/rand)
	return strings.ToLower(encoding.EncodeToString(append(tag, b.mac(tag)...)))
}

func (b *Box) mac(stamped []byte) []byte {
	h := hmac.New(sha256.New, b.key)
	h.Write(stamped)
	return h.Sum(nil)[:macSize]
}

// Known reports that a tag is ours and young enough. Its case is free.
func (b *Box) Known(tag string) bool {
	raw, err := encoding.DecodeString(strings.ToUpper(tag))
	if err != nil || len(raw) != stampSize+nonceSize+macSize {
		return false
	}
	stamped, mac := raw[:stampSize+nonceSize], raw[stampSize+nonceSize:]
	age := b.now().Sub(time.Unix(int64(binary.BigEndian.Uint32(stamped)), 0))
	return hmac.Equal(mac, b.mac(stamped)) && age >= -time.Minute && age <= lifetime
}

func (b *Box) file(tag string) string { return filepath.Join(b.dir, strings.ToLower(tag)+".eml") }

// Keep stores what came back under a tag, once. The caller need not have asked
// Known.
func (b *Box) Keep(tag string, raw []byte) error {
	if !b.Known(tag) {
		return errors.New("check mail: its tag is not of ours or too old")
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return fmt.Errorf("check mail: %w", err)
	}
	kept, err := b.sweep()
	if err != nil {
		return fmt.Errorf("check mail: %w", err)
	}
	if kept >= maxKept {
		return fmt.Errorf("check mail: %d are kept already", kept)
	}
	// Whole or not there at all, for the one who waits for it.
	f, err := os.CreateTemp(b.dir, ".mail-") // 0600
	if err != nil {
		return fmt.Errorf("check mail: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw[:min(len(raw), maxMail)])
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("check mail: %w", err)
	}
	if err := os.Link(f.Name(), b.file(tag)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("check mail: %w", err)
	}
	return nil
}

// sweep removes what nobody fetched, and counts the rest.
func (b *Box) sweep() (kept int, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if b.now().Sub(info.ModTime()) > lifetime {
			if err := os.Remove(filepath.Join(b.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			continue
		}
		kept++
	}
	return kept, nil
}

// Take gives the mail that came back under a tag, and removes it. Not yet
// there: fs.ErrNotExist.
func (b *Box) Take(tag string) ([]byte, error) {
	raw, err := os.ReadFile(b.file(tag))
	if err != nil {
		return nil, err
	}
	return raw, os.Remove(b.file(tag))
}
