package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

var bg = context.Background()

func TestCreateAndLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		want := create(t, s, "aaaa")
		if want.Version != 1 {
			t.Errorf("version %d, want 1", want.Version)
		}
		got, err := s.Session(bg, "aaaa")
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		_, mail, originals := session("aaaa")
		for i, o := range originals {
			b, err := s.Content(bg, "aaaa", i, 0)
			if err != nil || !bytes.Equal(b, o) {
				t.Errorf("content %d: %q, %v", i, b, err)
			}
		}
		var stored []byte
		if err := s.reads.QueryRow("SELECT data FROM mails WHERE session = 'aaaa'").Scan(&stored); err != nil || !bytes.Equal(stored, mail) {
			t.Errorf("mail %q, %v", stored, err)
		}
		v, mail, originals := session("aaaa")
		if err := s.Do(bg, func(tx workflow.Tx) error { return tx.Create(v, mail, originals) }); !errors.Is(err, workflow.ErrConflict) {
			t.Errorf("same id once more: %v", err)
		}
		v, mail, originals = session("bbbb")
		originals[1] = []byte("something else")
		if err := s.Do(bg, func(tx workflow.Tx) error { return tx.Create(v, mail, originals) }); err == nil {
			t.Error("took an original with another digest")
		}
	})
}

func TestNotFound(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		check := func(name string, err error) {
			t.Helper()
			if !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
		_, err := s.Session(bg, "none")
		check("Session", err)
		_, err = s.Content(bg, "none", 0, 0)
		check("Content of no session", err)
		for _, c := range [][2]int{{-1, 0}, {2, 0}, {0, -1}, {0, 1}} {
			_, err = s.Content(bg, "aaaa", c[0], c[1])
			check(fmt.Sprint("Content ", c), err)
		}
		_, err = s.Events(bg, "none")
		check("Events", err)
		_, _, err = s.Participant(bg, []byte("none"))
		check("Participant", err)
		_, err = s.Device(bg, []byte("none"))
		check("Device", err)
		do(t, s, func(tx workflow.Tx) error {
			_, err := tx.Session("none")
			check("Tx.Session", err)
			_, err = tx.Challenge("aaaa", 1)
			check("Challenge", err)
			check("AddSuffix", tx.AddSuffix("none", 0, 0, nil))
			check("Append", tx.Append("none", workflow.Event{}))
			check("Purge", tx.Purge("none"))
			check("RetryJob", tx.RetryJob(4711))
			_, err = tx.Credential("none")
			check("Credential", err)
			_, err = tx.Ceremony("none", now())
			check("Ceremony", err)
			_, err = tx.Certificate("none")
			check("Certificate", err)
			v, _, _ := session("none")
			check("Save", tx.Save(v))
			return nil
		})
	})
}

func TestRollback(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		everything := func(tx workflow.Tx) error {
			v, mail, originals := session("aaaa")
			return errors.Join(tx.Create(v, mail, originals),
				tx.Append("aaaa", workflow.Event{Kind: workflow.EventOpened}),
				tx.AddToken([]byte("hash"), "aaaa", 1),
				tx.Enqueue(workflow.Job{Kind: workflow.JobPrepare, Session: "aaaa"}),
				tx.Remember([32]byte{1}, "aaaa", now().Add(time.Hour)),
				tx.SaveCredential(credential("a", john)),
				tx.SaveCeremony(ceremony("a", "passkey", john)),
				tx.SaveCertificate(certificate("a", john, "a")),
				tx.AppendLog(workflow.Event{Kind: workflow.EventIssuing}))
		}
		nothing := func(after string) {
			t.Helper()
			for _, table := range []string{"sessions", "people", "mails", "contents", "events", "tokens", "requests", "river_job",
				"credentials", "ceremonies", "certificates", "authority"} {
				var n int
				if err := s.reads.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != 0 {
					t.Errorf("after %s: %d rows in %s, %v", after, n, table, err)
				}
			}
		}
		boom := errors.New("boom")
		if err := s.Do(bg, func(tx workflow.Tx) error { return errors.Join(everything(tx), boom) }); !errors.Is(err, boom) {
			t.Errorf("Do: %v", err)
		}
		nothing("an error")

		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			s.Do(bg, func(tx workflow.Tx) error {
				if err := everything(tx); err != nil {
					t.Error(err)
				}
				panic("boom")
			})
		}()
		nothing("a panic")

		ctx, cancel := context.WithCancel(bg)
		err := s.Do(ctx, func(tx workflow.Tx) error {
			defer cancel()
			return everything(tx)
		})
		if err == nil {
			t.Error("committed after its context had ended")
		}
		nothing("the end of the context")

		// An error of the database spoils the transaction even if it is ignored.
		err = s.Do(bg, func(tx workflow.Tx) error {
			if err := everything(tx); err != nil {
				t.Error(err)
			}
			if err := tx.AddToken([]byte("other"), "nobody", 1); err == nil {
				t.Error("took a link of a session that does not exist")
			}
			tx.AddToken([]byte("third"), "aaaa", 1)
			return nil
		})
		if err == nil {
			t.Error("committed after an error of the database")
		}
		nothing("an ignored error")

		do(t, s, everything) // and it still works
	})
}

func TestConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		stale, err := s.Session(bg, "aaaa")
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, func(tx workflow.Tx) error {
			v, err := tx.Session("aaaa")
			if err != nil {
				return err
			}
			v.State = workflow.Open
			if err := tx.Save(v); err != nil {
				return err
			}
			if v.Version != 2 {
				t.Errorf("version %d after Save, want 2", v.Version)
			}
			v.Message = "once more"
			return tx.Save(v)
		})
		stale.State = workflow.Cancelled
		err = s.Do(bg, func(tx workflow.Tx) error { return tx.Save(stale) })
		if !errors.Is(err, workflow.ErrConflict) {
			t.Errorf("stale Save: %v", err)
		}
		got, err := s.Session(bg, "aaaa")
		if err != nil || got.State != workflow.Open || got.Version != 3 || got.Message != "once more" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// TestWriters lets many writers count up one session, its audit trail and its
// document, each in a transaction that reads before it writes.
func TestWriters(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		const writers, rounds = 8, 10
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range rounds {
					if err := s.Do(bg, func(tx workflow.Tx) error {
						v, err := tx.Session("aaaa")
						if err != nil {
							return err
						}
						d := &v.Documents[0]
						add := []byte(fmt.Sprint(" ", w))
						head := d.Head()
						head.Number++
						head.Size += int64(len(add))
						d.Revisions = append(d.Revisions, head)
						return errors.Join(
							tx.AddSuffix("aaaa", 0, head.Number, add),
							tx.Append("aaaa", workflow.Event{Time: now(), Kind: workflow.EventViewed, Actor: fmt.Sprint(w)}),
							tx.Save(v))
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		v, err := s.Session(bg, "aaaa")
		if err != nil || v.Version != 1+writers*rounds {
			t.Errorf("version %d, %v; want %d", v.Version, err, 1+writers*rounds)
		}
		events, err := s.Events(bg, "aaaa")
		if err != nil || len(events) != writers*rounds {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

func TestAuditTrail(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		berlin := time.FixedZone("CET", 3600)
		at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, berlin)
		do(t, s, func(tx workflow.Tx) error {
			return errors.Join(
				tx.Append("aaaa", workflow.Event{Time: at, Kind: workflow.EventOpened, Actor: "jane@corp.test", Detail: map[string]string{"b": "2", "a": "1"}}),
				tx.Append("aaaa", workflow.Event{Time: at, Kind: workflow.EventMailed, Actor: "no UTF-8 \xff, zero \x00, <tag>", Client: "10.0.0.1"}))
		})
		do(t, s, func(tx workflow.Tx) error {
			return tx.Append("aaaa", workflow.Event{Time: at, Kind: workflow.EventSigned, Detail: map[string]string{}})
		})
		got, err := s.Events(bg, "aaaa")
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 3 || got[0].Seq != 1 || got[2].Seq != 3 || got[1].Prev != got[0].Hash || got[0].Prev != (workflow.Digest{}) {
			t.Fatalf("got %+v", got)
		}
		if want := at.UTC().Truncate(time.Microsecond); !got[0].Time.Equal(want) || got[0].Detail["b"] != "2" {
			t.Errorf("got %+v", got[0])
		}
		if _, err := s.engineDB().ExecContext(bg, "UPDATE events SET body = replace(body, 'mailed', 'viewed') WHERE seq = 2"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Events(bg, "aaaa"); err == nil {
			t.Error("a changed entry was not noticed")
		}
	})
}

// engineDB is a way around the store.
func (s *Store) engineDB() querier {
	switch e := s.engine.(type) {
	case *sqlite:
		return e.writes
	case *postgres:
		return e.db
	}
	panic("unknown engine")
}

// grow adds a revision to a document as a job would.
func grow(tx workflow.Tx, id string, document int, kind workflow.RevisionKind, head, suffix []byte) ([]byte, error) {
	v, err := tx.Session(id)
	if err != nil {
		return nil, err
	}
	next := append(bytes.Clone(head), suffix...)
	d := &v.Documents[document]
	n := len(d.Revisions)
	d.Revisions = append(d.Revisions, workflow.Revision{Number: n, Kind: kind, Size: int64(len(next)), SHA256: sha256.Sum256(next), Created: now()})
	return next, errors.Join(tx.AddSuffix(id, document, n, suffix), tx.Save(v))
}

func TestContent(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		_, _, originals := session("aaaa")
		revisions := [][]byte{originals[0]}
		// An empty suffix and one that is larger than a page are revisions, too.
		for _, suffix := range [][]byte{[]byte(" layout"), {}, bytes.Repeat([]byte{0, 0xff, '\'', '\\'}, 1<<18)} {
			do(t, s, func(tx workflow.Tx) error {
				next, err := grow(tx, "aaaa", 0, workflow.Layout, revisions[len(revisions)-1], suffix)
				revisions = append(revisions, next)
				return err
			})
		}
		for i, want := range revisions {
			if got, err := s.Content(bg, "aaaa", 0, i); err != nil || !bytes.Equal(got, want) {
				t.Errorf("revision %d: %d bytes, %v; want %d", i, len(got), err, len(want))
			}
		}
		for _, c := range []struct {
			revision int
			want     error
		}{{3, workflow.ErrConflict}, {5, nil}, {-1, nil}} {
			err := s.Do(bg, func(tx workflow.Tx) error { return tx.AddSuffix("aaaa", 0, c.revision, nil) })
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("AddSuffix %d: %v", c.revision, err)
			}
		}
		// A document that was not mailed begins with the whole at number 0.
		report := []byte("%PDF-1.7 report")
		do(t, s, func(tx workflow.Tx) error {
			v, err := tx.Session("aaaa")
			if err != nil {
				return err
			}
			v.Documents = append(v.Documents, workflow.Document{Kind: workflow.Report, Revisions: []workflow.Revision{
				{Size: int64(len(report)), SHA256: sha256.Sum256(report)}}})
			return errors.Join(tx.AddSuffix("aaaa", 2, 0, report), tx.Save(v))
		})
		if got, err := s.Content(bg, "aaaa", 2, 0); err != nil || !bytes.Equal(got, report) {
			t.Errorf("report: %q, %v", got, err)
		}

		// Bytes that are not those of the list: changed, too many, missing.
		for _, harm := range []string{
			"UPDATE contents SET data = $1 WHERE document = 0 AND revision = 1",
			"UPDATE contents SET data = $1 WHERE document = 0 AND revision = 2",
			"DELETE FROM contents WHERE document = 0 AND revision = 3 AND data <> $1",
			"DELETE FROM contents WHERE document = 0 AND data <> $1",
		} {
			if _, err := s.engineDB().ExecContext(bg, harm, []byte(" lAyout")); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Content(bg, "aaaa", 0, 3); err == nil || errors.Is(err, workflow.ErrGone) || errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("after %q: %v", harm, err)
			}
		}
	})
}

