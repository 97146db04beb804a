package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"regexp"
	"slices"
	"strings"

	"milterd/postfix"
)

// received: a login counts at the LMTP door because Postfix wrote it into its
// Received line. Whoever takes that line away lets an older, forged one count.
func (e *exam) received(ctx context.Context) []Finding {
	by := e.Config.LMTP.ReceivedBy
	if by == "" {
		return one(pass("lmtp.received_by is empty: no Received line proves anybody"))
	}
	if e.noPostfix != nil {
		return e.withoutPostfix()
	}
	var found []Finding
	for where, name := range e.variants("smtpd", "myhostname") {
		if name, err := e.Postfix.Expand(ctx, "myhostname", name); err == nil && name != by {
			found = append(found, warn(fmt.Sprintf("set lmtp.received_by = %q", name),
				"lmtp.received_by is %s, but Postfix writes its %s, %s: a login proves nobody at the LMTP door", by, where, name))
		}
	}
	found = append(found, e.stripped(ctx)...)
	if f := e.mailOwner(); f != nil {
		found = append(found, *f)
	}
	if len(found) == 0 {
		return one(pass("Postfix's Received lines reach milterd as they are, from %s", by))
	}
	return found
}

// variants are the values of a parameter for the services of one program, by
// where they stand: main.cf's, unless every such service has its own, and those
// of master.cf, as they are written there.
func (e *exam) variants(program, name string) map[string]string {
	all := map[string]string{}
	for _, s := range e.services {
		if s.Program != program {
			continue
		}
		if v, ok := s.Options[name]; ok {
			all[name+" of the service "+s.Name+" in master.cf"] = v
		} else {
			all[name] = e.value[name]
		}
	}
	if len(all) == 0 {
		all[name] = e.value[name]
	}
	return all
}

// stripped looks for what takes away Postfix's own Received line on its way
// through cleanup and lmtp, whichever service that is.
func (e *exam) stripped(ctx context.Context) []Finding {
	const told = "%s takes away Postfix's own Received line: whoever may send through it can forge a login at the LMTP door"
	var found []Finding
	for where, value := range e.variants("cleanup", "message_drop_headers") {
		value, err := e.Postfix.Expand(ctx, "message_drop_headers", value)
		if err == nil && slices.ContainsFunc(postfix.List(value), func(w string) bool { return strings.EqualFold(w, "received") }) {
			found = append(found, fail("take received out of "+where+", or empty lmtp.received_by", told, where))
		}
	}
	for _, from := range []struct{ program, name string }{{"cleanup", "header_checks"}, {"lmtp", "lmtp_header_checks"}} {
		variants := e.variants(from.program, from.name)
		for _, where := range slices.Sorted(maps.Keys(variants)) {
			value, err := e.Postfix.Expand(ctx, from.name, variants[where])
			if err != nil {
				found = append(found, warn("postconf -P", "%s cannot be read: %v", where, err))
			}
			for _, table := range postfix.List(value) {
				strips, err := e.strips(ctx, table)
				if err != nil {
					found = append(found, warn("postmap -q X "+table, "%s cannot be read: %v", table, err))
				} else if strips {
					found = append(found, fail("take the rule out of "+table+", or empty lmtp.received_by", told, where+" ("+table+")"))
				}
			}
		}
	}
	return found
}

// strips reports that a table of header checks takes away a line that Postfix
// writes about a login, about a client without one, or about a program's mail.
func (e *exam) strips(ctx context.Context, table string) (bool, error) {
	by, end := e.value["myhostname"], fmt.Sprintf("\n\tfor <self@%s>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)", e.Config.Domain)
	client := fmt.Sprintf("Received: from client.%s (client.%[1]s [192.0.2.1])\n\t", by)
	for _, line := range []string{
		client + "(Authenticated sender: jane)\n\tby " + by + " (Postfix) with ESMTPSA id 4Tj2x0ABCDz1" + end,
		client + "by " + by + " (Postfix) with ESMTP id 4Tj2x0ABCDz1" + end,
		"Received: by " + by + " (Postfix, from userid 1000)\n\tid 4Tj2x0ABCDz1" + end,
	} {
		action, err := e.Postfix.Lookup(ctx, table, line)
		if errors.Is(err, postfix.ErrNone) {
			continue
		}
		if err != nil {
			return false, err
		}
		if word, _, _ := strings.Cut(strings.ToUpper(action), " "); word == "IGNORE" || word == "STRIP" || word == "REPLACE" {
			return true, nil
		}
	}
	return false, nil
}

// mailOwner: with another user than Postfix's own, mail that postsuper -r queues
// again proves nobody.
func (e *exam) mailOwner() *Finding {
	has, want := e.Config.LMTP.MailOwner, e.value["mail_owner"]
	if has == want {
		if _, err := user.Lookup(want); err == nil {
			return nil
		}
	}
	f := warn(fmt.Sprintf("set lmtp.mail_owner = %q, and restart milterd", want),
		"lmtp.mail_owner is %q, but Postfix's mail_owner is %s: a login proves nobody after postsuper -r", has, want)
	return &f
}

// aliases: behind an alias of local(8) no login counts, and the mail is dropped.
func (e *exam) aliases(ctx context.Context) []Finding {
	if e.noPostfix != nil {
		return e.withoutPostfix()
	}
	sign := regexp.MustCompile(`(?i)[^\s,:"<]+@` + regexp.QuoteMeta(e.Config.Domain) + `\.?(?:[\s,">]|$)`)
	virtual := postfix.List(e.value["virtual_alias_maps"])
	var found []Finding
	seen := 0
	for _, table := range postfix.List(e.value["alias_maps"]) {
		if slices.Contains(virtual, table) {
			continue // there it counts first
		}
		entries, err := e.Postfix.Aliases(ctx, table)
		if err != nil { // a kind that cannot be listed, or never made (newaliases)
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			seen++
			if to := sign.FindString(entries[name]); to != "" {
				found = append(found, warn(fmt.Sprintf("move %s from %s to virtual_alias_maps", name, table),
					"the alias %s in %s (alias_maps) leads to %s: behind it no login counts, and the mail is dropped", name, table, strings.Trim(to, "\", >")))
			}
		}
	}
	if len(found) == 0 {
		return one(pass("none of %d aliases of alias_maps leads to the sign domain", seen))
	}
	return found
}
