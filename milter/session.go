package milter

import (
	"bytes"
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
	letter
	conn *conn

	delete []string // raw and canonical forms of the taken recipients
	inBody bool
	over   bool // this mail has had its final reply

	refused *workflow.Refusal // what the mail hears at the next place where it hears anything
}

// reset forgets the mail.
func (s *session) reset(busy bool) {
	s.release()
	s.delete, s.inBody, s.over = nil, false, false
	s.refused = nil
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
	// For a mail that sendmail put into the queue, cleanup plays a client on
	// 127.0.0.1 without a port, and knows the queue id from the start.
	s.env.Submitted = m.Macros["i"] != "" && m.Macros["{client_port}"] == "0"
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
	verdict, refusal := s.recipient(rcpt, match)
	if refusal != nil && s.env.Submitted {
		// cleanup knows no refusal of a recipient: it would leave the mail in
		// maildrop and try for ever. At the header it makes a bounce of a 5xx, and
		// tries again after a 4xx.
		if s.refused == nil || s.refused.Code < 500 {
			s.refused = refusal
		}
		return milter.RespContinue, nil
	}
	if refusal != nil {
		return reply(refusal), nil
	}
	if verdict == Pass {
		return milter.RespContinue, nil
	}
	// The queue has the form that the client wrote, without its source route.
	for _, f := range append(forms, unrouted(raw)) {
		if !slices.Contains(s.delete, f) {
			s.delete = append(s.delete, f)
		}
	}
	return milter.RespContinue, nil
}

// Header is a field of the header. It gives no answer, and Postfix waits for none
// (OptNoHeaderReply).
func (s *session) Header(name, value string, m *milter.Modifier) (milter.Response, error) {
	if id := m.Macros["i"]; id != "" {
		s.env.QueueID = id
	}
	// The value begins with the space that stood after the colon
	// (OptHeaderLeadingSpace); Postfix writes folded lines with bare LF.
	s.add([]byte(name + ":" + strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n") + "\r\n"))
	return nil, nil
}

// Headers is the end of the header, where mail for others is let go: the library
// has no callback for DATA.
func (s *session) Headers(_ textproto.MIMEHeader, m *milter.Modifier) (milter.Response, error) {
	if id := m.Macros["i"]; id != "" {
		s.env.QueueID = id
	}
	if r := s.early(); r != nil {
		return r, nil
	}
	s.inBody = true
	s.add([]byte("\r\n"))
	return milter.RespContinue, nil
}

// BodyChunk is a piece of the body. It gives no answer (OptNoBodyReply).
func (s *session) BodyChunk(chunk []byte, _ *milter.Modifier) (milter.Response, error) {
	s.add(chunk)
	return nil, nil
}

// add keeps a piece of the mail within the limits; once it is over them, nothing
// more of it. A submitted mail that is too large is cut, as at the LMTP door: a
// refusal might reach a stranger.
func (s *session) add(b []byte) {
	if s.over || s.refused != nil || len(s.env.Recipients) == 0 {
		return
	}
	if s.env.Submitted {
		b = b[:min(int64(len(b)), s.door.MaxSize+1-int64(len(s.raw)))]
	} else if int64(len(s.raw)+len(b)) > s.door.MaxSize {
		s.refuseLater(&workflow.Refusal{Code: 552, Enhanced: "5.3.4", Reason: "too-large",
			Text: fmt.Sprintf("This mail is larger than the %d MB that the signature desk takes; send fewer or smaller documents.",
				s.door.MaxSize>>20)}, "mail refused")
		return
	}
	if err := s.hold(b); err != nil {
		s.refuseLater(err, "mail put off")
	}
}

// refuseLater keeps the answer to a mail that cannot be taken, and lets go of what
// there is of it.
func (s *session) refuseLater(err error, msg string) {
	s.refused = s.refuse(msg, err)
	s.drop()
}

// Body is the end of the mail.
func (s *session) Body(m *milter.Modifier) (milter.Response, error) {
	if r := s.early(); r != nil {
		return r, nil
	}
	if !s.inBody {
		s.raw = append(s.raw, "\r\n"...)
	}
	if r := s.judge(); r != nil {
		return s.end(r), nil
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

// early is the answer to a mail whose content decides nothing, or nil.
func (s *session) early() milter.Response {
	switch {
	case s.over:
		return milter.RespContinue
	case s.refused != nil:
		return s.end(s.refused)
	case len(s.env.Recipients) == 0:
		return s.letGo()
	}
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

func reply(r *workflow.Refusal) milter.Response {
	// A single % is an escape in the protocol (smfi_setreply).
	return milter.NewResponse('y', append(bytes.ReplaceAll([]byte(replyText(r)), []byte("%"), []byte("%%")), 0))
}
