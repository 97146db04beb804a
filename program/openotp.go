package program

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"milterd/auth"
	"milterd/pki"
	"milterd/pki/qualified"
	"milterd/pki/trustlist"
	"milterd/signer/csc"
	"milterd/signer/openotp"
	"milterd/signer/remote"
	"milterd/workflow"
)

// scopes are whose certificates phones sign with at level Advanced, by the words of the
// configuration.
var scopes = map[string]openotp.Scope{"local": openotp.Local, "global": openotp.Global}

// openOTP builds what is needed to have people sign on their phones; nothing where no
// server is configured.
func (p *Program) openOTP(keys *auth.Keys, gatherer *pki.Gatherer) error {
	c := p.Config.OpenOTP
	if c.URL == "" {
		return nil
	}
	of := openotp.Server{Name: c.Name, URL: c.URL, Client: c.Client, Domain: c.Domain, Issuer: p.Config.Organisation.Name}
	if c.APIKeyFile != "" {
		key, err := os.ReadFile(c.APIKeyFile)
		if err != nil {
			return fmt.Errorf("openotp.api_key_file: %w", err)
		}
		of.APIKey = csc.Secret(strings.TrimRight(string(key), "\r\n"))
	}
	var err error
	if of.Roots, err = readRoots(c.CA); err != nil {
		return fmt.Errorf("openotp.ca: %w", err)
	}
	client, err := openotp.New(of)
	if err != nil {
		return fmt.Errorf("openotp: %w", err)
	}
	p.phones = &remote.Phones{Client: client, Scopes: map[workflow.Level]openotp.Scope{}, Seal: keys.Seal, Unseal: keys.Unseal, Log: p.log}
	if c.Qualified {
		p.phones.Scopes[workflow.Qualified] = openotp.EIDAS
	}
	if c.Advanced == "" {
		return nil
	}
	anchors, err := trustlist.OpenAnchors(c.AdvancedAnchors)
	if err != nil {
		return fmt.Errorf("openotp.advanced_anchors: %w", err)
	}
	scope := scopes[c.Advanced]
	p.phones.Scopes[workflow.Advanced], p.advanced = scope, trusts{anchors}
	policy := qualified.Policy{Trust: anchors, Purpose: qualified.ForAdvanced}
	if vat := p.Config.Organisation.VAT; scope == openotp.Global && vat != "" {
		policy.Organisation = "VAT" + vat[:2] + "-" + vat[2:]
	}
	p.acceptors[workflow.Advanced] = &advancedAcceptor{scope: scope, folder: c.AdvancedAnchors,
		qualifier: qualifier{policy: policy, gatherer: gatherer, directory: p.Directory, credentials: p.Store.Credentials, now: time.Now}}
	return nil
}

// advancedPhones names the server for mails; "" where it does not sign at level Advanced.
func (p *Program) advancedPhones() string {
	if p.phones == nil || !p.phones.Offers(workflow.Advanced) {
		return ""
	}
	return p.phones.Name()
}

// phoneWarnings names what of the authorities that certify phones can hardly be meant.
func (p *Program) phoneWarnings(now time.Time) (warnings []string) {
	c := p.Config
	if c.OpenOTP.Advanced == "global" && c.Organisation.VAT == "" {
		warnings = append(warnings, "openotp.advanced is global, and organisation.vat is empty: nobody compares the organisation in a certificate with this one. "+
			"The vendor certifies phones of others, too: set organisation.vat, if certificates name it")
	}
	var own []*x509.Certificate // taken for qualified by the organisation's word, not by a list
	for _, t := range p.trust {
		if a, ok := t.(*trustlist.Anchors); ok {
			own = a.Authorities()
		}
	}
	for _, t := range p.advanced {
		for _, ca := range t.Authorities() {
			if ca.NotAfter.Before(now) {
				warnings = append(warnings, fmt.Sprintf("openotp.advanced_anchors: %s has ended, so that nothing of it is taken", ca.Subject))
			}
			if slices.ContainsFunc(own, ca.Equal) {
				warnings = append(warnings, fmt.Sprintf("openotp.advanced_anchors: %s is in qualified.anchors, too: whom it certifies for Advanced signatures, it could call qualified", ca.Subject))
			}
		}
	}
	slices.Sort(warnings)
	return warnings
}

// advancedAcceptor implements workflow.Acceptor for level Advanced: by a folder of
// authorities, the directory, and revocation data of the moment.
type advancedAcceptor struct {
	qualifier
	scope  openotp.Scope
	folder string
}

// Accept implements workflow.Acceptor.
func (a *advancedAcceptor) Accept(ctx context.Context, p workflow.Person, chain [][]byte) (*workflow.Acceptance, error) {
	certs, who, err := a.asked(ctx, p, chain)
	if err != nil {
		return nil, err
	}
	now := a.now()
	path, err := a.policy.AdvancedPath(certs[0], certs[1:], now)
	if err != nil {
		return nil, unqualified(err)
	}
	report, err := a.accept(ctx, path, who, now, a.policy.AcceptAdvanced)
	if err != nil {
		return nil, err
	}
	return acceptance(workflow.Advanced, report, path, fmt.Sprintf("the organisation's authorities for Advanced signatures, SignScope %s, %s: %s",
		a.scope, a.folder, report.Entry.Service)), nil
}
