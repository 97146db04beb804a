package workflow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// ready is a session of John and Emma with a device for each.
func ready(t *testing.T) (d *desk, a *authority, s *workflow.Session, vj, ve workflow.Visit, dj, de *device) {
	d, a = ownDesk(t)
	s = open(t, d, advanced("m1", john, emma))
	vj, ve = d.visit(t, s, john), d.visit(t, s, emma)
	return d, a, s, vj, ve, d.enrol(t, vj, "phone"), d.enrol(t, ve, "laptop")
}

// Two tabs, or two devices: the newer preparation is the one that counts.
func TestNewerPreparationReplaces(t *testing.T) {
	d, _, s, vj, _, phone, _ := ready(t)
	tablet := d.enrol(t, vj, "tablet")
	old := d.mustPrepare(t, vj, phone)
	newer := d.mustPrepare(t, vj, tablet)
	want(t, "the older one", reason(d.finishAs(t, vj, phone, old)), "preparation-gone")
	_, err := d.PreparedContent(t.Context(), vj, old.ID, 0)
	want(t, "its bytes", reason(err), "preparation-gone")
	_, err = d.Keep(t.Context(), vj, old.ID)
	want(t, "keeping it", reason(err), "preparation-gone")
	want(t, "giving it up, which must not touch the newer one", d.Abandon(t.Context(), vj, old.ID, "", ""), nil)
	want(t, "the newer one", d.finishAs(t, vj, tablet, newer), nil)
	want(t, "trail", d.trail(t, s.ID), "opened prepared prepared-own abandoned prepared-own refused:preparation-gone signed")
}

// While the first tab's revisions are being written, the second one prepares.
func TestNewerPreparationOvertakes(t *testing.T) {
	d, _, _, vj, _, dj, _ := ready(t)
	shown := d.shown(t, vj)
	var newer *workflow.Preparation
	d.signer.preparing = func() {
		d.signer.preparing = nil
		newer = d.mustPrepare(t, vj, dj)
	}
	_, err := d.Prepare(t.Context(), vj, shown, workflow.Appearance{Typed: "John Doe"}, dj.serial, "")
	want(t, "the one that was overtaken", reason(err), "preparation-gone")
	want(t, "the newer one", d.finishAs(t, vj, dj, newer), nil)
}

// A page that is left keeps nobody waiting for more than a minute, and whoever
// comes back begins anew: nothing is half-signed.
func TestInterrupted(t *testing.T) {
	d, _, s, vj, ve, dj, de := ready(t)
	old := d.mustPrepare(t, vj, dj)
	d.tick(workflow.PreparationLease - time.Second)
	_, err := d.prepareAs(t, ve, de)
	want(t, "emma within the minute", reason(err), "busy")
	until, err := d.Keep(t.Context(), vj, old.ID)
	if err != nil || !until.Equal(d.Now().Add(workflow.PreparationLease)) {
		t.Errorf("keep: %v, %v", until, err)
	}
	d.tick(workflow.PreparationLease - time.Second)
	_, err = d.prepareAs(t, ve, de)
	want(t, "emma after it was kept", reason(err), "busy")
	d.tick(2 * time.Second)
	p := d.mustPrepare(t, ve, de)
	want(t, "john, too late", reason(d.finishAs(t, vj, dj, old)), "preparation-gone")
	_, err = d.prepareAs(t, vj, dj)
	want(t, "john's turn to wait", reason(err), "busy")
	want(t, "emma gives up", d.Abandon(t.Context(), ve, p.ID, "", ""), nil)
	want(t, "emma finishes what she gave up", reason(d.finishAs(t, ve, de, p)), "preparation-gone")
	d.signOwn(t, vj, dj)
	want(t, "revisions", len(d.session(t, s.ID).Documents[0].Revisions), 2) // none of all that is in the document
}

