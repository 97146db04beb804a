package directory

import (
	"net/mail"
	"slices"
	"strings"
	"unicode"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/language"

	"milterd/workflow"
)

// record is a person's entry.
type record struct {
	person    workflow.Person
	dn        string
	addresses []string // folded, the primary one first
	logins    []string // folded
}

// The keys are folded.
func (r record) owns(addr string) bool      { return slices.Contains(r.addresses, addr) }
func (r record) logsInAs(login string) bool { return slices.Contains(r.logins, login) }
func (r record) hasLocalPart(local string) bool {
	return slices.ContainsFunc(r.addresses, func(a string) bool { return localPart(a) == local })
}

// record reads an entry; false if it has no mail address and so is nobody who
// could be asked.
func (l *LDAP) record(e *ldap.Entry) (record, bool) {
	primary, all := addresses(e, l.config.Addresses)
	if primary == "" {
		return record{}, false
	}
	r := record{dn: e.DN, addresses: all, person: workflow.Person{Mail: canonical(primary),
		Name: printable(value(e, l.config.Name), primary), Language: preferred(value(e, l.config.Language))}}
	for _, a := range l.config.Logins {
		for _, v := range values(e, a) {
			r.logins = append(r.logins, fold(strings.TrimSpace(v)))
		}
	}
	return r, true
}

// values gives all of an attribute, which a server may send in several parts.
func values(e *ldap.Entry, attribute string) []string {
	var all []string
	for _, a := range e.Attributes {
		if strings.EqualFold(a.Name, attribute) {
			all = append(all, a.Values...)
		}
	}
	return all
}

func value(e *ldap.Entry, attribute string) string {
	if all := values(e, attribute); len(all) > 0 {
		return all[0]
	}
	return ""
}

// addresses reads mail addresses from attributes: all of them folded, and the
// primary one as it is written. That is the one marked with SMTP: in capitals
// (Active Directory) in the first attribute that has any, or its first value.
func addresses(e *ldap.Entry, attributes []string) (primary string, all []string) {
	for _, attribute := range attributes {
		first, marked := "", ""
		for _, v := range values(e, attribute) {
			kind, addr, ok := strings.Cut(v, ":")
			switch {
			case !ok:
				addr = v
			case !strings.EqualFold(kind, "smtp"):
				continue // X500:, SIP: and others are no mail addresses
			}
			if parsed, err := mail.ParseAddress(addr); err != nil || parsed.Address != addr || !askable(addr) {
				continue
			}
			if first == "" {
				first = addr
			}
			if kind == "SMTP" && marked == "" {
				marked = addr
			}
			all = append(all, fold(addr))
		}
		if primary == "" {
			if primary = first; marked != "" {
				primary = marked
			}
		}
	}
	return primary, all
}

// printable makes of a name what can be printed in a signature: one line of at
// most 200 bytes, without characters that turn other characters around. In many
// directories people write their names themselves.
func printable(name, instead string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u200c' || r == '\u200d':
			return r // they belong to names in Persian and in Indian scripts
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	if name == "" || len(name) > 200 {
		return instead
	}
	return name
}

// preferred reads preferredLanguage, which has the form of HTTP's
// Accept-Language (RFC 2798, 2.7): "de, en-gb;q=0.8".
func preferred(value string) string {
	if len(value) > 200 {
		return "en"
	}
	tags, _, err := language.ParseAcceptLanguage(value)
	if err != nil {
		return "en"
	}
	for _, t := range tags {
		// mul is what a * is read as, any language.
		if base, sure := t.Base(); sure != language.No && base.String() != "mul" {
			return t.String()
		}
	}
	return "en"
}
