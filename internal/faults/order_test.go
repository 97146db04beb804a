package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/internal/rig"
)

// The system calls that matter here, as strace -f -yy writes them.
var (
	walPage = regexp.MustCompile(`(?:pwrite64|pwritev)\(\d+<[^>]*milterd\.db-wal>.*, 4096,`)
	walSync = regexp.MustCompile(`(?:fsync|fdatasync)(?:\(\d+<[^>]*milterd\.db-wal>\)| resumed>.*) *= 0`)
	// What Postfix hears at the doors: SMFIR_ACCEPT, the 250 of a sign mail, which
	// says "continue" to everything before; and the answer to the mail itself,
	// which begins with its recipient.
	milterYes = regexp.MustCompile(`(?:write|sendto|sendmsg)\(\d+<.*milter\.sock"\]>, "[^"]*\\0\\0\\0\\1a`)
	lmtpYes   = regexp.MustCompile(`(?:write|sendto|sendmsg)\(\d+<.*lmtp\.sock"\]>, "250 2\.0\.0 <`)
)

// pages is less than the document alone fills in the database.
const pages = 12

// What is answered 250 has reached the disk: the pages of the mail are written
// to the write-ahead log, then synced, and only then Postfix hears yes, at
// whichever door.
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
	for _, door := range []struct {
		name string
		yes  *regexp.Regexp
		send func(*testing.T, *rig.Site)
	}{{"milter", milterYes, submitted}, {"LMTP", lmtpYes, relayed}} {
		t.Run(door.name, func(t *testing.T) {
			time.Sleep(2 * time.Second) // until what ran before has written
			before := len(read(t, trace))
			door.send(t, s)
			time.Sleep(500 * time.Millisecond)
			written, synced, answered := 0, 0, false // pages so far, and of them on disk
			lines := strings.Split(read(t, trace)[before:], "\n")
			for _, l := range lines {
				if walPage.MatchString(l) {
					written++
				} else if walSync.MatchString(l) {
					synced = written
				} else if door.yes.MatchString(l) {
					answered = true
					break
				}
			}
			if !answered || synced < pages {
				t.Errorf("answered: %v; %d pages written before it, %d of them synced, want at least %d:\n%s", answered, written, synced, pages,
					strings.Join(lines[:min(len(lines), 200)], "\n"))
			}
		})
	}
}

// submitted is a mail that the milter sees.
func submitted(t *testing.T, s *rig.Site) {
	if _, _, err := s.Send(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// relayed is a mail that the mail server delivers, with its own line on top.
func relayed(t *testing.T, s *rig.Site) {
	from, to, raw, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("Received: from client.corp.test (localhost [127.0.0.1])\r\n\t(Authenticated sender: %s)\r\n"+
		"\tby mx.corp.test (Postfix) with ESMTPSA id 4F2A1;\r\n\t%s\r\n", from.Mail, time.Now().Format(time.RFC1123Z))
	conn, err := net.Dial("unix", strings.TrimPrefix(s.Place.LMTP, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.SendMail(from.Mail, []string{to}, strings.NewReader(line+string(raw))); err != nil {
		t.Fatal(err)
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
