package workflow

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A lease is renewed for as long as its work takes, so that one that runs out
// belongs to a process that died, and its session waits no longer than that.
const leaseTime = 20 * time.Second

var leaseRenew = 5 * time.Second

// Run does the work of a job. Each piece of work looks first whether it is
// still called for, works outside any transaction, and commits only if the
// documents are still as it found them (design.md, decision 13).
func (d *Desk) Run(ctx context.Context, j Job) error {
	var err error
	switch j.Kind {
	case JobPrepare:
		err = d.prepare(ctx, j)
	case JobMail:
		err = d.mail(ctx, j)
	case JobSign:
		err = d.sign(ctx, j)
	case JobSeal:
		err = d.seal(ctx, j)
	case JobExpire:
		err = d.expire(ctx, j)
	case JobRetain:
		err = d.purge(ctx, j)
	case JobRenew:
		err = d.renewArchive(ctx, j)
	case JobAsk:
		err = d.ask(ctx, j)
	case JobForget:
		err = d.forget(ctx, j)
	case JobVerified:
		err = d.tellVerified(ctx, j)
	default:
		err = Drop{fmt.Errorf("unknown kind of job %q", j.Kind)}
	}
	var r *Refusal
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrGone):
		return Drop{err}
	case errors.As(err, &r) && r.Code >= 500:
		if j.Kind != JobMail && j.Kind != JobRenew && j.Session != "" {
			if err := d.giveUp(ctx, j.Session, r); err != nil {
				return err
			}
		}
		return Drop{err}
	}
	return err
}

// giveUp ends a session whose documents can never be signed, and tells
// everyone who knows of it. Intake rehearses what signing will do, so this is
// for what it could not foresee.
func (d *Desk) giveUp(ctx context.Context, id string, why *Refusal) error {
	return d.change(ctx, id, func(tx Tx, s *Session) error {
		if s.State.Ended() {
			return errMoot
		}
		s.Reason = why.Text
		return d.end(tx, s, Cancelled, Event{Time: d.now(), Kind: EventCancelled, Actor: byMilterd,
			Detail: map[string]string{"reason": why.Text}})
	})
}

// errMoot ends a transaction whose purpose somebody else has fulfilled.
var errMoot = errors.New("nothing left to do")

// change runs fn in a transaction on the locked session; errMoot is no error.
func (d *Desk) change(ctx context.Context, id string, fn func(Tx, *Session) error) error {
	err := d.Store.Do(ctx, func(tx Tx) error {
		s, err := tx.Session(id)
		if err != nil {
			return err
		}
		return fn(tx, s)
	})
	if errors.Is(err, errMoot) {
		return nil
	}
	return err
}

// prepare lays out signature pages and fields, then asks the signatories.
func (d *Desk) prepare(ctx context.Context, j Job) error {
	s, err := d.Store.Session(ctx, j.Session)
	if err != nil || s.State != Preparing {
		return err
	}
	made := make(map[int][]Increment)
	for _, i := range s.Mailed() {
		original, err := d.Store.Content(ctx, s.ID, i, 0)
		if err != nil {
			return err
		}
		suffix, err := d.Signer.Layout(ctx, s, i, original)
		if err != nil {
			return fmt.Errorf("laying out %s: %w", s.Documents[i].Name, err)
		}
		if suffix != nil {
			made[i] = extend(s, i, original, []Increment{{Kind: Layout, Suffix: suffix}}, -1, d.now())
		}
	}
	work := s
	return d.change(ctx, j.Session, func(tx Tx, s *Session) error {
		if s.State != Preparing {
			return errMoot
		}
		if err := d.keep(tx, s, work, made); err != nil {
			return err
		}
		s.State = Open
		e := Event{Time: d.now(), Kind: EventPrepared, Actor: byMilterd, Detail: map[string]string{}}
		addDigests(e.Detail, s)
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		for i := range s.People {
			kind := MailReceipt
			if s.People[i].Signatory {
				kind = MailInvitation
			} else if !s.People[i].Sender {
				continue
			}
			if err := tx.Enqueue(Job{Kind: JobMail, Session: s.ID, Person: i, Mail: kind}); err != nil {
				return err
			}
		}
		return tx.Save(s)
	})
}

