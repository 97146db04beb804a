package pki

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Times of a CRL.
const (
	crlLifetime = 7 * 24 * time.Hour // thisUpdate to nextUpdate
	crlRefresh  = time.Hour          // a published CRL is made anew after this
	maxAhead    = 15 * time.Second   // how far a timestamp may be ahead of our clock
)

// stateFile remembers across restarts what must only grow.
const stateFile = "state.json"

type state struct {
	CRLNumber int64     `json:"crl_number"` // the highest one used, by either authority
	LastToken time.Time `json:"last_token"` // time in the newest token of the embedded authority
}

// crl is the newest list of one authority.
type crl struct {
	der  []byte
	this time.Time
}

func (a *Authority) loadState() error {
	b, err := os.ReadFile(filepath.Join(a.dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &a.state); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(a.dir, stateFile), err)
	}
	return nil
}

// saveState replaces the file and syncs it. The caller holds the lock.
func (a *Authority) saveState(s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(a.dir, stateFile+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(a.dir, stateFile)); err != nil {
		return err
	}
	if err := syncDir(a.dir); err != nil {
		return err
	}
	a.state = s
	return nil
}

// CRLs gives the lists of the root and the issuing CA in DER, both with a
// thisUpdate later than after. CRLs count in whole seconds and a validator
// wants revocation data issued after the signature's time (EN 319 102-1,
// 5.2.5.4), so it waits out the second when it must. A time that is far ahead
// of our clock is an error: nothing honest could be issued after it.
func (a *Authority) CRLs(ctx context.Context, after time.Time) ([][]byte, error) {
	// A loop, because a timer may fire a moment before the wall clock agrees.
	for {
		wait := after.Truncate(time.Second).Add(time.Second).Sub(a.now())
		if wait > maxAhead {
			return nil, fmt.Errorf("revocation list: the timestamp of %s is %s ahead of our clock", after.UTC().Format(time.RFC3339), wait.Round(time.Second))
		}
		if wait <= 0 {
			break
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("revocation list: %w", ctx.Err())
		case <-t.C:
		}
	}
	var out [][]byte
	for _, name := range []string{rootName, issuingName} {
		c, err := a.crl(name, func(c *crl) bool { return c.this.After(after) })
		if err != nil {
			return nil, err
		}
		out = append(out, c.der)
	}
	return out, nil
}

// crl gives the newest list of one authority if it is good enough, else a new one.
func (a *Authority) crl(name string, good func(*crl) bool) (*crl, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.crls[name]; c != nil && good(c) {
		return c, nil
	}
	by := a.root
	if name == issuingName {
		by = a.issuing
	}
	now := a.now().UTC()
	// The number grows with the clock, and by one where that stands still or
	// went back. It is on disk before the list exists: RFC 5280, 5.2.3.
	s := a.state
	s.CRLNumber = max(s.CRLNumber+1, now.UnixMilli())
	if err := a.saveState(s); err != nil {
		return nil, fmt.Errorf("numbering the revocation list: %w", err)
	}
	this := now.Truncate(time.Second)
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(s.CRLNumber), ThisUpdate: this, NextUpdate: this.Add(crlLifetime),
	}, by.Leaf(), by.Key)
	if err != nil {
		return nil, fmt.Errorf("signing the revocation list: %w", err)
	}
	c := &crl{der: der, this: this}
	a.crls[name] = c
	return c, nil
}
