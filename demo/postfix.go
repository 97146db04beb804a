package demo

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"milterd/postfix"
)

// privatePostfix is a real Postfix in a folder of its own, whose maildirs are
// read into the demo's mailboxes.
type privatePostfix struct {
	*postfix.Private
	done chan struct{}
	wait sync.WaitGroup
}

func startPostfix(h *house, milter string) (*privatePostfix, error) {
	var addresses []string
	for _, p := range h.people {
		addresses = append(addresses, p.Mail)
	}
	p, err := postfix.StartPrivate(context.Background(), postfix.Options{Dir: filepath.Join(h.dir, "postfix"), Milter: milter,
		SignDomain: SignDomain, Domain: MailDomain, Users: h.logins, Mailboxes: addresses, Postmaster: addresses[0]})
	if err != nil {
		return nil, fmt.Errorf("private Postfix: %w", err)
	}
	q := &privatePostfix{Private: p, done: make(chan struct{})}
	q.wait.Go(func() { q.collect(h.boxes, addresses) })
	return q, nil
}

// collect looks for new mail five times a second.
func (q *privatePostfix) collect(boxes *Mailboxes, addresses []string) {
	seen := map[string]int{}
	for {
		for _, a := range addresses {
			mails, err := q.Mails(a)
			if err != nil {
				continue // not there yet; looked at again in a moment
			}
			for _, raw := range mails[min(seen[a], len(mails)):] {
				boxes.deliver(a, returnPath(raw), raw)
			}
			seen[a] = max(seen[a], len(mails))
		}
		select {
		case <-q.done:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// returnPath is the envelope sender, as local delivery keeps it (RFC 5321, 4.4).
func returnPath(raw []byte) string {
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("Return-Path:")); ok {
			return string(bytes.Trim(rest, " <>\r\n"))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	return ""
}

func (q *privatePostfix) Address() string { return q.SMTPAddr }

func (q *privatePostfix) Close() error {
	close(q.done)
	q.wait.Wait()
	return q.Stop()
}
