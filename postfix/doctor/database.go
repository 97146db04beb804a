package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// database opens it as it is, and begins to write without changing anything.
func (e *exam) database(ctx context.Context) []Finding {
	if path := e.Config.SQLite(); path != "" {
		return one(sqliteWorks(ctx, path))
	}
	return one(postgresWorks(ctx, e.Config.Database.URL))
}

func sqliteWorks(ctx context.Context, path string) Finding {
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return warn("milterd serve makes it", "there is no %s yet", path)
	case errors.Is(err, fs.ErrPermission):
		return skip("only root and milterd's user can look at %s", path)
	case err != nil:
		return fail("put it back from the backup", "%v", err)
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String()+"?mode=rw&_txlock=immediate&_busy_timeout=10000")
	if err != nil {
		return fail("put it back from the backup", "%s: %v", path, err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		return fail("put it back from the backup", "%s cannot be read: %v", path, err)
	}
	// Immediate: this takes the lock for writing, as every request to sign does.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fail("look at its owner (milterd's user), its mode and the disk", "%s cannot be written: %v", path, err)
	}
	if err := tx.Rollback(); err != nil {
		return fail("look at the disk", "%s: %v", path, err)
	}
	return pass("%s opens and can be written", path)
}

func postgresWorks(ctx context.Context, url string) Finding {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fail("mend database.url or the server", "PostgreSQL: %v", err) // pgx hides the password
	}
	defer conn.Close(ctx)
	var name, version string
	var readOnly bool
	if err := conn.QueryRow(ctx, `SELECT current_database(), current_setting('server_version'),
		pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'`).Scan(&name, &version, &readOnly); err != nil {
		return fail("mend the server", "PostgreSQL: %v", err)
	}
	if readOnly {
		return fail("let database.url name the primary", "PostgreSQL: %s can only be read", name)
	}
	return pass("PostgreSQL %s, database %s, opens and can be written", version, name)
}

// Free space at which something is to be done.
const (
	littleSpace = 1 << 30
	noSpace     = 200 << 20
)

// disk looks at where documents and waiting mail lie.
func (e *exam) disk(context.Context) []Finding {
	places := map[string]string{e.Config.Data: "the data folder"}
	if path := e.Config.SQLite(); path != "" {
		places[filepath.Dir(path)] = "the database"
	}
	if q := e.value["queue_directory"]; q != "" {
		places[q] = "Postfix's queue"
	}
	var found []Finding
	least := ""
	for path, what := range places {
		bytes, of, err := free(path)
		text := fmt.Sprintf("%s (%s) has %d MiB of %d MiB free", what, path, bytes>>20, of>>20)
		switch {
		case err != nil:
			found = append(found, fail("look at "+path, "%s: %v", what, err))
		case bytes < noSpace:
			found = append(found, fail("make room: with a full disk mail to the sign domain is put off (451)", "%s", text))
		case bytes < littleSpace:
			found = append(found, warn("make room", "%s", text))
		default:
			least = text
		}
	}
	if len(found) == 0 {
		return one(pass("%s", least))
	}
	return found
}
