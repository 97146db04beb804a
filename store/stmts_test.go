package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// kept is a database with one connection that keeps its statements.
func kept(t *testing.T) (*sql.DB, func() map[string]*keptStmt) {
	e := &sqlite{path: filepath.Join(t.TempDir(), "db")}
	db, err := e.pool("_txlock=immediate", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec("CREATE TABLE t (n INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)"); err != nil {
		t.Fatal(err)
	}
	return db, func() (m map[string]*keptStmt) {
		c, err := db.Conn(bg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Raw(func(raw any) error { m = raw.(*keeper).kept; return nil })
		return m
	}
}

// A statement that is kept can run while its rows are being read, after it
// failed, and after the tables changed; none stays busy.
func TestKeptStatements(t *testing.T) {
	db, statements := kept(t)
	const pick, add = "SELECT n FROM t WHERE n >= $1 ORDER BY n", "INSERT INTO t VALUES ($1)"
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	outer, err := tx.Query(pick, 1)
	if err != nil {
		t.Fatal(err)
	}
	for outer.Next() {
		var a, b int
		if err := outer.Scan(&a); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(pick, a).Scan(&b); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprint(a, b))
	}
	if fmt.Sprint(seen) != "[1 1 2 2 3 3]" {
		t.Errorf("rows within rows: %v", seen)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := db.Exec(add, 1); err == nil {
			t.Error("a second 1 was taken")
		}
	}
	if _, err := db.Exec(add, 4); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	if _, err := db.Exec("ALTER TABLE t ADD COLUMN more TEXT"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(pick, 4).Scan(&n); err != nil || n != 4 {
		t.Errorf("after the table changed: %d, %v", n, err)
	}
	m := statements()
	for text, s := range m {
		if s.busy {
			t.Errorf("busy for ever: %s", text)
		}
	}
	if m[pick] == nil || m[add] == nil {
		t.Error("the statements are not kept")
	}
}

// However many texts there are, only so many are kept, and the others work.
func TestKeptBound(t *testing.T) {
	db, statements := kept(t)
	for i := range maxKept + 20 {
		var n int
		if err := db.QueryRow(fmt.Sprintf("SELECT %d", i)).Scan(&n); err != nil || n != i {
			t.Fatalf("%d: %d, %v", i, n, err)
		}
	}
	if n := len(statements()); n != maxKept {
		t.Errorf("%d statements are kept, want %d", n, maxKept)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := db.ExecContext(ctx, "SELECT 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}