// What a page says of a preparation that it does not sign is on record: which of
// its checks failed, and nothing that is no check.
func TestAbandoned(t *testing.T) {
	d, _, s, vj, ve, dj, _ := ready(t)
	last := func() workflow.Event {
		events, err := d.store.Events(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		return events[len(events)-1]
	}
	p := d.mustPrepare(t, vj, dj)
	want(t, "a check that there is not", reason(d.Abandon(t.Context(), vj, p.ID, "weather", "192.0.2.7")), "unknown-check")
	want(t, "a colleague's", d.Abandon(t.Context(), ve, p.ID, "digest", "192.0.2.7"), nil)
	want(t, "last event", last().Kind, workflow.EventOwnPrepared)
	for failed := range workflow.CheckFailures {
		want(t, failed, d.Abandon(t.Context(), vj, p.ID, failed, "192.0.2.7"), nil)
		e := last()
		want(t, failed, []string{string(e.Kind), e.Actor, e.Client, e.Detail["reason"], e.Detail["preparation"]},
			[]string{"abandoned", vj.Who().Mail, "192.0.2.7", "check-" + failed, p.ID})
		want(t, "once more", d.Abandon(t.Context(), vj, p.ID, failed, "192.0.2.7"), nil)
		want(t, "not twice", last().Seq, e.Seq)
		want(t, "finished all the same", reason(d.finishAs(t, vj, dj, p)), "preparation-gone")
		p = d.mustPrepare(t, vj, dj)
	}
	newer := d.mustPrepare(t, vj, dj)
	want(t, "left", d.Abandon(t.Context(), vj, newer.ID, "", ""), nil)
	want(t, "why", last().Detail["reason"], "left")
}

// Another site that has somebody's link is on record, and does not fill the trail.
func TestForeign(t *testing.T) {
	d, _, s, vj, _, _, _ := ready(t)
	for range 25 {
		d.Foreign(t.Context(), vj, "192.0.2.7", &workflow.Refusal{Code: 550, Reason: "cross-site", Text: "This request came from another site."})
	}
	events, err := d.store.Events(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range events {
		if e.Kind == workflow.EventForeign {
			want(t, "event", []string{e.Actor, e.Client, e.Detail["reason"]}, []string{"john.doe@corp.test", "192.0.2.7", "cross-site"})
			n++
		}
	}
	want(t, "events", n, 20)
}

// The prompt for the passkey hides the page, which then cannot keep the head; if
// nobody took it meanwhile, nobody has to prove twice.
func TestLateFinish(t *testing.T) {
	d, _, _, vj, _, dj, _ := ready(t)
	p := d.mustPrepare(t, vj, dj)
	d.tick(5 * time.Minute)
	want(t, "after five minutes", d.finishAs(t, vj, dj, p), nil)

	d, _, _, vj, _, dj, _ = ready(t)
	p = d.mustPrepare(t, vj, dj)
	for range 10 { // a page that is forgotten open
		d.tick(59 * time.Second)
		until, err := d.Keep(t.Context(), vj, p.ID)
		if err != nil || until.After(p.Expires.Add(workflow.PreparationTime-workflow.PreparationLease)) {
			t.Fatalf("keep: %v, %v", until, err)
		}
	}
	d.tick(10 * time.Second)
	_, err := d.Keep(t.Context(), vj, p.ID)
	want(t, "keep after ten minutes", reason(err), "preparation-gone")
	want(t, "finish after ten minutes", reason(d.finishAs(t, vj, dj, p)), "preparation-gone")
}

// A value waits durably: it outlives sweeps, the deadline and a weekend.
func TestValueWaitsForItsTime(t *testing.T) {
	d, _, s, vj, ve, dj, de := ready(t)
	d.signOwn(t, ve, de)
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	d.signOwn(t, vj, dj)
	d.signer.fail = errors.New("TSA away")
	for range 20 {
		d.tick(24 * time.Hour)
		if err := d.run(t, s.ID, workflow.JobSign, workflow.JobExpire); err == nil {
			t.Fatal("the signer did not fail")
		}
		if err := d.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "the page says", d.session(t, s.ID).People[1].State, workflow.Signing)
	d.signer.fail = nil
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
}

func TestNobodyIsAskedWithoutTime(t *testing.T) {
	d, _, s, vj, _, dj, _ := ready(t)
	d.signer.fail = errors.New("TSA away")
	_, err := d.prepareAs(t, vj, dj)
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Reason != "time-away" || r.Code >= 500 {
		t.Errorf("prepare: %v", err)
	}
	want(t, "lease", d.session(t, s.ID).Lease, workflow.Lease{})
}

func TestFailedPrepareFreesTheHead(t *testing.T) {
	d, _, s, vj, ve, dj, de := ready(t)
	d.signer.prepare = errors.New("out of paper")
	if _, err := d.prepareAs(t, vj, dj); !errors.Is(err, d.signer.prepare) {
		t.Errorf("prepare: %v", err)
	}
	want(t, "lease", d.session(t, s.ID).Lease, workflow.Lease{})
	d.signer.prepare = nil
	d.mustPrepare(t, ve, de)
}

// What ends a certificate between prepare and finish.
func TestCertificateEndsBeforeFinish(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(d *desk, dev *device) error
		wants string
	}{
		"expired": {func(d *desk, dev *device) error { return nil }, "certificate-expired"},
		"revoked": {func(d *desk, dev *device) error {
			return d.RevokeCertificate(context.Background(), dev.serial, 1, "administrator")
		}, "certificate-revoked"},
		"on hold": {func(d *desk, dev *device) error {
			return d.RevokeCertificate(context.Background(), dev.serial, 6, "administrator")
		}, "certificate-revoked"},
		"device removed": {func(d *desk, dev *device) error {
			return d.RevokeDevice(context.Background(), dev.credential, "john.doe@corp.test")
		}, "certificate-revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			d, a := ownDesk(t)
			if name == "expired" {
				a.valid = 30 * time.Second
			}
			s := open(t, d, advanced("m1", john, emma))
			vj, ve := d.visit(t, s, john), d.visit(t, s, emma)
			dj := d.enrol(t, vj, "phone")
			p := d.mustPrepare(t, vj, dj)
			d.tick(31 * time.Second)
			if err := c.end(d, dj); err != nil {
				t.Fatal(err)
			}
			want(t, "finish", reason(d.finishAs(t, vj, dj, p)), c.wants)
			_, err := d.prepareAs(t, vj, dj)
			want(t, "prepare with it", reason(err), c.wants)
			want(t, "state", d.session(t, s.ID).People[1].State, workflow.Waiting)
			d.tick(time.Minute)
			d.mustPrepare(t, ve, d.enrol(t, ve, "laptop")) // and nobody else is in the way
			if trail := d.trail(t, s.ID); !strings.Contains(trail, "refused:"+c.wants) {
				t.Errorf("not on record: %s", trail)
			}
		})
	}
}

