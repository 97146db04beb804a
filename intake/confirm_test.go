package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/directory"
	"milterd/milter"
	"milterd/store"
	"milterd/workflow"
)

// crowd is a directory of many: p0@corp.test, p1@corp.test …
type crowd struct{ away bool }

func (c crowd) ByAddress(_ context.Context, a string) (workflow.Person, error) {
	if c.away {
		return workflow.Person{}, errors.New("connection refused")
	}
	local, domain, _ := strings.Cut(strings.ToLower(a), "@")
	if domain != "corp.test" || !strings.HasPrefix(local, "p") {
		return workflow.Person{}, directory.ErrNotFound
	}
	return workflow.Person{Mail: local + "@corp.test", Name: "Person " + local, Language: "en"}, nil
}
func (c crowd) ByLocalPart(ctx context.Context, l string) (workflow.Person, error) {
	return c.ByAddress(ctx, l+"@corp.test")
}
func (c crowd) ByLogin(ctx context.Context, l string) (workflow.Person, error) {
	return c.ByLocalPart(ctx, l)
}
func (crowd) Group(context.Context, string) ([]workflow.Person, error) {
	return nil, directory.ErrNotFound
}
func (crowd) Groups(context.Context, string) ([]string, error) { return nil, nil }

// post is the mail server behind a desk: it counts who is written to.
type post struct {
	mu   sync.Mutex
	sent []workflow.Notice
}

func (p *post) Send(_ context.Context, n workflow.Notice) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, n)
	return nil
}

func (p *post) mails() []workflow.Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}

type unsigned struct{ workflow.Signer }

func (unsigned) Layout(context.Context, *workflow.Session, int, []byte) ([]byte, error) {
	return []byte("layout"), nil
}

// confirming is an intake that holds mail, on a real desk and database whose
// jobs run.
func confirming(t *testing.T) (*Intake, *post, *store.Store) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "milterd.db")})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	p := &post{}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d := &workflow.Desk{Store: st, Notifier: p, Signer: unsigned{}, Secrets: keys, Log: log, Now: time.Now, Policy: workflow.Policy{
		URL: "https://sign.corp.test", Deadline: time.Hour, Retention: time.Hour, Repeat: time.Hour, MailLimit: 10 << 20,
		MailSize: func(...int64) int64 { return 0 }}}
	in, _ := desk()
	in.Directory, in.Desk, in.Confirm, in.Log = crowd{}, d, &Confirm{Desk: d}, log
	work := make(chan error, 1)
	go func() { work <- st.Work(context.Background(), d, store.WorkOptions{Logger: log}) }()
	t.Cleanup(func() {
		if err := errors.Join(st.Close(), <-work); err != nil {
			t.Error(err)
		}
	})
	return in, p, st
}

// forged is a mail in somebody's name; id makes it one of its own.
func forged(from string, id int) []byte {
	return []byte(strings.NewReplacer("jane@corp.test", from, "<1@corp.test>", fmt.Sprintf("<%d@corp.test>", id)).Replace(string(withPDFs(1, ""))))
}

// quiet waits until no more mails come.
func (p *post) quiet(t *testing.T, atLeast int) []workflow.Notice {
	t.Helper()
	for range 200 {
		n := len(p.mails())
		time.Sleep(300 * time.Millisecond)
		if now := p.mails(); len(now) >= atLeast && len(now) == n {
			return now
		}
	}
	t.Fatalf("%d mails, want at least %d", len(p.mails()), atLeast)
	return nil
}

// A thousand forged senders of the organisation cause no more mails than the
// limits allow, each to somebody of the directory, and one to nobody twice.
func TestThousandForgedColleagues(t *testing.T) {
	for name, c := range map[string]struct {
		envelope func(i int) milter.Envelope
		most     int
	}{
		"one client":  {func(int) milter.Envelope { return milter.Envelope{Client: netip.MustParseAddr("203.0.113.7")} }, workflow.HeldPerClient},
		"one network": {func(i int) milter.Envelope { return milter.Envelope{Client: addr6(i)} }, workflow.HeldPerClient},
		"many clients": {func(i int) milter.Envelope {
			return milter.Envelope{Client: netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})}
		}, workflow.HeldInAll},
		"LMTP": {func(int) milter.Envelope { return milter.Envelope{Relayed: true} }, workflow.HeldPerClient},
	} {
		t.Run(name, func(t *testing.T) {
			in, p, _ := confirming(t)
			answers := map[string]int{}
			for i := range 1000 {
				e := c.envelope(i)
				e.From = fmt.Sprintf("p%d@corp.test", i)
				e.Recipients = []string{"p5@sign.corp.test"}
				if v, err := in.Recipient(t.Context(), e, e.Recipients[0]); v != milter.Take || err != nil {
					t.Fatalf("RCPT: %v, %v", v, err)
				}
				answers[reason(in.Message(t.Context(), e, forged(e.From, i)))]++
			}
			later := "450 4.7.1 too-many-held"
			if name == "LMTP" { // taken and dropped: there is nobody to tell
				later = "<nil>"
			}
			if answers[later] < 1000-c.most || answers["<nil>"]+answers["450 4.7.1 too-many-held"] != 1000 {
				t.Errorf("answers %v", answers)
			}
			to := map[string]int{}
			for _, n := range p.quiet(t, c.most) {
				to[n.Recipient().Mail]++
				if n.Kind != workflow.MailConfirm || to[n.Recipient().Mail] > 1 || !strings.HasSuffix(n.Recipient().Mail, "@corp.test") {
					t.Errorf("%s to %s", n.Kind, n.Recipient().Mail)
				}
			}
			if len(to) != c.most {
				t.Errorf("%d mails, want %d", len(to), c.most)
			}
		})
	}
}

