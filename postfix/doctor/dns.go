package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// Resolver asks one DNS server, HOST or HOST:PORT, instead of the system's.
func Resolver(server string) *net.Resolver {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: patience}).DialContext(ctx, network, server)
	}}
}

func absent(err error) bool {
	var d *net.DNSError
	return errors.As(err, &d) && d.IsNotFound
}

// mx asks where other servers would bring mail for the sign domain.
func (e *exam) mx(ctx context.Context) []Finding {
	domain := e.Config.Domain
	all, err := e.Resolver.LookupMX(ctx, domain+".")
	if err != nil && !absent(err) {
		return one(warn("look at the resolver of this machine, or name one with --dns", "DNS does not answer: %v", err))
	}
	if len(all) == 0 {
		addrs, err := e.Resolver.LookupNetIP(ctx, "ip", domain+".")
		if err == nil && e.isHere(addrs) {
			return one(warn(fmt.Sprintf("publish: %s. MX 10 %s.", domain, e.value["myhostname"]), "%s has no MX record; its address leads here, which mail servers accept as a makeshift", domain))
		}
		return one(warn(fmt.Sprintf("publish: %s. MX 10 %s.", domain, e.value["myhostname"]), "%s has no MX record: only who sends through this Postfix reaches it, and bounces of milterd's mail do not come back from elsewhere", domain))
	}
	best := strings.ToLower(strings.TrimSuffix(all[0].Host, "."))
	if best == "" { // RFC 7505
		return one(fail(fmt.Sprintf("publish: %s. MX 10 %s.", domain, e.value["myhostname"]), "the MX record of %s says that it takes no mail (RFC 7505)", domain))
	}
	addrs, err := e.Resolver.LookupNetIP(ctx, "ip", best+".")
	if err != nil {
		return one(fail("publish an address for "+best, "the MX of %s is %s, which has no address: %v", domain, best, err))
	}
	if best == strings.ToLower(e.value["myhostname"]) || e.isHere(addrs) {
		return one(pass("the MX of %s is %s: this Postfix", domain, best))
	}
	return one(warn(fmt.Sprintf("let %s pass mail for %s on to %s, or publish: %[2]s. MX 10 %[3]s.", best, domain, e.value["myhostname"]),
		"the MX of %s is %s, which is not this Postfix: mail from elsewhere comes here only if that server passes it on", domain, best))
}

func (e *exam) isHere(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(own(), a.Unmap()) })
}

// outgoing are the addresses from which this Postfix sends to the world, as
// far as can be known here.
func (e *exam) outgoing(ctx context.Context) (addrs []netip.Addr, why string) {
	for _, name := range []string{"smtp_bind_address", "smtp_bind_address6"} {
		if a, err := netip.ParseAddr(strings.Trim(e.value[name], "[]")); err == nil {
			addrs, why = append(addrs, a), "Postfix's "+name
		}
	}
	if len(addrs) > 0 || e.noPostfix != nil || e.value["relayhost"] != "" {
		return addrs, why
	}
	for _, a := range own() {
		if !a.IsLoopback() && !a.IsPrivate() {
			addrs, why = append(addrs, a), "an address of this machine"
		}
	}
	if len(addrs) > 0 {
		return addrs, why
	}
	found, err := e.Resolver.LookupNetIP(ctx, "ip", e.value["myhostname"]+".")
	if err != nil {
		return nil, ""
	}
	for _, a := range found {
		addrs, why = append(addrs, a.Unmap()), "the address of "+e.value["myhostname"]
	}
	return addrs, why
}

// spf evaluates the sign domain's record for our outgoing addresses. good says
// whether a receiver would see "pass".
func (e *exam) spf(ctx context.Context) (f Finding, good bool) {
	domain := e.Config.Domain
	addrs, why := e.outgoing(ctx)
	if len(addrs) == 0 {
		return skip("SPF: it cannot be told here from which address mail leaves (a relay host, or only private addresses)"), false
	}
	publish := func(a netip.Addr) string {
		kind := "ip4"
		if a.Is6() {
			kind = "ip6"
		}
		return fmt.Sprintf("publish: %s. TXT \"v=spf1 %s:%s -all\"", domain, kind, a)
	}
	for _, a := range addrs {
		result, err := spf.CheckHostWithSender(a.AsSlice(), e.value["myhostname"], "bounce@"+domain, spf.WithContext(ctx), spf.WithResolver(e.Resolver))
		switch result {
		case spf.Pass:
			continue
		case spf.None:
			return warn(publish(a), "SPF: %s has no record: other servers may distrust milterd's mail", domain), false
		case spf.Neutral:
			return warn(publish(a), "SPF: the record of %s says nothing about %s (%s)", domain, a, why), false
		case spf.TempError:
			return warn("look at the resolver of this machine, or name one with --dns", "SPF: DNS does not answer: %v", err), false
		case spf.PermError:
			return fail("mend the record of "+domain, "SPF: the record of %s is broken: %v", domain, err), false
		}
		return fail(publish(a), "SPF: the record of %s disowns mail from %s (%s): %s", domain, a, why, result), false
	}
	return pass("SPF: %s lets %s (%s) send", domain, addrs[0], why), true
}

// policy finds the DMARC record that holds for the sign domain.
func (e *exam) policy(ctx context.Context) (record *dmarc.Record, at string, err error) {
	domain := e.Config.Domain
	lookup := &dmarc.LookupOptions{LookupTXT: func(name string) ([]string, error) {
		return e.Resolver.LookupTXT(ctx, strings.TrimSuffix(name, ".")+".")
	}}
	record, err = dmarc.LookupWithOptions(domain, lookup)
	if !errors.Is(err, dmarc.ErrNoPolicy) {
		return record, domain, err
	}
	organisation, perr := publicsuffix.EffectiveTLDPlusOne(domain)
	if perr != nil || organisation == domain {
		return nil, domain, err
	}
	record, err = dmarc.LookupWithOptions(organisation, lookup)
	if record != nil && record.SubdomainPolicy != "" {
		record.Policy = record.SubdomainPolicy
	}
	return record, organisation, err
}

// dmarc says what other servers do with milterd's mail, given what SPF and
// DKIM come to.
func (e *exam) dmarc(ctx context.Context, spfGood, dkimGood bool) Finding {
	record, at, err := e.policy(ctx)
	publish := fmt.Sprintf("publish: _dmarc.%s. TXT \"v=DMARC1; p=quarantine\"", e.Config.Domain)
	switch {
	case errors.Is(err, dmarc.ErrNoPolicy):
		return warn(publish, "DMARC: neither %s nor the domain above it says what to do with mail that is not proven", e.Config.Domain)
	case dmarc.IsTempFail(err):
		return warn("look at the resolver of this machine, or name one with --dns", "DMARC: DNS does not answer: %v", err)
	case err != nil:
		return fail("mend the record of "+at, "DMARC: the record of %s is broken: %v", at, err)
	case spfGood || dkimGood:
		return pass("DMARC: milterd's mail is proven under the policy of %s (p=%s)", at, record.Policy)
	case record.Policy == dmarc.PolicyNone:
		return warn("sign with DKIM, or mend SPF", "DMARC: milterd's mail is proven neither by SPF nor by DKIM; %s asks others to let it pass (p=none)", at)
	}
	return fail("sign with DKIM, or mend SPF", "DMARC: milterd's mail is proven neither by SPF nor by DKIM, and %s asks others not to take it (p=%s)", at, record.Policy)
}
