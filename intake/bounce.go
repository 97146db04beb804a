package intake

import (
	"context"

	"milterd/milter"
	"milterd/notify"
	"milterd/workflow"
)

// Bounces is who takes what comes back of our own mails; without it, such mail
// is dropped.
type Bounces struct {
	// Mail reads bounce addresses and bounces; notify.Notifier is one.
	Mail interface {
		ParseBounce(address string) (workflow.Mailing, bool)
		ReadReturned(raw []byte) (workflow.Failure, notify.Outcome)
	}
	// Desk notes what did not arrive; workflow.Desk is one. A mailing that is on
	// record already is not noted.
	Desk interface {
		Bounced(ctx context.Context, m workflow.Mailing, f workflow.Failure) (noted bool, err error)
	}
}

// takeBounces takes what came to bounce addresses, at either door and from
// whomever: the address is the proof. It gives the other recipients. Nobody is
// ever answered: an error is temporary, and Postfix brings the mail again.
func (in *Intake) takeBounces(ctx context.Context, e milter.Envelope, raw []byte) ([]address, error) {
	var asked []address
	for _, rcpt := range e.Recipients {
		a := parseAddress(rcpt)
		if a.word() != bounce {
			asked = append(asked, a)
			continue
		}
		if err := in.bounced(ctx, e, a, raw); err != nil {
			return nil, err
		}
	}
	return asked, nil
}

// bounced reads one bounce. Its text goes into no log and no table: our own
// mail comes back in it, with a signatory's link.
func (in *Intake) bounced(ctx context.Context, e milter.Envelope, a address, raw []byte) error {
	log := in.Log.With("queue", e.QueueID, "from", e.From)
	if in.Bounces == nil {
		in.count("bounce")
		log.Warn("a mail of ours bounced")
		return nil
	}
	m, ok := in.Bounces.Mail.ParseBounce(a.local)
	if !ok {
		in.count("bounce-forged")
		log.Info("mail to a bounce address that is not ours, dropped", "recipient", a.full)
		return nil
	}
	f, outcome := in.Bounces.Mail.ReadReturned(raw)
	log = log.With("session", m.Session, "person", m.Person, "mail", m.Mail, "status", f.Status)
	switch {
	case outcome != notify.Failed && outcome != notify.Unclear:
		in.count("bounce-" + string(outcome))
		log.Info("mail to a bounce address tells of no failure, dropped", "outcome", outcome)
		return nil
	case m.Mail == workflow.MailConfirm:
		in.count("bounce-confirm")
		log.Warn("a mail that asks for confirmation bounced")
		return nil
	case m.Mail == workflow.MailVerified:
		in.count("bounce-verified")
		log.Warn("an answer of verify@ bounced")
		return nil
	}
	noted, err := in.Bounces.Desk.Bounced(ctx, m, f)
	switch {
	case err != nil:
		return err
	case !noted:
		in.count("bounce-repeated")
		log.Info("a bounce that is on record already, dropped")
	default:
		in.count("bounce-" + string(outcome))
		log.Warn("a mail of ours bounced", "outcome", outcome)
	}
	return nil
}
