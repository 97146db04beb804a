package milter

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/workflow"
)

// maxRecipients of one mail; Postfix sends 50 at a time unless told otherwise.
const maxRecipients = 1000

// talkLMTP answers LMTP (RFC 2033) on one connection: PIPELINING, 8BITMIME,
// SMTPUTF8 and enhanced codes, no CHUNKING, no DSN, no login.
//
// SIZE is announced without a number. With one, Postfix itself would bounce a
// larger mail to its envelope sender, who may be forged; so a larger mail is
// read, cut at MaxSize+1 bytes, and the Intake judges it: its header may prove
// the sender, and its length refuses it.
func (d *Door) talkLMTP(c *conn) {
	s := &lmtpSession{door: d, conn: c}
	c.release = s.Reset
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return s, nil }))
	srv.LMTP = true
	srv.Domain = d.Domain
	srv.MaxRecipients = maxRecipients
	srv.EnableSMTPUTF8 = true
	srv.ErrorLog = lmtpLog{d.Log}
	// The library would count the mail's own lines, too, and close the connection
	// over a long one; lmtpConn counts commands only.
	srv.MaxLineLength = 0
	go srv.Serve(&single{conn: &lmtpConn{conn: c, session: s}})
}

// lmtpSession is the conversation on one connection, mail after mail. The
// library waits for each call to return before it makes the next.
type lmtpSession struct {
	door   *Door
	conn   *conn
	letter *letter // nil between mails
	inData bool    // the mail itself is under way
}

// Reset forgets the mail.
func (s *lmtpSession) Reset() {
	if s.letter != nil {
		s.letter.release()
		s.letter = nil
	}
	s.inData = false
	s.conn.setBusy(false)
}

func (s *lmtpSession) Logout() error { return nil }

// Mail begins a mail. The library lets a second MAIL pass, but keeps the
// recipients of the first.
func (s *lmtpSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.letter != nil {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "This mail has a sender already."}
	}
	s.conn.setBusy(true)
	s.letter = &letter{door: s.door, env: Envelope{Relayed: true, From: from}, start: time.Now()}
	return nil
}

var (
	errNoRelay = &workflow.Refusal{Code: 550, Enhanced: "5.7.1", Reason: "no-relay",
		Text: "The signature desk takes mail to the sign domain only."}
	// errNotAliased keeps postmaster's mail in Postfix's queue, where the
	// administrator finds it with this reason. A permanent refusal would tell an
	// envelope sender who may be forged, and taking the mail would lose it.
	errNotAliased = &workflow.Refusal{Code: 451, Enhanced: "4.3.5", Reason: "not-aliased",
		Text: "This address belongs to a person: Postfix lacks its line of virtual_alias_maps (milterd postfix print). Then: postsuper -r."}
)

// Rcpt answers for one recipient.
func (s *lmtpSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	l := s.letter
	if l == nil {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "MAIL comes first."}
	}
	name, m := classify(to, s.door.Domain)
	if !strings.HasSuffix(name, "@"+hostname(s.door.Domain)) { // x%sign@mx, too
		return smtpError(l.refuse("recipient refused", errNoRelay, "recipient", shown(to)[0]))
	}
	verdict, r := l.recipient(name, m)
	if r == nil && verdict == Pass {
		r = l.refuse("recipient put off", errNotAliased, "recipient", shown(name)[0])
	}
	if r != nil {
		return smtpError(r)
	}
	return nil
}

// LMTPData reads the mail and answers for every recipient at once: a mail opens
// one session with all of them, or none.
func (s *lmtpSession) LMTPData(r io.Reader, _ smtp.StatusCollector) error {
	if _, chunked := r.(*io.PipeReader); chunked {
		return &smtp.SMTPError{Code: 502, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "CHUNKING is not offered."}
	}
	l := s.letter
	if l == nil || len(l.env.Recipients) == 0 {
		return &smtp.SMTPError{Code: 503, EnhancedCode: smtp.EnhancedCode{5, 5, 1}, Message: "RCPT comes first."}
	}
	s.inData = true
	if err := l.read(r); err != nil {
		refusal := l.refuse("mail put off", err)
		l.meterMail(refusal.Reason)
		return smtpError(refusal)
	}
	if refusal := l.judge(); refusal != nil {
		l.meterMail(refusal.Reason)
		return smtpError(refusal)
	}
	l.meterMail("taken")
	s.door.Log.Info("mail taken", l.attrs()...)
	return nil
}

func (s *lmtpSession) Data(r io.Reader) error { return s.LMTPData(r, nil) }

// read keeps the mail up to one byte more than MaxSize, and reads on to its end.
func (l *letter) read(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		keep := min(int64(n), l.door.MaxSize+1-int64(len(l.raw)))
		if err := l.hold(buf[:keep]); err != nil {
			return err // the library reads the rest
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the mail: %w", err)
		}
	}
}

// smtpError is a Refusal as the library writes it.
func smtpError(r *workflow.Refusal) *smtp.SMTPError {
	code, rest, _ := strings.Cut(replyText(r), " ")
	enhanced, text, _ := strings.Cut(rest, " ")
	e := &smtp.SMTPError{Message: text}
	e.Code, _ = strconv.Atoi(code)
	for i, n := range strings.SplitN(enhanced, ".", 3) {
		e.EnhancedCode[i], _ = strconv.Atoi(n)
	}
	return e
}

// maxCommand is the longest line outside a mail; RFC 5321, 4.5.3.1.4 wants 512
// bytes and room for extensions.
const maxCommand = 8 << 10

// lmtpConn mends what the library would get wrong.
type lmtpConn struct {
	*conn
	session *lmtpSession
	line    int // bytes of the line so far
}

// Read reports every end as net.ErrClosed, which the library takes without a
// line in the log, and never as the end of a mail. A long command is an end.
//
// A CR without its LF becomes a blank, as Postfix does it (cleanup_replace_stray_cr_lf):
// after CR CR LF the library does not see the final dot, and would wait for ever.
func (c *lmtpConn) Read(p []byte) (int, error) {
	n, err := c.conn.Read(p)
	if err != nil {
		return 0, net.ErrClosed
	}
	for i, b := range p[:n] {
		c.line++
		switch {
		case b == '\n':
			c.line = 0
		case b == '\r' && !c.feeds(p[i+1:n]):
			p[i] = ' '
		}
		if c.line > maxCommand && !c.session.inData {
			return 0, net.ErrClosed
		}
	}
	return n, nil
}

// feeds reports that the next byte is a line feed.
func (c *lmtpConn) feeds(rest []byte) bool {
	if len(rest) == 0 {
		rest, _ = c.r.Peek(1)
	}
	return len(rest) > 0 && rest[0] == '\n'
}

// chunking is a line of the library's answer to LHLO that cannot be switched off.
var chunking = []byte("250-CHUNKING\r\n")

// Write keeps the library from offering CHUNKING: it takes the loss of a
// connection within a chunk for the end of the mail.
func (c *lmtpConn) Write(p []byte) (int, error) {
	if bytes.Equal(p, chunking) {
		return len(p), nil
	}
	return c.conn.Write(p)
}

// lmtpLog takes what the library has to say: panics and broken connections.
type lmtpLog struct{ log *slog.Logger }

func (l lmtpLog) Printf(format string, v ...any) {
	l.log.Error("lmtp", "error", fmt.Sprintf(format, v...))
}
func (l lmtpLog) Println(v ...any) { l.log.Error("lmtp", "error", fmt.Sprint(v...)) }
