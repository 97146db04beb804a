package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

var (
	domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	countryTwo = regexp.MustCompile(`^[A-Z]{2}$`)
	vatNumber  = regexp.MustCompile(`^[A-Z]{2}[A-Z0-9+*]{2,13}$`)
	objectID   = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)
)

// check looks at values that are TOML, but could not work.
func (c *Config) check() Problems {
	var ps Problems
	bad := func(field, format string, args ...any) {
		ps = append(ps, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
	}
	oneOf := func(field, value string, words ...string) {
		for _, w := range words {
			if w == value {
				return
			}
		}
		last := len(words) - 1
		want := words[last]
		if last > 0 {
			want = strings.Join(words[:last], ", ") + " or " + want
		}
		bad(field, "%q is unknown, want %s", value, want)
	}
	between := func(field string, value, low, high int) {
		if value < low || value > high {
			bad(field, "%d is out of range, want %d to %d", value, low, high)
		}
	}

	if c.Domain == "" {
		bad("domain", "is missing, want for example sign.corp.com")
	} else if !domainName.MatchString(c.Domain) {
		bad("domain", "%q is no domain name, want for example sign.corp.com in lower case", c.Domain)
	}
	c.checkURL(bad)
	if !filepath.IsAbs(c.Data) {
		bad("data", "%q is relative, want an absolute path", c.Data)
	}
	if strings.TrimSpace(c.Organisation.Name) == "" {
		bad("organisation.name", "is missing, want the registered name")
	} else if len(c.Organisation.Name) > 64 {
		bad("organisation.name", "is longer than the 64 characters that a certificate takes")
	}
	if c.Organisation.Country == "" {
		bad("organisation.country", "is missing, want two capital letters, for example DE")
	} else if !countryTwo.MatchString(c.Organisation.Country) {
		bad("organisation.country", "%q is no country, want two capital letters, for example DE", c.Organisation.Country)
	}
	if v := c.Organisation.VAT; v != "" && !vatNumber.MatchString(v) {
		bad("organisation.vat", "%q is no VAT number, want it with its country prefix and without blanks, for example DE123456789", v)
	}
	c.checkDoors(bad)
	oneOf("smtp.tls", c.SMTP.TLS, "plain", "opportunistic", "required")
	if (c.SMTP.User == "") != (c.SMTP.PasswordFile == "") {
		bad("smtp.user", "user and password_file go together, want both or none")
	}
	if !strings.HasPrefix(c.Database.URL, "sqlite:") && !strings.HasPrefix(c.Database.URL, "postgres://") {
		bad("database.url", "%q is no database, want sqlite:PATH or postgres://HOST/NAME", c.Database.URL)
	}
	c.checkDirectory(bad)
	between("senders.per_hour", c.Senders.PerHour, 0, 100000)
	c.checkSenders(bad)
	oneOf("sessions.level", c.Sessions.Level, "standard", "advanced", "qualified")
	oneOf("documents.format", c.Documents.Format, "auto", "asic", "cades", "pdf")
	c.checkConversion(bad)
	c.checkSigning(bad)
	between("enrolment.password_tries", c.Enrolment.PasswordTries, 1, 20)
	if d := c.Sessions.Deadline; d.bare != "" {
		bad("sessions.deadline", "%s has no unit, want for example deadline = \"14d\"", d.bare)
	} else if d.Duration > MaxDeadline.Duration {
		bad("sessions.deadline", "%s is too long, want at most %s", d, MaxDeadline)
	} else if d.Duration < time.Hour {
		bad("sessions.deadline", "%s is too short, want at least 1h", d)
	}
	if d := c.Sessions.Retention; d.bare != "" {
		bad("sessions.retention", "%s has no unit, want for example retention = \"90d\"", d.bare)
	} else if d.Duration < 24*time.Hour {
		bad("sessions.retention", "%s is too short, want at least 1d, for people who miss the mail", d)
	}
	if m := c.Limits.Mail; m < 100e3 || m > 1<<30 {
		bad("limits.mail", "%s is out of range, want 100kB to 1GiB", m)
	}
	between("limits.documents", c.Limits.Documents, 1, 100)
	between("limits.signatories", c.Limits.Signatories, 1, 50)
	between("limits.pages", c.Limits.Pages, 1, 100000)
	for _, u := range c.Timestamps.URLs {
		if v, err := url.Parse(u); err != nil || v.Host == "" || v.Scheme != "http" && v.Scheme != "https" {
			bad("timestamps.urls", "%q is no address, want http:// or https://", u)
		}
	}
	if p := c.Timestamps.Policy; p != "" && !objectID.MatchString(p) {
		bad("timestamps.policy", "%q is no object identifier, want for example 0.4.0.2023.1.1", p)
	}
	between("jobs.workers", c.Jobs.Workers, 1, 64)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	return ps
}

func (c *Config) checkURL(bad func(field, format string, args ...any)) {
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		bad("url", "is missing, want for example https://sign.corp.com")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		bad("url", "%q is no address, want for example https://sign.corp.com", c.URL)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		bad("url", "%q has more than a host, want for example %s://%s", c.URL, u.Scheme, u.Host)
	case u.Scheme == "http" && u.Hostname() != "localhost":
		bad("url", "%q is not encrypted, want https:// (plain HTTP is for localhost only; behind a proxy, give the proxy's address)", c.URL)
	}
	c.URL = strings.TrimRight(c.URL, "/")
}

