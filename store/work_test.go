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
			r.next(t, time.Second)
			worst = max(worst, time.Since(start))
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("slowest start of 10: %s", worst)
		if worst > 500*time.Millisecond {
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

func TestJobOfRolledBackTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		boom := errors.New("boom")
		if err := s.Do(bg, func(tx workflow.Tx) error {
			return errors.Join(tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: "aaaa"}), boom)
		}); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if jobs, err := s.Jobs(bg, "aaaa"); err != nil || len(jobs) != 0 {
			t.Errorf("%+v, %v", jobs, err)
		}
	})
}

func TestUniqueJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		count := func(want int) {
			t.Helper()
			if jobs, err := s.Jobs(bg, "aaaa"); err != nil || len(jobs) != want {
				t.Errorf("%d jobs, %v; want %d", len(jobs), err, want)
			}
		}
		job := workflow.Job{Kind: workflow.JobMail, Session: "aaaa", Person: 1, Mail: workflow.MailInvitation}
		again := job
		again.Round = 1
		later := job
		later.At = now().Add(time.Hour)
		enqueue(t, s, job, job, later)
		enqueue(t, s, job)
		count(1)
		enqueue(t, s, again)
		count(2)

		let := make(chan struct{})
		r := newRunner(func(context.Context, workflow.Job) error { <-let; return nil })
		work(t, s, r, WorkOptions{})
		r.next(t, 10*time.Second)
		r.next(t, 10*time.Second)
		enqueue(t, s, job) // it runs
		count(2)
		close(let)
		for range 400 {
			jobs, err := s.Jobs(bg, "aaaa")
			if err != nil {
				t.Fatal(err)
			}
			if jobs[0].State == "completed" && jobs[1].State == "completed" {
				break
			}
			time.Sleep(25 * time.Millisecond)
		}
		enqueue(t, s, job)
		r.next(t, time.Second)
		count(3)
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
		if d := time.Since(start); d < 900*time.Millisecond || d > 5*time.Second {
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
		if !strings.Contains(i.Error, "no such mailbox") || i.Attempt != 1 || i.Finished.IsZero() {
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

func TestRetry(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		tries := 0
		r := newRunner(func(context.Context, workflow.Job) error {
			tries++
			switch tries {
			case 1:
				return errors.New("authority away")
			case 2:
				panic("boom")
			}
			return nil
		})
		work(t, s, r, WorkOptions{})
		start := time.Now()
		enqueue(t, s, workflow.Job{Kind: workflow.JobSign, Session: "aaaa"})
		i := inState(t, s, "aaaa", "retryable")
		if i.Error != "authority away" || i.Attempt != 1 {
			t.Errorf("%+v", i)
		}
		if d := i.Next.Sub(start); d < 8*time.Second || d > 20*time.Second {
			t.Errorf("next try after %s, want about 10 s", d)
		}
		again := func() { do(t, s, func(tx workflow.Tx) error { return tx.RetryJob(i.ID) }) }
		again()
		r.next(t, time.Second)
		r.next(t, 2*time.Second)
		if i = inState(t, s, "aaaa", "retryable"); i.Error != "panic: boom" || i.Attempt != 2 {
			t.Errorf("%+v", i)
		}
		again()
		inState(t, s, "aaaa", "completed")
	})
}

func TestRetryDelay(t *testing.T) {
	var least, most time.Duration
	for n := 1; n < maxAttempts; n++ {
		base := retryDelays[min(n, len(retryDelays))-1]
		least += base * 9 / 10
		most += base * 11 / 10
		for range 100 {
			if d := retryDelay(n); d < base*9/10 || d > base*11/10 {
				t.Fatalf("failure %d: %s, want about %s", n, d, base)
			}
		}
	}
	if days := (least + most) / 2 / (24 * time.Hour); days < 4 || days > 5 {
		t.Errorf("the tries last %s to %s, want about 5 days", least, most)
	}
	if retryDelay(0) > 12*time.Second {
		t.Error("no failure at all waits longer than the first")
	}
}

