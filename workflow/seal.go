package workflow

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
)

// seal closes the documents, then writes and seals the report on what happened,
// then sends the result. The two halves commit apart, so that the report can
// tell of the seals.
func (d *Desk) seal(ctx context.Context, j Job) error {
	s, err := d.Store.Session(ctx, j.Session)
	if err != nil || s.State != Sealing {
		return err
	}
	if s.Documents[s.Mailed()[0]].Head().Kind != Archive {
		if err := d.sealDocuments(ctx, s); err != nil {
			return err
		}
		if s, err = d.Store.Session(ctx, j.Session); err != nil || s.State != Sealing {
			return err
		}
	}
	return d.sealReport(ctx, s)
}

func (d *Desk) sealDocuments(ctx context.Context, work *Session) error {
	made, err := d.extendAll(ctx, work, -1, func(i int, head []byte) ([]Increment, error) {
		return d.Signer.Seal(ctx, work, i, head)
	})
	if err != nil {
		return err
	}
	return d.change(ctx, work.ID, func(tx Tx, s *Session) error {
		if s.State != Sealing {
			return errMoot
		}
		if err := d.keep(tx, s, work, made); err != nil {
			return err
		}
		e := Event{Time: d.now(), Kind: EventSealed, Actor: byMilterd, Detail: map[string]string{}}
		addDigests(e.Detail, s)
		if err := tx.Append(s.ID, e); err != nil {
			return err
		}
		return tx.Save(s)
	})
}

// ReportName is the file name of the certificate of completion.
const ReportName = "certificate-of-completion.pdf"

func (d *Desk) sealReport(ctx context.Context, work *Session) error {
	events, err := d.Store.Events(ctx, work.ID)
	if err != nil {
		return err
	}
	report, err := d.Reporter.Report(ctx, work, events)
	if err != nil {
		return fmt.Errorf("report on session %s: %w", work.ID, err)
	}
	n, now := len(work.Documents), d.now()
	work.Documents = append(work.Documents, Document{Name: ReportName, Kind: Report, Revisions: []Revision{{
		Kind: Original, Size: int64(len(report)), SHA256: sha256.Sum256(report), Person: -1, Created: now}}})
	incs, err := d.Signer.Seal(ctx, work, n, report)
	if err != nil {
		return fmt.Errorf("sealing the report on session %s: %w", work.ID, err)
	}
	extend(work, n, report, incs, -1, d.now())
	return d.change(ctx, work.ID, func(tx Tx, s *Session) error {
		if s.State != Sealing || len(s.Documents) != n {
			return errMoot
		}
		s.Documents = append(s.Documents, work.Documents[n])
		for i, suffix := range append([][]byte{report}, suffixes(incs)...) {
			if err := tx.AddSuffix(s.ID, n, i, suffix); err != nil {
				return err
			}
		}
		return d.finish(tx, s)
	})
}

func suffixes(incs []Increment) [][]byte {
	out := make([][]byte, len(incs))
	for i := range incs {
		out[i] = incs[i].Suffix
	}
	return out
}

func (d *Desk) finish(tx Tx, s *Session) error {
	s.State, s.Ended = Done, d.now()
	report := s.Documents[len(s.Documents)-1]
	e := Event{Time: s.Ended, Kind: EventDone, Actor: byMilterd, Detail: map[string]string{
		"report": report.Name, "report sha-256": report.Head().SHA256.String(),
		"documents": strconv.Itoa(len(s.Mailed())),
	}}
	if err := tx.Append(s.ID, e); err != nil {
		return err
	}
	for i := range s.People {
		if err := tx.Enqueue(Job{Kind: JobMail, Session: s.ID, Person: i, Mail: MailResult}); err != nil {
			return err
		}
	}
	if err := d.retain(tx, s); err != nil {
		return err
	}
	if err := d.bookRenewal(tx, s); err != nil {
		return err
	}
	return tx.Save(s)
}
