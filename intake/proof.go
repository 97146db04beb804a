package intake

import (
	"context"
	"errors"
	"net/mail"

	"milterd/directory"
	"milterd/intake/origin"
	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// proof says how a sender was proven (design.md, decision 4).
type proof struct {
	by     string           // for the audit trail: "sasl jane", "client 10.0.0.5", "dkim corp.com"
	person *workflow.Person // who logged in; nil if the From speaks
	mailed bool             // a refusal comes back to somebody as a mail: the client is a server, or Postfix has said yes
}

// known judges what is known at RCPT: the login and the envelope sender, or the
// client's address. A login decides, also against the sender; by is "" if there
// is nothing to judge by.
func (in *Intake) known(ctx context.Context, e milter.Envelope) (proof, error) {
	if e.Login == "" {
		for _, n := range in.Config.Trusted {
			if n.Contains(e.Client) {
				return proof{by: "client " + e.Client.String(), mailed: true}, nil
			}
		}
		return proof{}, nil
	}
	p, err := in.Directory.ByLogin(ctx, e.Login)
	if isAnswer(err) {
		return proof{}, errLogin(e.Login)
	}
	if err != nil {
		return proof{}, errDirectory(err)
	}
	owns, err := in.owns(ctx, p, e.From)
	if err != nil {
		return proof{}, err
	}
	if !owns {
		return proof{}, errEnvelope(e)
	}
	return proof{by: "sasl " + e.Login, person: &p}, nil
}

// readsMail reports whether mail of strangers is taken as far as its end, where
// its own bytes may prove its sender, or its sender may be asked.
func (in *Intake) readsMail() bool { return in.signatures() || in.Confirm != nil }

// signatures reports whether a DKIM signature can prove a sender.
func (in *Intake) signatures() bool { return in.Origin != nil && len(in.Origin.Domains) > 0 }

// isUnproven reports that nothing speaks for a sender, and nothing against.
func isUnproven(err error) bool {
	var r *workflow.Refusal
	return errors.As(err, &r) && r.Reason == unproven
}

// delivered puts into the envelope of a delivered mail what the milter would
// have known, as Postfix's own Received line tells it.
func (in *Intake) delivered(e milter.Envelope, raw []byte) milter.Envelope {
	if e.Relayed && in.Origin != nil {
		d := in.Origin.Delivered(raw)
		e.Login, e.Client = d.Login, d.Client
		if e.QueueID == "" {
			e.QueueID = d.QueueID
		}
	}
	return e
}

// prove judges a whole mail.
func (in *Intake) prove(ctx context.Context, e milter.Envelope, raw []byte, asked []address) (proof, error) {
	p, err := in.known(ctx, e)
	if err != nil {
		return proof{}, err
	}
	if e.Bounced() {
		p.mailed = true
	}
	if p.by != "" {
		if e.Relayed {
			p.by += ", told by " + in.Origin.ReceivedBy
		}
		return p, nil
	}
	if !in.signatures() {
		return proof{}, in.errUnproven("")
	}
	r, err := mailparse.Header(raw, in.Config.Limits)
	if err != nil {
		return proof{}, err
	}
	var to []string
	for _, a := range asked {
		to = append(to, a.full)
	}
	by, err := in.Origin.Signed(ctx, raw, r, to, e.Relayed)
	var u *origin.Unproven
	if errors.As(err, &u) {
		return proof{}, in.errUnproven(u.Why)
	}
	if err != nil {
		return proof{}, errDNS(err)
	}
	return proof{by: by, mailed: true}, nil
}

// owns reports whether an address is a person's.
func (in *Intake) owns(ctx context.Context, p workflow.Person, addr string) (bool, error) {
	q, err := in.Directory.ByAddress(ctx, addr)
	if err != nil && !isAnswer(err) {
		return false, errDirectory(err)
	}
	return err == nil && q.Mail == p.Mail, nil
}

// sender is the person that the From names, if the proof covers it.
func (in *Intake) sender(ctx context.Context, p proof, from mail.Address) (workflow.Person, error) {
	q, err := in.Directory.ByAddress(ctx, from.Address)
	switch {
	case err != nil && !isAnswer(err):
		return workflow.Person{}, errDirectory(err)
	case p.person != nil && (err != nil || q.Mail != p.person.Mail):
		return workflow.Person{}, errFromNotYours(from.Address, *p.person)
	case err != nil:
		return workflow.Person{}, errUnknownSender(from.Address)
	}
	return q, nil
}

// isAnswer tells the directory's word from its absence.
func isAnswer(err error) bool {
	return errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrAmbiguous) || errors.Is(err, directory.ErrTooMany)
}
