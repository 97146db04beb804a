package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"milterd/workflow"
)

const (
	// turnTimeout bounds the wait for a transaction's turn. With a milter's
	// content_timeout of 60 s, Postfix hears 451 long before it gives up.
	turnTimeout = 10 * time.Second
	// doTimeout bounds a transaction with the wait for its turn.
	doTimeout = 30 * time.Second
	// readTimeout bounds one read.
	readTimeout = 30 * time.Second
	// openTimeout bounds connecting and migrating.
	openTimeout = 5 * time.Minute
)

// Config says where the data is.
type Config struct {
	// URL is "sqlite:" and the path of a file, which is made if it is not
	// there, or "postgres://user@host/database" with the parameters of libpq.
	URL string
}

// Store implements workflow.Store. It is safe for concurrent use.
type Store struct {
	engine engine
	reads  *sql.DB // for everything that needs no lock
	jobs   jobLister
	open   *opened
}

// opened ends the calls of Work before the connections close: River's listener
// would otherwise ask a closed pool for a new connection, without a pause.
type opened struct {
	mu      sync.Mutex
	closing chan struct{}
	closed  bool
	working sync.WaitGroup
}

// work gives a context that ends with ctx or when the store closes; done must
// be called. It fails on a closed store.
func (o *opened) work(ctx context.Context) (_ context.Context, done func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, nil, errors.New("the store is closed")
	}
	o.working.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-o.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); o.working.Done() }, nil
}

func (o *opened) end() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		close(o.closing)
	}
	o.mu.Unlock()
	o.working.Wait()
}

var _ workflow.Store = (*Store)(nil)

// engine is what differs between the two databases.
type engine interface {
	// migrate brings the tables up to date, under a lock against other processes.
	migrate(ctx context.Context) error
	// begin starts a read-write transaction.
	begin(ctx context.Context) (*transaction, error)
	// lockName makes other transactions wait that lock the same name.
	lockName(ctx context.Context, q querier, name string) error
	// forUpdate is what locks the rows of a SELECT until the end of the transaction.
	forUpdate() string
	// due is the database's time as a comparison with scheduled_at wants it, and
	// what makes a SELECT FOR UPDATE pass over rows that others hold.
	due() (now, skipLocked string)
	// snapshot are the options under which several SELECTs see one state.
	snapshot() *sql.TxOptions
	// client makes a River client.
	client(c *river.Config) (jobClient, error)
	// guard claims the right to work jobs under this name, and gives the jobs
	// of dead workers back, until it is released.
	guard(ctx context.Context, worker string, log func(error)) (release func(), err error)
	close() error
}

// querier is a *sql.DB, *sql.Conn or *sql.Tx.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// transaction is one that has begun. Either commit or rollback ends it.
type transaction struct {
	querier
	queue    txQueue
	commit   func() error
	rollback func()
}

// jobClient is the part of a *river.Client that does not name its transaction type.
type jobClient interface {
	jobLister
	Start(ctx context.Context) error
	Stopped() <-chan struct{}
}

type jobLister interface {
	JobList(ctx context.Context, p *river.JobListParams) (*river.JobListResult, error)
}

// txQueue is the job table inside a transaction.
type txQueue interface {
	insert(ctx context.Context, jobs []river.InsertManyParams) error
	list(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error)
	cancel(ctx context.Context, id int64) error
	retry(ctx context.Context, id int64) error
}

// boundQueue is a River client with the transaction that it works in.
type boundQueue[T any] struct {
	client *river.Client[T]
	tx     T
}

func (b boundQueue[T]) insert(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := b.client.InsertManyTx(ctx, b.tx, jobs)
	return err
}

func (b boundQueue[T]) list(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error) {
	r, err := b.client.JobListTx(ctx, b.tx, p)
	if err != nil {
		return nil, err
	}
	return r.Jobs, nil
}

func (b boundQueue[T]) cancel(ctx context.Context, id int64) error {
	_, err := b.client.JobCancelTx(ctx, b.tx, id)
	return err
}

func (b boundQueue[T]) retry(ctx context.Context, id int64) error {
	_, err := b.client.JobRetryTx(ctx, b.tx, id)
	return err
}

// Open connects and brings the tables up to date. Several processes may open
// the same database. The error names what is wrong with the URL, the file or
// the server, or that a newer milterd has been here.
func Open(ctx context.Context, c Config) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var s *Store
	var err error
	switch scheme, rest, _ := strings.Cut(c.URL, ":"); scheme {
	case "sqlite":
		s, err = openSQLite(ctx, rest)
	case "postgres", "postgresql":
		s, err = openPostgres(ctx, c.URL)
	default:
		// The URL itself can hold a password, so it is not repeated.
		return nil, errors.New(`opening the store: want "sqlite:/path/to/file.db" or "postgres://user@host/database"`)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	s.open = &opened{closing: make(chan struct{})}
	if err := s.engine.migrate(ctx); err != nil {
		s.engine.close()
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return s, nil
}

// Close ends Work, which lets running jobs finish for at most 25 seconds, then
// all connections.
func (s *Store) Close() error {
	s.open.end()
	return s.engine.close()
}

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.reads.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Do implements workflow.Store. It waits at most 10 seconds for other writers,
// and takes at most 30 seconds in all. An error of the database spoils the transaction: fn may not
// go on, and Do returns that error even if fn does not. It must not be called
// inside fn, where on SQLite it would wait for itself.
func (s *Store) Do(ctx context.Context, fn func(workflow.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	turn := time.AfterFunc(turnTimeout, cancel)
	t, err := s.engine.begin(ctx)
	if err != nil {
		return fmt.Errorf("store: beginning: %w", err)
	}
	if !turn.Stop() {
		t.rollback()
		return fmt.Errorf("store: beginning: no turn within %s", turnTimeout)
	}
	committed := false
	defer func() {
		if !committed { // an error or a panic
			t.rollback()
		}
	}()
	x := &tx{ctx: ctx, s: s, t: t, locked: map[string]bool{}}
	if err := fn(x); err != nil {
		return err
	}
	if x.broken != nil {
		return x.broken
	}
	if err := t.commit(); err != nil {
		return fmt.Errorf("store: committing: %w", err)
	}
	committed = true
	return nil
}

// micros is a time as the tables hold it.
func micros(t time.Time) int64 { return t.UnixMicro() }

// microsOrNull is micros, or NULL for the zero time.
func microsOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}
