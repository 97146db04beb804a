package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"

	"milterd/workflow"
)

const (
	// jobTimeout ends the context of a job.
	jobTimeout = 5 * time.Minute
	// rescueAfter is when River gives a job to another worker that is still
	// marked as running, should everything else have failed to.
	rescueAfter = jobTimeout + time.Minute
	// drain is how long running jobs may take to finish on shutdown; after it
	// their context ends and they have the grace time.
	drain = 20 * time.Second
	grace = 5 * time.Second

	keepFinished  = 7 * 24 * time.Hour
	keepDiscarded = 365 * 24 * time.Hour
)

// WorkOptions are for Work; the zero value works.
type WorkOptions struct {
	Workers int             // jobs at once, 0 means 4
	Logger  *slog.Logger    // nil means slog.Default()
	OnJob   func(JobReport) // after each try, for metrics; must not block

	drain, lostCheck time.Duration // tests shorten them
}

// Outcome says how a try of a job ended.
type Outcome string

// The outcomes.
const (
	Completed   Outcome = "completed"
	Failed      Outcome = "failed"    // will be tried again
	Discarded   Outcome = "discarded" // failed, and was the last try
	Snoozed     Outcome = "snoozed"
	Dropped     Outcome = "dropped"
	Interrupted Outcome = "interrupted" // by shutdown; uses no try
)

// JobReport is one try of a job.
type JobReport struct {
	Kind     workflow.JobKind
	Outcome  Outcome
	Waited   time.Duration // between the time it was due and its start
	Duration time.Duration
}

// Work runs jobs until ctx ends or the store closes, then lets the running ones
// finish for at most 25 seconds. A job's error is tried again after 10 s, 30 s, 1, 5, 15 and 30
// minutes and then hourly for five days; a panic is an error. A job that is due,
// or was inserted by another process, starts within about a second. On SQLite it is an error if another
// process works on the same file. On PostgreSQL any number may; a process that
// is silent for 30 seconds loses its jobs to the others, so a job can run twice
// (workflow.Runner). Loss of the database is waited out.
func (s *Store) Work(ctx context.Context, r workflow.Runner, o WorkOptions) error {
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.drain == 0 {
		o.drain = drain
	}
	if o.lostCheck == 0 {
		o.lostCheck = lostCheck
	}
	ctx, done, err := s.open.work(ctx)
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	defer done()
	host, _ := os.Hostname()
	id := fmt.Sprintf("%.60s-%d-%s", host, os.Getpid(), rand.Text()[:8])
	release, err := s.engine.guard(ctx, id, func(err error) { o.Logger.Warn("jobs", "err", err) })
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	defer release()

	l := &ledger{worker: id, running: map[int64]bool{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{runner: r, log: o.Logger, report: o.OnJob, ledger: l})
	client, err := s.engine.client(&river.Config{
		ID:                          id,
		Logger:                      slog.New(quiet{o.Logger.Handler()}),
		Workers:                     workers,
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Workers}},
		FetchCooldown:               5 * time.Millisecond,
		FetchPollInterval:           500 * time.Millisecond,
		JobTimeout:                  jobTimeout,
		MaxAttempts:                 maxAttempts,
		RescueStuckJobsAfter:        rescueAfter,
		SoftStopTimeout:             o.drain,
		CompletedJobRetentionPeriod: keepFinished,
		CancelledJobRetentionPeriod: keepFinished,
		DiscardedJobRetentionPeriod: keepDiscarded,
	})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	go s.promote(ctx, o.Logger)
	l.watch(ctx, s, o.lostCheck, o.Logger)
	select {
	case <-client.Stopped():
		return nil
	case <-time.After(o.drain + grace):
		return errors.New("jobs: some did not end in time")
	}
}

// worker hands River's jobs to the Runner.
type worker struct {
	river.WorkerDefaults[jobArgs]
	runner workflow.Runner
	log    *slog.Logger
	report func(JobReport)
	ledger *ledger
}

// NextRetry implements river.Worker.
func (w *worker) NextRetry(j *river.Job[jobArgs]) time.Time {
	return time.Now().Add(retryDelay(j.Attempt))
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, j *river.Job[jobArgs]) error {
	w.ledger.begin(j.ID)
	defer w.ledger.end(j.ID)
	start := time.Now()
	job := j.Args.Job
	job.At = j.ScheduledAt
	err := w.run(ctx, job)
	outcome, result := w.outcome(ctx, j, err)
	if w.report != nil {
		w.report(JobReport{Kind: job.Kind, Outcome: outcome, Waited: start.Sub(j.ScheduledAt), Duration: time.Since(start)})
	}
	log := w.log.With("job", j.ID, "kind", job.Kind, "session", job.Session, "try", j.Attempt)
	switch outcome {
	case Failed:
		log.Warn("job failed, will be tried again", "err", err)
	case Discarded:
		log.Error("job failed and is out of tries", "err", err)
	case Dropped:
		log.Warn("job dropped", "err", err)
	default:
		log.Debug("job "+string(outcome), "took", time.Since(start))
	}
	return result
}

// run is Runner.Run with a panic as an error.
func (w *worker) run(ctx context.Context, j workflow.Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("job panicked", "kind", j.Kind, "session", j.Session, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.runner.Run(ctx, j)
}

// outcome translates what the Runner returned for River.
func (w *worker) outcome(ctx context.Context, j *river.Job[jobArgs], err error) (Outcome, error) {
	var snooze workflow.Snooze
	var drop workflow.Drop
	switch {
	case err == nil:
		return Completed, nil
	case errors.As(err, &snooze):
		return Snoozed, river.JobSnooze(max(snooze.For, 0))
	case errors.As(err, &drop):
		return Dropped, river.JobCancel(err)
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return Interrupted, river.JobSnooze(0)
	case j.Attempt >= j.MaxAttempts:
		return Discarded, err
	}
	return Failed, err
}

// quiet lets only River's own warnings and errors through; what becomes of a
// job is logged here, with words that an operator knows.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }
func (q quiet) WithGroup(n string) slog.Handler      { return quiet{q.Handler.WithGroup(n)} }
