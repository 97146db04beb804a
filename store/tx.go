package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"milterd/workflow"
)

// tx implements workflow.Tx.
type tx struct {
	ctx    context.Context
	s      *Store
	t      *transaction
	locked map[string]bool // sessions whose row this transaction holds
	empty  string          // a session that this transaction has created, still without events
	broken error           // the first error of the database
}

var _ workflow.Tx = (*tx)(nil)

// fail notes an error of the database. From then on the transaction cannot be
// trusted: PostgreSQL refuses every further statement, and SQLite, which may
// have rolled back by itself (SQLITE_FULL), would run them outside of it.
func (t *tx) fail(doing string, err error) error {
	err = fmt.Errorf("store: %s: %w", doing, err)
	if t.broken == nil {
		t.broken = err
	}
	return err
}

// exec runs a statement and gives the number of rows that it changed.
func (t *tx) exec(doing, query string, args ...any) (int64, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	r, err := t.t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, t.fail(doing, err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, t.fail(doing, err)
	}
	return n, nil
}

// row runs a query for one row; workflow.ErrNotFound if there is none.
func (t *tx) row(doing, query string, args []any, dest ...any) error {
	if t.broken != nil {
		return t.broken
	}
	err := t.t.QueryRowContext(t.ctx, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return workflow.ErrNotFound
	}
	if err != nil {
		return t.fail(doing, err)
	}
	return nil
}

// lock takes a session's row, without its content.
func (t *tx) lock(session string) error {
	if t.locked[session] {
		return nil
	}
	var one int
	if err := t.row("locking session "+session, "SELECT 1 FROM sessions WHERE id = $1"+t.s.engine.forUpdate(),
		[]any{session}, &one); err != nil {
		return err
	}
	t.locked[session] = true
	return nil
}

// Create implements workflow.Tx. The originals must have the digests of the
// documents' first revisions; an id that exists is ErrConflict.
func (t *tx) Create(s *workflow.Session, mail []byte, originals [][]byte) error {
	if len(originals) != len(s.Documents) {
		return fmt.Errorf("store: session %s has %d documents and %d originals", s.ID, len(s.Documents), len(originals))
	}
	for i, b := range originals {
		if d := &s.Documents[i]; len(d.Revisions) != 1 || d.Original().SHA256 != sha256.Sum256(b) || d.Original().Size != int64(len(b)) {
			return fmt.Errorf("store: session %s: original %d is not what its only revision says", s.ID, i)
		}
	}
	s.Version = 1
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("store: session %s: %w", s.ID, err)
	}
	sender := ""
	if p := s.Sender(); p != nil {
		sender = strings.ToLower(p.Mail)
	}
	n, err := t.exec("creating session "+s.ID, `INSERT INTO sessions (id, version, state, created, ended, sender, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`,
		s.ID, s.Version, string(s.State), micros(s.Created), microsOrNull(s.Ended), sender, string(body))
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("store: session %s exists: %w", s.ID, workflow.ErrConflict)
	}
	t.locked[s.ID], t.empty = true, s.ID
	if err := t.savePeople(s); err != nil {
		return err
	}
	if _, err := t.exec("storing the mail of "+s.ID, "INSERT INTO mails (session, data) VALUES ($1, $2)",
		s.ID, notNil(mail)); err != nil {
		return err
	}
	for i, b := range originals {
		if err := t.addContent(s.ID, i, 0, b); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) addContent(session string, document, revision int, data []byte) error {
	_, err := t.exec("storing a revision of "+session, "INSERT INTO contents (session, document, revision, data) VALUES ($1, $2, $3, $4)",
		session, document, revision, notNil(data))
	return err
}

// savePeople keeps the table by which sessions are found in step.
func (t *tx) savePeople(s *workflow.Session) error {
	for i := range s.People {
		if _, err := t.exec("storing the people of "+s.ID, `INSERT INTO people (session, person, mail) VALUES ($1, $2, $3)
			ON CONFLICT (session, person) DO UPDATE SET mail = excluded.mail WHERE people.mail <> excluded.mail`,
			s.ID, i, strings.ToLower(s.People[i].Mail)); err != nil {
			return err
		}
	}
	return nil
}

// Session implements workflow.Tx.
func (t *tx) Session(id string) (*workflow.Session, error) {
	var body string
	if err := t.row("loading session "+id, "SELECT body FROM sessions WHERE id = $1"+t.s.engine.forUpdate(),
		[]any{id}, &body); err != nil {
		return nil, err
	}
	t.locked[id] = true
	return decodeSession(id, body)
}

