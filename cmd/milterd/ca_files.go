package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"milterd/pki"
	"milterd/program"
)

// put writes DER to standard output, in PEM form unless it is wanted as it is.
func put(kind string, raw bool, ders ...[]byte) error {
	for _, der := range ders {
		if !raw {
			der = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		}
		if _, err := os.Stdout.Write(der); err != nil {
			return err
		}
	}
	return nil
}

type caExport struct {
	Which string `arg:"" help:"Serial number, or: root, issuing, seal."`
	Chain bool   `xor:"form" help:"With the certificates above it."`
	DER   bool   `name:"der" xor:"form" help:"DER instead of PEM."`
}

func (e caExport) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		seal := p.Authority.Seal().Chain
		var cert *x509.Certificate
		switch e.Which {
		case "root":
			cert = seal[len(seal)-1]
		case "issuing":
			cert = seal[1]
		case "seal":
			cert = seal[0]
		default:
			entry, err := certificate(ctx, p, e.Which)
			if err != nil {
				return err
			}
			if len(entry.DER) == 0 {
				return fmt.Errorf("certificate %s was never signed", entry.Serial)
			}
			if cert, err = x509.ParseCertificate(entry.DER); err != nil {
				return err
			}
		}
		ders := [][]byte{cert.Raw}
		if e.Chain {
			for _, above := range p.Authority.Above(cert) {
				ders = append(ders, above.Raw)
			}
		}
		return put("CERTIFICATE", e.DER, ders...)
	})
}

type caCRL struct {
	Of  string `enum:"issuing,root" default:"issuing" help:"Whose list: ${enum}."`
	DER bool   `name:"der" help:"DER instead of PEM."`
}

func (l caCRL) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		lists, err := p.Authority.CRLs(ctx, time.Now().Add(-time.Second))
		if err != nil {
			return err
		}
		der := lists[1]
		if l.Of == "root" {
			der = lists[0]
		}
		return put("X509 CRL", l.DER, der)
	})
}

type caRequest struct {
	DER bool `name:"der" help:"DER instead of PEM."`
}

func (caRequest) Help() string {
	return "The request (PKCS #10) is for the key of the issuing CA, which stays where it is. Ask for a CA certificate without CAs below it (pathlen 0), with an address of revocation data that milterd reaches by HTTP, and install it with milterd ca install. Nothing changes until then."
}

func (r caRequest) Run(c *cli) error {
	return c.with(func(_ context.Context, p *program.Program) error {
		der, err := p.Authority.Request()
		if err != nil {
			return err
		}
		return put("CERTIFICATE REQUEST", r.DER, der)
	})
}

type caInstall struct {
	File string `arg:"" type:"existingfile" help:"PEM file with the certificate and the chain above it, up to the root, in any order."`
}

func (caInstall) Help() string {
	return "Checks that the certificate is for our key and may issue, that the chain is whole and that its revocation data can be fetched; then seal and timestamp certificates are made below it. Start milterd again after it: until then it goes on as before. Earlier signatures stay trusted, and every device gets a new certificate with its next signature."
}

func (i caInstall) Run(c *cli) error {
	given, err := os.ReadFile(i.File)
	if err != nil {
		return err
	}
	return c.with(func(ctx context.Context, p *program.Program) error {
		chain, err := p.Authority.Install(ctx, &pki.Gatherer{Own: p.Authority}, given)
		if err != nil {
			return err
		}
		fmt.Printf("installed: %s, below %s\n\nNext: systemctl restart milterd\n", chain[0].Subject, chain[len(chain)-1].Subject)
		return nil
	})
}

type caRenew struct {
	Which  string `arg:"" enum:"seal,tsa,issuing" help:"Whose: ${enum}: the organisation's seal, the own clock, or the issuing CA above both."`
	NewKey bool   `name:"new-key" help:"With a new key, in the place where the present one is: after a certificate of the present key was revoked."`
}

func (caRenew) Help() string {
	return "The new certificate is entered in the register and the log, then signed by the issuing CA and put first in its file; the present one stays valid and in the register. Start milterd again after it: until then it goes on with the present one. The seal lasts three years, the own clock's certificate six: renew that one seven months before its end, because archive timestamps are renewed half a year before theirs. None lasts longer than the issuing CA (ten years), which is renewed by our root, under its name and key. Certificates of people's devices and of the OCSP responder are renewed without a command."
}

func (r caRenew) Run(c *cli) error {
	return c.with(func(ctx context.Context, p *program.Program) error {
		cert, err := p.Authority.Renew(ctx, r.Which, r.NewKey)
		if err != nil {
			return err
		}
		fmt.Printf("certificate %s of %s: until %s\n\nNext: systemctl restart milterd\n", cert.SerialNumber.Text(16), cert.Subject.CommonName, clock(cert.NotAfter))
		return nil
	})
}
