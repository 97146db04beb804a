package workflow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"milterd/auth"
	"milterd/store"
	"milterd/workflow"
)

// desk is a Desk on a real SQLite store, with recorders in place of the rooms
// around it and a clock that the test moves.
type desk struct {
	*workflow.Desk
	box    *auth.Mailbox
	store  *store.Store
	signer *recorder
	mu     sync.Mutex
	clock  time.Time
	sent   []workflow.Notice
	relay  func(workflow.Notice) error // what the mail server answers; may be nil
}

func (d *desk) Send(_ context.Context, n workflow.Notice) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.relay != nil {
		if err := d.relay(n); err != nil {
			return err
		}
	}
	d.sent = append(d.sent, n)
	return nil
}

// recorder signs by appending a line that says who did what.
type recorder struct {
	mu     sync.Mutex
	fail   error
	layout error
	wait   func() // called in the middle of a signature

	prepare   error  // of Prepare
	preparing func() // called in its middle
}

func (r *recorder) Ready(context.Context) error { return r.fail }

func (r *recorder) Layout(_ context.Context, s *workflow.Session, doc int, original []byte) ([]byte, error) {
	if r.layout != nil || s.Documents[doc].Signed {
		return nil, r.layout
	}
	return []byte("layout\n"), nil
}

func (r *recorder) Sign(_ context.Context, s *workflow.Session, doc, person int, head []byte) ([]workflow.Increment, error) {
	r.mu.Lock()
	fail, wait := r.fail, r.wait
	r.mu.Unlock()
	if wait != nil {
		wait()
	}
	if fail != nil {
		return nil, fail
	}
	return []workflow.Increment{
		{Kind: workflow.Signature, Suffix: fmt.Appendf(nil, "signed %s\n", s.People[person].Mail)},
		{Kind: workflow.DSS, Suffix: []byte("dss\n")},
	}, nil
}

func (r *recorder) Seal(_ context.Context, s *workflow.Session, doc int, head []byte) ([]workflow.Increment, error) {
	return []workflow.Increment{
		{Kind: workflow.Seal, Suffix: []byte("seal\n")},
		{Kind: workflow.Archive, Suffix: []byte("archive\n")},
	}, nil
}

func (r *recorder) Report(_ context.Context, s *workflow.Session, events []workflow.Event) ([]byte, error) {
	return fmt.Appendf(nil, "report on %d events\n", len(events)), nil
}

var (
	jane = workflow.Person{Mail: "jane@corp.test", Name: "Jane Roe", Language: "en"}
	john = workflow.Person{Mail: "john.doe@corp.test", Name: "John Doe", Language: "de"}
	emma = workflow.Person{Mail: "emma@corp.test", Name: "Emma Curie", Language: "fr"}
	carl = workflow.Person{Mail: "carl@corp.test", Name: "Carl Copy", Language: "en"}
)

func newDesk(t *testing.T) *desk {
	return newDeskOn(t, "sqlite:"+filepath.Join(t.TempDir(), "milterd.db"))
}

func newDeskOn(t *testing.T, url string) *desk {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	keys, err := auth.NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{store: st, signer: &recorder{}, clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	now := func() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.clock }
	d.Desk = &workflow.Desk{
		Store: st, Signer: d.signer, Reporter: d.signer, Notifier: d, Secrets: keys,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: now,
		Policy: workflow.Policy{URL: "https://sign.corp.test", Deadline: 14 * 24 * time.Hour,
			Retention: 90 * 24 * time.Hour, MailLimit: 10 << 20, Repeat: 30 * 24 * time.Hour,
			MailSize: func(sizes ...int64) (n int64) {
				for _, s := range sizes {
					n += s * 4 / 3
				}
				return n
			}},
	}
	d.box = &auth.Mailbox{Store: st, Keys: keys, Now: now}
	return d
}

