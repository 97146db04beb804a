package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/store/pgtest"
	"milterd/workflow"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(child())
	}
	os.Exit(pgtest.Main(m))
}

// engines are the databases that every behaviour is tested on.
var engines = []string{"sqlite", "postgres"}

// empty gives the URL of an empty database.
func empty(t testing.TB, engine string) string {
	if engine == "sqlite" {
		return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	}
	return pgtest.Database(t)
}

// both runs a test on both engines, each time with the URL of an empty database.
func both(t *testing.T, f func(t *testing.T, url string)) {
	for _, e := range engines {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, empty(t, e))
		})
	}
}

// onBoth is both with an open store.
func onBoth(t *testing.T, f func(t *testing.T, s *Store)) {
	both(t, func(t *testing.T, url string) { f(t, open(t, url)) })
}

func open(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// now is a time as both databases give it back.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

var jane = workflow.Person{Mail: "jane@corp.test", Name: "Jane", Language: "en"}
var john = workflow.Person{Mail: "John.Doe@corp.test", Name: "John Doe", Language: "de"}

// session is one with two documents, asked by Jane of John.
func session(id string) (*workflow.Session, []byte, [][]byte) {
	originals := [][]byte{[]byte("%PDF-1.7 first of " + id), []byte("%PDF-1.7 second of " + id)}
	s := &workflow.Session{
		ID: id, State: workflow.Preparing, Level: workflow.Standard, Created: now(), Deadline: now().Add(time.Hour),
		People: []workflow.Participant{
			{Person: jane, Sender: true},
			{Person: john, Signatory: true, State: workflow.Waiting},
		},
	}
	for i, b := range originals {
		s.Documents = append(s.Documents, workflow.Document{
			Name: fmt.Sprintf("document%d.pdf", i), Kind: workflow.Mailed, Pages: 1,
			Revisions: []workflow.Revision{{Kind: workflow.Original, Size: int64(len(b)), SHA256: sha256.Sum256(b), Person: -1, Created: s.Created}},
		})
	}
	return s, []byte("Subject: please sign " + id), originals
}

// do is Store.Do that must succeed.
func do(t testing.TB, s *Store, f func(workflow.Tx) error) {
	t.Helper()
	if err := s.Do(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

// create stores the session of that id and gives it.
func create(t testing.TB, s *Store, id string) *workflow.Session {
	t.Helper()
	v, mail, originals := session(id)
	do(t, s, func(tx workflow.Tx) error { return tx.Create(v, mail, originals) })
	return v
}