// What ends a certificate after finish, before the signature has its time: the
// person is told by mail, may sign again, and has time to do so.
func TestAskedAgain(t *testing.T) {
	refused := func(reason string) error {
		return &workflow.Refusal{Code: 450, Reason: reason, Text: "Please sign again."}
	}
	for name, end := range map[string]func(d *desk, dev *device){
		"certificate-expired": func(d *desk, dev *device) { d.signer.fail = refused("certificate-expired") },
		"signature-outgrown":  func(d *desk, dev *device) { d.signer.fail = refused("signature-outgrown") },
		"certificate-revoked": func(d *desk, dev *device) {
			d.signer.fail = nil // the register is asked before any list is
			if err := d.RevokeDevice(context.Background(), dev.credential, "administrator"); err != nil {
				t.Error(err)
			}
		},
		"preparation-gone": func(d *desk, dev *device) {
			d.signer.fail = nil
			if err := d.store.Do(context.Background(), func(tx workflow.Tx) error {
				s, err := tx.Session(d.only(t))
				if err != nil {
					return err
				}
				return tx.EndCeremony(s.People[1].Act.Preparation)
			}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, _, s, vj, ve, dj, de := ready(t)
			d.run(t, s.ID, workflow.JobMail)
			d.mails()
			d.signOwn(t, vj, dj)
			d.tick(14*24*time.Hour - time.Hour) // the deadline is near
			end(d, dj)
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			d.signer.fail = nil
			s = d.session(t, s.ID)
			p := s.People[1]
			want(t, "john", []any{p.State, p.Act, p.Again, p.Decided}, []any{workflow.Waiting, (*workflow.Act)(nil), name, time.Time{}})
			want(t, "revisions", len(s.Documents[0].Revisions), 2)
			if !s.Deadline.Equal(d.Now().Add(workflow.AgainTime)) {
				t.Errorf("deadline %s, now %s", s.Deadline, d.Now())
			}
			for range 2 { // a mail job that runs twice sends once
				d.run(t, s.ID, workflow.JobMail)
			}
			d.mu.Lock()
			if len(d.sent) != 1 || d.sent[0].Again != name || !strings.HasPrefix(d.sent[0].Link, "https://sign.corp.test/s#") {
				t.Errorf("sent %+v", d.sent)
			}
			d.mu.Unlock()
			want(t, "mails", d.mails(), []string{"again to john.doe@corp.test, 0 files"})

			d.tick(24 * time.Hour) // after the old deadline
			if err := d.run(t, s.ID, workflow.JobExpire); !errors.As(err, new(workflow.Snooze)) {
				t.Errorf("expiry: %v", err)
			}
			d.signOwn(t, ve, de) // a colleague can go on
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			d.signOwn(t, vj, d.enrol(t, vj, "new phone"))
			want(t, "asked again", d.session(t, s.ID).People[1].Again, "")
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			want(t, "state", d.session(t, s.ID).State, workflow.Sealing)
			if trail := d.trail(t, s.ID); !strings.Contains(trail, "signed again") {
				t.Errorf("trail: %s", trail)
			}
		})
	}
}

