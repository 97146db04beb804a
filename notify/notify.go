// Package notify writes milterd's mails and hands them to a relay: a
// workflow.Notice goes in, a complete RFC 5322 message comes out, and SMTP
// carries it to Postfix. It implements workflow.Notifier.
//
// Who gets which mail is decided elsewhere; this package decides only how it
// reads. A mail is built once as a list of blocks in the reader's language and
// rendered twice, so that its text and its HTML part say the same. Every name,
// subject and sentence that came from outside is cleaned before it is set.
//
// Limits: mails are composed in memory; languages are English, German and
// French; one mail has one recipient.
//
// References: RFC 5322 and 2045–2047 (message), 2231 (file names), 2387
// (multipart/related), 2392 (cid), 3834 (automatic mail), 5321 (delivery),
// 6531 and 6532 (addresses outside ASCII).
package notify

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"milterd/workflow"
)

// Config is what a Notifier needs to know.
type Config struct {
	Domain       string // the sign domain: sign.corp.com
	Organisation string // whose desk this is, as people call it: "Example Corp"
	From         string // display name of all mails; empty means "Organisation signatures"
	Master       []byte // at least 32 bytes; bounce tokens and Message-IDs are derived from it
	Relay        Relay
	TSA          []string         // hosts of the timestamp authorities; none means the organisation's own clock
	Phones       string           // the server that has people sign on their phones at level Advanced; "" for none
	Root         string           // address of the organisation's root certificate; "" where that is somebody else's
	Now          func() time.Time // nil means time.Now
}

// Notifier writes and delivers mails. It is safe for concurrent use.
type Notifier struct {
	c       Config
	idKey   []byte
	bounces []byte
}

// New checks the configuration. It opens no connection.
func New(c Config) (*Notifier, error) {
	d, err := idna.Lookup.ToASCII(strings.TrimSuffix(c.Domain, "."))
	if err != nil || d == "" {
		return nil, fmt.Errorf("sign domain %q: not a domain name", c.Domain)
	}
	c.Domain = d
	if c.Organisation = clean(c.Organisation); c.Organisation == "" {
		return nil, errors.New("organisation: want a name")
	}
	if c.From = clean(c.From); c.From == "" {
		c.From = c.Organisation + " signatures"
	}
	if len(c.Master) < 32 {
		return nil, errors.New("master key: want at least 32 bytes")
	}
	if c.Root != "" && !goodLink(c.Root) {
		return nil, errors.New("root certificate: not an http address")
	}
	if c.Relay, err = c.Relay.check(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if c.Relay.Host == "" {
		c.Relay.Host = c.Domain
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	n := &Notifier{c: c}
	if n.idKey, err = hkdf.Key(sha256.New, c.Master, nil, "milterd message id", 32); err != nil {
		return nil, fmt.Errorf("deriving the message id key: %w", err)
	}
	if n.bounces, err = hkdf.Key(sha256.New, c.Master, nil, "milterd bounce", 32); err != nil {
		return nil, fmt.Errorf("deriving the bounce key: %w", err)
	}
	return n, nil
}

// Send composes a mail and gives it to the relay. A workflow.Drop means that
// the relay refused the address for good; every other error can be tried
// again. The relay can have taken the mail although Send failed (the
// connection broke while it answered): then the next try brings the same
// Message-ID.
func (n *Notifier) Send(ctx context.Context, notice workflow.Notice) error {
	msg, err := n.Compose(notice)
	if err != nil {
		return workflow.Drop{Err: err} // the same notice gives the same error
	}
	to, err := canonical(notice.Recipient().Mail)
	if err != nil {
		return workflow.Drop{Err: err}
	}
	err = n.deliver(ctx, n.Bounce(notice.Mailing()), to, msg)
	if err == nil {
		return nil
	}
	var drop workflow.Drop
	if errors.As(err, &drop) {
		return workflow.Drop{Err: fmt.Errorf("mailing %s to %s: %w", notice.Kind, to, drop.Err)}
	}
	return fmt.Errorf("mailing %s to %s: %w", notice.Kind, to, err)
}

// MailSize is an upper bound, in bytes, of a result mail with attachments of
// these sizes: base64 with its line ends, part headers, both texts and the
// header. What Postfix adds on the way is allowed for.
func MailSize(attachments ...int64) int64 {
	size := int64(64 << 10)
	for _, n := range attachments {
		size += (n+56)/57*78 + 8<<10
	}
	return size
}