func (c *Config) checkDoors(bad func(field, format string, args ...any)) {
	if network, address, err := c.Milter.Socket(); err != nil {
		bad("milter.listen", "%v", err)
	} else if network == "tcp" && !loopback(address) {
		bad("milter.listen", "%q is open to other machines, which could then speak for anybody, want unix:PATH or a loopback address", c.Milter.Listen)
	}
	if network, address, err := socket(c.LMTP.Listen); c.LMTP.Listen != "" && err != nil {
		bad("lmtp.listen", "%v, or empty for none", err)
	} else if network == "tcp" && !loopback(address) {
		bad("lmtp.listen", "%q is open to other machines, which could then forge logins, want unix:PATH or a loopback address", c.LMTP.Listen)
	} else if c.LMTP.Listen != "" && c.LMTP.Listen == c.Milter.Listen {
		bad("lmtp.listen", "is the socket of the milter, want another one")
	}
	for _, t := range c.Milter.TrustedClients {
		switch _, err := ParseClient(t); {
		case strings.Contains(t, "mynetworks"):
			bad("milter.trusted_clients", "mynetworks is not taken: everybody in it could ask in anybody's name, want single addresses, for example 192.0.2.10")
		case err != nil:
			bad("milter.trusted_clients", "%q is no address, want for example 192.0.2.10 or 192.0.2.0/28", t)
		}
	}
	if !hostPort(c.HTTP.Listen) {
		bad("http.listen", "%q is no address, want HOST:PORT or :PORT", c.HTTP.Listen)
	}
	for _, t := range c.HTTP.Proxies {
		if _, err := ParseClient(t); err != nil {
			bad("http.proxies", "%q is no address, want for example 127.0.0.1 or 10.0.0.0/28", t)
		}
	}
	if c.Monitor.Listen != "" && !hostPort(c.Monitor.Listen) {
		bad("monitor.listen", "%q is no address, want HOST:PORT, or empty for none", c.Monitor.Listen)
	}
	if (c.HTTP.Certificate == "") != (c.HTTP.Key == "") {
		bad("http.certificate", "certificate and key go together, want both or none")
	}
	if host, _, err := net.SplitHostPort(c.SMTP.Relay); err != nil || host == "" || !hostPort(c.SMTP.Relay) {
		bad("smtp.relay", "%q is no mail server, want HOST:PORT, for example 127.0.0.1:25", c.SMTP.Relay)
	}
}

// checkSenders refuses proofs that would prove nothing, or that could never come.
func (c *Config) checkSenders(bad func(field, format string, args ...any)) {
	if h := c.LMTP.ReceivedBy; h != "" && !domainName.MatchString(strings.ToLower(h)) {
		bad("lmtp.received_by", "%q is no host name, want for example mx.corp.com", h)
	} else if h != "" && c.LMTP.Listen == "" {
		bad("lmtp.received_by", "is set without lmtp.listen, where it would count")
	}
	if c.LMTP.MailOwner == "root" {
		bad("lmtp.mail_owner", "root sends mail of its own, and never owns Postfix's, want for example postfix")
	}
	for _, d := range c.Senders.DKIM {
		if !domainName.MatchString(d) {
			bad("senders.dkim", "%q is no domain name, want for example corp.com in lower case", d)
		} else if suffix, _ := publicsuffix.PublicSuffix(d); suffix == d {
			bad("senders.dkim", "%q is a public suffix, below which everybody can have a domain, want for example corp.%s", d, d)
		}
	}
	switch a := c.Senders.Authserv; {
	case a == "":
	case !domainName.MatchString(strings.ToLower(a)):
		bad("senders.authserv", "%q is no authserv-id, want for example mx.corp.com", a)
	case len(c.Senders.DKIM) == 0:
		bad("senders.authserv", "is set without senders.dkim, the domains whose signatures it may speak of")
	case c.LMTP.ReceivedBy == "":
		bad("senders.authserv", "is set without lmtp.received_by, above whose line it counts")
	}
	for _, a := range c.Senders.Blocked {
		if _, domain, ok := strings.Cut(a, "@"); !ok || domain == "" {
			bad("senders.blocked", "%q is no mail address, want for example intern@corp.com", a)
		}
	}
}

