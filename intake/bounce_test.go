package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"milterd/milter"
	"milterd/notify"
	"milterd/workflow"
)

// returnDesk remembers what it is told.
type returnDesk struct {
	told []workflow.Mailing
	err  error
}

func (d *returnDesk) Bounced(_ context.Context, m workflow.Mailing, f workflow.Failure) (bool, error) {
	if d.err != nil || slices.Contains(d.told, m) {
		return false, d.err
	}
	d.told = append(d.told, m)
	return true, nil
}

const dsn = "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" +
	"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; john@corp.test\r\nAction: ACTION\r\nStatus: 5.1.1\r\n\r\n--b\r\n" +
	"Content-Type: text/rfc822-headers\r\n\r\nX: https://sign.corp.test/s#secret-token\r\n\r\n--b--\r\n"

func TestBounces(t *testing.T) {
	n, err := notify.New(notify.Config{Domain: "sign.corp.test", Organisation: "x", Master: bytes.Repeat([]byte{7}, 32), Relay: notify.Relay{Address: "localhost:25"}})
	if err != nil {
		t.Fatal(err)
	}
	invitation := workflow.Mailing{Session: "mfrggzdfmztwq2lk", Person: 1, Mail: workflow.MailInvitation}
	confirm := workflow.Mailing{Session: "mfrggzdfmztwq2lk", Mail: workflow.MailConfirm}
	ours := n.Bounce(invitation)
	failed, delayed := []byte(strings.Replace(dsn, "ACTION", "failed", 1)), []byte(strings.Replace(dsn, "ACTION", "delayed", 1))
	for name, c := range map[string]struct {
		to      []string
		raw     []byte
		away    bool
		want    string // the answer
		told    int
		counted string
	}{
		"failed":               {to: []string{ours}, raw: failed, want: "<nil>", told: 1, counted: "[bounce-failed]"},
		"upper case":           {to: []string{strings.ToUpper(ours)}, raw: failed, want: "<nil>", told: 1, counted: "[bounce-failed]"},
		"twice":                {to: []string{ours, ours}, raw: failed, want: "<nil>", told: 1, counted: "[bounce-failed bounce-repeated]"},
		"delayed":              {to: []string{ours}, raw: delayed, want: "<nil>", counted: "[bounce-pending]"},
		"an automatic answer":  {to: []string{ours}, raw: []byte("Subject: away\r\n\r\nback on Monday\r\n"), want: "<nil>", counted: "[bounce-foreign]"},
		"forged":               {to: []string{strings.Replace(ours, ".i0.", ".i1.", 1), "bounce+x@sign.corp.test", "bounce@sign.corp.test"}, raw: failed, want: "<nil>", counted: "[bounce-forged bounce-forged bounce-forged]"},
		"of a confirmation":    {to: []string{n.Bounce(confirm)}, raw: failed, want: "<nil>", counted: "[bounce-confirm]"},
		"database away":        {to: []string{ours}, raw: failed, away: true, want: "451 4.3.0 store-away"},
		"beside a request":     {to: []string{ours, "john@sign.corp.test"}, raw: failed, want: "550 5.7.1 null-sender", told: 1, counted: "[bounce-failed]"},
		"postmaster's address": {to: []string{"bounced@sign.corp.test"}, raw: failed, want: "550 5.7.1 null-sender"},
	} {
		for _, relayed := range []bool{false, true} {
			in, _ := desk()
			d := &returnDesk{}
			if c.away {
				d.err = &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "store-away", Err: errors.New("gone")}
			}
			var log bytes.Buffer
			counted := []string{}
			in.Bounces, in.Log = &Bounces{Mail: n, Desk: d}, slog.New(slog.NewTextHandler(&log, nil))
			in.Count = func(s string) {
				if s != "dropped" {
					counted = append(counted, s)
				}
			}
			e := milter.Envelope{Relayed: relayed, Recipients: c.to, QueueID: "4XyZ"}
			for _, to := range c.to {
				if v, err := in.Recipient(t.Context(), e, to); strings.HasPrefix(strings.ToLower(to), "bounce") && to != "bounced@sign.corp.test" && (v != milter.Take || err != nil) {
					t.Errorf("%s: RCPT %v, %v", name, v, err)
				}
			}
			want := c.want
			if relayed && strings.HasPrefix(want, "550") {
				want = "<nil>"
			}
			if got := reason(in.Message(t.Context(), e, c.raw)); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			if c.counted == "" {
				c.counted = "[]"
			}
			if len(d.told) != c.told || fmt.Sprint(counted) != c.counted {
				t.Errorf("%s: told %v, counted %v, want %s", name, d.told, counted, c.counted)
			}
			if s := log.String(); strings.Contains(s, "secret-token") {
				t.Errorf("%s: the log tells a secret: %s", name, s)
			}
		}
	}
}

// Without a desk for them, bounces are taken and dropped.
func TestBouncesAreDropped(t *testing.T) {
	in, o := desk()
	e := milter.Envelope{Recipients: []string{"bounce+x@sign.corp.test"}}
	if err := in.Message(t.Context(), e, []byte(dsn)); err != nil || len(o.opened) > 0 {
		t.Errorf("%v, %d sessions", err, len(o.opened))
	}
}
