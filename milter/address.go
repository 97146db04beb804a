package milter

import (
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"milterd/workflow"
)

type match int

const (
	other   match = iota // not for the sign domain
	plain                // local@signdomain, however it was dressed up
	evasive              // would be routed to the sign domain behind our back
)

var errEvasive = &workflow.Refusal{Code: 550, Enhanced: "5.1.3", Reason: "routed-address",
	Text: "Write to the sign domain with a plain address, name@domain, without %, ! or a second @."}

// classify finds out whether Postfix could deliver an address to the sign
// domain. Postfix itself resolves trailing dots, source routes, the percent
// hack and bang paths, depending on its configuration; a suffix test would miss
// them all. For a plain match it returns local@domain.
func classify(addr, domain string) (string, match) {
	domain = hostname(domain)
	a := strings.TrimSpace(addr)
	a = unrouted(strings.TrimSuffix(strings.TrimPrefix(a, "<"), ">"))
	local, host := a, ""
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		local, host = a[:i], hostname(a[i+1:])
	}
	bare := unquote(local)
	if host == domain {
		// local parts that name a further hop are no person's.
		if strings.ContainsAny(bare, "@!%") {
			return bare + "@" + domain, evasive
		}
		return bare + "@" + domain, plain
	}
	if routed(bare, domain) {
		return a, evasive
	}
	return "", other
}

// unrouted takes off a source route (RFC 5321, F.2): @one,@two:local@domain.
func unrouted(a string) string {
	if strings.HasPrefix(a, "@") {
		return a[strings.IndexByte(a, ':')+1:]
	}
	return a
}

// routed finds the domain among the hops that a local part names:
// x%sign@mx, "x@sign"@mx, sign!x, mx!sign!x@mx, x%sign%mx@mx.
func routed(local, domain string) bool {
	for i, p := range strings.Split(strings.ReplaceAll(local, "@", "%"), "%") {
		hops := strings.Split(p, "!")
		if i == 0 {
			hops = hops[:len(hops)-1] // the last one is the person
		}
		if slices.ContainsFunc(hops, func(h string) bool { return hostname(h) == domain }) {
			return true
		}
	}
	return false
}

// hostname folds case, dots and whatever IDNA takes for the same domain.
func hostname(s string) string {
	s = strings.TrimSpace(s)
	if a, err := idna.Lookup.ToASCII(strings.TrimRight(s, ".\u3002\uff0e\uff61")); err == nil {
		s = a
	}
	return strings.ToLower(strings.TrimRight(s, "."))
}

// unquote takes the quotes off a local part: "john doe" and "a\@b".
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
