package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"milterd/demo"
	"milterd/workflow"
)

type demoCmd struct {
	Once    bool   `help:"Do both cases unattended (the sender signs, a colleague signs), keep mails and signed documents, check them, and end."`
	Level   string `enum:"standard,advanced,qualified" default:"standard" help:"Level of the cases of --once: standard; advanced, where software stands in for people's devices and says so; or qualified, with a stand-in for a trust service provider. Default: ${default}."`
	Postfix bool   `help:"Use a private instance of the Postfix that is installed here, instead of the built-in mail server. Needs root."`
	Port    int    `default:"8480" help:"Port of the page with the mailboxes; the signing pages are on the next one. Default: ${default}; 0 picks free ones."`
	Out     string `default:"demo" placeholder:"DIR" help:"Folder for mail/*.eml and signed/*.pdf of --once. Default: ${default}."`
	Verbose bool   `short:"v" help:"Show the log."`
}

func (d demoCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ok, err := demo.Run(ctx, demo.Options{Once: d.Once, Level: workflow.Level(d.Level), Postfix: d.Postfix, Port: d.Port, Dir: d.Out, Verbose: d.Verbose, Out: os.Stdout})
	if err != nil {
		return err
	}
	if !ok {
		return exit(exitFailed)
	}
	return nil
}
