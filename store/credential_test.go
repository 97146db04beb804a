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

func credential(id string, p workflow.Person) *workflow.Credential {
	return &workflow.Credential{ID: id, Mail: p.Mail, Kind: workflow.Passkey, Name: "Safari on iPhone", Data: []byte{0, 1, 0xff},
		Enrolled: now(), ApprovedBy: "directory password"}
}

func TestCredentials(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		first, second, other := credential("a", john), credential("b", john), credential("c", jane)
		first.Enrolled = first.Enrolled.Add(-time.Hour)
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.SaveCredential(second), tx.SaveCredential(first), tx.SaveCredential(other))
		})
		list := func(mail string, wants ...*workflow.Credential) {
			t.Helper()
			got, err := s.Credentials(bg, mail)
			if err != nil || !reflect.DeepEqual(got, wants) {
				t.Errorf("of %q: %+v, %v", mail, got, err)
			}
		}
		list("JOHN.DOE@corp.test", first, second)
		list("", first, second, other)
		list("nobody@corp.test")
		second.Used, second.Revoked, second.RevokedBy = now(), now(), "administrator"
		do(t, s, func(tx workflow.Tx) error {
			got, err := tx.Credential("a")
			if err != nil || !reflect.DeepEqual(got, first) {
				t.Errorf("got %+v, %v", got, err)
			}
			return tx.SaveCredential(second)
		})
		list(john.Mail, first, second)
		// A passkey's id is chosen by whoever enrols it.
		stolen := credential("c", john)
		if err := s.Do(bg, func(tx workflow.Tx) error { return tx.SaveCredential(stolen) }); !errors.Is(err, workflow.ErrConflict) {
			t.Errorf("somebody else's id: %v", err)
		}
		list(jane.Mail, other)
	})
}

func ceremony(id, kind string, p workflow.Person) *workflow.Ceremony {
	return &workflow.Ceremony{ID: id, Kind: kind, Session: "aaaa", Person: 1, Mail: p.Mail,
		Created: now(), Expires: now().Add(time.Hour), Data: []byte{0, 1, 0xff}}
}

func TestCeremonies(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		c, later, other := ceremony("a", "passkey", john), ceremony("b", "passkey", jane), ceremony("c", "enrolment", john)
		later.Created, c.Data, other.Data = c.Created.Add(time.Second), bytes.Repeat([]byte("suffix"), 100_000), []byte("{}")
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.SaveCeremony(later), tx.SaveCeremony(c), tx.SaveCeremony(other))
		})
		if got, err := s.Ceremony(bg, "a", now()); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := s.Ceremonies(bg, "passkey", now()); err != nil || !reflect.DeepEqual(got, []*workflow.Ceremony{c, later}) {
			t.Errorf("got %d, %v", len(got), err)
		}
		do(t, s, func(tx workflow.Tx) error {
			got, err := tx.Ceremony("c", now())
			if err != nil || !reflect.DeepEqual(got, other) {
				t.Errorf("got %+v, %v", got, err)
			}
			got.Data, got.Expires = []byte("more"), got.Expires.Add(time.Hour)
			return tx.SaveCeremony(got)
		})
		if got, err := s.Ceremony(bg, "c", other.Expires); err != nil || string(got.Data) != "more" {
			t.Errorf("got %+v, %v", got, err)
		}
		// The end of its time is not in it.
		if _, err := s.Ceremony(bg, "a", c.Expires); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("after its time: %v", err)
		}
		if got, err := s.Ceremonies(bg, "passkey", c.Expires); err != nil || len(got) != 1 {
			t.Errorf("after its time: %d, %v", len(got), err)
		}
		do(t, s, func(tx workflow.Tx) error {
			if _, err := tx.Ceremony("a", c.Expires); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("after its time: %v", err)
			}
			for mail, wants := range map[string]int{"JOHN.DOE@corp.test": 1, jane.Mail: 1, "nobody@corp.test": 0} {
				if n, err := tx.CeremoniesSince(mail, "passkey", c.Created); err != nil || n != wants {
					t.Errorf("%s has begun %d, %v; want %d", mail, n, err, wants)
				}
			}
			if n, err := tx.CeremoniesSince(john.Mail, "passkey", c.Created.Add(time.Microsecond)); err != nil || n != 0 {
				t.Errorf("since later: %d, %v", n, err)
			}
			return errors.Join(tx.EndCeremony("a"), tx.EndCeremony("a"))
		})
		if _, err := s.Ceremony(bg, "a", now()); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("ended: %v", err)
		}
	})
}

// TestCeremonyEndsOnce lets ten answers to one challenge arrive at once.
func TestCeremonyEndsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		do(t, s, func(tx workflow.Tx) error { return tx.SaveCeremony(ceremony("a", "passkey", john)) })
		var mu sync.Mutex
		used := 0
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := s.Do(bg, func(tx workflow.Tx) error {
					if _, err := tx.Ceremony("a", now()); err != nil {
						return err
					}
					time.Sleep(20 * time.Millisecond)
					return tx.EndCeremony("a")
				})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					used++
				} else if !errors.Is(err, workflow.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if used != 1 {
			t.Errorf("it was used %d times", used)
		}
	})
}

// TestCeremonyLimit lets twelve begin at once where three may.
func TestCeremonyLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if err := s.Do(bg, func(tx workflow.Tx) error {
					n, err := tx.CeremoniesSince(john.Mail, "password", now().Add(-time.Hour))
					if err != nil || n >= 3 {
						return err
					}
					time.Sleep(20 * time.Millisecond)
					return tx.SaveCeremony(ceremony(fmt.Sprint(i), "password", john))
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if all, err := s.Ceremonies(bg, "password", now()); err != nil || len(all) != 3 {
			t.Errorf("%d began, %v", len(all), err)
		}
	})
}
