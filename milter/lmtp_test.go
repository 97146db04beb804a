package milter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/workflow"
)

// openLMTP is a door with both protocols.
func openLMTP(t *testing.T, change func(*Door)) (*house, string) {
	t.Helper()
	h := open(t, change)
	socket := filepath.Join(t.TempDir(), "l")
	ln, err := Listen("unix:"+socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	go h.ServeLMTP(ln)
	return h, socket
}

// wire speaks LMTP as text.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialLMTP(t *testing.T, socket string) wire {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w := wire{t, c, bufio.NewReader(c)}
	w.say("", "220 sign.corp.test LMTP Service Ready")
	w.say("LHLO mx.corp.test\r\n", "250-Hello mx.corp.test", "250-PIPELINING", "250-8BITMIME", "250-ENHANCEDSTATUSCODES",
		"250-SMTPUTF8", "250-SIZE", "250 LIMITS RCPTMAX=1000")
	return w
}

// say sends and compares the lines that come back; "250" is any line with that code.
func (w wire) say(send string, want ...string) {
	w.t.Helper()
	w.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(w, send); err != nil {
		w.t.Fatal(err)
	}
	for _, l := range want {
		got, err := w.r.ReadString('\n')
		if got = strings.TrimSpace(got); err != nil || got != l && (len(l) != 3 || !strings.HasPrefix(got, l+" ")) {
			w.t.Fatalf("%.200q: got %q, %v, want %q", send, got, err, l)
		}
	}
}

// gone waits for the door to close the connection.
func (w wire) gone(within time.Duration) {
	w.t.Helper()
	w.SetDeadline(time.Now().Add(within))
	if _, err := io.Copy(io.Discard, w.r); errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatal("the connection is still open")
	}
}

const begin = "MAIL FROM:<jane@corp.test>\r\nRCPT TO:<self@sign.corp.test>\r\nDATA\r\n"

