package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// dueCheck is the time between two looks for jobs that are due. River's own
// leader looks every five seconds, which cannot be configured: too long for
// somebody who waits for a code at the page.
const dueCheck = 500 * time.Millisecond

// dueJobs are those that River's leader would make available, by the index that
// its workers fetch with. Our jobs are unique in every state that is pending,
// so making one available cannot collide with another.
const dueJobs = "FROM river_job WHERE state IN ('scheduled', 'retryable') AND queue = 'default' AND priority = 1 AND scheduled_at <= "

// promote makes jobs available that are due, until ctx ends.
func (s *Store) promote(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(dueCheck)
	defer tick.Stop()
	away := false // said once
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.promoteOnce(ctx)
		if err != nil && !away && ctx.Err() == nil {
			log.Warn("looking for jobs that are due", "err", err)
		}
		away = err != nil
	}
}

// promoteOnce reads first: on SQLite, an update that changes nothing would
// still wait for its turn to write.
func (s *Store) promoteOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	now, skipLocked := s.engine.due()
	var due bool
	if err := s.reads.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 "+dueJobs+now+")").Scan(&due); err != nil || !due {
		return err
	}
	t, err := s.engine.begin(ctx)
	if err != nil {
		return err
	}
	if _, err := t.ExecContext(ctx, "UPDATE river_job SET state = 'available' WHERE id IN (SELECT id "+dueJobs+now+
		" ORDER BY scheduled_at LIMIT 1000"+skipLocked+")"); err != nil {
		t.rollback()
		return fmt.Errorf("making jobs available: %w", err)
	}
	return t.commit()
}
