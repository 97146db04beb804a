package demo

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// MailServer is a mail server on loopback: SMTP with SASL PLAIN login, a milter
// that is asked about every mail, mailboxes in memory. It delivers to its own
// domain, and takes mail for the sign domain, which the milter has to delete.
// Set its fields, then Start.
type MailServer struct {
	Domain     string            // of the mailboxes: corp.test
	SignDomain string            // whose recipients are the milter's: sign.corp.test
	Users      map[string]string // SASL logins and their passwords
	Milter     string            // unix:PATH or inet:HOST:PORT, "" for none
	Boxes      *Mailboxes
	Log        *slog.Logger

	server  *smtp.Server
	address string
	queue   atomic.Int64
}

// Start listens on a loopback port that the kernel picks.
func (s *MailServer) Start() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo's mail server: %w", err)
	}
	s.address = ln.Addr().String()
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &conversation{server: s, conn: c}, nil
	}))
	s.server.Domain = "mx." + s.Domain
	s.server.AllowInsecureAuth = true // loopback
	s.server.EnableSMTPUTF8 = true
	s.server.MaxMessageBytes = 50 << 20
	s.server.MaxRecipients = 100
	s.server.ReadTimeout, s.server.WriteTimeout = time.Minute, time.Minute
	s.server.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)
	go s.server.Serve(ln)
	return nil
}

// Address is host:port, for SMTP with and without login.
func (s *MailServer) Address() string { return s.address }

// Close ends the server and its connections.
func (s *MailServer) Close() error { return s.server.Close() }

// conversation is one SMTP connection.
type conversation struct {
	server *MailServer
	conn   *smtp.Conn
	login  string
	milter *milterTalk // nil until the first MAIL, or without a milter

	from string
	to   []string // as the client wrote them
}

func (c *conversation) AuthMechanisms() []string { return []string{sasl.Plain} }

func (c *conversation) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(identity, user, password string) error {
		want, ok := c.server.Users[user]
		if !ok || subtle.ConstantTimeCompare([]byte(want), []byte(password)) != 1 || identity != "" && identity != user {
			return smtp.ErrAuthFailed
		}
		c.login = user
		return nil
	}), nil
}

func (c *conversation) Mail(from string, _ *smtp.MailOptions) error {
	if c.milter == nil && c.server.Milter != "" {
		t, err := dialMilter(c.server.Milter, c.conn.Conn().RemoteAddr(), c.conn.Hostname(), c.server.server.Domain)
		if err != nil {
			return c.milterAway(err)
		}
		c.milter = t
	}
	c.from, c.to = from, nil
	return c.ask(func(t *milterTalk) error { return t.mail(from, c.login) })
}

func (c *conversation) Rcpt(to string, _ *smtp.RcptOptions) error {
	// As in Postfix, the server's own rules come before the milter.
	local, domain, _ := strings.Cut(strings.TrimSuffix(to, "."), "@")
	switch domain = strings.ToLower(domain); {
	case domain == c.server.SignDomain:
	case domain == c.server.Domain:
		if !c.server.Boxes.has(strings.ToLower(local) + "@" + domain) {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "User unknown in local recipient table"}
		}
	default:
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relay access denied"}
	}
	if err := c.ask(func(t *milterTalk) error { return t.rcpt(to) }); err != nil {
		return err
	}
	c.to = append(c.to, to)
	return nil
}

func (c *conversation) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	raw = crlf(raw)
	deleted := []string(nil)
	id := fmt.Sprintf("DEMO%06X", c.server.queue.Add(1))
	if err := c.ask(func(t *milterTalk) (err error) { deleted, err = t.message(id, raw); return }); err != nil {
		return err
	}
	trace := fmt.Sprintf("Received: from %s by %s with ESMTP id %s;\r\n\t%s\r\n",
		c.conn.Hostname(), c.server.server.Domain, id, time.Now().Format(time.RFC1123Z))
	for _, to := range c.to {
		if slices.ContainsFunc(deleted, func(d string) bool { return strings.EqualFold(d, to) }) {
			continue
		}
		c.server.Boxes.deliver(to, c.from, append([]byte(trace), raw...))
	}
	return nil
}

// ask puts a question to the milter, if there is one.
func (c *conversation) ask(question func(*milterTalk) error) error {
	if c.milter == nil {
		return nil
	}
	err := question(c.milter)
	if reply := (*smtp.SMTPError)(nil); err != nil && !errors.As(err, &reply) {
		c.milter.close()
		c.milter = nil
		return c.milterAway(err)
	}
	return err
}

// milterAway is what default_action=tempfail makes of a milter that is away.
func (c *conversation) milterAway(err error) error {
	c.server.Log.Warn("milter away", "error", err)
	return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Service unavailable - try again later"}
}

func (c *conversation) Reset() {
	if c.milter != nil {
		c.milter.reset()
	}
	c.from, c.to = "", nil
}

func (c *conversation) Logout() error {
	if c.milter != nil {
		c.milter.close()
		c.milter = nil
	}
	return nil
}

// crlf makes every line end CR LF.
func crlf(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}