// TestLMTP: several mails on one connection, each by itself, and an answer for each recipient.
func TestLMTP(t *testing.T) {
	h, socket := openLMTP(t, nil)
	h.clerk.rcpt = func(r string) (Verdict, error) {
		switch {
		case strings.HasPrefix(r, "nobody@"):
			return Pass, &workflow.Refusal{Code: 550, Enhanced: "5.1.1", Text: "100% nobody", Reason: "unknown"}
		case strings.HasPrefix(r, "postmaster@"):
			return Pass, nil
		case strings.HasPrefix(r, "odd@"):
			return Pass, errors.New("secret cause")
		}
		return Take, nil
	}
	w := dialLMTP(t, socket)
	// As Postfix sends it: everything up to DATA at once.
	w.say("MAIL FROM:<jane@corp.test> SIZE=99999999 BODY=8BITMIME SMTPUTF8\r\n"+
		"RCPT TO:<john@Sign.corp.test>\r\n"+
		"RCPT TO:<nobody@sign.corp.test>\r\n"+
		"RCPT TO:<odd@sign.corp.test>\r\n"+
		"RCPT TO:<postmaster@sign.corp.test>\r\n"+
		"RCPT TO:<bob@corp.test>\r\n"+
		"RCPT TO:<x%sign.corp.test@mx.corp.test>\r\n"+
		"RCPT TO:<x%elsewhere.test@sign.corp.test>\r\n"+
		"RCPT TO:<\"a b\"@sign.corp.test>\r\n"+
		"RCPT TO:<müller@sign.corp.test>\r\n"+
		"RCPT TO:<john@sign.corp.test>\r\n"+
		"DATA\r\n",
		"250", "250", "550 5.1.1 100% nobody",
		"451 4.3.0 The signature desk cannot take this mail right now; please try again later.",
		"451 4.3.5 This address belongs to a person: Postfix lacks its line of virtual_alias_maps (milterd postfix print). Then: postsuper -r.",
		"550 5.7.1 The signature desk takes mail to the sign domain only.",
		"550 5.7.1 The signature desk takes mail to the sign domain only.",
		"250", "250", "250", "250", "354")
	first := "Subject: \xfcml\xe4ut\r\n\r\n.dot\r\n..\r\nbare\nline\r\n\x00\x01\r\n\r\n"
	w.say(strings.ReplaceAll(first, "\r\n.", "\r\n..")+".\r\n",
		"250 2.0.0 <john@Sign.corp.test> OK: queued", "250 2.0.0 <x%elsewhere.test@sign.corp.test> OK: queued", "250 2.0.0 <a b@sign.corp.test> OK: queued",
		"250 2.0.0 <müller@sign.corp.test> OK: queued", "250 2.0.0 <john@sign.corp.test> OK: queued")

	// RSET forgets, a second MAIL does not mix two mails, and DATA wants recipients.
	w.say("MAIL FROM:<a@b>\r\nRCPT TO:<x@sign.corp.test>\r\nRSET\r\n", "250", "250", "250")
	w.say("DATA\r\n", "502")
	w.say("MAIL FROM:<>\r\nRCPT TO:<bounce+t@sign.corp.test>\r\nMAIL FROM:<c@d>\r\n", "250", "250", "503 5.5.1 This mail has a sender already.")
	w.say("DATA\r\n", "354")
	w.say("X: second\r\n\r\n.\r\n", "250")

	// A refused mail is refused for every recipient and leaves nothing behind.
	h.clerk.message = func() error {
		return &workflow.Refusal{Code: 554, Enhanced: "5.6.1", Text: "no %s", Reason: "no"}
	}
	w.say("MAIL FROM:<jane@corp.test>\r\nRCPT TO:<x@sign.corp.test>\r\nRCPT TO:<y@sign.corp.test>\r\nDATA\r\n", "250", "250", "250", "354")
	w.say("X: third\r\n\r\n.\r\n", "554 5.6.1 <x@sign.corp.test> no %s", "554 5.6.1 <y@sign.corp.test> no %s")
	h.clerk.message = nil
	w.say("RCPT TO:<x@sign.corp.test>\r\n", "502")
	w.say("QUIT\r\n", "221")
	w.gone(time.Second)

	if len(h.clerk.raws) != 2 || h.clerk.raws[0] != first || h.clerk.raws[1] != "X: second\r\n\r\n" {
		t.Errorf("mails %q", h.clerk.raws)
	}
	if e := h.clerk.envs[0]; !e.Relayed || e.Login != "" || e.Client.IsValid() || e.From != "jane@corp.test" ||
		fmt.Sprint(e.Recipients) != "[john@sign.corp.test x%elsewhere.test@sign.corp.test a b@sign.corp.test müller@sign.corp.test]" {
		t.Errorf("envelope %+v", e)
	}
	if e := h.clerk.envs[1]; e.From != "" || fmt.Sprint(e.Recipients) != "[bounce+t@sign.corp.test]" {
		t.Errorf("envelope %+v", e)
	}
	if held := h.held.Load(); held != 0 {
		t.Errorf("%d bytes still held", held)
	}
	counted := "rcpt taken, rcpt unknown, rcpt internal, rcpt passed, rcpt taken, rcpt taken, rcpt taken, rcpt taken, mail taken, " +
		"rcpt taken, rcpt taken, mail taken, rcpt taken, rcpt taken, mail no"
	if got := strings.Join(h.log, ", "); got != counted {
		t.Errorf("counted %s\nwant %s", got, counted)
	}
}

// TestLMTPSizes: a larger mail is cut and judged, not refused by the door;
// memory is shared with the milter.
func TestLMTPSizes(t *testing.T) {
	h, socket := openLMTP(t, func(d *Door) { d.MaxSize, d.MaxHeld = 1<<20, 3<<19 })
	w := dialLMTP(t, socket)
	for name, mail := range map[string]string{
		"many lines": strings.Repeat(strings.Repeat("x", 998)+"\r\n", 3000),
		"one line":   strings.Repeat("x", 3<<20) + "\r\n",
	} {
		h.clerk.raws = nil
		w.say(begin, "250", "250", "354")
		w.say(mail+".\r\n", "250")
		if got := h.clerk.raws[0]; got != mail[:1<<20+1] {
			t.Errorf("%s: %d bytes arrived, want %d", name, len(got), 1<<20+1)
		}
	}
	w.say("NOOP " + strings.Repeat("x", 2*maxCommand)) // no end of a command
	w.gone(5 * time.Second)

	// A milter connection holds more than a half; then there is no room for the other half.
	m := h.connect(t)
	m.mail("jane@corp.test", "jane")
	m.rcpt("self@sign.corp.test", "self@sign.corp.test", "c")
	m.header("Subject", " x")
	m.headerEnd("c")
	m.chunks(h, 17)
	n := dialLMTP(t, socket)
	n.say(begin, "250", "250", "354")
	n.say(strings.Repeat("y", 1<<20)+"\r\n.\r\n",
		"451 4.3.2 <self@sign.corp.test> The signature desk has too many mails in hand right now; please try again in a few minutes.")
	_, act, err := m.End()
	m.want(act, err, "a")
	n.say(begin, "250", "250", "354")
	n.say(strings.Repeat("y", 1<<20)+"\r\n.\r\n", "250")
	n.say("RSET\r\n", "250")
	if held := h.held.Load(); held != 0 {
		t.Errorf("%d bytes still held", held)
	}
}

