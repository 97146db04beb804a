// Command mail measures what milterd costs mail, as ratios within one run:
// other mail past milterd, past a milter that does nothing and past opendkim
// against no milter, intercepted mail against plain mail, and how long a client
// waits at RCPT and at the end of a sign mail. It runs four private Postfixes, so
// it needs root.
//
//	go run ./bench/mail
//
// Intercepted mail goes the whole way that is paid before 250: parsing, PDF
// inspection in a child process, the session on disk in SQLite (synchronous
// FULL). The jobs that follow are not run. It is compared with the same mail to
// a colleague twice: until it lies in the colleague's maildir, which is what
// delivery is, and until Postfix has said 250, with a delivery that throws it
// away afterwards. All other mail goes to discard(8).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"milterd/signature/pdf"
)

// pairs is how often each comparison is made, its sides in turn.
const pairs = 9

func main() {
	if pdf.ChildMain() {
		return
	}
	if dir := os.Getenv(deskMark); dir != "" {
		if err := runDesk(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench/mail: desk:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/mail:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "milterd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := build(ctx, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	done := make(chan error, 1)
	go func() { done <- s.measure() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // the Postfixes must not outlive us
		return ctx.Err()
	}
}

func (s *stage) measure() error {
	fmt.Printf("other mail, time against no milter (median of %d interleaved rounds, smallest–largest)\n", pairs)
	for _, c := range []struct {
		name  string
		size  int
		batch int
		limit float64
	}{{"1 KB", 1 << 10, 80, 1.3}, {"5 MB", 5 << 20, 5, 1.05}} {
		if err := s.other(c.name, other(c.size), c.batch, c.limit); err != nil {
			return err
		}
	}
	fmt.Println("intercepted mail with a PDF of 100 KB, time against the same mail to a colleague, past the same milterd")
	if err := s.intercepted(30, 1.6); err != nil {
		return err
	}
	fmt.Println("1,000 sign mails of 2 KB in a row")
	return s.row(1000, 10*time.Millisecond)
}

// other compares mail that is not for the sign domain.
func (s *stage) other(name string, mail []byte, batch int, limit float64) error {
	ratios := map[string][]float64{}
	order := []string{"none", "milterd", "idle", "opendkim"}
	for i := -1; i < pairs; i++ {
		took := map[string]time.Duration{}
		for k := range order {
			side := order[(k+i+4)%4]
			start := time.Now()
			for range batch {
				if err := send(s.addr(side), "", mail, []string{"bob@corp.test"}, nil); err != nil {
					return fmt.Errorf("%s: %w", side, err)
				}
			}
			took[side] = time.Since(start)
		}
		if i < 0 {
			continue // the first round warms everything up
		}
		for side, t := range took {
			ratios[side] = append(ratios[side], t.Seconds()/took["none"].Seconds())
		}
	}
	fmt.Printf("  %-5s milterd   %s   limit %.2f%s\n", name, spread(ratios["milterd"]), limit, verdict(ratios["milterd"], limit))
	fmt.Printf("  %-5s a milter that does nothing  %s\n", name, spread(ratios["idle"]))
	fmt.Printf("  %-5s opendkim  %s\n", name, spread(ratios["opendkim"]))
	return nil
}

// row sends sign mails on one connection and looks at the slow ones.
func (s *stage) row(n int, limit time.Duration) error {
	c, err := dial(s.addr("milterd"), "jane")
	if err != nil {
		return err
	}
	defer c.Close()
	var t times
	start := time.Now()
	for range n {
		if err := c.mail(request(2<<10), []string{"john.doe@sign.corp.test"}, &t); err != nil {
			return err
		}
	}
	p := percentile(t.rcpt, 0.99)
	mark := ""
	if p > limit {
		mark = "  OVER"
	}
	fmt.Printf("  RCPT         median %s   p99 %s   limit %s%s\n", ms(percentile(t.rcpt, 0.5)), ms(p), ms(limit), mark)
	fmt.Printf("  end of body  median %s   p99 %s   %.0f mails/s\n", ms(percentile(t.data, 0.5)), ms(percentile(t.data, 0.99)),
		float64(n)/time.Since(start).Seconds())
	return s.printParts()
}

func spread(r []float64) string {
	s := slices.Sorted(slices.Values(r))
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s[len(s)/2], s[0], s[len(s)-1])
}

func verdict(r []float64, limit float64) string {
	if s := slices.Sorted(slices.Values(r)); s[len(s)/2] > limit {
		return "  OVER"
	}
	return ""
}

func percentile(d []time.Duration, p float64) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, int(p*float64(len(s))))]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
