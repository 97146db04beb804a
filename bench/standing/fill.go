package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"milterd/auth"
	"milterd/demo"
	"milterd/notify"
	"milterd/store"
	"milterd/workflow"
)

const (
	document  = 2 << 10 // bytes, and the mail has them twice; their size costs nobody anything who does not ask for them
	at        = 50      // sessions in one transaction, which may take 30 s
	inserters = 3       // transactions at once on PostgreSQL
	deadline  = 14 * 24 * time.Hour
)

// fill opens sessions with the desk's own code, many in one transaction.
func fill(ctx context.Context, url string, n int) error {
	db, err := store.Open(ctx, store.Config{URL: url})
	if err != nil {
		return err
	}
	defer db.Close()
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		return err
	}
	content := make([]byte, document)
	rand.Read(content)
	now := time.Now()
	var work errgroup.Group
	work.SetLimit(1) // SQLite has one writer
	if !strings.HasPrefix(url, "sqlite:") {
		work.SetLimit(inserters)
	}
	for from := 0; from < n; from += at {
		work.Go(func() error {
			return db.Do(ctx, func(tx workflow.Tx) error {
				for i := from; i < min(from+at, n); i++ {
					// The sessions of the last two weeks; the next to end does so in an hour.
					created := now.Add(time.Hour - deadline*time.Duration(n-i)/time.Duration(n))
					desk := &workflow.Desk{Store: filling{db, opening{tx}}, Secrets: keys, Log: slog.Default(),
						Now: func() time.Time { return created }, Policy: policy}
					if _, _, err := desk.Open(ctx, request(i, content)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return db.Do(ctx, func(tx workflow.Tx) error { return tx.Sweep(time.Now()) })
}

// policy is milterd's own where nothing is configured.
var policy = workflow.Policy{URL: "https://sign.corp.test", Deadline: deadline, Retention: 90 * 24 * time.Hour, MailLimit: 10 << 20,
	Repeat: 8 * 24 * time.Hour, MailSize: notify.MailSize}

// request is one of 20,000 people's to another.
func request(i int, content []byte) workflow.Opening {
	person := func(n int) workflow.Person {
		n %= 20_000
		return workflow.Person{Mail: fmt.Sprintf("u%05d@%s", n, demo.MailDomain), Name: fmt.Sprintf("Person %d", n), Language: "en"}
	}
	return workflow.Opening{Level: workflow.Standard, Sender: person(i), ProvenBy: "sasl " + person(i).Mail,
		Signatories: []workflow.Person{person(i + 7)},
		Thread:      workflow.Thread{MessageID: fmt.Sprintf("<%d@%s>", i, demo.MailDomain), Subject: "Please sign"},
		Documents:   []workflow.NewDocument{{Name: "contract.pdf", Content: content, Pages: 1}},
		Mail:        slices.Concat(content, content), BodyHash: sha256.Sum256(fmt.Append(nil, i))}
}

// filling makes the desk's transaction a part of a longer one.
type filling struct {
	*store.Store
	tx workflow.Tx
}

func (f filling) Do(_ context.Context, fn func(workflow.Tx) error) error { return fn(f.tx) }

// opening leaves out the way from Preparing to Open, and its job: the document
// stays as it came.
type opening struct{ workflow.Tx }

func (o opening) Create(s *workflow.Session, mail []byte, originals [][]byte) error {
	s.State = workflow.Open
	return o.Tx.Create(s, mail, originals)
}

func (o opening) Enqueue(jobs ...workflow.Job) error {
	return o.Tx.Enqueue(slices.DeleteFunc(jobs, func(j workflow.Job) bool { return j.Kind == workflow.JobPrepare })...)
}
