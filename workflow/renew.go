package workflow

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// RenewBefore is how long before its certificate ends an archive timestamp
// gets a younger one over it: time enough for an administrator to find out why it
// did not work.
const RenewBefore = 180 * 24 * time.Hour

// bookRenewal books the work on a finished session whose archive timestamps
// age before retention ends. Most never do.
func (d *Desk) bookRenewal(tx Tx, s *Session) error {
	at := s.ages().Add(-RenewBefore)
	if d.Archivist == nil || at.After(s.Ended.Add(d.Policy.Retention)) {
		return nil
	}
	return tx.Enqueue(Job{Kind: JobRenew, Session: s.ID, At: at})
}

// ages is when the first certificate of the documents' archive timestamps ends.
// It is zero where that was not written down.
func (s *Session) ages() time.Time {
	var first time.Time
	for i := range s.Documents {
		if s.Documents[i].Kind == Unconverted { // has none
			continue
		}
		if u := s.Documents[i].Head().Until; i == 0 || u.Before(first) {
			first = u
		}
	}
	return first
}

// errNoYounger says that there is a new timestamp to be had, but none that
// would hold for longer.
var errNoYounger = errors.New("the timestamp authority's certificate ends no later than that of the present archive timestamp: it needs a new one first")

// renewArchive is the job.
func (d *Desk) renewArchive(ctx context.Context, j Job) error {
	_, until, err := d.RenewArchive(ctx, j.Session, d.now().Add(RenewBefore), false)
	switch {
	case errors.Is(err, errNoYounger):
		d.Log.Warn("an archive timestamp ages", "session", j.Session, "err", err)
		return Snooze{For: 24 * time.Hour}
	case err != nil:
		return err
	}
	s, err := d.Store.Session(ctx, j.Session)
	if err != nil {
		return err
	}
	at := until.Add(-RenewBefore)
	if at.After(s.Ended.Add(d.Policy.Retention)) {
		return nil // they are deleted before that
	}
	return Snooze{For: at.Sub(d.now())}
}

// RenewArchive puts younger archive timestamps over the documents of a finished
// session whose present ones have certificates that end before a time; forced,
// also where the younger ones hold no longer. It gives the number of documents
// that got one, and when the first of their certificates now ends. ErrGone after
// retention; a *Refusal "not-done" before the end.
func (d *Desk) RenewArchive(ctx context.Context, id string, before time.Time, forced bool) (renewed int, until time.Time, err error) {
	work, err := d.Store.Session(ctx, id)
	switch {
	case err != nil:
		return 0, until, err
	case !work.Purged.IsZero():
		return 0, until, ErrGone
	case work.State != Done:
		return 0, until, refuse("not-done", "This session has no sealed documents: it is "+string(work.State)+".", nil)
	}
	made := map[int][]Increment{}
	for i := range work.Documents {
		if err := d.renewOne(ctx, work, i, before, forced, made); err != nil {
			return 0, until, fmt.Errorf("renewing the archive timestamp of %s in session %s: %w", work.Documents[i].Name, id, err)
		}
	}
	until = work.ages()
	if len(made) == 0 {
		return 0, until, nil
	}
	err = d.change(ctx, id, func(tx Tx, s *Session) error {
		if !s.Purged.IsZero() {
			return ErrGone
		}
		if err := d.keep(tx, s, work, made); err != nil {
			return err
		}
		e := Event{Time: d.now(), Kind: EventRenewed, Actor: byMilterd, Detail: map[string]string{"until": until.UTC().Format(time.RFC3339)}}
		addDigests(e.Detail, s)
		if err := tx.Append(id, e); err != nil {
			return err
		}
		return tx.Save(s)
	})
	return len(made), until, err
}

// renewOne notes in a working copy what a document got, if it was time.
func (d *Desk) renewOne(ctx context.Context, work *Session, i int, before time.Time, forced bool, made map[int][]Increment) error {
	doc := &work.Documents[i]
	if doc.Kind == Unconverted || doc.Head().Until.After(before) {
		return nil
	}
	head, err := d.Store.Content(ctx, work.ID, i, doc.Head().Number)
	if err != nil {
		return err
	}
	r, err := d.Archivist.Renew(ctx, head, before)
	switch {
	case err != nil:
		return err
	case len(r.Increments) == 0:
		doc.Revisions[len(doc.Revisions)-1].Until = r.Until // from before this was written down
	case !forced && !r.Until.After(r.Was):
		return errNoYounger
	default:
		made[i] = extend(work, i, head, r.Increments, -1, d.now())
	}
	return nil
}
