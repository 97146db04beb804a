package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/emersion/go-milter"
)

// A stranger's address (RFC 5737): nobody's, and in no list of trusted clients.
var stranger = netip.MustParseAddr("203.0.113.77")

// asked asks milterd itself, at its socket and in Postfix's words, whether it
// believes a client without a login. Nothing but the recipient is said, so no
// session can come of it. Where unproven mail is looked at (senders.dkim,
// authserv, confirm), the recipient's answer means nothing yet, and pretend
// goes further.
func (e *exam) asked(as string) []Finding {
	if e.Site.Strangers {
		return nil
	}
	reply, err := e.askMilter(stranger, as)
	if err != nil {
		return one(warn("run this as root", "milterd cannot be asked at its own socket whom it believes: %v", err))
	}
	found := one(fail("stop milterd, and look at milter.trusted_clients", "milterd believed %s to be %s without a login, asked at its socket", stranger, as))
	if reply != "" {
		found = one(pass("asked at its own socket, milterd refuses a stranger who says %s: %s", as, reply))
	}
	for _, p := range e.Config.Milter.Clients() {
		reply, err := e.askMilter(p.Addr(), as)
		switch {
		case err != nil:
			found = append(found, warn("run this as root", "milterd cannot be asked at its own socket whom it believes: %v", err))
		case reply != "":
			found = append(found, warn("systemctl restart milterd", "milter.trusted_clients names %s, but milterd refuses it: %s", p, reply))
		case !p.IsSingleIP():
			found = append(found, warn("list single machines in milter.trusted_clients", "every machine in %s can ask in anybody's name without a login", p))
		case p.Addr().IsLoopback():
			found = append(found, warn("take it out of milter.trusted_clients unless every program on this machine may do that", "every program on this machine (%s) can ask in anybody's name without a login", p.Addr()))
		default:
			found = append(found, pass("%s can ask in anybody's name without a login, as milter.trusted_clients says", p.Addr()))
		}
	}
	return found
}

// askMilter gives milterd's refusal of a recipient, or "" if it takes it.
func (e *exam) askMilter(client netip.Addr, as string) (reply string, err error) {
	network, address, err := e.Config.Milter.Socket()
	if err != nil {
		return "", err
	}
	c := milter.NewClientWithOptions(network, address, milter.ClientOptions{
		Dialer: &net.Dialer{Timeout: patience}, ReadTimeout: 2 * patience, WriteTimeout: patience,
		ActionMask:   milter.OptRemoveRcpt | milter.OptChangeHeader,
		ProtocolMask: milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo | milter.OptNoBody | milter.OptNoHeaders | milter.OptNoEOH,
	})
	defer c.Close()
	s, err := c.Session()
	if err != nil {
		return "", err
	}
	defer s.Close()
	family := milter.FamilyInet
	if client.Is6() {
		family = milter.FamilyInet6
	}
	rcpt := "self@" + e.Config.Domain
	for _, step := range []func() (*milter.Action, error){
		func() (*milter.Action, error) {
			s.Macros(milter.CodeConn, "j", e.value["myhostname"], "{daemon_name}", "smtpd")
			return s.Conn("unknown", milter.ProtoFamily(family), 25000, client.String())
		},
		func() (*milter.Action, error) {
			s.Macros(milter.CodeHelo)
			return s.Helo("check." + e.Config.Domain)
		},
		func() (*milter.Action, error) {
			s.Macros(milter.CodeMail, "{mail_addr}", as, "{mail_mailer}", "smtp", "{client_addr}", client.String())
			return s.Mail(as, nil)
		},
		func() (*milter.Action, error) {
			s.Macros(milter.CodeRcpt, "{rcpt_addr}", rcpt, "{rcpt_mailer}", "lmtp")
			return s.Rcpt(rcpt, nil)
		},
	} {
		action, err := step()
		if err != nil {
			return "", err
		}
		switch action.Code {
		case milter.ActContinue:
		case milter.ActReplyCode:
			return fmt.Sprintf("%d %s", action.SMTPCode, strings.ReplaceAll(action.SMTPText, "%%", "%")), nil
		default:
			return fmt.Sprintf("answer %q", action.Code), nil
		}
	}
	return "", s.Abort()
}

func (e *exam) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(e.Config.Milter.Clients(), func(p netip.Prefix) bool { return p.Contains(a) })
}
