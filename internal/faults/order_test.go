package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/internal/rig"
)

// The system calls that matter here, as strace -f -yy writes them.
var (
	walPage   = regexp.MustCompile(`(?:pwrite64|pwritev)\(\d+<[^>]*milterd\.db-wal>.*, 4096,`)
	walSync   = regexp.MustCompile(`(?:fsync|fdatasync)(?:\(\d+<[^>]*milterd\.db-wal>\)| resumed>.*) *= 0`)
	toPostfix = regexp.MustCompile(`(?:write|sendto|sendmsg)\(\d+<.*milter\.sock"\]>, "([^"]*)"`)
)

// accept is SMFIR_ACCEPT as strace prints it: the 250 of a sign mail, which says
// "continue" to everything before.
const accept = `\0\0\0\1a`

// pages is less than the document alone fills in the database.
const pages = 12

// What is answered 250 has reached the disk: the pages of the mail are written
// to the write-ahead log, then synced, and only then Postfix hears yes.
func TestSyncBeforeReply(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("strace is not installed: apt-get install -y strace")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	s := configure(t, rig.Options{Setup: rig.Setup{Before: []string{"strace", "-f", "-yy", "-s", "32", "-o", trace,
		"-e", "trace=write,writev,pwrite64,pwritev,fsync,fdatasync,sendto,sendmsg", "--"}}})
	if _, err := s.Place.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // until what runs at the start has written
	before := len(read(t, trace))
	if _, _, err := s.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	written, synced, answered := 0, 0, false // pages so far, and of them on disk
	lines := strings.Split(read(t, trace)[before:], "\n")
	for _, l := range lines {
		if walPage.MatchString(l) {
			written++
		} else if walSync.MatchString(l) {
			synced = written
		} else if m := toPostfix.FindStringSubmatch(l); m != nil && strings.Contains(m[1], accept) {
			answered = true
			break
		}
	}
	if !answered || synced < pages {
		t.Errorf("answered: %v; %d pages written before it, %d of them synced, want at least %d:\n%s", answered, written, synced, pages,
			strings.Join(lines[:min(len(lines), 200)], "\n"))
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
