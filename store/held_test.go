package store

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

func held(id string) *workflow.Held {
	return &workflow.Held{ID: id, Key: workflow.Digest{7}, Person: jane, Client: "192.0.2.1", From: "jane@corp.test",
		Recipients: []string{"john@sign.corp.test"}, QueueID: "4XyZ", Subject: "Käufe", Level: workflow.Standard, Asks: []workflow.Person{john},
		Documents: []workflow.HeldDocument{{Name: "a.pdf", Size: 3, SHA256: workflow.Digest{9}}}, Received: now(), State: workflow.HeldWaiting}
}

func TestHeld(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		want := held("aaaa")
		mail := []byte("Subject: x\r\n\r\n\x00\xff")
		hold := func(h *workflow.Held, hash string) error {
			return s.Do(bg, func(tx workflow.Tx) error { return tx.Hold(h, []byte(hash), mail) })
		}
		if err := hold(want, "hash a"); err != nil {
			t.Fatal(err)
		}
		if err := hold(want, "hash b"); !errors.Is(err, workflow.ErrConflict) {
			t.Errorf("the same id once more: %v", err)
		}
		later := held("bbbb")
		later.Received = want.Received.Add(time.Second)
		if err := hold(later, "hash a"); err == nil {
			t.Error("two mails with one link")
		}
		if err := hold(later, "hash b"); err != nil {
			t.Fatal(err)
		}

		got, err := s.Held(bg, []byte("hash a"))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
		if b, err := s.HeldMail(bg, "aaaa"); err != nil || !bytes.Equal(b, mail) {
			t.Errorf("mail %q, %v", b, err)
		}
		do(t, s, func(tx workflow.Tx) error {
			got, err := tx.Held("aaaa")
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v", got, err)
			}
			all, size, err := tx.HeldNow()
			if err != nil || len(all) != 2 || all[0].ID != "aaaa" || all[1].ID != "bbbb" || size != 2*int64(len(mail)) {
				t.Errorf("%d held, %d bytes, %v", len(all), size, err)
			}
			return nil
		})

		// Saved while it waits, the mail stays; decided, it goes.
		want.Recipients = append(want.Recipients, "bob@sign.corp.test")
		do(t, s, func(tx workflow.Tx) error { return tx.SaveHeld(want) })
		if got, err := s.Held(bg, []byte("hash a")); err != nil || len(got.Recipients) != 2 {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := s.HeldMail(bg, "aaaa"); err != nil {
			t.Error(err)
		}
		want.State, want.Session = workflow.HeldConfirmed, "cccc"
		do(t, s, func(tx workflow.Tx) error { return tx.SaveHeld(want) })
		if _, err := s.HeldMail(bg, "aaaa"); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("the mail is kept: %v", err)
		}
		do(t, s, func(tx workflow.Tx) error {
			if _, size, err := tx.HeldNow(); err != nil || size != int64(len(mail)) {
				t.Errorf("%d bytes, %v", size, err)
			}
			return nil
		})

		for range 2 { // and once more changes nothing
			do(t, s, func(tx workflow.Tx) error { return tx.DropHeld("aaaa") })
		}
		if _, err := s.Held(bg, []byte("hash a")); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("dropped, and there: %v", err)
		}
		do(t, s, func(tx workflow.Tx) error {
			if _, err := tx.Held("aaaa"); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("dropped, and there: %v", err)
			}
			if err := tx.SaveHeld(want); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("saved what was dropped: %v", err)
			}
			return nil
		})
	})
}

// TestHeldAtOnce counts and holds from many connections: nobody gets past a
// limit that all of them obey.
func TestHeldAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const limit = 3
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				err := s.Do(bg, func(tx workflow.Tx) error {
					all, _, err := tx.HeldNow()
					if err != nil || len(all) >= limit {
						return err
					}
					time.Sleep(20 * time.Millisecond)
					return tx.Hold(held(fmt.Sprint("held", i)), fmt.Append(nil, i), nil)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		do(t, s, func(tx workflow.Tx) error {
			if all, _, err := tx.HeldNow(); err != nil || len(all) != limit {
				t.Errorf("%d held, %v", len(all), err)
			}
			return nil
		})
	})
}
