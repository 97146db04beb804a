package workflow_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// vetting is an Acceptor that takes every certificate, until it is told not to.
type vetting struct {
	level    workflow.Level // "" means Qualified
	err      error
	asked    int
	register workflow.Registering
}

func (q *vetting) Accept(_ context.Context, _ workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	q.asked++
	if q.err != nil {
		return nil, q.err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, err
	}
	return &workflow.Acceptance{Level: cmp.Or(q.level, workflow.Qualified), Chain: chain, Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Serial: leaf.SerialNumber.Text(16),
		NotAfter: leaf.NotAfter, Vouched: "trusted list of Nowhere", Register: q.register}, nil
}

// remote is a key with a certificate of somebody at a provider.
type remote struct {
	*device
	offer workflow.Offer
}

// qualifiedDesk is a session at level Qualified of John and Emma, with a key for each
// that ends in a month.
func qualifiedDesk(t *testing.T) (d *desk, q *vetting, s *workflow.Session, vj, ve workflow.Visit, kj, ke remote) {
	t.Helper()
	d, a := ownDesk(t)
	q = &vetting{}
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: q}
	s = open(t, d, qualified("m1", john, emma))
	vj, ve = d.visit(t, s, john), d.visit(t, s, emma)
	return d, q, s, vj, ve, a.remote(t, d, vj, 30*24*time.Hour), a.remote(t, d, ve, 30*24*time.Hour)
}

func qualified(id string, signatories ...workflow.Person) workflow.Opening {
	o := opening(id, signatories...)
	o.Level = workflow.Qualified
	return o
}

func (a *authority) remote(t *testing.T, d *desk, v workflow.Visit, valid time.Duration) remote {
	t.Helper()
	key := newKey(t)
	ca, err := x509.ParseCertificate(a.cert)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(0xb000 + a.serials.Add(1)),
		Subject: pkix.Name{CommonName: v.Who().Name}, NotBefore: d.Now().Add(-time.Hour), NotAfter: d.Now().Add(valid)}, ca, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return remote{&device{key: key}, workflow.Offer{By: "Example Trust", Credential: "key of " + v.Who().Name, Algorithm: "ES256", Chain: [][]byte{leaf, a.cert}}}
}

func (d *desk) prepareWith(t *testing.T, v workflow.Visit, k remote) (*workflow.Preparation, error) {
	t.Helper()
	return d.PrepareOffer(t.Context(), v, d.shown(t, v), workflow.Appearance{Typed: v.Who().Name}, k.offer, "127.0.0.1")
}

