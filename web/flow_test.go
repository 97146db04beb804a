package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/auth"
	"milterd/internal/chromium"
	"milterd/pki"
	"milterd/report"
	"milterd/signature/pdf"
	"milterd/signer"
	"milterd/store"
	"milterd/validate"
	"milterd/workflow"
)

// TestMain serves pdf's inspection child too: this binary re-executes itself.
func TestMain(m *testing.M) {
	if pdf.ChildMain() {
		return
	}
	os.Exit(m.Run())
}

// postbox stands in for notify: it keeps what would be mailed.
type postbox struct {
	mu   sync.Mutex
	sent []workflow.Notice
}

func (p *postbox) Send(_ context.Context, n workflow.Notice) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, n)
	return nil
}

// wait gives the newest mail of a kind to a person.
func (p *postbox) wait(t *testing.T, kind workflow.MailKind, to string) workflow.Notice {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		p.mu.Lock()
		for i := len(p.sent) - 1; i >= 0; i-- {
			if n := p.sent[i]; n.Kind == kind && n.Session.People[n.To].Mail == to {
				p.mu.Unlock()
				return n
			}
		}
		p.mu.Unlock()
	}
	t.Fatalf("no %s came to %s", kind, to)
	panic("unreachable")
}

// house is a site on the real rooms: desk, SQLite, codes, seals, report. Only
// the mails are kept instead of sent.
type house struct {
	*stage
	desk  *workflow.Desk
	store *store.Store
	post  *postbox
	ca    *pki.Authority
	enrol *auth.Enrolments
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	if err := pki.Init(filepath.Join(dir, "keys"), pki.Options{Organisation: "Example GmbH", Country: "DE", VAT: "DE123456789",
		URL: "https://sign.corp.test", Key: pki.P256}); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Load(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "milterd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := auth.NewKeys(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	h := &house{stage: &stage{log: &bytes.Buffer{}}, store: st, post: &postbox{}, ca: ca}
	log := slog.New(slog.NewTextHandler(locked{&sync.Mutex{}, h.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.desk = &workflow.Desk{
		Store: st, Certifier: ca, Notifier: h.post, Secrets: keys, Log: log, Now: time.Now,
		Signer: signer.New(signer.Config{Seal: ca.Seal(), Organisation: "Example GmbH",
			Time: ca.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}), Evidence: &pki.Gatherer{Own: ca}}),
		Reporter: report.New(report.Config{Organisation: "Example GmbH"}),
		Policy: workflow.Policy{Deadline: 14 * 24 * time.Hour, Retention: 90 * 24 * time.Hour, MailLimit: 10 << 20,
			Repeat: 24 * time.Hour, MailSize: func(sizes ...int64) (n int64) {
				for _, s := range sizes {
					n += 2 * s
				}
				return n
			}},
	}
	h.Server = serve(t, Config{Desk: h.desk, Mailbox: &auth.Mailbox{Store: st, Keys: keys, Now: time.Now},
		Organisation: "Example GmbH", Domain: "sign.corp.test", Log: log}, func(c *Config) {
		passkeys, err := auth.NewPasskeys(auth.Site{Store: st, Keys: keys, URL: c.URL, Organisation: c.Organisation, Now: time.Now, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		h.enrol = &auth.Enrolments{Passkeys: passkeys, PasswordTries: auth.DefaultPasswordTries,
			Ways: []string{auth.WayPassword, auth.WayDevice, auth.WayAdministrator}}
		c.Passkeys, c.Enrolments, c.TOTP, c.Credentials, c.Proofs = passkeys, h.enrol, &auth.TOTP{Enrolments: h.enrol}, st, auth.DefaultProofs()
	})
	h.desk.Policy.URL = h.URL
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Work(ctx, h.desk, store.WorkOptions{Workers: 2, Logger: log}) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("draining the workers: %v", err)
		}
	})
	return h
}

// TestTheWholeHouse signs on a phone with a drawn signature and at a desk with a
// typed one, on the real rooms; then the sender takes the result home, and it
// is a valid signature. Replays are refused on the way.
func TestTheWholeHouse(t *testing.T) {
	h := newHouse(t)
	contract, annex := sample(t, "contract.pdf"), sample(t, "annex.pdf")
	people := session(t, "x").People
	ses, created, err := h.desk.Open(t.Context(), workflow.Opening{
		Level: workflow.Standard, Sender: people[0].Person, ProvenBy: "sasl ada",
		Signatories: []workflow.Person{people[1].Person, people[2].Person},
		Thread:      workflow.Thread{MessageID: "<1@corp.test>", Subject: "Lease agreement for the workshop"},
		Message:     "Hello Jane,\nhere is the lease as we discussed it. Please sign by Friday.\nAda",
		Documents: []workflow.NewDocument{{Name: "lease.pdf", Content: contract, Pages: 3},
			{Name: "annex.pdf", Content: annex, Pages: 2}},
		Mail: []byte("mail"), BodyHash: sha256.Sum256([]byte("body")),
	})
	if err != nil || !created {
		t.Fatal(created, err)
	}
	chrome := chromium.Launch(t)

	// Jane, on her phone: one code opens and signs.
	jane := people[1].Mail
	link := h.post.wait(t, workflow.MailInvitation, jane).Link
	b := open(t, chrome, chromium.Phone, link)
	b.Press("Send me a code")
	code := h.post.wait(t, workflow.MailCode, jane).Code
	b.enter(".digits", code)
	b.Press("Open the documents")
	b.painted()
	b.Sees("The mailed file is inside, byte for byte")
	b.Shot("1-review")
	b.Press("Sign 2 documents")
	b.draw()
	b.Shot("2-sign")
	b.Press("Sign 2 documents")
	b.Sees("You have signed")
	b.Shot("3-signed")

	// What she sent cannot be sent again: neither her act nor her code.
	_, tok, _ := strings.Cut(link, "#")
	var cookie string
	for _, c := range b.Cookies() {
		cookie = c
	}
	v, err := h.desk.Visit(t.Context(), tok)
	if err != nil {
		t.Fatal(err)
	}
	shown, _ := json.Marshal(v.Who().Act.Shown)
	again := fmt.Sprintf(`{"token":%q,"code":%q,"shown":%s,"appearance":{"typed":"Jane Doe"}}`, tok, code, shown)
	res, body := h.replay(t, "/api/sign", again, cookie)
	if res.StatusCode != http.StatusConflict && res.StatusCode != http.StatusForbidden {
		t.Errorf("the act once more: %s %s", res.Status, body)
	}
	if res, body = h.replay(t, "/api/open", fmt.Sprintf(`{"token":%q,"code":%q}`, tok, code), ""); res.StatusCode != http.StatusForbidden {
		t.Errorf("the code once more: %s %s", res.Status, body)
	}

	// Max, at his desk, in German, by keyboard only from the code on.
	max := people[2].Mail
	m := open(t, chrome, chromium.Desktop, h.post.wait(t, workflow.MailInvitation, max).Link)
	m.Press("Code zusenden")
	m.enter(".digits", h.post.wait(t, workflow.MailCode, max).Code+"\r")
	m.painted()
	m.Shot("4-desktop-review")
	m.Press("2 Dokumente unterschreiben")
	m.enter(".typing input", "Max Weber")
	m.Shot("5-desktop-sign")
	m.Do(chromedp.KeyEvent("\r"))
	m.Sees("Alles ist unterschrieben")
	m.Shot("6-desktop-done")

	// Jane comes back to her tab; the sender proves her mailbox and downloads.
	eval[bool](b, `document.dispatchEvent(new Event("visibilitychange"))`)
	b.Sees("Everything is signed")
	b.Shot("7-done")
	ada := people[0].Mail
	s := open(t, chrome, chromium.Desktop, h.post.wait(t, workflow.MailResult, ada).Link)
	s.Press("Send me a code")
	s.enter(".digits", h.post.wait(t, workflow.MailCode, ada).Code)
	s.Press("Open the documents")
	s.Press("Show lease.pdf")
	s.painted()
	s.Sees("The mailed file is inside, byte for byte")
	s.Shot("8-result")
	s.Press("Download lease.pdf")
	signed := s.downloaded("lease.pdf")
	if !bytes.HasPrefix(signed, contract) {
		t.Error("the result does not begin with the original")
	}
	r, err := validate.Validate(signed, validate.Options{Anchors: h.ca.Roots()})
	if err != nil || !r.Passed() {
		t.Fatalf("the downloaded result: %v\n%s", err, r.Text())
	}
	for _, x := range []*tab{b, m, s} {
		x.NeverSent(tok)
		x.NeverSent(code)
	}
	events, err := h.store.Events(t.Context(), ses.ID)
	if err != nil {
		t.Fatal(err)
	}
	log := h.log.String()
	for _, secret := range []string{tok, code, cookie} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
		for _, e := range events {
			if line, _ := json.Marshal(e); strings.Contains(string(line), secret) {
				t.Errorf("the audit trail holds %q: %s", secret, line)
			}
		}
	}
}

// replay calls the interface with a device's cookie.
func (h *house) replay(t *testing.T, path, body, cookie string) (*http.Response, string) {
	t.Helper()
	return h.stage.post(t, path, body, func(r *http.Request) {
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: deviceCookie, Value: cookie})
		}
	})
}

// downloaded waits for a file that the browser saved.
func (b *tab) downloaded(name string) []byte {
	b.T.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if f, err := os.ReadFile(filepath.Join(b.Downloads, name)); err == nil && bytes.HasSuffix(bytes.TrimSpace(f), []byte("%%EOF")) {
			return f
		}
	}
	b.T.Fatalf("%s was not saved", name)
	return nil
}
