package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"milterd/postfix"
	"milterd/postfix/doctor"
	"milterd/program"
)

type postfixCheck struct {
	postfixFlags
	JSON bool   `help:"Print the findings as JSON."`
	DNS  string `placeholder:"HOST:PORT" help:"DNS server to ask. Default: the system's."`
	As   string `placeholder:"ADDRESS" help:"Internal address to pretend to be when it tries to send without a login. Default: one of the directory's."`
}

func (postfixCheck) Help() string {
	return "Looks at Postfix and what it was told, at both sockets as Postfix's processes see them, at DNS, the directory, the relay, timestamps, clock, certificates, revocation lists, database and disks. " +
		"Tries to send as an internal person without a login, from every address of this machine, and lets a mail of milterd come back to it. Changes nothing and opens no session; docs/check.md tells each check. " +
		"Works whether milterd is running or not, best as root. The exit status is for monitoring: 0 pass, 1 warn, 2 fail, 3 it could not begin."
}

func (p postfixCheck) Run(c *cli) error {
	report, err := p.examine(c)
	if err != nil {
		fmt.Fprintf(os.Stderr, "milterd: %v\n", err)
		return exit(exitUsage)
	}
	if p.JSON {
		err = report.JSON(os.Stdout)
	} else {
		_, err = report.WriteTo(os.Stdout)
	}
	if err != nil {
		return err
	}
	if status := report.Exit(); status != 0 {
		return exit(status)
	}
	return nil
}

func (p postfixCheck) examine(c *cli) (doctor.Report, error) {
	cfg, err := c.load()
	if err != nil {
		return doctor.Report{}, err
	}
	ctx := context.Background()
	site, err := p.site(ctx, cfg)
	if err != nil { // the doctor says it
		site = p.siteBelow(cfg, defaultQueue)
	}
	people, nobody := program.OpenDirectory(ctx, cfg, slog.New(slog.DiscardHandler))
	d := doctor.Doctor{Config: cfg, Postfix: p.instance(), Site: site, Settings: postfix.Settings(site),
		Directory: people, NoDirectory: nobody, Resolver: net.DefaultResolver, As: p.As, Now: time.Now}
	if p.DNS != "" {
		d.Resolver = doctor.Resolver(p.DNS)
	}
	return d.Examine(ctx), nil
}
