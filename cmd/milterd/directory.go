package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"milterd/directory"
	"milterd/program"
	"milterd/workflow"
)

type directoryCmd struct {
	Address string `arg:"" help:"jane.roe@sign.corp.com, jane.roe@corp.com, or a login."`
}

func (directoryCmd) Help() string {
	return "Asks what intake would ask: who has an address with this part before the @ (whom mail to the sign domain asks), which group has one, whose the whole address is, and whose login. Then the groups of each person found, as the policy names them, and how each LDAP server does. Exit status 1 if nobody is found."
}

func (d directoryCmd) Run(c *cli) error {
	cfg, err := c.loadAsOwner()
	if err != nil {
		return err
	}
	ctx := context.Background()
	people, err := program.OpenDirectory(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	found, err := lookUp(ctx, os.Stdout, people, d.Address)
	if err == nil && !found {
		return exit(exitFailed)
	}
	return err
}

// lookUp puts every question about a key to the directory and writes the
// answers. The error is of a directory that does not answer.
func lookUp(ctx context.Context, out io.Writer, d directory.Backend, key string) (found bool, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	local := key
	if i := strings.LastIndexByte(key, '@'); i >= 0 {
		local = key[:i]
	}
	var persons []workflow.Person
	answer := func(question, key string, all []workflow.Person, e error) {
		switch {
		case e == nil && len(all) == 0:
			fmt.Fprintf(w, "%s %s\tnobody is in it\n", question, key)
		case e != nil:
			fmt.Fprintf(w, "%s %s\t%v\n", question, key, e)
			if !errors.Is(e, directory.ErrNotFound) && !errors.Is(e, directory.ErrAmbiguous) && !errors.Is(e, directory.ErrTooMany) {
				err = errors.New("the directory does not answer")
			}
			return
		}
		found = true
		for _, p := range all {
			fmt.Fprintf(w, "%s %s\t%s <%s>, language %s\n", question, key, p.Name, p.Mail, p.Language)
			question, key = "", ""
		}
	}
	one := func(question, key string, ask func(context.Context, string) (workflow.Person, error)) {
		p, e := ask(ctx, key)
		answer(question, key, []workflow.Person{p}, e)
		if e == nil && !slices.Contains(persons, p) {
			persons = append(persons, p)
		}
	}
	one("before the @", local, d.ByLocalPart)
	group, e := d.Group(ctx, local)
	answer("group", local, group, e)
	one("address", key, d.ByAddress)
	one("login", key, d.ByLogin)
	for _, p := range persons {
		groups, e := d.Groups(ctx, p.Mail)
		if e != nil {
			groups = []string{e.Error()}
		}
		if len(groups) == 0 {
			groups = []string{"none"}
		}
		fmt.Fprintf(w, "groups of %s\t%s\n", p.Mail, strings.Join(groups, "\n\t"))
	}
	first := "answered by"
	for _, s := range d.Check(ctx) {
		switch {
		case s.Err != nil:
			fmt.Fprintf(w, "away\t%s: %v\n", s.Source, s.Err)
		default:
			fmt.Fprintf(w, "%s\t%s in %v\n", first, s.Source, s.Took.Round(100*time.Microsecond))
			first = "would answer"
		}
	}
	return found, err
}
