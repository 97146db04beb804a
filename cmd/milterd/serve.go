package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"milterd/program"
)

type serveCmd struct{}

func (serveCmd) Run(c *cli) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p, err := program.Build(ctx, cfg, program.Logger(cfg, os.Stderr))
	if err != nil {
		return err
	}
	defer p.Close()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			p.Reload()
		}
	}()
	return p.Run(ctx)
}
