package program

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"milterd/auth"
	"milterd/config"
)

// ErrSample says that the configuration is the sample: keys made from it would
// carry somebody else's name for good.
var ErrSample = errors.New("domain, url and organisation are still those of the sample: set them first, the keys will carry them for good")

// isSample reports whether the four fields that must be set have not been.
func isSample(c *config.Config) bool {
	return c.Domain == "sign.corp.com" && c.URL == "https://sign.corp.com" && c.Organisation.Name == "Corp GmbH" && c.Organisation.Country == "DE"
}

// Warnings names what is well-formed, and yet not what somebody can have meant.
func (p *Program) Warnings() []string {
	return slices.Concat(p.drift(), noPasskeys(p.Config), p.phoneWarnings(time.Now()))
}

// noPasskeys warns of an url that is an address: WebAuthn binds passkeys to a
// domain (its section 5.1.3), and browsers refuse everything else.
func noPasskeys(c *config.Config) (warnings []string) {
	u, err := url.Parse(c.URL)
	if err != nil || net.ParseIP(u.Hostname()) == nil {
		return nil
	}
	for field, accepted := range map[string][]string{"proofs.standard": c.Proofs.Standard, "proofs.advanced": c.Proofs.Advanced} {
		if !slices.Contains(accepted, auth.ProofPasskey) {
			continue
		}
		lacks := "nobody can sign at this level by passkey"
		if len(accepted) == 1 && (field == "proofs.standard" || c.OpenOTP.Advanced == "") {
			lacks = "nobody can sign at this level"
		}
		warnings = append(warnings, fmt.Sprintf("%s accepts passkeys, but url is %q: under an address instead of a name, browsers allow none, and %s. "+
			"Give this host a name, and set url to it", field, c.URL, lacks))
	}
	slices.Sort(warnings)
	return warnings
}

// drift names what the keys say otherwise than the configuration, which was
// changed since they were made: documents go out with what the keys say.
func (p *Program) drift() (warnings []string) {
	leaf := p.Authority.Seal().Leaf()
	o := p.Config.Organisation
	differs := func(field, want string, got ...string) {
		for _, g := range got {
			if g == want {
				return
			}
		}
		warnings = append(warnings, fmt.Sprintf("%s is %q, but the seal's certificate says %q: "+
			"undo that, or move %s away and make new keys with milterd init (what is sealed stays valid; give people the new root)",
			field, want, strings.Join(got, ", "), keysDir(p.Config)))
	}
	differs("organisation.name", o.Name, leaf.Subject.Organization...)
	differs("organisation.country", o.Country, leaf.Subject.Country...)
	differs("organisation.vat", o.VAT, p.Authority.Seal().VAT())
	for _, list := range leaf.CRLDistributionPoints {
		if !strings.HasPrefix(list, p.Config.URL+"/") {
			differs("url", p.Config.URL, strings.TrimSuffix(list, "/pki/issuing.crl"))
		}
	}
	return warnings
}
