package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"milterd/workflow"
)

// jobArgs is the one kind of job that River sees.
type jobArgs struct{ workflow.Job }

// Kind implements river.JobArgs.
func (jobArgs) Kind() string { return "milterd" }

// pendingStates are those in which an equal job is not inserted again.
var pendingStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
	rivertype.JobStateRetryable, rivertype.JobStateScheduled,
}

// retryDelays come after the first failures; the last one after all others.
var retryDelays = []time.Duration{
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
}

// maxAttempts makes the tries last five days: Postfix's own bounce time
// (maximal_queue_lifetime), and long enough for a weekend without a timestamp authority.
const maxAttempts = 126

// retryDelay is how long a job waits after its n-th failure (from 1), with a
// jitter of a tenth, so that jobs that failed together do not come back together.
func retryDelay(n int) time.Duration {
	d := retryDelays[min(max(n, 1), len(retryDelays))-1]
	return d*9/10 + rand.N(d/5)
}

// insertOnly configures a River client that works no jobs. Its FetchCooldown is
// the time within which a second insert wakes no worker.
func insertOnly() *river.Config {
	return &river.Config{
		FetchCooldown: time.Millisecond,
		Logger:        slog.New(slog.DiscardHandler),
		MaxAttempts:   maxAttempts,
	}
}

// ofSession lists the jobs of one session.
func ofSession(id string) *river.JobListParams {
	// The same operator in both databases; migrate has made an index of it.
	return river.NewJobListParams().First(10_000).
		Where("args ->> 'session' = @session", river.NamedArgs{"session": id})
}

// Enqueue implements workflow.Tx. An equal job that runs is pending, too.
func (t *tx) Enqueue(jobs ...workflow.Job) error {
	if t.broken != nil {
		return t.broken
	}
	var all []river.InsertManyParams
	for _, j := range jobs {
		all = append(all, river.InsertManyParams{Args: jobArgs{j}, InsertOpts: &river.InsertOpts{
			ScheduledAt: j.At,
			UniqueOpts:  river.UniqueOpts{ByArgs: true, ByState: pendingStates},
		}})
	}
	if err := t.t.queue.insert(t.ctx, all); err != nil {
		return t.fail("enqueuing "+string(jobs[0].Kind), err)
	}
	return nil
}

// CancelJobs implements workflow.Tx. Jobs that wait for another try go, too;
// one that runs goes on.
func (t *tx) CancelJobs(session string, keep ...workflow.JobKind) error {
	if t.broken != nil {
		return t.broken
	}
	rows, err := t.t.queue.list(t.ctx, ofSession(session).States(
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateScheduled))
	if err != nil {
		return t.fail("listing jobs of "+session, err)
	}
	for _, r := range rows {
		i, err := jobInfo(r)
		if err != nil {
			return err
		}
		if slices.Contains(keep, i.Job.Kind) {
			continue
		}
		if err := t.t.queue.cancel(t.ctx, r.ID); err != nil && !errors.Is(err, rivertype.ErrNotFound) {
			return t.fail("cancelling a job of "+session, err)
		}
	}
	return nil
}

// RetryJob implements workflow.Tx. The job gets as many tries as a new one. If
// an equal job is pending, that one is run now instead. A job that runs,
// completed or was cancelled is ErrConflict.
func (t *tx) RetryJob(id int64) error {
	if t.broken != nil {
		return t.broken
	}
	rows, err := t.t.queue.list(t.ctx, river.NewJobListParams().IDs(id))
	if err != nil {
		return t.fail("looking up a job", err)
	}
	if len(rows) == 0 {
		return fmt.Errorf("store: job %d: %w", id, workflow.ErrNotFound)
	}
	switch rows[0].State {
	case rivertype.JobStateAvailable, rivertype.JobStateRetryable, rivertype.JobStateScheduled:
	case rivertype.JobStateDiscarded:
		var equal int64
		err := t.row("looking for an equal job", `SELECT id FROM river_job WHERE unique_key = $1 AND id <> $2
			AND state IN ('available', 'pending', 'running', 'retryable', 'scheduled')`, []any{rows[0].UniqueKey, id}, &equal)
		if err == nil {
			id = equal
		} else if !errors.Is(err, workflow.ErrNotFound) {
			return err
		}
	default:
		return fmt.Errorf("store: job %d is %s: %w", id, rows[0].State, workflow.ErrConflict)
	}
	if err := t.t.queue.retry(t.ctx, id); err != nil {
		return t.fail("retrying a job", err)
	}
	// River would allow one more try only.
	_, err = t.exec("retrying a job", "UPDATE river_job SET max_attempts = attempt + $1 WHERE id = $2 AND state = 'available'",
		maxAttempts, id)
	return err
}

// Jobs implements workflow.Store, oldest first. Completed and cancelled jobs
// are listed for a week, those out of tries for a year.
func (s *Store) Jobs(ctx context.Context, session string) ([]workflow.JobInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	p := river.NewJobListParams().First(10_000).States(rivertype.JobStateDiscarded)
	if session != "" {
		p = ofSession(session)
	}
	r, err := s.jobs.JobList(ctx, p.OrderBy(river.JobListOrderByID, river.SortOrderAsc))
	if err != nil {
		return nil, fmt.Errorf("store: jobs: %w", err)
	}
	var out []workflow.JobInfo
	for _, row := range r.Jobs {
		i, err := jobInfo(row)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func jobInfo(r *rivertype.JobRow) (workflow.JobInfo, error) {
	i := workflow.JobInfo{ID: r.ID, State: string(r.State), Attempt: r.Attempt, Max: r.MaxAttempts, Next: r.ScheduledAt.UTC()}
	if err := json.Unmarshal(r.EncodedArgs, &i.Job); err != nil {
		return i, fmt.Errorf("store: job %d: %w", r.ID, err)
	}
	i.Job.At = i.Next
	if n := len(r.Errors); n > 0 {
		i.Error = strings.TrimPrefix(r.Errors[n-1].Error, "JobCancelError: ") // River's mark of a Drop
	}
	if r.FinalizedAt != nil {
		i.Finished = r.FinalizedAt.UTC()
	}
	return i, nil
}
