package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"milterd/postfix"
)

// Postfix is a real Postfix in a folder of its own, whose maildirs are read into
// Mailboxes as mail arrives.
type Postfix struct {
	*postfix.Private
	done chan struct{}
	wait sync.WaitGroup
}

// StartPostfix starts a private Postfix and reads the maildirs of o.Mailboxes
// into boxes. It needs root.
func StartPostfix(ctx context.Context, o postfix.Options, boxes *Mailboxes) (*Postfix, error) {
	p, err := postfix.StartPrivate(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("private Postfix: %w", err)
	}
	q := &Postfix{Private: p, done: make(chan struct{})}
	q.wait.Go(func() { q.collect(boxes, o.Mailboxes) })
	return q, nil
}

// collect looks for new mail five times a second.
func (q *Postfix) collect(boxes *Mailboxes, addresses []string) {
	seen := map[string]bool{}
	for {
		for _, a := range addresses {
			folder := filepath.Join(q.Maildir(a), "new")
			entries, err := os.ReadDir(folder)
			if err != nil {
				continue // not there before the first mail
			}
			for _, e := range entries {
				file := filepath.Join(folder, e.Name())
				if seen[file] {
					continue
				}
				raw, err := os.ReadFile(file)
				if err != nil {
					continue // looked at again in a moment
				}
				seen[file] = true
				boxes.deliver(a, returnPath(raw), raw)
			}
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

// Address is host:port, for SMTP with and without login.
func (q *Postfix) Address() string { return q.SMTPAddr }

// Close ends it. The folder stays.
func (q *Postfix) Close() error {
	close(q.done)
	q.wait.Wait()
	return q.Stop()
}
