package intake_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/directory"
	"milterd/intake"
	"milterd/intake/origin"
	"milterd/intake/origin/origintest"
	"milterd/internal/cases"
	"milterd/milter"
	"milterd/postfix"
	"milterd/store"
	"milterd/workflow"
)

// house is a private Postfix with both doors in front of a real desk on SQLite,
// which believes signatures of corp.test and the Received lines of mx.corp.test.
type house struct {
	*postfix.Private
	store *store.Store
	desk  *workflow.Desk
	zone  *origintest.Zone
	dir   string

	mu     sync.RWMutex // the doors read, a setup line writes
	intake *intake.Intake
	log    *slog.Logger

	counting sync.Mutex
	counts   map[string]int
	raw      []byte // newest mail at the LMTP door
}

// Recipient and Message implement milter.Intake.
func (h *house) Recipient(ctx context.Context, e milter.Envelope, rcpt string) (milter.Verdict, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.intake.Recipient(ctx, e, rcpt)
}

func (h *house) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if e.Relayed {
		h.counting.Lock()
		h.raw = raw
		h.counting.Unlock()
	}
	return h.intake.Message(ctx, e, raw)
}

// last gives the newest mail at the LMTP door and forgets it; b if there is none.
func (h *house) last(b []byte) []byte {
	h.counting.Lock()
	defer h.counting.Unlock()
	if h.raw != nil {
		b, h.raw = h.raw, nil
	}
	return b
}

// postfixUser is the number of the user that owns Postfix's queue.
func postfixUser(t *testing.T) string {
	t.Helper()
	u, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	return u.Uid
}

// quick finds nothing wrong with a document.
type quick struct{}

func (quick) Inspect(context.Context, []byte) (intake.Finding, error) {
	return intake.Finding{Pages: 1}, nil
}

var (
	ownKey   = origintest.RSA(2048)
	otherKey = origintest.RSA(2048)
	boxes    = []string{"jane@corp.test", "john.doe@corp.test", "bob@corp.test", "chris@corp.test"}
)

