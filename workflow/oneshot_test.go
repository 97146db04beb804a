package workflow_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// oneShot is the key's certificate made for each signature: nobody knows it before.
func (k remote) oneShot() remote {
	k.offer.Chain = nil
	return k
}

// make is what the provider makes of digests, with this key's certificate.
func (k remote) make(t *testing.T, chain [][]byte, p *workflow.Preparation) (out [][]byte) {
	t.Helper()
	for _, doc := range p.Documents {
		m := made{Chain: chain, Digest: doc.Digest, Attributes: append([]byte("made over "), doc.Digest...)}
		digest := sha256.Sum256(m.Attributes)
		var err error
		if m.Value, err = ecdsa.SignASN1(rand.Reader, k.key, digest[:]); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// The certificate comes with the signature, is decided about then, and stays as evidence.
func TestOneShotSession(t *testing.T) {
	d, q, s, vj, ve, kj, ke := qualifiedDesk(t)
	q.register = workflow.RegisterAlways
	for _, c := range []struct {
		v workflow.Visit
		k remote
	}{{vj, kj}, {ve, ke}} {
		asked := q.asked
		p := d.mustPrepareWith(t, c.v, c.k.oneShot())
		want(t, "asked about a certificate before there is one", q.asked, asked)
		e := d.last(t, s.ID)
		if e.Kind != workflow.EventOwnPrepared || e.Detail["certificate"] != "comes with the signature" || e.Detail["signed with"] != "Example Trust" ||
			len(e.Detail["document 1 byte range digest"]) != 64 || e.Detail["document 1 attributes sha-256"] != "" {
			t.Errorf("on record: %+v", e)
		}
		again, o, err := d.Prepared(t.Context(), c.v, p.ID)
		if err != nil || string(again.Documents[0].Digest) != string(p.Documents[0].Digest) || len(again.Documents[0].Attributes) > 0 || len(o.Chain) > 0 ||
			o.By != "Example Trust" || o.Credential != c.k.offer.Credential || o.Algorithm != "ES256" {
			t.Fatalf("prepared again: %+v, %+v, %v", again, o, err)
		}
		if err := d.FinishOffer(t.Context(), c.v, p.ID, c.k.make(t, c.k.offer.Chain, p), "127.0.0.1"); err != nil {
			t.Fatal(err)
		}
		want(t, "asked", q.asked, asked+1)
		want(t, "registered, though it serves once", len(d.registered(t, c.v.Who().Mail)), 0)
		e = d.last(t, s.ID)
		if e.Kind != workflow.EventSigned || e.Detail["certificate"] != c.k.serialOf(t) || e.Detail["vouched for"] != "trusted list of Nowhere" || len(e.Detail["document 1 attributes sha-256"]) != 64 {
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
		if act.Accepted == nil || len(act.Accepted.Chain) != 2 || len(act.Own) != 2 || act.Own[0].Certificate != act.Accepted.Serial ||
			len(act.Own[1].Attributes) == 0 || act.Accepted.By != "Example Trust" || act.Accepted.Algorithm != "ES256" {
			t.Errorf("evidence of %s: %+v", s.People[i].Name, act)
		}
	}
}

// What comes is not taken: the reason is on record, nothing is kept, and the same
// preparation can still be signed as it should.
func TestOneShotRefuses(t *testing.T) {
	d, q, s, vj, _, kj, ke := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj.oneShot())
	good := kj.make(t, kj.offer.Chain, p)
	elsewhere := *p
	elsewhere.Documents = slices.Clone(p.Documents)
	elsewhere.Documents[0].Digest = make([]byte, 32)
	for name, c := range map[string]struct {
		made  [][]byte
		vet   string
		wants string
	}{
		"over other bytes":                    {kj.make(t, kj.offer.Chain, &elsewhere), "", "foreign-signature"},
		"in another order":                    {[][]byte{good[1], good[0]}, "", "foreign-signature"},
		"by another key":                      {ke.make(t, kj.offer.Chain, p), "", "foreign-signature"},
		"too few":                             {good[:1], "", "wrong-values"},
		"values where the whole was awaited":  {kj.values(t, p), "", "foreign-signature"},
		"different certificates":              {[][]byte{good[0], ke.make(t, ke.offer.Chain, p)[1]}, "", "several-certificates"},
		"somebody else's":                     {ke.make(t, ke.offer.Chain, p), "wrong-person", "wrong-person"},
		"no device":                           {good, "no-qscd", "no-qscd"},
		"expired":                             {good, "certificate-expired", "certificate-expired"},
		"revoked between making and deciding": {good, "certificate-revoked", "certificate-revoked"},
	} {
		q.err = nil
		if c.vet != "" {
			q.err = &workflow.Refusal{Code: 550, Reason: c.vet, Text: "Not this one."}
		}
		want(t, name, reason(d.FinishOffer(t.Context(), vj, p.ID, c.made, "127.0.0.1")), c.wants)
		e := d.last(t, s.ID)
		want(t, name+", on record", []string{string(e.Kind), e.Detail["reason"], e.Detail["preparation"]}, []string{"refused", c.wants, p.ID})
		now := d.session(t, s.ID)
		want(t, name+", kept", []any{now.People[1].State, now.People[1].Act, len(now.Documents[0].Revisions)}, []any{workflow.Waiting, (*workflow.Act)(nil), 2})
		kept, err := d.store.Ceremony(t.Context(), p.ID, d.Now())
		if err != nil || strings.Contains(string(kept.Data), `"made"`) || strings.Contains(string(kept.Data), `"value"`) {
			t.Errorf("%s: %s, %v", name, kept.Data, err)
		}
	}
	q.err = nil
	all := d.Acceptors
	d.Acceptors = nil
	want(t, "level taken away", reason(d.FinishOffer(t.Context(), vj, p.ID, good, "")), "level-unavailable")
	d.Acceptors = all
	want(t, "the good one", reason(d.FinishOffer(t.Context(), vj, p.ID, good, "")), "<nil>")
}

// The certificate ends between the decision and the transaction that keeps it.
func TestOneShotEnded(t *testing.T) {
	d, a := ownDesk(t)
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: &vetting{}}
	s := open(t, d, qualified("m1", john))
	v := d.visit(t, s, john)
	k := a.remote(t, d, v, time.Second)
	p := d.mustPrepareWith(t, v, k.oneShot())
	d.tick(2 * time.Second)
	want(t, "finish", reason(d.FinishOffer(t.Context(), v, p.ID, k.make(t, k.offer.Chain, p), "")), "certificate-expired")
}

// What is no PDF is refused before anything is prepared.
func TestOneShotSignsPDFsOnly(t *testing.T) {
	d, a := ownDesk(t)
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: &vetting{}}
	o := qualified("m1", john)
	o.Documents = append(o.Documents, workflow.NewDocument{Name: "letter.txt", Content: []byte("letter\n"), Form: workflow.ASiC, Type: "text/plain"})
	s := open(t, d, o)
	v := d.visit(t, s, john)
	_, err := d.prepareWith(t, v, a.remote(t, d, v, time.Hour).oneShot())
	want(t, "prepare", reason(err), "pdf-only")
	want(t, "lease", d.session(t, s.ID).Lease, workflow.Lease{})
	if trail := d.trail(t, s.ID); !strings.HasSuffix(trail, "refused:pdf-only") {
		t.Errorf("on record: %s", trail)
	}
}

