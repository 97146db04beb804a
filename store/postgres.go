package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

const (
	// postgresConns is the size of the pool unless the URL has pool_max_conns.
	postgresConns = 12
	// A worker says every beat that it lives; after silence its jobs are
	// given to others.
	beat    = 5 * time.Second
	silence = 30 * time.Second
)

// postgres is a server. River needs pgx's own transaction; the SQL of this
// package goes through database/sql on the same connection.
type postgres struct {
	pool  *pgxpool.Pool
	db    *sql.DB
	queue *river.Client[pgx.Tx]
}

func openPostgres(ctx context.Context, url string) (*Store, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err) // pgx hides the password
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	if !strings.Contains(url, "pool_max_conns") {
		c.MaxConns = postgresConns
	}
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// A process that hangs must not keep sessions locked; a server that
		// was set to forget commits must not do that here.
		_, err := conn.Exec(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '60s', false),
			CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END`)
		return err
	}
	e := &postgres{}
	if e.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	e.db = stdlib.OpenDBFromPool(e.pool)
	if e.queue, err = river.NewClient(riverpgxv5.New(e.pool), insertOnly()); err != nil {
		e.close()
		return nil, err
	}
	if err := e.pool.Ping(ctx); err != nil {
		e.close()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &Store{engine: e, reads: e.db, jobs: e.queue}, nil
}

// begin tries again on another connection: after a restart of the server the
// pool can hold some that are dead, and nothing has happened yet.
func (e *postgres) begin(ctx context.Context) (*transaction, error) {
	for try := 1; ; try++ {
		t, err := e.beginOnce(ctx)
		if err == nil || try == 3 || ctx.Err() != nil {
			return t, err
		}
	}
}

func (e *postgres) beginOnce(ctx context.Context) (*transaction, error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var t pgx.Tx
	err = conn.Raw(func(c any) (err error) {
		t, err = c.(*stdlib.Conn).Conn().Begin(ctx)
		return err
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &transaction{
		querier: conn,
		queue:   boundQueue[pgx.Tx]{e.queue, t},
		commit: func() error {
			defer conn.Close()
			return t.Commit(ctx)
		},
		rollback: func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			t.Rollback(ctx) // on failure pgx drops the connection, and the server rolls back
			conn.Close()
		},
	}, nil
}

func (e *postgres) lockName(ctx context.Context, q querier, name string) error {
	_, err := q.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
	return err
}

func (e *postgres) forUpdate() string { return " FOR UPDATE" }

func (e *postgres) due() (now, skipLocked string) { return "now()", " FOR UPDATE SKIP LOCKED" }

func (e *postgres) snapshot() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

func (e *postgres) client(c *river.Config) (jobClient, error) {
	return river.NewClient(riverpgxv5.New(e.pool), c)
}

func (e *postgres) close() error {
	err := e.db.Close()
	e.pool.Close()
	return err
}

// guard enters this process in the table of workers, keeps its entry fresh and
// takes over the jobs of those that went silent.
func (e *postgres) guard(ctx context.Context, worker string, log func(error)) (func(), error) {
	if err := e.beat(ctx, worker); err != nil {
		return nil, err
	}
	if err := e.takeOver(ctx); err != nil {
		return nil, err
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		// While the server is away nobody can say that he lives. So after
		// that, silence is only proven once we have watched for its length.
		var watching time.Time
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			err := e.beat(context.WithoutCancel(ctx), worker)
			if err == nil && time.Since(watching) > silence {
				err = e.takeOver(context.WithoutCancel(ctx))
			}
			if err != nil {
				watching = time.Now()
				log(err)
			}
		}
	}()
	return func() {
		close(stop)
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), beat)
		defer cancel()
		e.db.ExecContext(ctx, "DELETE FROM workers WHERE id = $1", worker) // or it goes silent
	}, nil
}

func (e *postgres) beat(ctx context.Context, worker string) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	_, err := e.db.ExecContext(ctx, `INSERT INTO workers (id, seen) VALUES ($1, now())
		ON CONFLICT (id) DO UPDATE SET seen = now()`, worker)
	if err != nil {
		return fmt.Errorf("postgres: sign of life: %w", err)
	}
	return nil
}

// takeOver gives back the running jobs whose worker is silent or gone.
func (e *postgres) takeOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	if _, err := e.db.ExecContext(ctx, `UPDATE river_job SET
			state = CASE WHEN attempt >= max_attempts THEN 'discarded' ELSE 'available' END::river_job_state,
			finalized_at = CASE WHEN attempt >= max_attempts THEN now() END
		WHERE state = 'running' AND NOT EXISTS (SELECT FROM workers
			WHERE id = attempted_by[cardinality(attempted_by)] AND seen > now() - make_interval(secs => $1))`,
		silence.Seconds()); err != nil {
		return fmt.Errorf("postgres: taking over jobs: %w", err)
	}
	if _, err := e.db.ExecContext(ctx, "DELETE FROM workers WHERE seen < now() - interval '1 day'"); err != nil {
		return fmt.Errorf("postgres: removing old workers: %w", err)
	}
	return nil
}