// pause stops the first signature in its middle: inside is closed when it is
// there, and it goes on when the test closes leave.
func (d *desk) pause() (inside, leave chan struct{}) {
	inside, leave = make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	d.signer.wait = func() {
		if calls.Add(1) == 1 {
			close(inside)
			<-leave
		}
	}
	return inside, leave
}

func (d *desk) tick(by time.Duration) { d.mu.Lock(); d.clock = d.clock.Add(by); d.mu.Unlock() }

func opening(id string, signatories ...workflow.Person) workflow.Opening {
	return workflow.Opening{
		Level: workflow.Standard, Sender: jane, ProvenBy: "sasl jane", Signatories: signatories,
		Copies: []workflow.Person{carl},
		Thread: workflow.Thread{MessageID: "<" + id + "@corp.test>", Subject: "Contract [Standard]"},
		Documents: []workflow.NewDocument{
			{Name: "contract.pdf", Content: []byte("contract\n"), Pages: 2},
			{Name: "annex.pdf", Content: []byte("annex\n"), Pages: 1, Signed: true},
		},
		Mail: []byte("the mail"), BodyHash: sha256.Sum256([]byte(id)),
	}
}

// run does one job of each kind given, as the store's workers would; its error
// is the last one.
func (d *desk) run(t *testing.T, id string, kinds ...workflow.JobKind) error {
	t.Helper()
	jobs, err := d.store.Jobs(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(jobs, func(a, b workflow.JobInfo) int { return int(a.ID - b.ID) })
	for _, j := range jobs {
		if slices.Contains(kinds, j.Job.Kind) {
			if e := d.Run(t.Context(), j.Job); e != nil {
				err = e
			}
		}
	}
	return err
}

func (d *desk) session(t *testing.T, id string) *workflow.Session {
	t.Helper()
	s, err := d.store.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *desk) visit(t *testing.T, s *workflow.Session, p workflow.Person) workflow.Visit {
	t.Helper()
	i := slices.IndexFunc(s.People, func(q workflow.Participant) bool { return q.Mail == p.Mail })
	v, err := d.Visit(t.Context(), d.Secrets.Token(s.ID, i))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// proven reads the documents as a proven visitor, and says what was shown.
func (d *desk) shown(t *testing.T, v workflow.Visit) []workflow.Shown {
	t.Helper()
	var out []workflow.Shown
	for _, i := range v.Session.Mailed() {
		b, r, err := d.View(t.Context(), v, i, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, workflow.Shown{Document: i, Revision: r.Number, SHA256: sha256.Sum256(b)})
	}
	return out
}

func consume(workflow.Tx, []workflow.Digest) (workflow.Proof, error) {
	return workflow.Proof{Method: "mailed code", Challenge: "c1"}, nil
}

func (d *desk) signAs(t *testing.T, s *workflow.Session, p workflow.Person) error {
	v := d.visit(t, s, p)
	return d.Sign(t.Context(), v, d.shown(t, v), workflow.Appearance{Typed: p.Name}, "127.0.0.1", consume)
}

func reason(err error) string {
	var r *workflow.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return fmt.Sprint(err)
}

func (d *desk) mails() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, n := range d.sent {
		out = append(out, fmt.Sprintf("%s to %s, %d files", n.Kind, n.Recipient().Mail, len(n.Attachments)))
	}
	d.sent = nil
	slices.Sort(out)
	return out
}

func open(t *testing.T, d *desk, o workflow.Opening) *workflow.Session {
	t.Helper()
	s, created, err := d.Open(t.Context(), o)
	if err != nil || !created {
		t.Fatalf("open: created %v, %v", created, err)
	}
	if err := d.run(t, s.ID, workflow.JobPrepare); err != nil {
		t.Fatal(err)
	}
	return d.session(t, s.ID)
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestWholeSession(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails when open", d.mails(), []string{
		"invitation to emma@corp.test, 0 files", "invitation to john.doe@corp.test, 0 files", "receipt to jane@corp.test, 0 files"})

	for _, p := range []workflow.Person{john, emma} {
		if err := d.signAs(t, s, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
	if err := d.run(t, s.ID, workflow.JobSeal); err != nil {
		t.Fatal(err)
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Done)
	got, err := d.store.Content(t.Context(), s.ID, 0, s.Documents[0].Head().Number)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "contract", string(got), "contract\nlayout\nsigned john.doe@corp.test\ndss\nsigned emma@corp.test\ndss\nseal\narchive\n")
	got, _ = d.store.Content(t.Context(), s.ID, 1, s.Documents[1].Head().Number)
	want(t, "annex, signed by others before", string(got), "annex\nsigned john.doe@corp.test\ndss\nsigned emma@corp.test\ndss\nseal\narchive\n")

	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails when done", d.mails(), []string{
		"result to carl@corp.test, 3 files", "result to emma@corp.test, 3 files",
		"result to jane@corp.test, 3 files", "result to john.doe@corp.test, 3 files"})

	events, err := d.store.Events(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		if e.Kind != workflow.EventMailed {
			kinds = append(kinds, string(e.Kind))
		}
	}
	want(t, "trail", strings.Join(kinds, " "), "opened prepared viewed signed viewed signed sealed-for sealed-for sealed done")

	d.tick(91 * 24 * time.Hour)
	if err := d.run(t, s.ID, workflow.JobRetain); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Content(t.Context(), s.ID, 0, 0); !errors.Is(err, workflow.ErrGone) {
		t.Errorf("content after retention: %v", err)
	}
	_, _, err = d.View(t.Context(), d.visit(t, s, jane), 0, "")
	want(t, "view after retention", reason(err), "gone")
	if events, err = d.store.Events(t.Context(), s.ID); err != nil || len(events) == 0 {
		t.Errorf("evidence after retention: %d events, %v", len(events), err)
	}
}