func TestPurge(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		for _, id := range []string{"aaaa", "bbbb"} {
			create(t, s, id)
			do(t, s, func(tx workflow.Tx) error {
				return errors.Join(tx.AddToken([]byte(id), id, 1),
					tx.SaveChallenge(&workflow.Challenge{ID: id, Session: id, Person: 1, Mail: john.Mail, Issued: now()}),
					tx.SaveCeremony(&workflow.Ceremony{ID: id, Session: id, Expires: now().Add(time.Hour)}),
					tx.Append(id, workflow.Event{Kind: workflow.EventOpened, Time: now()}))
			})
		}
		do(t, s, func(tx workflow.Tx) error { return tx.Purge("aaaa") })
		if _, err := s.Content(bg, "aaaa", 0, 0); !errors.Is(err, workflow.ErrGone) {
			t.Errorf("Content: %v", err)
		}
		if id, _, err := s.Participant(bg, []byte("aaaa")); id != "aaaa" || err != nil {
			t.Errorf("Participant: %s, %v", id, err)
		}
		do(t, s, func(tx workflow.Tx) error {
			if _, err := tx.Challenge("aaaa", 1); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("Challenge: %v", err)
			}
			if _, err := tx.Ceremony("aaaa", now()); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("Ceremony: %v", err)
			}
			if _, err := tx.Ceremony("bbbb", now()); err != nil {
				t.Errorf("Ceremony of another session: %v", err)
			}
			v, err := tx.Session("aaaa")
			if err != nil {
				return err
			}
			v.Purged = now()
			return tx.Save(v)
		})
		if _, err := s.Content(bg, "aaaa", 0, 0); !errors.Is(err, workflow.ErrGone) {
			t.Errorf("Content: %v", err)
		}
		if e, err := s.Events(bg, "aaaa"); err != nil || len(e) != 1 {
			t.Errorf("%d events, %v", len(e), err)
		}
		// The other session has lost nothing.
		if _, err := s.Content(bg, "bbbb", 0, 0); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Participant(bg, []byte("bbbb")); err != nil {
			t.Error(err)
		}
	})
}