// Save implements workflow.Tx.
func (t *tx) Save(s *workflow.Session) error {
	next := *s
	next.Version++
	body, err := json.Marshal(&next)
	if err != nil {
		return fmt.Errorf("store: session %s: %w", s.ID, err)
	}
	n, err := t.exec("saving session "+s.ID, `UPDATE sessions SET version = $1, state = $2, created = $3, ended = $4, body = $5
		WHERE id = $6 AND version = $7`,
		next.Version, string(s.State), micros(s.Created), microsOrNull(s.Ended), string(body), s.ID, s.Version)
	if err != nil {
		return err
	}
	if n == 0 {
		if err := t.lock(s.ID); err != nil {
			return err
		}
		return fmt.Errorf("store: session %s: %w", s.ID, workflow.ErrConflict)
	}
	t.locked[s.ID] = true
	if err := t.savePeople(s); err != nil {
		return err
	}
	s.Version = next.Version
	return nil
}

// AddSuffix implements workflow.Tx. A revision that exists is ErrConflict; one
// without the revision before it is an error.
func (t *tx) AddSuffix(session string, document, revision int, suffix []byte) error {
	name := fmt.Sprintf("revision %d of document %d of session %s", revision, document, session)
	if err := t.lock(session); err != nil {
		return fmt.Errorf("store: %s: %w", name, err)
	}
	var have int
	if err := t.row("counting revisions", "SELECT count(*) FROM contents WHERE session = $1 AND document = $2",
		[]any{session, document}, &have); err != nil {
		return err
	}
	switch {
	case revision < 0 || revision > have:
		return fmt.Errorf("store: %s: there are %d revisions before it", name, have)
	case revision < have:
		return fmt.Errorf("store: %s exists: %w", name, workflow.ErrConflict)
	}
	return t.addContent(session, document, revision, suffix)
}

// Append implements workflow.Tx.
func (t *tx) Append(session string, e workflow.Event) error {
	if err := t.lock(session); err != nil {
		return fmt.Errorf("store: audit trail of %s: %w", session, err)
	}
	last, err := t.lastEvent(session)
	if err != nil {
		return err
	}
	seq, body, err := link(session, last, e)
	if err != nil {
		return fmt.Errorf("store: audit trail of %s: %w", session, err)
	}
	_, err = t.exec("writing the audit trail of "+session, "INSERT INTO events (session, seq, body) VALUES ($1, $2, $3)",
		session, seq, body)
	return err
}

// link chains an event to the last one of a trail, which is "" for an empty one.
func link(name, last string, e workflow.Event) (seq int, body string, err error) {
	var prev *workflow.Event
	if last != "" {
		prev = new(workflow.Event)
		if err := json.Unmarshal([]byte(last), prev); err != nil {
			return 0, "", err
		}
	}
	// What JSON cannot carry (bytes that are no UTF-8) is replaced before the
	// hash, not after it.
	plain, err := json.Marshal(e)
	if err != nil {
		return 0, "", err
	}
	e = workflow.Event{}
	if err := json.Unmarshal(plain, &e); err != nil {
		return 0, "", err
	}
	if e, err = e.Chain(name, prev); err != nil {
		return 0, "", err
	}
	b, err := json.Marshal(e)
	return e.Seq, string(b), err
}

// lastEvent is the end of a session's audit trail as it is stored, "" if it has none.
func (t *tx) lastEvent(session string) (body string, err error) {
	if session == t.empty {
		t.empty = "" // after this one it has events
		return "", nil
	}
	err = t.row("reading the audit trail of "+session, "SELECT body FROM events WHERE session = $1 ORDER BY seq DESC LIMIT 1", []any{session}, &body)
	if errors.Is(err, workflow.ErrNotFound) {
		return "", nil
	}
	return body, err
}

// Purge implements workflow.Tx.
func (t *tx) Purge(session string) error {
	if err := t.lock(session); err != nil {
		return fmt.Errorf("store: purging %s: %w", session, err)
	}
	for _, table := range []string{"mails", "contents", "challenges", "ceremonies"} {
		if _, err := t.exec("purging "+session, "DELETE FROM "+table+" WHERE session = $1", session); err != nil {
			return err
		}
	}
	return nil
}

// notNil makes an empty blob of nil, which would be NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func decodeSession(id, body string) (*workflow.Session, error) {
	s := new(workflow.Session)
	if err := json.Unmarshal([]byte(body), s); err != nil {
		return nil, fmt.Errorf("store: session %s: %w", id, err)
	}
	return s, nil
}
