package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// spoofing pretends to be an internal person, without a login, from every
// address that this machine has. Nobody may believe it. The mail that is sent
// where RCPT is not refused brings no document, so that it opens no session
// even if it is believed: then another refusal than 5.7.x gives it away.
func (e *exam) spoofing(ctx context.Context) []Finding {
	switch {
	case e.notServing != nil:
		return one(skip("milterd is not running"))
	case e.noPostfix != nil:
		return e.withoutPostfix()
	}
	as, err := e.person(ctx)
	if err != nil {
		return one(warn("--as jane.roe@corp.com (an internal address)", "nobody to pretend to be: %v", err))
	}
	var found []Finding
	var refused []string
	tried := false
	for _, from := range own() {
		for _, l := range e.reachable(ctx, from) {
			tried = true
			v := e.pretend(ctx, from, l.addr, as)
			switch {
			case v.Status == Pass:
				refused = append(refused, fmt.Sprintf("%s → %s", from, l.addr))
			case e.trusts(from): // as the configuration says; asked tells of it
			default:
				found = append(found, v)
			}
		}
	}
	if len(refused) > 0 {
		found = append(found, pass("whoever says %s without a login is refused (%s)", as, strings.Join(refused, ", ")))
	}
	if !tried {
		found = one(warn("run this on Postfix's machine", "no address from which Postfix lets this machine try"))
	}
	return append(found, e.asked(as)...)
}

// reachable are the listeners that can be reached from an address: for each
// service the first.
func (e *exam) reachable(ctx context.Context, from netip.Addr) []listener {
	var found []listener
	tried := map[string]bool{}
	all := e.listeners()
	slices.SortStableFunc(all, func(a, b listener) int { // one's own address first
		return boolean(b.addr.Addr() == from) - boolean(a.addr.Addr() == from)
	})
	for _, l := range all {
		if tried[l.service] || l.addr.Addr().Is4() != from.Is4() {
			continue
		}
		if _, err := greeting(ctx, from, l.addr); err == nil {
			tried[l.service] = true
			found = append(found, l)
		}
	}
	return found
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dialTCP connects from one of our addresses, any where it is not valid.
func dialTCP(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(20 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	return conn, conn.SetDeadline(deadline)
}

// dialSMTP connects and gives the greeting.
func dialSMTP(ctx context.Context, from netip.Addr, to netip.AddrPort) (*textproto.Conn, string, error) {
	conn, err := dialTCP(ctx, from, to)
	if err != nil {
		return nil, "", err
	}
	c := textproto.NewConn(conn)
	code, text, err := c.ReadResponse(0)
	if err != nil {
		c.Close()
		return nil, "", fmt.Errorf("no greeting from %s: %w", to, err)
	}
	return c, fmt.Sprintf("%d %s", code, text), nil
}

func greeting(ctx context.Context, from netip.Addr, to netip.AddrPort) (string, error) {
	c, says, err := dialSMTP(ctx, from, to)
	if err != nil {
		return "", err
	}
	c.Cmd("QUIT")
	return says, c.Close()
}

// pretend sends as somebody else, and passes if that is refused.
func (e *exam) pretend(ctx context.Context, from netip.Addr, to netip.AddrPort, as string) Finding {
	c, _, err := dialSMTP(ctx, from, to)
	if err != nil {
		return warn("run the check again", "%s: %v", to, err)
	}
	defer c.Close()
	defer c.Cmd("QUIT")
	sign := "self@" + e.Config.Domain
	for _, line := range []string{"EHLO " + "check." + e.Config.Domain, "MAIL FROM:<" + as + ">", "RCPT TO:<" + sign + ">"} {
		if decided := e.verdict(c, line, from, to, as, false); decided != nil {
			return *decided
		}
	}
	if e.Config.Senders.Confirm {
		return pass("held until the sender confirms") // and nobody is bothered by going on
	}
	if decided := e.verdict(c, "DATA", from, to, as, false); decided != nil {
		return *decided
	}
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: This must be refused\r\nDate: %s\r\nMessage-ID: <check.%s@%s>\r\n\r\nmilterd postfix check asks whether somebody believes it.\r\n.",
		as, sign, e.Now().Format(time.RFC1123Z), strings.ToLower(rand.Text()), e.Config.Domain)
	if decided := e.verdict(c, text, from, to, as, true); decided != nil {
		return *decided
	}
	return fail("take the sender out of milterd session list, and stop milterd until this is mended",
		"%s was believed to be %s without a login: %s took the mail", from, as, to)
}

// verdict says a line and judges the reply; nil means go on.
func (e *exam) verdict(c *textproto.Conn, line string, from netip.Addr, to netip.AddrPort, as string, mail bool) *Finding {
	verb, _, _ := strings.Cut(line, "\r\n")
	if _, err := c.Cmd("%s", line); err != nil {
		f := warn("run the check again", "%s: %v", to, err)
		return &f
	}
	code, text, err := c.ReadResponse(0)
	if code == 0 {
		f := warn("run the check again", "%s, after %s: %v", to, verb, err)
		return &f
	}
	var f Finding
	switch {
	case code/100 == 2 || code/100 == 3:
		return nil
	case code/100 == 4:
		f = warn("see why in Postfix's log", "%s → %s: put off, not refused: %d %s", from, to, code, text)
	case mail && !strings.HasPrefix(text, "5.7."):
		f = fail("empty milter.trusted_clients and senders, then look at milterd's log",
			"%s was believed to be %s without a login; its mail was refused only because it had no document: %d %s", from, as, code, text)
	default:
		f = pass("%d %s", code, text)
	}
	return &f
}
