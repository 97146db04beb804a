package intake_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"milterd/workflow"
)

// command runs a program of Postfix's for the private instance.
func (h *house) command(t *testing.T, line string) {
	t.Helper()
	w := strings.Fields(line)
	if out, err := exec.Command(w[0], append([]string{"-c", filepath.Join(h.dir, "conf")}, w[1:]...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// deferred waits until Postfix has put n mails off, and nothing else is under way.
func (h *house) deferred(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprint(n, " deferred mails"), func() bool {
		return strings.Count(h.Log(), "status=deferred") >= n
	})
}

// emptied waits until Postfix's queue is empty.
func (h *house) emptied(t *testing.T) {
	t.Helper()
	until(t, "an empty queue", func() bool {
		q, err := h.Queue(t.Context())
		return err == nil && len(q) == 0
	})
}

// listen keeps what the desk logs.
func (h *house) listen() *journal {
	j := &journal{}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.intake.Log = slog.New(slog.NewTextHandler(j, nil))
	return j
}

type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// login is a connection on which somebody has logged in.
func (h *house) login(t *testing.T, name string) *smtp {
	t.Helper()
	s := h.dial(t, "client.corp.test")
	if r := s.say(plain(name)); r[0] != '2' {
		t.Fatal(r)
	}
	return s
}

// TestRequeued: mail of a logged-in sender that waits for the LMTP door and that
// the administrator queues again (postsuper -r), twice, still opens; a mail of
// sendmail's that claims to be such a one opens nothing, queued again or not.
func TestRequeued(t *testing.T) {
	h := open(t, "defer_transports = lmtp")
	log := h.listen()
	s := h.login(t, "jane")
	if r := s.send("jane@corp.test", "contracts@corp.test", note("requeued")); r[0] != '2' {
		t.Fatal(r)
	}
	again := "Received: by mx.corp.test (Postfix, from userid " + postfixUser(t) + ")\r\n\tid 4F2A1; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	forged := again + "Received: from client.corp.test (localhost [127.0.0.1])\r\n\t(Authenticated sender: jane)\r\n\tby mx.corp.test (Postfix) with ESMTPA id 4F2A2\r\n" +
		"\tfor <contracts@corp.test>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	if err := h.Submit(t.Context(), "jane@corp.test", []string{"contracts@corp.test"}, []byte(forged+note("forged"))); err != nil {
		t.Fatal(err)
	}
	h.deferred(t, 2)
	for n := range 2 {
		h.command(t, "postsuper -r ALL")
		h.command(t, "postkick public pickup W")
		h.deferred(t, 2*n+4)
	}
	// Not queued again, and its line on top is root's.
	if err := h.Submit(t.Context(), "jane@corp.test", []string{"contracts@corp.test"}, []byte(forged+note("forged.too"))); err != nil {
		t.Fatal(err)
	}
	h.deferred(t, 7)
	h.command(t, "postconf -e defer_transports=")
	h.command(t, "postfix reload")
	var raws [][]byte
	until(t, "the LMTP door", func() bool {
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if raw := h.last(nil); raw != nil {
			raws = append(raws, raw)
		}
		return h.outcomes("opened") > 0 && h.outcomes("dropped") > 1
	})
	h.emptied(t)
	if h.outcomes("opened") != 1 || h.outcomes("dropped") != 2 {
		t.Errorf("%d opened, %d dropped, want 1 and 2:\n%s\n%q", h.outcomes("opened"), h.outcomes("dropped"), log, raws)
	}
	all, err := h.store.List(t.Context(), workflow.Filter{Limit: 10})
	if err != nil || len(all) != 1 || all[0].Sender().Mail != "jane@corp.test" || all[0].Thread.MessageID != "<requeued@corp.test>" {
		t.Errorf("opened %+v, %v", all, err)
	}
	for _, id := range []string{"<forged@corp.test>", "<forged.too@corp.test>"} {
		if !strings.Contains(log.String(), id) {
			t.Errorf("%s is not on record:\n%s", id, log)
		}
	}
}

// TestLocalAlias: an alias of local(8) hides the login, and a user's .forward
// could forge one: the mail is dropped, and the log says what to mend.
func TestLocalAlias(t *testing.T) {
	h := open(t, "mailbox_size_limit = 0", "alias_maps = inline:{ {desk = john.doe@sign.corp.test} }")
	log := h.listen()
	if r := h.login(t, "jane").send("jane@corp.test", "desk@mx.corp.test", note("local")); r[0] != '2' {
		t.Fatal(r)
	}
	until(t, "the LMTP door", func() bool { return h.outcomes("dropped")+h.outcomes("opened") > 0 })
	h.emptied(t)
	if h.outcomes("dropped") != 1 || !strings.Contains(log.String(), "hint=") || !strings.Contains(log.String(), "use virtual_alias_maps") ||
		!strings.Contains(log.String(), "<local@corp.test>") {
		t.Errorf("the log does not tell of virtual_alias_maps:\n%s", log)
	}
	// Other drops have another reason.
	if err := h.Submit(t.Context(), "jane@corp.test", []string{"contracts@corp.test"}, []byte(note("program"))); err != nil {
		t.Fatal(err)
	}
	until(t, "the LMTP door", func() bool { return h.outcomes("dropped") == 2 })
	if strings.Count(log.String(), "hint=") != 1 {
		t.Errorf("a hint too many:\n%s", log)
	}
}

// TestForgedSubmissions: what a program hands to sendmail in somebody's name is
// dropped, on record, and Postfix writes to nobody about it. Only where programs
// of this machine are trusted a refusal comes back, to its sender.
func TestForgedSubmissions(t *testing.T) {
	h := open(t)
	log := h.listen()
	dropped := 0
	submit := func(from, to, raw string, bounces bool) {
		t.Helper()
		if err := h.Submit(t.Context(), from, strings.Fields(to), []byte(raw)); err != nil {
			t.Fatal(err)
		}
		if !bounces {
			dropped++
		}
		until(t, "the desk", func() bool { return bounces || h.outcomes("dropped") >= dropped })
		h.emptied(t)
	}
	for _, from := range []string{"stranger@elsewhere.test", "jane@corp.test", "bob@corp.test"} {
		submit(from, "self@sign.corp.test", note("a"), false)
		submit(from, "nobody@sign.corp.test reply@sign.corp.test bob@corp.test", note("b"), false)
		submit(from, "john.doe%sign.corp.test@mx.corp.test", note("c"), false)
		submit(from, "self@sign.corp.test", strings.Replace(note("d"), "boundary=b", "boundary", 1), false)
		submit(from, "self@sign.corp.test", "no header", false)
	}
	h.mu.Lock()
	h.intake.Config.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	h.mu.Unlock()
	submit("stranger@elsewhere.test", "nobody@sign.corp.test", note("trusted"), false)
	submit("john.doe@corp.test", "nobody@sign.corp.test", note("trusted"), false)
	submit("jane@corp.test", "nobody@sign.corp.test", note("trusted"), true)
	until(t, "jane's bounce", func() bool { m, err := h.Mails("jane@corp.test"); return err == nil && len(m) > 0 })
	for box, n := range map[string]int{"jane@corp.test": 1, "bob@corp.test": 3, "john.doe@corp.test": 0} {
		if got, err := h.Mails(box); err != nil || len(got) != n {
			t.Errorf("%s has %d mails, want %d: %q, %v", box, len(got), n, got, err)
		}
	}
	if strings.Contains(h.Log(), "to=<stranger@elsewhere.test>") || strings.Count(h.Log(), "sender non-delivery notification") > 1 {
		t.Error("Postfix writes to somebody")
	}
	if n := strings.Count(log.String(), "submitted mail dropped"); n != dropped || h.outcomes("opened") != 0 {
		t.Errorf("%d on record, want %d; %d opened\n%s", n, dropped, h.outcomes("opened"), log)
	}
}
