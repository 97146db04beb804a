package workflow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"milterd/workflow"
)

// kinds are the kinds of a session's events, with what is said of a mail.
func (d *desk) kinds(t *testing.T, id string) []string {
	t.Helper()
	events, err := d.store.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, string(e.Kind))
	}
	return out
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func mailing(s *workflow.Session, p workflow.Person, kind workflow.MailKind) workflow.Mailing {
	i := slices.IndexFunc(s.People, func(q workflow.Participant) bool { return q.Mail == p.Mail })
	return workflow.Mailing{Session: s.ID, Person: i, Mail: kind}
}

var unknown = workflow.Failure{Recipient: john.Mail, Status: "5.1.1", Diagnostic: "550 5.1.1 no such user"}

// bounce tells the desk, and gives whether it was news.
func (d *desk) bounce(t *testing.T, m workflow.Mailing, f workflow.Failure) bool {
	t.Helper()
	noted, err := d.Bounced(t.Context(), m, f)
	if err != nil {
		t.Fatal(err)
	}
	return noted
}

func TestBouncedInvitation(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	m := mailing(s, john, workflow.MailInvitation)

	// The same report many times, and at once, is one event and one mail.
	var wg sync.WaitGroup
	news := make(chan bool, 8)
	for range 8 {
		wg.Go(func() {
			noted, err := d.Bounced(t.Context(), m, unknown)
			if err != nil {
				t.Error(err)
			}
			news <- noted
		})
	}
	wg.Wait()
	close(news)
	n := 0
	for noted := range news {
		if noted {
			n++
		}
	}
	want(t, "reports that were news", n, 1)
	for range 2 {
		d.run(t, s.ID, workflow.JobMail)
	}
	d.mu.Lock()
	told := d.sent
	d.mu.Unlock()
	want(t, "mails", d.mails(), []string{"returned to jane@corp.test, 0 files"})
	if r := told[0].Returned; r.Mail != workflow.MailInvitation || r.Diagnostic != unknown.Diagnostic || r.Status != "5.1.1" || r.Recipient != "" ||
		told[0].By != m.Person || told[0].Link != "" {
		t.Errorf("the sender is told %+v by %d", r, told[0].By)
	}
	want(t, "events", count(d.kinds(t, s.ID), "bounced"), 1)
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Open)
	want(t, "unreached", []bool{s.Unreached(m.Person), s.Unreached(m.Person + 1)}, []bool{true, false})
	events, _ := d.store.Events(t.Context(), s.ID)
	e := events[slices.IndexFunc(events, func(e workflow.Event) bool { return e.Kind == workflow.EventBounced })]
	want(t, "detail", e.Detail, map[string]string{"mail": "invitation", "to": john.Mail, "status": "5.1.1", "diagnostic": unknown.Diagnostic})

	// Sent again, it may come back again.
	if _, err := d.Resend(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if d.session(t, s.ID).Unreached(m.Person) {
		t.Error("unreached although the invitation was sent anew")
	}
	m.Round = 1
	want(t, "the second invitation comes back", d.bounce(t, m, unknown), true)
	d.mails()
	d.run(t, s.ID, workflow.JobMail)
	if got := d.mails(); count(got, "returned to jane@corp.test, 0 files") != 1 {
		t.Errorf("mails %v", got)
	}
}

func TestBouncesThatTellNobody(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	m := mailing(s, john, workflow.MailInvitation)
	for name, wrong := range map[string]workflow.Mailing{
		"unknown session": {Session: "aaaaaaaaaaaaaaaa", Person: 1, Mail: workflow.MailInvitation},
		"unknown person":  {Session: s.ID, Person: 9, Mail: workflow.MailInvitation},
		"negative person": {Session: s.ID, Person: -1, Mail: workflow.MailInvitation},
		"round to come":   {Session: s.ID, Person: 1, Mail: workflow.MailInvitation, Round: 1},
	} {
		if d.bounce(t, wrong, unknown) {
			t.Errorf("%s: noted", name)
		}
	}
	want(t, "events", count(d.kinds(t, s.ID), "bounced"), 0)

	// The sender's own mails are on record, and no more: no loops.
	for _, kind := range []workflow.MailKind{workflow.MailReceipt, workflow.MailReturned, workflow.MailResult} {
		want(t, "noted", d.bounce(t, mailing(s, jane, kind), unknown), true)
	}
	// A copy is told of the end only.
	want(t, "noted", d.bounce(t, mailing(s, carl, workflow.MailDeclined), unknown), true)
	want(t, "events", count(d.kinds(t, s.ID), "bounced"), 4)
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails", d.mails(), []string(nil))

	// Who has answered is not missed, and nobody is after the end.
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	want(t, "noted", d.bounce(t, m, unknown), true)
	if err := d.Cancel(t.Context(), s.ID, ""); err != nil {
		t.Fatal(err)
	}
	want(t, "noted", d.bounce(t, mailing(s, emma, workflow.MailInvitation), unknown), true)
	d.run(t, s.ID, workflow.JobMail)
	if got := strings.Join(d.mails(), " "); strings.Contains(got, "returned") {
		t.Errorf("mails %v", got)
	}
}

