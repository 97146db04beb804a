package probe

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-milter"
)

// Door is a connection to milterd's milter socket, as Postfix holds one for an
// SMTP connection.
type Door struct{ s *milter.ClientSession }

// Knock connects; address is as milter.listen has it.
func Knock(address string) (*Door, error) {
	network, addr, _ := strings.Cut(address, ":")
	if network == "inet" {
		network = "tcp"
	}
	// The masks of protocol version 2, which is what this client speaks.
	c := milter.NewClientWithOptions(network, addr, milter.ClientOptions{
		Dialer: &net.Dialer{Timeout: 5 * time.Second}, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		ActionMask: milter.OptAddHeader | milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptChangeHeader | milter.OptQuarantine,
		ProtocolMask: milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo | milter.OptNoBody |
			milter.OptNoHeaders | milter.OptNoEOH})
	s, err := c.Session()
	if err != nil {
		return nil, err
	}
	s.Macros(milter.CodeConn, "j", "mx.corp.test", "{daemon_name}", "mx.corp.test", "v", "bench")
	if err := goOn(s.Conn("localhost", milter.FamilyInet, 40000, "198.51.100.1")); err != nil {
		return nil, err
	}
	s.Macros(milter.CodeHelo)
	return &Door{s}, goOn(s.Helo("client.corp.test"))
}

// Close hangs up.
func (d *Door) Close() { d.s.Close() }

// Mail shows a mail of somebody who is logged in with the part of the address
// before the @, and gives how long RCPT and the end of the body took. It is an
// error if milterd does not take it.
func (d *Door) Mail(from, to string, raw []byte) (rcpt, end time.Duration, err error) {
	login, _, _ := strings.Cut(from, "@")
	d.s.Macros(milter.CodeMail, "{mail_addr}", from, "{mail_host}", "", "{mail_mailer}", "smtp", "{auth_type}", "PLAIN", "{auth_authen}", login)
	if err := goOn(d.s.Mail(from, nil)); err != nil {
		return 0, 0, fmt.Errorf("MAIL: %w", err)
	}
	d.s.Macros(milter.CodeRcpt, "{rcpt_addr}", to, "{rcpt_host}", "", "{rcpt_mailer}", "local")
	start := time.Now()
	if err := goOn(d.s.Rcpt(to, nil)); err != nil {
		return 0, 0, fmt.Errorf("RCPT: %w", err)
	}
	rcpt = time.Since(start)
	r := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.ReadHeader(r)
	if err != nil {
		return 0, 0, err
	}
	d.s.Macros(milter.CodeHeader, "i", "bench")
	for f := header.Fields(); f.Next(); {
		if err := goOn(d.s.HeaderField(f.Key(), " "+f.Value())); err != nil {
			return 0, 0, fmt.Errorf("header: %w", err)
		}
	}
	d.s.Macros(milter.CodeEOH, "i", "bench")
	if err := goOn(d.s.HeaderEnd()); err != nil {
		return 0, 0, fmt.Errorf("end of header: %w", err)
	}
	start = time.Now()
	changes, action, err := d.s.BodyReadFrom(r)
	if err := answered(action, err, milter.ActAccept); err != nil {
		return 0, 0, fmt.Errorf("end of body: %w", err)
	}
	if len(changes) == 0 {
		return 0, 0, fmt.Errorf("mail to %s was let go", to)
	}
	return rcpt, time.Since(start), nil
}

func goOn(a *milter.Action, err error) error { return answered(a, err, milter.ActContinue) }

func answered(a *milter.Action, err error, want milter.ActionCode) error {
	if err == nil && a.Code != want {
		err = fmt.Errorf("answer %c %d %s", a.Code, a.SMTPCode, a.SMTPText)
	}
	return err
}
