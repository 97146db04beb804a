package postfix_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/directory"
	"milterd/intake"
	"milterd/internal/cases"
	"milterd/milter"
	"milterd/postfix"
	"milterd/signature/pdf"
	"milterd/workflow"
)

// desk is an Opener that records, and knows a mail that it has seen.
type desk struct {
	mu     sync.Mutex
	away   bool
	opened []workflow.Opening
	seen   map[string]bool
}

func (d *desk) Open(_ context.Context, o workflow.Opening) (*workflow.Session, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return nil, false, errors.New("database is away")
	}
	var fresh []workflow.Person
	for _, p := range o.Signatories {
		key := o.Thread.MessageID + string(o.BodyHash[:]) + p.Mail
		if !d.seen[key] {
			fresh = append(fresh, p)
		}
		d.seen[key] = true
	}
	s := &workflow.Session{ID: "aaaabbbbccccdddd"}
	if len(fresh) == 0 {
		return s, false, nil
	}
	o.Signatories = fresh
	d.opened = append(d.opened, o)
	return s, true, nil
}

func (d *desk) list(context.Context) ([]cases.Opened, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []cases.Opened
	for _, o := range d.opened {
		c := cases.Opened{Level: o.Level.String(), Sender: o.Sender.Mail, Signatories: mails(o.Signatories), Copies: mails(o.Copies)}
		for _, doc := range o.Documents {
			c.Documents = append(c.Documents, doc.Name)
		}
		out = append(out, c)
	}
	return out, nil
}

func (d *desk) set(name, value string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if name != "store" {
		return errors.New("nothing of that name")
	}
	d.away = value == "away"
	return nil
}

func mails(people []workflow.Person) []string {
	var out []string
	for _, p := range people {
		out = append(out, p.Mail)
	}
	return out
}

// inspector is the real inspection in a child process.
type inspector struct{}

func (inspector) Inspect(ctx context.Context, b []byte) (intake.Finding, error) {
	info, err := pdf.InspectInChild(ctx, b)
	if err != nil {
		return intake.Finding{}, err
	}
	return intake.Finding{Pages: info.Pages, Signed: info.Signed, Notes: info.Notes}, nil
}

func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

var (
	boxes     = []string{"jane@corp.test", "john.doe@corp.test", "bob@corp.test", "chris@corp.test", "chris2@corp.test"}
	passwords = map[string]string{"jane": "j-secret", "john": "jo-secret", "robot": "r-secret"}
)

// house is a private Postfix with a door in front of a recording desk.
type house struct {
	*postfix.Private
	desk *desk
	door *milter.Door
}

func open(t *testing.T, settings ...string) *house {
	t.Helper()
	dir := t.TempDir()
	dirUsers, err := directory.Open("../testdata/cases/users.toml")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	h := &house{desk: &desk{seen: map[string]bool{}}}
	in := &intake.Intake{
		Config: intake.Config{Domain: "sign.corp.test", Level: workflow.Standard,
			Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}},
		Directory: dirUsers, Inspector: inspector{}, Desk: h.desk, Log: log,
	}
	socket := filepath.Join(dir, "milter.sock")
	ln, err := milter.Listen("unix:"+socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	h.door = &milter.Door{Domain: "sign.corp.test", Intake: in, Log: log}
	done := make(chan error, 1)
	go func() { done <- h.door.Serve(ln) }()
	h.Private, err = postfix.StartPrivate(t.Context(), postfix.Options{
		Dir: filepath.Join(dir), Milter: "unix:" + socket, SignDomain: "sign.corp.test", Domain: "corp.test",
		Users: passwords, Mailboxes: boxes, Postmaster: "chris@corp.test",
		Settings: append([]string{"smtpd_authorized_xclient_hosts = 127.0.0.1"}, settings...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.door.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, milter.ErrClosed) {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(h.Log())
		}
	})
	return h
}

func (h *house) stage() cases.Stage {
	return cases.Stage{
		Addr: h.SMTPAddr, Files: "../testdata/mail",
		Password: func(login string) string { return passwords[login] },
		Opened:   h.desk.list,
		Mailbox:  func(_ context.Context, addr string) ([][]byte, error) { return h.Mails(addr) },
		Set:      h.desk.set,
	}
}

// TestCases plays every integration case against a real Postfix.
func TestCases(t *testing.T) {
	h := open(t)
	all, err := cases.Load("../testdata/cases")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Play(t.Context(), h.stage()); err != nil {
				t.Error(err)
			}
		})
	}
	if q, err := h.Queue(t.Context()); err != nil || len(q) != 0 {
		t.Errorf("left in the queue: %v, %v", q, err)
	}
	if strings.Contains(h.Log(), "warning:") {
		for _, l := range strings.Split(h.Log(), "\n") {
			if strings.Contains(l, "warning:") && strings.Contains(l, "milter") {
				t.Errorf("Postfix warns: %s", l)
			}
		}
	}
}
