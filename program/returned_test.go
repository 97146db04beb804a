package program

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"milterd/config"
	"milterd/postfix"
	"milterd/workflow"
)

// site is a program beside a private Postfix. Jane and Anna have mailboxes; Max
// has none at the same Postfix, John none on a server further on.
type site struct {
	*Program
	*postfix.Private
	c *config.Config
}

func startSite(t *testing.T, change func(*config.Config)) *site {
	t.Helper()
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(unknownUsers{})
	go server.Serve(elsewhere)
	t.Cleanup(func() { server.Close() })

	dir := t.TempDir()
	c := configured(t)
	var users strings.Builder
	for name, mail := range map[string]string{"Jane Roe": "jane.roe@corp.test", "Anna Ek": "anna@corp.test", "Max Box": "max@corp.test", "John Doe": "john@else.test"} {
		login, _, _ := strings.Cut(mail, "@")
		fmt.Fprintf(&users, "[[user]]\nmail = %q\nname = %q\nlanguage = \"en\"\nlogin = %q\n", mail, name, login)
	}
	if err := os.WriteFile(c.Directory.Users, []byte(users.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(elsewhere.Addr().String())
	p, err := postfix.StartPrivate(t.Context(), postfix.Options{Dir: dir, Milter: c.Milter.Listen, LMTP: c.LMTP.Listen, SignDomain: c.Domain, Strangers: true,
		Domain: "corp.test", Users: map[string]string{"jane.roe": "secret"}, Mailboxes: []string{"jane.roe@corp.test", "anna@corp.test"},
		Settings: []string{"transport_maps = inline:{ {else.test = smtp:[127.0.0.1]:" + port + "}, {" + c.Domain + " = lmtp:" + c.LMTP.Listen + "} }"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(p.Log())
		}
	})
	c.SMTP.Relay, c.SMTP.TLS = p.SMTPAddr, "plain"
	if change != nil {
		change(c)
	}
	if err := os.Chmod(filepath.Dir(strings.TrimPrefix(c.Milter.Listen, "unix:")), 0o755); err != nil {
		t.Fatal(err)
	}
	milterd, _ := serve(t, c)
	for _, l := range []string{c.Milter.Listen, c.LMTP.Listen} { // Postfix's user is in no group of ours
		if err := os.Chmod(strings.TrimPrefix(l, "unix:"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return &site{Program: milterd, Private: p, c: c}
}

// unknownUsers is a mail server without mailboxes.
type unknownUsers struct{}

func (unknownUsers) NewSession(*smtp.Conn) (smtp.Session, error) { return unknownUsers{}, nil }
func (unknownUsers) Mail(string, *smtp.MailOptions) error        { return nil }
func (unknownUsers) Rcpt(to string, _ *smtp.RcptOptions) error {
	return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no mailbox " + to}
}
func (unknownUsers) Data(io.Reader) error { return nil }
func (unknownUsers) Reset()               {}
func (unknownUsers) Logout() error        { return nil }

// send submits a mail, logged in unless login is empty.
func (s *site) send(t *testing.T, login, from, raw string, to ...string) error {
	t.Helper()
	client, err := smtp.Dial(s.SMTPAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if login != "" {
		if err := client.Auth(sasl.NewPlainClient("", login, "secret")); err != nil {
			t.Fatal(err)
		}
	}
	return client.SendMail(from, to, strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n")))
}

// request asks for signatures under a contract.
func request(t *testing.T, id, header string) string {
	t.Helper()
	pdf, err := os.ReadFile("../demo/contract.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return letter(id, header, pdf)
}

func letter(id, header string, pdf []byte) string {
	return "From: Jane Roe <jane.roe@corp.test>\nTo: somebody\nSubject: Lease\nMessage-ID: <" + id + "@corp.test>\nDate: " + time.Now().Format(time.RFC1123Z) + "\n" + header +
		"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nPlease sign.\n--b\nContent-Type: application/pdf; name=lease.pdf\nContent-Transfer-Encoding: base64\n\n" +
		lines(base64.StdEncoding.EncodeToString(pdf)) + "--b--\n"
}

func lines(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\n")
		s = s[n:]
	}
	return b.String()
}

// mails waits until so many mails to somebody have this Subject, and gives them
// with the quoted-printable undone.
func (s *site) mails(t *testing.T, to, subject string, n int) []string {
	t.Helper()
	var found []string
	for range 600 {
		all, err := s.Mails(to)
		if err != nil {
			t.Fatal(err)
		}
		found = nil
		for _, raw := range all {
			plain, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(raw)))
			if strings.Contains(string(raw), "\nSubject: "+subject) {
				found = append(found, string(plain))
			}
		}
		if len(found) >= n {
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%d mails %q to %s, want %d", len(found), subject, to, n)
	return nil
}

func (s *site) session(t *testing.T) (*workflow.Session, []workflow.Event) {
	t.Helper()
	all, err := s.Store.List(t.Context(), workflow.Filter{})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	events, err := s.Store.Events(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return all[0], events
}

// A mailbox that does not exist is told to the sender, whether the relay refuses
// it at once (Max) or Postfix's own bounce comes by LMTP (John). Each is told
// once, also when the bounce comes again, at either door; forged ones tell
// nothing.
func TestBouncesReachTheSender(t *testing.T) {
	s := startSite(t, nil)
	if err := s.send(t, "jane.roe", "jane.roe@corp.test", request(t, "m1", ""), "john@sign.corp.test", "max@sign.corp.test", "anna@sign.corp.test"); err != nil {
		t.Fatal(err)
	}
	told := strings.Join(s.mails(t, "jane.roe@corp.test", "Not delivered: Lease", 2), "\n")
	for _, words := range []string{"The invitation to sign for John Doe (john@else.test) came back.", "no mailbox john@else.test",
		"The invitation to sign for Max Box (max@corp.test) came back.", "User unknown in virtual mailbox table"} {
		if !strings.Contains(strings.Join(strings.Fields(told), " "), words) {
			t.Errorf("Jane is not told %q:\n%s", words, told)
		}
	}
	s.mails(t, "anna@corp.test", "Please sign: Lease", 1)
	ses, events := s.session(t)
	kinds := map[workflow.EventKind]string{}
	for _, e := range events {
		kinds[e.Kind] += e.Detail["to"] + " " + e.Detail["status"] + " "
	}
	if kinds[workflow.EventBounced] != "john@else.test 5.1.1 " || kinds[workflow.EventUnsent] != "max@corp.test 5.1.1 " || ses.State != workflow.Open {
		t.Errorf("on record: %v, session %s", kinds, ses.State)
	}

	// John's bounce once more, by SMTP through the milter, and forged ones; then
	// a true one about Anna.
	dsn := "From: MAILER-DAEMON@mx.corp.test\nSubject: Undelivered\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=r\n\n" +
		"--r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; anna@corp.test\nAction: failed\nStatus: 5.1.1\n\n--r--\n"
	bounces := map[string]string{}
	for i, p := range ses.People {
		bounces[p.Mail] = s.bounce(t, ses.ID, i)
	}
	for _, to := range []string{bounces["john@else.test"], "bounce+" + ses.ID + ".1.i0.aaaaaaaaaaaaaaaaaaaaaaaaaa@sign.corp.test",
		"bounce@sign.corp.test", "bounce+x@sign.corp.test", bounces["anna@corp.test"]} {
		if err := s.send(t, "", "", dsn, to); err != nil {
			t.Errorf("bounce to %s: %v", to, err)
		}
	}
	if n := len(s.mails(t, "jane.roe@corp.test", "Not delivered: Lease", 3)); n != 3 {
		t.Errorf("Jane is told %d times", n)
	}
	noted := 0
	_, events = s.session(t)
	for _, e := range events {
		if e.Kind == workflow.EventBounced || e.Kind == workflow.EventUnsent {
			noted++
		}
	}
	if noted != 3 {
		t.Errorf("%d mails on record that did not arrive, want 3", noted)
	}
}

// bounce is the address of the invitation to a person.
func (s *site) bounce(t *testing.T, session string, person int) string {
	t.Helper()
	master, err := readMaster(masterFile(s.c))
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.notifier(master)
	if err != nil {
		t.Fatal(err)
	}
	return n.Bounce(workflow.Mailing{Session: session, Person: person, Mail: workflow.MailInvitation})
}

// An unproven mail of Jane's waits for her; a stranger's is refused.
func TestUnprovenMailIsConfirmed(t *testing.T) {
	s := startSite(t, func(c *config.Config) { c.Senders.Confirm = true })
	var refused *smtp.SMTPError
	stranger := strings.ReplaceAll(request(t, "m0", ""), "jane.roe@corp.test", "eve@evil.test")
	if err := s.send(t, "", "eve@evil.test", stranger, "anna@sign.corp.test"); !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("a stranger's mail: %v", err)
	}
	for range 2 { // once more, as after a lost reply
		if err := s.send(t, "", "jane.roe@corp.test", request(t, "m1", "X-Forged: SECRET-WORD\n"), "anna@sign.corp.test"); err != nil {
			t.Fatal(err)
		}
	}
	asked := s.mails(t, "jane.roe@corp.test", "Did you ask for signatures?", 1)
	if strings.Contains(asked[0], "lease.pdf") || strings.Contains(asked[0], "Subject: Lease") || strings.Contains(asked[0], "Please sign.") || strings.Contains(asked[0], "SECRET-WORD") {
		t.Errorf("the mail quotes the unproven one:\n%s", asked[0])
	}
	link := regexp.MustCompile(`http://localhost:\d+/c#[\w-]{22}`).FindString(asked[0])
	page, token, ok := strings.Cut(link, "#")
	if !ok {
		t.Fatalf("no link in\n%s", asked[0])
	}
	if resp, err := http.Get(page); err != nil || resp.StatusCode != 200 {
		t.Fatalf("the page: %v %v", resp, err)
	}
	if body := s.call(t, "held", token, 0, 200); !strings.Contains(body, `"subject":"Lease"`) || !strings.Contains(body, "lease.pdf") || !strings.Contains(body, "anna@corp.test") {
		t.Errorf("the page shows %s", body)
	}
	if all, err := s.Store.List(t.Context(), workflow.Filter{}); err != nil || len(all) != 0 {
		t.Fatalf("%d sessions before anybody confirmed, %v", len(all), err)
	}
	s.call(t, "confirm", token, 2, 409)
	s.call(t, "confirm", token, 1, 200)
	s.call(t, "confirm", token, 1, 409)
	s.mails(t, "anna@corp.test", "Please sign: Lease", 1)
	s.mails(t, "jane.roe@corp.test", "Signatures requested: Lease", 1)
	ses, events := s.session(t)
	if ses.ProvenBy != "confirmed by mailbox" || events[0].Client != "127.0.0.1" {
		t.Errorf("proven by %q from %q", ses.ProvenBy, events[0].Client)
	}
	if n := len(s.mails(t, "jane.roe@corp.test", "Did you ask for signatures?", 1)); n != 1 {
		t.Errorf("Jane was asked %d times", n)
	}
}

// call asks the pages' interface of held mails; no recipients are not sent.
func (s *site) call(t *testing.T, path, token string, recipients, status int) string {
	t.Helper()
	b, _ := json.Marshal(struct {
		Token      string `json:"token"`
		Recipients int    `json:"recipients,omitempty"`
	}{token, recipients})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", s.c.URL+"/api/"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Milterd-Request", "1")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Errorf("%s: %s %s (%v)", path, resp.Status, body, err)
	}
	return string(body)
}
