package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/store/pgtest"
	"milterd/workflow"
)

// TestServerAway stops and kills PostgreSQL under a working store.
func TestServerAway(t *testing.T) {
	t.Parallel()
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	s := open(t, server.Database(t))
	create(t, s, "aaaa")
	r := newRunner(nil)
	work(t, s, r, WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	r.next(t, 10*time.Second)
	inState(t, s, "aaaa", "completed")

	for round, end := range []func() error{server.Stop, server.Kill} {
		// The server goes while a transaction has written half of its rows.
		err = s.Do(bg, func(tx workflow.Tx) error {
			v, mail, originals := session("half")
			if err := tx.Create(v, mail, originals); err != nil {
				t.Error(err)
			}
			if err := end(); err != nil {
				t.Error(err)
			}
			return tx.Append("half", workflow.Event{Kind: workflow.EventOpened})
		})
		if err == nil {
			t.Error("Do succeeded without a server")
		}
		for name, err := range map[string]error{
			"Do":      s.Do(bg, func(workflow.Tx) error { return nil }),
			"Session": second(s.Session(bg, "aaaa")),
			"Content": second(s.Content(bg, "aaaa", 0, 0)),
			"Jobs":    second(s.Jobs(bg, "")),
			"Ping":    s.Ping(bg),
		} {
			if err == nil || errors.Is(err, workflow.ErrNotFound) || errors.Is(err, workflow.ErrGone) {
				t.Errorf("%s without a server: %v", name, err)
			}
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		do(t, s, func(tx workflow.Tx) error {
			if _, err := tx.Session("half"); !errors.Is(err, workflow.ErrNotFound) {
				t.Errorf("half of a transaction is there: %v", err)
			}
			return errors.Join(tx.Append("aaaa", workflow.Event{Kind: workflow.EventViewed}),
				tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: "bbbb", Round: round}))
		})
		if _, err := s.Content(bg, "aaaa", 0, 0); err != nil {
			t.Error(err)
		}
		r.next(t, 20*time.Second)
		t.Logf("jobs went on %s after the server was back", time.Since(start))
	}
	if e, err := s.Events(bg, "aaaa"); err != nil || len(e) != 2 {
		t.Errorf("%d events, %v", len(e), err)
	}
	// What River's leader does goes on as well.
	start := time.Now()
	enqueue(t, s, workflow.Job{Kind: workflow.JobExpire, Session: "cccc", At: now().Add(time.Second)})
	r.next(t, 40*time.Second)
	t.Logf("a scheduled job ran after %s", time.Since(start))
}

func second[T any](_ T, err error) error { return err }

// TestDiskFull fills the database up to its last page.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	create(t, s, "aaaa")
	r := newRunner(func(ctx context.Context, j workflow.Job) error {
		return s.Do(ctx, func(tx workflow.Tx) error { return tx.Append("aaaa", workflow.Event{Kind: workflow.EventViewed}) })
	})
	stop := work(t, s, r, WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	inState(t, s, "aaaa", "completed")

	// pragma runs one on the connection that writes.
	pragma := func(query string) (n int) {
		t.Helper()
		if err := s.engineDB().QueryRowContext(bg, "PRAGMA "+query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	pragma(fmt.Sprint("max_page_count = ", pragma("page_count")+20))
	big := bytes.Repeat([]byte("x"), 1<<20)
	for range 3 {
		err := s.Do(bg, func(tx workflow.Tx) error {
			v, _, originals := session("bbbb")
			if err := tx.Append("aaaa", workflow.Event{Kind: workflow.EventSealed}); err != nil {
				t.Error(err)
			}
			if err := tx.Create(v, big, originals); err == nil {
				t.Error("the file has room that it should not have")
			}
			// SQLite has rolled back already; this must not be written on its own.
			if err := tx.Append("aaaa", workflow.Event{Kind: workflow.EventSealed}); err == nil {
				t.Error("the transaction went on after SQLITE_FULL")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("Do: %v", err)
		}
	}
	if _, err := s.Session(bg, "bbbb"); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("half of a transaction is there: %v", err)
	}
	if e, err := s.Events(bg, "aaaa"); err != nil || len(e) != 1 {
		t.Errorf("%d events, %v", len(e), err)
	}
	pragma("max_page_count = 1000000")
	do(t, s, func(tx workflow.Tx) error {
		v, _, originals := session("bbbb")
		return errors.Join(tx.Create(v, big, originals), tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: "bbbb"}))
	})
	inState(t, s, "bbbb", "completed")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestLocked lets another process hold the write lock.
func TestLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, "sqlite:"+path)
	create(t, s, "aaaa")
	r := newRunner(nil)
	work(t, s, r, WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	r.next(t, 10*time.Second)
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(bg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(bg, "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // River waits for the same connection, which must not make the wait longer
	start := time.Now()
	err = s.Do(bg, func(workflow.Tx) error { return nil })
	if took := time.Since(start); err == nil || took > 12*time.Second {
		t.Errorf("Do: %v after %s", err, took)
	}
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	start = time.Now()
	err = s.Do(ctx, func(workflow.Tx) error { return nil })
	if err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("Do: %v after %s", err, time.Since(start))
	}
	if _, err := s.Session(bg, "aaaa"); err != nil {
		t.Errorf("reading beside a writer: %v", err)
	}
	time.AfterFunc(200*time.Millisecond, func() { conn.ExecContext(bg, "ROLLBACK") })
	do(t, s, func(tx workflow.Tx) error { return tx.Append("aaaa", workflow.Event{Kind: workflow.EventViewed}) })
}
