package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"milterd/program"
	"milterd/workflow"
)

type qualifiedRegister struct {
	Mail        string `arg:"" help:"Mail address of the person whose certificate it is."`
	Certificate string `arg:"" type:"existingfile" help:"Certificate, PEM or DER; its issuers may follow it."`
}

func (qualifiedRegister) Help() string {
	return "From then on the certificate is known as that person's, however the directory spells the name; with qualified.registered = \"required\" no others are taken. It must be good for a Qualified signature now, and bear the identifier that the directory has, if it has one. Have the person show you the card, or the certificate's number, face to face: whoever reads somebody's mail can ask in that person's name. No mail is sent."
}

func (r qualifiedRegister) Run(c *cli) error {
	certs, err := readRoots(r.Certificate)
	if err != nil {
		return err
	}
	return c.with(func(ctx context.Context, p *program.Program) error {
		if p.Desk.Acceptors[workflow.Qualified] == nil {
			return errors.New("level Qualified is not set up: see [qualified] in the configuration")
		}
		who, err := p.Directory.ByAddress(ctx, r.Mail)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Mail, err)
		}
		found, err := p.Enrolments.Cards.Registrable(ctx, who, raw(certs))
		if err != nil {
			return plain(err)
		}
		reg, err := p.Desk.RegisterCertificate(ctx, who.Mail, found.Chain[0])
		if err != nil {
			return plain(err)
		}
		fmt.Printf("%s: registered for %s <%s>\n  %s\n  issued by %s\n", reg.ID, who.Name, who.Mail, found.Subject, found.Issuer)
		return nil
	})
}

type qualifiedRegistered struct {
	Person string `placeholder:"MAIL" help:"Only certificates of this address."`
}

func (q qualifiedRegistered) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	all, err := p.Store.Credentials(ctx, q.Person)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tPERSON\tCERTIFICATE\tIDENTIFIER\tENDS\tREGISTERED\tBY\tREMOVED")
	for _, k := range all {
		cert := k.Certificate()
		if cert == nil {
			continue
		}
		removed := ""
		if !k.Revoked.IsZero() {
			removed = clock(k.Revoked) + " by " + k.RevokedBy
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%q\t%s\t%s\t%s\t%s\n", k.ID, k.Mail, k.Name, cert.Subject.SerialNumber, clock(cert.NotAfter), clock(k.Enrolled), k.ApprovedBy, removed)
	}
	return w.Flush()
}

type qualifiedUnregister struct {
	ID string `arg:"" help:"Registered certificate, as qualified registered names it."`
}

func (qualifiedUnregister) Help() string {
	return "It is not taken for a signature any more, also where its name or identifier fits, until it is registered again. What it has signed stays valid."
}

func (u qualifiedUnregister) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	err = p.Desk.UnregisterCertificate(ctx, u.ID)
	if errors.Is(err, workflow.ErrNotFound) {
		return fmt.Errorf("certificate %s: not found", u.ID)
	}
	if err != nil {
		return plain(err)
	}
	fmt.Printf("certificate %s: removed\n", u.ID)
	return nil
}