// open starts it. Each setting is a further line of main.cf; @DIR@ is the folder
// with the doors' sockets.
func open(t *testing.T, settings ...string) *house {
	t.Helper()
	dir := t.TempDir()
	people, err := directory.Open("../testdata/cases/senders/users.toml")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{dir: dir, counts: map[string]int{}, log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		zone: &origintest.Zone{Records: map[string][]string{
			"sel._domainkey.corp.test": {ownKey.Record("")}, "sel._domainkey.elsewhere.test": {otherKey.Record("")}}}}
	if h.store, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "milterd.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	h.desk = &workflow.Desk{Store: h.store, Secrets: keys, Log: h.log, Now: time.Now, Policy: workflow.Policy{
		Deadline: time.Hour, Repeat: origin.Fresh, MailLimit: 1 << 30, MailSize: func(...int64) int64 { return 0 }}}
	h.intake = &intake.Intake{
		Config: intake.Config{Domain: "sign.corp.test", Level: workflow.Standard, Signatories: 10,
			Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}},
		Directory: people, Inspector: quick{}, Desk: h.desk, Log: h.log,
		Origin: &origin.Checker{Domains: []string{"corp.test"}, Authserv: "mx.corp.test", ReceivedBy: "mx.corp.test", Requeued: postfixUser(t), Resolver: h.zone, Now: time.Now},
		Count:  h.note,
	}
	door := &milter.Door{Domain: "sign.corp.test", Intake: h, Log: h.log}
	for name, serve := range map[string]func(net.Listener) error{"milter.sock": door.Serve, "lmtp.sock": door.ServeLMTP} {
		ln, err := milter.Listen("unix:"+filepath.Join(dir, name), 0o666)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- serve(ln) }()
		t.Cleanup(func() {
			if err := <-done; !errors.Is(err, milter.ErrClosed) {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := door.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	for i := range settings {
		settings[i] = strings.ReplaceAll(settings[i], "@DIR@", dir)
	}
	logins(t, filepath.Join(dir, "sasl.sock"))
	h.Private, err = postfix.StartPrivate(t.Context(), postfix.Options{
		Dir: dir, Milter: "unix:" + filepath.Join(dir, "milter.sock"), LMTP: "unix:" + filepath.Join(dir, "lmtp.sock"),
		SignDomain: "sign.corp.test", Domain: "corp.test", Strangers: true, Mailboxes: boxes, Postmaster: "chris@corp.test",
		Settings: append([]string{"smtpd_authorized_xclient_hosts = 127.0.0.1", "smtpd_sasl_auth_enable = yes", "smtpd_sasl_type = dovecot",
			"smtpd_sasl_path = " + filepath.Join(dir, "sasl.sock"), "smtpd_sasl_security_options = noanonymous",
			"virtual_alias_maps = inline:{ {contracts@corp.test = john.doe@sign.corp.test}, {lost@corp.test = nobody@sign.corp.test}, {answers@corp.test = reply@sign.corp.test} }",
		}, settings...),
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

func (h *house) note(outcome string) {
	h.counting.Lock()
	defer h.counting.Unlock()
	h.counts[outcome]++
}

func (h *house) outcomes(outcome string) int {
	h.counting.Lock()
	defer h.counting.Unlock()
	return h.counts[outcome]
}

// set carries out a setup line.
func (h *house) set(name, value string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []string{value}
	if value == "none" {
		list = nil
	}
	switch name {
	case "dns":
		if h.zone.Away = nil; value == "away" {
			h.zone.Away = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
		}
	case "blocked":
		h.intake.Config.Blocked = list
	case "request":
		h.intake.Config.Request = intake.Groups{workflow.Standard: list}
	case "sign":
		h.intake.Config.Sign = intake.Groups{workflow.Standard: list}
	case "request-advanced":
		h.intake.Config.Request = intake.Groups{workflow.Advanced: list}
	case "sign-advanced":
		h.intake.Config.Sign = intake.Groups{workflow.Advanced: list}
	case "per-hour":
		n, err := strconv.Atoi(value)
		h.desk.Policy.PerHour = n
		return err
	default:
		return errors.New("nothing of that name")
	}
	return nil
}

func (h *house) opened(ctx context.Context) ([]cases.Opened, error) {
	list, err := h.store.List(ctx, workflow.Filter{Limit: 1000})
	if err != nil {
		return nil, err
	}
	slices.Reverse(list)
	var out []cases.Opened
	for _, s := range list {
		o := cases.Opened{Level: s.Level.String(), Sender: s.Sender().Mail}
		for _, i := range s.Signatories() {
			o.Signatories = append(o.Signatories, s.People[i].Mail)
		}
		for _, p := range s.People {
			if p.Copy {
				o.Copies = append(o.Copies, p.Mail)
			}
		}
		for _, d := range s.Documents {
			o.Documents = append(o.Documents, d.Name)
		}
		out = append(out, o)
	}
	return out, nil
}

func (h *house) stage() cases.Stage {
	return cases.Stage{
		Addr: h.SMTPAddr, Files: "../testdata/mail", Settle: 20 * time.Second,
		Password: func(string) string { return "any" },
		Opened:   h.opened,
		Mailbox:  func(_ context.Context, addr string) ([][]byte, error) { return h.Mails(addr) },
		Set:      h.set,
		Outcomes: h.outcomes,
		Sign: func(domain string, mail []byte) []byte {
			key := otherKey
			if domain == "corp.test" {
				key = ownKey
			}
			return key.Sign(mail, domain, "sel", time.Now().Unix())
		},
	}
}

// logins is a SASL server of Dovecot's protocol that believes every name, also
// those that Dovecot would refuse.
func logins(t *testing.T, socket string) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
				for s := bufio.NewScanner(c); s.Scan(); {
					parts := strings.Split(s.Text(), "\t")
					if parts[0] != "AUTH" || len(parts) < 3 {
						continue
					}
					resp, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(parts[len(parts)-1], "resp="))
					if _, name, ok := strings.Cut(string(resp), "\x00"); ok {
						name, _, _ = strings.Cut(name, "\x00")
						fmt.Fprintf(c, "OK\t%s\tuser=%s\n", parts[1], name)
					}
				}
			}()
		}
	}()
}

// TestCases plays the cases about senders against a real Postfix.
func TestCases(t *testing.T) {
	h := open(t)
	all, err := cases.Load("../testdata/cases/senders")
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
}
