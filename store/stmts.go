package store

import (
	"context"
	"database/sql/driver"
	"errors"
)

// maxKept bounds how many statements one connection keeps.
const maxKept = 128

// keeping is a connector of SQLite whose connections keep their statements
// compiled: compiling one costs as much as running it, and the same ones come
// again and again.
type keeping struct {
	driver.Connector
	short bool // statements are so short that none needs to be interrupted
}

// Connect implements driver.Connector.
func (k keeping) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	full, ok := c.(sqliteConn)
	if !ok {
		c.Close()
		return nil, errors.New("the driver lacks a method that it had")
	}
	return &keeper{sqliteConn: full, short: k.short, kept: map[string]*keptStmt{}}, nil
}

// sqliteConn is what database/sql looks for in a connection.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// keeper is a connection with its statements by their text. Like every
// driver.Conn it is used by one goroutine at a time.
type keeper struct {
	sqliteConn
	short bool
	kept  map[string]*keptStmt
}

type keptStmt struct {
	driver.Stmt
	busy bool // it runs, or its rows are being read
}

// take gives the statement of a text, and a function that gives it back.
func (k *keeper) take(ctx context.Context, query string) (driver.Stmt, func() error, error) {
	s := k.kept[query]
	if s == nil || s.busy {
		stmt, err := k.PrepareContext(ctx, query)
		if err != nil {
			return nil, nil, err
		}
		if s != nil || len(k.kept) >= maxKept {
			return stmt, stmt.Close, nil
		}
		s = &keptStmt{Stmt: stmt}
		k.kept[query] = s
	}
	s.busy = true
	return s.Stmt, func() error { s.busy = false; return nil }, nil
}

// patient is the context for a statement: a context that can end costs the
// driver a goroutine for each.
func (k *keeper) patient(ctx context.Context) (context.Context, error) {
	if k.short {
		return context.WithoutCancel(ctx), ctx.Err()
	}
	return ctx, nil
}

// ExecContext implements driver.ExecerContext.
func (k *keeper) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	ctx, err := k.patient(ctx)
	if err != nil {
		return nil, err
	}
	stmt, release, err := k.take(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	return r, errors.Join(err, release())
}

// QueryContext implements driver.QueryerContext.
func (k *keeper) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ctx, err := k.patient(ctx)
	if err != nil {
		return nil, err
	}
	stmt, release, err := k.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &keptRows{rows, release}, nil
}

// Close implements driver.Conn.
func (k *keeper) Close() error {
	var err error
	for _, s := range k.kept {
		err = errors.Join(err, s.Stmt.Close())
	}
	return errors.Join(err, k.sqliteConn.Close())
}

// keptRows give their statement back when they are closed.
type keptRows struct {
	driver.Rows
	release func() error
}

// Close implements driver.Rows.
func (r *keptRows) Close() error { return errors.Join(r.Rows.Close(), r.release()) }
