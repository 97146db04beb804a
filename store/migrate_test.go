package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"milterd/workflow"
)

// TestMigrate stops at every step, puts in what the step's version of milterd
// would have stored, and lets Open go on from there.
func TestMigrate(t *testing.T) {
	for _, engine := range engines {
		all, err := steps(engine)
		if err != nil {
			t.Fatal(err)
		}
		for last := 0; last <= len(all); last++ {
			t.Run(fmt.Sprint(engine, " from step ", last), func(t *testing.T) {
				t.Parallel()
				migrateFrom(t, empty(t, engine), all, last)
			})
		}
	}
}

func migrateFrom(t *testing.T, url string, all []step, last int) {
	bytes := "BLOB"
	var e engine
	var err error
	var s *Store
	if rest, ok := strings.CutPrefix(url, "sqlite:"); ok {
		s, err = openSQLite(bg, rest)
	} else {
		bytes = "bytea"
		s, err = openPostgres(bg, url)
	}
	if err != nil {
		t.Fatal(err)
	}
	e = s.engine
	if err := apply(bg, s.engineDB(), all, last); err != nil {
		t.Fatal(err)
	}
	if v, err := version(bg, s.engineDB()); err != nil || v != last {
		t.Fatalf("at step %d, %v; want %d", v, err, last)
	}
	for i := range last {
		b, err := os.ReadFile(fmt.Sprintf("testdata/step%d.sql", i+1))
		if os.IsNotExist(err) {
			continue // a step without rows of its own
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.engineDB().ExecContext(bg, strings.ReplaceAll(string(b), "BYTES", bytes)); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, url)
	if v, err := version(bg, s.engineDB()); err != nil || v != len(all) {
		t.Fatalf("at step %d, %v; want %d", v, err, len(all))
	}
	if last >= 1 {
		if v, err := s.Session(bg, "aaaa"); err != nil || v.Version != 4 || v.People[0].Mail != "jane@corp.test" {
			t.Errorf("%+v, %v", v, err)
		}
		if b, err := s.Content(bg, "aaaa", 0, 0); err != nil || string(b) != "original" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if last >= 2 {
		if id, _, err := s.Participant(bg, []byte("token")); err != nil || id != "aaaa" {
			t.Errorf("%s, %v", id, err)
		}
		if d, err := s.Device(bg, []byte("device")); err != nil || d.Agent != "Firefox on Linux" {
			t.Errorf("%+v, %v", d, err)
		}
		do(t, s, func(tx workflow.Tx) error {
			if c, err := tx.Challenge("aaaa", 0); err != nil || c.Tries != 2 {
				t.Errorf("%+v, %v", c, err)
			}
			return nil
		})
	}
	if last >= 6 {
		if c, err := s.Credentials(bg, jane.Mail); err != nil || len(c) != 1 || c[0].Name != "Safari on iPhone" {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := s.Ceremony(bg, "cere", now()); err != nil || string(c.Data) != "prepared" || c.Session != "aaaa" {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := s.Certificates(bg, workflow.CertificateFilter{Mail: jane.Mail, Credential: "cred"}); err != nil || len(c) != 1 || c[0].Serial != "c0ffee" {
			t.Errorf("%+v, %v", c, err)
		}
		if log, err := s.Log(bg); err != nil || len(log) != 1 {
			t.Errorf("%+v, %v", log, err)
		}
	}
	do(t, s, func(tx workflow.Tx) error {
		return errors.Join(tx.SaveCredential(credential("new", john)), tx.SaveCeremony(ceremony("new", "passkey", john)),
			tx.SaveCertificate(certificate("abcd", john, "new")), tx.AppendLog(workflow.Event{Kind: workflow.EventIssuing, Time: now()}))
	})
	if log, err := s.Log(bg); err != nil || len(log) == 0 {
		t.Errorf("%+v, %v", log, err)
	}
	create(t, s, "bbbb") // whatever was there, it works
	enqueue(t, s, workflow.Job{Kind: workflow.JobPrepare, Session: "bbbb"})
	if jobs, err := s.Jobs(bg, "bbbb"); err != nil || len(jobs) != 1 {
		t.Errorf("%+v, %v", jobs, err)
	}
}

// TestSameSteps holds the two engines' files together: same numbers, same names.
func TestSameSteps(t *testing.T) {
	a, err := fs.Glob(migrations, "migrations/sqlite/*")
	if err != nil || len(a) == 0 {
		t.Fatal(a, err)
	}
	b, err := fs.Glob(migrations, "migrations/postgres/*")
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(fmt.Sprint(a), "sqlite", "postgres") != fmt.Sprint(b) {
		t.Errorf("%v\n%v", a, b)
	}
}

// TestOpenAtOnce lets several processes find an empty database.
func TestOpenAtOnce(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := Open(bg, Config{URL: url})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Ping(bg); err != nil {
					t.Error(err)
				}
				s.Close()
			})
		}
		wg.Wait()
	})
}

