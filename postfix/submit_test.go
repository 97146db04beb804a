package postfix_test

import (
	"fmt"
	"strings"
	"testing"

	"milterd/milter"
	"milterd/postfix"
	"milterd/workflow"
)

// TestSubmitted: mail that a program on the mail server hands to sendmail passes
// the milter, too, as if a client without a login came from 127.0.0.1. A refused
// recipient is told to the submitter by Postfix's bounce, and mail that is put
// off stays with Postfix until it passes.
func TestSubmitted(t *testing.T) {
	s := build(t, postfix.Options{})
	say := func(err error) {
		s.clerk.mu.Lock()
		defer s.clerk.mu.Unlock()
		s.clerk.rcpt = func(milter.Envelope, string) (milter.Verdict, error) { return milter.Take, err }
	}
	submit := func(raw string) {
		t.Helper()
		if err := s.Submit(t.Context(), "jane@corp.test", []string{"self@sign.corp.test", "bob@corp.test"}, []byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	submit(odd("proven"))
	got := s.clerk.wait(t, 1)[0]
	if got.Relayed || got.Login != "" || got.Client.String() != "127.0.0.1" || got.From != "jane@corp.test" || got.QueueID == "" ||
		fmt.Sprint(got.Recipients) != "[self@sign.corp.test]" || got.raw != odd("proven") {
		t.Errorf("the milter saw %+v, %q", got.Envelope, got.raw)
	}
	if got := s.box(t, "bob@corp.test", 1)[0]; got != odd("proven") {
		t.Errorf("bob has %q", got)
	}

	say(errGone)
	submit(odd("refused"))
	bounce := s.box(t, "jane@corp.test", 1)[0]
	if !strings.Contains(bounce, "Subject: Undelivered Mail Returned to Sender\r\n") || !strings.Contains(bounce, errGone.Text) ||
		!strings.Contains(bounce, "<self@sign.corp.test>") {
		t.Errorf("jane has %s", bounce)
	}

	say(&workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "away", Text: "Try again later."})
	submit(odd("put off"))
	until(t, func() bool {
		return strings.Contains(s.Log(), "milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 4.3.0 Try again later.")
	})
	say(nil)
	submit(odd("after")) // wakes pickup
	raws := []string{}
	for _, m := range s.clerk.wait(t, 2) {
		raws = append(raws, m.raw)
	}
	if !same(raws, []string{odd("put off"), odd("after")}) {
		t.Errorf("the milter saw %q", raws)
	}
	s.box(t, "bob@corp.test", 3) // nothing of what was refused as a whole
	s.empty(t)
	if l := s.Log(); strings.Contains(l, "warning:") {
		t.Error("Postfix warns")
	}
}
