package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// slowHold lets others decide between the list of held mails and what is made of it.
type slowHold struct {
	*Store
	listed chan struct{}
}

func (s *slowHold) Do(ctx context.Context, work func(workflow.Tx) error) error {
	return s.Store.Do(ctx, func(tx workflow.Tx) error { return work(&slowList{tx, s.listed}) })
}

type slowList struct {
	workflow.Tx
	listed chan struct{}
}

func (t *slowList) HeldNow() ([]*workflow.Held, int64, error) {
	all, bytes, err := t.Tx.HeldNow()
	if len(all) > 0 {
		close(t.listed)
		time.Sleep(300 * time.Millisecond)
	}
	return all, bytes, err
}

// TestHeldJoinedAtOnce lets somebody join a held mail in the instant of its
// confirmation: they are taken, or it is confirmed, and neither is written over.
func TestHeldJoinedAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		keys, err := auth.NewKeys(bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		slow := &slowHold{s, make(chan struct{})}
		d := &workflow.Desk{Store: slow, Secrets: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now, Policy: workflow.Policy{
			Deadline: time.Hour, Repeat: time.Hour, MailLimit: 1, MailSize: func(...int64) int64 { return 0 }}}
		h, _, err := d.Hold(bg, *held(""), []byte("mail"))
		if err != nil {
			t.Fatal(err)
		}
		joined := make(chan error, 1)
		go func() {
			again := held("")
			again.Delivered, again.Recipients = true, []string{"emma@sign.corp.test"}
			_, _, err := d.Hold(bg, *again, []byte("mail"))
			joined <- err
		}()
		<-slow.listed
		_, _, opened := d.Open(bg, workflow.Opening{Level: workflow.Standard, Sender: jane, Held: h.ID, Seen: 1,
			Signatories: []workflow.Person{john}, Documents: []workflow.NewDocument{{Name: "a.pdf", Content: []byte("a"), Pages: 1}}})
		refused := <-joined
		got, err := s.Held(bg, keys.TokenHash(keys.HeldToken(h.ID)))
		if err != nil {
			t.Fatal(err)
		}
		var no *workflow.Refusal
		switch {
		case opened == nil && got.State == workflow.HeldConfirmed && len(got.Recipients) == 1 && errors.As(refused, &no) && no.Reason == "confirmation-waits":
		case refused == nil && got.State == workflow.HeldWaiting && len(got.Recipients) == 2 && errors.As(opened, &no) && no.Reason == "held-changed":
		default:
			t.Errorf("opened: %v, joined: %v, now %s with %v", opened, refused, got.State, got.Recipients)
		}
	})
}