func TestList(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		start := now()
		for i, id := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
			v, mail, originals := session(id)
			v.Created = start.Add(time.Duration(i) * time.Minute)
			if id == "bbbb" || id == "dddd" {
				v.State, v.Ended = workflow.Done, start.Add(time.Duration(i)*time.Hour)
			}
			if id == "cccc" {
				v.People = v.People[:1]
			}
			do(t, s, func(tx workflow.Tx) error { return tx.Create(v, mail, originals) })
		}
		for _, c := range []struct {
			f    workflow.Filter
			want string
		}{
			{workflow.Filter{}, "[dddd cccc bbbb aaaa]"},
			{workflow.Filter{Limit: 2}, "[dddd cccc]"},
			{workflow.Filter{State: workflow.Done}, "[dddd bbbb]"},
			{workflow.Filter{Person: "JOHN.DOE@corp.test"}, "[dddd bbbb aaaa]"},
			{workflow.Filter{Person: "nobody@corp.test"}, "[]"},
			{workflow.Filter{Before: start.Add(2 * time.Hour)}, "[bbbb]"},
			{workflow.Filter{Before: start.Add(9 * time.Hour), State: workflow.Done, Person: john.Mail, Limit: 1}, "[dddd]"},
		} {
			list, err := s.List(bg, c.f)
			if err != nil {
				t.Fatal(err)
			}
			ids := []string{}
			for _, v := range list {
				ids = append(ids, v.ID)
			}
			if got := fmt.Sprint(ids); got != c.want {
				t.Errorf("%+v: %s, want %s", c.f, got, c.want)
			}
		}
		if n, err := s.Counts(bg); err != nil || n[workflow.Done] != 2 || n[workflow.Preparing] != 2 || len(n) != 2 {
			t.Errorf("counts %v, %v", n, err)
		}
	})
}