// Socket splits Listen into what net.Listen takes: "unix" or "tcp", and the address.
func (m Milter) Socket() (network, address string, err error) { return socket(m.Listen) }

func socket(listen string) (network, address string, err error) {
	switch kind, rest, _ := strings.Cut(listen, ":"); {
	case kind == "unix" && filepath.IsAbs(rest):
		return "unix", rest, nil
	case kind == "inet" && hostPort(rest):
		return "tcp", rest, nil
	}
	return "", "", fmt.Errorf("%q is no socket, want unix:PATH (absolute) or inet:HOST:PORT", listen)
}

// checkDirectory refuses settings that contradict each other: a directory that
// answers nothing would bounce good mail.
func (c *Config) checkDirectory(bad func(field, format string, args ...any)) {
	l := c.Directory.LDAP
	if len(l.Servers) == 0 {
		if c.Directory.Users == "" {
			bad("directory.users", "is missing, want the path of a users.toml, or directory.ldap.servers")
		}
		if l.Base != "" || l.BindDN != "" {
			bad("directory.ldap.servers", "is missing, although other fields of [directory.ldap] are set")
		}
		return
	}
	for _, s := range l.Servers {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Path != "":
			bad("directory.ldap.servers", "%q is no server, want ldaps://HOST or ldap://HOST", s)
		case u.Scheme == "ldap" && !l.StartTLS && !loopback(net.JoinHostPort(u.Hostname(), "389")):
			bad("directory.ldap.starttls", "%q would be asked without encryption, want starttls = true or ldaps://", s)
		}
	}
	if (l.BindDN == "") != (l.PasswordFile == "") {
		bad("directory.ldap.bind_dn", "bind_dn and password_file go together, want both or none")
	}
	if l.Base == "" {
		bad("directory.ldap.base", "is missing, want for example ou=people,dc=corp,dc=com")
	}
	if len(l.Addresses) == 0 {
		bad("directory.ldap.addresses", "is empty, want for example [\"mail\"]")
	}
	if len(l.Logins) == 0 {
		bad("directory.ldap.logins", "is empty, want for example [\"uid\"], else nobody's login is known")
	}
	if l.GroupBase == "" && len(c.Policy.Names()) > 0 {
		bad("directory.ldap.group_base", "is missing, although [policy] names groups")
	}
	for _, g := range c.Policy.Names() {
		if !strings.Contains(g, "=") {
			bad("policy", "%q is no distinguished name, as which LDAP knows groups, want for example cn=%s,ou=groups,dc=corp,dc=com", g, g)
			break
		}
	}
	if d := l.Cache; d.bare != "" {
		bad("directory.ldap.cache", "%s has no unit, want for example cache = \"5m\"", d.bare)
	} else if d.Duration < 0 || d.Duration > 24*time.Hour {
		bad("directory.ldap.cache", "%s is out of range, want 0m to 1d", d)
	}
}

// Names are all groups that the policy names.
func (p Policy) Names() []string {
	var all []string
	for _, g := range []Groups{p.Request, p.Sign} {
		all = append(append(append(all, g.Standard...), g.Advanced...), g.Qualified...)
	}
	return all
}

// Clients are TrustedClients as networks; a single address is a network of one.
func (m Milter) Clients() []netip.Prefix { return prefixes(m.TrustedClients) }

// Forwarders are Proxies as networks.
func (h HTTP) Forwarders() []netip.Prefix { return prefixes(h.Proxies) }

func prefixes(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range list {
		if p, err := ParseClient(t); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// ParseClient reads an address or a network.
func ParseClient(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// SQLite gives the path of the SQLite database, or "" for PostgreSQL.
func (c *Config) SQLite() string {
	p, ok := strings.CutPrefix(c.Database.URL, "sqlite:")
	if !ok {
		return ""
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(c.Data, p)
	}
	return p
}

func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

func loopback(s string) bool {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
