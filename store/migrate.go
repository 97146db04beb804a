package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations
var migrations embed.FS

// migrationLock is the advisory lock of PostgreSQL under which one process at
// a time migrates; an arbitrary number ("milterd" as bytes).
const migrationLock = 0x6d696c74657264

// jobIndexes find the jobs of a session, and for River's leader those that are
// due: without the second it reads on SQLite every job that waits for its
// time, of which each open session has one, every five seconds while nobody
// else can write. They stand on River's table, which River may rebuild when it
// migrates; therefore they are looked after every time.
var jobIndexes = []string{
	"CREATE INDEX IF NOT EXISTS milterd_job_session ON river_job ((args ->> 'session'))",
	"CREATE INDEX IF NOT EXISTS milterd_job_due ON river_job (state, scheduled_at) WHERE state IN ('retryable', 'scheduled')",
}

func addJobIndexes(ctx context.Context, q querier) error {
	for _, one := range jobIndexes {
		if _, err := q.ExecContext(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// step is one numbered file of migrations.
type step struct {
	version int
	name    string
	sql     string
}

// steps reads the files of an engine, in order, without a gap.
func steps(engine string) ([]step, error) {
	names, err := fs.Glob(migrations, path.Join("migrations", engine, "*.sql"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []step
	for i, n := range names {
		var s step
		if _, err := fmt.Sscanf(path.Base(n), "%04d_", &s.version); err != nil || s.version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", n, i+1)
		}
		b, err := migrations.ReadFile(n)
		if err != nil {
			return nil, err
		}
		s.name, s.sql = path.Base(n), string(b)
		out = append(out, s)
	}
	return out, nil
}

// version tells which step a database has reached; 0 for an empty one.
func version(ctx context.Context, q querier) (int, error) {
	if _, err := q.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS migrations (version integer NOT NULL PRIMARY KEY, name text NOT NULL)"); err != nil {
		return 0, fmt.Errorf("migrating: %w", err)
	}
	var v int
	if err := q.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM migrations").Scan(&v); err != nil {
		return 0, fmt.Errorf("migrating: %w", err)
	}
	return v, nil
}

// apply runs the steps up to number last that a database lacks.
func apply(ctx context.Context, q querier, all []step, last int) error {
	v, err := version(ctx, q)
	if err != nil {
		return err
	}
	if v > len(all) {
		return fmt.Errorf("the database is at step %d and this milterd knows %d: it belongs to a newer milterd", v, len(all))
	}
	for _, s := range all[v:max(v, last)] {
		if _, err := q.ExecContext(ctx, s.sql); err != nil {
			return fmt.Errorf("migrating: %s: %w", s.name, err)
		}
		if _, err := q.ExecContext(ctx, "INSERT INTO migrations (version, name) VALUES ($1, $2)", s.version, s.name); err != nil {
			return fmt.Errorf("migrating: %s: %w", s.name, err)
		}
	}
	return nil
}

// riverUp brings River's tables up to date and checks that they are.
func riverUp(
	migrate func() (*rivermigrate.MigrateResult, error),
	validate func() (*rivermigrate.ValidateResult, error),
) error {
	if _, err := migrate(); err != nil {
		return fmt.Errorf("migrating the jobs: %w", err)
	}
	v, err := validate()
	if err != nil {
		return fmt.Errorf("migrating the jobs: %w", err)
	}
	if !v.OK {
		return fmt.Errorf("migrating the jobs: %v", v.Messages)
	}
	return nil
}

func migrator[T any](d riverdriver.Driver[T]) (*rivermigrate.Migrator[T], error) {
	return rivermigrate.New(d, &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
}

// migrate does everything in one transaction, which is the lock as well.
func (e *sqlite) migrate(ctx context.Context) error {
	all, err := steps("sqlite")
	if err != nil {
		return err
	}
	m, err := migrator(riversqlite.New(e.writes))
	if err != nil {
		return err
	}
	t, err := e.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer t.Rollback()
	if err := apply(ctx, t, all, len(all)); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if err := riverUp(
		func() (*rivermigrate.MigrateResult, error) { return m.MigrateTx(ctx, t, rivermigrate.DirectionUp, nil) },
		func() (*rivermigrate.ValidateResult, error) { return m.ValidateTx(ctx, t, nil) },
	); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if err := addJobIndexes(ctx, t); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("sqlite: migrating: %w", err)
	}
	return nil
}

// migrate holds an advisory lock. River needs a transaction for each of its
// steps (a new value of an enum cannot be used in the one that adds it); ours
// are one transaction.
func (e *postgres) migrate(ctx context.Context) error {
	all, err := steps("postgres")
	if err != nil {
		return err
	}
	m, err := migrator(riverpgxv5.New(e.pool))
	if err != nil {
		return err
	}
	lock, err := e.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("postgres: waiting to migrate: %w", err)
	}
	// If this fails the connection is gone, and the lock with it.
	defer lock.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	t, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer t.Rollback()
	if err := apply(ctx, t, all, len(all)); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("postgres: migrating: %w", err)
	}
	if err := riverUp(
		func() (*rivermigrate.MigrateResult, error) { return m.Migrate(ctx, rivermigrate.DirectionUp, nil) },
		func() (*rivermigrate.ValidateResult, error) { return m.Validate(ctx, nil) },
	); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if err := addJobIndexes(ctx, e.db); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}
