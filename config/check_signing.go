package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// checkSigning refuses what would let nobody sign, or somebody with too little.
func (c *Config) checkSigning(bad func(field, format string, args ...any)) {
	list := func(field string, values []string, words ...string) {
		for i, v := range values {
			if !slices.Contains(words, v) {
				bad(field, "%q is unknown, want some of %s", v, strings.Join(words, ", "))
			} else if slices.Contains(values[:i], v) {
				bad(field, "%q stands there twice", v)
			}
		}
	}
	list("proofs.standard", c.Proofs.Standard, "code", "passkey", "totp")
	if len(c.Proofs.Standard) == 0 {
		bad("proofs.standard", "is empty, so that nobody could sign, want for example [\"code\", \"passkey\"]")
	}
	if slices.Contains(c.Proofs.Advanced, "code") {
		bad("proofs.advanced", "\"code\" is not taken: a mailbox alone never signs in somebody's name, want passkey, totp or both")
	} else {
		list("proofs.advanced", c.Proofs.Advanced, "passkey", "totp")
	}
	if len(c.Proofs.Advanced) == 0 {
		bad("proofs.advanced", "is empty, so that nobody could sign, want for example [\"passkey\"]")
	}
	list("enrolment.ways", c.Enrolment.Ways, "password", "device", "card", "administrator")
	switch w := c.Enrolment.Ways; {
	case slices.Contains(w, "card") && !c.Qualified.Card:
		bad("enrolment.ways", "\"card\" needs qualified.card = true, and somebody who says which authorities issue cards")
	case slices.Contains(w, "administrator"), slices.Contains(w, "card"):
	case !slices.Contains(w, "password"):
		bad("enrolment.ways", "lets nobody enrol a first device, want password, card, administrator or several")
	case len(c.Directory.LDAP.Servers) == 0:
		bad("enrolment.ways", "lets nobody enrol a first device, because only LDAP knows passwords, want administrator, too")
	}
	if d := c.Certificates.Lifetime; d.bare != "" {
		bad("certificates.lifetime", "%s has no unit, want for example lifetime = \"30d\"", d.bare)
	} else if d.Duration < 24*time.Hour || d.Duration > 365*24*time.Hour {
		bad("certificates.lifetime", "%s is out of range, want 1d to 365d", d)
	}
	c.checkQualified(bad)
	list("keys.token", c.Keys.Token, "root", "issuing", "seal", "tsa")
	c.checkToken(bad)
}