// TestLMTPLoss: what breaks off is no mail, in a chunk neither.
func TestLMTPLoss(t *testing.T) {
	h, socket := openLMTP(t, nil)
	for _, part := range []string{"X: y\r\n\r\nhalf a ma", "X: y\r\n\r\n.\r", "X: y\r\n\r\n\n.\n"} {
		w := dialLMTP(t, socket)
		w.say(begin, "250", "250", "354")
		w.say(part)
		w.Close()
	}
	w := dialLMTP(t, socket)
	w.say(begin[:len(begin)-6]+"BDAT 1000 LAST\r\nX: y\r\n\r\nhalf", "250", "250")
	w.Close()
	w = dialLMTP(t, socket)
	w.say(begin[:len(begin)-6]+"BDAT 10\r\n1234567890", "250", "250", "502 5.5.1 CHUNKING is not offered.")
	w.say(begin[:len(begin)-6]+"BDAT 0 LAST\r\n", "250", "250", "502 5.5.1 <self@sign.corp.test> CHUNKING is not offered.")
	w.say(begin, "250", "250", "354")
	w.say("X: whole\r\n\r\n.\r\n", "250")
	h.clerk.mu.Lock()
	defer h.clerk.mu.Unlock()
	if len(h.clerk.raws) != 1 || h.clerk.raws[0] != "X: whole\r\n\r\n" {
		t.Errorf("mails %q", h.clerk.raws)
	}
}

// TestLMTPStrayCR: a line that ends in CR CR LF hides no final dot, and a stray
// one no end of a line.
func TestLMTPStrayCR(t *testing.T) {
	h, socket := openLMTP(t, nil)
	w := dialLMTP(t, socket)
	w.say(begin, "250", "250", "354")
	w.say("X: y\r\n\r\na\r\r\n..\r\nb\r.\r\nc\r")
	time.Sleep(20 * time.Millisecond) // the CR arrives without its LF
	w.say("\nd\r\r\n.\r\n", "250")
	if want := "X: y\r\n\r\na \r\n.\r\nb .\r\nc\r\nd \r\n"; h.clerk.raws[0] != want {
		t.Errorf("got %q, want %q", h.clerk.raws[0], want)
	}
}

func TestLMTPIdle(t *testing.T) {
	_, socket := openLMTP(t, func(d *Door) { d.Idle = 100 * time.Millisecond })
	w := dialLMTP(t, socket)
	w.gone(5 * time.Second)
	w = dialLMTP(t, socket)
	w.say(begin, "250", "250", "354")
	w.say("X: y\r\n")
	w.gone(5 * time.Second)
}

