package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// lostCheck is the time between two looks for lost jobs. It is longer than
// River goes on trying to store the result of a job (37 s).
const lostCheck = time.Minute

// ledger knows which jobs really run in this process. River gives up storing
// a job's result when the database is away, or full, for more than some
// seconds; the job is then marked as running for good, in a process that lives.
// What two looks in a row find marked as ours without running here is given back.
type ledger struct {
	worker string

	mu      sync.Mutex
	running map[int64]bool
}

func (l *ledger) begin(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[id] = true
}

func (l *ledger) end(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, id)
}

func (l *ledger) runs(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running[id]
}

// watch looks for lost jobs until ctx ends.
func (l *ledger) watch(ctx context.Context, s *Store, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	suspects := map[int64]int{} // the try in which a job was seen
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		found, err := l.look(ctx, s)
		if err != nil {
			if ctx.Err() == nil {
				log.Warn("looking for lost jobs", "err", err)
			}
			continue
		}
		for id, try := range found {
			if suspects[id] != try {
				continue
			}
			log.Warn("the result of a job was lost, it runs again", "job", id, "try", try)
			if err := s.giveBack(ctx, id, try); err != nil {
				log.Warn("giving back a lost job", "job", id, "err", err)
			}
		}
		suspects = found
	}
}

// look lists the jobs that are marked as running here and do not.
func (l *ledger) look(ctx context.Context, s *Store) (map[int64]int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := s.jobs.JobList(ctx, river.NewJobListParams().First(10_000).States(rivertype.JobStateRunning))
	if err != nil {
		return nil, err
	}
	found := map[int64]int{}
	for _, j := range r.Jobs {
		if n := len(j.AttemptedBy); n > 0 && j.AttemptedBy[n-1] == l.worker && !l.runs(j.ID) {
			found[j.ID] = j.Attempt
		}
	}
	return found, nil
}

// giveBack makes a job available that is still marked as running in that try.
func (s *Store) giveBack(ctx context.Context, id int64, try int) error {
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	t, err := s.engine.begin(ctx)
	if err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, "UPDATE river_job SET state = 'available' WHERE id = $1 AND state = 'running' AND attempt = $2",
		id, try); err != nil {
		t.rollback()
		return err
	}
	return t.commit()
}
