package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/demo"
	"milterd/internal/rig"
)

// A full disk: mail is put off with 4xx, and when there is room again milterd
// takes it and finishes what it had begun, without a hand.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can mount the small file system that this test fills: run it as root")
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m", "milterd-test", data).CombinedOutput(); err != nil {
		t.Fatalf("mounting a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() { syscall.Unmount(data, syscall.MNT_DETACH) })
	s := open(t, rig.Options{Setup: rig.Setup{Data: data}, Unrecorded: true})
	_, first, err := s.Send(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(data, "fill")
	fillUp(t, fill)
	from, to, raw, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	// SQLite may still find room in pages that it has; a few mails later it does not.
	var taken []string
	for range 20 {
		if err = s.Submit(from, to, raw); err != nil {
			break
		}
		taken = append(taken, demo.MessageID(raw))
		if from, to, raw, err = s.Draft(); err != nil {
			t.Fatal(err)
		}
	}
	var reply *smtp.SMTPError
	if !errors.As(err, &reply) || reply.Code != 451 {
		t.Errorf("with a full disk the answer is %v, want 451", err)
	}
	time.Sleep(3 * time.Second) // jobs fail meanwhile
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(300 * time.Millisecond) {
		if err = s.Submit(from, to, raw); err == nil {
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("a minute after there is room: %v", err)
		}
	}
	judge(t, s, 3*time.Minute, append(taken, first, demo.MessageID(raw))...)
}

// fillUp writes a file until nothing more goes in.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for b := make([]byte, size); err == nil; {
			_, err = f.Write(b)
		}
		err = nil
	}
}
