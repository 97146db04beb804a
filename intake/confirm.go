package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"strings"

	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// Confirm lets internal senders whom nothing proves confirm their mail on a
// page; without it they are refused. Who is asked is always the person of the
// directory whom both From and envelope name, at the directory's address.
type Confirm struct {
	Desk Holder
}

// Holder keeps mails until they are confirmed; workflow.Desk is one.
type Holder interface {
	Hold(ctx context.Context, h workflow.Held, mail []byte) (held *workflow.Held, created bool, err error)
	Waiting(ctx context.Context, token string) (*workflow.Held, error)
	HeldMail(ctx context.Context, id string) ([]byte, error)
	EndHeld(ctx context.Context, id string, state workflow.HeldState) error
}

// provenByMailbox is what the audit trail says of a confirmed mail.
const provenByMailbox = "confirmed by mailbox"

// hold keeps a mail whose sender nothing has proven, or answers why not: mostly
// with why, so that a stranger learns little of the directory. Mail that Postfix
// has taken is never put off: given up after days it comes back to its perhaps
// forged sender, and of sendmail it stays in maildrop for ever.
func (in *Intake) hold(ctx context.Context, e milter.Envelope, r *mailparse.Request, raw []byte, asked []address, why error) error {
	h, err := in.holdable(ctx, e, r, asked)
	var no *workflow.Refusal
	switch {
	case errors.As(err, &no) && no.Code >= 500, err == nil && h == nil:
		return why
	case err != nil:
		return err
	}
	held, created, err := in.Confirm.Desk.Hold(ctx, *h, raw)
	if errors.As(err, &no) && e.Bounced() && no.Reason != "store-away" {
		return why
	}
	if err != nil {
		return err
	}
	outcome := "held"
	if !created {
		outcome = "held-again"
	}
	in.count(outcome)
	in.Log.Info("mail "+outcome+" until its sender confirms it", "queue", e.QueueID, "held", held.ID, "sender", h.Person.Mail,
		"client", h.Client, "why", why)
	return nil
}

// holdable describes a mail that may be held, nil if it names nobody of the
// directory as its sender. Its documents are inspected when it is confirmed:
// strangers must not make us work.
func (in *Intake) holdable(ctx context.Context, e milter.Envelope, r *mailparse.Request, asked []address) (*workflow.Held, error) {
	p, err := in.supposed(ctx, e, r)
	if p == nil || err != nil {
		return nil, err
	}
	if err := in.mayAsk(ctx, *p); err != nil {
		return nil, err
	}
	level, asks, err := in.signatories(ctx, r.Level, asked, *p)
	if err != nil {
		return nil, err
	}
	if err := in.allowed(ctx, level, *p, asks); err != nil {
		return nil, err
	}
	attached, err := in.attached(r)
	if err != nil {
		return nil, err
	}
	h := &workflow.Held{Key: heldKey(p, r), Person: *p, Client: network(e.Client), Delivered: e.Relayed, From: e.From,
		QueueID: e.QueueID, Subject: r.Thread().Subject, Level: level, Asks: asks}
	for _, a := range asked {
		h.Recipients = append(h.Recipients, a.full)
	}
	for _, d := range attached {
		h.Documents = append(h.Documents, workflow.HeldDocument{Name: d.Name, Size: int64(len(d.Content)), SHA256: sha256.Sum256(d.Content)})
	}
	return h, nil
}

// supposed is the person whom From and envelope name; nil if they name nobody
// of the directory, or two.
func (in *Intake) supposed(ctx context.Context, e milter.Envelope, r *mailparse.Request) (*workflow.Person, error) {
	var found [2]workflow.Person
	for i, a := range []string{r.From.Address, e.From} {
		p, err := in.Directory.ByAddress(ctx, a)
		if isAnswer(err) {
			return nil, nil
		}
		if err != nil {
			return nil, errDirectory(err)
		}
		found[i] = p
	}
	if found[0].Mail != found[1].Mail {
		return nil, nil
	}
	return &found[0], nil
}

// heldKey is what makes the same mail the same, as workflow's request key does.
func heldKey(p *workflow.Person, r *mailparse.Request) workflow.Digest {
	return sha256.Sum256([]byte(strings.Join([]string{
		strings.ToLower(p.Mail), r.MessageID, strings.Join(strings.Fields(r.Subject), " "), string(r.BodyHash[:])}, "\x00")))
}

// network is under what a client's mails are counted: an IPv6 client has a
// /64, and all whom the LMTP door does not know are one.
func network(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		return a.String()
	}
	n, _ := a.WithZone("").Prefix(64) // cannot fail: 64 bits of an IPv6 address
	return n.String()
}

// Waiting gives a held mail to its page; errors are those of workflow.Desk.
func (in *Intake) Waiting(ctx context.Context, token string) (*workflow.Held, error) {
	if in.Confirm == nil {
		return nil, errNoConfirmation()
	}
	return in.Confirm.Desk.Waiting(ctx, token)
}

// Confirmed opens the session of a held mail as if its sender had been proven
// at the door; seen is how many recipients its page showed. A refusal that
// stands for good ends the wait.
func (in *Intake) Confirmed(ctx context.Context, token string, seen int, client string) error {
	h, err := in.Waiting(ctx, token)
	if err != nil {
		return err
	}
	// Open asks this again; here it keeps those who joined from ending the wait.
	if err := h.ShownWith(seen); err != nil {
		return err
	}
	err = in.openHeld(ctx, h, client)
	var r *workflow.Refusal
	if errors.As(err, &r) && r.Code >= 500 {
		// One that somebody else has decided meanwhile stays as decided.
		if end := in.Confirm.Desk.EndHeld(ctx, h.ID, workflow.HeldRefused); end == nil {
			in.count("held-refused")
			in.Log.Info("held mail refused after its confirmation", "queue", h.QueueID, "held", h.ID, "reason", r.Reason)
		}
	}
	return err
}

func (in *Intake) openHeld(ctx context.Context, h *workflow.Held, client string) error {
	raw, err := in.Confirm.Desk.HeldMail(ctx, h.ID)
	if err != nil {
		return err
	}
	r, err := mailparse.Parse(raw, in.Config.Limits)
	if err != nil {
		return err
	}
	p, err := in.Directory.ByAddress(ctx, h.Person.Mail)
	if isAnswer(err) {
		return errUnknownSender(h.Person.Mail)
	}
	if err != nil {
		return errDirectory(err)
	}
	var asked []address
	for _, rcpt := range h.Recipients {
		asked = append(asked, parseAddress(rcpt))
	}
	e := milter.Envelope{From: h.From, Recipients: h.Recipients, QueueID: h.QueueID}
	o, err := in.opening(ctx, r, proof{by: provenByMailbox, person: &p}, asked, e)
	if err != nil {
		return err
	}
	o.Mail, o.Held, o.Seen, o.Client = raw, h.ID, len(h.Recipients), client
	return in.open(ctx, e, o)
}

// Denied drops a held mail: its supposed sender says that it is not theirs.
func (in *Intake) Denied(ctx context.Context, token string) error {
	h, err := in.Waiting(ctx, token)
	if err != nil {
		return err
	}
	if err := in.Confirm.Desk.EndHeld(ctx, h.ID, workflow.HeldDenied); err != nil {
		return err
	}
	in.count("held-denied")
	in.Log.Warn("somebody sent a mail in another's name", "queue", h.QueueID, "held", h.ID, "sender", h.Person.Mail, "client", h.Client)
	return nil
}

func errNoConfirmation() error {
	return refuse(550, "5.7.1", "unknown-link", "This link is not known here")
}