// extend notes increments in a working copy of the session and gives them back.
func extend(s *Session, document int, head []byte, incs []Increment, person int, now time.Time) []Increment {
	doc := &s.Documents[document]
	h := sha256.New()
	h.Write(head)
	size := int64(len(head))
	parts := [][]byte{head}
	for _, inc := range incs {
		if inc.Cut > 0 {
			whole := slices.Concat(parts...)
			size = int64(len(whole)) - inc.Cut
			parts = [][]byte{whole[:size]}
			h.Reset()
			h.Write(parts[0])
		}
		parts = append(parts, inc.Suffix)
		h.Write(inc.Suffix)
		size += int64(len(inc.Suffix))
		r := Revision{Number: len(doc.Revisions), Kind: inc.Kind, Size: size, Person: person, Created: now, Until: inc.Until, Cut: inc.Cut}
		h.Sum(r.SHA256[:0])
		doc.Revisions = append(doc.Revisions, r)
	}
	return incs
}

// keep moves the revisions of a working copy into the locked session and
// stores their suffixes. It is ErrConflict if the documents have moved on.
func (d *Desk) keep(tx Tx, s, work *Session, made map[int][]Increment) error {
	for i, incs := range made {
		had := len(work.Documents[i].Revisions) - len(incs)
		if len(s.Documents[i].Revisions) != had {
			return fmt.Errorf("%s of session %s: %w", s.Documents[i].Name, s.ID, ErrConflict)
		}
		for n, inc := range incs {
			if err := tx.AddSuffix(s.ID, i, had+n, inc.Suffix); err != nil {
				return err
			}
		}
		s.Documents[i].Revisions = work.Documents[i].Revisions
	}
	return nil
}

// lease takes the right to extend the session's documents, or snoozes.
func (d *Desk) lease(ctx context.Context, id string, called func(*Session) bool) (s *Session, holder string, err error) {
	var b [8]byte
	rand.Read(b[:])
	holder = hex.EncodeToString(b[:])
	err = d.change(ctx, id, func(tx Tx, locked *Session) error {
		now := d.now()
		switch {
		case !called(locked):
			return errMoot
		case locked.Lease.Holder != "" && now.Before(locked.Lease.Until):
			return Snooze{For: time.Second}
		}
		locked.Lease = Lease{Holder: holder, Until: now.Add(leaseTime)}
		s = locked
		return tx.Save(locked)
	})
	return s, holder, err
}

// renew keeps a lease until done is called. The context that it gives ends when
// the lease is lost: somebody else may be at the documents then.
func (d *Desk) renew(ctx context.Context, id, holder string) (_ context.Context, done func()) {
	ctx, lost := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(leaseRenew)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := d.change(ctx, id, func(tx Tx, s *Session) error {
				if s.Lease.Holder != holder {
					lost(fmt.Errorf("lease lost: %w", ErrConflict))
					return errMoot
				}
				s.Lease.Until = d.now().Add(leaseTime)
				return tx.Save(s)
			})
			if err != nil && ctx.Err() == nil {
				d.Log.Warn("lease not renewed", "session", id, "err", err) // tried again before it runs out
			}
		}
	}()
	return ctx, func() { lost(context.Canceled) }
}

// release gives a lease back after a failure, so that the next try need not
// wait for it to run out. A failure to do so only costs that wait.
func (d *Desk) release(id, holder string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := d.change(ctx, id, func(tx Tx, s *Session) error {
		if s.Lease.Holder != holder {
			return errMoot
		}
		s.Lease = Lease{}
		return tx.Save(s)
	})
	if err != nil {
		d.Log.Warn("lease not released", "session", id, "err", err)
	}
}

// signs reports whether a job's act still waits to be carried out.
func (s *Session) signs(j Job) bool {
	if s.State != Open || j.Person >= len(s.People) {
		return false
	}
	p := &s.People[j.Person]
	return p.State == Signing && p.Act != nil && p.Act.Preparation == j.Preparation
}

