package store

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"milterd/workflow"
)

// keepChallenges is how long a challenge counts towards the limits of its
// address. It is well above their hour.
const keepChallenges = 24 * time.Hour

// Seen implements workflow.Tx. Another transaction with the same key waits, so
// that of two equal mails at once the second finds what the first has opened.
func (t *tx) Seen(key [32]byte, now time.Time) (string, bool, error) {
	if t.broken != nil {
		return "", false, t.broken
	}
	if err := t.s.engine.lockName(t.ctx, t.t, "request "+hex.EncodeToString(key[:])); err != nil {
		return "", false, t.fail("locking a request key", err)
	}
	var session string
	var until int64
	err := t.row("looking up a request key", "SELECT session, until FROM requests WHERE key = $1", []any{key[:]}, &session, &until)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		return "", false, nil
	case err == nil && until <= micros(now): // its place is wanted
		_, err = t.exec("removing an old request key", "DELETE FROM requests WHERE key = $1", key[:])
		return "", false, err
	}
	return session, err == nil, err
}

// Remember implements workflow.Tx. A key that is remembered for another
// session is ErrConflict.
func (t *tx) Remember(key [32]byte, session string, until time.Time) error {
	n, err := t.exec("remembering a request key", `INSERT INTO requests (key, session, until) VALUES ($1, $2, $3)
		ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE requests.session = excluded.session`,
		key[:], session, micros(until))
	if err == nil && n == 0 {
		return fmt.Errorf("store: request key: %w", workflow.ErrConflict)
	}
	return err
}

// OpenedSince implements workflow.Tx. Another transaction that counts for the
// same sender waits, so that no two at once pass a limit.
func (t *tx) OpenedSince(mail string, since time.Time) (int, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	mail = strings.ToLower(mail)
	if err := t.s.engine.lockName(t.ctx, t.t, "sender "+mail); err != nil {
		return 0, t.fail("locking a sender", err)
	}
	var n int
	err := t.row("counting sessions", "SELECT count(*) FROM sessions WHERE sender = $1 AND created >= $2",
		[]any{mail, micros(since)}, &n)
	return n, err
}

// AddToken implements workflow.Tx. Adding it once more changes nothing.
func (t *tx) AddToken(hash []byte, session string, person int) error {
	_, err := t.exec("adding a link", `INSERT INTO tokens (hash, session, person) VALUES ($1, $2, $3)
		ON CONFLICT (hash) DO NOTHING`, notNil(hash), session, person)
	return err
}

// Challenge implements workflow.Tx. It locks the challenge, so that no wrong
// answer goes uncounted.
func (t *tx) Challenge(session string, person int) (*workflow.Challenge, error) {
	var body string
	if err := t.row("loading a challenge", `SELECT body FROM challenges WHERE session = $1 AND person = $2
		ORDER BY issued DESC, id DESC LIMIT 1`+t.s.engine.forUpdate(), []any{session, person}, &body); err != nil {
		return nil, err
	}
	c := new(workflow.Challenge)
	if err := json.Unmarshal([]byte(body), c); err != nil {
		return nil, fmt.Errorf("store: challenge: %w", err)
	}
	return c, nil
}

// SaveChallenge implements workflow.Tx.
func (t *tx) SaveChallenge(c *workflow.Challenge) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: challenge: %w", err)
	}
	_, err = t.exec("saving a challenge", `INSERT INTO challenges (id, session, person, mail, issued, body)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET session = excluded.session,
		person = excluded.person, mail = excluded.mail, issued = excluded.issued, body = excluded.body`,
		c.ID, c.Session, c.Person, strings.ToLower(c.Mail), micros(c.Issued), string(body))
	return err
}

// ChallengesSince implements workflow.Tx. Another transaction that counts for
// the same address waits, so that no two at once pass a limit.
func (t *tx) ChallengesSince(mail string, since time.Time) ([]*workflow.Challenge, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	mail = strings.ToLower(mail)
	if err := t.s.engine.lockName(t.ctx, t.t, "challenges "+mail); err != nil {
		return nil, t.fail("locking an address", err)
	}
	rows, err := t.t.QueryContext(t.ctx, "SELECT body FROM challenges WHERE mail = $1 AND issued >= $2", mail, micros(since))
	if err != nil {
		return nil, t.fail("listing challenges", err)
	}
	defer rows.Close()
	var out []*workflow.Challenge
	for rows.Next() {
		var body string
		c := new(workflow.Challenge)
		if err := rows.Scan(&body); err != nil {
			return nil, t.fail("listing challenges", err)
		}
		if err := json.Unmarshal([]byte(body), c); err != nil {
			return nil, fmt.Errorf("store: challenge: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, t.fail("listing challenges", err)
	}
	return out, nil
}

// AddDevice implements workflow.Tx. A device with the same hash is replaced.
func (t *tx) AddDevice(d *workflow.Device) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("store: device: %w", err)
	}
	_, err = t.exec("adding a device", `INSERT INTO devices (hash, mail, expires, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (hash) DO UPDATE SET mail = excluded.mail, expires = excluded.expires, body = excluded.body`,
		notNil(d.Hash), strings.ToLower(d.Mail), micros(d.Expires), string(body))
	return err
}

// RemoveDevices implements workflow.Tx.
func (t *tx) RemoveDevices(mail string) error {
	_, err := t.exec("removing devices", "DELETE FROM devices WHERE mail = $1", strings.ToLower(mail))
	return err
}

// Sweep implements workflow.Tx. Challenges go a day after they were issued.
func (t *tx) Sweep(now time.Time) error {
	for _, s := range []struct {
		query string
		at    time.Time
	}{
		{"DELETE FROM requests WHERE until <= $1", now},
		{"DELETE FROM challenges WHERE issued <= $1", now.Add(-keepChallenges)},
		{"DELETE FROM devices WHERE expires <= $1", now},
		{"DELETE FROM ceremonies WHERE expires <= $1", now},
	} {
		if _, err := t.exec("sweeping", s.query, micros(s.at)); err != nil {
			return err
		}
	}
	return nil
}