// Refusals by others stand on record; that they are away says nothing.
func TestRefusedElsewhere(t *testing.T) {
	d, _, s, vj, _, kj, _ := qualifiedDesk(t)
	p := d.mustPrepareWith(t, vj, kj)
	for reason, noted := range map[string]bool{"qtsp-signature": true, "authorisation-denied": true, "qtsp-away": false, "qtsp-busy": false} {
		before := d.trail(t, s.ID)
		err := &workflow.Refusal{Code: 450, Reason: reason, Text: "So."}
		if got := d.Refused(t.Context(), vj, p.ID, "127.0.0.1", err); got != error(err) {
			t.Errorf("%s: %v", reason, got)
		}
		want(t, reason, d.trail(t, s.ID) == before+" refused:"+reason, noted)
	}
}

// A document that is given away: nothing is written, and its bytes are what is signed.
func TestGivenAway(t *testing.T) {
	d, q, s, vj, _, kj, _ := qualifiedDesk(t)
	k := kj.oneShot()
	k.offer.Whole, k.offer.Algorithm = true, ""
	p := d.mustPrepareWith(t, vj, k)
	for i, doc := range p.Documents {
		b, err := d.PreparedContent(t.Context(), vj, p.ID, doc.Document)
		if err != nil || string(b) != d.content(t, s.ID, i) || len(doc.Digest) > 0 || len(doc.Attributes) > 0 {
			t.Fatalf("document %d was prepared as %q: %v", i+1, b, err)
		}
	}
	e := d.last(t, s.ID)
	if e.Detail["document 1 prepared sha-256"] == "" || e.Detail["document 1 byte range digest"] != "" {
		t.Errorf("on record: %v", e.Detail)
	}
	q.err = &workflow.Refusal{Code: 550, Reason: "no-qscd", Text: "Not this one."}
	want(t, "no device", reason(d.FinishOffer(t.Context(), vj, p.ID, kj.make(t, kj.offer.Chain, p), "")), "no-qscd")
	q.err = nil
	want(t, "finish", reason(d.FinishOffer(t.Context(), vj, p.ID, kj.make(t, kj.offer.Chain, p), "")), "<nil>")
	want(t, "algorithm", d.session(t, s.ID).People[1].Act.Accepted.Algorithm, "ES256")
}
