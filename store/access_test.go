package store

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

func TestTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.AddToken([]byte{1, 0, 2}, "aaaa", 1), tx.AddToken([]byte{1, 0, 2}, "aaaa", 1), tx.AddToken([]byte{3}, "aaaa", 0))
		})
		if id, person, err := s.Participant(bg, []byte{1, 0, 2}); err != nil || id != "aaaa" || person != 1 {
			t.Errorf("got %s %d %v", id, person, err)
		}
		if _, _, err := s.Participant(bg, nil); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("no hash: %v", err)
		}
	})
}

func TestChallenges(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		start := now()
		first := &workflow.Challenge{ID: "z", Session: "aaaa", Person: 1, Mail: john.Mail, Issued: start.Add(-time.Minute)}
		second := &workflow.Challenge{ID: "b", Session: "aaaa", Person: 1, Mail: john.Mail, Issued: start}
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.SaveChallenge(second), tx.SaveChallenge(first))
		})
		do(t, s, func(tx workflow.Tx) error {
			c, err := tx.Challenge("aaaa", 1)
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(c, second) {
				t.Errorf("newest is %+v", c)
			}
			c.Tries, c.Opened = 3, start
			return tx.SaveChallenge(c)
		})
		do(t, s, func(tx workflow.Tx) error {
			if c, err := tx.Challenge("aaaa", 1); err != nil || c.Tries != 3 || !c.Opened.Equal(start) {
				t.Errorf("got %+v, %v", c, err)
			}
			for since, want := range map[time.Duration]int{0: 1, -time.Minute: 2, time.Second: 0} {
				if n, err := tx.ChallengesSince("john.doe@CORP.test", start.Add(since)); err != nil || len(n) != want {
					t.Errorf("since %s: %d, %v; want %d", since, len(n), err, want)
				}
			}
			return nil
		})
	})
}

// TestWrongCodes lets ten guesses arrive at once: each must count.
func TestWrongCodes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		do(t, s, func(tx workflow.Tx) error {
			return tx.SaveChallenge(&workflow.Challenge{ID: "a", Session: "aaaa", Person: 1, Issued: now()})
		})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := s.Do(bg, func(tx workflow.Tx) error {
					c, err := tx.Challenge("aaaa", 1)
					if err != nil {
						return err
					}
					c.Tries++
					return tx.SaveChallenge(c)
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		do(t, s, func(tx workflow.Tx) error {
			if c, err := tx.Challenge("aaaa", 1); err != nil || c.Tries != 10 {
				t.Errorf("%+v, %v", c, err)
			}
			return nil
		})
	})
}

// TestCodeLimit lets ten requests arrive at once where six are allowed.
func TestCodeLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if err := s.Do(bg, func(tx workflow.Tx) error {
					n, err := tx.ChallengesSince(john.Mail, now().Add(-time.Hour))
					if err != nil || len(n) >= 6 {
						return err
					}
					return tx.SaveChallenge(&workflow.Challenge{ID: fmt.Sprint(i), Session: "aaaa", Person: 1, Mail: john.Mail, Issued: now()})
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		do(t, s, func(tx workflow.Tx) error {
			if n, err := tx.ChallengesSince(john.Mail, now().Add(-time.Hour)); err != nil || len(n) != 6 {
				t.Errorf("%d challenges, %v", len(n), err)
			}
			return nil
		})
	})
}

func TestDevices(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		d := &workflow.Device{Hash: []byte{1}, Mail: john.Mail, Created: now(), Expires: now().Add(time.Hour), Agent: "Firefox on Linux"}
		other := &workflow.Device{Hash: []byte{2}, Mail: jane.Mail, Created: now(), Expires: now().Add(time.Hour)}
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.AddDevice(d), tx.AddDevice(other))
		})
		if got, err := s.Device(bg, []byte{1}); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("got %+v, %v", got, err)
		}
		do(t, s, func(tx workflow.Tx) error { return tx.RemoveDevices("JOHN.DOE@corp.test") })
		if _, err := s.Device(bg, []byte{1}); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("removed device: %v", err)
		}
		if _, err := s.Device(bg, []byte{2}); err != nil {
			t.Error(err)
		}
	})
}

func TestRequestKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		create(t, s, "bbbb")
		key, start := [32]byte{7}, now()
		until := start.Add(time.Hour)
		do(t, s, func(tx workflow.Tx) error {
			if id, ok, err := tx.Seen(key, start); ok || err != nil {
				t.Errorf("unseen key: %q, %t, %v", id, ok, err)
			}
			return tx.Remember(key, "aaaa", until)
		})
		do(t, s, func(tx workflow.Tx) error {
			if id, ok, err := tx.Seen(key, until.Add(-time.Second)); id != "aaaa" || !ok || err != nil {
				t.Errorf("seen key: %q, %t, %v", id, ok, err)
			}
			if err := tx.Remember(key, "bbbb", until); !errors.Is(err, workflow.ErrConflict) {
				t.Errorf("key of another session: %v", err)
			}
			return nil
		})
		// After its bound the key may open another session.
		do(t, s, func(tx workflow.Tx) error {
			if id, ok, err := tx.Seen(key, until); ok || err != nil {
				t.Errorf("old key: %q, %t, %v", id, ok, err)
			}
			return tx.Remember(key, "bbbb", until.Add(time.Hour))
		})
	})
}

// TestSameMailAtOnce is one mail that arrives by two connections in the same moment.
func TestSameMailAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				v, mail, originals := session(fmt.Sprint("aaa", i))
				if err := s.Do(bg, func(tx workflow.Tx) error {
					if _, ok, err := tx.Seen([32]byte{1}, now()); ok || err != nil {
						return err
					}
					return errors.Join(tx.Create(v, mail, originals), tx.Remember([32]byte{1}, v.ID, now().Add(time.Hour)))
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if list, err := s.List(bg, workflow.Filter{}); err != nil || len(list) != 1 {
			t.Errorf("%d sessions, %v", len(list), err)
		}
	})
}

func TestSweep(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		start := now()
		do(t, s, func(tx workflow.Tx) error {
			var errs []error
			for i, at := range []time.Time{start.Add(-time.Second), start.Add(time.Second)} {
				errs = append(errs,
					tx.Remember([32]byte{byte(i)}, "aaaa", at),
					tx.AddDevice(&workflow.Device{Hash: []byte{byte(i)}, Mail: john.Mail, Expires: at}),
					tx.SaveChallenge(&workflow.Challenge{ID: fmt.Sprint(i), Session: "aaaa", Issued: at.Add(-keepChallenges)}),
					tx.SaveCeremony(&workflow.Ceremony{ID: fmt.Sprint(i), Session: "aaaa", Expires: at}))
			}
			return errors.Join(append(errs, tx.Sweep(start))...)
		})
		for _, table := range []string{"requests", "devices", "challenges", "ceremonies"} {
			var n int
			if err := s.reads.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != 1 {
				t.Errorf("%d rows in %s, %v; want 1", n, table, err)
			}
		}
	})
}
