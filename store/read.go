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

// listLimit is the Limit of a Filter that names none.
const listLimit = 100

// read runs fn on one state of the database, without locks.
func (s *Store) read(ctx context.Context, doing string, fn func(context.Context, querier) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	t, err := s.reads.BeginTx(ctx, s.engine.snapshot())
	if err != nil {
		return fmt.Errorf("store: %s: %w", doing, err)
	}
	defer t.Rollback()
	err = fn(ctx, t)
	if errors.Is(err, sql.ErrNoRows) {
		err = workflow.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("store: %s: %w", doing, err)
	}
	return nil
}

// Session implements workflow.Store.
func (s *Store) Session(ctx context.Context, id string) (*workflow.Session, error) {
	var out *workflow.Session
	err := s.read(ctx, "session "+id, func(ctx context.Context, q querier) (err error) {
		out, err = loadSession(ctx, q, id)
		return err
	})
	return out, err
}

func loadSession(ctx context.Context, q querier, id string) (*workflow.Session, error) {
	var body string
	if err := q.QueryRowContext(ctx, "SELECT body FROM sessions WHERE id = $1", id).Scan(&body); err != nil {
		return nil, err
	}
	return decodeSession(id, body)
}

// Content implements workflow.Store. A revision that the session's list does
// not name is ErrNotFound, even if a suffix for it is stored.
func (s *Store) Content(ctx context.Context, session string, document, revision int) ([]byte, error) {
	var out []byte
	doing := fmt.Sprintf("revision %d of document %d of session %s", revision, document, session)
	err := s.read(ctx, doing, func(ctx context.Context, q querier) error {
		sess, err := loadSession(ctx, q, session)
		if err != nil {
			return err
		}
		if !sess.Purged.IsZero() {
			return workflow.ErrGone
		}
		if document < 0 || document >= len(sess.Documents) ||
			revision < 0 || revision >= len(sess.Documents[document].Revisions) {
			return workflow.ErrNotFound
		}
		want := sess.Documents[document].Revisions[revision]
		var parts int
		if out, parts, err = join(ctx, q, session, document, sess.Documents[document].Revisions[:revision+1]); err != nil {
			return err
		}
		if parts == 0 {
			// Purged, though the session does not say so: the mail is gone too.
			var one int
			if err := q.QueryRowContext(ctx, "SELECT 1 FROM mails WHERE session = $1", session).Scan(&one); errors.Is(err, sql.ErrNoRows) {
				return workflow.ErrGone
			}
		}
		if got := workflow.Digest(sha256.Sum256(out)); got != want.SHA256 {
			return fmt.Errorf("the stored bytes have the digest %s, want %s", got, want.SHA256)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// join puts the parts of the last of these revisions together and counts them.
func join(ctx context.Context, q querier, session string, document int, revisions []workflow.Revision) ([]byte, int, error) {
	rows, err := q.QueryContext(ctx, `SELECT revision, data FROM contents WHERE session = $1 AND document = $2 AND revision < $3
		ORDER BY revision`, session, document, len(revisions))
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	largest := int64(0)
	for _, r := range revisions {
		largest = max(largest, r.Size)
	}
	var out []byte
	parts := 0
	for rows.Next() {
		var n int
		var part sql.RawBytes
		if err := rows.Scan(&n, &part); err != nil {
			return nil, 0, err
		}
		if n != parts {
			return nil, 0, fmt.Errorf("revision %d is not stored", parts)
		}
		r := &revisions[n]
		if r.Cut < 0 || r.Cut > int64(len(out)) {
			return nil, 0, fmt.Errorf("revision %d cuts %d bytes off %d", n, r.Cut, len(out))
		}
		out = out[:len(out)-int(r.Cut)]
		if int64(len(out)+len(part)) > r.Size {
			return nil, 0, fmt.Errorf("the stored bytes are more than %d", r.Size)
		}
		if out == nil {
			out = make([]byte, 0, largest)
		}
		out = append(out, part...)
		parts++
	}
	return out, parts, rows.Err()
}

// Events implements workflow.Store.
func (s *Store) Events(ctx context.Context, session string) ([]workflow.Event, error) {
	var out []workflow.Event
	err := s.read(ctx, "audit trail of "+session, func(ctx context.Context, q querier) error {
		var one int
		if err := q.QueryRowContext(ctx, "SELECT 1 FROM sessions WHERE id = $1", session).Scan(&one); err != nil {
			return err
		}
		var err error
		if out, err = bodies[workflow.Event](ctx, q, "SELECT body FROM events WHERE session = $1 ORDER BY seq", session); err != nil {
			return err
		}
		return workflow.CheckChain(session, out)
	})
	return out, err
}

// List implements workflow.Store.
func (s *Store) List(ctx context.Context, f workflow.Filter) ([]*workflow.Session, error) {
	var where []string
	var args []any
	// arg adds an argument and gives its placeholder.
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	if f.State != "" {
		where = append(where, "state = "+arg(string(f.State)))
	}
	if f.Person != "" {
		where = append(where, "id IN (SELECT session FROM people WHERE mail = "+arg(strings.ToLower(f.Person))+")")
	}
	if !f.Before.IsZero() {
		where = append(where, "ended < "+arg(micros(f.Before)))
	}
	if f.Limit == 0 {
		f.Limit = listLimit
	}
	query := "SELECT id, body FROM sessions"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY created DESC, id DESC LIMIT " + arg(f.Limit)

	var out []*workflow.Session
	err := s.read(ctx, "list of sessions", func(ctx context.Context, q querier) error {
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, body string
			if err := rows.Scan(&id, &body); err != nil {
				return err
			}
			one, err := decodeSession(id, body)
			if err != nil {
				return err
			}
			out = append(out, one)
		}
		return rows.Err()
	})
	return out, err
}

// Counts says how many sessions are in each state; a state without any is missing.
func (s *Store) Counts(ctx context.Context) (map[workflow.State]int, error) {
	out := make(map[workflow.State]int)
	err := s.read(ctx, "counting sessions", func(ctx context.Context, q querier) error {
		rows, err := q.QueryContext(ctx, "SELECT state, count(*) FROM sessions GROUP BY state")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var state workflow.State
			var n int
			if err := rows.Scan(&state, &n); err != nil {
				return err
			}
			out[state] = n
		}
		return rows.Err()
	})
	return out, err
}

// Participant implements workflow.Store.
func (s *Store) Participant(ctx context.Context, tokenHash []byte) (session string, person int, err error) {
	err = s.read(ctx, "link", func(ctx context.Context, q querier) error {
		return q.QueryRowContext(ctx, "SELECT session, person FROM tokens WHERE hash = $1", notNil(tokenHash)).
			Scan(&session, &person)
	})
	return session, person, err
}

// Device implements workflow.Store. It gives devices that have expired, too.
func (s *Store) Device(ctx context.Context, hash []byte) (*workflow.Device, error) {
	d := &workflow.Device{Hash: hash}
	err := s.read(ctx, "device", func(ctx context.Context, q querier) error {
		var body string
		if err := q.QueryRowContext(ctx, "SELECT body FROM devices WHERE hash = $1", notNil(hash)).Scan(&body); err != nil {
			return err
		}
		return json.Unmarshal([]byte(body), d)
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}
