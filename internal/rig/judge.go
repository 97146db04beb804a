package rig

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"milterd/demo"
	"milterd/store"
	"milterd/validate"
	"milterd/workflow"
)

// IsResult reports whether a letter is milterd's result in the thread of a mail.
func IsResult(l *demo.Letter, id string) bool {
	if !strings.Contains(l.From, "@"+demo.SignDomain) {
		return false
	}
	m, err := l.Open()
	return err == nil && m.InReplyTo == id && len(m.Attachments) > 1
}

// Settle waits until the sessions of that many mails are done and their mails
// have left, for at most a time. A mail that failed once is tried again after
// ten seconds, so it is the jobs that tell, not a pause.
func (s *Site) Settle(ctx context.Context, taken int, patience time.Duration) error {
	db, err := s.Store(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	deadline := time.Now().Add(patience)
	var open, unsent int
	for time.Now().Before(deadline) && ctx.Err() == nil {
		list, err := db.List(ctx, workflow.Filter{State: workflow.Done, Limit: 2*taken + 100})
		if err != nil {
			return err
		}
		if open = taken - len(list); open <= 0 {
			if unsent, err = mailing(ctx, db, list); err != nil {
				return err
			}
			if unsent == 0 {
				time.Sleep(3 * time.Second) // for Postfix to deliver the last ones
				return nil
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("%d sessions were not done, %d mails not sent after %s", max(open, 0), unsent, patience)
}

// mailing counts the mails of sessions that have not left yet.
func mailing(ctx context.Context, db *store.Store, list []*workflow.Session) (n int, err error) {
	for _, one := range list {
		jobs, err := db.Jobs(ctx, one.ID)
		if err != nil {
			return 0, err
		}
		for _, j := range jobs {
			if j.Job.Kind == workflow.JobMail && j.Finished.IsZero() {
				n++
			}
		}
	}
	return n, nil
}

// Tally is what became of mails that were answered 250.
type Tally struct {
	Acked, Completed, Lost, Doubled int
	Repeated                        int // mails of ours that came twice, with the same Message-ID
}

// Judge looks at what became of every mail that was taken. Its error says
// what was lost, doubled or half-written.
func (s *Site) Judge(ctx context.Context, taken []string) (Tally, error) {
	t := Tally{Acked: len(taken)}
	db, err := s.Store(ctx)
	if err != nil {
		return t, err
	}
	defer db.Close()
	list, err := db.List(ctx, workflow.Filter{Limit: 10*len(taken) + 100})
	if err != nil {
		return t, err
	}
	sessions := map[string][]*workflow.Session{}
	for _, one := range list {
		sessions[one.Thread.MessageID] = append(sessions[one.Thread.MessageID], one)
	}
	anchors, err := s.anchors()
	if err != nil {
		return t, err
	}
	mails, repeated := s.mails()
	t.Repeated = repeated
	var wrong []error
	for _, id := range taken {
		switch of := sessions[id]; len(of) {
		case 0:
			t.Lost++
		case 1:
			if err := errors.Join(whole(ctx, db, of[0]), s.told(ctx, db, of[0], mails[of[0].ID], anchors)); err != nil {
				wrong = append(wrong, fmt.Errorf("session %s: %w", of[0].ID, err))
				continue
			}
			t.Completed++
		default:
			t.Doubled++
		}
	}
	if extra := len(sessions) - (len(taken) - t.Lost); extra != 0 {
		wrong = append(wrong, fmt.Errorf("%d sessions of mails that nobody was told are taken", extra))
	}
	if t.Lost+t.Doubled > 0 || t.Completed != len(taken) {
		wrong = append(wrong, fmt.Errorf("%d lost, %d doubled, %d of %d completed", t.Lost, t.Doubled, t.Completed, len(taken)))
	}
	return t, errors.Join(wrong...)
}

// whole checks that nothing of a session is half-written.
func whole(ctx context.Context, db *store.Store, s *workflow.Session) error {
	if s.State != workflow.Done {
		return fmt.Errorf("is %s", s.State)
	}
	events, err := db.Events(ctx, s.ID)
	if err != nil {
		return err
	}
	if err := workflow.CheckChain(s.ID, events); err != nil {
		return err
	}
	once := map[workflow.EventKind]int{}
	for _, e := range events {
		once[e.Kind]++
	}
	for _, k := range []workflow.EventKind{workflow.EventOpened, workflow.EventSigned, workflow.EventSealedFor, workflow.EventSealed, workflow.EventDone} {
		if once[k] != 1 {
			return fmt.Errorf("%d events %q", once[k], k)
		}
	}
	for d := range s.Documents {
		for r := range s.Documents[d].Revisions {
			if _, err := db.Content(ctx, s.ID, d, r); err != nil { // checked against its digest
				return fmt.Errorf("document %d, revision %d: %w", d, r, err)
			}
		}
	}
	return nil
}

// notice is one mail of ours, however often it arrived.
type notice struct {
	box string
	*demo.Message
}

// mails gives our mails by the session in their Message-ID, <milterd.SESSION.…>,
// and how many came twice.
func (s *Site) mails() (map[string][]notice, int) {
	out := map[string][]notice{}
	seen := map[string]bool{}
	repeated := 0
	for _, l := range s.Boxes.In("") {
		if !strings.Contains(l.From, "@"+demo.SignDomain) {
			continue
		}
		if key := l.Box + demo.MessageID(l.Raw); seen[key] {
			repeated++
			continue
		} else {
			seen[key] = true
		}
		m, err := l.Open()
		if err != nil {
			continue // its session misses it below
		}
		session, _, _ := strings.Cut(strings.TrimPrefix(m.MessageID, "<milterd."), ".")
		out[session] = append(out[session], notice{l.Box, m})
	}
	return out, repeated
}

// told checks the mails of a session: an invitation, a receipt, and for both
// people one result that stands before the validator. A receipt that could not
// leave before everyone had signed is not written any more.
func (site *Site) told(ctx context.Context, db *store.Store, s *workflow.Session, mails []notice, anchors *x509.CertPool) error {
	receipts, err := sent(ctx, db, s.ID, workflow.MailReceipt)
	if err != nil {
		return err
	}
	results := map[string]int{}
	others := map[string]int{}
	var judged bool
	for _, m := range mails {
		if m.Code() != "" {
			continue
		}
		if len(m.Attachments) < 2 {
			others[m.box]++
			continue
		}
		results[m.box]++
		if judged {
			continue
		}
		judged = true
		for _, a := range m.Attachments {
			r, err := validate.Validate(a.Content, validate.Options{Anchors: anchors})
			if err != nil {
				return fmt.Errorf("%s: %w", a.Name, err)
			}
			if !r.Passed() || len(r.Signatures) == 0 {
				return fmt.Errorf("%s: %s", a.Name, r.Text())
			}
		}
	}
	for _, p := range s.People {
		want := 1
		if !p.Signatory {
			if want = receipts; site.Unrecorded && want == 0 {
				want = min(others[p.Mail], 1)
			}
		}
		if results[p.Mail] != 1 || others[p.Mail] != want {
			return fmt.Errorf("%s got %d results and %d other mails instead of 1 and %d", p.Mail, results[p.Mail], others[p.Mail], want)
		}
	}
	return nil
}

// sent counts the mails of a kind that the trail says have left: at most one.
func sent(ctx context.Context, db *store.Store, session string, kind workflow.MailKind) (n int, err error) {
	events, err := db.Events(ctx, session)
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		if e.Kind == workflow.EventMailed && e.Detail["mail"] == string(kind) {
			n++
		}
	}
	if n > 1 {
		return n, fmt.Errorf("%d mails %q on record", n, kind)
	}
	return n, nil
}

// anchors are the root of milterd's authority and those of Trust.
func (s *Site) anchors() (*x509.CertPool, error) {
	b, err := os.ReadFile(filepath.Join(s.Place.Data, "keys", "root.crt"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("root.crt is no PEM file")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range s.Trust {
		pool.AddCert(c)
	}
	pool.AddCert(root)
	return pool, nil
}
