package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"milterd/internal/rig"
	"milterd/store/pgtest"
)

// binary is milterd, built for these tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "milterd-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "milterd")
	if out, err := exec.Command("go", "build", "-o", binary, "milterd/cmd/milterd").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building milterd: %v\n%s", err, out)
		os.Exit(1)
	}
	status := pgtest.Main(m)
	os.RemoveAll(dir)
	os.Exit(status)
}

// open starts a site whose people answer invitations until the test ends.
func open(t *testing.T, o rig.Options) *rig.Site {
	t.Helper()
	s := configure(t, o)
	if _, err := s.Place.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer(t, s)
	return s
}

// configure makes a site in which milterd does not run yet.
func configure(t *testing.T, o rig.Options) *rig.Site {
	t.Helper()
	if o.Binary == "" {
		o.Binary = binary
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Log == nil {
		log := &record{}
		o.Log = log
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(log.end())
			}
		})
	}
	s, err := rig.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer lets the people of a site sign.
func answer(t *testing.T, s *rig.Site) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Answer(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
}

// judge waits until every mail has become a session that is done, and demands
// that nothing is lost, doubled or half-written.
func judge(t *testing.T, s *rig.Site, patience time.Duration, taken ...string) {
	t.Helper()
	if err := s.Settle(t.Context(), len(taken), patience); err != nil {
		t.Error(err)
	}
	if _, err := s.Judge(t.Context(), taken); err != nil {
		t.Error(err)
	}
}

// record keeps milterd's log for a test that fails.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// end is the last of it: a milterd that waits for a server says so often.
func (r *record) end() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.b.Bytes()
	return string(b[max(0, len(b)-16<<10):])
}

func gate(t *testing.T, target string) *rig.Gate {
	t.Helper()
	g, err := rig.NewGate(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}
