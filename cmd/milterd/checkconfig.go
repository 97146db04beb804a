package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"milterd/program"
)

type checkConfigCmd struct{}

func (checkConfigCmd) Help() string {
	return "Reads the file as serve would, then everything that it names: keys, certificate, people, database. Where files are to be converted, LibreOffice converts a trial in its sandbox. Each LDAP server is asked; one that is away while another answers is a warning, and so is what can hardly be meant: keys that carry another name, passkeys under an address instead of a name. Nothing is changed or served."
}

func (checkConfigCmd) Run(c *cli) error {
	cfg, err := c.loadAsOwner()
	if err != nil {
		return err
	}
	ctx := context.Background()
	p, err := program.Build(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.CheckConversion(ctx); err != nil {
		return err
	}
	warnings, err := p.CheckDirectory(ctx)
	for _, w := range slices.Concat(warnings, p.Warnings(), p.Ageing(time.Now())) {
		fmt.Fprintf(os.Stderr, "milterd: warning: %s\n", w)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%s: good\n", c.Config)
	return nil
}
