package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"milterd/program"
	"milterd/workflow"
)

type sessionCmd struct {
	List   sessionList   `cmd:"" help:"List sessions, newest first."`
	Show   sessionShow   `cmd:"" help:"Show a session: people, documents with digests, jobs and the audit trail."`
	Cancel sessionCancel `cmd:"" help:"Stop a session and tell everyone concerned."`
	Resend sessionResend `cmd:"" help:"Mail again what a session waits for, and retry its jobs that ran out of tries."`

	Evidence sessionEvidence `cmd:"" help:"Write the evidence of a session: what passkeys and keys of its signatories made, certificates and audit trail, sealed and timestamped."`
}

// open builds the rooms without serving, for a look from beside.
func (c *cli) open(ctx context.Context) (*program.Program, error) {
	cfg, err := c.loadAsOwner()
	if err != nil {
		return nil, err
	}
	return program.Build(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

type sessionList struct {
	State  string `enum:"all,preparing,open,sealing,done,declined,expired,cancelled" default:"all" placeholder:"STATE" help:"Only sessions in this state: one of ${enum}. Default: ${default}."`
	Person string `placeholder:"MAIL" help:"Only sessions that concern this address."`
	Limit  int    `default:"50" help:"At most this many."`
}

func (l sessionList) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	f := workflow.Filter{State: workflow.State(l.State), Person: l.Person, Limit: l.Limit}
	if l.State == "all" {
		f.State = ""
	}
	list, err := p.Store.List(ctx, f)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tSTATE\tOPENED\tSENDER\tSIGNATORIES\tDOCUMENTS")
	for _, s := range list {
		var who, docs []string
		for _, i := range s.Signatories() {
			who = append(who, s.People[i].Mail)
		}
		for _, i := range s.Mailed() {
			docs = append(docs, s.Documents[i].Name)
		}
		sender := ""
		if p := s.Sender(); p != nil {
			sender = p.Mail
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.State, clock(s.Created), sender, strings.Join(who, " "), strings.Join(docs, ", "))
	}
	return w.Flush()
}

type sessionShow struct {
	ID string `arg:"" help:"Session."`
}

func (sh sessionShow) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := p.Store.Session(ctx, sh.ID)
	if errors.Is(err, workflow.ErrNotFound) {
		return fmt.Errorf("session %s: not found", sh.ID)
	}
	if err != nil {
		return err
	}
	jobs, err := p.Store.Jobs(ctx, s.ID)
	if err != nil {
		return err
	}
	// A broken chain is a finding, not a reason to show nothing.
	events, broken := p.Store.Events(ctx, s.ID)
	program.Describe(os.Stdout, s, jobs, events, broken)
	if broken != nil {
		return exit(exitFailed)
	}
	return nil
}

type sessionCancel struct {
	ID     string `arg:"" help:"Session."`
	Reason string `required:"" placeholder:"TEXT" help:"Why; it is mailed to everyone concerned."`
}

func (s sessionCancel) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Desk.Cancel(ctx, s.ID, s.Reason); err != nil {
		return plain(err)
	}
	fmt.Printf("session %s: cancelled\n", s.ID)
	return nil
}

type sessionResend struct {
	ID string `arg:"" help:"Session."`
}

func (s sessionResend) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	n, err := p.Desk.Resend(ctx, s.ID)
	if err != nil {
		return plain(err)
	}
	fmt.Printf("session %s: %s started\n", s.ID, count(n, "mail or job", "mails and jobs"))
	return nil
}

type sessionEvidence struct {
	ID  string `arg:"" help:"Session."`
	Out string `short:"o" placeholder:"FILE" help:"Write it there; the file must not exist. Default: standard output."`
}

func (sessionEvidence) Help() string {
	return "The file is JSON and holds no document and no secret, but names, addresses and the drawn signatures. milterd verify --evidence checks it years later without network or database. It can still be written when the documents have been deleted."
}

func (s sessionEvidence) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	content, err := p.Evidence(ctx, s.ID)
	switch {
	case errors.Is(err, workflow.ErrNotFound):
		return fmt.Errorf("session %s: not found", s.ID)
	case err != nil:
		return err
	case s.Out == "":
		_, err = os.Stdout.Write(content)
		return err
	}
	f, err := os.OpenFile(s.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// plain takes the SMTP codes off a refusal.
func plain(err error) error {
	var r *workflow.Refusal
	if errors.As(err, &r) {
		return errors.New(r.Text)
	}
	return err
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
