package postfix

import (
	"cmp"
	"fmt"
	"strings"
)

// Site is what an administrator's Postfix must know about milterd.
type Site struct {
	SignDomain string // sign.corp.com
	Milter     string // unix:/run/milterd/milter.sock or inet:127.0.0.1:8891
	LMTP       string // path of the socket for what the milter did not see; default /run/milterd/lmtp.sock
	Postmaster string // who gets postmaster@ and abuse@ of the sign domain; default postmaster
}

// Setting is one parameter and its reason. Add means: append to what stands
// there already, instead of replacing it.
type Setting struct {
	Name, Value, Why string
	Add              bool
}

// Settings are the parameters of main.cf, in the order of a mail's way.
// master.cf needs nothing beyond its stock services (smtp inet, lmtp unix).
func Settings(s Site) []Setting {
	lmtp := cmp.Or(s.LMTP, "/run/milterd/lmtp.sock")
	post := cmp.Or(s.Postmaster, "postmaster")
	return []Setting{
		{Name: "smtpd_milters", Add: true,
			Value: fmt.Sprintf("{ %s, default_action=tempfail, connect_timeout=5s, command_timeout=30s, content_timeout=60s }", s.Milter),
			Why: "milterd sees every mail and takes those to the sign domain. It stands last in the list, so that nothing rejects a mail " +
				"that milterd has stored. With milterd away mail waits at its client (451) instead of passing by unseen. A chrooted smtpd (Debian's default) does not see " +
				"a socket in /run: postconf -F smtp/inet/chroot=n."},
		{Name: "relay_domains", Value: s.SignDomain, Add: true,
			Why: "Postfix accepts recipients of the sign domain, from whomever: milterd refuses those who are not proven."},
		{Name: "transport_maps", Value: fmt.Sprintf("inline:{ {%s = lmtp:unix:%s} }", s.SignDomain, lmtp), Add: true,
			Why: "Mail that an alias leads to the sign domain passes after the milter, unseen by milterd. Until milterd has an LMTP door at this " +
				"socket such mail waits in the queue and then bounces; without the line it would loop. error: or retry: here would refuse every " +
				"mail before milterd is asked."},
		{Name: "virtual_alias_maps", Value: fmt.Sprintf("inline:{ {postmaster@%s = %s}, {abuse@%s = %s} }", s.SignDomain, post, s.SignDomain, post), Add: true,
			Why: "RFC 2142: a person reads postmaster@ and abuse@. milterd lets them pass."},
		{Name: "smtpd_forbid_bare_newline", Value: "normalize",
			Why: "Without it a mail can smuggle a second one with a forged sender past the login (CVE-2023-51764)."},
		{Name: "smtpd_forbid_bare_newline_exclusions", Value: "",
			Why: "Its default leaves mynetworks out, where the people are who log in."},
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
		if s.Add {
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
