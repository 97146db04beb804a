package program

import (
	"context"
	"fmt"
	"time"

	"milterd/pki"
	"milterd/workflow"
)

// working is a certificate that serve works with and that an administrator
// renews.
type working struct {
	pki.Identity
	name  string
	early time.Duration // how long before its end one is told
}

// month is time enough to read a log and to restart.
const month = 30 * 24 * time.Hour

// working gives the seal, and the embedded timestamp authority where its clock is
// asked: that one early enough for the next archive timestamps, which are due half
// a year before their end and gain nothing from a certificate that ends as soon.
func (p *Program) working() []working {
	all := []working{{p.sealed, "seal", month}}
	if len(p.Config.Timestamps.URLs) == 0 {
		all = append(all, working{p.Authority.TSA(), "tsa", workflow.RenewBefore + month})
	}
	return all
}

// Ageing names the certificates that have ended or will soon, with what to do.
func (p *Program) Ageing(now time.Time) (warnings []string) {
	for _, c := range p.working() {
		end := c.Ends()
		if end.After(now.Add(c.early)) {
			continue
		}
		what := fmt.Sprintf("milterd ca renew %s, then restart milterd", c.name)
		if c.name == "seal" && p.Config.Keys.SealCertificate != "" {
			what = "put the authority's new one into " + p.Config.Keys.SealCertificate + ", then restart milterd"
		} else if !end.Before(c.Chain[1].NotAfter) {
			what = "first milterd ca renew issuing (below a company's CA: ca request and ca install), restart, then " + what
		}
		warnings = append(warnings, fmt.Sprintf("the certificate of %s ends at %s: %s", c.name, end.UTC().Format(time.DateOnly), what))
	}
	return warnings
}

// remind logs what ages, at start and then every day.
func (p *Program) remind(ctx context.Context) {
	for {
		for _, w := range p.Ageing(time.Now()) {
			p.log.Warn("a certificate ages", "what", w)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(24 * time.Hour):
		}
	}
}
