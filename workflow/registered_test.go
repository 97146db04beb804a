package workflow_test

import (
	"strings"
	"testing"

	"milterd/workflow"
)

// registered are a person's registered certificates, removed ones too.
func (d *desk) registered(t *testing.T, mail string) (out []*workflow.Credential) {
	t.Helper()
	all, err := d.store.Credentials(t.Context(), mail)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Kind == workflow.QualifiedCertificate {
			out = append(out, c)
		}
	}
	return out
}

// A certificate is registered when its signature is finished: on record, its person told,
// once; and what was removed does not come back by itself.
func TestRegisteredAtFirstUse(t *testing.T) {
	d, q, s, vj, _, kj, _ := qualifiedDesk(t)
	q.register = workflow.RegisterAlways
	p := d.mustPrepareWith(t, vj, kj)
	want(t, "only prepared", len(d.registered(t, john.Mail)), 0)
	want(t, "finish", d.finishWith(t, vj, kj, p), nil)
	all := d.registered(t, john.Mail)
	if len(all) != 1 || string(all[0].Data) != string(kj.offer.Chain[0]) || all[0].ApprovedBy != "first signature" || !strings.HasPrefix(all[0].Name, "John Doe, ") {
		t.Fatalf("registered: %+v", all)
	}
	events, err := d.store.Events(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range events {
		if e.Kind == workflow.EventRegistered {
			n++
			want(t, "on record", []string{e.Actor, e.Client, e.Detail["credential"], e.Detail["approved by"]}, []string{john.Mail, "127.0.0.1", all[0].ID, "first signature"})
		}
	}
	want(t, "on record", n, 1)
	want(t, "log", d.log(t), "registered")
	if err := d.run(t, s.ID, workflow.JobMail); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, m := range d.sent {
		if m.Kind == workflow.MailEnrolled {
			told++
			if m.Recipient().Mail != john.Mail || m.Credential.ID != all[0].ID {
				t.Errorf("told: %+v", m)
			}
		}
	}
	want(t, "told", told, 1)

	// The next signature finds it, whatever the qualifier thinks.
	next := open(t, d, qualified("m2", john))
	v := d.visit(t, next, john)
	want(t, "again", d.finishWith(t, v, kj, d.mustPrepareWith(t, v, kj)), nil)
	want(t, "still one", len(d.registered(t, john.Mail)), 1)

	// Removed while a signature was prepared: that one is not taken, and nothing comes back.
	last := open(t, d, qualified("m3", john))
	v = d.visit(t, last, john)
	p = d.mustPrepareWith(t, v, kj)
	want(t, "remove", d.RemoveDevice(t.Context(), v, all[0].ID, "127.0.0.1"), nil)
	want(t, "after it was removed", reason(d.finishWith(t, v, kj, p)), "certificate-removed")
	want(t, "not signed", d.session(t, last.ID).People[1].State, workflow.Waiting)
	all = d.registered(t, john.Mail)
	if len(all) != 1 || all[0].Revoked.IsZero() {
		t.Errorf("after a removal: %+v", all)
	}
}

// A mailbox alone never registers what only a name recognises: not without a device, not with one
// that was removed, not with somebody else's, and not with a certificate in a device's place.
func TestNamesakeIsNotRegistered(t *testing.T) {
	d, q, _, vj, ve, kj, ke := qualifiedDesk(t)
	q.register = workflow.RegisterAtDevice
	phone, lost, emmas := d.enrol(t, vj, "phone"), d.enrol(t, vj, "lost"), d.enrol(t, ve, "emma's")
	want(t, "remove", d.RemoveDevice(t.Context(), vj, lost.credential, ""), nil)
	for i, c := range []struct {
		device string
		wants  int
	}{{"", 0}, {"nothing", 0}, {lost.credential, 0}, {emmas.credential, 0}, {phone.credential, 1}, {phone.credential, 1}} {
		v := d.visit(t, open(t, d, qualified("n"+string(rune('0'+i)), john)), john)
		p := d.mustPrepareWith(t, v, kj)
		v.Device = c.device
		want(t, "signing at "+c.device, d.finishWith(t, v, kj, p), nil)
		want(t, "registered at "+c.device, len(d.registered(t, john.Mail)), c.wants)
	}
	// What was prepared before another certificate was known is not finished after it; not by a
	// certificate in a device's place, and not after that one was removed.
	own := d.registered(t, john.Mail)[0]
	for i, between := range []func(){func() {}, func() {
		want(t, "remove", d.RemoveDevice(t.Context(), vj, own.ID, ""), nil)
	}} {
		v := d.visit(t, open(t, d, qualified("o"+string(rune('0'+i)), john)), john)
		p := d.mustPrepareWith(t, v, ke) // a namesake's
		between()
		v.Device = own.ID
		want(t, "a namesake, prepared before", reason(d.finishWith(t, v, ke, p)), "certificate-not-registered")
	}
	want(t, "registered", len(d.registered(t, john.Mail)), 1)
}

// An administrator registers and takes away; the person can sign no more by it.
func TestAdministratorRegisters(t *testing.T) {
	d, _, _, vj, _, kj, _ := qualifiedDesk(t)
	c, err := d.RegisterCertificate(t.Context(), "John.Doe@corp.test", kj.offer.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.RegisterCertificate(t.Context(), john.Mail, kj.offer.Chain[0])
	want(t, "twice", reason(err), "certificate-known")
	if _, err := d.RegisterCertificate(t.Context(), john.Mail, []byte("no certificate")); err == nil {
		t.Error("garbage is registered")
	}
	all, err := d.store.Credentials(t.Context(), john.Mail)
	if err != nil {
		t.Fatal(err)
	}
	now, removed := workflow.Registered(all)
	want(t, "registered", []int{len(now), len(removed)}, []int{1, 0})
	phone := d.enrol(t, vj, "phone")
	want(t, "a device is no certificate", d.UnregisterCertificate(t.Context(), phone.credential), workflow.ErrNotFound)
	want(t, "unregister", d.UnregisterCertificate(t.Context(), c.ID), nil)
	if all, err = d.store.Credentials(t.Context(), john.Mail); err != nil {
		t.Fatal(err)
	}
	now, removed = workflow.Registered(all)
	want(t, "unregistered", []int{len(now), len(removed)}, []int{0, 1})
	if _, err := d.RegisterCertificate(t.Context(), john.Mail, kj.offer.Chain[0]); err != nil {
		t.Errorf("again: %v", err)
	}
	if all, err = d.store.Credentials(t.Context(), john.Mail); err != nil {
		t.Fatal(err)
	}
	now, removed = workflow.Registered(all)
	want(t, "again", []int{len(now), len(removed)}, []int{1, 0})
}
