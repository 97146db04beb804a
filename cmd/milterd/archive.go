package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"milterd/program"
	"milterd/workflow"
)

type archiveCmd struct {
	Renew archiveRenew `cmd:"" help:"Put younger archive timestamps over documents, before the present ones age."`
}

type archiveRenew struct {
	What []string `arg:"" optional:"" name:"session or file" help:"Sessions or PDF files. None: every kept session whose archive timestamps end within 180 days."`
}

func (archiveRenew) Help() string {
	return "A signature with an archive timestamp can be checked for as long as that timestamp's certificate holds. Before it ends, revocation data about it and a younger timestamp go over the document; all bytes before stay as they are. For documents that milterd keeps, a job does it; the files that people have got need this command, which replaces them in their place. Named sessions and files are renewed whether it is time or not."
}

// farAway is a time that no certificate outlives.
var farAway = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (a archiveRenew) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		if len(a.What) == 0 {
			return renewAll(ctx, p)
		}
		for _, what := range a.What {
			if info, err := os.Stat(what); err == nil && info.Mode().IsRegular() {
				err = renewFile(ctx, p, what)
				if err != nil {
					return fmt.Errorf("%s: %w", what, plain(err))
				}
				continue
			}
			n, until, err := p.Desk.RenewArchive(ctx, what, farAway, true)
			if errors.Is(err, workflow.ErrNotFound) {
				return fmt.Errorf("%s: neither a session nor a file", what)
			}
			if err != nil {
				return fmt.Errorf("session %s: %w", what, plain(err))
			}
			fmt.Printf("session %s: %s renewed, good until %s\n", what, count(n, "document", "documents"), clock(until))
		}
		return nil
	})
}

// renewAll goes on after a session that fails; the exit status tells.
func renewAll(ctx context.Context, p *program.Program) error {
	all, err := p.Store.List(ctx, workflow.Filter{State: workflow.Done, Limit: 1 << 30})
	if err != nil {
		return err
	}
	failed, renewed := 0, 0
	for _, s := range all {
		if !s.Purged.IsZero() {
			continue
		}
		n, until, err := p.Desk.RenewArchive(ctx, s.ID, time.Now().Add(workflow.RenewBefore), false)
		switch {
		case errors.Is(err, workflow.ErrGone): // meanwhile
		case err != nil:
			fmt.Fprintf(os.Stderr, "milterd: session %s: %v\n", s.ID, plain(err))
			failed++
		case n > 0:
			fmt.Printf("session %s: %s renewed, good until %s\n", s.ID, count(n, "document", "documents"), clock(until))
			renewed++
		}
	}
	fmt.Printf("%d of %s renewed\n", renewed, count(len(all), "session", "sessions"))
	if failed > 0 {
		return exit(exitFailed)
	}
	return nil
}

// renewFile replaces a file, whole, by one that begins with the same bytes.
func renewFile(ctx context.Context, p *program.Program, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	renewal, err := p.Signer.Renew(ctx, content, farAway)
	if err != nil {
		return err
	}
	for _, inc := range renewal.Increments {
		content = slices.Concat(content, inc.Suffix)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".milterd-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	fmt.Printf("%s: renewed, good until %s\n", path, clock(renewal.Until))
	return nil
}
