package main

import (
	"context"
	"fmt"
	"log/slog"

	"milterd/program"
)

type checkConfigCmd struct{}

func (checkConfigCmd) Help() string {
	return "Reads the file as serve would, then everything that it names: keys, certificate, user file, database. Nothing is changed or served."
}

func (checkConfigCmd) Run(c *cli) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	p, err := program.Build(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer p.Close()
	fmt.Printf("%s: good\n", c.Config)
	return nil
}
