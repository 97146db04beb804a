// Package pgtest gives tests a private, real PostgreSQL: Debian's server in a
// temporary folder, reached by a unix socket, gone when the tests end.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	url := pgtest.Database(t) // an empty database of the shared server
//
// It writes nothing to disk for good (fsync is off) and refuses to skip: where
// PostgreSQL is missing the test fails and names the package to install.
package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// startTimeout bounds initdb, start and stop of a server.
const startTimeout = 60 * time.Second

// Server is a PostgreSQL of our own.
type Server struct {
	dir     string // holds data, socket and log
	bin     string
	account *syscall.Credential // nil: as we are
	extra   []string            // arguments behind ours
	next    atomic.Int64        // number of the next database
	done    chan struct{}       // closed when the process has ended
	process *os.Process
}

var shared struct {
	sync.Mutex
	server *Server
}

// Main runs the tests of a package and stops the shared server after them.
func Main(m *testing.M) int {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.server != nil {
			shared.server.Close()
		}
	}()
	return m.Run()
}

// Database gives the URL of a new, empty database on a server that all tests
// of the package share. The package's TestMain must call Main.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := New()
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	return shared.server.Database(t)
}

// New makes and starts a server; Close ends it. settings, NAME=VALUE, count over
// ours: measurements want fsync=on, full_page_writes=on and autovacuum=on.
func New(settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin}
	for _, one := range settings {
		s.extra = append(s.extra, "-c", one)
	}
	if err := s.init(); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.Start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// binaries finds the newest PostgreSQL of this machine.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL here: apt-get install -y postgresql")
	}
	slices.SortFunc(found, func(a, b string) int {
		return major(a) - major(b)
	})
	return filepath.Dir(found[len(found)-1]), nil
}

// major is the version in /usr/lib/postgresql/15/bin/initdb.
func major(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// init makes the data folder. PostgreSQL refuses to run as root, so root hands
// it to the account that Debian's package made.
func (s *Server) init() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return fmt.Errorf("pgtest: %w (apt-get install -y postgresql)", err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
		s.account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "--no-sync", "--auth=trust", "--username=postgres",
		"--encoding=UTF8", "--locale=C", "--pgdata="+filepath.Join(s.dir, "data"))
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.account}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return nil
}

// Start starts the server again after Stop or Kill and waits until it answers.
func (s *Server) Start() error {
	c := exec.Command(filepath.Join(s.bin, "postgres"), append([]string{"-D", filepath.Join(s.dir, "data"),
		"-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=200",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "autovacuum=off"}, s.extra...)...)
	c.Dir = s.dir
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	// If the test is killed, so is the server. The kernel means the thread that
	// started it, so that one is kept.
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.account, Pdeathsig: syscall.SIGQUIT}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(done)
		err := c.Start()
		started <- err
		if err == nil {
			c.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.process, s.done = c.Process, done

	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer db.Close()
	for end := time.Now().Add(startTimeout); ; time.Sleep(20 * time.Millisecond) {
		err := db.Ping()
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("pgtest: PostgreSQL ended\n%s", log.String())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("pgtest: PostgreSQL does not answer: %w", err)
		}
	}
}

// Stop shuts the server down at once, as an administrator would: connections
// are cut, the data is whole.
func (s *Server) Stop() error { return s.signal(syscall.SIGINT) }

// Kill ends the server as a power cut would; Start then recovers.
func (s *Server) Kill() error { return s.signal(syscall.SIGQUIT) }

func (s *Server) signal(sig os.Signal) error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("pgtest: %w", err)
	}
	select {
	case <-s.done:
		s.process = nil
		return nil
	case <-time.After(startTimeout):
		return errors.New("pgtest: PostgreSQL does not stop")
	}
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	return errors.Join(s.signal(syscall.SIGQUIT), os.RemoveAll(s.dir))
}

// URL names a database of the server.
func (s *Server) URL(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {s.dir}, "user": {"postgres"}, "sslmode": {"disable"}}.Encode()
}

// Create makes a new, empty database and gives its URL.
func (s *Server) Create() (string, error) {
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	defer db.Close()
	name := fmt.Sprintf("test%d", s.next.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		return "", fmt.Errorf("pgtest: %w", err)
	}
	return s.URL(name), nil
}

// Database is Create for a test.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	url, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	return url
}
