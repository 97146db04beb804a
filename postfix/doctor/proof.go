package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// proof: somebody must be able to ask. Without another proof that is a login,
// which some service of Postfix must offer, in the clear or behind TLS.
func (e *exam) proof(ctx context.Context) []Finding {
	switch c := e.Config; {
	case len(c.Senders.DKIM) > 0:
		return one(pass("besides a login, DKIM signatures of %s prove a sender", strings.Join(c.Senders.DKIM, ", ")))
	case len(c.Milter.Clients()) > 0:
		return one(pass("besides a login, milter.trusted_clients prove a sender"))
	case c.Senders.Confirm:
		return one(pass("besides a login, internal senders can confirm their mail (senders.confirm)"))
	case e.noPostfix != nil:
		return e.withoutPostfix()
	}
	offers, heard := map[string]bool{}, false
	for _, l := range e.allListeners() {
		if offers[l.service] {
			continue
		}
		if auth, err := e.offersLogin(ctx, l); err == nil {
			heard = true
			offers[l.service] = auth
		}
	}
	var services []string
	for s, auth := range offers {
		if auth {
			services = append(services, s)
		}
	}
	slices.Sort(services)
	configured := func(name string, is func(string) bool) bool {
		for _, v := range e.variants("smtpd", name) {
			if is(v) {
				return true
			}
		}
		return false
	}
	const nobody = "nobody can ask for a signature: no service of Postfix offers a login (AUTH), and neither senders.dkim nor milter.trusted_clients is set"
	switch {
	case len(services) > 0:
		return one(pass("people can log in at Postfix (%s)", strings.Join(services, ", ")))
	case !heard:
		return one(skip("Postfix answers at none of its addresses"))
	case !configured("smtpd_sasl_auth_enable", func(v string) bool { return v == "yes" }):
		return one(fail("let people log in at Postfix (smtpd_sasl_auth_enable = yes and a SASL server: README.md), or set senders.dkim", nobody))
	case configured("smtpd_sasl_exceptions_networks", func(v string) bool { return v != "" }):
		return one(warn("log in from elsewhere to see that it works", "no login is offered to this machine (smtpd_sasl_exceptions_networks): whether anybody can log in is not seen from here"))
	}
	return one(fail("see why in Postfix's log: smtpd_sasl_type, smtpd_sasl_path and the SASL server; without TLS, smtpd_tls_auth_only hides it, too", nobody))
}

// offersLogin says hello, behind TLS as well where that is offered.
func (e *exam) offersLogin(ctx context.Context, l listener) (bool, error) {
	conn, err := dialTCP(ctx, netip.Addr{}, l.addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	// Whose certificate it is, is not the question here.
	hidden := &tls.Config{InsecureSkipVerify: true}
	if l.wrapped {
		conn = tls.Client(conn, hidden)
	}
	c := textproto.NewConn(conn)
	if _, _, err := c.ReadResponse(220); err != nil {
		return false, fmt.Errorf("no greeting from %s: %w", l.addr, err)
	}
	say := func(line string) (string, error) {
		if _, err := c.Cmd("%s", line); err != nil {
			return "", err
		}
		_, text, err := c.ReadResponse(2)
		return text, err
	}
	hello := func() (text string, err error) { return say("EHLO check." + e.Config.Domain) }
	text, err := hello()
	if err != nil || extension(text, "AUTH") {
		say("QUIT")
		return err == nil, err
	}
	if l.wrapped || !extension(text, "STARTTLS") {
		say("QUIT")
		return false, nil
	}
	if _, err := say("STARTTLS"); err != nil {
		return false, nil
	}
	c = textproto.NewConn(tls.Client(conn, hidden))
	text, err = hello()
	say("QUIT")
	return err == nil && extension(text, "AUTH"), nil
}

// extension finds a keyword in the answer to EHLO (RFC 5321, 4.1.1.1).
func extension(text, keyword string) bool {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && strings.EqualFold(f[0], keyword) {
			return true
		}
	}
	return false
}
