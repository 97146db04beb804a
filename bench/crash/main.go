// Command crash kills a serving milterd again and again, at random moments,
// while people send and sign, and counts what was lost or doubled.
//
//	go run ./bench/crash -milterd bin/milterd -kills 200
//
// Mail goes through a private real Postfix where root runs it and one is
// installed, else through the demo's mail server; the first line says which. A
// sender is as persistent as a mail server: a mail that was not taken is sent
// again, byte for byte, until it is. Signatories follow the link of their
// invitation, prove their mailbox and sign, and try again after every broken
// connection. At the end every mail that was answered 250 must have become
// exactly one completed session with a whole audit trail, whose result is in
// both mailboxes and stands before the validator. A mail of ours that comes
// twice with the same Message-ID is counted apart: it is what a crash between
// Postfix's 250 and our commit leaves (docs/design.md, decision 13).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"milterd/demo"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "milterd", "bin/milterd", "the program to kill")
	flag.IntVar(&o.kills, "kills", 200, "how often")
	flag.IntVar(&o.senders, "senders", 6, "who send at the same time")
	flag.StringVar(&o.database, "database", "", "database.url of milterd, default SQLite")
	flag.BoolVar(&o.postfix, "postfix", canPostfix(), "through a private real Postfix")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := crash(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

type options struct {
	binary   string
	kills    int
	senders  int
	database string
	postfix  bool
}

// The longest that a run may take, and that its last sessions may after it.
const (
	perKill = 4 * time.Second
	tail    = 6 * time.Minute
)

func crash(ctx context.Context, o options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.kills)*perKill+2*tail)
	defer cancel()
	dir, err := os.MkdirTemp("", "milterd-crash-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			os.RemoveAll(dir)
		} else {
			fmt.Fprintln(os.Stderr, "crash: kept for a look:", dir)
		}
	}()
	s, err := open(ctx, o, dir)
	if err != nil {
		return err
	}
	defer s.close()

	work, stop := context.WithCancel(ctx)
	defer stop()
	var robots sync.WaitGroup
	robots.Go(func() { s.answer(work) })
	over := make(chan struct{})
	var taken ledger
	var sending sync.WaitGroup
	for range o.senders {
		sending.Go(func() { s.send(ctx, over, &taken) })
	}
	begin := time.Now()
	for i := range o.kills {
		time.Sleep(time.Duration(50+rand.IntN(1450)) * time.Millisecond)
		s.place.Kill()
		if _, err := s.place.Start(ctx); err != nil {
			return err
		}
		if (i+1)%20 == 0 {
			fmt.Printf("crash: %d kills, %d mails taken, %s\n", i+1, taken.len(), time.Since(begin).Round(time.Second))
		}
	}
	close(over)
	sending.Wait()
	settled := s.settle(ctx, taken.all())
	stop()
	robots.Wait()
	if err := s.place.Stop(); err != nil {
		return err
	}
	return errors.Join(settled, s.count(ctx, taken.all(), o.kills))
}

// ledger holds the Message-IDs of accepted mails.
type ledger struct {
	mu  sync.Mutex
	ids []string
}

func (l *ledger) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

func (l *ledger) len() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.ids) }

func (l *ledger) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.ids...)
}

// turn gives each mail another sender and signatory, so that nobody reaches
// the limit of codes in an hour.
var turn atomic.Int64

// send mails one request after the other until over is closed; the next one
// when the result of the last is there, or after a while.
func (s *site) send(ctx context.Context, over chan struct{}, taken *ledger) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		default:
		}
		n := int(turn.Add(1))
		from, to := s.people[n%len(s.people)], s.people[(n+len(s.people)/2)%len(s.people)]
		d := demo.Draft{From: from, To: []string{local(to) + "@" + demo.SignDomain}, Subject: "[Standard] crash", Text: "x", File: demo.Sample()}
		raw, err := d.Compose()
		if err != nil {
			fmt.Fprintln(os.Stderr, "crash:", err)
			return
		}
		for demo.Submit(s.mail.Address(), from.Mail, password, from.Mail, d.To, raw) != nil {
			if ctx.Err() != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		id := demo.MessageID(raw)
		taken.add(id)
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, _ = s.boxes.Wait(wait, from.Mail, func(l *demo.Letter) bool { return isResult(l, id) })
		cancel()
	}
}
