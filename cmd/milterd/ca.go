package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"milterd/pki"
	"milterd/program"
	"milterd/workflow"
)

type caCmd struct {
	List     caList     `cmd:"" help:"List certificates, newest first."`
	Show     caShow     `cmd:"" help:"Show a certificate and what the authority's log says of it."`
	Revoke   caRevoke   `cmd:"" help:"Revoke a certificate: it makes no further signature, and earlier ones stay valid by their time."`
	Unrevoke caUnrevoke `cmd:"" help:"Take a certificate off hold."`
	Export   caExport   `cmd:"" help:"Write a certificate to standard output."`
	CRL      caCRL      `cmd:"" name:"crl" help:"Write a revocation list, as it stands now, to standard output."`
	Renew    caRenew    `cmd:"" help:"Make a certificate for the organisation's seal, its own clock or its issuing CA that lasts longer."`
	Request  caRequest  `cmd:"" help:"Write the request by which a company's CA takes the issuing CA below itself."`
	Install  caInstall  `cmd:"" help:"Install the certificate that a company's CA gave for the request."`
}

// reasons of RFC 5280, 5.3.1, in its words.
var reasons = map[string]int{"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3, "superseded": 4,
	"cessationOfOperation": 5, "certificateHold": 6, "privilegeWithdrawn": 9}

func reasonWord(n int) string {
	for word, m := range reasons {
		if m == n {
			return word
		}
	}
	return fmt.Sprint(n)
}

// with opens the rooms for f, and says refusals in plain words.
func (c *cli) with(f func(context.Context, *program.Program) error) error {
	ctx := context.Background()
	p, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer p.Close()
	return plain(f(ctx, p))
}

// certificate finds one by its serial number, however it is written.
func certificate(ctx context.Context, p *program.Program, serial string) (*workflow.Certificate, error) {
	norm := strings.TrimLeft(strings.ToLower(strings.NewReplacer(":", "", "0x", "", "0X", "").Replace(serial)), "0")
	c, err := p.Store.Certificate(ctx, norm)
	if errors.Is(err, workflow.ErrNotFound) {
		return nil, fmt.Errorf("certificate %s: not found: see milterd ca list", serial)
	}
	return c, err
}

type caList struct {
	Person  string `placeholder:"MAIL" help:"Only certificates of this address."`
	Revoked bool   `help:"Only revoked ones."`
	All     bool   `help:"Also those that have expired."`
	Limit   int    `default:"50" help:"At most this many."`
}

func (l caList) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		f := workflow.CertificateFilter{Mail: l.Person, Revoked: l.Revoked, Limit: l.Limit}
		if !l.All {
			f.ValidAfter = time.Now()
		}
		list, err := p.Store.Certificates(ctx, f)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SERIAL\tSTATE\tFROM\tUNTIL\tNAME\tADDRESS\tALLOWED BY")
		for _, c := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Serial, certificateState(c), clock(c.NotBefore), clock(c.NotAfter), c.Name, c.Mail, c.By)
		}
		return w.Flush()
	})
}

func certificateState(c *workflow.Certificate) string {
	switch {
	case c.Reason == reasons["certificateHold"] && !c.Revoked.IsZero():
		return "on hold"
	case !c.Revoked.IsZero():
		return "revoked"
	case len(c.DER) == 0:
		return "never signed"
	case time.Now().After(c.NotAfter):
		return "expired"
	}
	return "valid"
}

type caShow struct {
	Serial string `arg:"" help:"Serial number."`
}

func (s caShow) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		cert, err := certificate(ctx, p, s.Serial)
		if err != nil {
			return err
		}
		// A broken chain is a finding, not a reason to show nothing.
		events, broken := p.Store.Log(ctx)
		if err := describeCertificate(os.Stdout, cert, events, broken); err != nil {
			return err
		}
		if broken != nil {
			return exit(exitFailed)
		}
		return nil
	})
}

func describeCertificate(out io.Writer, c *workflow.Certificate, events []workflow.Event, broken error) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Serial\t%s\nState\t%s\nName\t%s\n", c.Serial, certificateState(c), c.Name)
	if c.Mail != "" {
		fmt.Fprintf(w, "Address\t%s\nDevice\t%s\n", c.Mail, c.Credential)
	}
	fmt.Fprintf(w, "Allowed by\t%s\nValid\t%s until %s\n", c.By, clock(c.NotBefore), clock(c.NotAfter))
	if !c.Revoked.IsZero() {
		fmt.Fprintf(w, "Revoked\t%s, %s\n", clock(c.Revoked), reasonWord(c.Reason))
	}
	fmt.Fprintf(w, "Key SHA-256\t%s\n", c.Key)
	if made, err := x509.ParseCertificate(c.DER); err == nil {
		fmt.Fprintf(w, "Subject\t%s\nIssuer\t%s\n", made.Subject, made.Issuer)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, "\nThe authority's log\n")
	for _, e := range events {
		if e.Detail["serial"] != c.Serial {
			continue
		}
		var detail []string
		for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
			if k != "serial" && e.Detail[k] != "" {
				detail = append(detail, k+"="+e.Detail[k])
			}
		}
		fmt.Fprintf(out, "  %d  %s  %s  %s  %s\n", e.Seq, e.Time.UTC().Format(time.RFC3339), e.Kind, e.Actor, strings.Join(detail, " "))
	}
	if broken != nil {
		fmt.Fprintf(out, "Chain: BROKEN: %v\n", broken)
	}
	return nil
}

type caRevoke struct {
	Serial string `arg:"" help:"Serial number."`
	Reason string `required:"" enum:"unspecified,keyCompromise,affiliationChanged,superseded,cessationOfOperation,certificateHold,privilegeWithdrawn" placeholder:"REASON" help:"One of ${enum} (RFC 5280). Only certificateHold can be taken back."`
}

func (caRevoke) Help() string {
	return "No signature is made with it from then on. The OCSP responder tells at once, the published revocation list a moment later, whether milterd serve runs here or elsewhere on the same database. To end a person's device with all that it has, use milterd device revoke."
}

func (r caRevoke) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		cert, err := certificate(ctx, p, r.Serial)
		if err != nil {
			return err
		}
		if err := p.Desk.RevokeCertificate(ctx, cert.Serial, reasons[r.Reason], byAdministrator); err != nil {
			return err
		}
		fmt.Printf("certificate %s of %s: revoked, %s\n", cert.Serial, owner(cert), r.Reason)
		fmt.Print(published)
		return nil
	})
}

// published says when others can know: a cache in between may know later.
var published = fmt.Sprintf("OCSP tells at once, the published list %.0f seconds later at most; a cache of somebody else may hold an older one for half an hour.\n", pki.CRLDelay.Seconds())

// owner names whose a certificate is.
func owner(c *workflow.Certificate) string {
	if c.Mail != "" {
		return c.Mail
	}
	return c.Name
}

type caUnrevoke struct {
	Serial string `arg:"" help:"Serial number."`
}

func (u caUnrevoke) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		cert, err := certificate(ctx, p, u.Serial)
		if err != nil {
			return err
		}
		if err := p.Desk.UnrevokeCertificate(ctx, cert.Serial, byAdministrator); err != nil {
			return err
		}
		fmt.Printf("certificate %s of %s: off hold\n", cert.Serial, owner(cert))
		fmt.Print(published)
		return nil
	})
}