// only is the id of the one session.
func (d *desk) only(t *testing.T) string {
	t.Helper()
	all, err := d.store.List(context.Background(), workflow.Filter{})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	return all[0].ID
}

// TestFinishRefuses hands in what is not the signatory's own value over what was
// prepared. Nothing of it is kept, the passkey's proof is not used up, and the
// auditor finds each.
func TestFinishRefuses(t *testing.T) {
	used := 0
	for name, c := range map[string]struct {
		attack func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error
		wants  string
	}{
		"one value too few": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			return d.Finish(t.Context(), v, p.ID, dev.values(t, p)[:1], "", proving(p, &used))
		}, "wrong-values"},
		"one value too many": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			return d.Finish(t.Context(), v, p.ID, append(dev.values(t, p), []byte{1}), "", proving(p, &used))
		}, "wrong-values"},
		"values in another order": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			values := dev.values(t, p)
			slices.Reverse(values)
			return d.Finish(t.Context(), v, p.ID, values, "", proving(p, &used))
		}, "bad-value"},
		"another key's value": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			return d.Finish(t.Context(), v, p.ID, (&device{key: newKey(t)}).values(t, p), "", proving(p, &used))
		}, "bad-value"},
		"over other attributes": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			p.Documents[0].Attributes = append(slices.Clone(p.Documents[0].Attributes), 'x')
			return d.Finish(t.Context(), v, p.ID, dev.values(t, p), "", proving(p, &used))
		}, "bad-value"},
		"a passkey that approved something else": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			values := dev.values(t, p)
			p.Documents[1].Attributes = []byte("swapped")
			return d.Finish(t.Context(), v, p.ID, values, "", proving(p, &used))
		}, "wrong-passkey"},
		"a colleague's preparation": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			v.Person++
			return d.Finish(t.Context(), v, p.ID, dev.values(t, p), "", proving(p, &used))
		}, "preparation-gone"},
		"a preparation that never was": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			return d.Finish(t.Context(), v, strings.Repeat("a", 16), dev.values(t, p), "", proving(p, &used))
		}, "preparation-gone"},
		"a ceremony of another kind": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
				return tx.SaveCeremony(&workflow.Ceremony{ID: "passkey", Kind: "passkey", Session: v.Session.ID, Person: v.Person,
					Expires: d.Now().Add(time.Hour), Data: []byte(`{"documents":[]}`)})
			}); err != nil {
				t.Fatal(err)
			}
			return d.Finish(t.Context(), v, "passkey", nil, "", proving(p, &used))
		}, "preparation-gone"},
		"a swapped head": {func(t *testing.T, d *desk, v workflow.Visit, dev *device, p *workflow.Preparation) error {
			d.swapHead(t, v.Session.ID)
			return d.finishAs(t, v, dev, p)
		}, "preparation-gone"},
	} {
		t.Run(name, func(t *testing.T) {
			d, _, s, vj, _, dj, _ := ready(t)
			p := d.mustPrepare(t, vj, dj)
			var r *workflow.Refusal
			if err := c.attack(t, d, vj, dj, p); !errors.As(err, &r) || r.Reason != c.wants || r.Text == "" {
				t.Errorf("finish: %v, want %s", err, c.wants)
			}
			if trail := d.trail(t, s.ID); !strings.HasSuffix(trail, "prepared-own refused:"+c.wants) {
				t.Errorf("trail: %s", trail)
			}
			s = d.session(t, s.ID)
			for i := range s.People {
				if s.People[i].State == workflow.Signing || s.People[i].Act != nil {
					t.Errorf("%s has signed", s.People[i].Name)
				}
			}
			jobs, err := d.store.Jobs(t.Context(), s.ID)
			if err != nil || slices.ContainsFunc(jobs, func(j workflow.JobInfo) bool { return j.Job.Kind == workflow.JobSign }) {
				t.Errorf("a job would sign: %v, %v", jobs, err)
			}
		})
	}
}

