package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"milterd/workflow"
)

// TLS says how a Relay is spoken to.
type TLS string

// The ways.
const (
	Plain         TLS = "plain"         // never asks for TLS
	Opportunistic TLS = "opportunistic" // TLS without looking at the certificate (RFC 7435); in the clear if that fails
	Required      TLS = "required"      // STARTTLS with a valid certificate, or no mail
)

// Relay is the mail server that takes our mails.
type Relay struct {
	Address string         // host:port, or unix:/path of a socket
	TLS     TLS            // empty means Plain
	Roots   *x509.CertPool // for Required; nil means the system's
	Host    string         // our name in EHLO; empty means the sign domain
	User    string         // SASL PLAIN login; empty for none
	Pass    string
	Dial    time.Duration // until connected; 0 means 10 s
	Command time.Duration // for each answer, and for each write of the message; 0 means 1 min
	Data    time.Duration // for the answer to the whole message; 0 means 10 min (RFC 5321, 4.5.3.2.6)
}

// grace is how long a message that was sent entirely may still wait for its
// answer when the program stops: hanging up then would make a duplicate.
const grace = 10 * time.Second

func (r Relay) network() (network, address string) {
	if path, ok := strings.CutPrefix(r.Address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", r.Address
}

func (r Relay) check() (Relay, error) {
	network, address := r.network()
	local := network == "unix"
	if network == "tcp" {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "" || host == "" {
			return r, fmt.Errorf("address %q: want host:port or unix:/path", r.Address)
		}
		local = host == "localhost" || net.ParseIP(host).IsLoopback()
	} else if !strings.HasPrefix(address, "/") {
		return r, fmt.Errorf("address %q: want an absolute path after unix:", r.Address)
	}
	switch r.TLS {
	case "":
		r.TLS = Plain
	case Plain, Opportunistic, Required:
	default:
		return r, fmt.Errorf("tls %q: want plain, opportunistic or required", r.TLS)
	}
	if r.TLS != Plain && network == "unix" {
		return r, errors.New("tls: not on a unix socket")
	}
	if r.User != "" && r.TLS != Required && !local {
		return r, errors.New("login: wants tls = required, or a relay on this machine")
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&r.Dial, 10 * time.Second}, {&r.Command, time.Minute}, {&r.Data, 10 * time.Minute}} {
		if *d.v < 0 {
			return r, errors.New("timeouts: want positive ones")
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return r, nil
}

// patientConn bounds every single read and write. go-smtp's own deadlines
// neither cover writing the message nor can be set before the greeting.
type patientConn struct {
	net.Conn
	read, write time.Duration
}

func (c *patientConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.read)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline does nothing: Read and Write set their own.
func (c *patientConn) SetDeadline(time.Time) error { return nil }

// deliver carries one message to the relay.
func (n *Notifier) deliver(ctx context.Context, from, to string, msg []byte) error {
	l, err := n.greet(ctx)
	if err != nil {
		return err
	}
	defer l.hangUp()
	if err := l.converse(ctx, n.c.Relay, from, to, msg); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return err
	}
	return nil
}

// line is a connection to the relay. It breaks when its context ends.
type line struct {
	*smtp.Client
	conn *patientConn
	stop func() bool
}

func (l *line) hangUp() {
	l.stop()
	l.Close()
}

// greet connects and says hello, in TLS as the configuration wants it.
func (n *Notifier) greet(ctx context.Context) (*line, error) {
	r := n.c.Relay
	switch r.TLS {
	case Required:
		host, _, _ := net.SplitHostPort(r.Address)
		return r.open(ctx, &tls.Config{ServerName: host, RootCAs: r.Roots})
	case Opportunistic:
		// No certificate is asked for: this protects from those who only listen.
		l, err := r.open(ctx, &tls.Config{InsecureSkipVerify: true})
		if err == nil || ctx.Err() != nil {
			return l, err
		}
	}
	return r.open(ctx, nil)
}

// open connects, with STARTTLS if there is a configuration for it.
func (r Relay) open(ctx context.Context, config *tls.Config) (*line, error) {
	network, address := r.network()
	conn, err := (&net.Dialer{Timeout: r.Dial}).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connecting to the relay: %w", err)
	}
	l := &line{conn: &patientConn{Conn: conn, read: r.Command, write: r.Command}}
	l.stop = context.AfterFunc(ctx, func() { conn.Close() })
	if config == nil {
		l.Client = smtp.NewClient(l.conn)
	} else if l.Client, err = smtp.NewClientStartTLS(l.conn, config); err != nil {
		l.stop()
		conn.Close()
		return nil, fmt.Errorf("starting TLS with the relay: %w", err)
	}
	if err := l.Hello(r.Host); err != nil { // in TLS, this is when hands are shaken
		l.hangUp()
		return nil, fmt.Errorf("EHLO: %w", err)
	}
	return l, nil
}

// converse says the whole transaction.
func (l *line) converse(ctx context.Context, r Relay, from, to string, msg []byte) error {
	if r.User != "" {
		if err := l.Auth(sasl.NewPlainClient("", r.User, r.Pass)); err != nil {
			return fmt.Errorf("AUTH as %s: %w", r.User, err)
		}
	}
	if err := l.Mail(from, &smtp.MailOptions{Size: int64(len(msg)), UTF8: !isASCII(to)}); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	if err := l.Rcpt(to, nil); err != nil {
		var reply *smtp.SMTPError
		if errors.As(err, &reply) && reply.Code/100 == 5 {
			return workflow.Drop{Err: fmt.Errorf("RCPT: %w", rejected(reply))}
		}
		return fmt.Errorf("RCPT: %w", err)
	}
	w, err := l.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := w.Write(msg); err != nil {
		return fmt.Errorf("sending the message: %w", err)
	}
	// From the final dot on the relay may have the mail: a stopping program
	// waits a little for the answer instead of hanging up.
	l.stop()
	l.conn.read = r.Data
	l.stop = context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { l.conn.Conn.Close() }) })
	if err := w.Close(); err != nil {
		return fmt.Errorf("end of the message: %w", err)
	}
	l.conn.read = min(time.Second, r.Command)
	_ = l.Quit() // the relay has taken the mail; how it says goodbye changes nothing
	return nil
}

// rejected takes a reply for what a DSN would say.
func rejected(reply *smtp.SMTPError) workflow.Rejected {
	f := workflow.Failure{Diagnostic: fmt.Sprint(reply.Code)}
	if e := reply.EnhancedCode; e[0] > 0 {
		f.Status = fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
		f.Diagnostic += " " + f.Status
	}
	f.Diagnostic += " " + reply.Message
	return workflow.Rejected{Failure: f}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
