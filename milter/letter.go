package milter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"milterd/workflow"
)

// recipientWork bounds all look-ups for one recipient. It stays below the
// command_timeout of 5 s after which Postfix lets the mail go by unseen.
const recipientWork = 3 * time.Second

// letter is the mail under way on one connection, at either door.
type letter struct {
	door  *Door
	env   Envelope
	raw   []byte
	held  int64 // of door.held
	start time.Time
}

// release forgets the mail.
func (l *letter) release() {
	l.drop()
	l.env = Envelope{}
}

// drop forgets its bytes.
func (l *letter) drop() {
	l.door.held.Add(-l.held)
	l.raw, l.held = nil, 0
}

// recipient asks about a recipient and remembers it where it is taken. It
// gives what the client is told instead; the name is what classify made of it.
func (l *letter) recipient(name string, m match) (Verdict, *workflow.Refusal) {
	start := time.Now()
	verdict, err := Pass, error(errEvasive)
	// Of a refusal of a mail that it has taken Postfix makes a mail to its sender,
	// who may be forged; so the Intake hears of odd recipients, too, and finds nobody.
	if m == plain || l.env.Bounced() {
		ctx, cancel := context.WithTimeout(l.door.ctx, min(l.door.Work, recipientWork))
		defer cancel()
		verdict, err = l.door.Intake.Recipient(ctx, l.env, name)
	}
	if err != nil {
		r := l.refuse("recipient refused", err, "recipient", shown(name)[0])
		l.meterRecipient(r.Reason, start)
		return Pass, r
	}
	if verdict == Pass {
		l.meterRecipient("passed", start)
		return Pass, nil
	}
	l.meterRecipient("taken", start)
	if !slices.Contains(l.env.Recipients, name) {
		l.env.Recipients = append(l.env.Recipients, name)
	}
	return Take, nil
}

// hold keeps a piece of the mail, if all connections together do not hold too much.
func (l *letter) hold(b []byte) error {
	n := int64(len(b))
	l.held += n
	if l.door.held.Add(n) > l.door.MaxHeld {
		return errBusy
	}
	l.raw = append(l.raw, b...)
	return nil
}

var errBusy = &workflow.Refusal{Code: 451, Enhanced: "4.3.2", Reason: "busy",
	Text: "The signature desk has too many mails in hand right now; please try again in a few minutes."}

// judge asks what becomes of the whole mail; nil: taken, and on disk.
func (l *letter) judge() *workflow.Refusal {
	ctx, cancel := context.WithTimeout(l.door.ctx, l.door.Work)
	defer cancel()
	if err := l.door.Intake.Message(ctx, l.env, l.raw); err != nil {
		return l.refuse("mail refused", err)
	}
	return nil
}

// refuse makes a Refusal of any error, and logs it.
func (l *letter) refuse(msg string, err error, attrs ...any) *workflow.Refusal {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		r = &workflow.Refusal{Code: 451, Enhanced: "4.3.0", Reason: "internal", Err: err,
			Text: "The signature desk cannot take this mail right now; please try again later."}
	}
	attrs = append(l.attrs(), append(attrs, "reason", r.Reason, "reply", replyText(r))...)
	if r.Err != nil {
		attrs = append(attrs, "error", r.Err.Error())
	}
	if r.Code < 500 {
		l.door.Log.Warn(msg, attrs...)
	} else {
		l.door.Log.Info(msg, attrs...)
	}
	return r
}

// shownTag is what a log shows of an address extension: enough for the words that
// people write, and the session of a bounce, but not the keyed hash behind it, with
// which whoever reads the log could forge a bounce.
const shownTag = 17

// shown gives addresses as a log may have them.
func shown(addresses ...string) []string {
	out := make([]string, len(addresses))
	for i, a := range addresses {
		out[i] = a
		plus, at := strings.IndexByte(a, '+'), strings.LastIndexByte(a, '@')
		if plus >= 0 && at-plus > shownTag {
			out[i] = a[:plus+shownTag] + "…" + a[at:]
		}
	}
	return out
}

func (l *letter) attrs() []any {
	a := []any{"queue", l.env.QueueID, "from", shown(l.env.From)[0], "login", l.env.Login, "recipients", shown(l.env.Recipients...)}
	if l.env.Client.IsValid() {
		a = append(a, "client", l.env.Client.String())
	}
	if l.env.Relayed {
		a = append(a, "door", "lmtp")
	}
	if l.env.Submitted {
		a = append(a, "door", "sendmail")
	}
	return a
}

func (l *letter) meterRecipient(outcome string, start time.Time) {
	if f := l.door.Meter.Recipient; f != nil {
		f(outcome, time.Since(start))
	}
}

func (l *letter) meterMail(outcome string) {
	if f := l.door.Meter.Mail; f != nil {
		f(outcome, time.Since(l.start))
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