func TestSelfGetsOneMail(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", jane))
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails", d.mails(), []string{"invitation to jane@corp.test, 0 files"})
}

// A job whose end was lost in a crash runs again; its mail must not.
func TestMailOnRecordIsNotSentAgain(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", jane))
	for range 2 {
		if err := d.run(t, s.ID, workflow.JobMail); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "mails", d.mails(), []string{"invitation to jane@corp.test, 0 files"})
	if n, err := d.Resend(t.Context(), s.ID); n != 1 || err != nil {
		t.Fatalf("resend: %d, %v", n, err)
	}
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails after an administrator asked for it again", d.mails(), []string{"invitation to jane@corp.test, 0 files"})
}

func TestSameMailTwice(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	again, created, err := d.Open(t.Context(), opening("m1", john))
	if err != nil || created || again.ID != s.ID {
		t.Fatalf("second time: %v, created %v, %v", again, created, err)
	}
	// The same mail with one more recipient asks only that one.
	more, created, err := d.Open(t.Context(), opening("m1", john, emma))
	if err != nil || !created {
		t.Fatalf("with emma: created %v, %v", created, err)
	}
	want(t, "signatories", len(more.Signatories()), 1)
	want(t, "who", more.People[more.Signatories()[0]].Mail, emma.Mail)
	// Without a Message-ID, another subject makes another mail.
	one, two := opening("m2", john), opening("m2", john)
	one.Thread.MessageID, two.Thread.MessageID, two.Thread.Subject = "", "", "Another contract"
	for _, o := range []workflow.Opening{one, two} {
		if _, created, err = d.Open(t.Context(), o); err != nil || !created {
			t.Fatalf("without a Message-ID: created %v, %v", created, err)
		}
	}
	// After its bound, the key is forgotten.
	d.tick(31 * 24 * time.Hour)
	if _, created, err = d.Open(t.Context(), opening("m1", john)); err != nil || !created {
		t.Fatalf("a month later: created %v, %v", created, err)
	}
}

