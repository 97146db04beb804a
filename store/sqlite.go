package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	driver "modernc.org/sqlite" // without cgo
)

// sqliteReaders is how many reads run beside the writer.
const sqliteReaders = 4

// sqlite is a database in one file. All writes of this process go through one
// connection, in the order in which they come; other processes are waited for
// with busy_timeout.
type sqlite struct {
	path   string
	writes *sql.DB
	reads  *sql.DB
	queue  *river.Client[*sql.Tx]

	commits chan struct{} // tells checkpoints of a commit
	quit    func()        // ends checkpoints, and waits for it
}

func openSQLite(ctx context.Context, path string) (*Store, error) {
	if path == "" || strings.HasPrefix(path, ":") {
		return nil, errors.New("sqlite: want the path of a file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// SQLite gives its log and index files the mode of the database.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	f.Close()

	e := &sqlite{path: path}
	if e.writes, err = e.pool("_txlock=immediate", 1); err != nil {
		return nil, err
	}
	if e.reads, err = e.pool("_query_only=1", sqliteReaders); err != nil {
		e.writes.Close()
		return nil, err
	}
	// The first statement changes the file to a write-ahead log, so it must
	// come before the readers.
	if err := e.writes.PingContext(ctx); err != nil {
		e.close()
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	if e.queue, err = river.NewClient(riversqlite.New(e.writes), insertOnly()); err != nil {
		e.close()
		return nil, err
	}
	e.startCheckpoints()
	return &Store{engine: e, reads: e.reads, jobs: e.queue}, nil
}

const (
	// checkpointPause lets the pages of some commits be moved together.
	checkpointPause = 100 * time.Millisecond
	// maxLog is the length of the log, in pages, at which a commit moves the
	// pages itself: while one follows the other, checkpoints never gets to its end.
	maxLog = 8000
)

// startCheckpoints moves pages from the log into the database beside the
// requests. SQLite by itself does it within every tenth request or so, which
// then takes several times as long.
func (e *sqlite) startCheckpoints() {
	e.commits = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	e.quit = func() { cancel(); <-done }
	go func() {
		defer close(done)
		for {
			select {
			case <-e.commits:
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(checkpointPause):
			case <-ctx.Done():
				return
			}
			// What fails here is done after the next commit, or by that of maxLog.
			_, _ = e.reads.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
		}
	}()
}

// pool opens connections to the file. The one that writes does not interrupt
// its statements, which are short; what it can wait for, it waits for at BEGIN.
func (e *sqlite) pool(extra string, n int) (*sql.DB, error) {
	// secure_delete: what retention removes is overwritten.
	// journal_size_limit: the log shrinks again after a large document.
	dsn := (&url.URL{Scheme: "file", Path: e.path}).String() + "?" + extra +
		"&_busy_timeout=10000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1" +
		"&_pragma=secure_delete(1)&_pragma=journal_size_limit(67108864)&_pragma=trusted_schema(0)" +
		fmt.Sprintf("&_pragma=wal_autocheckpoint(%d)", maxLog)
	c, err := driver.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db := sql.OpenDB(keeping{c, n == 1})
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

func (e *sqlite) begin(ctx context.Context) (*transaction, error) {
	t, err := e.writes.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &transaction{
		querier:  t,
		queue:    briefQueue{boundQueue[*sql.Tx]{e.queue, t}},
		commit:   func() error { return e.committed(t.Commit()) },
		rollback: func() { t.Rollback() },
	}, nil
}

// briefQueue inserts jobs without having them read back, in half of the time. (On
// PostgreSQL River's way of doing that fails where a job stands there already.)
type briefQueue struct{ boundQueue[*sql.Tx] }

func (q briefQueue) insert(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := q.client.InsertManyFastTx(ctx, q.tx, jobs)
	return err
}

// committed passes on what a commit said.
func (e *sqlite) committed(err error) error {
	select {
	case e.commits <- struct{}{}:
	default:
	}
	return err
}

// lockName has nothing to do where there is one writer.
func (e *sqlite) lockName(context.Context, querier, string) error { return nil }
func (e *sqlite) forUpdate() string                               { return "" }
func (e *sqlite) due() (now, skipLocked string)                   { return "datetime('now', 'subsec')", "" }
func (e *sqlite) snapshot() *sql.TxOptions                        { return &sql.TxOptions{ReadOnly: true} }

func (e *sqlite) client(c *river.Config) (jobClient, error) {
	return river.NewClient(riversqlite.New(e.writes), c)
}

func (e *sqlite) close() error {
	if e.quit != nil {
		e.quit()
	}
	return errors.Join(e.reads.Close(), e.writes.Close())
}

// guard holds a lock on a file beside the database: there is one worker, and
// whatever is marked as running when it starts belonged to one that died.
func (e *sqlite) guard(ctx context.Context, worker string, log func(error)) (func(), error) {
	name := e.path + "-worker"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		b, _ := fs.ReadFile(os.DirFS(filepath.Dir(name)), filepath.Base(name))
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("sqlite: %s is served by another milterd already (%s)", e.path, strings.TrimSpace(string(b)))
		}
		return nil, fmt.Errorf("sqlite: locking %s: %w", name, err)
	}
	release := func() { f.Close() } // the lock goes with the file
	if err := f.Truncate(0); err == nil {
		f.WriteString(worker + "\n") // for the message above, nothing depends on it
	}
	if err := e.takeOver(ctx); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// takeOver gives every running job back, and the leadership of River, which
// would otherwise stay with the dead process for 15 seconds.
func (e *sqlite) takeOver(ctx context.Context) error {
	t, err := e.writes.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sqlite: taking over jobs: %w", err)
	}
	defer t.Rollback()
	for _, q := range []string{
		`UPDATE river_job SET state = 'discarded', finalized_at = datetime('now', 'subsec')
			WHERE state = 'running' AND attempt >= max_attempts`,
		`UPDATE river_job SET state = 'available' WHERE state = 'running'`,
		`DELETE FROM river_leader`,
	} {
		if _, err := t.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("sqlite: taking over jobs: %w", err)
		}
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("sqlite: taking over jobs: %w", err)
	}
	return nil
}
