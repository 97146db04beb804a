package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-milter"

	"milterd/workflow"
)

// clerk is an Intake that takes everything but what a test tells it.
type clerk struct {
	mu      sync.Mutex
	envs    []Envelope
	raws    []string
	rcpt    func(recipient string) (Verdict, error)
	message func() error
}

func (c *clerk) Recipient(_ context.Context, _ Envelope, recipient string) (Verdict, error) {
	if c.rcpt != nil {
		return c.rcpt(recipient)
	}
	return Take, nil
}

func (c *clerk) Message(ctx context.Context, e Envelope, raw []byte) error {
	if c.message != nil {
		if err := c.message(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.envs, c.raws = append(c.envs, e), append(c.raws, string(raw))
	return nil
}

// house is a door on a socket of its own.
type house struct {
	*Door
	clerk  *clerk
	socket string
	mu     sync.Mutex
	log    []string // what the meter counted
	served chan error
}

func open(t *testing.T, change func(*Door)) *house {
	t.Helper()
	h := &house{clerk: &clerk{}, socket: filepath.Join(t.TempDir(), "s"), served: make(chan error, 1)}
	count := func(s string) { h.mu.Lock(); h.log = append(h.log, s); h.mu.Unlock() }
	h.Door = &Door{Domain: "sign.corp.test", Intake: h.clerk, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Meter: Meter{
			Recipient: func(outcome string, _ time.Duration) { count("rcpt " + outcome) },
			Mail:      func(outcome string, _ time.Duration) { count("mail " + outcome) },
		}}
	if change != nil {
		change(h.Door)
	}
	ln, err := Listen("unix:"+h.socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	go func() { h.served <- h.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		h.Shutdown(ctx)
	})
	return h
}

// mta is the other side, as Postfix speaks.
type mta struct {
	t *testing.T
	*milter.ClientSession
}

func (h *house) connect(t *testing.T) mta {
	t.Helper()
	c := milter.NewClientWithOptions("unix", h.socket, milter.ClientOptions{ActionMask: milter.OptRemoveRcpt,
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second})
	s, err := c.Session()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return mta{t, s}
}

// want checks an answer: "c" continue, "a" accept, or a reply.
func (m mta) want(act *milter.Action, err error, want string) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	got := string(rune(act.Code))
	if act.Code == milter.ActReplyCode {
		got = fmt.Sprintf("%d %s", act.SMTPCode, act.SMTPText)
	}
	if got != want {
		m.t.Fatalf("got %q, want %q", got, want)
	}
}

func (m mta) mail(from, login string) {
	m.t.Helper()
	m.Macros(milter.CodeMail, "{auth_authen}", login, "{client_addr}", "192.0.2.1", "{mail_addr}", from)
	act, err := m.Mail(from, nil)
	m.want(act, err, "c")
}

func (m mta) rcpt(raw, canonical, want string) {
	m.t.Helper()
	m.Macros(milter.CodeRcpt, "{rcpt_addr}", canonical)
	act, err := m.Rcpt(raw, nil)
	m.want(act, err, want)
}

// header sends a field, to which there is no answer.
func (m mta) header(name, value string) {
	m.t.Helper()
	m.Macros(milter.CodeHeader, "i", "4ABC")
	act, err := m.HeaderField(name, value)
	m.want(act, err, "c")
}

// headerEnd sends the end of the header.
func (m mta) headerEnd(want string) {
	m.t.Helper()
	act, err := m.HeaderEnd()
	m.want(act, err, want)
}

// rest sends the end of the header and a body, and gives the deleted recipients.
func (m mta) rest(body, want string) string {
	m.t.Helper()
	m.headerEnd("c")
	mods, act, err := m.BodyReadFrom(strings.NewReader(body))
	m.want(act, err, want)
	var deleted []string
	for _, mod := range mods {
		if mod.Code == milter.ActDelRcpt {
			deleted = append(deleted, mod.Rcpt)
		}
	}
	return strings.Join(deleted, " ")
}

// chunks sends n pieces of a body of 60,000 bytes, and waits until the door holds
// them: it does not say so.
func (m mta) chunks(h *house, n int) {
	m.t.Helper()
	chunk := []byte(strings.Repeat("x", 60000))
	for range n {
		act, err := m.BodyChunk(chunk)
		m.want(act, err, "c")
	}
	for range 500 {
		if h.held.Load() >= int64(n*len(chunk)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.t.Fatalf("only %d bytes are held", h.held.Load())
}

// TestConversation: several mails on one connection, each by itself.
func TestConversation(t *testing.T) {
	h := open(t, nil)
	h.clerk.rcpt = func(r string) (Verdict, error) {
		switch {
		case strings.HasPrefix(r, "nobody@"):
			return Pass, &workflow.Refusal{Code: 550, Enhanced: "5.1.1", Text: "100% nobody, Müller", Reason: "unknown"}
		case strings.HasPrefix(r, "postmaster@"):
			return Pass, nil
		case strings.HasPrefix(r, "odd@"):
			return Pass, errors.New("secret cause")
		}
		return Take, nil
	}
	m := h.connect(t)

	m.mail("jane@corp.test", "jane")
	m.rcpt("bob@corp.test", "bob@corp.test", "c")
	m.rcpt("nobody@sign.corp.test", "nobody@sign.corp.test", "550 5.1.1 100%% nobody, M?ller")
	m.rcpt("odd@sign.corp.test", "odd@sign.corp.test", "451 4.3.0 The signature desk cannot take this mail right now; please try again later.")
	m.rcpt("x%sign.corp.test@mx", "john@sign.corp.test", "c")
	m.rcpt("john@sign.corp.test", "john@sign.corp.test", "c")
	m.rcpt("x%sign.corp.test@mx", "x%sign.corp.test@mx", "550 5.1.3 Write to the sign domain with a plain address, name@domain, without %%, ! or a second @.")
	m.header("Subject", " one\n two")
	m.header("X-Tight", "no blank")
	m.header("X-Empty", "")
	if got := m.rest("body\r\n.\r\n", "a"); got != "<john@sign.corp.test> <x%sign.corp.test@mx>" {
		t.Errorf("deleted %q", got)
	}

	// Mail for others goes at the end of its header, also with a recipient that passes.
	m.mail("bob@corp.test", "")
	m.rcpt("postmaster@sign.corp.test", "postmaster@sign.corp.test", "c")
	m.header("Subject", " two")
	m.headerEnd("a")

	// RSET forgets the recipient.
	m.mail("jane@corp.test", "jane")
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	if err := m.Abort(); err != nil {
		t.Fatal(err)
	}
	m.mail("bob@corp.test", "")
	m.rcpt("bob@corp.test", "bob@corp.test", "c")
	m.header("Subject", " three")
	m.headerEnd("a")

	// A refused mail leaves nothing behind.
	h.clerk.message = func() error {
		return &workflow.Refusal{Code: 554, Enhanced: "5.6.1", Text: strings.Repeat("long ", 200), Reason: "no"}
	}
	m.mail("jane@corp.test", "jane")
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	m.header("Subject", " four")
	if got := m.rest("x\r\n", ("554 5.6.1 " + strings.Repeat("long ", 200))[:maxReply-3]+"..."); got != "" {
		t.Errorf("deleted %q", got)
	}
	h.clerk.message = nil
	m.mail("jane@corp.test", "jane2")
	m.rcpt("Self@Sign.corp.test", "Self@Sign.corp.test", "c")
	m.header("Subject", " five")
	if got := m.rest("", "a"); got != "<Self@Sign.corp.test>" {
		t.Errorf("deleted %q", got)
	}

	want := []string{"Subject: one\r\n two\r\nX-Tight:no blank\r\nX-Empty:\r\n\r\nbody\r\n.\r\n", "Subject: five\r\n\r\n"}
	if len(h.clerk.raws) != 2 || h.clerk.raws[0] != want[0] || h.clerk.raws[1] != want[1] {
		t.Errorf("mails %q, want %q", h.clerk.raws, want)
	}
	if e := h.clerk.envs[0]; e.Login != "jane" || e.From != "jane@corp.test" || e.Client.String() != "192.0.2.1" ||
		e.QueueID != "4ABC" || fmt.Sprint(e.Recipients) != "[john@sign.corp.test]" {
		t.Errorf("envelope %+v", e)
	}
	if e := h.clerk.envs[1]; e.Login != "jane2" || fmt.Sprint(e.Recipients) != "[Self@sign.corp.test]" {
		t.Errorf("envelope %+v", e)
	}
	counted := "rcpt unknown, rcpt internal, rcpt taken, rcpt taken, rcpt routed-address, mail taken, rcpt passed, mail other, " +
		"rcpt taken, mail other, rcpt taken, mail no, rcpt taken, mail taken"
	if got := strings.Join(h.log, ", "); got != counted {
		t.Errorf("counted %s\nwant %s", got, counted)
	}
}

// endless is an Intake that answers nothing before its time is up.
type endless struct{ *clerk }

func (endless) Recipient(ctx context.Context, _ Envelope, _ string) (Verdict, error) {
	<-ctx.Done()
	return Pass, ctx.Err()
}

// TestRecipientWork: an answer at RCPT comes within Postfix's command_timeout of
// 5 s, after which the mail would go on unseen.
func TestRecipientWork(t *testing.T) {
	h := open(t, func(d *Door) { d.Intake = endless{} })
	m := h.connect(t)
	m.mail("jane@corp.test", "jane")
	begin := time.Now()
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "451 4.3.0 The signature desk cannot take this mail right now; please try again later.")
	if took := time.Since(begin); took > 4500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
}

// TestSubmitted: cleanup, which has the queue id and no client's port, hears a
// refusal of a recipient at the end of the header only.
func TestSubmitted(t *testing.T) {
	h := open(t, nil)
	h.clerk.rcpt = func(r string) (Verdict, error) {
		switch {
		case strings.HasPrefix(r, "gone@"):
			return Pass, &workflow.Refusal{Code: 550, Enhanced: "5.1.1", Text: "gone", Reason: "gone"}
		case strings.HasPrefix(r, "odd@"):
			return Pass, &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Text: "odd", Reason: "odd"}
		}
		return Take, nil
	}
	m := h.connect(t)
	for rcpts, want := range map[string]string{
		"odd":           "451 4.3.0 odd",
		"gone":          "550 5.1.1 gone",
		"odd gone":      "550 5.1.1 gone",
		"gone odd self": "550 5.1.1 gone",
		"self":          "c",
	} {
		m.Macros(milter.CodeMail, "i", "4ABC", "{client_addr}", "127.0.0.1", "{client_port}", "0", "{mail_addr}", "root@corp.test")
		act, err := m.Mail("root@corp.test", nil)
		m.want(act, err, "c")
		for r := range strings.FieldsSeq(rcpts) {
			m.rcpt(r+"@sign.corp.test", r+"@sign.corp.test", "c")
		}
		m.header("Subject", " x")
		m.headerEnd(want)
		if err := m.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	m.mail("jane@corp.test", "jane")
	m.rcpt("gone@sign.corp.test", "gone@sign.corp.test", "550 5.1.1 gone")
	if len(h.clerk.raws) != 0 {
		t.Errorf("took %q", h.clerk.raws)
	}
}

// TestSubmittedTooLarge: a submitted mail that is too large comes cut, for the
// Intake to judge: a refusal might reach a stranger.
func TestSubmittedTooLarge(t *testing.T) {
	h := open(t, func(d *Door) { d.MaxSize = 1 << 20 })
	m := h.connect(t)
	m.Macros(milter.CodeMail, "i", "4ABC", "{client_addr}", "127.0.0.1", "{client_port}", "0", "{mail_addr}", "x@elsewhere.test")
	act, err := m.Mail("x@elsewhere.test", nil)
	m.want(act, err, "c")
	m.rcpt("x%sign.corp.test@mx.corp.test", "x%sign.corp.test@mx.corp.test", "c") // an odd form, for the Intake, too
	m.header("Subject", " x")
	m.rest(strings.Repeat("x", 2<<20), "a")
	if len(h.clerk.raws) != 1 || len(h.clerk.raws[0]) != 1<<20+1 || h.held.Load() != 0 {
		t.Errorf("%d mails taken, %d bytes held", len(h.clerk.raws), h.held.Load())
	}
}

func TestSizes(t *testing.T) {
	h := open(t, func(d *Door) { d.MaxSize, d.MaxHeld = 2<<20, 3<<20 })
	m := h.connect(t)
	begin := func(m mta) {
		m.mail("jane@corp.test", "jane")
		m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
		m.header("Subject", " x")
	}
	begin(m)
	m.rest(strings.Repeat("x", 3<<20), "552 5.3.4 This mail is larger than the 2 MB that the signature desk takes; send fewer or smaller documents.")
	begin(m)
	m.rest("small", "a")

	// Two connections together hold too much: the second is put off.
	begin(m)
	m.headerEnd("c")
	m.chunks(h, 30)
	n := h.connect(t)
	begin(n)
	n.rest(strings.Repeat("x", 3<<19), "451 4.3.2 The signature desk has too many mails in hand right now; please try again in a few minutes.")
	_, act, err := m.End()
	m.want(act, err, "a")
	begin(n)
	n.rest(strings.Repeat("x", 3<<19), "a")
	if held := h.held.Load(); held != 0 {
		t.Errorf("%d bytes still held", held)
	}
}

// closed waits for the door to close a connection.
func (m mta) closed(within time.Duration) {
	m.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := m.Mail("a@b", nil)
		for err == nil {
			_, err = m.Mail("a@b", nil)
		}
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(within):
		m.t.Fatal("the connection is still open")
	}
}

func TestIdle(t *testing.T) {
	h := open(t, func(d *Door) { d.Idle = 50 * time.Millisecond })
	m := h.connect(t)
	time.Sleep(200 * time.Millisecond)
	m.closed(time.Second)
}

func TestPanic(t *testing.T) {
	h := open(t, nil)
	h.clerk.message = func() error { panic("a mistake") }
	m := h.connect(t)
	m.mail("jane@corp.test", "jane")
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	m.header("Subject", " x")
	if _, err := m.HeaderEnd(); err != nil {
		t.Fatal(err)
	}
	if _, act, err := m.End(); err == nil {
		t.Errorf("got %v: Postfix must not hear yes", act)
	}
	h.clerk.message = nil
	m = h.connect(t)
	m.mail("jane@corp.test", "jane")
}

func TestConnections(t *testing.T) {
	h := open(t, func(d *Door) { d.MaxConns = 1 })
	m := h.connect(t)
	second := make(chan struct{})
	go func() {
		n := h.connect(t)
		n.mail("bob@corp.test", "")
		close(second)
	}()
	select {
	case <-second:
		t.Fatal("the second connection did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	m.Close()
	select {
	case <-second:
	case <-time.After(3 * time.Second):
		t.Fatal("the second connection waits for ever")
	}
}

// TestShutdown: a resting connection goes at once, a mail comes to its end.
func TestShutdown(t *testing.T) {
	h := open(t, nil)
	resting, busy := h.connect(t), h.connect(t)
	resting.mail("bob@corp.test", "")
	resting.rcpt("bob@corp.test", "bob@corp.test", "c")
	resting.header("Subject", " x")
	resting.headerEnd("a")
	busy.mail("jane@corp.test", "jane")
	busy.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- h.Shutdown(ctx)
	}()
	if err := <-h.served; !errors.Is(err, ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
	resting.closed(time.Second)
	select {
	case err := <-done:
		t.Fatalf("did not wait for the mail: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	busy.header("Subject", " x")
	if got := busy.rest("x\r\n", "a"); got != "<self@sign.corp.test>" {
		t.Errorf("deleted %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", h.socket); err == nil {
		t.Error("still listening")
	}
}

// TestShutdownCuts: whoever takes too long is cut off, and its answer is no yes.
func TestShutdownCuts(t *testing.T) {
	h := open(t, nil)
	release := make(chan struct{})
	h.clerk.message = func() error { <-release; return nil }
	m := h.connect(t)
	m.mail("jane@corp.test", "jane")
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	m.header("Subject", " x")
	if _, err := m.HeaderEnd(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { _, _, err := m.End(); answered <- err }()
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := <-answered; err == nil {
		t.Error("Postfix heard yes")
	}
	close(release)
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	ln, err := Listen("unix:"+path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Listen("unix:"+path, 0o660); err == nil || !strings.Contains(err.Error(), "already serves") {
		t.Errorf("a second listener: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close() // as after a crash: the file stays
	ln, err = Listen("unix:"+path, 0o660)
	if err != nil {
		t.Errorf("a socket left behind is in the way: %v", err)
	} else {
		ln.Close()
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	for addr, want := range map[string]string{
		"unix:" + file:        "is no socket",
		"inet:192.0.2.1:8891": "only loopback",
		"inet:8891":           "want inet:127.0.0.1:port",
		"/run/x.sock":         "want unix:/path",
	} {
		if _, err := Listen(addr, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", addr, err, want)
		}
	}
	if ln, err = Listen("inet:127.0.0.1:0", 0); err != nil {
		t.Error(err)
	} else {
		ln.Close()
	}
}

// FuzzConversation sends anything: the door neither panics nor hangs, takes
// mails for the sign domain only, and holds nothing after.
func FuzzConversation(f *testing.F) {
	packet := func(s string) string {
		return string([]byte{0, 0, byte(len(s) >> 8), byte(len(s))}) + s
	}
	options := packet("O\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
	mail := packet("DM{auth_authen}\x00jane\x00{client_addr}\x00IPv6:::1\x00") + packet("M<jane@corp.test>\x00")
	rest := packet("LSubject\x00 x\x00") + packet("N") + packet("Bbody") + packet("E")
	f.Add([]byte(options + mail + packet("R<self@sign.corp.test>\x00") + rest + packet("A") + packet("Q")))
	f.Add([]byte(options + mail + packet("DR{rcpt_addr}\x00x@sign.corp.test\x00") + packet("Rsign.corp.test!x\x00") + rest + mail + rest))
	f.Add([]byte(options + mail + packet("R<a%b@sign.corp.test>\x00") + packet("R<a@sign.corp.test>\x00") + packet("E") + packet("E")))
	f.Add([]byte(packet("C") + packet("L") + packet("D") + packet("R")))
	f.Fuzz(func(t *testing.T, b []byte) {
		quiet := quietly(t)
		c := &clerk{}
		d := &Door{Domain: "sign.corp.test", Intake: c, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), MaxSize: 4096, MaxHeld: 6000}
		converse(t, d, d.talkMilter, b)
		quiet()
		c.check(t, d, 4096)
	})
}

// quietly returns a check that the libraries have reported no panic since.
func quietly(t *testing.T) func() {
	said := &strings.Builder{}
	log.SetOutput(said) // go-milter's; the connection's goroutine has ended when it is read
	return func() {
		log.SetOutput(os.Stderr)
		if strings.Contains(said.String(), "panic") {
			t.Fatal(said)
		}
	}
}

// converse sends b on one connection and waits for the door to be done with it.
func converse(t *testing.T, d *Door, talk func(*conn), b []byte) {
	near, far := net.Pipe()
	if err := d.open(&single{}); err != nil {
		t.Fatal(err)
	}
	if !d.admit(far, talk, func() {}) {
		t.Fatal("not served")
	}
	go io.Copy(io.Discard, near)
	near.SetDeadline(time.Now().Add(5 * time.Second))
	near.Write(b)
	near.Close()
	d.wait.Wait()
	if held := d.held.Load(); held != 0 {
		t.Fatalf("%d bytes still held", held)
	}
}

// check judges what an Intake was given by somebody who sent anything.
func (c *clerk) check(t *testing.T, d *Door, size int) {
	for i, e := range c.envs {
		if len(e.Recipients) == 0 || len(c.raws[i]) > size {
			t.Fatalf("took %q for %+v", c.raws[i], e)
		}
		for _, r := range e.Recipients {
			if !strings.HasSuffix(r, "@"+d.Domain) {
				t.Fatalf("took a mail for %q", r)
			}
		}
	}
}
