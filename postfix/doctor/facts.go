package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"milterd/postfix"
)

// exam is one examination: the doctor and what was found out before the checks.
type exam struct {
	*Doctor
	notServing error             // why milterd does not serve; nil if it does
	parts      map[string]string // what /healthz says
	noPostfix  error             // why Postfix cannot be looked at
	value      map[string]string // parameters of main.cf
	services   []postfix.Service
	plan       *postfix.Plan
	asOnce     sync.Once
	as         string // an internal person's address
	asErr      error
}

// parameters of Postfix that the checks look at.
var parameters = []string{"mail_version", "queue_directory", "mail_owner", "myhostname", "inet_interfaces", "inet_protocols", "smtpd_milters",
	"smtpd_forbid_bare_newline", "smtpd_forbid_bare_newline_exclusions", "smtp_bind_address", "smtp_bind_address6",
	"header_checks", "lmtp_header_checks", "message_drop_headers", "relayhost", "alias_maps", "virtual_alias_maps",
	"smtpd_sasl_auth_enable", "smtpd_sasl_exceptions_networks"}

// gather finds out what several checks need.
func (e *exam) gather(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() { e.parts, e.notServing = e.health(ctx) })
	both.Go(func() { e.noPostfix = e.lookAtPostfix(ctx) })
	both.Wait()
}

func (e *exam) lookAtPostfix(ctx context.Context) (err error) {
	if e.value, err = e.Postfix.Values(ctx, parameters...); err != nil {
		return err
	}
	if e.services, err = e.Postfix.Services(ctx); err != nil {
		return err
	}
	e.plan, err = postfix.MakePlan(ctx, e.Postfix, e.Site, e.Settings)
	return err
}

// health asks the running milterd. Where it has no monitoring address, that
// somebody answers at the milter socket must do.
func (e *exam) health(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	if e.Config.Monitor.Listen == "" {
		network, address, err := e.Config.Milter.Socket()
		if err != nil {
			return nil, err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return nil, conn.Close()
	}
	host, port, err := net.SplitHostPort(e.Config.Monitor.Listen)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parts := map[string]string{}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<10)).Decode(&parts); err != nil {
		return nil, fmt.Errorf("%s is not milterd: %w", req.URL.Host, err)
	}
	return parts, nil
}

// milterd says whether it serves.
func (e *exam) milterd(context.Context) []Finding {
	if e.notServing != nil {
		return one(fail("systemctl start milterd (and journalctl -u milterd)", "milterd is not running: %v. The checks below that need it are skipped", e.notServing))
	}
	var found []Finding
	for part, says := range e.parts {
		if says != "ok" {
			found = append(found, fail("journalctl -u milterd", "milterd is running, but its %s: %s", part, says))
		}
	}
	if len(found) == 0 {
		return one(pass("milterd is running"))
	}
	return found
}

// running says whether Postfix does, and where it takes mail.
func (e *exam) running(ctx context.Context) []Finding {
	if e.noPostfix != nil {
		fix := "run this on Postfix's machine, as root; --config-dir names another instance"
		return one(fail(fix, "Postfix cannot be looked at: %v", e.noPostfix))
	}
	var open []string
	var failed error
	for _, l := range e.listeners() {
		greeting, err := greeting(ctx, netip.Addr{}, l.addr)
		if err != nil {
			failed = err
			continue
		}
		if strings.HasPrefix(greeting, "220") {
			open = append(open, l.addr.String())
		}
	}
	if len(open) == 0 {
		return one(fail("postfix start (and journalctl -u postfix)", "Postfix %s answers at none of its addresses: %v", e.value["mail_version"], failed))
	}
	return one(pass("Postfix %s answers at %s", e.value["mail_version"], strings.Join(open, ", ")))
}

// listener is an address where Postfix takes mail.
type listener struct {
	service string
	addr    netip.AddrPort
	wrapped bool // TLS from the first byte on
}

// maxAddresses bounds what a machine with many addresses costs.
const maxAddresses = 16

// own are this machine's addresses: loopback first, no link-local ones.
func own() []netip.Addr {
	found := []netip.Addr{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return found
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			found = append(found, p.Addr())
		}
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int {
		switch {
		case a.IsLoopback() == b.IsLoopback():
			return 0
		case a.IsLoopback():
			return -1
		}
		return 1
	})
	return found[:min(len(found), maxAddresses)]
}

// listeners are the inet services that speak SMTP from the first byte on.
func (e *exam) listeners() []listener {
	return slices.DeleteFunc(e.allListeners(), func(l listener) bool { return l.wrapped })
}

// allListeners are the inet services that speak SMTP.
func (e *exam) allListeners() []listener {
	var found []listener
	for _, s := range e.services {
		if s.Type != "inet" || s.Program != "smtpd" && s.Program != "postscreen" {
			continue
		}
		host, name, err := net.SplitHostPort(s.Name)
		if err != nil {
			host, name = "", s.Name
		}
		port, err := net.LookupPort("tcp", name)
		if err != nil {
			continue
		}
		for _, a := range e.interfaces(host) {
			found = append(found, listener{s.Name, netip.AddrPortFrom(a, uint16(port)), s.Options["smtpd_tls_wrappermode"] == "yes"})
		}
	}
	return found
}

// interfaces are the addresses that a service of master.cf is bound to.
func (e *exam) interfaces(host string) []netip.Addr {
	names := []string{host}
	if host == "" {
		names = strings.FieldsFunc(e.value["inet_interfaces"], func(r rune) bool { return strings.ContainsRune(", \t", r) })
	}
	var found []netip.Addr
	for _, n := range names {
		for _, a := range own() {
			ip, err := netip.ParseAddr(strings.Trim(n, "[]"))
			fits := err == nil && (ip == a || ip.IsUnspecified() && ip.Is4() == a.Is4())
			switch n {
			case "all":
				fits = true
			case "loopback-only", "localhost":
				fits = a.IsLoopback()
			case "$myhostname", e.value["myhostname"]:
				fits = !a.IsLoopback()
			}
			if p := e.value["inet_protocols"]; p == "ipv4" && !a.Is4() || p == "ipv6" && a.Is4() {
				fits = false
			}
			if fits {
				found = append(found, a)
			}
		}
	}
	return found
}

// person is an internal address to pretend to be.
func (e *exam) person(ctx context.Context) (string, error) {
	e.asOnce.Do(func() {
		if e.as = e.As; e.as != "" {
			return
		}
		if e.asErr = e.NoDirectory; e.asErr == nil {
			e.as, e.asErr = e.Directory.Sample(ctx)
		}
	})
	return e.as, e.asErr
}
