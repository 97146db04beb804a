package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Recipients of the same mail.
const (
	signatory = "john.doe@sign.corp.test"
	colleague = "carol@corp.test" // has a maildir
	nobody    = "bob@corp.test"   // his mail goes to discard(8)
	floor     = "floor@sign.corp.test"
	bare      = "bare@sign.corp.test"
)

// intercepted compares a sign mail with the same mail to a colleague.
func (s *stage) intercepted(batch int, limit float64) error {
	var delivered, accepted, atLeast, barely []float64
	each := map[string][]time.Duration{}
	for i := -1; i < pairs; i++ {
		took := map[string]time.Duration{}
		order := []string{signatory, colleague, nobody, floor, bare}
		for k := range order {
			to := order[(k+i+5)%5]
			var err error
			if took[to], err = s.batch(batch, to); err != nil {
				return fmt.Errorf("to %s: %w", to, err)
			}
		}
		if i < 0 {
			continue // the first round warms everything up
		}
		delivered = append(delivered, took[signatory].Seconds()/took[colleague].Seconds())
		accepted = append(accepted, took[signatory].Seconds()/took[nobody].Seconds())
		atLeast = append(atLeast, took[floor].Seconds()/took[nobody].Seconds())
		barely = append(barely, took[bare].Seconds()/took[nobody].Seconds())
		for to, t := range took {
			each[to] = append(each[to], t/time.Duration(batch))
		}
	}
	fmt.Printf("  until it is in his maildir   %s   limit %.2f%s\n", spread(delivered), limit, verdict(delivered, limit))
	fmt.Printf("  until 250, then thrown away  %s   limit %.2f%s\n", spread(accepted), limit, verdict(accepted, limit))
	fmt.Printf("  the same for a milter that only writes the mail to a file and flushes it  %s\n", spread(atLeast))
	fmt.Printf("  the same for a milter that parses it, has it inspected and writes it to SQLite  %s\n", spread(barely))
	fmt.Printf("  one mail     intercepted %s, delivered %s, only accepted %s, only written %s, barely kept %s\n", ms(percentile(each[signatory], 0.5)),
		ms(percentile(each[colleague], 0.5)), ms(percentile(each[nobody], 0.5)), ms(percentile(each[floor], 0.5)), ms(percentile(each[bare], 0.5)))
	if err := s.printParts(); err != nil {
		return err
	}
	if err := s.single("one until 250 against one until it is delivered", signatory, batch, limit); err != nil {
		return err
	}
	return s.single("the same for one that is barely kept", bare, batch, 0)
}

// single compares mails that are alone on the machine, in turn: how long one to a
// recipient takes until it is in the desk's hands and Postfix has said 250, against
// how long the same mail takes until it is delivered. In a batch Postfix delivers
// one mail while it takes the next; here nobody waits for anybody. There is no
// limit where it is 0.
func (s *stage) single(what, recipient string, n int, limit float64) error {
	var ratios []float64
	each := map[string][]time.Duration{}
	for i := -1; i < pairs; i++ {
		took := map[string][]time.Duration{}
		for k := range 2 * n {
			to := []string{recipient, colleague}[(k+k/2)%2] // each after each
			t, err := s.batch(1, to)
			if err != nil {
				return fmt.Errorf("to %s: %w", to, err)
			}
			took[to] = append(took[to], t)
		}
		if i < 0 {
			continue
		}
		ratios = append(ratios, percentile(took[recipient], 0.5).Seconds()/percentile(took[colleague], 0.5).Seconds())
		for to, t := range took {
			each[to] = append(each[to], t...)
		}
	}
	bound := ""
	if limit > 0 {
		bound = fmt.Sprintf("   limit %.2f%s", limit, verdict(ratios, limit))
	}
	fmt.Printf("  alone, %s  %s%s\n", what, spread(ratios), bound)
	fmt.Printf("  one mail     taken %s, delivered %s\n", ms(percentile(each[recipient], 0.5)), ms(percentile(each[colleague], 0.5)))
	if recipient != signatory {
		return nil
	}
	return s.printParts()
}

func (s *stage) printParts() error {
	said, err := s.parts()
	fmt.Println("  of which     " + said)
	return err
}

// batch sends n mails, each on a connection of its own, and says how long it
// took until the last was where it belongs. Nothing of an earlier batch is
// under way any more; the mails are made before.
func (s *stage) batch(n int, to string) (time.Duration, error) {
	if err := s.quiet(); err != nil {
		return 0, err
	}
	mails := make([][]byte, n)
	for i := range mails {
		mails[i] = request(100 << 10)
	}
	start := time.Now()
	for _, m := range mails {
		if err := send(s.addr("milterd"), "jane", m, []string{to}, nil); err != nil {
			return 0, err
		}
	}
	if to != colleague {
		return time.Since(start), nil
	}
	new := filepath.Join(s.mtas["milterd"].Maildir(colleague), "new")
	for time.Since(start) < time.Minute {
		files, err := os.ReadDir(new)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // Postfix makes it with the first mail
			return 0, err
		}
		if len(files) >= n {
			took := time.Since(start)
			return took, os.RemoveAll(new)
		}
		time.Sleep(100 * time.Microsecond)
	}
	return 0, errors.New("the mails are not delivered")
}

// quiet waits until Postfix has delivered everything.
func (s *stage) quiet() error {
	for range 30_000 {
		under := 0
		for _, queue := range []string{"incoming", "active", "deferred"} {
			files, err := os.ReadDir(filepath.Join(s.dir, "milterd", "spool", queue))
			if err != nil {
				return err
			}
			for _, f := range files {
				if !f.IsDir() {
					under++
				}
			}
		}
		if under == 0 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("the queue does not get empty")
}
