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
	"slices"
	"sync"
	"syscall"
	"time"

	"milterd/demo"
	"milterd/internal/rig"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "milterd", "bin/milterd", "the program to kill")
	flag.IntVar(&o.kills, "kills", 200, "how often")
	flag.IntVar(&o.senders, "senders", 6, "who send at the same time")
	flag.StringVar(&o.database, "database", "", "database.url of milterd, default SQLite")
	flag.BoolVar(&o.postfix, "postfix", rig.CanPostfix(), "through a private real Postfix")
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

// How long the run may take, and its last sessions after it.
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
	if o.postfix {
		fmt.Println("crash: mail goes through a private Postfix")
	} else {
		fmt.Println("crash: mail goes through the demo's mail server, a stand-in for Postfix")
	}
	s, err := rig.Open(ctx, rig.Options{Postfix: o.postfix, Unrecorded: true,
		Setup: rig.Setup{Binary: o.binary, Dir: dir, TCP: o.postfix, Database: o.database}})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Place.Start(ctx); err != nil {
		return err
	}

	work, stop := context.WithCancel(ctx)
	defer stop()
	var robots, sending sync.WaitGroup
	robots.Go(func() { s.Answer(work) })
	over := make(chan struct{})
	var taken ledger
	for range o.senders {
		sending.Go(func() { send(ctx, s, over, &taken) })
	}
	begin := time.Now()
	for i := range o.kills {
		time.Sleep(time.Duration(50+rand.IntN(1450)) * time.Millisecond)
		s.Place.Kill()
		if _, err := s.Place.Start(ctx); err != nil {
			return err
		}
		if (i+1)%20 == 0 {
			fmt.Printf("crash: %d kills, %d mails taken, %s\n", i+1, len(taken.all()), time.Since(begin).Round(time.Second))
		}
	}
	close(over)
	sending.Wait()
	settled := s.Settle(ctx, len(taken.all()), tail)
	stop()
	robots.Wait()
	if err := s.Place.Stop(); err != nil {
		return err
	}
	t, judged := s.Judge(ctx, taken.all())
	fmt.Printf("crash: kills=%d acked=%d completed=%d lost=%d doubled=%d mails_repeated=%d\n",
		o.kills, t.Acked, t.Completed, t.Lost, t.Doubled, t.Repeated)
	return errors.Join(settled, judged)
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

func (l *ledger) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// send mails one request after the other until over is closed; the next one
// when the result of the last is there, or after a while.
func send(ctx context.Context, s *rig.Site, over chan struct{}, taken *ledger) {
	for {
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		default:
		}
		from, id, err := s.Send(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, "crash:", err)
			return
		}
		taken.add(id)
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, _ = s.Boxes.Wait(wait, from.Mail, func(l *demo.Letter) bool { return rig.IsResult(l, id) })
		cancel()
	}
}
