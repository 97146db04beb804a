package postfix_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/auth"
	"milterd/directory"
	"milterd/intake"
	"milterd/intake/origin"
	"milterd/milter"
	"milterd/postfix"
	"milterd/store"
	"milterd/workflow"
)

// hanging is an Intake that does not come back from a mail at the milter.
type hanging struct {
	milter.Intake
	before  bool // hangs before its work, not after it
	release chan struct{}
}

func (h *hanging) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	if e.Relayed {
		return h.Intake.Message(ctx, e, raw)
	}
	if h.before {
		<-h.release
		return context.Canceled
	}
	err := h.Intake.Message(context.WithoutCancel(ctx), e, raw)
	<-h.release
	return err
}

// TestOnce: when milterd stalls at the end of a mail, Postfix says 250 to the
// client and delivers the mail by LMTP. Whether milterd had stored it or not, one
// session opens, for the sender who had logged in.
func TestOnce(t *testing.T) {
	for name, before := range map[string]bool{"stalled after its commit": false, "stalled before it": true} {
		t.Run(name, func(t *testing.T) {
			log := slog.New(slog.NewTextHandler(io.Discard, nil))
			people, err := directory.Open("../testdata/cases/users.toml")
			if err != nil {
				t.Fatal(err)
			}
			keys, err := auth.NewKeys(make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			st, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "milterd.db")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { st.Close() })
			var mu sync.Mutex
			var outcomes []string
			h := &hanging{before: before, release: make(chan struct{}), Intake: &intake.Intake{
				Config: intake.Config{Domain: "sign.corp.test", Level: workflow.Standard}, Directory: people, Inspector: quick{}, Log: log,
				Origin: &origin.Checker{ReceivedBy: "mx.corp.test", Now: time.Now},
				Desk: &workflow.Desk{Store: st, Secrets: keys, Log: log, Now: time.Now, Policy: workflow.Policy{
					Deadline: time.Hour, Repeat: time.Hour, MailLimit: 1 << 30, MailSize: func(...int64) int64 { return 0 }}},
				Count: func(o string) { mu.Lock(); outcomes = append(outcomes, o); mu.Unlock() },
			}}
			defer close(h.release)
			s := buildFor(t, postfix.Options{Settings: []string{
				"smtpd_milters = { unix:@MILTER@, default_action=accept, connect_timeout=2s, command_timeout=5s, content_timeout=2s }"}}, h)
			raw, err := os.ReadFile("../testdata/mail/contract.eml")
			if err != nil {
				t.Fatal(err)
			}
			k := s.dial(t, "jane")
			mail := strings.ReplaceAll(strings.ReplaceAll(string(raw), "@CASE@", "once"), "\n", "\r\n")
			k.want("250", k.mail("jane@corp.test", []string{"john.doe@sign.corp.test", "bob@corp.test", "bob@sign.corp.test"}, mail))
			if got := s.box(t, "bob@corp.test", 1)[0]; got != mail {
				t.Errorf("bob has %q", got)
			}
			s.empty(t)
			want := "opened repeated"
			if before {
				want = "opened"
			}
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(outcomes, " "); got != want {
				t.Errorf("the intake counted %s, want %s", got, want)
			}
			counts, err := st.Counts(t.Context())
			if err != nil || counts[workflow.Preparing] != 1 || len(counts) != 1 {
				t.Errorf("sessions %v, %v", counts, err)
			}
		})
	}
}
