package milter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-milter"

	"milterd/workflow"
)

// session is the conversation on one connection, mail after mail. The library
// calls it from one goroutine.
type session struct {
	door *Door
	conn *conn

	env    Envelope
	delete []string // raw and canonical forms of the taken recipients
	raw    []byte
	held   int64 // of door.held
	inBody bool
	over   bool // this mail has had its final reply
	start  time.Time
}

// reset forgets the mail.
func (s *session) reset(busy bool) {
	s.door.held.Add(-s.held)
	s.env, s.delete, s.raw, s.held, s.inBody, s.over = Envelope{}, nil, nil, 0, false, false
	s.conn.setBusy(busy)
}

// Connect and Helo are not asked for (OptNoConnect, OptNoHelo).
func (s *session) Connect(string, string, uint16, net.IP, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

func (s *session) Helo(string, *milter.Modifier) (milter.Response, error) {
	return milter.RespContinue, nil
}

// MailFrom starts a mail. Macros are replaced by each packet of them, so what
// counts is saved here. It gives no answer, and Postfix waits for none
// (OptNoMailReply).
func (s *session) MailFrom(from string, m *milter.Modifier) (milter.Response, error) {
	s.reset(true)
	s.start = time.Now()
	s.env.Login = m.Macros["{auth_authen}"]
	s.env.From = from
	if a, ok := m.Macros["{mail_addr}"]; ok {
		s.env.From = a
	}
	if a, err := netip.ParseAddr(strings.TrimPrefix(m.Macros["{client_addr}"], "IPv6:")); err == nil {
		s.env.Client = a.Unmap()
	}
	return nil, nil
}

// RcptTo never answers with a final reply: ACCEPT would hide a later sign
// recipient, REJECT makes the library forget the sender and earlier recipients.
func (s *session) RcptTo(raw string, m *milter.Modifier) (milter.Response, error) {
	forms := []string{raw}
	if a := m.Macros["{rcpt_addr}"]; a != "" && a != raw {
		forms = []string{a, raw}
	}
	rcpt, match := "", other
	for _, f := range forms {
		if rcpt, match = classify(f, s.door.Domain); match != other {
			break
		}
	}
	if match == other {
		return milter.RespContinue, nil
	}
	start := time.Now()
	verdict, err := Pass, error(errEvasive)
	if match == plain {
		ctx, cancel := context.WithTimeout(s.door.ctx, min(s.door.Work, recipientWork))
		defer cancel()
		verdict, err = s.door.Intake.Recipient(ctx, s.env, rcpt)
	}
	if err != nil {
		r := s.refuse("recipient refused", err, "recipient", rcpt)
		s.meterRecipient(r.Reason, start)
		return reply(r), nil
	}
	if verdict == Pass {
		s.meterRecipient("passed", start)
		return milter.RespContinue, nil
	}
	s.meterRecipient("taken", start)
	if !slices.Contains(s.env.Recipients, rcpt) {
		s.env.Recipients = append(s.env.Recipients, rcpt)
	}
	for _, f := range forms {
		if !slices.Contains(s.delete, f) {
			s.delete = append(s.delete, f)
		}
	}
	return milter.RespContinue, nil
}

// recipientWork stays below Postfix's milter_command_timeout of 30 s.
const recipientWork = 20 * time.Second

// Header is where mail for others is let go: the library has no callback for DATA.
func (s *session) Header(name, value string, m *milter.Modifier) (milter.Response, error) {
	if len(s.env.Recipients) == 0 {
		return s.letGo(), nil
	}
	if id := m.Macros["i"]; id != "" {
		s.env.QueueID = id
	}
	// The value begins with the space that stood after the colon
	// (OptHeaderLeadingSpace); Postfix writes folded lines with bare LF.
	line := name + ":" + strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n") + "\r\n"
	return s.add([]byte(line))
}

// Headers is the end of the header.
func (s *session) Headers(_ textproto.MIMEHeader, m *milter.Modifier) (milter.Response, error) {
	if len(s.env.Recipients) == 0 {
		return s.letGo(), nil
	}
	if id := m.Macros["i"]; id != "" {
		s.env.QueueID = id
	}
	s.inBody = true
	return s.add([]byte("\r\n"))
}

func (s *session) BodyChunk(chunk []byte, _ *milter.Modifier) (milter.Response, error) {
	if len(s.env.Recipients) == 0 {
		return s.letGo(), nil
	}
	return s.add(chunk)
}

// add keeps a piece of the mail within the limits.
func (s *session) add(b []byte) (milter.Response, error) {
	if s.over {
		return milter.RespContinue, nil
	}
	n := int64(len(b))
	if int64(len(s.raw))+n > s.door.MaxSize {
		return s.end(s.refuse("mail refused", &workflow.Refusal{Code: 552, Enhanced: "5.3.4", Reason: "too-large",
			Text: fmt.Sprintf("This mail is larger than the %d MB that the signature desk takes; send fewer or smaller documents.",
				s.door.MaxSize>>20)})), nil
	}
	if s.door.held.Add(n) > s.door.MaxHeld {
		s.held += n
		return s.end(s.refuse("mail put off", &workflow.Refusal{Code: 451, Enhanced: "4.3.2", Reason: "busy",
			Text: "The signature desk has too many mails in hand right now; please try again in a few minutes."})), nil
	}
	s.held += n
	s.raw = append(s.raw, b...)
	return milter.RespContinue, nil
}

// Body is the end of the mail.
func (s *session) Body(m *milter.Modifier) (milter.Response, error) {
	if s.over {
		return milter.RespContinue, nil
	}
	if len(s.env.Recipients) == 0 {
		return s.letGo(), nil
	}
	if !s.inBody {
		s.raw = append(s.raw, "\r\n"...)
	}
	ctx, cancel := context.WithTimeout(s.door.ctx, s.door.Work)
	defer cancel()
	if err := s.door.Intake.Message(ctx, s.env, s.raw); err != nil {
		return s.end(s.refuse("mail refused", err)), nil
	}
	for _, f := range s.delete {
		if err := m.DeleteRecipient(f); err != nil {
			// Postfix answers 451, and the same mail comes again: Message must
			// be idempotent for just this case.
			return nil, fmt.Errorf("deleting recipient %s: %w", f, err)
		}
	}
	s.meterMail("taken")
	s.door.Log.Info("mail taken", s.attrs()...)
	s.reset(false)
	return milter.RespAccept, nil
}

// Abort ends a mail without a decision: RSET, a lost client, a rejected mail.
func (s *session) Abort(*milter.Modifier) error {
	s.reset(false)
	return nil
}

// letGo hands the mail back to Postfix, which sends nothing more of it.
func (s *session) letGo() milter.Response {
	s.meterMail("other")
	s.reset(false)
	return milter.RespAccept
}

// end answers for the whole mail.
func (s *session) end(r *workflow.Refusal) milter.Response {
	s.meterMail(r.Reason)
	s.reset(false)
	s.over = true
	return reply(r)
}

// refuse makes a Refusal of any error, and logs it.
func (s *session) refuse(msg string, err error, attrs ...any) *workflow.Refusal {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		r = &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "internal", Err: err,
			Text: "The signature desk cannot take this mail right now; please try again later."}
	}
	attrs = append(s.attrs(), append(attrs, "reason", r.Reason, "reply", replyText(r))...)
	if r.Err != nil {
		attrs = append(attrs, "error", r.Err.Error())
	}
	if r.Code < 500 {
		s.door.Log.Warn(msg, attrs...)
	} else {
		s.door.Log.Info(msg, attrs...)
	}
	return r
}

