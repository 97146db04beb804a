package postfix_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/milter"
	"milterd/postfix"
	"milterd/workflow"
)

// clerk is an Intake that takes everything for the sign domain and records it:
// here it is Postfix and the doors that are tried.
type clerk struct {
	mu    sync.Mutex
	asked []string // recipients, in order
	taken []taken

	rcpt  func(e milter.Envelope, recipient string) (milter.Verdict, error)
	after func(e milter.Envelope) error // once the mail is recorded
}

type taken struct {
	milter.Envelope
	raw string
}

func (t taken) String() string {
	subject, _, _ := strings.Cut(t.raw[max(0, strings.Index(t.raw, "Subject:")):], "\r\n")
	return fmt.Sprintf("{relayed=%v to=%q %s}", t.Relayed, t.Recipients, subject)
}

func (c *clerk) Recipient(_ context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	c.mu.Lock()
	c.asked = append(c.asked, recipient)
	f := c.rcpt
	c.mu.Unlock()
	if f != nil {
		return f(e, recipient)
	}
	if strings.HasPrefix(recipient, "postmaster@") {
		return milter.Pass, nil
	}
	return milter.Take, nil
}

func (c *clerk) Message(_ context.Context, e milter.Envelope, raw []byte) error {
	c.mu.Lock()
	c.taken = append(c.taken, taken{e, string(raw)})
	f := c.after
	c.mu.Unlock()
	if f != nil {
		return f(e)
	}
	return nil
}

// wait gives what was taken once it is n mails, and forgets it.
func (c *clerk) wait(t *testing.T, n int) []taken {
	t.Helper()
	until(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.taken) >= n
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.taken
	c.taken, c.asked = nil, nil
	if len(out) != n {
		t.Errorf("%d mails taken, want %d: %v", len(out), n, out)
	}
	return out
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for a minute")
		}
	}
}

// site is a private Postfix with the settings that are printed, in front of
// both doors and a clerk.
type site struct {
	*postfix.Private
	clerk        *clerk
	intake       milter.Intake // the clerk, unless a test has a better one
	door         *milter.Door
	milter, lmtp string // paths of the sockets
	conf         string // folder of main.cf
}

// build starts a site. The sockets, where the options name none, lie beside
// Postfix's folder.
func build(t *testing.T, o postfix.Options) *site {
	t.Helper()
	return buildFor(t, o, nil)
}