func (d *desk) mustPrepareWith(t *testing.T, v workflow.Visit, k remote) *workflow.Preparation {
	t.Helper()
	p, err := d.prepareWith(t, v, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (d *desk) finishWith(t *testing.T, v workflow.Visit, k remote, p *workflow.Preparation) error {
	t.Helper()
	return d.FinishOffer(t.Context(), v, p.ID, k.values(t, p), "127.0.0.1")
}

func (d *desk) last(t *testing.T, id string) workflow.Event {
	t.Helper()
	events, err := d.store.Events(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return events[len(events)-1]
}

// Two sign one after the other; what was decided about their certificates stays.
func TestQualifiedSession(t *testing.T) {
	d, _, s, vj, ve, kj, ke := qualifiedDesk(t)
	for _, c := range []struct {
		v workflow.Visit
		k remote
	}{{vj, kj}, {ve, ke}} {
		p := d.mustPrepareWith(t, c.v, c.k)
		again, q, err := d.Prepared(t.Context(), c.v, p.ID)
		if err != nil || again.ID != p.ID || string(again.Documents[0].Attributes) != string(p.Documents[0].Attributes) || again.Documents[0].Suffix != nil {
			t.Fatalf("prepared again: %+v, %v", again, err)
		}
		want(t, "who vouches", []string{q.By, q.Credential, q.Algorithm, q.Vouched}, []string{"Example Trust", c.k.offer.Credential, "ES256", "trusted list of Nowhere"})
		if err := d.finishWith(t, c.v, c.k, p); err != nil {
			t.Fatal(err)
		}
		if e := d.last(t, s.ID); e.Detail["signed with"] != "Example Trust" || e.Detail["vouched for"] != "trusted list of Nowhere" || !strings.Contains(e.Detail["subject"], c.v.Who().Name) {
			t.Errorf("on record: %+v", e)
		}
		if err := d.run(t, s.ID, workflow.JobSign); err != nil {
			t.Fatal(err)
		}
	}
	s = d.session(t, s.ID)
	want(t, "state", s.State, workflow.Sealing)
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\nown emma@corp.test Emma Curie value\ndss\n")
	for _, i := range s.Signatories() {
		act := s.People[i].Act
		if act.Accepted == nil || len(act.Own) != 2 || act.Own[0].Certificate != act.Accepted.Serial || act.Proof.Method != "qualified signature" {
			t.Errorf("evidence of %s: %+v", s.People[i].Name, act)
		}
	}
}

// A level is never silently lowered, raised or exchanged, at either end.
func TestQualifiedIsKeptApart(t *testing.T) {
	d, q, s, vj, ve, kj, _ := qualifiedDesk(t)
	dev := d.enrol(t, vj, "phone")
	_, err := d.prepareAs(t, vj, dev)
	want(t, "a key of the organisation's", reason(err), "wrong-level")
	want(t, "a code", reason(d.Sign(t.Context(), ve, d.shown(t, ve), workflow.Appearance{Typed: "E"}, "", consume)), "wrong-level")
	p := d.mustPrepareWith(t, vj, kj)
	var n int
	want(t, "finished as Advanced", reason(d.Finish(t.Context(), vj, p.ID, kj.values(t, p), "", proving(p, &n))), "wrong-level")
	want(t, "state", d.session(t, s.ID).People[1].State, workflow.Waiting)
	want(t, "and still good", d.finishWith(t, vj, kj, p), nil)

	for name, o := range map[string]workflow.Opening{"standard": opening("m2", john), "advanced": advanced("m3", john)} {
		other := open(t, d, o)
		v := d.visit(t, other, john)
		asked := q.asked
		_, err := d.prepareWith(t, v, kj)
		want(t, name, reason(err), map[string]string{"standard": "wrong-level", "advanced": "level-unavailable"}[name])
		want(t, name+": nobody was asked about the certificate", q.asked, asked)
		if name == "advanced" {
			p := d.mustPrepare(t, v, dev)
			want(t, "finished as Qualified", reason(d.FinishOffer(t.Context(), v, p.ID, dev.values(t, p), "")), "wrong-level")
			want(t, "and still good", d.finishAs(t, v, dev, p), nil)
		}
	}
	d.Acceptors = nil
	_, err = d.prepareWith(t, ve, kj)
	want(t, "where it is not set up", reason(err), "level-unavailable")
}

// Why a certificate was not taken stands on record, and the head is free.
func TestAcceptorRefuses(t *testing.T) {
	d, q, s, vj, ve, kj, ke := qualifiedDesk(t)
	for _, why := range []string{"no-qscd", "wrong-person", "certificate-revoked", "revocation-unknown"} {
		q.err = &workflow.Refusal{Code: 550, Reason: why, Text: "Not this one."}
		_, err := d.prepareWith(t, vj, kj)
		want(t, "prepare", reason(err), why)
		e := d.last(t, s.ID)
		want(t, "on record", []string{string(e.Kind), e.Actor, e.Client, e.Detail["reason"]}, []string{"refused", vj.Who().Mail, "127.0.0.1", why})
		want(t, "lease", d.session(t, s.ID).Lease, workflow.Lease{})
	}
	q.err = errors.New("out of order")
	if _, err := d.prepareWith(t, vj, kj); !errors.Is(err, q.err) {
		t.Errorf("a failure of ours: %v", err)
	}
	q.err = nil
	want(t, "a colleague", d.finishWith(t, ve, ke, d.mustPrepareWith(t, ve, ke)), nil)
}

// What is not the signatory's own value over what was prepared is not kept, and uses
// nothing up.
func TestFinishQualifiedRefuses(t *testing.T) {
	d, _, s, vj, ve, kj, ke := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	good := kj.values(t, p)
	other := *p
	other.Documents = slices.Clone(p.Documents)
	other.Documents[0].Attributes = []byte("attributes of something else")
	for name, c := range map[string]struct {
		v      workflow.Visit
		id     string
		values [][]byte
		wants  string
	}{
		"over other attributes":  {vj, p.ID, kj.values(t, &other), "bad-value"},
		"in the wrong order":     {vj, p.ID, [][]byte{good[1], good[0]}, "bad-value"},
		"twice the same":         {vj, p.ID, [][]byte{good[0], good[0]}, "bad-value"},
		"by a colleague's key":   {vj, p.ID, ke.values(t, p), "bad-value"},
		"too few":                {vj, p.ID, good[:1], "wrong-values"},
		"too many":               {vj, p.ID, append(slices.Clone(good), good[0]), "wrong-values"},
		"none":                   {vj, p.ID, nil, "wrong-values"},
		"empty":                  {vj, p.ID, [][]byte{{}, {}}, "bad-value"},
		"garbage":                {vj, p.ID, [][]byte{[]byte("x"), []byte("y")}, "bad-value"},
		"somebody else's":        {ve, p.ID, good, "preparation-gone"},
		"no such preparation":    {vj, "nonsense", good, "preparation-gone"},
		"by the one in the copy": {d.visit(t, s, carl), p.ID, good, "not-signatory"},
	} {
		want(t, name, reason(d.FinishOffer(t.Context(), c.v, c.id, c.values, "")), c.wants)
	}
	for _, v := range []workflow.Visit{ve, d.visit(t, s, carl)} {
		_, _, err := d.Prepared(t.Context(), v, p.ID)
		want(t, "somebody else's attributes", reason(err), "preparation-gone")
		if _, err = d.Leave(t.Context(), v, p.ID); err == nil {
			t.Error("somebody else's head is held")
		}
	}
	want(t, "revisions", len(d.session(t, s.ID).Documents[0].Revisions), 2)
	want(t, "the good ones", d.finishWith(t, vj, kj, p), nil)
}

// The document is not the one that was prepared any more.
func TestFinishQualifiedOverSwappedDocument(t *testing.T) {
	d, _, s, vj, _, kj, _ := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	if err := d.store.Do(t.Context(), func(tx workflow.Tx) error {
		s, err := tx.Session(s.ID)
		if err != nil {
			return err
		}
		s.Documents[0].Revisions[len(s.Documents[0].Revisions)-1].SHA256[0]++
		return tx.Save(s)
	}); err != nil {
		t.Fatal(err)
	}
	want(t, "finish", reason(d.finishWith(t, vj, kj, p)), "preparation-gone")
	want(t, "state", d.session(t, s.ID).People[1].State, workflow.Waiting)
}

// What was handed in once, or all of it at the same moment, signs once.
func TestReplayedFinishQualified(t *testing.T) {
	d, _, s, vj, _, kj, _ := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	values, answers := kj.values(t, p), make(chan error)
	for range 4 {
		go func() { answers <- d.FinishOffer(t.Context(), vj, p.ID, values, "") }()
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
	want(t, "after it is done", reason(d.FinishOffer(t.Context(), vj, p.ID, values, "")), "already-decided")
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\n")
}

// The certificate ends while its person is asked.
func TestQualifiedCertificateEndsBeforeFinish(t *testing.T) {
	d, a := ownDesk(t)
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: &vetting{}}
	s := open(t, d, qualified("m1", john, emma))
	vj, ve := d.visit(t, s, john), d.visit(t, s, emma)
	kj := a.remote(t, d, vj, 30*time.Second)
	p := d.mustPrepareWith(t, vj, kj)
	d.tick(31 * time.Second)
	want(t, "finish", reason(d.finishWith(t, vj, kj, p)), "certificate-expired")
	_, err := d.prepareWith(t, vj, kj)
	want(t, "prepare with it", reason(err), "certificate-expired")
	if trail := d.trail(t, s.ID); !strings.Contains(trail, "refused:certificate-expired") {
		t.Errorf("not on record: %s", trail)
	}
	d.tick(time.Minute)
	d.mustPrepareWith(t, ve, a.remote(t, d, ve, time.Hour)) // nobody is in the way
}

// While somebody is at the provider's page, the head is theirs until the
// preparation's end, also when a page that is still open says that it is.
func TestAwayAtTheProvider(t *testing.T) {
	d, _, _, vj, ve, kj, ke := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	d.tick(30 * time.Second)
	until, err := d.Leave(t.Context(), vj, p.ID)
	if end := d.Now().Add(workflow.PreparationTime - 30*time.Second); err != nil || !until.Equal(end) {
		t.Fatalf("away until %s, want %s: %v", until, end, err)
	}
	again, err := d.Keep(t.Context(), vj, p.ID)
	if err != nil || !again.Equal(until) {
		t.Errorf("a page that keeps shortens it from %s to %s: %v", until, again, err)
	}
	d.tick(9 * time.Minute)
	_, err = d.prepareWith(t, ve, ke)
	want(t, "emma meanwhile", reason(err), "busy")
	d.tick(31 * time.Second)
	pe := d.mustPrepareWith(t, ve, ke)
	want(t, "john, too late", reason(d.finishWith(t, vj, kj, p)), "preparation-gone")
	want(t, "emma", d.finishWith(t, ve, ke, pe), nil)
}

// Whoever comes back without a signature lets the colleague go on.
func TestBackWithoutSignature(t *testing.T) {
	d, _, _, vj, ve, kj, ke := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	if _, err := d.Leave(t.Context(), vj, p.ID); err != nil {
		t.Fatal(err)
	}
	want(t, "abandon", d.Abandon(t.Context(), vj, p.ID, "", ""), nil)
	_, err := d.Leave(t.Context(), vj, p.ID)
	want(t, "leaving again", reason(err), "preparation-gone")
	want(t, "emma", d.finishWith(t, ve, ke, d.mustPrepareWith(t, ve, ke)), nil)
}

// Two tabs: what the provider signs for the older one is not taken.
func TestNewerQualifiedPreparationReplaces(t *testing.T) {
	d, _, s, vj, _, kj, _ := qualifiedDesk(t)
	old := d.mustPrepareWith(t, vj, kj)
	if _, err := d.Leave(t.Context(), vj, old.ID); err != nil {
		t.Fatal(err)
	}
	newer := d.mustPrepareWith(t, vj, kj)
	_, _, err := d.Prepared(t.Context(), vj, old.ID)
	want(t, "the older one's attributes", reason(err), "preparation-gone")
	want(t, "the older one", reason(d.finishWith(t, vj, kj, old)), "preparation-gone")
	want(t, "its values for the newer one", reason(d.FinishOffer(t.Context(), vj, newer.ID, kj.values(t, old), "")), "<nil>") // the same attributes
	want(t, "trail", d.trail(t, s.ID), "opened prepared prepared-own abandoned prepared-own refused:preparation-gone signed")
}

// The session ends while somebody is at the provider's page.
func TestEndedWhileAway(t *testing.T) {
	for name, end := range map[string]func(d *desk, v workflow.Visit) error{
		"deadline":  func(d *desk, v workflow.Visit) error { d.tick(2 * time.Minute); return nil },
		"declined":  func(d *desk, v workflow.Visit) error { return d.Decline(context.Background(), v, "", "") },
		"cancelled": func(d *desk, v workflow.Visit) error { return d.Cancel(context.Background(), v.Session.ID, "") },
	} {
		d, _, _, vj, ve, kj, _ := qualifiedDesk(t)
		d.tick(14*24*time.Hour - time.Minute)
		p := d.mustPrepareWith(t, vj, kj)
		if _, err := d.Leave(t.Context(), vj, p.ID); err != nil {
			t.Fatal(err)
		}
		if err := end(d, ve); err != nil {
			t.Fatal(err)
		}
		want(t, name, reason(d.finishWith(t, vj, kj, p)), "ended")
	}
}

// A crash between finish and job: another process carries on, once.
func TestQualifiedJobCarriesOn(t *testing.T) {
	d, _, s, vj, ve, kj, ke := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	if err := d.finishWith(t, vj, kj, p); err != nil {
		t.Fatal(err)
	}
	job := workflow.Job{Kind: workflow.JobSign, Session: s.ID, Person: 1, Preparation: p.ID}
	inside, leave := d.pause()
	died := make(chan error)
	go func() { died <- d.Run(t.Context(), job) }()
	<-inside
	d.tick(5 * time.Minute)
	d.Desk = &workflow.Desk{Store: d.store, Signer: d.signer, Reporter: d.signer, Notifier: d, Secrets: d.Secrets, Log: d.Log, Now: d.Desk.Now,
		Policy: d.Policy, Certifier: d.Certifier, Acceptors: d.Acceptors} // all that was in memory is gone
	_, err := d.prepareWith(t, ve, ke)
	want(t, "emma before that", reason(err), "busy")
	if err := d.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	close(leave)
	if err := <-died; err != nil {
		t.Errorf("the late one: %v", err)
	}
	want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\n")
	want(t, "emma", d.finishWith(t, ve, ke, d.mustPrepareWith(t, ve, ke)), nil)
}

// A qualified certificate that is revoked, or ends, before the signature has its time.
func TestQualifiedAskedAgain(t *testing.T) {
	for _, why := range []string{"certificate-revoked", "certificate-expired", "signature-outgrown"} {
		t.Run(why, func(t *testing.T) {
			d, _, s, vj, _, kj, _ := qualifiedDesk(t)
			d.run(t, s.ID, workflow.JobMail)
			d.mails()
			if err := d.finishWith(t, vj, kj, d.mustPrepareWith(t, vj, kj)); err != nil {
				t.Fatal(err)
			}
			d.signer.fail = fmt.Errorf("completing: %w", &workflow.Refusal{Code: 450, Reason: why, Text: "Please sign again."})
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			d.signer.fail = nil
			p := d.session(t, s.ID).People[1]
			want(t, "john", []any{p.State, p.Act, p.Again}, []any{workflow.Waiting, (*workflow.Act)(nil), why})
			e := d.last(t, s.ID)
			want(t, "on record", []string{string(e.Kind), e.Detail["reason"], e.Detail["certificate"]}, []string{"again", why, kj.serialOf(t)})
			d.run(t, s.ID, workflow.JobMail)
			want(t, "mails", d.mails(), []string{"again to john.doe@corp.test, 0 files"})
			if err := d.finishWith(t, vj, kj, d.mustPrepareWith(t, vj, kj)); err != nil {
				t.Fatal(err)
			}
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\nown john.doe@corp.test John Doe value\ndss\n")
		})
	}
}

func (k remote) serialOf(t *testing.T) string {
	t.Helper()
	c, err := x509.ParseCertificate(k.offer.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c.SerialNumber.Text(16)
}
