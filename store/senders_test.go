package store

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

func TestOpenedSince(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		first := create(t, s, "aaaa")
		create(t, s, "bbbb")
		do(t, s, func(tx workflow.Tx) error {
			for _, c := range []struct {
				mail  string
				since time.Time
				want  int
			}{
				{"JANE@Corp.test", first.Created, 2},
				{jane.Mail, first.Created.Add(-time.Hour), 2},
				{jane.Mail, now().Add(time.Minute), 0},
				{john.Mail, first.Created, 0}, // asked to sign, asked nobody
				{"", first.Created, 0},
			} {
				if n, err := tx.OpenedSince(c.mail, c.since); err != nil || n != c.want {
					t.Errorf("%q since %s: %d, %v; want %d", c.mail, c.since, n, err, c.want)
				}
			}
			return nil
		})
	})
}

// TestSenderLimit lets ten requests of one sender arrive at once where six are allowed.
func TestSenderLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				v, mail, originals := session(fmt.Sprint("aaa", i))
				if err := s.Do(bg, func(tx workflow.Tx) error {
					n, err := tx.OpenedSince(jane.Mail, now().Add(-time.Hour))
					if err != nil || n >= 6 {
						return err
					}
					return tx.Create(v, mail, originals)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list, err := s.List(bg, workflow.Filter{}); err != nil || len(list) != 6 {
			t.Errorf("%d sessions, %v; want 6", len(list), err)
		}
	})
}

// TestOldSendersCount: sessions from before the column are counted, too.
func TestOldSendersCount(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		engine := "postgres"
		if url[:7] == "sqlite:" {
			engine = "sqlite"
		}
		all, err := steps(engine)
		if err != nil {
			t.Fatal(err)
		}
		migrateFrom(t, url, all, 4)
		s := open(t, url)
		do(t, s, func(tx workflow.Tx) error {
			n, err := tx.OpenedSince(jane.Mail, time.Time{})
			if n != 2 { // the old one, and the one that migrateFrom adds
				return errors.Join(err, fmt.Errorf("%d sessions, want 2", n))
			}
			return err
		})
	})
}
