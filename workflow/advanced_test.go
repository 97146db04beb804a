package workflow_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

// phoneDesk is a session at level Advanced of John, who has a device, and Emma, who has
// never enrolled one: her phone signs.
func phoneDesk(t *testing.T) (d *desk, q *vetting, s *workflow.Session, vj, ve workflow.Visit, dev *device, phone remote) {
	t.Helper()
	d, a := ownDesk(t)
	q = &vetting{level: workflow.Advanced}
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Advanced: q}
	s = open(t, d, advanced("m1", john, emma))
	vj, ve = d.visit(t, s, john), d.visit(t, s, emma)
	return d, q, s, vj, ve, d.enrol(t, vj, "phone"), a.phone(t, d, ve)
}

// phone is somebody's, asked by a server that gets the documents.
func (a *authority) phone(t *testing.T, d *desk, v workflow.Visit) remote {
	t.Helper()
	k := a.remote(t, d, v, 30*24*time.Hour)
	k.offer = workflow.Offer{By: "Corp Phones", Whole: true, Chain: k.offer.Chain}
	return k
}

// onPhone has it prepared and made, up to the job.
func (d *desk) onPhone(t *testing.T, v workflow.Visit, k remote) *workflow.Preparation {
	t.Helper()
	p := d.mustPrepareWith(t, v, k.oneShot())
	if err := d.FinishOffer(t.Context(), v, p.ID, k.make(t, k.offer.Chain, p), "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	return p
}

// One signs on her phone, the other with his device, in either order; each has its evidence.
func TestAdvancedOnPhone(t *testing.T) {
	for _, first := range []string{"the phone first", "the device first"} {
		t.Run(first, func(t *testing.T) {
			d, q, s, vj, ve, dev, phone := phoneDesk(t)
			if first == "the device first" {
				d.signOwn(t, vj, dev)
				if err := d.run(t, s.ID, workflow.JobSign); err != nil {
					t.Fatal(err)
				}
			}
			p := d.onPhone(t, ve, phone)
			want(t, "asked about the certificate", q.asked, 1)
			e := d.last(t, s.ID)
			if e.Kind != workflow.EventSigned || e.Actor != emma.Mail || e.Detail["proof"] != "advanced signature" || e.Detail["challenge"] != p.ID || e.Detail["signed with"] != "Corp Phones" ||
				e.Detail["certificate"] != phone.serialOf(t) || e.Detail["vouched for"] != "trusted list of Nowhere" || e.Detail["issuer"] != "CN=Corp CA" {
				t.Errorf("on record: %+v", e)
			}
			want(t, "registered, though it serves once", len(d.registered(t, emma.Mail)), 0)
			if err := d.run(t, s.ID, workflow.JobSign); err != nil {
				t.Fatal(err)
			}
			if first == "the phone first" {
				d.signOwn(t, vj, dev)
				if err := d.run(t, s.ID, workflow.JobSign); err != nil {
					t.Fatal(err)
				}
			}
			s = d.session(t, s.ID)
			want(t, "state", s.State, workflow.Sealing)
			hers, his := s.People[ve.Person].Act, s.People[vj.Person].Act
			if a := hers.Accepted; a == nil || a.Level != workflow.Advanced || a.By != "Corp Phones" || a.Algorithm != "ES256" || hers.Own[0].Certificate != a.Serial || hers.Proof.Assertion != nil {
				t.Errorf("hers: %+v", hers)
			}
			if his.Accepted != nil || his.Own[0].Certificate != dev.serial || his.Proof.Method != "passkey" {
				t.Errorf("his: %+v", his)
			}
			made := fmt.Sprintf("signed elsewhere by %x value\ndss\n", sha256.Sum256(phone.offer.Chain[0]))
			own := "own john.doe@corp.test John Doe value\ndss\n"
			if first == "the device first" {
				made, own = own, made
			}
			want(t, "contract", d.content(t, s.ID, 0), "contract\nlayout\n"+made+own)
			ev, err := d.Evidence(t.Context(), s.ID)
			if err != nil || len(ev.Certificates) != 1 || ev.Certificates[0].Serial != dev.serial {
				t.Errorf("certificates in the evidence: %+v, %v", ev, err)
			}
		})
	}
}

// While one is asked on her phone, the other waits; a no gives the documents back.
func TestAdvancedOnPhoneWaits(t *testing.T) {
	d, _, s, vj, ve, dev, phone := phoneDesk(t)
	p := d.mustPrepareWith(t, ve, phone.oneShot())
	if _, err := d.Leave(t.Context(), ve, p.ID); err != nil {
		t.Fatal(err)
	}
	_, err := d.prepareAs(t, vj, dev)
	want(t, "he meanwhile", reason(err), "busy")
	no := &workflow.Refusal{Code: 550, Reason: "openotp-denied", Text: "No."}
	want(t, "she says no on her phone", reason(d.Refused(t.Context(), ve, p.ID, "", no)), "openotp-denied")
	want(t, "on record", d.last(t, s.ID).Detail["reason"], "openotp-denied")
	want(t, "she has declined nothing", d.session(t, s.ID).People[ve.Person].State, workflow.Waiting)
	if err := d.Abandon(t.Context(), ve, p.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	d.signOwn(t, vj, dev)
	want(t, "what the phone made after that", reason(d.FinishOffer(t.Context(), ve, p.ID, phone.make(t, phone.offer.Chain, p), "")), "preparation-gone")
}

// Neither way is taken for the other, nor one level's certificate for another's.
func TestAdvancedOnPhoneSwapped(t *testing.T) {
	d, q, s, vj, ve, dev, phone := phoneDesk(t)
	var asked int
	p := d.mustPrepareWith(t, ve, phone.oneShot())
	good := phone.make(t, phone.offer.Chain, p)
	want(t, "finished as her device's", reason(d.Finish(t.Context(), ve, p.ID, good, "", proving(p, &asked))), "wrong-level")
	want(t, "finished by a colleague", reason(d.FinishOffer(t.Context(), vj, p.ID, good, "")), "preparation-gone")
	q.level = workflow.Qualified
	if err := d.FinishOffer(t.Context(), ve, p.ID, good, ""); err == nil || !strings.Contains(err.Error(), `taken for level "Qualified", not "Advanced"`) {
		t.Errorf("accepted for another level: %v", err)
	}
	q.level = workflow.Advanced
	q.err = &workflow.Refusal{Code: 550, Reason: "wrong-person", Text: "Not hers."}
	want(t, "a colleague's certificate", reason(d.FinishOffer(t.Context(), ve, p.ID, good, "127.0.0.1")), "wrong-person")
	e := d.last(t, s.ID)
	want(t, "on record", []string{string(e.Kind), e.Actor, e.Detail["reason"], e.Detail["preparation"]}, []string{"refused", emma.Mail, "wrong-person", p.ID})
	now := d.session(t, s.ID)
	want(t, "kept", []any{now.People[ve.Person].State, now.People[ve.Person].Act, len(now.Documents[0].Revisions)}, []any{workflow.Waiting, (*workflow.Act)(nil), 2})
	q.err = nil
	all := d.Acceptors
	d.Acceptors = map[workflow.Level]workflow.Acceptor{workflow.Qualified: q}
	want(t, "not offered any more", reason(d.FinishOffer(t.Context(), ve, p.ID, good, "")), "level-unavailable")
	_, err := d.prepareWith(t, ve, phone.oneShot())
	want(t, "nor to begin with", reason(err), "level-unavailable")
	d.Acceptors = all
	want(t, "the good one", reason(d.FinishOffer(t.Context(), ve, p.ID, good, "")), "<nil>")
	if err := d.run(t, s.ID, workflow.JobSign); err != nil {
		t.Fatal(err)
	}
	own := d.mustPrepare(t, vj, dev)
	want(t, "his device's finished as a phone's", reason(d.FinishOffer(t.Context(), vj, own.ID, dev.values(t, own), "")), "wrong-level")
	want(t, "and still good", d.finishAs(t, vj, dev, own), nil)

	other := open(t, d, qualified("m2", emma))
	v := d.visit(t, other, emma)
	_, err = d.prepareWith(t, v, phone.oneShot())
	want(t, "at level Qualified, where only Advanced takes any", reason(err), "level-unavailable")
	standard := open(t, d, opening("m3", emma))
	_, err = d.prepareWith(t, d.visit(t, standard, emma), phone.oneShot())
	want(t, "at level Standard", reason(err), "wrong-level")
}
