package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

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
		r.next(t, 10*time.Second)
		count(3)
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
		r.next(t, 10*time.Second)
		r.next(t, 10*time.Second)
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
