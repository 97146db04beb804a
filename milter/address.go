package milter

import (
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
	a = strings.TrimSuffix(strings.TrimPrefix(a, "<"), ">")
	// Source route (RFC 5321, F.2): @one,@two:local@domain.
	if strings.HasPrefix(a, "@") {
		if i := strings.IndexByte(a, ':'); i >= 0 {
			a = a[i+1:]
		}
	}
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
	// x%sign@mx, "x@sign"@mx, sign!x and mx!sign!x@mx
	if i := strings.LastIndexAny(bare, "%@"); i >= 0 && hostname(bare[i+1:]) == domain {
		return a, evasive
	}
	hops := strings.Split(bare, "!")
	for _, h := range hops[:len(hops)-1] {
		if hostname(h) == domain {
			return a, evasive
		}
	}
	return "", other
}

// hostname folds case, trailing dots and Unicode labels.
func hostname(s string) string {
	s = strings.ToLower(strings.TrimRight(strings.TrimSpace(s), "."))
	if a, err := idna.Lookup.ToASCII(s); err == nil {
		return a
	}
	return s
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
