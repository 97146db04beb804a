package postfix

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Site is what an administrator's Postfix must know about milterd. Sockets are
// named as Postfix's processes see them: a path below queue_directory is
// relative, which is right for chrooted processes and for others.
type Site struct {
	SignDomain string // sign.corp.com
	Milter     string // unix:milterd/milter.sock or inet:127.0.0.1:8891
	LMTP       string // unix:milterd/lmtp.sock, for what the milter did not see; "" for no such door
	ReceivedBy string // lmtp.received_by: with it a login counts at the LMTP door, too
	Postmaster string // who gets postmaster@ and abuse@ of the sign domain; default postmaster
	// Strangers says that mail of senders who are not logged in must reach
	// milterd, which proves or asks them (senders.dkim, authserv, confirm).
	Strangers bool
	Trusted   []netip.Prefix // milter.trusted_clients
}

// Setting is one parameter and its reason. Add means: add to what stands there
// already instead of replacing it, restrictions first, milters last.
type Setting struct {
	Name, Value, Why string
	Add              bool
}

// senders is the restriction class of those who may write to the sign domain.
const senders = "milterd_senders"

// Settings are the parameters of main.cf, in the order of a mail's way.
// master.cf needs nothing beyond its stock services (smtp inet, lmtp unix).
// A $ in a value is doubled, as main.cf wants it. Postfix 3.7 and later.
func Settings(s Site) []Setting {
	milter, waits := s.milter()
	out := []Setting{
		{Name: "smtpd_milters", Add: true, Value: milter,
			Why: "milterd sees every mail and takes those to the sign domain. It stands last in the list, so that nothing rejects a mail " +
				"that milterd has stored. " + waits},
		{Name: "non_smtpd_milters", Add: true, Value: milter,
			Why: "The same for what programs on this machine submit through sendmail."},
		{Name: "relay_domains", Add: true, Value: fmt.Sprintf("regexp:{ {/^%s$$/ sign} }", regexp.QuoteMeta(s.SignDomain)),
			Why: "Postfix takes mail to the sign domain, and to none of its subdomains, which the plain name would include."},
		{Name: "transport_maps", Add: true, Value: fmt.Sprintf("inline:{ {%s = lmtp:%s} }", s.SignDomain, cmp.Or(s.LMTP, "unix:milterd/lmtp.sock")),
			Why: s.whyTransport()},
	}
	post := cmp.Or(s.Postmaster, "postmaster")
	out = append(out, Setting{Name: "virtual_alias_maps", Add: true,
		Value: fmt.Sprintf("inline:{ {postmaster@%s = %s}, {abuse@%s = %s} }", s.SignDomain, post, s.SignDomain, post),
		Why:   "RFC 2142: a person reads postmaster@ and abuse@. milterd lets them pass."})
	if !s.Strangers {
		out = append(out, s.refuseStrangers()...)
	}
	if s.LMTP != "" {
		out = append(out, Setting{Name: "smtpd_sasl_authenticated_header", Value: "yes",
			Why: "The Received line names who logged in: the proof of the sender for mail that comes by LMTP (lmtp.received_by)."})
	}
	return append(out,
		Setting{Name: "smtpd_forbid_bare_newline", Value: "normalize",
			Why: "Without it a mail can smuggle a second one with a forged sender past the login (CVE-2023-51764)."},
		Setting{Name: "smtpd_forbid_bare_newline_exclusions", Value: "",
			Why: "Its default leaves mynetworks out, where the people are who log in."})
}

// milter is the entry for smtpd_milters, and what it means while milterd is away.
// Postfix may only go on without milterd where the LMTP door can prove a login:
// else a restart of milterd would drop mail of people who were told 250.
func (s Site) milter() (value, why string) {
	action := "accept"
	why = "With milterd away other mail flows, and mail to the sign domain waits in the queue for the LMTP door."
	if s.LMTP == "" || s.ReceivedBy == "" {
		action = "tempfail"
		why = "With milterd away all mail waits at its client (451), because the LMTP door could not tell who had logged in: " +
			"set lmtp.received_by, and other mail flows."
	}
	return fmt.Sprintf("{ %s, default_action=%s, connect_timeout=2s, command_timeout=5s, content_timeout=60s }", s.Milter, action), why
}

func (s Site) whyTransport() string {
	why := "Mail to the sign domain that the milter did not see (an alias led there, a bounce of Postfix's own, milterd was away) goes to milterd's " +
		"LMTP door. error: or retry: here would refuse every mail before milterd is asked."
	if s.LMTP == "" {
		why = "milterd has no LMTP door (lmtp.listen): mail that an alias leads to the sign domain waits in the queue and then bounces; without the line it would loop."
	}
	return why
}

// refuseStrangers has Postfix itself refuse whom milterd would refuse, so that
// with milterd away no stranger's mail is taken and dropped later. Bounces of
// milterd's own mails, its test mails and a person's addresses stay open.
func (s Site) refuseStrangers() []Setting {
	domain := regexp.QuoteMeta(s.SignDomain)
	class := "permit_sasl_authenticated"
	if len(s.Trusted) > 0 {
		var clients []string
		for _, p := range s.Trusted {
			clients = append(clients, fmt.Sprintf("{%s permit}", p))
		}
		class += ", check_client_access cidr:{ " + strings.Join(clients, ", ") + " }"
	}
	class += fmt.Sprintf(", check_recipient_access static:{550 5.7.1 The signature desk cannot tell who you are; log in to your mail server to send to %s.}", s.SignDomain)
	return []Setting{
		{Name: "smtpd_restriction_classes", Add: true, Value: senders, Why: "A name for the rule in the next line."},
		{Name: senders, Value: class,
			Why: "Who may write to the sign domain: people who log in, and milter.trusted_clients. Others hear 550 here, with milterd away, too."},
		{Name: "smtpd_recipient_restrictions", Add: true,
			Value: fmt.Sprintf(`check_recipient_access regexp:{ {/^(postmaster|abuse|(bounce|check)(\+[^@]*)?)@%s$$/ DUNNO}, {/@%s$$/ %s} }`, domain, domain, senders),
			Why:   "The rule holds for the sign domain, except for bounces of milterd's own mails, its test mails, postmaster@ and abuse@."},
	}
}

// MainCF prints settings as lines for main.cf, each under its reason.
func MainCF(settings []Setting) string {
	var b strings.Builder
	for i, s := range settings {
		if i > 0 {
			b.WriteByte('\n')
		}
		why := s.Why
		if s.Add && strings.HasSuffix(s.Name, "_restrictions") {
			why += " Put it first where the parameter is set already."
		} else if s.Add {
			why += " Append it where the parameter is set already."
		}
		for _, l := range wrap(why, 96) {
			fmt.Fprintf(&b, "# %s\n", l)
		}
		b.WriteString(strings.TrimRight(s.Name+" = "+s.Value, " ") + "\n")
	}
	return b.String()
}

func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + w)
	}
	return append(lines, line)
}
