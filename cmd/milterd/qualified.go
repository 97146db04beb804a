package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"milterd/program"
	"milterd/workflow"
)

type qualifiedCmd struct {
	Lists qualifiedLists `cmd:"" help:"Say how the trusted lists stand."`
	Check qualifiedCheck `cmd:"" help:"Say whether a certificate would be taken for a Qualified signature of somebody."`

	Register   qualifiedRegister   `cmd:"" help:"Register a certificate as somebody's."`
	Registered qualifiedRegistered `cmd:"" help:"List the certificates that are registered, and those that were."`
	Unregister qualifiedUnregister `cmd:"" help:"Remove a registered certificate."`
}

type qualifiedLists struct {
	Refresh bool `help:"Fetch newer ones first, from the address in the configuration."`
}

func (qualifiedLists) Help() string {
	return "The list of the lists comes first (EU), then those of the countries: sequence number, when the next one is due, how many services issue qualified certificates, and for a list that does not count why. The exit status is 1 if one does not count."
}

func (q qualifiedLists) Run(c *cli) error {
	cfg, err := c.loadAsOwner() // serve refreshes the folder, too
	if err != nil {
		return err
	}
	lists, err := program.OpenLists(cfg)
	if err != nil {
		return err
	}
	if lists == nil {
		return errors.New("no trusted lists are configured: see qualified.lotl_signers")
	}
	if q.Refresh {
		if cfg.Qualified.LOTL == "" {
			return errors.New("qualified.lotl is empty: the lists are put into their folder by hand")
		}
		if err := lists.Refresh(context.Background()); err != nil {
			fmt.Fprintf(os.Stderr, "milterd: %v\n", err)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIST\tNUMBER\tISSUED\tNEXT UPDATE\tSERVICES\tSTANDS")
	failed := false
	for _, s := range lists.Status() {
		stands := "yes"
		if s.Reason != "" {
			stands, failed = "no: "+string(s.Reason)+": "+s.Why, true
		}
		if s.Issued.IsZero() {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t%s\n", s.Territory, stands)
			continue
		}
		next := "none"
		if !s.NextUpdate.IsZero() {
			next = clock(s.NextUpdate)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%s\n", s.Territory, s.Sequence, clock(s.Issued), next, s.Services, stands)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed {
		return exit(exitFailed)
	}
	return nil
}

type qualifiedCheck struct {
	Certificate string `arg:"" type:"existingfile" help:"Certificate, PEM or DER; its issuers may follow it."`
	Mail        string `arg:"" help:"Mail address of the person who would sign."`
	Advanced    bool   `help:"Ask for a signature at level Advanced, on a phone: by openotp.advanced_anchors instead of trusted lists."`
}

func (qualifiedCheck) Help() string {
	return "Does what the page does before a signature is prepared: trusted lists, statements in the certificate, revocation at this moment, and whether it is the person's, by the directory and by what is registered. With --advanced, what it does with a certificate that comes from a phone at level Advanced. Nothing is signed or kept. The exit status is 1 if the certificate is not taken."
}

func (q qualifiedCheck) Run(c *cli) error {
	certs, err := readRoots(q.Certificate)
	if err != nil {
		return err
	}
	return c.with(func(ctx context.Context, p *program.Program) error {
		level, where := workflow.Qualified, "level Qualified is not set up: see [qualified] in the configuration"
		if q.Advanced {
			level, where = workflow.Advanced, "phones are not set up at level Advanced: see openotp.advanced in the configuration"
		}
		acceptor := p.Desk.Acceptors[level]
		if acceptor == nil {
			return errors.New(where)
		}
		who, err := p.Directory.ByAddress(ctx, q.Mail)
		if err != nil {
			return fmt.Errorf("%s: %w", q.Mail, err)
		}
		found, err := acceptor.Accept(ctx, who, raw(certs))
		if r := (*workflow.Refusal)(nil); errors.As(err, &r) {
			fmt.Printf("not taken: %s: %s\n", r.Reason, r.Text)
			if r.Err != nil {
				fmt.Printf("  %v\n", r.Err)
			}
			return exit(exitFailed)
		}
		if err != nil {
			return err
		}
		fmt.Printf("taken for %s <%s>\n  %s\n  issued by %s\n  vouched for by %s\n", who.Name, who.Mail, found.Subject, found.Issuer, found.Vouched)
		for _, k := range found.Checks {
			fmt.Printf("  %-8s %s (%s)", k.Outcome, k.Name, k.Clause)
			if k.Detail != "" {
				fmt.Printf(": %s", k.Detail)
			}
			fmt.Println()
		}
		return nil
	})
}

func raw(certs []*x509.Certificate) (out [][]byte) {
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}
