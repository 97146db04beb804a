package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// childVar makes the test binary the process that is killed; its value is the
// URL of the database.
const childVar = "MILTERD_STORE_CHILD"

// child works one job and stops in the middle of it: one transaction is
// committed, a second one has written but not committed.
func child() int {
	s, err := Open(bg, Config{URL: os.Getenv(childVar)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = s.Work(bg, newRunner(func(ctx context.Context, j workflow.Job) error {
		if err := s.Do(ctx, func(tx workflow.Tx) error {
			return errors.Join(
				tx.Append(j.Session, workflow.Event{Kind: workflow.EventPrepared}),
				tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: "bbbb"}))
		}); err != nil {
			return err
		}
		return s.Do(ctx, func(tx workflow.Tx) error {
			if err := errors.Join(
				tx.Append(j.Session, workflow.Event{Kind: workflow.EventSealed}),
				tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: "cccc"})); err != nil {
				return err
			}
			fmt.Println("now")
			select {}
		})
	}), WorkOptions{Workers: 1})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKill kills a process with SIGKILL in the middle of a job: what it had
// committed is there, what it had not is gone, and the job runs again.
func TestKill(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s := open(t, url)
		create(t, s, "aaaa")
		create(t, s, "bbbb")
		enqueue(t, s, workflow.Job{Kind: workflow.JobPrepare, Session: "aaaa"})

		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), childVar+"="+url)
		var log strings.Builder
		c.Stderr = &log
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("now\n"))); err != nil {
			c.Process.Kill()
			c.Wait()
			t.Fatalf("the child did not come to its job: %v\n%s", err, log.String())
		}
		if strings.HasPrefix(url, "sqlite:") {
			if err := s.Work(bg, newRunner(nil), WorkOptions{}); err == nil || !strings.Contains(err.Error(), "served by another milterd already") {
				t.Errorf("Work beside a living process: %v", err)
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()

		r := newRunner(nil)
		if _, ok := s.engine.(*postgres); ok {
			// The silence of the dead process is proven after 30 seconds. Until
			// then its job is its own.
			stop := work(t, s, r, WorkOptions{})
			if j := r.next(t, 10*time.Second); j.Kind != workflow.JobMail {
				t.Errorf("took %+v from a process that may live", j)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if _, err := s.engineDB().ExecContext(bg, "UPDATE workers SET seen = seen - interval '1 minute'"); err != nil {
				t.Fatal(err)
			}
		}
		work(t, s, r, WorkOptions{})
		ran := map[workflow.JobKind]bool{r.next(t, 10*time.Second).Kind: true}
		if _, ok := s.engine.(*sqlite); ok {
			ran[r.next(t, 10*time.Second).Kind] = true
			if !ran[workflow.JobMail] {
				t.Error("the committed job is lost")
			}
		}
		if !ran[workflow.JobPrepare] {
			t.Error("the job of the dead process did not run again")
		}
		if i := inState(t, s, "aaaa", "completed"); i.Attempt != 2 {
			t.Errorf("%+v", i)
		}
		inState(t, s, "bbbb", "completed")
		if e, err := s.Events(bg, "aaaa"); err != nil || len(e) != 1 || e[0].Kind != workflow.EventPrepared {
			t.Errorf("events %+v, %v", e, err)
		}
		if jobs, err := s.Jobs(bg, "cccc"); err != nil || len(jobs) != 0 {
			t.Errorf("the job of the broken transaction is there: %+v, %v", jobs, err)
		}
		do(t, s, func(tx workflow.Tx) error { return tx.Append("aaaa", workflow.Event{Kind: workflow.EventSealed}) })
	})
}

// TestSilentWorker lets one of two living processes lose its jobs to the other.
func TestSilentWorker(t *testing.T) {
	t.Parallel()
	url := empty(t, "postgres")
	s := open(t, url)
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	if _, err := s.engineDB().ExecContext(bg, `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
		attempted_by = '{somebody, dead}'`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.engineDB().ExecContext(bg, "INSERT INTO workers VALUES ('dead', now()), ('somebody', now())"); err != nil {
		t.Fatal(err)
	}
	r := newRunner(nil)
	work(t, s, r, WorkOptions{})
	time.Sleep(beat + time.Second)
	if len(r.ran) != 0 {
		t.Error("took a job from a process that lives")
	}
	if _, err := s.engineDB().ExecContext(bg, "UPDATE workers SET seen = now() - interval '31 s' WHERE id = 'dead'"); err != nil {
		t.Fatal(err)
	}
	r.next(t, beat+10*time.Second)
}