func TestNewerDatabase(t *testing.T) {
	both(t, func(t *testing.T, url string) {
		s := open(t, url)
		if _, err := s.engineDB().ExecContext(bg, "INSERT INTO migrations (version, name) VALUES (99, 'later')"); err != nil {
			t.Fatal(err)
		}
		_, err := Open(bg, Config{URL: url})
		if err == nil || !strings.Contains(err.Error(), "it belongs to a newer milterd") {
			t.Errorf("Open: %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"":                                    `want "sqlite:/path/to/file.db" or "postgres://user@host/database"`,
		"mysql://root:secret@localhost/x":     `want "sqlite:/path/to/file.db" or "postgres://user@host/database"`,
		"sqlite:":                             "want the path of a file",
		"sqlite::memory:":                     "want the path of a file",
		"sqlite:" + dir:                       "is a directory",
		"sqlite:" + dir + "/missing/x.db":     "no such file or directory",
		"sqlite:" + garbage:                   "not a database",
		"postgres://u:secret@localhost:x/y":   "invalid port",
		"postgres://u:secret@/x?host=" + dir:  "no such file or directory",
		"postgres://u:secret@127.0.0.1:1/x":   "connection refused",
		"postgres://u:secret@/x?nonsense=%zz": "",
	} {
		_, err := Open(bg, Config{URL: in})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", in, err)
		}
	}
}

func TestFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	// A path that would break a careless DSN.
	path := filepath.Join(t.TempDir(), "a b?_journal_mode=OFF&x=%41#é.db")
	s := open(t, "sqlite:"+path)
	create(t, s, "aaaa")
	work(t, s, newRunner(nil), WorkOptions{})
	enqueue(t, s, workflow.Job{Kind: workflow.JobMail, Session: "aaaa"})
	inState(t, s, "aaaa", "completed")
	for _, suffix := range []string{"", "-wal", "-shm", "-worker"} {
		i, err := os.Stat(path + suffix)
		if err != nil {
			t.Error(err)
		} else if i.Mode() != 0o600 {
			t.Errorf("%s has mode %s", i.Name(), i.Mode())
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "secure_delete": "1"} {
		var got string
		if err := s.engineDB().QueryRowContext(bg, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	if _, err := s.reads.Exec("DELETE FROM sessions"); err == nil {
		t.Error("a reader can write")
	}
}

// TestSynchronousCommit finds commits on disk even where a server was set not to wait.
func TestSynchronousCommit(t *testing.T) {
	p, err := url.Parse(empty(t, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	for set, want := range map[string]string{"off": "on", "on": "on", "local": "local"} {
		q := p.Query()
		q.Set("synchronous_commit", set)
		p.RawQuery = q.Encode()
		s := open(t, p.String())
		var got string
		if err := s.reads.QueryRow("SHOW synchronous_commit").Scan(&got); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", set, got, err, want)
		}
	}
}