func TestOutOfTries(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		fail := errors.New("still away")
		var mu sync.Mutex
		set := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			fail = err
		}
		r := newRunner(func(context.Context, workflow.Job) error {
			mu.Lock()
			defer mu.Unlock()
			return fail
		})
		job := workflow.Job{Kind: workflow.JobSeal, Session: "aaaa"}
		enqueue(t, s, job)
		if _, err := s.engineDB().ExecContext(bg, "UPDATE river_job SET max_attempts = 1"); err != nil {
			t.Fatal(err)
		}
		work(t, s, r, WorkOptions{})
		i := inState(t, s, "aaaa", "discarded")
		all, err := s.Jobs(bg, "")
		if err != nil || len(all) != 1 || all[0].ID != i.ID || all[0].Error != "still away" || all[0].Job.Session != "aaaa" {
			t.Errorf("%+v, %v", all, err)
		}
		do(t, s, func(tx workflow.Tx) error { return tx.RetryJob(i.ID) })
		if i = inState(t, s, "aaaa", "retryable"); i.Attempt != 2 || i.Max != 1+maxAttempts {
			t.Errorf("%+v", i)
		}
		set(nil)
		do(t, s, func(tx workflow.Tx) error { return tx.RetryJob(i.ID) })
		inState(t, s, "aaaa", "completed")
		if all, err := s.Jobs(bg, ""); err != nil || len(all) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// TestRetryBesideEqualJob retries a job that is out of tries while an equal one waits.
func TestRetryBesideEqualJob(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		job := workflow.Job{Kind: workflow.JobSeal, Session: "aaaa"}
		enqueue(t, s, job)
		if _, err := s.engineDB().ExecContext(bg, "UPDATE river_job SET state = 'discarded', attempt = max_attempts, finalized_at = CURRENT_TIMESTAMP"); err != nil {
			t.Fatal(err)
		}
		job.At = now().Add(time.Hour)
		enqueue(t, s, job)
		all, err := s.Jobs(bg, "")
		if err != nil || len(all) != 1 {
			t.Fatalf("%+v, %v", all, err)
		}
		do(t, s, func(tx workflow.Tx) error { return tx.RetryJob(all[0].ID) })
		jobs, err := s.Jobs(bg, "aaaa")
		if err != nil || len(jobs) != 2 || jobs[0].State != "discarded" || jobs[1].State != "available" || time.Until(jobs[1].Next) > 0 {
			t.Errorf("%+v, %v", jobs, err)
		}
	})
}

func TestCancelJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		enqueue(t, s,
			workflow.Job{Kind: workflow.JobMail, Session: "aaaa"},
			workflow.Job{Kind: workflow.JobSign, Session: "aaaa"},
			workflow.Job{Kind: workflow.JobExpire, Session: "aaaa", At: now().Add(time.Hour)},
			workflow.Job{Kind: workflow.JobRetain, Session: "aaaa", At: now().Add(time.Hour)},
			workflow.Job{Kind: workflow.JobMail, Session: "bbbb"})
		do(t, s, func(tx workflow.Tx) error { return tx.CancelJobs("aaaa", workflow.JobRetain, workflow.JobSign) })
		got := map[string]string{}
		for _, id := range []string{"aaaa", "bbbb"} {
			jobs, err := s.Jobs(bg, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range jobs {
				got[id+" "+string(j.Job.Kind)] = j.State
			}
		}
		want := map[string]string{"aaaa mail": "cancelled", "aaaa sign": "available", "aaaa expire": "cancelled",
			"aaaa retain": "scheduled", "bbbb mail": "available"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// A cancelled job does not stand in the way of an equal one.
		enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		if jobs, err := s.Jobs(bg, "aaaa"); err != nil || len(jobs) != 5 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
	})
}

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
		work(t, s, r, WorkOptions{lostCheck: 200 * time.Millisecond})
		enqueue(t, s, workflow.Job{Kind: workflow.JobSeal, Session: "long"})
		r.next(t, 10*time.Second)
		enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
		r.next(t, time.Second)
		i := inState(t, s, "aaaa", "completed")
		if _, err := s.engineDB().ExecContext(bg, "UPDATE river_job SET state = 'running', finalized_at = NULL WHERE id = $1", i.ID); err != nil {
			t.Fatal(err)
		}
		if j := r.next(t, 5*time.Second); j.Session != "aaaa" {
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
