package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

// runner is a workflow.Runner that tells the test what it runs.
type runner struct {
	ran chan workflow.Job
	run func(ctx context.Context, j workflow.Job) error
}

func newRunner(run func(ctx context.Context, j workflow.Job) error) *runner {
	return &runner{ran: make(chan workflow.Job, 10_000), run: run}
}

func (r *runner) Run(ctx context.Context, j workflow.Job) error {
	r.ran <- j
	if r.run == nil {
		return nil
	}
	return r.run(ctx, j)
}

// next waits for the next run.
func (r *runner) next(t *testing.T, within time.Duration) workflow.Job {
	t.Helper()
	select {
	case j := <-r.ran:
		return j
	case <-time.After(within):
		t.Fatalf("no job ran within %s", within)
	}
	panic("unreachable")
}

// work runs Store.Work until the end of the test, or until stop, which gives its error.
func work(t *testing.T, s *Store, r workflow.Runner, o WorkOptions) (stop func() error) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error, 1)
	go func() { done <- s.Work(ctx, r, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

func enqueue(t testing.TB, s *Store, jobs ...workflow.Job) {
	t.Helper()
	do(t, s, func(tx workflow.Tx) error {
		for _, j := range jobs {
			if err := tx.Enqueue(j); err != nil {
				return err
			}
		}
		return nil
	})
}

// inState waits until the session's only job is in a state.
func inState(t *testing.T, s *Store, session, state string) workflow.JobInfo {
	t.Helper()
	var jobs []workflow.JobInfo
	for range 400 {
		var err error
		if jobs, err = s.Jobs(bg, session); err != nil {
			t.Fatal(err)
		}
		if len(jobs) == 1 && jobs[0].State == state {
			return jobs[0]
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("want one job that is %s, got %+v", state, jobs)
	panic("unreachable")
}

func TestJobRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		r := newRunner(nil)
		reports := make(chan JobReport, 100)
		work(t, s, r, WorkOptions{OnJob: func(r JobReport) { reports <- r }})
		job := workflow.Job{Kind: workflow.JobMail, Session: "aaaa", Person: 2, Mail: workflow.MailCode, Challenge: "x", Round: 3}
		enqueue(t, s, job)
		got := r.next(t, 10*time.Second) // the engine may still be starting
		got.At = time.Time{}
		if got != job {
			t.Errorf("ran %+v, want %+v", got, job)
		}
		if rep := <-reports; rep.Kind != workflow.JobMail || rep.Outcome != Completed {
			t.Errorf("report %+v", rep)
		}
		done := inState(t, s, "aaaa", "completed")
		if done.Attempt != 1 || done.Max != maxAttempts || done.Finished.IsZero() || done.Error != "" {
			t.Errorf("%+v", done)
		}

		// Another job starts at once.
		var worst time.Duration
		for i := range 10 {
			start := time.Now()
			enqueue(t, s, workflow.Job{Kind: workflow.JobSign, Session: "bbbb", Person: i})
			r.next(t, 10*time.Second)
			worst = max(worst, time.Since(start))
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("slowest start of 10: %s", worst)
		if worst > time.Second {
			t.Errorf("a job took %s to start", worst)
		}
	})
}

// TestJobOfAnotherProcess enqueues through a second store on the same database.
func TestJobOfAnotherProcess(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		r := newRunner(nil)
		work(t, open(t, url), r, WorkOptions{})
		other := open(t, url)
		enqueue(t, other, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		r.next(t, 10*time.Second)
		start := time.Now()
		enqueue(t, other, workflow.Job{Kind: workflow.JobMail, Session: "bbbb"})
		r.next(t, 2*time.Second)
		t.Logf("started after %s", time.Since(start))
	})
}

func TestScheduledJob(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		r := newRunner(nil)
		work(t, s, r, WorkOptions{})
		at := time.Now().Add(2 * time.Second)
		enqueue(t, s, workflow.Job{Kind: workflow.JobExpire, Session: "aaaa", At: at})
		if i := inState(t, s, "aaaa", "scheduled"); i.Next.Sub(at).Abs() > time.Millisecond {
			t.Errorf("next %s, want %s", i.Next, at)
		}
		got := r.next(t, 20*time.Second)
		if early := time.Until(at); early > 0 {
			t.Errorf("ran %s early", early)
		}
		if got.At.Sub(at).Abs() > time.Millisecond {
			t.Errorf("At %s, want %s", got.At, at)
		}

		// River alone looks every five seconds: of several, some come late.
		var worst time.Duration
		for i := range 4 {
			at := time.Now().Add(700 * time.Millisecond)
			enqueue(t, s, workflow.Job{Kind: workflow.JobExpire, Session: "bbbb", Person: i, At: at})
			r.next(t, 20*time.Second)
			worst = max(worst, time.Since(at))
		}
		t.Logf("latest start of 4: %s", worst)
		if worst > 2500*time.Millisecond {
			t.Errorf("a scheduled job was %s late", worst)
		}
	})
}

func TestSnooze(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		var once sync.Once
		r := newRunner(func(context.Context, workflow.Job) (err error) {
			once.Do(func() { err = fmt.Errorf("wrapped: %w", workflow.Snooze{For: time.Second}) })
			return err
		})
		work(t, s, r, WorkOptions{})
		enqueue(t, s, workflow.Job{Kind: workflow.JobSign, Session: "aaaa"})
		r.next(t, 10*time.Second)
		start := time.Now()
		r.next(t, 10*time.Second)
		if d := time.Since(start); d < 900*time.Millisecond || d > 10*time.Second {
			t.Errorf("came back after %s", d)
		}
		if i := inState(t, s, "aaaa", "completed"); i.Attempt != 1 {
			t.Errorf("%d tries, want 1", i.Attempt)
		}
	})
}