// Who signs their own document hears nothing either: the mail would take the
// same way back.
func TestBouncesOfTheSendersOwnSignature(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", jane))
	d.run(t, s.ID, workflow.JobMail)
	want(t, "noted", d.bounce(t, mailing(s, jane, workflow.MailInvitation), unknown), true)
	if err := d.signAs(t, s, jane); err != nil {
		t.Fatal(err)
	}
	d.run(t, s.ID, workflow.JobSign)
	d.run(t, s.ID, workflow.JobSeal)
	want(t, "noted", d.bounce(t, mailing(s, jane, workflow.MailResult), unknown), true)
	d.run(t, s.ID, workflow.JobMail)
	if got := strings.Join(d.mails(), " "); strings.Contains(got, "returned") {
		t.Errorf("mails %v", got)
	}
}

// A mail that waits for its turn to tell is dropped when it is moot.
func TestReturnedIsOvertaken(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	d.bounce(t, mailing(s, john, workflow.MailInvitation), unknown)
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails", d.mails(), []string(nil))
}

func TestBouncedResult(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	d.run(t, s.ID, workflow.JobSign)
	d.run(t, s.ID, workflow.JobSeal)
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	s = d.session(t, s.ID)
	want(t, "delivery", s.Delivery, workflow.Attached)
	for _, p := range []workflow.Person{john, carl} {
		want(t, "noted", d.bounce(t, mailing(s, p, workflow.MailResult), unknown), true)
	}
	d.run(t, s.ID, workflow.JobMail)
	d.mu.Lock()
	told := d.sent
	d.mu.Unlock()
	if len(told) != 2 || !strings.HasPrefix(told[0].Link, "https://sign.corp.test/s#") || !told[0].Until.Equal(s.Ended.Add(d.Policy.Retention)) {
		t.Fatalf("told %+v", told)
	}
	want(t, "mails", d.mails(), []string{"returned to jane@corp.test, 0 files", "returned to jane@corp.test, 0 files"})
	// The link leads to the documents, though they were attached.
	_, token, _ := strings.Cut(told[0].Link, "#")
	v, err := d.Visit(t.Context(), token)
	if err != nil || v.Who().Mail != jane.Mail {
		t.Fatalf("visit of %v, %v", v, err)
	}
	for i := range s.Documents {
		if b, _, err := d.View(t.Context(), v, i, ""); err != nil || len(b) == 0 {
			t.Errorf("document %d: %d bytes, %v", i, len(b), err)
		}
	}
	// What the servers said goes with the documents.
	d.tick(d.Policy.Retention)
	d.run(t, s.ID, workflow.JobRetain)
	for _, r := range d.session(t, s.ID).Returned {
		if r.Failure != (workflow.Failure{}) {
			t.Errorf("kept after retention: %+v", r)
		}
	}
	want(t, "noted", d.bounce(t, mailing(s, emma, workflow.MailResult), unknown), false)
}

// A mail that the relay refuses while we hand it over is told like one that
// comes back, once, also if the job runs again.
func TestRefusedMailIsToldToo(t *testing.T) {
	d := newDesk(t)
	d.relay = func(n workflow.Notice) error {
		if n.Recipient().Mail == john.Mail {
			return workflow.Drop{Err: fmt.Errorf("RCPT: %w", workflow.Rejected{Failure: workflow.Failure{Status: "5.1.1", Diagnostic: "550 5.1.1 unknown"}})}
		}
		return nil
	}
	s := open(t, d, opening("m1", john))
	var drop workflow.Drop
	if err := d.run(t, s.ID, workflow.JobMail); !errors.As(err, &drop) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		d.run(t, s.ID, workflow.JobMail)
	}
	d.mu.Lock()
	told := d.sent
	d.mu.Unlock()
	want(t, "mails", d.mails(), []string{"receipt to jane@corp.test, 0 files", "returned to jane@corp.test, 0 files"})
	if r := told[len(told)-1].Returned; r.Status != "5.1.1" || r.Diagnostic != "550 5.1.1 unknown" {
		t.Errorf("told %+v", r)
	}
	want(t, "events", count(d.kinds(t, s.ID), "unsent"), 1)
	// Its bounce, should one come all the same, is no news.
	want(t, "noted", d.bounce(t, mailing(s, john, workflow.MailInvitation), unknown), false)
}

// Nobody hears of it if the sender's own mail is refused.
func TestRefusedMailToTheSender(t *testing.T) {
	d := newDesk(t)
	d.relay = func(n workflow.Notice) error { return workflow.Drop{Err: errors.New("550")} }
	s := open(t, d, opening("m1", john))
	for range 3 {
		d.run(t, s.ID, workflow.JobMail)
	}
	// john's invitation and jane's receipt; then jane's mail about john's, and no more.
	want(t, "events", count(d.kinds(t, s.ID), "unsent"), 3)
}

// The words of a server are one short line in evidence and mail.
func TestForeignDiagnostic(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	f := workflow.Failure{Recipient: strings.Repeat("x", 5000), Status: "5.1.1\r\nx: y", Diagnostic: "a\r\n\tb\x00\u202e\u2028c\xff" + strings.Repeat("ü", 5000)}
	want(t, "noted", d.bounce(t, mailing(s, john, workflow.MailInvitation), f), true)
	r := d.session(t, s.ID).Returned[0]
	if !strings.HasPrefix(r.Diagnostic, "a b c\uFFFDüü") || len([]rune(r.Diagnostic)) != 300 || len([]rune(r.Recipient)) != 254 || len([]rune(r.Status)) > 11 {
		t.Errorf("kept %d %+v", len([]rune(r.Diagnostic)), r)
	}
	events, err := d.store.Events(t.Context(), s.ID)
	if err != nil || events[len(events)-1].Detail["diagnostic"] != r.Diagnostic {
		t.Errorf("on record: %+v, %v", events[len(events)-1], err)
	}
}