// sign carries a signatory's act into every document: sealed on behalf of the
// person, or with the person's own value.
func (d *Desk) sign(ctx context.Context, j Job) (err error) {
	called := func(s *Session) bool { return s.signs(j) }
	s, holder, err := d.lease(ctx, j.Session, called)
	if s == nil || err != nil {
		return err
	}
	defer func() {
		if err != nil {
			d.release(j.Session, holder)
		}
	}()
	leased, done := d.renew(ctx, j.Session, holder)
	defer done()
	made, err := d.signAll(leased, s, j)
	if err != nil {
		if reason, ok := again(err); ok && j.Preparation != "" {
			done()
			d.Log.Warn("a signature must be made once more", "session", j.Session, "person", j.Person, "err", err)
			return d.askAgain(ctx, j, holder, reason)
		}
		return err
	}
	done()
	work := s
	return d.change(ctx, j.Session, func(tx Tx, s *Session) error {
		if !called(s) {
			return errMoot
		}
		if s.Lease.Holder != holder {
			return fmt.Errorf("lease lost: %w", ErrConflict)
		}
		if err := d.keep(tx, s, work, made); err != nil {
			return err
		}
		p := &s.People[j.Person]
		p.State, s.Lease = Signed, Lease{}
		e := Event{Time: d.now(), Kind: EventSealedFor, Actor: byMilterd, Detail: map[string]string{"on behalf of": p.Mail}}
		if j.Preparation != "" {
			e.Kind, e.Detail = EventSignedOwn, map[string]string{"signatory": p.Mail, "certificate": p.Act.Own[0].Certificate}
			if err := tx.EndCeremony(j.Preparation); err != nil {
				return err
			}
		}
		addDigests(e.Detail, s)
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		for _, i := range s.Signatories() {
			if s.People[i].State != Signed {
				return tx.Save(s)
			}
		}
		s.State = Sealing
		if err := tx.Enqueue(Job{Kind: JobSeal, Session: s.ID}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// signAll makes a signatory's signature in every document.
func (d *Desk) signAll(ctx context.Context, s *Session, j Job) (map[int][]Increment, error) {
	one := func(ctx context.Context, i int, head []byte) ([]Increment, error) {
		return d.Signer.Sign(ctx, s, i, j.Person, head)
	}
	if j.Preparation != "" {
		var err error
		if one, err = d.complete(ctx, s, j.Person); err != nil {
			return nil, err
		}
	}
	return d.extendAll(ctx, s, j.Person, func(i int, head []byte) ([]Increment, error) { return one(ctx, i, head) })
}

// extendAll applies fn to the head of every mailed document of a working copy.
func (d *Desk) extendAll(ctx context.Context, s *Session, person int, fn func(int, []byte) ([]Increment, error)) (map[int][]Increment, error) {
	made := make(map[int][]Increment)
	for _, i := range s.Mailed() {
		head, err := d.Store.Content(ctx, s.ID, i, s.Documents[i].Head().Number)
		if err != nil {
			return nil, err
		}
		incs, err := fn(i, head)
		if err != nil {
			return nil, fmt.Errorf("document %d of session %s: %w", i+1, s.ID, err)
		}
		made[i] = extend(s, i, head, incs, person, d.now())
	}
	return made, nil
}

// expire ends a session whose deadline has passed. One whose signatories have
// all answered in time goes on, even if a timestamp is still to come.
func (d *Desk) expire(ctx context.Context, j Job) error {
	return d.change(ctx, j.Session, func(tx Tx, s *Session) error {
		if s.State != Open && s.State != Preparing {
			return errMoot
		}
		if wait := s.Deadline.Sub(d.now()); wait > 0 {
			return Snooze{For: wait}
		}
		for _, i := range s.Signatories() {
			if s.People[i].State == Waiting {
				return d.end(tx, s, Expired, Event{Time: d.now(), Kind: EventExpired, Actor: byMilterd})
			}
		}
		return errMoot
	})
}

// purge drops what retention does not keep: the mail, the documents, the drawn
// signatures. The audit trail and the digests stay.
func (d *Desk) purge(ctx context.Context, j Job) error {
	return d.change(ctx, j.Session, func(tx Tx, s *Session) error {
		if !s.State.Ended() || !s.Purged.IsZero() {
			return errMoot
		}
		if err := tx.Purge(s.ID); err != nil {
			return err
		}
		s.Purged, s.Message = d.now(), ""
		for i := range s.People {
			if a := s.People[i].Act; a != nil {
				a.Appearance = Appearance{}
			}
		}
		for i := range s.Returned {
			s.Returned[i].Failure = Failure{}
		}
		if err := tx.Append(s.ID, Event{Time: s.Purged, Kind: EventPurged, Actor: byMilterd}); err != nil {
			return err
		}
		return tx.Save(s)
	})
}
