package main

import (
	"context"
	"fmt"

	"milterd/config"
	"milterd/postfix"
)

type postfixCmd struct {
	Print postfixPrint `cmd:"" help:"Print the lines for main.cf, each under its reason."`
	Apply postfixApply `cmd:"" help:"Put them into main.cf: shows the difference, asks, keeps a backup."`
	Check postfixCheck `cmd:"" help:"Look at the whole site as it runs: pass, warn or fail, and how to mend it."`
}

// postfixFlags name a Postfix and what the configuration does not say.
type postfixFlags struct {
	Postmaster string `default:"postmaster" placeholder:"ADDRESS" help:"Who gets mail to postmaster@ and abuse@ of the sign domain. Default: ${default}."`
	ConfigDir  string `type:"existingdir" placeholder:"DIR" help:"Folder of main.cf, for an instance of Postfix that is not the default one. Default: as postconf says."`
}

// defaultQueue is where Postfix's processes stand unless main.cf says otherwise.
const defaultQueue = "/var/spool/postfix"

func (p postfixFlags) instance() postfix.Instance { return postfix.Instance{Dir: p.ConfigDir} }

// site is what that Postfix must know, with sockets as its processes see them.
func (p postfixFlags) site(ctx context.Context, cfg *config.Config) (postfix.Site, error) {
	queue, err := p.instance().Value(ctx, "queue_directory")
	return p.siteBelow(cfg, queue), err
}

func (p postfixFlags) siteBelow(cfg *config.Config, queue string) postfix.Site {
	from := cfg.Senders
	return postfix.Site{SignDomain: cfg.Domain, Postmaster: p.Postmaster,
		Milter: postfix.Seen(cfg.Milter.Listen, queue), LMTP: postfix.Seen(cfg.LMTP.Listen, queue), ReceivedBy: cfg.LMTP.ReceivedBy,
		Strangers: len(from.DKIM) > 0 || from.Authserv != "" || from.Confirm, Trusted: cfg.Milter.Clients()}
}

type postfixPrint struct{ postfixFlags }

func (postfixPrint) Help() string {
	return "The lines are for a Postfix that sets none of these parameters yet; where it does, apply knows how to add to them. master.cf stays as it is."
}

func (p postfixPrint) Run(c *cli) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	site, err := p.site(context.Background(), cfg)
	if err != nil { // no Postfix here: its usual folder
		site = p.siteBelow(cfg, defaultQueue)
	}
	fmt.Print(postfix.MainCF(postfix.Settings(site)))
	return nil
}
