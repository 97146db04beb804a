package main

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

// isResult reports whether a letter is milterd's result in the thread of a mail.
func isResult(l *demo.Letter, id string) bool {
	if !strings.Contains(l.From, "@"+demo.SignDomain) {
		return false
	}
	m, err := l.Open()
	return err == nil && m.InReplyTo == id && len(m.Attachments) > 1
}

// database opens milterd's own.
func (s *site) database(ctx context.Context) (*store.Store, error) {
	url := s.opts.database
	if url == "" {
		url = "sqlite:" + filepath.Join(s.dir, "data", "milterd.db")
	}
	return store.Open(ctx, store.Config{URL: url})
}

// settle waits until every session is done and its mails have arrived.
func (s *site) settle(ctx context.Context, taken []string) error {
	db, err := s.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	deadline := time.Now().Add(tail)
	open := 0
	for time.Now().Before(deadline) && ctx.Err() == nil {
		list, err := db.List(ctx, workflow.Filter{State: workflow.Done, Limit: 2*len(taken) + 100})
		if err != nil {
			return err
		}
		if open = len(taken) - len(list); open <= 0 {
			time.Sleep(5 * time.Second) // for the last results
			return nil
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("%d sessions were not done after %s", open, tail)
}

// count looks at every mail that was taken and prints the closing line.
// Anything lost, doubled or half-written is an error.
func (s *site) count(ctx context.Context, taken []string, kills int) error {
	db, err := s.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	list, err := db.List(ctx, workflow.Filter{Limit: 10*len(taken) + 100})
	if err != nil {
		return err
	}
	sessions := map[string][]*workflow.Session{}
	for _, one := range list {
		sessions[one.Thread.MessageID] = append(sessions[one.Thread.MessageID], one)
	}
	anchors, err := s.anchors()
	if err != nil {
		return err
	}
	mails, repeated := s.mails()
	var lost, doubled, completed int
	var wrong []error
	for _, id := range taken {
		of := sessions[id]
		if len(of) == 0 {
			lost++
			continue
		}
		if len(of) > 1 {
			doubled++
			continue
		}
		if err := errors.Join(whole(ctx, db, of[0]), told(of[0], mails[of[0].ID], anchors)); err != nil {
			wrong = append(wrong, fmt.Errorf("session %s: %w", of[0].ID, err))
			continue
		}
		completed++
	}
	if extra := len(sessions) - (len(taken) - lost); extra != 0 {
		wrong = append(wrong, fmt.Errorf("%d sessions of mails that nobody was told are taken", extra))
	}
	fmt.Printf("crash: kills=%d acked=%d completed=%d lost=%d doubled=%d mails_repeated=%d\n",
		kills, len(taken), completed, lost, doubled, repeated)
	if lost+doubled > 0 || completed != len(taken) {
		wrong = append(wrong, fmt.Errorf("%d lost, %d doubled, %d of %d completed", lost, doubled, completed, len(taken)))
	}
	return errors.Join(wrong...)
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
func (s *site) mails() (map[string][]notice, int) {
	out := map[string][]notice{}
	seen := map[string]bool{}
	repeated := 0
	for _, l := range s.boxes.In("") {
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
// people one result that stands before the validator.
func told(s *workflow.Session, mails []notice, anchors *x509.CertPool) error {
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
		if results[p.Mail] != 1 || others[p.Mail] != 1 {
			return fmt.Errorf("%s got %d results and %d other mails instead of one each", p.Mail, results[p.Mail], others[p.Mail])
		}
	}
	return nil
}

// anchors are the root of milterd's authority.
func (s *site) anchors() (*x509.CertPool, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "data", "keys", "root.crt"))
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
	pool.AddCert(root)
	return pool, nil
}
