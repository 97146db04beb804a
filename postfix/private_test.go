package postfix_test

import (
	"context"
	"errors"
	"flag"
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
	desk   *desk
	intake *intake.Intake
	door   *milter.Door
	socket string
}

// serve opens the door.
func (h *house) serve(t *testing.T, socket string) {
	t.Helper()
	ln, err := milter.Listen("unix:"+socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	door := &milter.Door{Domain: "sign.corp.test", Intake: h.intake, Log: h.intake.Log}
	h.door, h.socket = door, socket
	done := make(chan error, 1)
	go func() { done <- door.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := door.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, milter.ErrClosed) {
			t.Error(err)
		}
	})
}

func open(t *testing.T, settings ...string) *house {
	t.Helper()
	dir := t.TempDir()
	people, err := directory.Open("../testdata/cases/users.toml")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{desk: &desk{seen: map[string]bool{}}}
	h.intake = &intake.Intake{
		Config: intake.Config{Domain: "sign.corp.test", Level: workflow.Standard, Format: intake.Auto,
			Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}},
		Directory: people, Inspector: inspector{}, Desk: h.desk, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	h.serve(t, filepath.Join(dir, "milter.sock"))
	h.Private, err = postfix.StartPrivate(t.Context(), postfix.Options{
		Dir: dir, Milter: "unix:" + h.socket, SignDomain: "sign.corp.test", Domain: "corp.test", Strangers: true,
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

// TestBytes: what is stored is what was sent, byte for byte.
func TestBytes(t *testing.T) {
	h := open(t)
	mail := "X-First: kept\r\nSubject:no blank\r\nX-Fold: one\r\n\ttwo\r\n   three\r\nX-Empty:\r\nX-Blank: \r\nX-Eight: \xfcml\xe4ut\r\n" +
		"From: jane@corp.test\r\nTo: self@sign.corp.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <bytes@corp.test>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n..two dots\r\n.\x01\tcontrol  \r\n\r\n" +
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + contract(t) + "\r\n--b--\r\nepilogue\r\n\r\n\r\n"
	file := filepath.Join(t.TempDir(), "bytes.eml")
	if err := os.WriteFile(file, []byte(mail), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := cases.Parse("bytes", "login jane\nmail jane@corp.test\nrcpt self@sign.corp.test\ndata bytes.eml\n"+
		"> opened level=Standard sender=jane@corp.test signatories=jane@corp.test copies= documents=a.pdf\n")
	if err != nil {
		t.Fatal(err)
	}
	s := h.stage()
	s.Files = filepath.Dir(file)
	if err := c.Play(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := string(h.desk.opened[0].Mail); got != mail {
		t.Errorf("stored:\n%q\nsent:\n%q", got, mail)
	}
}

// contract is a document of testdata as base64.
func contract(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../testdata/mail/scanner.eml")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(b), "\n\n")
	return strings.ReplaceAll(strings.TrimSpace(body), "\n", "\r\n")
}

// TestMany: the sign mails of one busy connection are not throttled, which
// DISCARD would be after a hundred (docs/postfix.md).
func TestMany(t *testing.T) {
	h := open(t)
	h.intake.Inspector = quick{}
	send := func(n int) time.Duration {
		c, err := cases.Parse("many", "login jane\n"+strings.Repeat("mail jane@corp.test\nrcpt john.doe@sign.corp.test\ndata contract.eml\n", n)+
			"> opened level=Standard sender=jane@corp.test signatories=john.doe@corp.test copies= documents=contract.pdf\n")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := c.Play(t.Context(), h.stage()); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	first, then := send(110), send(20)
	t.Logf("110 mails in %s, 20 more in %s", first, then)
	if then > 15*time.Second { // the throttle is a second for each recipient
		t.Errorf("Postfix throttles: 20 mails took %s", then)
	}
}

// quick finds nothing wrong.
type quick struct{}

func (quick) Inspect(context.Context, []byte) (intake.Finding, error) {
	return intake.Finding{Pages: 1}, nil
}

func TestMainCF(t *testing.T) {
	for file, site := range map[string]postfix.Site{
		"testdata/main.cf": {SignDomain: "sign.corp.com", Milter: "unix:milterd/milter.sock", LMTP: "unix:milterd/lmtp.sock",
			ReceivedBy: "mx.corp.com", Postmaster: "it@corp.com", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("2001:db8::/64")}},
		"testdata/main-strangers.cf": {SignDomain: "sign.corp.com", Milter: "inet:127.0.0.1:8891", LMTP: "inet:127.0.0.1:8892", Strangers: true},
	} {
		got := postfix.MainCF(postfix.Settings(site))
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s: got:\n%s\nwant:\n%s\n%v", file, got, want, err)
		}
	}
}

var update = flag.Bool("update", false, "write the expected files anew")
