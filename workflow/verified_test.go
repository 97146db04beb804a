package workflow_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// A question to verify@ is answered once, and one person gets so many answers an hour.
func TestVerifiedOnce(t *testing.T) {
	d := newDesk(t)
	d.Policy.PerHour = 3
	v := workflow.Verification{Person: jane, Files: []workflow.VerifiedFile{{Name: "a.pdf", Verdict: workflow.VerdictValid, Report: "r"}}}
	ask := func(key byte) string {
		created, err := d.Verified(t.Context(), v, [32]byte{key})
		var r *workflow.Refusal
		if errors.As(err, &r) {
			return r.Reason
		}
		if err != nil {
			t.Fatal(err)
		}
		return map[bool]string{true: "answered", false: "repeated"}[created]
	}
	for _, step := range []struct {
		key  byte
		wait time.Duration
		want string
	}{{1, 0, "answered"}, {1, 0, "repeated"}, {2, 0, "answered"}, {3, 0, "answered"}, {4, 0, "too-many-requests"}, {3, 0, "repeated"},
		{4, 61 * time.Minute, "answered"}, {1, 0, "repeated"}} {
		d.tick(step.wait)
		if got := ask(step.key); got != step.want {
			t.Errorf("question %d after %s: %s, want %s", step.key, step.wait, got, step.want)
		}
	}
	v.Person = john
	if got := ask(9); got != "answered" {
		t.Errorf("somebody else: %s", got)
	}
	v.Files[0].Report = strings.Repeat("x", 2<<20)
	if got := ask(10); got != "too-much-to-say" {
		t.Errorf("2 MiB: %s", got)
	}
}

// The answer goes out with a report for each file; a mail server that is away
// gets it later, one that refuses it for good does not.
func TestVerifiedIsSent(t *testing.T) {
	d := newDesk(t)
	v := workflow.Verification{ID: "abcdefghijklmnop", Person: jane, Files: []workflow.VerifiedFile{{Name: "a.pdf", Report: "one"}, {Name: "b.pdf", Report: "two"}}}
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	j := workflow.Job{Kind: workflow.JobVerified, Verification: string(body)}
	away, drop := errors.New("connection refused"), workflow.Drop{Err: errors.New("550 5.1.1")}
	for _, c := range []error{away, drop, nil} {
		d.relay = func(workflow.Notice) error { return c }
		if err := d.Run(t.Context(), j); !errors.Is(err, c) {
			t.Errorf("got %v, want %v", err, c)
		}
	}
	n := d.sent[0]
	if len(d.sent) != 1 || n.Recipient().Mail != jane.Mail || n.Key != v.ID || len(n.Attachments) != 2 ||
		n.Attachments[1].Name != "verification-2.txt" || string(n.Attachments[1].Content) != "two" {
		t.Errorf("sent %+v", d.sent)
	}
	j.Verification = "{"
	if err := d.Run(t.Context(), j); !errors.As(err, new(workflow.Drop)) {
		t.Errorf("a broken job: %v", err)
	}
}
