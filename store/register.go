package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"milterd/workflow"
)

// Certificate implements workflow.Tx.
func (t *tx) Certificate(serial string) (*workflow.Certificate, error) {
	var body string
	if err := t.row("loading certificate "+serial, "SELECT body FROM certificates WHERE serial = $1"+t.s.engine.forUpdate(),
		[]any{serial}, &body); err != nil {
		return nil, err
	}
	c := new(workflow.Certificate)
	if err := json.Unmarshal([]byte(body), c); err != nil {
		return nil, fmt.Errorf("store: certificate %s: %w", serial, err)
	}
	return c, nil
}

// CertificatesOf implements workflow.Tx.
func (t *tx) CertificatesOf(credential string) ([]*workflow.Certificate, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	out, err := bodies[*workflow.Certificate](t.ctx, t.t, "SELECT body FROM certificates WHERE credential = $1 ORDER BY not_before, serial"+
		t.s.engine.forUpdate(), credential)
	if err != nil {
		return nil, t.fail("loading the certificates of a credential", err)
	}
	return out, nil
}

// SaveCertificate implements workflow.Tx.
func (t *tx) SaveCertificate(c *workflow.Certificate) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("store: certificate %s: %w", c.Serial, err)
	}
	_, err = t.exec("saving certificate "+c.Serial, `INSERT INTO certificates (serial, mail, credential, key, not_before, not_after, revoked, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (serial) DO UPDATE SET mail = excluded.mail,
		credential = excluded.credential, key = excluded.key, not_before = excluded.not_before,
		not_after = excluded.not_after, revoked = excluded.revoked, body = excluded.body`,
		c.Serial, strings.ToLower(c.Mail), c.Credential, c.Key[:], micros(c.NotBefore), micros(c.NotAfter), microsOrNull(c.Revoked), string(body))
	return err
}

// AppendLog implements workflow.Tx. Another transaction that appends waits.
func (t *tx) AppendLog(e workflow.Event) error {
	if t.broken != nil {
		return t.broken
	}
	if err := t.s.engine.lockName(t.ctx, t.t, "log of the authority"); err != nil {
		return t.fail("locking the authority's log", err)
	}
	var last string
	err := t.row("reading the authority's log", "SELECT body FROM authority ORDER BY seq DESC LIMIT 1", nil, &last)
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return err
	}
	seq, body, err := link(workflow.LogName, last, e)
	if err != nil {
		return fmt.Errorf("store: the authority's log: %w", err)
	}
	_, err = t.exec("writing the authority's log", "INSERT INTO authority (seq, body) VALUES ($1, $2)", seq, body)
	return err
}

// Certificate implements workflow.Store.
func (s *Store) Certificate(ctx context.Context, serial string) (*workflow.Certificate, error) {
	out := new(workflow.Certificate)
	err := s.read(ctx, "certificate "+serial, func(ctx context.Context, q querier) error {
		var body string
		if err := q.QueryRowContext(ctx, "SELECT body FROM certificates WHERE serial = $1", serial).Scan(&body); err != nil {
			return err
		}
		return json.Unmarshal([]byte(body), out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Certificates implements workflow.Store.
func (s *Store) Certificates(ctx context.Context, f workflow.CertificateFilter) ([]*workflow.Certificate, error) {
	var where []string
	var args []any
	equal := func(column string, v any) {
		args = append(args, v)
		where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
	}
	if f.Mail != "" {
		equal("mail", strings.ToLower(f.Mail))
	}
	if f.Credential != "" {
		equal("credential", f.Credential)
	}
	if f.Key != (workflow.Digest{}) {
		equal("key", f.Key[:])
	}
	if f.Revoked {
		where = append(where, "revoked IS NOT NULL")
	}
	if !f.ValidAfter.IsZero() {
		args = append(args, micros(f.ValidAfter))
		where = append(where, fmt.Sprintf("not_after > $%d", len(args)))
	}
	query := "SELECT body FROM certificates"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY not_before DESC, serial"
	if f.Limit > 0 {
		args = append(args, f.Limit)
		query += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	var out []*workflow.Certificate
	err := s.read(ctx, "certificates", func(ctx context.Context, q querier) (err error) {
		out, err = bodies[*workflow.Certificate](ctx, q, query, args...)
		return err
	})
	return out, err
}

// Log implements workflow.Store.
func (s *Store) Log(ctx context.Context) ([]workflow.Event, error) {
	var out []workflow.Event
	err := s.read(ctx, "the authority's log", func(ctx context.Context, q querier) (err error) {
		if out, err = bodies[workflow.Event](ctx, q, "SELECT body FROM authority ORDER BY seq"); err != nil {
			return err
		}
		return workflow.CheckChain(workflow.LogName, out)
	})
	return out, err
}
