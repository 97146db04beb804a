package workflow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// archivist renews what ends before a time; its own timestamps end at ends.
type archivist struct {
	was   time.Time // when that of the present one ends
	ends  time.Time
	err   error
	asked int
}

func (a *archivist) Renew(_ context.Context, head []byte, before time.Time) (workflow.Renewal, error) {
	a.asked++
	if a.err != nil {
		return workflow.Renewal{}, a.err
	}
	return workflow.Renewal{Was: a.was, Until: a.ends, Increments: []workflow.Increment{
		{Kind: workflow.DSS, Suffix: []byte("evidence\n")}, {Kind: workflow.Archive, Suffix: []byte("younger\n"), Until: a.ends}}}, nil
}

// aged is the recorder with archive timestamps that end.
type aged struct {
	*recorder
	until time.Time
}

func (a aged) Seal(ctx context.Context, s *workflow.Session, doc int, head []byte) ([]workflow.Increment, error) {
	incs, err := a.recorder.Seal(ctx, s, doc, head)
	incs[len(incs)-1].Until = a.until
	return incs, err
}

// closed brings a session to its end, with archive timestamps that end then.
func closed(t *testing.T, d *desk, until time.Time) *workflow.Session {
	t.Helper()
	d.Signer = aged{d.signer, until}
	s := open(t, d, opening("m1", john))
	if err := d.signAs(t, s, john); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []workflow.JobKind{workflow.JobSign, workflow.JobSeal} {
		if err := d.run(t, s.ID, kind); err != nil {
			t.Fatal(err)
		}
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Done)
	return s
}

func (d *desk) booked(t *testing.T, id string, kind workflow.JobKind) *workflow.JobInfo {
	t.Helper()
	jobs, err := d.store.Jobs(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Job.Kind == kind {
			return &j
		}
	}
	return nil
}

// TestArchiveIsRenewed: a job puts younger timestamps over kept documents before
// the certificates of the old ones end, and goes on until retention.
func TestArchiveIsRenewed(t *testing.T) {
	d := newDesk(t)
	d.Policy.Retention = 5 * 365 * 24 * time.Hour
	a := &archivist{}
	d.Archivist = a
	ends := d.Now().Add(365 * 24 * time.Hour)
	s := closed(t, d, ends)
	j := d.booked(t, s.ID, workflow.JobRenew)
	if j == nil || !j.Next.Equal(ends.Add(-workflow.RenewBefore)) {
		t.Fatalf("booked: %+v", j)
	}
	// Woken too early, it changes nothing and asks nobody.
	var snooze workflow.Snooze
	if err := d.Run(t.Context(), j.Job); !errors.As(err, &snooze) || snooze.For != ends.Add(-workflow.RenewBefore).Sub(d.Now()) || a.asked != 0 {
		t.Errorf("early: %v, asked %d times", err, a.asked)
	}
	d.tick(200 * 24 * time.Hour)
	a.err = errors.New("authority away")
	if err := d.Run(t.Context(), j.Job); !errors.Is(err, a.err) {
		t.Errorf("away: %v", err)
	}
	a.err, a.ends = nil, d.Now().Add(3*365*24*time.Hour)
	if err := d.Run(t.Context(), j.Job); !errors.As(err, &snooze) || snooze.For != a.ends.Add(-workflow.RenewBefore).Sub(d.Now()) {
		t.Errorf("renewed: %v", err)
	}
	s = d.session(t, s.ID)
	for i, doc := range s.Documents {
		b, err := d.store.Content(t.Context(), s.ID, i, doc.Head().Number)
		if err != nil || !strings.HasSuffix(string(b), "archive\nevidence\nyounger\n") || !doc.Head().Until.Equal(a.ends) || doc.Head().Kind != workflow.Archive {
			t.Errorf("%s: %q, until %s: %v", doc.Name, b, doc.Head().Until, err)
		}
	}
	events, err := d.store.Events(t.Context(), s.ID)
	if last := events[len(events)-1]; err != nil || last.Kind != workflow.EventRenewed {
		t.Errorf("trail: %+v %v", last, err)
	}
	// A second run finds its work done.
	asked := a.asked
	d.Run(t.Context(), j.Job)
	want(t, "asked again", a.asked, asked)
	// An authority whose own certificate is as old: tried again every day, and
	// the documents do not grow.
	d.tick(3*365*24*time.Hour - workflow.RenewBefore + time.Hour)
	a.was = a.ends
	size := s.Documents[0].Head().Size
	if err := d.Run(t.Context(), j.Job); !errors.As(err, &snooze) || snooze.For != 24*time.Hour {
		t.Errorf("nothing won: %v", err)
	}
	want(t, "size", d.session(t, s.ID).Documents[0].Head().Size, size)
	if n, _, err := d.RenewArchive(t.Context(), s.ID, d.Now().AddDate(100, 0, 0), true); err != nil || n != len(s.Documents) {
		t.Errorf("forced: %d, %v", n, err)
	}
	// After retention there is nothing to renew.
	d.tick(2 * 365 * 24 * time.Hour)
	if err := d.run(t, s.ID, workflow.JobRetain); err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), j.Job); !errors.Is(err, workflow.ErrGone) || !errors.As(err, new(workflow.Drop)) {
		t.Errorf("after retention: %v", err)
	}
}

// TestRenewalIsNotBooked: documents that are deleted before their timestamps age
// cost no job.
func TestRenewalIsNotBooked(t *testing.T) {
	d := newDesk(t)
	d.Archivist = &archivist{}
	s := closed(t, d, d.Now().Add(6*365*24*time.Hour))
	if j := d.booked(t, s.ID, workflow.JobRenew); j != nil {
		t.Errorf("booked: %+v", j)
	}
}

// TestRenewArchiveRefuses: only what is done and kept.
func TestRenewArchiveRefuses(t *testing.T) {
	d := newDesk(t)
	a := &archivist{ends: d.Now().Add(time.Hour)}
	d.Archivist = a
	s := open(t, d, opening("m2", john))
	_, _, err := d.RenewArchive(t.Context(), s.ID, d.Now(), false)
	want(t, "open", reason(err), "not-done")
	if _, _, err := d.RenewArchive(t.Context(), "none", d.Now(), false); !errors.Is(err, workflow.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	// A document of which nobody wrote down until when, as before there was this job.
	s = closed(t, d, time.Time{})
	n, until, err := d.RenewArchive(t.Context(), s.ID, d.Now(), false)
	if err != nil || n != len(s.Documents) || !until.Equal(a.ends) {
		t.Errorf("%d renewed, until %s: %v", n, until, err)
	}
	a.err = &workflow.Refusal{Code: 554, Reason: "signature-broken", Text: "x"}
	if _, _, err := d.RenewArchive(t.Context(), s.ID, d.Now().Add(2*time.Hour), false); reason(err) != "signature-broken" {
		t.Errorf("refused: %v", err)
	}
	// The job's refusal does not cancel what is done.
	var drop workflow.Drop
	if err := d.Run(t.Context(), workflow.Job{Kind: workflow.JobRenew, Session: s.ID}); !errors.As(err, &drop) {
		t.Errorf("job: %v", err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Done)
}
