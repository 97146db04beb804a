package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

type deviceCmd struct {
	List    deviceList    `cmd:"" help:"List the devices that are enrolled, and those that wait for approval."`
	Approve deviceApprove `cmd:"" help:"Approve a device that waits, for the person who asked."`
	Revoke  deviceRevoke  `cmd:"" help:"Remove a device: it proves nothing any more, and its certificates are revoked."`
}

// byAdministrator is who the command is, for the records.
const byAdministrator = "administrator"

type deviceList struct {
	Person string `placeholder:"MAIL" help:"Only devices of this address."`
}

func (l deviceList) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	devices, err := p.Store.Credentials(ctx, l.Person)
	if err != nil {
		return err
	}
	waiting, err := p.Enrolments.Pending(ctx, l.Person)
	if err != nil {
		return plain(err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tKIND\tPERSON\tNAME\tENROLLED\tAPPROVED BY\tLAST USED\tREVOKED")
	for _, d := range devices {
		revoked := ""
		if !d.Revoked.IsZero() {
			revoked = clock(d.Revoked) + " by " + d.RevokedBy
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Kind, d.Mail, d.Name, clock(d.Enrolled), d.ApprovedBy, sometime(d.Used), revoked)
	}
	if err := w.Flush(); err != nil || len(waiting) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nWAITS FOR APPROVAL\tNUMBER\tPERSON\tDEVICE\tFROM\tBEGUN\tUNTIL")
	for _, e := range waiting {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Number, e.Mail, e.Agent, e.Client, clock(e.Created), clock(e.Expires))
	}
	return w.Flush()
}

type deviceApprove struct {
	ID string `arg:"" help:"What waits, as device list names it."`
}

func (deviceApprove) Help() string {
	return "Whoever reads somebody's mail can ask in that person's name. So talk to the person first, face to face or by telephone, and compare the number that device list shows with the one on the person's page. The approval is good for three days, and for that device alone; who approved is on record, and the person is told by mail when the device is enrolled."
}

func (a deviceApprove) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	waiting, err := p.Enrolments.Pending(ctx, "")
	if err != nil {
		return plain(err)
	}
	i := slices.IndexFunc(waiting, func(e *auth.Enrolment) bool { return e.ID == a.ID })
	if i < 0 {
		return fmt.Errorf("nothing waits for approval under %s: see milterd device list", a.ID)
	}
	if err := p.Enrolments.Approve(ctx, a.ID, byAdministrator); err != nil {
		return plain(err)
	}
	fmt.Printf("%s of %s, number %s: approved\n", waiting[i].Agent, waiting[i].Mail, waiting[i].Number)
	return nil
}

type deviceRevoke struct {
	ID string `arg:"" help:"Device, as device list names it."`
}

func (deviceRevoke) Help() string {
	return "For a device that is lost, stolen or unknown to its person. Earlier signatures stay valid by their timestamps. It cannot be taken back: the person enrols the device anew. Where its name begins with a dash, write -- before it."
}

func (r deviceRevoke) Run(c *cli) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	err = p.Desk.RevokeDevice(ctx, r.ID, byAdministrator)
	if errors.Is(err, workflow.ErrNotFound) {
		return fmt.Errorf("device %s: not found", r.ID)
	}
	if err != nil {
		return plain(err)
	}
	fmt.Printf("device %s: removed, its certificates are revoked\n", r.ID)
	return nil
}

// sometime is clock, or never.
func sometime(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return clock(t)
}