// credentialName is what systemd takes as the name of a credential.
var credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$`)

func (c *Config) checkToken(bad func(field, format string, args ...any)) {
	k := c.Keys
	if len(k.Token) == 0 {
		if k.Module != "" || k.Label != "" || k.PINFile != "" {
			bad("keys.token", "names no key, although other fields of the token are set, want for example [\"seal\"]")
		}
	} else {
		switch {
		case k.Module == "":
			bad("keys.module", "is missing, want the path of the token's PKCS#11 module")
		case !filepath.IsAbs(k.Module):
			bad("keys.module", "%q is relative, want an absolute path", k.Module)
		}
		if k.Label == "" {
			bad("keys.label", "is missing, want the label of the token")
		}
		if k.PINFile == "" {
			bad("keys.pin_file", "is missing, want the path of a file with the token's PIN")
		}
	}
	// Not quoted: somebody may have written the passphrase here.
	if k.Passphrase != "" && !credentialName.MatchString(k.Passphrase) {
		bad("keys.passphrase", "is no name of a systemd credential, want for example keys.passphrase (never the passphrase itself)")
	}
}

// checkQualified wants a way to sign and somebody who says whose certificates count.
func (c *Config) checkQualified(bad func(field, format string, args ...any)) {
	q := c.Qualified
	lists, offered := q.LOTLSigners != "", c.OffersQualified()
	switch {
	case !offered && (lists || q.Anchors != ""):
		bad("qualified.card", "nobody could sign, want card = true, a [[qualified.provider]], or openotp.qualified = true")
	case offered && !lists && q.Anchors == "":
		bad("qualified.lotl_signers", "is missing: without trusted lists or anchors no certificate counts as qualified")
	case offered && !lists && q.LOTL != "":
		bad("qualified.lotl_signers", "is missing, want the certificates of the list of the lists, which the Official Journal prints")
	}
	if !slices.Contains([]string{"no", "first-use", "required"}, q.Registered) {
		bad("qualified.registered", "%q is unknown, want no, first-use or required", q.Registered)
	}
	if q.LOTL != "" && !strings.HasPrefix(q.LOTL, "https://") {
		bad("qualified.lotl", "%q is no https address", q.LOTL)
	}
	for i, p := range q.Providers {
		for field, value := range map[string]string{"name": p.Name, "url": p.URL, "client_id": p.ClientID, "secret_file": p.SecretFile, "token_url": p.TokenURL} {
			if value == "" {
				bad("qualified.provider."+field, "is missing for provider %d", i+1)
			}
		}
		if slices.ContainsFunc(q.Providers[:i], func(o Provider) bool { return o.Name == p.Name }) {
			bad("qualified.provider.name", "%q stands there twice", p.Name)
		}
	}
	c.checkOpenOTP(bad)
	k := c.Keys
	switch known := slices.ContainsFunc(q.Providers, func(p Provider) bool { return p.Name == k.SealProvider }); {
	case k.SealProvider == "" && (k.SealCredential != "" || k.SealPINFile != ""):
		bad("keys.seal_provider", "is missing, want the name of a [[qualified.provider]]")
	case k.SealProvider != "" && !known:
		bad("keys.seal_provider", "%q is no [[qualified.provider]]", k.SealProvider)
	case k.SealProvider != "" && k.SealCredential == "":
		bad("keys.seal_credential", "is missing, want the key's name at the provider")
	case k.SealProvider != "" && k.SealCertificate == "":
		bad("keys.seal_certificate", "is missing, want the certificate of the key at the provider")
	case k.SealCertificate != "" && k.SealProvider == "" && !slices.Contains(k.Token, "seal"):
		bad("keys.seal_certificate", "its key is nowhere, want \"seal\" in token, or seal_provider")
	}
	if c.Sessions.Level == "qualified" && !offered {
		bad("sessions.level", "Qualified signatures are not set up, want standard, advanced, or [qualified]")
	}
}

// checkOpenOTP wants a server that is there, a level at which it signs, and at level
// Advanced the authorities whose certificates count.
func (c *Config) checkOpenOTP(bad func(field, format string, args ...any)) {
	o := c.OpenOTP
	if o == (OpenOTP{}) {
		return
	}
	switch {
	case o.URL == "":
		bad("openotp.url", "is missing, want the address of the server's SOAP interface")
	case o.Name == "":
		bad("openotp.name", "is missing, want the name that signatories read")
	case o.Client == "":
		bad("openotp.client", "is missing, want the client id by which the server finds its policy")
	case slices.ContainsFunc(c.Qualified.Providers, func(p Provider) bool { return p.Name == o.Name }):
		bad("openotp.name", "%q is the name of a [[qualified.provider]], too", o.Name)
	}
	switch {
	case !slices.Contains([]string{"", "local", "global"}, o.Advanced):
		bad("openotp.advanced", "%q is unknown, want local or global", o.Advanced)
	case o.Advanced == "" && o.AdvancedAnchors != "":
		bad("openotp.advanced", "is missing, want local or global, to say which authority certifies phones")
	case o.Advanced == "" && !o.Qualified:
		bad("openotp.advanced", "nobody could sign with it, want local or global, or qualified = true")
	case o.Advanced != "" && o.AdvancedAnchors == "":
		bad("openotp.advanced_anchors", "is missing, want a folder with the authority that certifies phones")
	case o.Advanced != "" && c.Qualified.Anchors != "" && filepath.Clean(o.AdvancedAnchors) == filepath.Clean(c.Qualified.Anchors):
		bad("openotp.advanced_anchors", "is the folder of qualified.anchors, too: what is taken for Advanced would be taken for qualified, want another folder")
	}
}
