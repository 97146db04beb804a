package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"milterd/workflow"
)

// Credential implements workflow.Tx.
func (t *tx) Credential(id string) (*workflow.Credential, error) {
	var body string
	if err := t.row("loading a credential", "SELECT body FROM credentials WHERE id = $1"+t.s.engine.forUpdate(),
		[]any{id}, &body); err != nil {
		return nil, err
	}
	c := new(workflow.Credential)
	if err := json.Unmarshal([]byte(body), c); err != nil {
		return nil, fmt.Errorf("store: credential: %w", err)
	}
	return c, nil
}

// SaveCredential implements workflow.Tx.
func (t *tx) SaveCredential(c *workflow.Credential) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: credential: %w", err)
	}
	n, err := t.exec("saving a credential", `INSERT INTO credentials (id, mail, enrolled, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET enrolled = excluded.enrolled, body = excluded.body
		WHERE credentials.mail = excluded.mail`,
		c.ID, strings.ToLower(c.Mail), micros(c.Enrolled), string(body))
	if err == nil && n == 0 {
		return fmt.Errorf("store: somebody else's credential: %w", workflow.ErrConflict)
	}
	return err
}

// CredentialsOf implements workflow.Tx.
func (t *tx) CredentialsOf(mail string) ([]*workflow.Credential, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	mail = strings.ToLower(mail)
	if err := t.s.engine.lockName(t.ctx, t.t, "credentials "+mail); err != nil {
		return nil, t.fail("locking an address", err)
	}
	out, err := bodies[*workflow.Credential](t.ctx, t.t, "SELECT body FROM credentials WHERE mail = $1 ORDER BY enrolled, id"+
		t.s.engine.forUpdate(), mail)
	if err != nil {
		return nil, t.fail("loading credentials", err)
	}
	return out, nil
}

// Ceremony implements workflow.Tx. Of two transactions that end it, the second
// finds nothing.
func (t *tx) Ceremony(id string, now time.Time) (*workflow.Ceremony, error) {
	var body string
	var data []byte
	if err := t.row("loading a ceremony", "SELECT body, data FROM ceremonies WHERE id = $1 AND expires > $2"+t.s.engine.forUpdate(),
		[]any{id, micros(now)}, &body, &data); err != nil {
		return nil, err
	}
	return decodeCeremony(body, data)
}

// SaveCeremony implements workflow.Tx.
func (t *tx) SaveCeremony(c *workflow.Ceremony) error {
	rest := *c
	rest.Data = nil
	body, err := json.Marshal(&rest)
	if err != nil {
		return fmt.Errorf("store: ceremony: %w", err)
	}
	_, err = t.exec("saving a ceremony", `INSERT INTO ceremonies (id, kind, session, mail, created, expires, body, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind,
		session = excluded.session, mail = excluded.mail, created = excluded.created,
		expires = excluded.expires, body = excluded.body, data = excluded.data`,
		c.ID, c.Kind, c.Session, strings.ToLower(c.Mail), micros(c.Created), micros(c.Expires), string(body), notNil(c.Data))
	return err
}

// EndCeremony implements workflow.Tx.
func (t *tx) EndCeremony(id string) error {
	_, err := t.exec("ending a ceremony", "DELETE FROM ceremonies WHERE id = $1", id)
	return err
}

// CeremoniesSince implements workflow.Tx. Those that have expired count until
// Sweep drops them; those that were ended do not.
func (t *tx) CeremoniesSince(mail, kind string, since time.Time) (int, error) {
	if t.broken != nil {
		return 0, t.broken
	}
	mail = strings.ToLower(mail)
	if err := t.s.engine.lockName(t.ctx, t.t, "ceremonies "+kind+" "+mail); err != nil {
		return 0, t.fail("locking an address", err)
	}
	var n int
	err := t.row("counting ceremonies", "SELECT count(*) FROM ceremonies WHERE mail = $1 AND kind = $2 AND created >= $3",
		[]any{mail, kind, micros(since)}, &n)
	return n, err
}

// Credentials implements workflow.Store.
func (s *Store) Credentials(ctx context.Context, mail string) ([]*workflow.Credential, error) {
	query, args := "SELECT body FROM credentials", []any{}
	if mail != "" {
		query, args = query+" WHERE mail = $1", append(args, strings.ToLower(mail))
	}
	var out []*workflow.Credential
	err := s.read(ctx, "credentials", func(ctx context.Context, q querier) (err error) {
		out, err = bodies[*workflow.Credential](ctx, q, query+" ORDER BY enrolled, id", args...)
		return err
	})
	return out, err
}

// Ceremony implements workflow.Store.
func (s *Store) Ceremony(ctx context.Context, id string, now time.Time) (*workflow.Ceremony, error) {
	var out *workflow.Ceremony
	err := s.read(ctx, "ceremony", func(ctx context.Context, q querier) error {
		var body string
		var data []byte
		err := q.QueryRowContext(ctx, "SELECT body, data FROM ceremonies WHERE id = $1 AND expires > $2", id, micros(now)).Scan(&body, &data)
		if err != nil {
			return err
		}
		out, err = decodeCeremony(body, data)
		return err
	})
	return out, err
}

// Ceremonies implements workflow.Store.
func (s *Store) Ceremonies(ctx context.Context, kind string, now time.Time) ([]*workflow.Ceremony, error) {
	var out []*workflow.Ceremony
	err := s.read(ctx, "ceremonies", func(ctx context.Context, q querier) error {
		rows, err := q.QueryContext(ctx, "SELECT body, data FROM ceremonies WHERE kind = $1 AND expires > $2 ORDER BY created, id",
			kind, micros(now))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var body string
			var data []byte
			if err := rows.Scan(&body, &data); err != nil {
				return err
			}
			c, err := decodeCeremony(body, data)
			if err != nil {
				return err
			}
			out = append(out, c)
		}
		return rows.Err()
	})
	return out, err
}

func decodeCeremony(body string, data []byte) (*workflow.Ceremony, error) {
	c := new(workflow.Ceremony)
	if err := json.Unmarshal([]byte(body), c); err != nil {
		return nil, fmt.Errorf("store: ceremony: %w", err)
	}
	c.Data = data
	return c, nil
}

// bodies reads a column of JSON.
func bodies[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