func TestDeclineEndsForAll(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	if err := d.Decline(t.Context(), d.visit(t, s, emma), "clause 4 is wrong", ""); err != nil {
		t.Fatal(err)
	}
	// John's signature was on its way; it must not get into a declined document.
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Declined)
	want(t, "revisions", len(s.Documents[0].Revisions), 2)
	d.run(t, s.ID, workflow.JobMail)
	want(t, "mails", d.mails(), []string{"declined to carl@corp.test, 0 files", "declined to emma@corp.test, 0 files",
		"declined to jane@corp.test, 0 files", "declined to john.doe@corp.test, 0 files"})
	want(t, "sign after the end", reason(d.Sign(t.Context(), d.visit(t, s, emma), nil, workflow.Appearance{Typed: "E"}, "", consume)), "already-decided")
}

func TestExpiry(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	var snooze workflow.Snooze
	if err := d.run(t, s.ID, workflow.JobExpire); !errors.As(err, &snooze) {
		t.Fatalf("before the deadline: %v", err)
	}
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	d.tick(14 * 24 * time.Hour)
	want(t, "sign too late", reason(d.signAs(t, s, emma)), "ended")
	if err := d.run(t, s.ID, workflow.JobExpire); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Expired)
}

func TestAnsweredInTimeOutlivesDeadline(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	d.signer.fail = errors.New("TSA away")
	if err := d.run(t, s.ID, workflow.JobSign); err == nil {
		t.Fatal("no error from the signer")
	}
	d.tick(15 * 24 * time.Hour)
	if err := d.run(t, s.ID, workflow.JobExpire); err != nil {
		t.Fatal(err)
	}
	d.signer.fail = nil
	if err := d.run(t, s.ID, workflow.JobSign, workflow.JobSeal); err != nil {
		t.Fatal(err)
	}
	if err := d.run(t, s.ID, workflow.JobSeal); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Done)
}

func TestTwoSignInTheSameSecond(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	for _, p := range []workflow.Person{john, emma} {
		if err := d.signAs(t, s, p); err != nil {
			t.Fatal(err)
		}
	}
	// While John's signature is being made, Emma's job must wait, not fail.
	inside, leave := d.pause()
	done := make(chan error)
	go func() { done <- d.Run(t.Context(), workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1}) }()
	<-inside
	var snooze workflow.Snooze
	if err := d.Run(t.Context(), workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 2}); !errors.As(err, &snooze) {
		t.Errorf("second job: %v, want a snooze", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 2}); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
}

// A signature may take longer than a lease lasts: a timestamp authority is slow.
func TestLeaseIsRenewed(t *testing.T) {
	defer workflow.RenewEvery(5 * time.Millisecond)()
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	for _, p := range []workflow.Person{john, emma} {
		if err := d.signAs(t, s, p); err != nil {
			t.Fatal(err)
		}
	}
	inside, leave := d.pause()
	done := make(chan error)
	go func() { done <- d.Run(t.Context(), workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1}) }()
	<-inside
	for range 4 {
		before := d.session(t, s.ID).Lease.Until
		d.tick(15 * time.Second)
		for !d.session(t, s.ID).Lease.Until.After(before) {
			if t.Context().Err() != nil {
				t.Fatal("never renewed")
			}
			time.Sleep(time.Millisecond)
		}
	}
	var snooze workflow.Snooze
	if err := d.Run(t.Context(), workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 2}); !errors.As(err, &snooze) {
		t.Errorf("after a minute of signing the second job got %v, want a snooze", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A worker that was thought dead comes back after another has done its job.
func TestRescuedJobIsFenced(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	job := workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1}
	inside, leave := d.pause()
	done := make(chan error)
	go func() { done <- d.Run(t.Context(), job) }()
	<-inside
	d.tick(5 * time.Minute) // its lease runs out
	if err := d.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("the late one: %v", err)
	}
	want(t, "revisions", len(d.session(t, s.ID).Documents[0].Revisions), 4)
}

