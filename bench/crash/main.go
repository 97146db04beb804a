// Command crash kills a serving milterd again and again while mails come in,
// and counts what was lost or doubled.
//
//	go run ./bench/crash -milterd bin/milterd -kills 20
//
// A sender here is as persistent as Postfix: a mail that was not taken is sent
// again, byte for byte, until it is. Afterwards each accepted mail must have
// opened exactly one session, and each session mailed one invitation and one
// receipt. A mail of ours that comes twice with the same Message-ID is counted
// apart: it is what a crash between Postfix's 250 and our commit leaves
// (docs/design.md, decision 13).
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"milterd/bench/served"
	"milterd/demo"
	"milterd/store"
	"milterd/workflow"
)

func main() {
	binary := flag.String("milterd", "bin/milterd", "the program to kill")
	kills := flag.Int("kills", 20, "how often")
	senders := flag.Int("senders", 4, "who send at the same time")
	flag.Parse()
	if err := crash(context.Background(), *binary, *kills, *senders); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func crash(ctx context.Context, binary string, kills, senders int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "milterd-crash-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	people, users, err := demo.People()
	if err != nil {
		return err
	}
	usersFile := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(usersFile, users, 0o644); err != nil {
		return err
	}
	passwords := map[string]string{}
	var addresses []string
	for _, p := range people {
		passwords[p.Mail] = "demo"
		addresses = append(addresses, p.Mail)
	}
	boxes := demo.NewMailboxes(addresses...)
	server := &demo.MailServer{Domain: demo.MailDomain, SignDomain: demo.SignDomain, Users: passwords, Boxes: boxes,
		Milter: "unix:" + filepath.Join(dir, "milter.sock"), Log: slog.New(slog.DiscardHandler)}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Close()
	place, err := served.Prepare(ctx, binary, dir, server.Address(), usersFile)
	if err != nil {
		return err
	}
	if _, err := place.Start(ctx); err != nil {
		return err
	}

	stop := make(chan struct{})
	var mu sync.Mutex
	var taken []string // Message-IDs of accepted mails
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := demo.Draft{From: people[0], To: []string{"john.doe@" + demo.SignDomain}, Subject: "crash", Text: "x", File: demo.Sample()}
				raw, err := d.Compose()
				if err != nil {
					fmt.Fprintln(os.Stderr, "crash:", err)
					return
				}
				for demo.Submit(server.Address(), people[0].Mail, "demo", d.From.Mail, d.To, raw) != nil {
					if ctx.Err() != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
				mu.Lock()
				taken = append(taken, demo.MessageID(raw))
				mu.Unlock()
			}
		})
	}
	for range kills {
		time.Sleep(time.Duration(200+rand.IntN(1800)) * time.Millisecond)
		place.Kill()
		if _, err := place.Start(ctx); err != nil {
			return err
		}
	}
	close(stop)
	sending.Wait()

	// Everything that has been taken must now come to its mails by itself.
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "data", "milterd.db")})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := settled(ctx, db, len(taken), boxes); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
	}
	if err := place.Stop(); err != nil {
		return err
	}
	return count(ctx, db, boxes, taken, kills)
}

// settled waits until no mail has come for a while and every session is open.
func settled(ctx context.Context, db *store.Store, want int, boxes *demo.Mailboxes) error {
	deadline := time.Now().Add(4 * time.Minute)
	quiet, last := 0, -1
	for time.Now().Before(deadline) && ctx.Err() == nil {
		list, err := db.List(ctx, workflow.Filter{State: workflow.Open, Limit: want + 100})
		if err != nil {
			return err
		}
		now := len(boxes.In(""))
		if now == last && len(list) >= want && now >= 2*want {
			if quiet++; quiet == 3 {
				return nil
			}
		} else {
			quiet = 0
		}
		last = now
		time.Sleep(time.Second)
	}
	return fmt.Errorf("not everything settled in time: %d mails", last)
}

// count prints the closing line; anything lost or doubled is an error.
func count(ctx context.Context, db *store.Store, boxes *demo.Mailboxes, taken []string, kills int) error {
	list, err := db.List(ctx, workflow.Filter{Limit: 10*len(taken) + 100})
	if err != nil {
		return err
	}
	sessions := map[string]int{}
	for _, s := range list {
		sessions[s.Thread.MessageID]++
	}
	lost, doubled := 0, 0
	for _, id := range taken {
		switch sessions[id] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	ours := map[string]int{}
	repeats := 0
	for _, l := range boxes.In("") {
		id := l.Box + demo.MessageID(l.Raw)
		if ours[id]++; ours[id] > 1 {
			repeats++
		}
	}
	missing := max(2*len(list)-len(ours), 0)
	extra := max(len(ours)-2*len(list), 0)
	fmt.Printf("crash: kills=%d mails=%d sessions=%d lost=%d doubled=%d notices=%d missing=%d extra=%d repeated=%d\n",
		kills, len(taken), len(list), lost, doubled, len(ours), missing, extra, repeats)
	if lost+doubled+missing+extra > 0 {
		return fmt.Errorf("%d lost, %d doubled, %d notices missing, %d too many", lost, doubled, missing, extra)
	}
	return nil
}
