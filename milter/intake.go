package milter

import (
	"context"
	"net/netip"
	"time"
)

// Envelope is what the SMTP conversation says about a mail.
type Envelope struct {
	// Relayed says that the mail came through the LMTP door: Postfix has
	// answered for it already, nothing is known about the client (Login and
	// Client are empty), and a refusal becomes a bounce to From.
	Relayed bool
	// Submitted says that a program on this machine handed the mail to sendmail.
	// Client is 127.0.0.1, and a refusal becomes a bounce to From here, too.
	Submitted  bool
	Client     netip.Addr // who speaks SMTP; not valid if Postfix does not know
	Login      string     // SASL login ({auth_authen}), "" without
	From       string     // envelope sender, "" for the null sender
	Recipients []string   // on the sign domain and taken: local@domain, lower-case domain, no duplicates
	QueueID    string     // of Postfix, for the log; known from the header on
}

// Bounced reports that a refusal would reach the envelope sender as a mail of
// Postfix's, whoever that is.
func (e Envelope) Bounced() bool { return e.Relayed || e.Submitted }

// Verdict is an Intake's word about a recipient.
type Verdict int

// The verdicts.
const (
	Pass Verdict = iota // not ours: Postfix delivers as without us
	Take                // ours: deleted from the mail once Message has returned nil
)

// Intake decides about mail to the sign domain. An error that is a
// *workflow.Refusal is told to the client with its code and text, any other as 451 4.3.0.
type Intake interface {
	// Recipient is asked at RCPT. recipient is local@domain, unquoted where it
	// can be; e holds what is known by then.
	Recipient(ctx context.Context, e Envelope, recipient string) (Verdict, error)
	// Message is asked at the end of a mail with at least one taken recipient.
	// raw is header and body with CRLF line ends. When it returns nil, what
	// follows from the mail is on disk.
	//
	// A relayed or submitted mail that is larger than the door's MaxSize comes cut
	// at one byte more: its header may prove the sender, who then hears that it is
	// too large; it must never be taken for the whole mail.
	Message(ctx context.Context, e Envelope, raw []byte) error
}

// Meter counts what passes. Its methods are called from many goroutines and
// must not block; each of them may be nil.
type Meter struct {
	Connection func(delta int)                          // Postfix connected (+1), went (-1)
	Recipient  func(outcome string, took time.Duration) // "taken", "passed" or a Refusal's Reason; only on the sign domain
	Mail       func(outcome string, took time.Duration) // "other", "taken" or a Refusal's Reason
}