func addr6(i int) netip.Addr {
	a := netip.MustParseAddr("2001:db8:1:2::").As16()
	a[14], a[15] = byte(i>>8), byte(i)
	return netip.AddrFrom16(a)
}

// A thousand forged senders from outside, or half from outside, cause no mail.
func TestThousandForgedStrangers(t *testing.T) {
	in, p, st := confirming(t)
	dropped := 0
	in.Count = func(outcome string) {
		if outcome == "dropped" {
			dropped++
		}
	}
	for i := range 1000 {
		inside, outside := fmt.Sprintf("p%d@corp.test", i), fmt.Sprintf("eve%d@evil.test", i)
		e := milter.Envelope{Client: netip.MustParseAddr("203.0.113.7"), Relayed: i%2 == 1, Recipients: []string{"p5@sign.corp.test"}}
		from := outside
		switch e.From = outside; i % 3 {
		case 1:
			from = inside // a colleague's From in a stranger's envelope
		case 2:
			e.From = inside
		}
		want := "550 5.7.1 unproven-sender"
		if e.Relayed {
			want, e.Client = "<nil>", netip.Addr{}
		}
		if got := reason(in.Message(t.Context(), e, forged(from, i))); got != want {
			t.Fatalf("From %s, envelope %s: %s, want %s", from, e.From, got, want)
		}
	}
	if sent := p.quiet(t, 0); len(sent) > 0 {
		t.Errorf("%d mails", len(sent))
	}
	jobs, err := st.Jobs(t.Context(), "")
	if err != nil || len(jobs) > 0 || dropped != 500 {
		t.Errorf("%d jobs, %v; %d dropped", len(jobs), err, dropped)
	}
}

