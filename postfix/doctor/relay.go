package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// relay goes milterd's way out as far as the login, and sends nothing.
func (e *exam) relay(ctx context.Context) []Finding {
	c, secure, err := e.dialRelay(ctx)
	s := e.Config.SMTP
	if err != nil {
		return one(fail("mend smtp.relay, smtp.tls, smtp.user in milterd.toml, or the relay", "%v", err))
	}
	defer c.Close()
	defer c.Quit()
	how := "in the clear"
	if secure {
		how = "encrypted"
	}
	if ok, text := c.Extension("SIZE"); ok {
		if limit, err := strconv.ParseInt(text, 10, 64); err == nil && limit > 0 && limit < int64(e.Config.Limits.Mail) {
			return one(warn(fmt.Sprintf("let the relay take %d bytes, or set limits.mail = %q", e.Config.Limits.Mail, text),
				"%s takes mails of %d bytes, limits.mail says %d: larger results are refused", s.Relay, limit, e.Config.Limits.Mail))
		}
	}
	host, _, _ := net.SplitHostPort(s.Relay)
	if !secure && s.TLS == "opportunistic" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return one(warn("let the relay offer STARTTLS", "%s does not offer STARTTLS: milterd's mail goes there in the clear", s.Relay))
	}
	return one(pass("%s takes milterd's mail, %s", s.Relay, how))
}

// dialRelay connects, says hello, begins TLS and logs in as the configuration
// says.
func (e *exam) dialRelay(ctx context.Context) (c *smtp.Client, secure bool, err error) {
	s := e.Config.SMTP
	host, _, err := net.SplitHostPort(s.Relay)
	if err != nil {
		return nil, false, fmt.Errorf("smtp.relay: %w", err)
	}
	connect := func(config *tls.Config) (*smtp.Client, error) {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", s.Relay)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be reached: %w", s.Relay, err)
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		c := smtp.NewClient(conn)
		if config != nil {
			if c, err = smtp.NewClientStartTLS(conn, config); err != nil {
				return nil, fmt.Errorf("%s: STARTTLS: %w", s.Relay, err)
			}
		}
		c.CommandTimeout, c.SubmissionTimeout = 2*patience, 4*patience
		if err := c.Hello(e.Config.Domain); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: EHLO: %w", s.Relay, err)
		}
		return c, nil
	}
	switch s.TLS {
	case "required":
		c, err = connect(&tls.Config{ServerName: host})
		secure = true
	case "opportunistic":
		if c, err = connect(&tls.Config{InsecureSkipVerify: true}); err == nil { // as milterd: against those who only listen
			secure = true
			break
		}
		fallthrough
	default:
		c, err = connect(nil)
	}
	if err != nil || s.User == "" {
		return c, secure, err
	}
	password, err := os.ReadFile(s.PasswordFile)
	if err == nil {
		err = c.Auth(sasl.NewPlainClient("", s.User, strings.TrimRight(string(password), "\r\n")))
	}
	if err != nil {
		c.Close()
		return nil, false, fmt.Errorf("%s: login as %s: %w", s.Relay, s.User, err)
	}
	return c, secure, nil
}
