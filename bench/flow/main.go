// Command flow measures how many sign mails a second go the whole way: from a
// mail client by a real Postfix and a real milterd to the invitation in the
// signatory's mailbox. One machine; milterd on SQLite, on PostgreSQL (which
// waits for the disk: fsync is on), and two milterds on one PostgreSQL, each
// with a Postfix of its own.
//
//	go run ./bench/flow bin/milterd
//
// Needs root, for Postfix; without it the demo's mail server stands in, and the
// first line says so. Each mail makes two of ours, the invitation and the
// sender's receipt. The sides take their turns; who does not have it is idle.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/demo"
	"milterd/internal/rig"
	"milterd/store/pgtest"
)

const (
	rounds   = 5
	batch    = 100 // mails in a round; at most half of rig.People, so that each has a signatory of its own
	senders  = 8   // who send at once
	patience = time.Minute
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: flow BINARY")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/flow:", err)
		os.Exit(1)
	}
}

// side is one or two mail systems, each with its milterd, on one database.
type side struct {
	name  string
	sites []*rig.Site

	rate, processor []float64 // of each round
	wait            []float64 // seconds of each mail, from 250 to the invitation
}

func measure(ctx context.Context, binary string) error {
	dir, err := os.MkdirTemp("", "milterd-flow-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := pgtest.New("fsync=on", "full_page_writes=on", "autovacuum=on")
	if err != nil {
		return err
	}
	defer server.Close()
	sides := []*side{{name: "SQLite"}, {name: "PostgreSQL"}, {name: "PostgreSQL, two milterds"}}
	defer func() {
		for _, s := range sides {
			for _, one := range s.sites {
				one.Close()
			}
		}
	}()
	for i, s := range sides {
		database := ""
		if i > 0 {
			if database, err = server.Create(); err != nil {
				return err
			}
		}
		if err := s.open(ctx, binary, filepath.Join(dir, fmt.Sprint(i)), database, max(1, i)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if rig.CanPostfix() {
		fmt.Printf("flow: %d rounds of %d sign mails by %d senders, each round for each side in turn; real Postfix\n", rounds, batch, senders)
	} else {
		fmt.Println("flow: mail goes through the demo's mail server, a stand-in for Postfix")
	}
	for round := -1; round < rounds; round++ { // the first is not counted
		for _, s := range sides {
			if err := s.round(ctx, round >= 0); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	for i, s := range sides {
		fmt.Printf("  %-24s  %s mails a second to the invitation; 250 to invitation: median %.2f s, p99 %.2f s; processor time of milterd %s ms a mail",
			s.name, probe.Spread(s.rate, 1), probe.Percentile(s.wait, 0.5), probe.Percentile(s.wait, 0.99), probe.Spread(s.processor, 0))
		if i > 0 {
			fmt.Printf("; rate to %s %s", sides[i-1].name, probe.Spread(probe.Ratios(s.rate, sides[i-1].rate), 2))
		}
		fmt.Println()
	}
	return nil
}

func (s *side) open(ctx context.Context, binary, dir, database string, n int) error {
	for i := range n {
		setup := rig.Setup{Binary: binary, Dir: filepath.Join(dir, fmt.Sprint(i)), Database: database, TCP: rig.CanPostfix()}
		if i > 0 {
			setup.Data = s.sites[0].Place.Data // the same keys
		}
		if err := os.MkdirAll(setup.Dir, 0o755); err != nil {
			return err
		}
		site, err := rig.Open(ctx, rig.Options{Setup: setup, Postfix: rig.CanPostfix()})
		if err != nil {
			return err
		}
		s.sites = append(s.sites, site)
		if _, err := site.Place.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// mail is one that is on its way.
type mail struct {
	signatory string
	taken     time.Time // answered 250
}

// round sends a batch and waits for its invitations.
func (s *side) round(ctx context.Context, counts bool) error {
	before, err := s.used()
	if err != nil {
		return err
	}
	seen := make([]int, len(s.sites))
	for i, one := range s.sites {
		seen[i] = len(one.Boxes.In(""))
	}
	begin := time.Now()
	sent, err := s.send()
	if err != nil {
		return err
	}
	last, err := s.arrived(ctx, sent, seen, counts)
	if err != nil {
		return err
	}
	after, err := s.used()
	if err != nil {
		return err
	}
	if counts {
		s.rate = append(s.rate, batch/last.Sub(begin).Seconds())
		s.processor = append(s.processor, probe.Ms(after-before)/batch)
	}
	return nil
}

func (s *side) used() (sum time.Duration, err error) {
	for _, one := range s.sites {
		d, err := probe.Processor(one.Place.Pid())
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// send hands a batch in, each sender to each site in turn.
func (s *side) send() ([]mail, error) {
	var mu sync.Mutex
	var sent []mail
	var failed error
	var all sync.WaitGroup
	work := make(chan int)
	for range senders {
		all.Go(func() {
			for i := range work {
				from, to, raw, err := s.sites[0].Draft()
				if err == nil {
					err = s.sites[i%len(s.sites)].Submit(from, to, raw)
				}
				mu.Lock()
				sent = append(sent, mail{strings.Replace(to, demo.SignDomain, demo.MailDomain, 1), time.Now()})
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	for i := range batch {
		work <- i
	}
	close(work)
	all.Wait()
	return sent, failed
}

// arrived waits until every signatory of a batch has got a letter. seen is how
// many letters each site had before.
func (s *side) arrived(ctx context.Context, sent []mail, seen []int, counts bool) (last time.Time, err error) {
	taken := map[string]time.Time{}
	for _, m := range sent {
		taken[m.signatory] = m.taken
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	letters := 0 // and the senders' receipts, so that nothing is left for the next round
	for left := len(taken); left > 0 || letters < 2*len(sent); {
		if ctx.Err() != nil {
			return last, fmt.Errorf("%d invitations did not arrive", left)
		}
		for i, one := range s.sites {
			for l := one.Boxes.Letter(seen[i] + 1); l != nil; l = one.Boxes.Letter(seen[i] + 1) {
				seen[i]++
				letters++
				if at, ok := taken[l.Box]; ok {
					delete(taken, l.Box)
					left--
					last = l.Received
					if counts {
						s.wait = append(s.wait, l.Received.Sub(at).Seconds())
					}
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last, nil
}
