package demo

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-milter"
	"github.com/emersion/go-smtp"
)

// milterTalk is one connection to the milter, made for one SMTP connection as
// Postfix makes it, with Postfix's macros at Postfix's moments
// (milter_*_macros in postconf(5)).
type milterTalk struct {
	s      *milter.ClientSession
	client string
	passed bool // the milter has accepted this mail and wants no more of it
	inMail bool
}

// dialMilter connects and says who talks to us.
func dialMilter(address string, client net.Addr, helo, host string) (*milterTalk, error) {
	network, addr, _ := strings.Cut(address, ":")
	if network == "inet" {
		network = "tcp"
	}
	c := milter.NewClientWithOptions(network, addr, milter.ClientOptions{
		Dialer:      &net.Dialer{Timeout: 2 * time.Second},
		ReadTimeout: time.Minute, WriteTimeout: 10 * time.Second,
		// The masks of protocol version 2: go-milter's client speaks to a
		// version 2 milter only if it offers no more. What the milter answers
		// (the blank after a header's colon, for one) holds all the same.
		ActionMask: milter.OptAddHeader | milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt | milter.OptChangeHeader | milter.OptQuarantine,
		ProtocolMask: milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo | milter.OptNoBody |
			milter.OptNoHeaders | milter.OptNoEOH,
	})
	s, err := c.Session()
	if err != nil {
		return nil, err
	}
	ip, port, err := net.SplitHostPort(client.String())
	if err != nil {
		return nil, fmt.Errorf("client address %s: %w", client, err)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	t := &milterTalk{s: s, client: ip}
	s.Macros(milter.CodeConn, "j", host, "{daemon_name}", host, "v", "milterd demo")
	if err := reply(s.Conn("localhost", milter.FamilyInet, uint16(n), ip)); err != nil {
		return nil, err
	}
	s.Macros(milter.CodeHelo)
	if err := reply(s.Helo(helo)); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *milterTalk) mail(from, login string) error {
	t.passed, t.inMail = false, true
	macros := []string{"{mail_addr}", from, "{mail_host}", "", "{mail_mailer}", "smtp", "{client_addr}", t.client}
	if login != "" {
		macros = append(macros, "{auth_type}", "PLAIN", "{auth_authen}", login)
	}
	t.s.Macros(milter.CodeMail, macros...)
	return t.heard(t.s.Mail(from, nil))
}

func (t *milterTalk) rcpt(to string) error {
	if t.passed {
		return nil
	}
	t.s.Macros(milter.CodeRcpt, "{rcpt_addr}", to, "{rcpt_host}", "", "{rcpt_mailer}", "local")
	return t.heard(t.s.Rcpt(to, nil))
}

// message shows header and body, and returns the recipients that are to be
// deleted. Any other change is an error: milterd has no business with it.
func (t *milterTalk) message(id string, raw []byte) (deleted []string, err error) {
	defer func() { t.inMail = false }()
	if t.passed {
		return nil, nil
	}
	r := bufio.NewReader(bytes.NewReader(raw))
	header, err := textproto.ReadHeader(r)
	if err != nil {
		return nil, &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "Header cannot be read"}
	}
	t.s.Macros(milter.CodeHeader, "i", id)
	for f := header.Fields(); f.Next() && !t.passed; {
		// As Postfix: the value as it was sent, its line ends LF, without its
		// first blank unless the milter has asked for it.
		key, value, _ := strings.Cut(strings.ReplaceAll(string(rawField(f)), "\r\n", "\n"), ":")
		value = strings.TrimSuffix(value, "\n")
		if !t.s.ProtocolOption(milter.OptHeaderLeadingSpace) {
			value = strings.TrimPrefix(value, " ")
		}
		if err := t.heard(t.s.HeaderField(key, value)); err != nil {
			return nil, err
		}
	}
	if t.passed {
		return nil, nil
	}
	t.s.Macros(milter.CodeEOH, "i", id)
	if err := t.heard(t.s.HeaderEnd()); err != nil || t.passed {
		return nil, err
	}
	changes, action, err := t.s.BodyReadFrom(r)
	if err := t.heard(action, err); err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.Code != milter.ActDelRcpt {
			return nil, fmt.Errorf("milter wants a change that is not expected of it: %c", c.Code)
		}
		deleted = append(deleted, strings.Trim(c.Rcpt, "<>"))
	}
	return deleted, nil
}

func rawField(f textproto.HeaderFields) []byte {
	b, err := f.Raw()
	if err != nil {
		return []byte(f.Key() + ": " + f.Value() + "\r\n")
	}
	return b
}

// heard turns the milter's answer into an SMTP reply, nil for "go on".
func (t *milterTalk) heard(a *milter.Action, err error) error {
	if err == nil && a.Code == milter.ActAccept {
		t.passed = true
	}
	return reply(a, err)
}

var enhanced = regexp.MustCompile(`^([245])\.(\d{1,3})\.(\d{1,3}) `)

func reply(a *milter.Action, err error) error {
	if err != nil {
		return err
	}
	switch a.Code {
	case milter.ActContinue, milter.ActAccept:
		return nil
	case milter.ActTempFail:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Service unavailable - try again later"}
	case milter.ActReject:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Command rejected"}
	case milter.ActReplyCode:
		// The protocol doubles every percent sign (smfi_setreply).
		text := strings.ReplaceAll(a.SMTPText, "%%", "%")
		e := &smtp.SMTPError{Code: a.SMTPCode, EnhancedCode: smtp.NoEnhancedCode, Message: text}
		if m := enhanced.FindStringSubmatch(text); m != nil {
			for i := range e.EnhancedCode {
				e.EnhancedCode[i], _ = strconv.Atoi(m[i+1])
			}
			e.Message = text[len(m[0]):]
		}
		return e
	}
	// DISCARD among them: milterd never says it.
	return fmt.Errorf("milter gave an answer that is not expected of it: %c", a.Code)
}

func (t *milterTalk) reset() {
	if t.inMail {
		t.s.Abort()
		t.inMail = false
	}
}

func (t *milterTalk) close() { t.s.Close() }
