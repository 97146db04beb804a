package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"milterd/workflow"
)

// standIn is a program in LibreOffice's place that does what a LibreOffice could
// do that has been taken over by a file: the file says what. What it learns it
// writes where the PDF would be.
func standIn() {
	source := os.Args[len(os.Args)-1]
	b, err := os.ReadFile(source)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, order, _ := strings.Cut(string(b), " ")
	verb, what, _ := strings.Cut(order, " ")
	out := filepath.Join(work, "out", "in.pdf")
	os.Mkdir(filepath.Dir(out), 0o700)
	learned := func(format string, args ...any) {
		os.WriteFile(out, fmt.Appendf(nil, "%%PDF-"+format, args...), 0o600)
	}
	switch verb {
	case "dial":
		network, address, _ := strings.Cut(what, " ")
		_, err := net.DialTimeout(network, address, 2*time.Second)
		learned("%v", err)
	case "read":
		b, err := os.ReadFile(what)
		learned("%s %v", b, err)
	case "write":
		learned("%v", os.WriteFile(what, []byte("x"), 0o600))
	case "look":
		var names []string
		for _, dir := range []string{"/", "/etc", "/var"} {
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				names = append(names, filepath.Join(dir, e.Name()))
			}
		}
		learned("%s", strings.Join(names, " "))
	case "power":
		var h unix.CapUserHeader
		var d [2]unix.CapUserData
		h.Version = unix.LINUX_CAPABILITY_VERSION_3
		err := unix.Capget(&h, &d[0])
		_, privs := 0, unix.Mount("x", work, "tmpfs", 0, "")
		learned("uid %d, capabilities %x%x %v, mount: %v, environment: %s", os.Getuid(), d[1].Permitted, d[0].Permitted, err, privs, os.Environ())
	case "fill":
		var err error
		for i := 0; err == nil && i < 10; i++ { // no file is as large as all may be
			var f *os.File
			if f, err = os.Create(filepath.Join(work, fmt.Sprint("full", i))); err == nil {
				_, err = f.Write(make([]byte, 50<<20))
			}
		}
		os.Remove(filepath.Join(work, "full0"))
		learned("%v", err)
	case "eat":
		var all [][]byte
		for range 12 { // 768 MB, where 512 are allowed
			b := make([]byte, 64<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		learned("ate %d", len(all))
	case "spin":
		for {
		}
	case "hang":
		time.Sleep(time.Hour)
	case "leave": // a process that outlives us, in a session of its own
		sleeping := filepath.Join(work, "sleeping")
		os.WriteFile(sleeping, []byte(`{\rtf hang`), 0o600)
		cmd := exec.Command(os.Args[0], "--headless", sleeping)
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		learned("%v", cmd.Start())
	case "pipe":
		os.Symlink("/dev/zero", out)
	case "big":
		f, _ := os.Create(out)
		f.Truncate(MaxPDF + 1)
	}
}

// with has the stand-in do something, and gives what it learned.
func with(t *testing.T, limit time.Duration, order string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{Program: self, Kinds: []string{"rtf"}, Time: limit, Memory: 512 << 20})
	r, err := c.Convert(t.Context(), "a.rtf", []byte(`{\rtf `+order))
	if left := alive(t, self); left != "" {
		t.Errorf("%s: there are still processes: %s", order, left)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(string(r.PDF), "%PDF-"), nil
}

// alive are the processes that run a program as LibreOffice would be run.
func alive(t *testing.T, program string) string {
	t.Helper()
	var left []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.HasPrefix(b, []byte(program+"\x00--headless")) {
			left = append(left, f+" "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return strings.Join(left, "; ")
}

// TestSandbox: whoever has taken over LibreOffice reaches nothing and nobody.
func TestSandbox(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	dir := t.TempDir()
	socket, secret := filepath.Join(dir, "socket"), filepath.Join(dir, "secret")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(secret, []byte("confidential"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MILTERD_TEST_SECRET", "confidential")
	const long = 30 * time.Second
	for _, c := range []struct{ order, want string }{
		{"dial tcp " + web.Listener.Addr().String(), "network is unreachable"},
		{"dial udp 192.0.2.1:53", "network is unreachable"},
		{"dial unix " + socket, "no such file"},
		{"read " + secret, "no such file"},
		{"read /etc/passwd", "no such file"},
		{"read /proc/1/environ", "no such file"},
		{"write /usr/lib/x", "read-only file system"},
		{"write /x", "read-only file system"},
		{"fill", "no space left"},
		{"power", "uid 1000, capabilities 00 <nil>, mount: operation not permitted, environment: [LD_LIBRARY_PATH="},
	} {
		got, err := with(t, long, c.order)
		if err != nil || !strings.Contains(got, c.want) || strings.Contains(got, "confidential") {
			t.Errorf("%s: it learned %q, %v; want %q", c.order, got, err, c.want)
		}
	}
	got, err := with(t, long, "look")
	if err != nil || !strings.Contains(got, "/usr") {
		t.Fatalf("it sees %q, %v", got, err)
	}
	for name := range strings.FieldsSeq(got) {
		switch name {
		case "/dev", "/etc", "/etc/fonts", "/etc/ld.so.cache", "/etc/libreoffice", "/lib", "/lib64", "/tmp", "/usr", "/var", "/var/cache", "/var/lib":
		default:
			t.Errorf("it sees %s", name)
		}
	}
}

// TestSandboxEnds: whatever a process in it does, it ends, and the sender gets a
// sentence.
func TestSandboxEnds(t *testing.T) {
	for _, c := range []struct{ order, reason string }{
		{"hang", "conversion-too-long"},
		{"spin", "conversion-too-long"},
		{"eat", "conversion-failed"},
		{"nothing", "conversion-failed"},
		{"pipe", "conversion-failed"},
		{"big", "conversion-too-large"},
		{"leave", ""},
	} {
		limit := 30 * time.Second
		if c.reason == "conversion-too-long" {
			limit = time.Second
		}
		start := time.Now()
		got, err := with(t, limit, c.order)
		var r *workflow.Refusal
		if c.reason == "" {
			if err != nil || got != "<nil>" {
				t.Errorf("%s: %q, %v", c.order, got, err)
			}
			continue
		}
		if !errors.As(err, &r) || r.Reason != c.reason || r.Code != 554 || r.Text == "" {
			t.Errorf("%s: %q, %v; want %s", c.order, got, err, c.reason)
		} else {
			t.Logf("%s: %s after %v", c.order, r.Text, time.Since(start))
		}
	}
}

// TestAbandoned: who asked no longer waits.
func TestAbandoned(t *testing.T) {
	self, _ := os.Executable()
	c := New(Config{Program: self, Kinds: []string{"rtf"}, Time: 30 * time.Second, Memory: 512 << 20})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := c.Convert(ctx, "a.rtf", []byte(`{\rtf hang`))
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code != 451 || r.Reason != "conversion-busy" {
		t.Errorf("got %v", err)
	}
	if left := alive(t, self); left != "" {
		t.Errorf("there are still processes: %s", left)
	}
}

// TestUnavailable: what only an administrator can mend is told to both: the
// sender may try later or send a PDF, the administrator learns what to install.
func TestUnavailable(t *testing.T) {
	self, _ := os.Executable()
	for name, c := range map[string]struct{ program, want string }{
		"not installed": {"/nonexistent/soffice", "apt-get install --no-install-recommends libreoffice-calc-nogui libreoffice-writer-nogui"},
		"a part":        {self, "apt-get install --no-install-recommends libreoffice-calc-nogui libreoffice-writer-nogui"},
	} {
		_, err := New(Config{Program: c.program, Kinds: []string{"docx", "xlsx", "odt"}, Time: time.Second, Memory: 1 << 30}).Check(t.Context())
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := New(Config{Program: "/nonexistent/soffice", Kinds: []string{"rtf"}}).Convert(t.Context(), "a.rtf", []byte(`{\rtf`))
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code != 451 || r.Reason != "conversion-away" || !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
