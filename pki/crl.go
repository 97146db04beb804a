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
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// CRLDelay is how long a published CRL does without asking the register again:
// how far it lags a revocation at most.
const CRLDelay = 2 * time.Second

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
	der     []byte
	this    time.Time
	checked time.Time    // when the register last said the same
	entries []revocation // by serial number
}

// revocation is an entry of a list.
type revocation struct {
	serial string
	at     time.Time
	reason int // RFC 5280, 5.3.1
}

// find gives the entry about a certificate; nil if it is not listed.
func (c *crl) find(serial string) *revocation {
	i, ok := slices.BinarySearchFunc(c.entries, serial, func(r revocation, s string) int { return strings.Compare(r.serial, s) })
	if !ok {
		return nil
	}
	return &c.entries[i]
}

// loadState reads what is remembered. The caller holds the lock, or is alone.
func (a *Authority) loadState() error {
	path := filepath.Join(a.dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// Another process may have written, and what must grow only grows.
	a.state.CRLNumber = max(a.state.CRLNumber, s.CRLNumber)
	if s.LastToken.After(a.state.LastToken) {
		a.state.LastToken = s.LastToken
	}
	return nil
}

// saveState replaces the file and syncs it. The caller holds the lock.
func (a *Authority) saveState(s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(a.dir, stateFile), append(b, '\n'), 0o600); err != nil {
		return err
	}
	a.state = s
	return nil
}

// replaceFile puts a file in the place of another, whole and synced.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// CRLs gives the lists of the organisation's own authorities in DER, the root's
// first, all with a thisUpdate later than after. CRLs count in whole seconds and a
// validator wants revocation data issued after the signature's time (EN 319 102-1,
// 5.2.5.4), so it waits out the second when it must. A time that is far ahead
// of our clock is an error: nothing honest could be issued after it.
func (a *Authority) CRLs(ctx context.Context, after time.Time) ([][]byte, error) {
	var out [][]byte
	for _, id := range a.authorities() {
		c, err := a.freshCRL(ctx, id, after)
		if err != nil {
			return nil, err
		}
		out = append(out, c.der)
	}
	return out, nil
}

// freshCRL gives one authority's list as it stands now.
func (a *Authority) freshCRL(ctx context.Context, by *Identity, after time.Time) (*crl, error) {
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
	return a.crl(ctx, by, 0, func(c *crl) bool { return c.this.After(after) })
}

// crl gives the newest list of one authority if it is good enough and says what
// the register says, else a new one. Another process may revoke, so the register
// is asked again when its answer is older than trust.
func (a *Authority) crl(ctx context.Context, by *Identity, trust time.Duration, good func(*crl) bool) (*crl, error) {
	// The time comes first: what is revoked after it need not be listed.
	now := a.now().UTC()
	name := string(by.Leaf().Raw)
	a.mu.Lock()
	c := a.crls[name]
	a.mu.Unlock()
	if c != nil && good(c) && now.Sub(c.checked) < trust {
		return c, nil
	}
	entries, err := a.revoked(ctx, by, now)
	if err != nil {
		return nil, fmt.Errorf("revocation list: register: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.crls[name]; c != nil && good(c) && slices.Equal(c.entries, entries) {
		// A new value: others may be reading the old one.
		c = &crl{der: c.der, this: c.this, entries: c.entries, checked: now}
		a.crls[name] = c
		return c, nil
	}
	// The number grows with the clock, and by one where that stands still or
	// went back. It is on disk before the list exists: RFC 5280, 5.2.3.
	if err := a.loadState(); err != nil {
		return nil, fmt.Errorf("numbering the revocation list: %w", err)
	}
	s := a.state
	s.CRLNumber = max(s.CRLNumber+1, now.UnixMilli())
	if err := a.saveState(s); err != nil {
		return nil, fmt.Errorf("numbering the revocation list: %w", err)
	}
	this := now.Truncate(time.Second)
	list := &x509.RevocationList{Number: big.NewInt(s.CRLNumber), ThisUpdate: this, NextUpdate: this.Add(crlLifetime)}
	for _, r := range entries {
		serial, ok := new(big.Int).SetString(r.serial, 16)
		if !ok {
			return nil, fmt.Errorf("revocation list: the register has the number %q", r.serial)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: r.at, ReasonCode: r.reason})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, by.Leaf(), by.Key)
	if err != nil {
		return nil, fmt.Errorf("signing the revocation list: %w", err)
	}
	c = &crl{der: der, this: this, checked: now, entries: entries}
	a.crls[name] = c
	return c, nil
}

// revoked asks the register what an authority's list must hold. An expired
// certificate stays on it for one list's lifetime (RFC 5280, 3.3); then signatures
// that were made with it live from the lists in their documents, and every new
// one stays small.
func (a *Authority) revoked(ctx context.Context, by *Identity, now time.Time) ([]revocation, error) {
	if a.register == nil {
		return nil, nil
	}
	all, err := a.register.Certificates(ctx, workflow.CertificateFilter{Revoked: true, ValidAfter: now.Add(-crlLifetime)})
	if err != nil {
		return nil, err
	}
	var out []revocation
	for _, c := range all {
		if a.signedBy(c, by) {
			out = append(out, revocation{serial: c.Serial, at: c.Revoked.UTC().Truncate(time.Second), reason: c.Reason})
		}
	}
	slices.SortFunc(out, func(x, y revocation) int { return strings.Compare(x.serial, y.serial) })
	return out, nil
}

// signedBy tells whose an entry of the register is: people's certificates are the
// issuing CA's, those of the authority itself say it themselves.
func (a *Authority) signedBy(c *workflow.Certificate, by *Identity) bool {
	if len(c.DER) == 0 || c.Mail != "" && len(a.former) == 0 {
		return by == &a.issuing
	}
	made, err := x509.ParseCertificate(c.DER)
	return err == nil && a.issuer(made) == by
}
