package main

import (
	"fmt"

	"milterd/postfix"
)

type postfixCmd struct {
	Print postfixPrint `cmd:"" help:"Print the lines for main.cf, each under its reason."`
}

type postfixPrint struct {
	Postmaster string `default:"postmaster" placeholder:"ADDRESS" help:"Who gets mail to postmaster@ and abuse@ of the sign domain. Default: ${default}."`
}

func (p postfixPrint) Run(c *cli) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	fmt.Print(postfix.MainCF(postfix.Settings(postfix.Site{SignDomain: cfg.Domain, Milter: cfg.Milter.Listen, Postmaster: p.Postmaster})))
	return nil
}
