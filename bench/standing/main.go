// Command standing measures what 100,000 open sessions cost a milterd: at its
// start, at rest, at the door and on the way to the invitation, beside one with
// an empty database in the same run; on SQLite, or on PostgreSQL with fsync.
//
//	go run ./bench/standing bin/milterd
//	go run ./bench/standing -postgres bin/milterd
//
// The sessions are inserted many in one transaction, by the desk's own code:
// each with its mail and document (small ones), people, links, request key,
// audit trail and the job that ends it at its deadline, spread over two weeks.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"milterd/bench/internal/probe"
	"milterd/demo"
	"milterd/internal/rig"
	"milterd/store/pgtest"
)

const (
	rounds = 5
	mails  = 8 // in a round, for each side
	settle = 2 * time.Second
	rest   = 10 * time.Second
)

func main() {
	sessions := flag.Int("sessions", 100_000, "how many")
	postgres := flag.Bool("postgres", false, "on PostgreSQL")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: standing [-sessions N] [-postgres] BINARY")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := measure(ctx, flag.Arg(0), *sessions, *postgres); err != nil {
		fmt.Fprintln(os.Stderr, "bench/standing:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, binary string, sessions int, postgres bool) error {
	dir, err := os.MkdirTemp("", "milterd-standing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sink, err := probe.NewSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	engine := "SQLite"
	var databases [2]string
	if postgres {
		engine = "PostgreSQL"
		server, err := pgtest.New("fsync=on", "full_page_writes=on", "autovacuum=on")
		if err != nil {
			return err
		}
		defer server.Close()
		for i := range databases {
			if databases[i], err = server.Create(); err != nil {
				return err
			}
		}
	}
	var sides [2]*side
	for i, n := range []int{0, sessions} {
		if sides[i], err = prepare(ctx, binary, filepath.Join(dir, fmt.Sprint(i)), databases[i], sink); err != nil {
			return err
		}
		begin := time.Now()
		if err := fill(ctx, sides[i].database, n); err != nil {
			return fmt.Errorf("filling: %w", err)
		}
		if n > 0 {
			fmt.Printf("standing: %s, with %d open sessions (inserted in %.0f s) and empty, in turn\n", engine, n, time.Since(begin).Seconds())
		}
	}
	return compare(ctx, sink, sides[0], sides[1])
}

// side is a milterd that stands or runs.
type side struct {
	place    *rig.Place
	database string
	people   []demo.Person
	turn     int

	start, memory, rest, rcpt, end, invitation, metrics []float64 // of each round
}

func prepare(ctx context.Context, binary, dir, database string, sink *probe.Sink) (*side, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var users strings.Builder
	s := &side{people: rig.People(), database: database}
	for _, p := range s.people {
		fmt.Fprintf(&users, "[[user]]\nmail = %q\nname = %q\n", p.Mail, p.Name)
	}
	file := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(file, []byte(users.String()), 0o644); err != nil {
		return nil, err
	}
	var err error
	if s.place, err = rig.At(rig.Setup{Binary: binary, Dir: dir, Database: database}); err != nil {
		return nil, err
	}
	if database == "" {
		s.database = "sqlite:" + filepath.Join(s.place.Data, "milterd.db")
	}
	return s, s.place.Configure(ctx, sink.Address, file)
}

// compare lets the two take turns: each round is a start, a rest and some mails.
func compare(ctx context.Context, sink *probe.Sink, sides ...*side) error {
	for round := -1; round < rounds; round++ { // the first is not counted
		for _, s := range sides {
			if err := s.round(ctx, sink, round == 0); err != nil {
				return err
			}
			if round < 0 {
				*s = side{place: s.place, database: s.database, people: s.people, turn: s.turn}
			}
		}
	}
	empty, full := sides[0], sides[1]
	for _, row := range []struct {
		what, unit  string
		empty, full []float64
		digits      int
	}{
		{"start", "ms", empty.start, full.start, 0},
		{"memory at rest", "MiB", empty.memory, full.memory, 0},
		{"processor time at rest", "ms a second", empty.rest, full.rest, 1},
		{"RCPT, median", "ms", empty.rcpt, full.rcpt, 2},
		{"end of body, median", "ms", empty.end, full.end, 1},
		{"250 to invitation, median", "ms", empty.invitation, full.invitation, 0},
		{"GET /metrics", "ms", empty.metrics, full.metrics, 1},
	} {
		fmt.Printf("  %-26s %s %s, empty %s", row.what, probe.Spread(row.full, row.digits), row.unit, probe.Spread(row.empty, row.digits))
		if len(row.full) == rounds {
			fmt.Printf("; ratio %s", probe.Spread(probe.Ratios(row.full, row.empty), 2))
		}
		fmt.Println()
	}
	return nil
}

// round starts milterd, lets it rest, shows it mails and stops it. long is for
// the processor time at rest, which takes a while to be seen.
func (s *side) round(ctx context.Context, sink *probe.Sink, long bool) error {
	took, err := s.place.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if s.place.Running() {
			s.place.Kill()
		}
	}()
	s.start = append(s.start, probe.Ms(took))
	time.Sleep(settle)
	mib, _, err := probe.Resident(s.place.Pid())
	if err != nil {
		return err
	}
	s.memory = append(s.memory, mib)
	if long {
		before, err := probe.Processor(s.place.Pid())
		if err != nil {
			return err
		}
		time.Sleep(rest)
		after, err := probe.Processor(s.place.Pid())
		if err != nil {
			return err
		}
		s.rest = append(s.rest, probe.Ms(after-before)/rest.Seconds())
	}
	if err := s.show(ctx, sink); err != nil {
		return err
	}
	begin := time.Now()
	resp, err := http.Get("http://" + s.place.Monitor() + "/metrics")
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	s.metrics = append(s.metrics, probe.Ms(time.Since(begin)))
	return s.place.Stop()
}

// show sends mails, each when the invitation and the receipt of the one before are there.
func (s *side) show(ctx context.Context, sink *probe.Sink) error {
	door, err := probe.Knock(s.place.Milter)
	if err != nil {
		return err
	}
	defer door.Close()
	var rcpt, end, invitation []float64
	for range mails {
		s.turn++
		from, to := s.people[s.turn%len(s.people)], s.people[(s.turn+1)%len(s.people)]
		address := rig.Local(to) + "@" + demo.SignDomain
		raw, err := demo.Draft{From: from, To: []string{address}, Subject: "[Standard] bench", Text: "x", File: demo.Sample()}.Compose()
		if err != nil {
			return err
		}
		all, hers := sink.All(), sink.Got(to.Mail)
		r, e, err := door.Mail(from.Mail, address, raw)
		if err != nil {
			return err
		}
		taken := time.Now()
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := sink.Wait(wait, func() bool { return sink.Got(to.Mail) > hers }); err != nil {
			return fmt.Errorf("waiting for the invitation: %w", err)
		}
		invited := time.Since(taken)
		if err := sink.Wait(wait, func() bool { return sink.All() >= all+2 }); err != nil {
			return fmt.Errorf("waiting for the receipt: %w", err)
		}
		rcpt, end, invitation = append(rcpt, probe.Ms(r)), append(end, probe.Ms(e)), append(invitation, probe.Ms(invited))
	}
	s.rcpt = append(s.rcpt, probe.Percentile(rcpt, 0.5))
	s.end = append(s.end, probe.Percentile(end, 0.5))
	s.invitation = append(s.invitation, probe.Percentile(invitation, 0.5))
	return nil
}
