package intake_test

import (
	"bytes"
	"log/slog"
	"mime"
	"net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/directory"
	"milterd/intake"
	"milterd/milter"
	"milterd/notify"
	"milterd/store"
	"milterd/workflow"
)

// TestInjection takes line ends, in every coding that a mail knows, all the way
// from a sender's header into the mails that milterd writes: they add no field.
func TestInjection(t *testing.T) {
	people, err := directory.Open("../testdata/cases/senders/users.toml")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "milterd.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	in := &intake.Intake{Config: intake.Config{Domain: "sign.corp.test", Level: workflow.Standard}, Directory: people, Inspector: quick{}, Log: log,
		Desk: &workflow.Desk{Store: s, Secrets: keys, Log: log, Now: time.Now, Policy: workflow.Policy{Deadline: time.Hour, Repeat: time.Hour,
			MailLimit: 1 << 30, MailSize: func(...int64) int64 { return 0 }}}}
	n, err := notify.New(notify.Config{Domain: "sign.corp.test", Organisation: "Corp", Master: make([]byte, 32), Relay: notify.Relay{Address: "127.0.0.1:25"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, evil := range map[string]string{
		"quoted-printable": "=?utf-8?q?x=0D=0ABcc=3A_victim=40other.test=0D=0A=0D=0A=3Ch1=3E?=",
		"base64":           "=?utf-8?b?eA0KQmNjOiB2aWN0aW1Ab3RoZXIudGVzdA0KDQo8aDE+?=",
		"bare LF":          "=?us-ascii?q?x=0ABcc=3A_victim=40other.test?=",
		"bare CR":          "=?us-ascii?q?x=0DBcc=3A_victim=40other.test?=",
		"NUL":              "=?us-ascii?q?x=00=0D=0ABcc=3A_victim=40other.test?=",
		"UTF-16":           "=?utf-16be?b?AHgADQAKAEIAYwBjADoAIAB2AEAAbw==?=",
		"C1 and separator": "=?utf-8?q?x=C2=85Bcc=3A_v=40o=E2=80=A8Bcc=3A_v=40o?=",
		"over two words":   "=?utf-8?q?x=0D?= =?utf-8?q?=0ABcc=3A_victim=40other.test?=",
	} {
		t.Run(name, func(t *testing.T) {
			raw := "From: " + evil + " <jane@corp.test>\r\nTo: " + evil + " <john.doe@sign.corp.test>\r\nSubject: " + evil + "\r\nMessage-ID: <" + strings.ReplaceAll(name, " ", "") + "@corp.test>\r\n" +
				"References: <a@b> " + evil + " <c@d>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
				"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nhello=0D=0A=0D=0A.=0D=0ABcc: victim@other.test=00\r\n" +
				"--b\r\nContent-Type: application/pdf; name=\"" + evil + "\"\r\n\r\n%PDF-1.7 x\r\n" +
				"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''x%0D%0ABcc%3A%20victim%40other.test%00.pdf\r\n\r\n%PDF-1.7 y\r\n--b--\r\n"
			e := milter.Envelope{Login: "jane", From: "jane@corp.test", Recipients: []string{"john.doe@sign.corp.test"}}
			if err := in.Message(t.Context(), e, []byte(raw)); err != nil {
				t.Fatal(err)
			}
			list, err := s.List(t.Context(), workflow.Filter{Limit: 1})
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			session := list[0]
			for _, kind := range []workflow.MailKind{workflow.MailInvitation, workflow.MailReceipt, workflow.MailResult, workflow.MailDeclined} {
				notice := workflow.Notice{Kind: kind, Key: "k", Session: session, Link: "https://sign.corp.test/s#t", By: 1, Until: time.Now(),
					Attachments: []workflow.Attachment{{Name: session.Documents[0].Name, ContentType: "application/pdf"}, {Name: session.Documents[1].Name, ContentType: "application/pdf"}}}
				if kind == workflow.MailInvitation {
					notice.To = 1
				}
				got, err := n.Compose(notice)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				plainMail(t, string(kind), got)
			}
		})
	}
}

// plainMail checks that a mail of ours has no field that it should not have.
func plainMail(t *testing.T, kind string, raw []byte) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	for name, v := range m.Header {
		switch {
		case len(v) != 1:
			t.Errorf("%s: %d fields %s", kind, len(v), name)
		case name == "Bcc" || name == "Cc" || strings.ContainsAny(v[0], "\r\n\x00"):
			t.Errorf("%s: %s: %q", kind, name, v[0])
		}
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || !strings.HasSuffix(to[0].Address, "@corp.test") {
		t.Errorf("%s: To %v, %v", kind, to, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || strings.ContainsAny(subject, "\r\n\x00\u0085\u2028") {
		t.Errorf("%s: Subject %q, %v", kind, subject, err)
	}
}