func TestDrop(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		r := newRunner(func(context.Context, workflow.Job) error {
			return fmt.Errorf("mailing: %w", workflow.Drop{Err: errors.New("no such mailbox")})
		})
		reports := make(chan JobReport, 1)
		work(t, s, r, WorkOptions{OnJob: func(r JobReport) { reports <- r }})
		enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		i := inState(t, s, "aaaa", "cancelled")
		if i.Error != "mailing: no such mailbox" || i.Attempt != 1 || i.Finished.IsZero() {
			t.Errorf("%+v", i)
		}
		if rep := <-reports; rep.Outcome != Dropped {
			t.Errorf("report %+v", rep)
		}
		if err := s.Do(bg, func(tx workflow.Tx) error { return tx.RetryJob(i.ID) }); !errors.Is(err, workflow.ErrConflict) {
			t.Errorf("retrying a dropped job: %v", err)
		}
	})
}

// TestRetryBesideEqualJob retries a job that is out of tries while an equal one waits.
// TestManyJobs runs a thousand jobs, each once, on PostgreSQL with two processes.
func TestManyJobs(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s := open(t, url)
		r := newRunner(nil)
		work(t, s, r, WorkOptions{Workers: 20})
		if strings.HasPrefix(url, "postgres") {
			work(t, open(t, url), r, WorkOptions{Workers: 20})
		}
		const n = 1000
		start := time.Now()
		for i := range 10 {
			var jobs []workflow.Job
			for k := range n / 10 {
				jobs = append(jobs, workflow.Job{Kind: workflow.JobSign, Session: fmt.Sprint("s", i), Person: k})
			}
			enqueue(t, s, jobs...)
		}
		seen := map[string]int{}
		for range n {
			j := r.next(t, 20*time.Second)
			seen[fmt.Sprint(j.Session, j.Person)]++
		}
		t.Logf("%d jobs in %s", n, time.Since(start))
		time.Sleep(100 * time.Millisecond)
		if len(seen) != n || len(r.ran) != 0 {
			t.Errorf("%d different jobs, %d more", len(seen), len(r.ran))
		}
	})
}

func TestSecondWorker(t *testing.T) {
	path := t.TempDir() + "/test.db"
	s, other := open(t, "sqlite:"+path), open(t, "sqlite:"+path)
	r := newRunner(nil)
	stop := work(t, s, r, WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	r.next(t, 10*time.Second)
	err := other.Work(bg, r, WorkOptions{})
	if err == nil || !strings.Contains(err.Error(), "test.db is served by another milterd already") {
		t.Errorf("second Work: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	work(t, other, r, WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "bbbb"})
	r.next(t, 10*time.Second)
}

func TestDrain(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		create(t, s, "aaaa")
		r := newRunner(func(ctx context.Context, j workflow.Job) error {
			if j.Kind == workflow.JobSeal { // never ends by itself
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(300 * time.Millisecond)
			return s.Do(ctx, func(tx workflow.Tx) error {
				return tx.Append("aaaa", workflow.Event{Kind: workflow.EventSealed})
			})
		})
		reports := make(chan JobReport, 10)
		stop := work(t, s, r, WorkOptions{drain: time.Second, OnJob: func(r JobReport) { reports <- r }})
		enqueue(t, s, workflow.Job{Kind: workflow.JobSign, Session: "aaaa"}, workflow.Job{Kind: workflow.JobSeal, Session: "bbbb"})
		r.next(t, 10*time.Second)
		r.next(t, 10*time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		inState(t, s, "aaaa", "completed")
		if e, err := s.Events(bg, "aaaa"); err != nil || len(e) != 1 {
			t.Errorf("%d events, %v", len(e), err)
		}
		if i := inState(t, s, "bbbb", "available"); i.Attempt != 0 {
			t.Errorf("the interrupted job used %d tries", i.Attempt)
		}
		<-reports
		if rep := <-reports; rep.Kind != workflow.JobSeal || rep.Outcome != Interrupted {
			t.Errorf("report %+v", rep)
		}
	})
}

// TestLostResult marks a job as running again, as if its result had not been
// stored, beside one that does run.
func TestLostResult(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		let := make(chan struct{})
		r := newRunner(func(_ context.Context, j workflow.Job) error {
			if j.Session == "long" {
				<-let
			}
			return nil
		})
		work(t, s, r, WorkOptions{lostCheck: time.Second})
		enqueue(t, s, workflow.Job{Kind: workflow.JobSeal, Session: "long"})
		r.next(t, 10*time.Second)
		enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		r.next(t, 10*time.Second)
		i := inState(t, s, "aaaa", "completed")
		if _, err := s.engineDB().ExecContext(bg, "UPDATE river_job SET state = 'running', finalized_at = NULL WHERE id = $1", i.ID); err != nil {
			t.Fatal(err)
		}
		if j := r.next(t, 10*time.Second); j.Session != "aaaa" {
			t.Errorf("ran %+v", j)
		}
		if i := inState(t, s, "aaaa", "completed"); i.Attempt != 2 {
			t.Errorf("%+v", i)
		}
		close(let)
		if i := inState(t, s, "long", "completed"); i.Attempt != 1 {
			t.Errorf("%+v", i)
		}
		if len(r.ran) != 0 {
			t.Error("more ran")
		}
	})
}