func TestLMTPPanic(t *testing.T) {
	h, socket := openLMTP(t, nil)
	h.clerk.message = func() error { panic("a mistake") }
	w := dialLMTP(t, socket)
	w.say(begin, "250", "250", "354")
	w.say("X: y\r\n\r\n.\r\n", "421")
	w.gone(5 * time.Second)
	h.clerk.message = nil
	h.clerk.rcpt = func(string) (Verdict, error) { panic("a mistake") }
	w = dialLMTP(t, socket)
	w.say("MAIL FROM:<jane@corp.test>\r\nRCPT TO:<self@sign.corp.test>\r\n", "250", "421")
	w.gone(5 * time.Second)
	h.clerk.rcpt = nil
	w = dialLMTP(t, socket)
	w.say(begin, "250", "250", "354")
	w.say("X: y\r\n\r\n.\r\n", "250")
	w.say("RSET\r\n", "250")
	for range 500 { // the first connection gives back after its end
		if h.held.Load() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if held := h.held.Load(); held != 0 || len(h.clerk.raws) != 1 {
		t.Errorf("%d bytes still held, mails %q", held, h.clerk.raws)
	}
}

// TestLMTPConnections: each door has its own places.
func TestLMTPConnections(t *testing.T) {
	h, socket := openLMTP(t, func(d *Door) { d.MaxConns = 1 })
	h.connect(t).mail("bob@corp.test", "")
	w := dialLMTP(t, socket)
	second := make(chan struct{})
	go func() { dialLMTP(t, socket); close(second) }()
	select {
	case <-second:
		t.Fatal("the second connection did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	w.Close()
	select {
	case <-second:
	case <-time.After(5 * time.Second):
		t.Fatal("the second connection waits for ever")
	}
}

// TestLMTPShutdown: a resting connection goes at once, a mail comes to its end.
func TestLMTPShutdown(t *testing.T) {
	h, socket := openLMTP(t, nil)
	resting, busy := dialLMTP(t, socket), dialLMTP(t, socket)
	resting.say(begin, "250", "250", "354")
	resting.say("X: y\r\n\r\n.\r\n", "250")
	busy.say(begin, "250", "250", "354")
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		done <- h.Shutdown(ctx)
	}()
	resting.gone(5 * time.Second)
	select {
	case err := <-done:
		t.Fatalf("did not wait for the mail: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	busy.say("X: z\r\n\r\n.\r\n", "250")
	busy.gone(5 * time.Second)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("still listening")
	}
}

// TestLMTPShutdownCuts: whoever takes too long is cut off, and its answer is no yes.
func TestLMTPShutdownCuts(t *testing.T) {
	h, socket := openLMTP(t, nil)
	begun, release := make(chan struct{}), make(chan struct{})
	h.clerk.message = func() error { close(begun); <-release; return nil }
	w := dialLMTP(t, socket)
	w.say(begin, "250", "250", "354")
	w.say("X: y\r\n\r\n.\r\n")
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if got, err := io.ReadAll(w.r); err == nil && len(got) > 0 {
		t.Errorf("Postfix heard %q", got)
	}
	close(release)
}

// FuzzLMTP sends anything: the door neither panics nor hangs, takes only whole
// mails for recipients of the sign domain, and holds nothing after.
func FuzzLMTP(f *testing.F) {
	hello := "LHLO mx\r\n"
	for _, s := range []string{
		begin + "X: y\r\n\r\n..\r\n.\r\nQUIT\r\n",
		begin + "X: y\r\r\n.\r\n",
		"MAIL FROM:<>\r\nRCPT TO:<\"a\\\"b\"@sign.corp.test>\r\nRCPT TO:<@a:b@sign.corp.test>\r\nRSET\r\n" + begin + ".\r\n",
		"MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME SMTPUTF8 AUTH=<>\r\nRCPT TO:<a@sign.corp.test>\r\nBDAT 3\r\nabcBDAT 0 LAST\r\nNOOP\r\nVRFY x\r\nAUTH PLAIN AA==\r\nSTARTTLS\r\n",
		"RCPT TO:<x>\r\nDATA\r\nEHLO x\r\n\r\nXX\r\nMAIL FROM:a@b\r\nMAIL FROM:<a@b> RET=FULL\r\n",
	} {
		f.Add([]byte(hello + s))
	}
	said := &spoken{}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &clerk{}
		d := &Door{Domain: "sign.corp.test", Intake: c, Log: slog.New(slog.NewTextHandler(said, nil)), MaxSize: 4096, MaxHeld: 6000}
		converse(t, d, d.talkLMTP, b)
		said.check(t)
		c.check(t, d, 4097)
		if len(c.envs) > 0 && !strings.Contains(string(b), ".\r\n") {
			t.Fatalf("took %q, which has no end", c.raws)
		}
	})
}

// spoken is a log that many goroutines write, some after their connection.
type spoken struct {
	mu   sync.Mutex
	text []byte
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	return len(p), nil
}

// check fails after a panic of ours. The library has its own when a command
// follows one on which it closed the connection; it catches both.
func (s *spoken) check(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := string(s.text); strings.Contains(text, "panic") && strings.Contains(text, "milterd/milter.(") {
		t.Fatal(text)
	}
	s.text = nil
}
