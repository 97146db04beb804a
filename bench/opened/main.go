// Command opened looks at the memory of a real milterd while 10,000 sessions are
// opened at its milter door: each by a sign mail with a PDF, inspected, stored
// in SQLite, laid out, its invitation and receipt sent.
//
//	go run ./bench/opened bin/milterd
//
// It knocks at the milter socket as Postfix does; milterd's own mails go to a
// mail server that throws them away. It stops after -most and says how far it
// came; -most 0 waits for all of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/demo"
	"milterd/internal/rig"
)

const (
	senders = 4   // connections at once
	ahead   = 200 // mails that may wait for their invitations
	rest    = 20 * time.Second
)

func main() {
	sessions := flag.Int("sessions", 10_000, "how many")
	most := flag.Duration("most", 200*time.Second, "how long at most, 0 for ever")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: opened [-sessions N] [-most TIME] BINARY")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx, flag.Arg(0), *sessions, *most); err != nil {
		fmt.Fprintln(os.Stderr, "bench/opened:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string, sessions int, most time.Duration) error {
	dir, err := os.MkdirTemp("", "milterd-opened-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sink, err := probe.NewSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	var users strings.Builder
	people := rig.People()
	for _, p := range people {
		fmt.Fprintf(&users, "[[user]]\nmail = %q\nname = %q\n", p.Mail, p.Name)
	}
	if err := os.WriteFile(dir+"/users.toml", []byte(users.String()), 0o644); err != nil {
		return err
	}
	place, err := rig.At(rig.Setup{Binary: binary, Dir: dir})
	if err != nil {
		return err
	}
	if err := place.Configure(ctx, sink.Address, dir+"/users.toml"); err != nil {
		return err
	}
	if _, err := place.Start(ctx); err != nil {
		return err
	}
	defer place.Kill()
	time.Sleep(2 * time.Second) // until what starts late has started

	fmt.Printf("opened: up to %d sessions, PDF of %d KB, SQLite\n", sessions, len(demo.Sample().Content)>>10)
	if err := weigh(place.Pid(), "before"); err != nil {
		return err
	}
	begin := time.Now()
	done := 0
	for _, upTo := range []int{100, 1_000, 2_500, 5_000, 10_000, sessions} {
		if upTo = min(upTo, sessions); upTo <= done || most > 0 && time.Since(begin) > most {
			continue
		}
		until := begin.Add(most)
		if most == 0 {
			until = begin.Add(24 * time.Hour)
		}
		if done, err = open(ctx, place, sink, people, done, upTo, until); err != nil {
			return err
		}
		if err := weigh(place.Pid(), fmt.Sprintf("%d sessions, %.0f s", done, time.Since(begin).Seconds())); err != nil {
			return err
		}
	}
	time.Sleep(rest)
	return weigh(place.Pid(), fmt.Sprintf("%s later", rest))
}

// open opens sessions number from to upTo, not beyond a time, and waits for
// their mails. It gives how many there are now.
func open(ctx context.Context, place *rig.Place, sink *probe.Sink, people []demo.Person, from, upTo int, until time.Time) (int, error) {
	var next atomic.Int64
	next.Store(int64(from))
	failed := make(chan error, senders)
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			door, err := probe.Knock(place.Milter)
			if err != nil {
				failed <- err
				return
			}
			defer door.Close()
			for time.Now().Before(until) {
				i := next.Add(1) - 1
				if i >= int64(upTo) {
					next.Add(-1)
					return
				}
				if err := one(ctx, door, sink, people, int(i)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
	}
	have := int(next.Load())
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return have, sink.Wait(ctx, func() bool { return sink.All() >= 2*have })
}

func one(ctx context.Context, door *probe.Door, sink *probe.Sink, people []demo.Person, i int) error {
	if err := sink.Wait(ctx, func() bool { return sink.All() >= 2*(i-ahead) }); err != nil {
		return err
	}
	from, to := people[i%len(people)], rig.Local(people[(i+1)%len(people)])+"@"+demo.SignDomain
	raw, err := demo.Draft{From: from, To: []string{to}, Subject: "[Standard] bench", Text: "x", File: demo.Sample()}.Compose()
	if err != nil {
		return err
	}
	_, _, err = door.Mail(from.Mail, to, raw)
	return err
}

func weigh(pid int, when string) error {
	all, file, err := probe.Resident(pid)
	if err != nil {
		return err
	}
	used, err := probe.Processor(pid)
	if err != nil {
		return err
	}
	fmt.Printf("  %-24s memory %.0f MiB, %.0f of it the program's file; processor time so far %.0f s\n", when+":", all, file, used.Seconds())
	return nil
}
