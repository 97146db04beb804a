package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// AgainTime is how long somebody has, at the least, who must sign once more:
// the deadline may have passed while the value waited for its time.
const AgainTime = 3 * 24 * time.Hour

// AgainReasons are why a signature that was made could not be completed, so that
// its signatory is asked once more.
var AgainReasons = []string{"certificate-expired", "certificate-revoked", "signature-outgrown", "preparation-gone"}

// Finish takes the values of a preparation, one for each of its documents in
// order. Each is checked before anything is kept; then, in one transaction:
// head, lease and certificate are as they were, consume uses up the proof, whose
// digests are SHA-256 of the Attributes, and values, act and job are stored. From
// there a value waits durably for its time.
//
// The *Refusal's Reason is "preparation-gone" (also: replaced, or a colleague
// took over after its time), "wrong-values", "bad-value", "no-certificate",
// "certificate-expired", "certificate-revoked", one of "not-signatory",
// "already-decided" (also for a replay), "ended", or comes from consume.
func (d *Desk) Finish(ctx context.Context, v Visit, id string, values [][]byte, client string, consume Consume) error {
	return d.noteRefusal(ctx, v, EventRefused, id, client, d.finishOwn(ctx, v, id, values, client, false, consume))
}

func (d *Desk) finishOwn(ctx context.Context, v Visit, id string, values [][]byte, client string, others bool, consume Consume) error {
	pr, err := d.preparation(ctx, v, id)
	var r *Refusal
	if errors.As(err, &r) && r.Reason == "preparation-gone" { // or is there a better reason?
		return d.decide(ctx, v, func(Tx, *Session, *Participant) error { return r })
	}
	if err != nil {
		return err
	}
	if len(values) != len(pr.Documents) {
		return refuse("wrong-values", fmt.Sprintf("%d signature values came for %d documents. Please sign again.", len(values), len(pr.Documents)), nil)
	}
	if others != (pr.Accepted != nil) {
		return wrongLevel()
	}
	late := pr.Accepted.late()
	if late {
		if err := d.take(ctx, v, pr, values); err != nil {
			return err
		}
	}
	for i, value := range values {
		if pr.Documents[i].Made != nil {
			continue
		}
		if err := d.Signer.CheckValue(&pr.Documents[i], value); err != nil {
			return err
		}
		pr.Documents[i].Value = value
	}
	key := ownKey{accepted: pr.Accepted}
	if key.accepted == nil {
		if key.cert, err = d.ownCertificate(ctx, v, pr.Certificate); err != nil {
			return err
		}
	}
	if key.level() != v.Session.Level {
		return wrongLevel()
	}
	return d.decide(ctx, v, func(tx Tx, s *Session, p *Participant) error {
		now := d.now()
		c, err := tx.Ceremony(id, now)
		if errors.Is(err, ErrNotFound) || err == nil && !pr.holds(s, v.Person, id) {
			return preparationGone()
		}
		if err != nil {
			return err
		}
		if err := key.usable(tx, now); err != nil {
			return err
		}
		if key.accepted != nil && !late { // what is made for one signature is used once
			if err := d.firstUse(tx, v, key.accepted, client); err != nil {
				return err
			}
		}
		proof, err := consume(tx, pr.digests())
		if err != nil {
			return err
		}
		p.Act = pr.act(id, proof, now)
		p.State, p.Decided, p.Again, s.Lease = Signing, now, "", Lease{}
		if c.Data, err = json.Marshal(pr); err != nil {
			return err
		}
		c.Expires = now.Add(valueTime)
		if err := tx.SaveCeremony(c); err != nil {
			return err
		}
		e := signed(s, p, client)
		e.Detail["preparation"] = id
		key.add(e.Detail)
		pr.addDigests(e.Detail, s)
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		if err := tx.Enqueue(Job{Kind: JobSign, Session: s.ID, Person: v.Person, Preparation: id}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// act is what stays of it as evidence.
func (pr *preparation) act(id string, proof Proof, now time.Time) *Act {
	a := &Act{Shown: pr.Shown, Appearance: pr.Appearance, Proof: proof, At: now, Preparation: id, Accepted: pr.Accepted}
	for i := range pr.Documents {
		p := &pr.Documents[i]
		a.Own = append(a.Own, SignedBy{Document: p.Document, Attributes: p.Attributes, Value: p.Value, Certificate: pr.Certificate})
	}
	return a
}

// complete is a Signer's part of a job for an own signature: one document. A
// *Refusal with one of AgainReasons means that the person must sign once more.
func (d *Desk) complete(ctx context.Context, s *Session, person int) (func(ctx context.Context, i int, head []byte) ([]Increment, error), error) {
	act := s.People[person].Act
	c, err := d.Store.Ceremony(ctx, act.Preparation, d.now())
	if errors.Is(err, ErrNotFound) {
		return nil, preparationGone()
	}
	if err != nil {
		return nil, err
	}
	pr, err := c.preparation()
	if err != nil {
		return nil, err
	}
	if pr.Accepted == nil {
		cert, err := d.Store.Certificate(ctx, pr.Certificate)
		if err != nil {
			return nil, err
		}
		if !cert.Revoked.IsZero() { // a revocation list would say so, but perhaps not yet
			return nil, certificateRevoked()
		}
	}
	return func(ctx context.Context, i int, head []byte) ([]Increment, error) {
		n := slices.IndexFunc(pr.Documents, func(p Prepared) bool { return p.Document == i })
		if n < 0 {
			return nil, preparationGone()
		}
		return d.Signer.Complete(ctx, s, i, person, head, &pr.Documents[n])
	}, nil
}

// again gives the reason if an error means that the person must sign once more.
func again(err error) (reason string, ok bool) {
	var r *Refusal
	if errors.As(err, &r) && slices.Contains(AgainReasons, r.Reason) {
		return r.Reason, true
	}
	return "", false
}

// askAgain gives the turn back to somebody whose signature could not be
// completed, and to the colleagues, and says so by mail.
func (d *Desk) askAgain(ctx context.Context, j Job, lease, reason string) error {
	return d.change(ctx, j.Session, func(tx Tx, s *Session) error {
		if !s.signs(j) {
			return errMoot
		}
		if s.Lease.Holder != lease {
			return fmt.Errorf("lease lost: %w", ErrConflict)
		}
		p, now := &s.People[j.Person], d.now()
		e := Event{Time: now, Kind: EventAgain, Actor: byMilterd, Detail: map[string]string{
			"signatory": p.Mail, "reason": reason, "preparation": j.Preparation}}
		if len(p.Act.Own) > 0 {
			e.Detail["certificate"] = p.Act.Own[0].Certificate
		}
		p.State, p.Decided, p.Act, p.Again, s.Lease = Waiting, time.Time{}, nil, reason, Lease{}
		if until := now.Add(AgainTime); s.Deadline.Before(until) {
			s.Deadline = until
			e.Detail["deadline"] = until.Format(time.RFC3339)
			if err := tx.Enqueue(Job{Kind: JobExpire, Session: s.ID, At: until}); err != nil {
				return err
			}
		}
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		if err := tx.EndCeremony(j.Preparation); err != nil {
			return err
		}
		if err := tx.Enqueue(Job{Kind: JobMail, Session: s.ID, Person: j.Person, Mail: MailAgain, Preparation: j.Preparation}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// refusalLimit bounds how many refusals of one person and kind a trail takes.
const refusalLimit = 20

// unnoted are the refusals that say nothing about what came: it was too early or
// too late, or we were not able.
var unnoted = []string{"not-signatory", "preparing", "ended", "not-viewed", "bad-appearance", "busy",
	"store-away", "time-away", "too-many-tries", "too-many-certificates", "wrong-code", "code-expired", "qtsp-away", "qtsp-busy", "openotp-away"}

// Foreign puts on record that a request with a visitor's link came from another
// site, and why it was refused.
func (d *Desk) Foreign(ctx context.Context, v Visit, client string, err error) {
	d.noteRefusal(ctx, v, EventForeign, "", client, err)
}

// noteRefusal puts a refusal on record, as an event of a kind, and gives the
// error back.
func (d *Desk) noteRefusal(ctx context.Context, v Visit, kind EventKind, preparation, client string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) || slices.Contains(unnoted, r.Reason) {
		return err
	}
	// A visitor who goes away must not take the record with him.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	events, failed := d.Store.Events(ctx, v.Session.ID)
	n := 0
	for i := range events {
		if events[i].Kind == kind && events[i].Actor == v.Who().Mail {
			n++
		}
	}
	if failed == nil && n < refusalLimit {
		e := Event{Time: d.now(), Kind: kind, Actor: v.Who().Mail, Client: client, Detail: map[string]string{"reason": r.Reason}}
		if preparation != "" {
			e.Detail["preparation"] = cut(preparation, 32)
		}
		failed = d.change(ctx, v.Session.ID, func(tx Tx, s *Session) error { return tx.Append(s.ID, e) })
	}
	if failed != nil {
		d.Log.Warn("a refusal is not on record", "kind", kind, "session", v.Session.ID, "reason", r.Reason, "err", failed)
	}
	return err
}

// cut shortens what a page has sent.
func cut(s string, max int) string {
	if len(s) > max {
		return s[:max]
	}
	return s
}
