package store

import (
	"context"
	"encoding/json"
	"fmt"

	"milterd/workflow"
)

// Hold implements workflow.Tx. An id that exists is ErrConflict.
func (t *tx) Hold(h *workflow.Held, tokenHash, mail []byte) error {
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("store: held mail %s: %w", h.ID, err)
	}
	n, err := t.exec("holding mail "+h.ID, `INSERT INTO held (id, token, received, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO NOTHING`, h.ID, notNil(tokenHash), micros(h.Received), string(body))
	if err == nil && n == 0 {
		err = fmt.Errorf("store: held mail %s exists: %w", h.ID, workflow.ErrConflict)
	}
	if err != nil {
		return err
	}
	_, err = t.exec("holding mail "+h.ID, "INSERT INTO held_mails (held, data) VALUES ($1, $2)", h.ID, notNil(mail))
	return err
}

// Held implements workflow.Tx.
func (t *tx) Held(id string) (*workflow.Held, error) {
	var body string
	if err := t.row("loading held mail "+id, "SELECT body FROM held WHERE id = $1"+t.s.engine.forUpdate(),
		[]any{id}, &body); err != nil {
		return nil, err
	}
	return decodeHeld(body)
}

// SaveHeld implements workflow.Tx.
func (t *tx) SaveHeld(h *workflow.Held) error {
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("store: held mail %s: %w", h.ID, err)
	}
	n, err := t.exec("saving held mail "+h.ID, "UPDATE held SET received = $1, body = $2 WHERE id = $3",
		micros(h.Received), string(body), h.ID)
	if err == nil && n == 0 {
		err = fmt.Errorf("store: held mail %s: %w", h.ID, workflow.ErrNotFound)
	}
	if err != nil || h.State == workflow.HeldWaiting {
		return err
	}
	_, err = t.exec("dropping held mail "+h.ID, "DELETE FROM held_mails WHERE held = $1", h.ID)
	return err
}

// DropHeld implements workflow.Tx.
func (t *tx) DropHeld(id string) error {
	for _, q := range []string{"DELETE FROM held_mails WHERE held = $1", "DELETE FROM held WHERE id = $1"} {
		if _, err := t.exec("dropping held mail "+id, q, id); err != nil {
			return err
		}
	}
	return nil
}

// HeldNow implements workflow.Tx, oldest first.
func (t *tx) HeldNow() ([]*workflow.Held, int64, error) {
	if t.broken != nil {
		return nil, 0, t.broken
	}
	if err := t.s.engine.lockName(t.ctx, t.t, "held"); err != nil {
		return nil, 0, t.fail("locking held mails", err)
	}
	var bytes int64
	if err := t.row("counting held mails", "SELECT CAST(coalesce(sum(length(data)), 0) AS bigint) FROM held_mails", nil, &bytes); err != nil {
		return nil, 0, err
	}
	rows, err := t.t.QueryContext(t.ctx, "SELECT body FROM held ORDER BY received, id")
	if err != nil {
		return nil, 0, t.fail("listing held mails", err)
	}
	defer rows.Close()
	var out []*workflow.Held
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, 0, t.fail("listing held mails", err)
		}
		h, err := decodeHeld(body)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, t.fail("listing held mails", err)
	}
	return out, bytes, nil
}

// Held implements workflow.Store.
func (s *Store) Held(ctx context.Context, tokenHash []byte) (*workflow.Held, error) {
	var out *workflow.Held
	err := s.read(ctx, "held mail", func(ctx context.Context, q querier) error {
		var body string
		err := q.QueryRowContext(ctx, "SELECT body FROM held WHERE token = $1", notNil(tokenHash)).Scan(&body)
		if err != nil {
			return err
		}
		out, err = decodeHeld(body)
		return err
	})
	return out, err
}

// HeldMail implements workflow.Store.
func (s *Store) HeldMail(ctx context.Context, id string) ([]byte, error) {
	var out []byte
	err := s.read(ctx, "held mail "+id, func(ctx context.Context, q querier) error {
		return q.QueryRowContext(ctx, "SELECT data FROM held_mails WHERE held = $1", id).Scan(&out)
	})
	return out, err
}

func decodeHeld(body string) (*workflow.Held, error) {
	h := new(workflow.Held)
	if err := json.Unmarshal([]byte(body), h); err != nil {
		return nil, fmt.Errorf("store: held mail: %w", err)
	}
	return h, nil
}
