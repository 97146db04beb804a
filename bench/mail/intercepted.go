package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // without cgo, as in package store

	"milterd/mailparse"
	"milterd/milter"
	"milterd/signature/pdf"
)

// Recipients of the same mail.
const (
	signatory = "john.doe@sign.corp.test"
	colleague = "carol@corp.test" // has a maildir
	nobody    = "bob@corp.test"   // his mail goes to discard(8)
	floor     = "floor@sign.corp.test"
	bare      = "bare@sign.corp.test"
)

// least is an Intake that takes the mail to floor@ with the least that any
// milter can do that answers for a mail: it writes it to a file, and flushes that.
// For the mail to bare@ it does the least that keeps decisions 2, 3, 13 and 15
// of docs/design.md: it parses the mail, has its document inspected in a child,
// and writes both to SQLite in one transaction. There is no session, no job, no
// audit trail, and nobody is looked up.
type least struct {
	milter.Intake
	dir string
	db  *sql.DB
}

// openBare opens the database for the mail to bare@, set as package store does.
func openBare(dir string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "bare.db")+"?_txlock=immediate&_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE mails (id INTEGER PRIMARY KEY, data BLOB); CREATE TABLE contents (id INTEGER PRIMARY KEY, data BLOB)")
	return db, err
}

// keep takes a mail to bare@.
func (l least) keep(ctx context.Context, raw []byte) error {
	r, err := mailparse.Parse(raw, mailparse.Limits{})
	if err != nil {
		return err
	}
	content := r.Documents[0].Content
	if _, err := pdf.InspectInChild(ctx, content); err != nil {
		return err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO mails (data) VALUES (?)", raw); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO contents (data) VALUES (?)", content); err != nil {
		return err
	}
	return tx.Commit()
}

// Recipient implements milter.Intake.
func (l least) Recipient(ctx context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	if recipient == floor || recipient == bare {
		return milter.Take, nil
	}
	return l.Intake.Recipient(ctx, e, recipient)
}

// Message implements milter.Intake.
func (l least) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	switch e.Recipients[0] {
	case floor:
		return l.write(raw)
	case bare:
		return l.keep(ctx, raw)
	}
	return l.Intake.Message(ctx, e, raw)
}

// write takes a mail to floor@.
func (l least) write(raw []byte) error {
	f, err := os.CreateTemp(l.dir, "mail")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(raw); err != nil {
		return err
	}
	return f.Sync()
}

// intercepted compares a sign mail with the same mail to a colleague.
func (s *stage) intercepted(batch int, limit float64) error {
	var delivered, accepted, atLeast, barely []float64
	each := map[string][]time.Duration{}
	s.inspected, s.opened = nil, nil
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
	s.parts()
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
	s.inspected, s.opened = nil, nil
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
	if recipient == signatory {
		s.parts()
	}
	return nil
}

// parts prints what the parts of intercepted mails took since they were reset.
func (s *stage) parts() {
	fmt.Printf("  of which     inspection median %s p99 %s, store median %s p99 %s\n", ms(percentile(s.inspected, 0.5)),
		ms(percentile(s.inspected, 0.99)), ms(percentile(s.opened, 0.5)), ms(percentile(s.opened, 0.99)))
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