// buildFor starts a site for another Intake. @MILTER@ in a setting is the path of
// the milter's socket. Tests with a site wait most of their time, so they run
// beside each other.
func buildFor(t *testing.T, o postfix.Options, in milter.Intake) *site {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	s := &site{clerk: &clerk{}, milter: filepath.Join(dir, "milter.sock"), lmtp: filepath.Join(dir, "lmtp.sock")}
	if s.intake = in; in == nil {
		s.intake = s.clerk
	}
	o.Dir, o.SignDomain, o.Domain = filepath.Join(dir, "p"), "sign.corp.test", "corp.test"
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.conf = filepath.Join(o.Dir, "conf")
	if o.Chroot {
		inside := filepath.Join(o.Dir, "spool/milterd")
		if err := os.MkdirAll(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		s.milter, s.lmtp = filepath.Join(inside, "milter.sock"), filepath.Join(inside, "lmtp.sock")
		o.Milter, o.LMTP = "unix:milterd/milter.sock", "unix:milterd/lmtp.sock"
	}
	if o.Milter == "" {
		o.Milter = "unix:" + s.milter
	}
	if o.LMTP == "" {
		o.LMTP = "unix:" + s.lmtp
	}
	for i := range o.Settings {
		o.Settings[i] = strings.ReplaceAll(o.Settings[i], "@MILTER@", s.milter)
	}
	o.Users, o.Mailboxes, o.Postmaster = passwords, boxes, "chris@corp.test"
	s.open(t)
	var err error
	if s.Private, err = postfix.StartPrivate(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// open opens both doors; close ends them, as often as a test likes.
func (s *site) open(t *testing.T) {
	t.Helper()
	d := &milter.Door{Domain: "sign.corp.test", Intake: s.intake, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), MaxSize: 1 << 20}
	s.door = d
	for path, serve := range map[string]func(net.Listener) error{s.milter: d.Serve, s.lmtp: d.ServeLMTP} {
		ln, err := milter.Listen("unix:"+path, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- serve(ln) }()
		t.Cleanup(func() {
			s.close()
			if err := <-done; !errors.Is(err, milter.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func (s *site) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.door.Shutdown(ctx)
}

// flush has Postfix try its deferred mail until one comes.
func (s *site) flush(t *testing.T) taken {
	t.Helper()
	for range 50 { // one that comes while the mail is still on its way to the deferred queue does nothing
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		s.clerk.mu.Lock()
		n := len(s.clerk.taken)
		s.clerk.mu.Unlock()
		if n > 0 {
			break
		}
	}
	return s.clerk.wait(t, 1)[0]
}

// empty waits until Postfix's queue is.
func (s *site) empty(t *testing.T) {
	t.Helper()
	until(t, func() bool {
		q, err := s.Queue(t.Context())
		return err == nil && len(q) == 0
	})
}

// box waits until a mailbox has n mails and gives them without their trace fields.
func (s *site) box(t *testing.T, addr string, n int) []string {
	t.Helper()
	var mails [][]byte
	until(t, func() bool {
		var err error
		mails, err = s.Mails(addr)
		return err == nil && len(mails) >= n
	})
	if len(mails) != n {
		t.Errorf("%s has %d mails, want %d", addr, len(mails), n)
	}
	var out []string
	for _, m := range mails {
		out = append(out, untraced(string(m)))
	}
	return out
}

// untraced takes off what delivery puts on top (RFC 5321, 4.4) and gives CRLF.
func untraced(mail string) string {
	lines := strings.SplitAfter(strings.ReplaceAll(mail, "\r\n", "\n"), "\n")
	for len(lines) > 0 {
		name, _, _ := strings.Cut(strings.ToLower(lines[0]), ":")
		if !slices.Contains([]string{"return-path", "received", "delivered-to", "x-original-to"}, name) && !strings.HasPrefix(lines[0], "\t") {
			break
		}
		lines = lines[1:]
	}
	return strings.ReplaceAll(strings.Join(lines, ""), "\n", "\r\n")
}

// talk is an SMTP client that sends what it is told, byte for byte.
type talk struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// dial connects; with a login it logs in.
func (s *site) dial(t *testing.T, login string) *talk {
	t.Helper()
	c, err := net.Dial("tcp", s.SMTPAddr)
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{t, c, bufio.NewReader(c)}
	t.Cleanup(func() { c.Close() })
	k.want("220", k.reply())
	k.ok("EHLO client.corp.test")
	if login != "" {
		k.ok("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00"+passwords[login])))
	}
	return k
}

// reply reads one reply and gives its last line.
func (k *talk) reply() string {
	k.t.Helper()
	k.SetDeadline(time.Now().Add(30 * time.Second))
	for {
		l, err := k.r.ReadString('\n')
		if err != nil {
			k.t.Fatalf("reading the reply: %q, %v", l, err)
		}
		if l = strings.TrimRight(l, "\r\n"); len(l) < 4 || l[3] != '-' {
			return l
		}
	}
}

func (k *talk) send(s string) {
	k.t.Helper()
	k.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(k, s); err != nil {
		k.t.Fatal(err)
	}
}

// say sends a line and gives the reply.
func (k *talk) say(line string) string {
	k.t.Helper()
	k.send(line + "\r\n")
	return k.reply()
}

func (k *talk) want(code, reply string) {
	k.t.Helper()
	if !strings.HasPrefix(reply, code) {
		k.t.Fatalf("got %s, want %s", reply, code)
	}
}

// ok sends lines that must succeed.
func (k *talk) ok(lines ...string) {
	k.t.Helper()
	for _, l := range lines {
		if r := k.say(l); r[0] != '2' && r[0] != '3' {
			k.t.Fatalf("%s: %s", l, r)
		}
	}
}

// mail sends a whole mail with CRLF line ends and gives the last reply.
func (k *talk) mail(from string, to []string, raw string) string {
	k.t.Helper()
	k.ok("MAIL FROM:<" + from + ">")
	for _, r := range to {
		k.ok("RCPT TO:<" + r + ">")
	}
	k.ok("DATA")
	k.send(dotted(raw) + ".\r\n")
	return k.reply()
}

// dotted doubles dots (RFC 5321, 4.5.2).
func dotted(raw string) string {
	return strings.TrimPrefix(strings.ReplaceAll("\r\n"+raw, "\r\n.", "\r\n.."), "\r\n")
}

// letter is a small mail from jane with a subject of its own.
func letter(subject string) string {
	return "Subject: " + subject + "\r\nFrom: jane@corp.test\r\nTo: somebody@corp.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n" +
		"Message-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@corp.test>\r\n\r\n.dots\r\n..\r\nand  blanks \t \r\n\r\n"
}

var errGone = &workflow.Refusal{Code: 550, Enhanced: "5.1.1", Reason: "gone", Text: "Nobody has this address."}
