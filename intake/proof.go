package intake

import (
	"context"
	"errors"
	"net/mail"

	"milterd/directory"
	"milterd/milter"
	"milterd/workflow"
)

// proof says how a client was proven (design.md, decision 4).
type proof struct {
	by     string           // for the audit trail: "sasl jane", "client 10.0.0.5"
	person *workflow.Person // who logged in; nil for a trusted client, whose From speaks
}

// relayed reports that the client is another server: a refusal would come back
// to somebody as a mail.
func (p proof) relayed() bool { return p.person == nil }

// proof judges what is known at RCPT: the login and the envelope sender, or the
// client's address.
func (in *Intake) proof(ctx context.Context, e milter.Envelope) (proof, error) {
	if e.Login == "" {
		for _, n := range in.Config.Trusted {
			if n.Contains(e.Client) {
				return proof{by: "client " + e.Client.String()}, nil
			}
		}
		return proof{}, in.errUnproven()
	}
	p, err := in.Directory.ByLogin(ctx, e.Login)
	if isAnswer(err) {
		return proof{}, errLogin(e.Login)
	}
	if err != nil {
		return proof{}, errDirectory(err)
	}
	q, err := in.Directory.ByAddress(ctx, e.From)
	if err != nil && !isAnswer(err) {
		return proof{}, errDirectory(err)
	}
	if err != nil || q.Mail != p.Mail {
		return proof{}, errEnvelope(e)
	}
	return proof{by: "sasl " + e.Login, person: &p}, nil
}

// sender is the person that the From names, if the proof covers it.
func (in *Intake) sender(ctx context.Context, p proof, from mail.Address) (workflow.Person, error) {
	q, err := in.Directory.ByAddress(ctx, from.Address)
	switch {
	case err != nil && !isAnswer(err):
		return q, errDirectory(err)
	case p.person != nil && (err != nil || q.Mail != p.person.Mail):
		return q, errFromNotYours(from.Address, *p.person)
	case err != nil:
		return q, errUnknownSender(from.Address)
	}
	return q, nil
}

// isAnswer tells the directory's word from its absence.
func isAnswer(err error) bool {
	return errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrAmbiguous)
}