func (s *session) attrs() []any {
	a := []any{"queue", s.env.QueueID, "from", s.env.From, "login", s.env.Login, "recipients", s.env.Recipients}
	if s.env.Client.IsValid() {
		a = append(a, "client", s.env.Client.String())
	}
	return a
}

func (s *session) meterRecipient(outcome string, start time.Time) {
	if f := s.door.Meter.Recipient; f != nil {
		f(outcome, time.Since(start))
	}
}

func (s *session) meterMail(outcome string) {
	if f := s.door.Meter.Mail; f != nil {
		f(outcome, len(s.raw), time.Since(s.start))
	}
}

// maxReply is what fits the 512 bytes of a reply line (RFC 5321, 4.5.3.1.5)
// with room for the text that Postfix may put around it.
const maxReply = 480

// replyText is the reply as one line of ASCII: "550 5.1.1 text".
func replyText(r *workflow.Refusal) string {
	t := fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
	t = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, t)
	if len(t) > maxReply {
		t = t[:maxReply-3] + "..."
	}
	return t
}

func reply(r *workflow.Refusal) milter.Response {
	// A single % is an escape in the protocol (smfi_setreply).
	return milter.NewResponse('y', append(bytes.ReplaceAll([]byte(replyText(r)), []byte("%"), []byte("%%")), 0))
}
