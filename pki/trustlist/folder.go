package trustlist

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	stateFile = "state.json"
	maxState  = 1 << 20
)

// folder is the lists on disk. What state.json remembers is not trusted for
// anything but to refuse: the files are verified at each start.
type folder struct {
	path    string
	seenNow map[string]mark
	changed bool
}

// mark is the newest list of a territory that was ever verified, and how it came.
type mark struct {
	Sequence int64     `json:"sequence"`
	Issued   time.Time `json:"issued"`
	SHA256   string    `json:"sha256"`
	From     string    `json:"from,omitempty"` // address; ETag and Modified belong to it
	ETag     string    `json:"etag,omitempty"`
	Modified string    `json:"modified,omitempty"` // Last-Modified, as the server wrote it
}

func openFolder(path string) (*folder, error) {
	f := &folder{path: path, seenNow: map[string]mark{}}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder", path)
	}
	raw, err := readFile(filepath.Join(path, stateFile), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &f.seenNow)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which keeps old lists from coming back: %w", filepath.Join(path, stateFile), err)
	}
	if f.seenNow == nil { // null
		f.seenNow = map[string]mark{}
	}
	return f, nil
}

func (f *folder) file(territory string) string { return filepath.Join(f.path, territory+".xml") }

// read gives a list's bytes.
func (f *folder) read(territory string) ([]byte, *Error) {
	raw, err := readFile(f.file(territory), maxList)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{ListMissing, territory, fmt.Errorf("there is no %s", f.file(territory))}
	case err != nil:
		return nil, &Error{ListMalformed, territory, err}
	}
	return raw, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, limit)
}

func readAll(r io.Reader, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return raw, err
}

// checkOrder refuses a list that is older than one that was seen: somebody who can
// write the folder, or answer for the server, would bring a withdrawn service back.
func (f *folder) checkOrder(l *list) error {
	m, ok := f.seenNow[l.territory]
	switch {
	case !ok:
		return nil
	case l.sequence < m.Sequence:
		return fmt.Errorf("number %d, after number %d was seen", l.sequence, m.Sequence)
	case l.issued.Before(m.Issued):
		return fmt.Errorf("issued on %s, after one of %s was seen", l.issued.Format(time.RFC3339), m.Issued.Format(time.RFC3339))
	}
	return nil
}

// seen remembers a list that counts.
func (f *folder) seen(l *list) {
	m := f.seenNow[l.territory]
	if m.SHA256 == l.sum && m.Sequence == l.sequence {
		return
	}
	f.seenNow[l.territory] = mark{Sequence: l.sequence, Issued: l.issued, SHA256: l.sum}
	f.changed = true
}

// from remembers where a territory's list came from.
func (f *folder) from(territory, url, etag, modified string) {
	m := f.seenNow[territory]
	m.From, m.ETag, m.Modified = url, etag, modified
	f.seenNow[territory], f.changed = m, true
}

// put writes a list's file.
func (f *folder) put(territory string, raw []byte) error { return replace(f.file(territory), raw) }

// save writes the state, if it has changed.
func (f *folder) save() error {
	if !f.changed {
		return nil
	}
	raw, err := json.MarshalIndent(f.seenNow, "", "\t")
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(f.path, stateFile), append(raw, '\n')); err != nil {
		return err
	}
	f.changed = false
	return nil
}

// replace puts a file in the place of another one, whole or not at all.
func replace(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails after the rename
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return err
}