// swapHead adds a revision behind the lease's back.
func (d *desk) swapHead(t *testing.T, id string) {
	t.Helper()
	if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
		s, err := tx.Session(id)
		if err != nil {
			return err
		}
		doc := &s.Documents[0]
		r := doc.Head()
		r.Number++
		r.SHA256[0]++
		doc.Revisions = append(doc.Revisions, r)
		if err := tx.AddSuffix(id, 0, r.Number, []byte("swapped\n")); err != nil {
			return err
		}
		return tx.Save(s)
	}); err != nil {
		t.Fatal(err)
	}
}

// The head's number is right and its bytes are not.
func TestFinishOverOtherBytes(t *testing.T) {
	d, _, s, vj, _, dj, _ := ready(t)
	p := d.mustPrepare(t, vj, dj)
	if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
		s, err := tx.Session(s.ID)
		if err != nil {
			return err
		}
		doc := &s.Documents[0]
		doc.Revisions[len(doc.Revisions)-1].SHA256[0]++
		return tx.Save(s)
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "finish", reason(d.finishAs(t, vj, dj, p)), "preparation-gone")
}

// Whoever has the same place in another session gets nothing of this one.
func TestPreparationOfAnotherSession(t *testing.T) {
	d, _, _, vj, _, dj, _ := ready(t)
	p := d.mustPrepare(t, vj, dj)
	other := open(t, d, advanced("m2", emma, john)) // in John's place
	ve := d.visit(t, other, emma)
	want(t, "place", ve.Person, vj.Person)
	_, err := d.PreparedContent(t.Context(), ve, p.ID, 0)
	want(t, "its bytes", reason(err), "preparation-gone")
	_, err = d.Keep(t.Context(), ve, p.ID)
	want(t, "keeping it", reason(err), "preparation-gone")
	want(t, "its own", d.finishAs(t, vj, dj, p), nil)
}

// What was handed in once, or all of it at the same moment, signs once.
func TestReplayedFinish(t *testing.T) {
	d, _, s, vj, _, dj, _ := ready(t)
	p := d.mustPrepare(t, vj, dj)
	values, answers := dj.values(t, p), make(chan error)
	var used int
	for range 4 {
		consume := proving(p, &used)
		go func() { answers <- d.Finish(t.Context(), vj, p.ID, values, "", consume) }()
	}
	var got []string
	for range 4 {
		got = append(got, reason(<-answers))
	}
	slices.Sort(got)
	want(t, "at once", got, []string{"<nil>", "already-decided", "already-decided", "already-decided"})
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	want(t, "after it is done", reason(d.Finish(t.Context(), vj, p.ID, values, "", proving(p, &used))), "already-decided")
	want(t, "abandoned after it is done", reason(d.Abandon(t.Context(), vj, p.ID, "", "")), "already-decided")
	want(t, "trail", d.trail(t, s.ID), "opened prepared prepared-own signed"+strings.Repeat(" refused:already-decided", 3)+" signed-own refused:already-decided")
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\n")
}

// A worker that was thought dead comes back after another has done its job,
// and after a colleague has gone on from there.
func TestRescuedOwnJobIsFenced(t *testing.T) {
	d, _, s, vj, ve, dj, de := ready(t)
	d.signOwn(t, vj, dj)
	job := workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1, Preparation: d.session(t, s.ID).People[1].Act.Preparation}
	inside, leave := d.pause()
	done := make(chan error)
	go func() { done <- d.Run(t.Context(), job) }()
	<-inside
	if err := d.Run(t.Context(), job); !errors.As(err, new(workflow.Snooze)) {
		t.Errorf("while the first one works: %v", err)
	}
	d.tick(5 * time.Minute) // its lease runs out
	if err := d.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	p := d.mustPrepare(t, ve, de)
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("the late one: %v", err)
	}
	want(t, "revisions", len(d.session(t, s.ID).Documents[0].Revisions), 4)
	want(t, "emma, whose head it is", d.finishAs(t, ve, de, p), nil)
}

