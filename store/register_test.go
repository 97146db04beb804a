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

func certificate(serial string, p workflow.Person, credential string) *workflow.Certificate {
	return &workflow.Certificate{Serial: serial, Mail: p.Mail, Name: p.Name, Credential: credential, By: "enrolment",
		Key: workflow.Digest{1, 2, 0xff}, PublicKey: []byte{3}, NotBefore: now(), NotAfter: now().Add(time.Hour)}
}

func TestRegister(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		old, c, other := certificate("a1", john, "phone"), certificate("b2", john, "phone"), certificate("c3", jane, "laptop")
		old.NotBefore, old.NotAfter = old.NotBefore.Add(-time.Minute), old.NotBefore.Add(time.Minute)
		other.NotBefore = other.NotBefore.Add(time.Minute)
		other.Key = workflow.Digest{9}
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(tx.SaveCertificate(c), tx.SaveCertificate(old), tx.SaveCertificate(other))
		})
		// Persisted before it is signed; then signed, then revoked.
		c.DER = []byte{0x30, 0}
		do(t, s, func(tx workflow.Tx) error { return tx.SaveCertificate(c) })
		c.Revoked, c.Reason = now(), 1
		do(t, s, func(tx workflow.Tx) error {
			got, err := tx.Certificate("b2")
			if err != nil || len(got.DER) != 2 || !got.Revoked.IsZero() {
				t.Errorf("got %+v, %v", got, err)
			}
			return tx.SaveCertificate(c)
		})
		if got, err := s.Certificate(bg, "b2"); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, %v", got, err)
		}
		if _, err := s.Certificate(bg, "ffff"); !errors.Is(err, workflow.ErrNotFound) {
			t.Errorf("none: %v", err)
		}
		for _, f := range []struct {
			filter workflow.CertificateFilter
			wants  []*workflow.Certificate
		}{
			{workflow.CertificateFilter{}, []*workflow.Certificate{other, c, old}},
			{workflow.CertificateFilter{Limit: 1}, []*workflow.Certificate{other}},
			{workflow.CertificateFilter{Mail: "JOHN.DOE@corp.test"}, []*workflow.Certificate{c, old}},
			{workflow.CertificateFilter{Credential: "laptop"}, []*workflow.Certificate{other}},
			{workflow.CertificateFilter{Key: workflow.Digest{1, 2, 0xff}}, []*workflow.Certificate{c, old}},
			{workflow.CertificateFilter{Revoked: true}, []*workflow.Certificate{c}},
			{workflow.CertificateFilter{Revoked: true, Mail: jane.Mail}, nil},
			{workflow.CertificateFilter{ValidAfter: old.NotAfter}, []*workflow.Certificate{other, c}},
			{workflow.CertificateFilter{ValidAfter: old.NotAfter, Revoked: true, Mail: john.Mail, Credential: "phone", Limit: 5}, []*workflow.Certificate{c}},
		} {
			if got, err := s.Certificates(bg, f.filter); err != nil || !reflect.DeepEqual(got, f.wants) {
				t.Errorf("%+v: %d, %v; want %d", f.filter, len(got), err, len(f.wants))
			}
		}
		c.Revoked, c.Reason = time.Time{}, 0 // off hold
		do(t, s, func(tx workflow.Tx) error {
			got, err := tx.CertificatesOf("phone")
			if err != nil || len(got) != 2 || got[0].Serial != "a1" || got[1].Serial != "b2" {
				t.Errorf("of a credential: %d, %v", len(got), err)
			}
			return tx.SaveCertificate(c)
		})
		if got, err := s.Certificates(bg, workflow.CertificateFilter{Revoked: true}); err != nil || len(got) != 0 {
			t.Errorf("revoked: %d, %v", len(got), err)
		}
	})
}

// TestCertificatesOfLocks lets a removal of a device and a signature with it
// come together: what the first has locked, the second sees as it left it.
func TestCertificatesOfLocks(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		do(t, s, func(tx workflow.Tx) error { return tx.SaveCertificate(certificate("a1", john, "phone")) })
		locked, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			<-locked
			do(t, s, func(tx workflow.Tx) error {
				if c, err := tx.Certificate("a1"); err != nil || c.Revoked.IsZero() {
					t.Errorf("%+v, %v", c, err)
				}
				return nil
			})
		}()
		do(t, s, func(tx workflow.Tx) error {
			all, err := tx.CertificatesOf("phone")
			if err != nil || len(all) != 1 {
				return fmt.Errorf("%d, %w", len(all), err)
			}
			close(locked)
			time.Sleep(50 * time.Millisecond)
			all[0].Revoked = now()
			return tx.SaveCertificate(all[0])
		})
		<-done
	})
}

func TestLog(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		if log, err := s.Log(bg); err != nil || len(log) != 0 {
			t.Errorf("%d entries, %v", len(log), err)
		}
		var wg sync.WaitGroup
		for i := range 12 { // also at once it is one chain
			wg.Go(func() {
				if err := s.Do(bg, func(tx workflow.Tx) error {
					return tx.AppendLog(workflow.Event{Time: time.Now(), Kind: workflow.EventIssuing, Actor: "jane@corp.test",
						Detail: map[string]string{"serial": fmt.Sprint(i), "name": "not UTF-8: \xff"}})
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		log, err := s.Log(bg)
		if err != nil || len(log) != 12 {
			t.Fatalf("%d entries, %v", len(log), err)
		}
		for i, e := range log {
			if e.Seq != i+1 || e.Kind != workflow.EventIssuing {
				t.Errorf("entry %d is %+v", i+1, e)
			}
		}
		for _, attack := range []string{
			"UPDATE authority SET body = replace(body, '\"serial\":\"3\"', '\"serial\":\"4\"')",
			"DELETE FROM authority WHERE seq = 5",
		} {
			if _, err := s.engineDB().ExecContext(bg, attack); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Log(bg); err == nil {
				t.Errorf("%s: not noticed", attack)
			}
		}
	})
}
