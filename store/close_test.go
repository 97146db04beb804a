package store

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"milterd/workflow"
)

// A store that closes while jobs are worked ends the work first: a running job
// comes to its end, nothing spins, and no new work begins.
func TestCloseEndsWork(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s, err := Open(bg, Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		finished := false
		begun := make(chan struct{})
		r := newRunner(func(ctx context.Context, j workflow.Job) error {
			close(begun)
			time.Sleep(500 * time.Millisecond)
			err := s.Do(ctx, func(tx workflow.Tx) error { return nil })
			finished = err == nil
			return err
		})
		o := WorkOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
		ended := make(chan error, 1)
		go func() { ended <- s.Work(bg, r, o) }()
		enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			t.Fatal("no job ran")
		}
		start := time.Now()
		if err := s.Close(); err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("Close: %v after %s", err, time.Since(start))
		}
		select {
		case err := <-ended:
			if err != nil || !finished {
				t.Errorf("Work: %v, job finished: %v", err, finished)
			}
		default:
			t.Error("Work goes on after Close")
		}
		if err := s.Work(bg, r, o); err == nil {
			t.Error("Work began on a closed store")
		}
		if err := s.Close(); err != nil {
			t.Errorf("closing once more: %v", err)
		}
	})
}

// Nothing of a closed store goes on allocating. It is alone, because it counts
// for the whole process.
func TestClosedStoreIsQuiet(t *testing.T) {
	s, err := Open(bg, Config{URL: empty(t, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(nil)
	go s.Work(bg, r, WorkOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	r.next(t, 10*time.Second)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	time.Sleep(time.Second)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 20<<20 {
		t.Errorf("%d MB were allocated in the second after Close", grown>>20)
	}
}