func TestSignRefuses(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john))
	v := d.visit(t, s, john)
	typed := workflow.Appearance{Typed: "John Doe"}
	sign := func(v workflow.Visit, shown []workflow.Shown, a workflow.Appearance) string {
		return reason(d.Sign(t.Context(), v, shown, a, "", consume))
	}
	want(t, "before looking", sign(v, nil, typed), "not-viewed")
	good := d.shown(t, v)
	bad := slices.Clone(good)
	bad[1].SHA256[0]++
	want(t, "other digest", sign(v, bad, typed), "digest-mismatch")
	before := slices.Clone(good)
	before[0] = workflow.Shown{Document: 0, SHA256: v.Session.Documents[0].Original().SHA256}
	want(t, "the original, which no page shows", sign(v, before, typed), "digest-mismatch")
	want(t, "one document missing", sign(v, good[:1], typed), "digest-mismatch")
	want(t, "one document twice", sign(v, []workflow.Shown{good[0], good[0]}, typed), "digest-mismatch")
	want(t, "nothing written", sign(v, good, workflow.Appearance{}), "bad-appearance")
	want(t, "control character", sign(v, good, workflow.Appearance{Typed: "a\x00b"}), "bad-appearance")
	want(t, "by the sender", sign(d.visit(t, s, jane), good, typed), "not-signatory")
	_, err := d.Visit(t.Context(), "AAAAAAAAAAAAAAAAAAAAAA")
	want(t, "unknown link", reason(err), "unknown-link")
	want(t, "signed", d.Sign(t.Context(), v, good, typed, "", consume), nil)
	want(t, "twice", sign(v, good, typed), "already-decided")
}

func TestHopelessSessionEnds(t *testing.T) {
	hopeless := &workflow.Refusal{Code: 554, Enhanced: "5.6.2", Reason: "broken-pdf", Text: "The PDF is damaged."}
	for _, kind := range []workflow.JobKind{workflow.JobPrepare, workflow.JobSign} {
		d := newDesk(t)
		var s *workflow.Session
		if kind == workflow.JobPrepare {
			d.signer.layout = hopeless
			s, _, _ = d.Open(t.Context(), opening("m1", john))
		} else {
			s = open(t, d, opening("m1", john))
			if err := d.signAs(t, s, john); err != nil {
				t.Fatal(err)
			}
			d.signer.fail = hopeless
		}
		var drop workflow.Drop
		if err := d.run(t, s.ID, kind); !errors.As(err, &drop) {
			t.Errorf("%s: %v, want it dropped", kind, err)
		}
		s = d.session(t, s.ID)
		want(t, string(kind), fmt.Sprint(s.State, ": ", s.Reason), "cancelled: The PDF is damaged.")
		d.run(t, s.ID, workflow.JobMail)
		if kind == workflow.JobPrepare {
			want(t, "mails", d.mails(), []string{"cancelled to jane@corp.test, 0 files"})
		} else {
			want(t, "mails", len(d.mails()), 3)
		}
	}
}

func TestLargeResultIsAnnounced(t *testing.T) {
	d := newDesk(t)
	d.Policy.MailLimit = 1 << 20
	s := open(t, d, opening("m1", jane))
	want(t, "delivery", s.Delivery, workflow.Download)
}

func TestResendAndCancel(t *testing.T) {
	d := newDesk(t)
	s := open(t, d, opening("m1", john, emma))
	d.run(t, s.ID, workflow.JobMail)
	d.mails()
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	n, err := d.Resend(t.Context(), s.ID)
	if err != nil || n != 1 {
		t.Fatalf("resend: %d, %v", n, err)
	}
	if err := d.Cancel(t.Context(), s.ID, "wrong version"); err != nil {
		t.Fatal(err)
	}
	want(t, "cancel twice", reason(d.Cancel(t.Context(), s.ID, "")), "ended")
	want(t, "state", d.session(t, s.ID).State, workflow.Cancelled)
}

func TestStoreAway(t *testing.T) {
	d := newDesk(t)
	d.store.Close()
	_, _, err := d.Open(t.Context(), opening("m1", john))
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code != 451 || r.Reason != "store-away" {
		t.Errorf("open: %v", err)
	}
}