func TestConfirmedMailOpens(t *testing.T) {
	in, p, st := confirming(t)
	e := milter.Envelope{Client: netip.MustParseAddr("203.0.113.7"), From: "p1@corp.test", Recipients: []string{"p5@sign.corp.test", "self@sign.corp.test"}}
	if err := in.Message(t.Context(), e, forged("P1@Corp.Test", 1)); err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(p.quiet(t, 1)[0].Link, "#")
	h, err := in.Waiting(t.Context(), token)
	if err != nil || len(h.Asks) != 2 || h.Asks[1].Mail != "p1@corp.test" || h.Documents[0].Name != "scan.bin.pdf" {
		t.Fatalf("waiting %+v, %v", h, err)
	}
	// Temporary trouble ends nothing.
	in.Directory = crowd{away: true}
	if err := in.Confirmed(t.Context(), token, 2, "192.0.2.1"); reason(err) != "451 4.4.3 directory-away" {
		t.Errorf("directory away: %v", err)
	}
	in.Directory = crowd{}
	// Somebody joins after the look: that ends nothing either, though they are too many.
	joining := milter.Envelope{From: e.From, Relayed: true, Recipients: []string{"p6@sign.corp.test"}}
	if err := in.Message(t.Context(), joining, forged("P1@Corp.Test", 1)); err != nil {
		t.Fatal(err)
	}
	if err := in.Confirmed(t.Context(), token, len(h.Recipients), "192.0.2.1"); reason(err) != "450 4.7.1 held-changed" {
		t.Errorf("confirmed unseen: %v", err)
	}
	in.Config.Signatories = 3
	if h, err = in.Waiting(t.Context(), token); err != nil || len(h.Asks) != 3 {
		t.Fatalf("the second look %+v, %v", h, err)
	}
	if err := in.Confirmed(t.Context(), token, len(h.Recipients), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	all, err := st.List(t.Context(), workflow.Filter{})
	if err != nil || len(all) != 1 || all[0].ProvenBy != provenByMailbox || all[0].Sender().Mail != "p1@corp.test" || len(all[0].Signatories()) != 3 {
		t.Fatalf("sessions %+v, %v", all, err)
	}
	if err := in.Confirmed(t.Context(), token, 2, "192.0.2.1"); reason(err) != "550 5.7.1 confirmed" {
		t.Errorf("once more: %v", err)
	}
	if err := in.Denied(t.Context(), token); reason(err) != "550 5.7.1 confirmed" {
		t.Errorf("denied afterwards: %v", err)
	}
}

// What turns out hopeless is said on the page, and waits no longer; the documents
// of a mail that nobody has confirmed are not even looked into.
func TestConfirmedButHopeless(t *testing.T) {
	in, p, _ := confirming(t)
	looked := &counting{err: &workflow.Refusal{Code: 554, Enhanced: "5.7.5", Reason: "encrypted-pdf", Text: "the PDF is encrypted"}}
	in.Inspector = looked
	e := milter.Envelope{Client: netip.MustParseAddr("203.0.113.7"), From: "p1@corp.test", Recipients: []string{"p5@sign.corp.test"}}
	if err := in.Message(t.Context(), e, forged("p1@corp.test", 1)); err != nil || looked.n != 0 {
		t.Fatalf("%v, %d documents inspected", err, looked.n)
	}
	_, token, _ := strings.Cut(p.quiet(t, 1)[0].Link, "#")
	if err := in.Confirmed(t.Context(), token, 1, ""); reason(err) != "554 5.7.5 encrypted-pdf" || looked.n != 1 {
		t.Errorf("confirmed: %v", err)
	}
	if _, err := in.Waiting(t.Context(), token); reason(err) != "550 5.7.1 denied" {
		t.Errorf("still waiting: %v", err)
	}
	// The mended mail may be sent at once.
	if err := in.Message(t.Context(), e, forged("p1@corp.test", 2)); err != nil {
		t.Error(err)
	}
}

type counting struct {
	n   int
	err error
}

func (c *counting) Inspect(context.Context, []byte) (Finding, error) { c.n++; return Finding{}, c.err }

func TestWhatIsNotHeld(t *testing.T) {
	proper := milter.Envelope{Client: netip.MustParseAddr("203.0.113.7"), From: "p1@corp.test", Recipients: []string{"p5@sign.corp.test"}}
	for name, c := range map[string]struct {
		change func(in *Intake, e *milter.Envelope)
		raw    []byte
		want   string
	}{
		"proper":         {nil, forged("p1@corp.test", 1), "<nil>"},
		"switched off":   {func(in *Intake, _ *milter.Envelope) { in.Confirm = nil }, forged("p1@corp.test", 1), "550 5.7.1 unproven-sender"},
		"blocked":        {func(in *Intake, _ *milter.Envelope) { in.Config.Blocked = []string{"p1@corp.test"} }, forged("p1@corp.test", 1), "550 5.7.1 unproven-sender"},
		"two colleagues": {func(_ *Intake, e *milter.Envelope) { e.From = "p2@corp.test" }, forged("p1@corp.test", 1), "550 5.7.1 unproven-sender"},
		"null sender":    {func(_ *Intake, e *milter.Envelope) { e.From = "" }, forged("p1@corp.test", 1), "550 5.7.1 null-sender"},
		"automatic":      {nil, []byte("Auto-Submitted: auto-generated\r\n" + string(forged("p1@corp.test", 1))), "550 5.7.1 unproven-sender"},
		"mailing list":   {nil, []byte("List-Id: <x.corp.test>\r\n" + string(forged("p1@corp.test", 1))), "550 5.7.1 unproven-sender"},
		"unknown colleague": {func(_ *Intake, e *milter.Envelope) { e.Recipients = []string{"nobody@sign.corp.test"} }, forged("p1@corp.test", 1),
			"550 5.7.1 unproven-sender"},
		"no document":    {nil, []byte("From: p1@corp.test\r\nSubject: x\r\nMessage-ID: <2@x>\r\n\r\nhello\r\n"), "550 5.7.1 unproven-sender"},
		"directory away": {func(in *Intake, _ *milter.Envelope) { in.Directory = crowd{away: true} }, forged("p1@corp.test", 1), "451 4.4.3 directory-away"},
		"a wrong login":  {func(_ *Intake, e *milter.Envelope) { e.Login = "p2" }, forged("p1@corp.test", 1), "550 5.7.1 envelope-not-yours"},
	} {
		t.Run(name, func(t *testing.T) {
			in, p, _ := confirming(t)
			e := proper
			if c.change != nil {
				c.change(in, &e)
			}
			if got := reason(in.Message(t.Context(), e, c.raw)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			want := 0
			if c.want == "<nil>" {
				want = 1
			}
			if sent := p.quiet(t, want); len(sent) != want {
				t.Errorf("%d mails, want %d", len(sent), want)
			}
		})
	}
}