// A job of a signature that had to be made again finds another act, and leaves it alone.
func TestJobOfAnOlderAct(t *testing.T) {
	d, _, s, vj, _, dj, _ := ready(t)
	d.signOwn(t, vj, dj)
	old := workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1, Preparation: d.session(t, s.ID).People[1].Act.Preparation}
	d.signer.fail = &workflow.Refusal{Code: 450, Reason: "certificate-expired", Text: "Again."}
	if err := d.Run(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	d.signer.fail = nil
	d.signOwn(t, vj, dj)
	for _, j := range []workflow.Job{old, {Kind: workflow.JobSign, Session: s.ID, Person: 1}} {
		if err := d.Run(t.Context(), j); err != nil {
			t.Error(err)
		}
	}
	want(t, "john", d.session(t, s.ID).People[1].State, workflow.Signing)
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	want(t, "john", d.session(t, s.ID).People[1].State, workflow.Signed)
}

// A level is never silently lowered, nor raised.
func TestLevelsAreKeptApart(t *testing.T) {
	d, _, _, vj, _, _, _ := ready(t)
	want(t, "code in an Advanced session", reason(d.Sign(t.Context(), vj, d.shown(t, vj), workflow.Appearance{Typed: "J"}, "", consume)), "wrong-level")
	s := open(t, d, opening("m2", john))
	v := d.visit(t, s, john)
	dev := d.enrol(t, v, "old phone")
	_, err := d.prepareAs(t, v, dev)
	want(t, "own key in a Standard session", reason(err), "wrong-level")
}

func TestPrepareRefuses(t *testing.T) {
	d, _, s, vj, ve, dj, de := ready(t)
	typed := workflow.Appearance{Typed: "John Doe"}
	prepare := func(v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, serial string) string {
		_, err := d.Prepare(t.Context(), v, shown, a, serial, "")
		return reason(err)
	}
	want(t, "before looking", prepare(vj, nil, typed, dj.serial), "not-viewed")
	good := d.shown(t, vj)
	bad := slices.Clone(good)
	bad[0].SHA256[5]++
	want(t, "a swapped document", prepare(vj, bad, typed, dj.serial), "digest-mismatch")
	want(t, "nothing written", prepare(vj, good, workflow.Appearance{}, dj.serial), "bad-appearance")
	want(t, "a colleague's certificate", prepare(vj, good, typed, de.serial), "no-certificate")
	want(t, "no certificate", prepare(vj, good, typed, "ffff"), "no-certificate")
	want(t, "by the sender", prepare(d.visit(t, s, jane), good, typed, dj.serial), "no-certificate")
	vjane := d.visit(t, s, jane)
	want(t, "by the sender with a device", prepare(vjane, good, typed, d.enrol(t, vjane, "jane's").serial), "not-signatory")
	want(t, "trail", d.trail(t, s.ID), "opened prepared refused:digest-mismatch refused:no-certificate refused:no-certificate refused:no-certificate")
	for range workflow.PreparationLimit {
		d.mustPrepare(t, ve, de)
	}
	_, err := d.prepareAs(t, ve, de)
	want(t, "too often", reason(err), "too-many-tries")
	if err := d.Decline(t.Context(), ve, "no", ""); err != nil {
		t.Fatal(err)
	}
	want(t, "after the end", prepare(vj, good, typed, dj.serial), "ended")
}

// A page that hammers fills no trail.
func TestRefusalsAreBounded(t *testing.T) {
	d, _, s, vj, _, dj, _ := ready(t)
	for range 50 {
		want(t, "finish", reason(d.Finish(t.Context(), vj, "nonsense", nil, "", nil)), "preparation-gone")
	}
	want(t, "on record", strings.Count(d.trail(t, s.ID), "refused:"), 20)
	d.signOwn(t, vj, dj)
}

// The deadline, a decline or an administrator ends it between prepare and finish.
func TestEndedBetween(t *testing.T) {
	for name, end := range map[string]func(d *desk, v workflow.Visit) error{
		"deadline":  func(d *desk, v workflow.Visit) error { d.tick(2 * time.Minute); return nil },
		"declined":  func(d *desk, v workflow.Visit) error { return d.Decline(context.Background(), v, "", "") },
		"cancelled": func(d *desk, v workflow.Visit) error { return d.Cancel(context.Background(), v.Session.ID, "") },
	} {
		d, _ := ownDesk(t)
		s := open(t, d, advanced("m1", john, emma))
		vj := d.visit(t, s, john)
		dj := d.enrol(t, vj, "phone")
		d.tick(14*24*time.Hour - time.Minute)
		p := d.mustPrepare(t, vj, dj)
		if err := end(d, d.visit(t, s, emma)); err != nil {
			t.Fatal(err)
		}
		want(t, name, reason(d.finishAs(t, vj, dj, p)), "ended")
	}
}
