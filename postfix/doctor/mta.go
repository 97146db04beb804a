package doctor

import (
	"context"
	"slices"
	"strings"

	"milterd/postfix"
)

const applyFix = "milterd postfix apply"

// fewChanges are told one by one.
const fewChanges = 3

func (e *exam) withoutPostfix() []Finding {
	return one(skip("Postfix cannot be looked at"))
}

// settings compares main.cf and master.cf with what milterd postfix print says.
func (e *exam) settings(context.Context) []Finding {
	if e.noPostfix != nil {
		return e.withoutPostfix()
	}
	var found []Finding
	for _, c := range e.plan.Changes {
		f := fail(applyFix, "%s is %s, and must become %s", c.Name, quoted(c.Now), quoted(c.After))
		switch {
		case strings.HasPrefix(c.Name, "smtpd_forbid_bare_newline"):
			continue // smuggling
		case strings.HasSuffix(c.Name, "_milters") && postfix.Holds(c.Now, c.Value):
			continue // last-milter
		case c.Name == "virtual_alias_maps", strings.HasSuffix(c.Name, "_milters") && e.names(c.Now):
			f.Status = Warn
		}
		found = append(found, f)
	}
	if len(found) > fewChanges { // a Postfix that was never told
		var names []string
		for _, c := range e.plan.Changes {
			names = append(names, c.Name)
		}
		found = one(fail(applyFix, "main.cf does not hold what milterd needs: %s", strings.Join(names, ", ")))
	}
	for _, w := range e.plan.Warnings {
		found = append(found, warn(w.Fix, "%s", w.Text))
	}
	if len(found) == 0 {
		return one(pass("main.cf holds the %d settings of milterd postfix print", len(e.Settings)))
	}
	return found
}

func quoted(value string) string {
	if value == "" {
		return "empty"
	}
	return "“" + value + "”"
}

// names reports that a list of milters has milterd's socket.
func (e *exam) names(list string) bool {
	return slices.Contains(postfix.Milters(list), e.Site.Milter)
}

// lastMilter: nothing may reject a mail after milterd has taken it.
func (e *exam) lastMilter(context.Context) []Finding {
	if e.noPostfix != nil {
		return e.withoutPostfix()
	}
	lists := map[string]string{"smtpd_milters": e.value["smtpd_milters"]}
	for _, s := range postfix.Receiving(e.services) {
		if v, ok := s.Options["smtpd_milters"]; ok {
			lists["smtpd_milters of the service "+s.Name+" in master.cf"] = strings.ReplaceAll(v, "$smtpd_milters", e.value["smtpd_milters"])
		}
	}
	var found []Finding
	alone := 0
	for name, list := range lists {
		all := postfix.Milters(list)
		at := slices.Index(all, e.Site.Milter)
		switch {
		case at < 0: // settings says so
			continue
		case at < len(all)-1:
			found = append(found, fail(applyFix+" puts it last; in master.cf: by hand",
				"%s: behind milterd stands %s, which can reject a mail that milterd has taken already", name, strings.Join(all[at+1:], ", ")))
		default:
			alone++
		}
	}
	switch {
	case len(found) == 0 && alone == 0:
		return one(skip("milterd stands in no smtpd_milters"))
	case len(found) == 0:
		return one(pass("milterd is the last milter"))
	}
	return found
}

// smuggling looks at what stops CVE-2023-51764, for every service that takes mail.
func (e *exam) smuggling(context.Context) []Finding {
	if e.noPostfix != nil {
		return e.withoutPostfix()
	}
	if _, known := e.value["smtpd_forbid_bare_newline"]; !known {
		return one(fail("update Postfix: 3.5.23, 3.6.13, 3.7.9, 3.8.4 or newer", "this Postfix (%s) lets a mail smuggle a second one with a forged sender past the login (CVE-2023-51764), and has no setting against it", e.value["mail_version"]))
	}
	var found []Finding
	for _, s := range postfix.Receiving(e.services) {
		get := func(name string) string {
			if v, ok := s.Options[name]; ok {
				return v
			}
			return e.value[name]
		}
		if v := get("smtpd_forbid_bare_newline"); !slices.Contains([]string{"normalize", "yes", "reject"}, v) {
			found = append(found, fail(applyFix, "the service %s has smtpd_forbid_bare_newline = %s: a mail can smuggle a second one with a forged sender past the login (CVE-2023-51764)", s.Name, v))
		} else if v := get("smtpd_forbid_bare_newline_exclusions"); v != "" {
			found = append(found, fail(applyFix, "the service %s lets clients in smtpd_forbid_bare_newline_exclusions (%s) smuggle mails with a forged sender", s.Name, v))
		}
	}
	if len(found) == 0 {
		return one(pass("nobody can smuggle a second mail into a first"))
	}
	return found
}
