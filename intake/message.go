package intake

import (
	"context"
	"errors"
	"strings"

	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// Message implements milter.Intake: it opens a session, or says why not. Mail
// that would only go round in circles is left alone: taken without an answer.
//
// What is left alone and what is refused depends on who would read a refusal.
// A program that logged in shows it to its user. A relay makes a new mail of
// it, so what a machine wrote is left alone there. Answers in the
// threads of our own mails that bring no document are always left alone: they
// are for the people beside us.
func (in *Intake) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	e = in.delivered(e, raw)
	asked, err := in.takeBounces(ctx, e, raw)
	if err != nil {
		return err
	}
	if asked, err = in.takeTrials(e, asked, raw); err != nil || len(asked) == 0 {
		return err
	}
	p, err := in.take(ctx, e, asked, raw)
	if err == nil || !e.Bounced() {
		return err
	}
	return in.tellOrDrop(ctx, e, p, raw, err)
}

// take opens a session for the asked addresses. The proof is given with an
// error, too, as soon as there is one.
func (in *Intake) take(ctx context.Context, e milter.Envelope, asked []address, raw []byte) (proof, error) {
	if e.From == "" {
		return proof{}, errNullSender()
	}
	p, stranger := in.prove(ctx, e, raw, asked)
	if stranger != nil && (in.Confirm == nil || !isUnproven(stranger)) {
		return p, stranger
	}
	verify, err := in.toVerify(asked)
	if stranger != nil && verify {
		return p, stranger
	}
	if err != nil {
		return p, err
	}
	r, err := mailparse.Parse(raw, in.Config.Limits)
	if err != nil {
		return p, err
	}
	switch why, err := in.loop(r, p, verify); {
	case why != "" && stranger != nil:
		return p, stranger
	case why != "" && err == nil:
		in.count("left-alone")
		in.Log.Info("mail left alone", "queue", e.QueueID, "why", why, "message-id", r.MessageID, "from", e.From)
		return p, nil
	case why != "":
		return p, err
	case stranger != nil:
		return p, in.hold(ctx, e, r, raw, asked, stranger)
	case verify:
		return p, in.verify(ctx, e, r, p)
	}
	o, err := in.opening(ctx, r, p, asked, e)
	if err != nil {
		return p, err
	}
	o.Mail = raw
	return p, in.open(ctx, e, o)
}

// takeTrials keeps milterd's own trial mails, and gives the other recipients.
func (in *Intake) takeTrials(e milter.Envelope, asked []address, raw []byte) (rest []address, err error) {
	for _, a := range asked {
		if !in.tried(a) {
			rest = append(rest, a)
			continue
		}
		if err := in.Returned.Keep(a.tag, raw); err != nil {
			return nil, errAway(err)
		}
		in.count("check")
		in.Log.Info("mail of a check came back", "queue", e.QueueID, "relayed", e.Relayed)
	}
	return rest, nil
}

// tellOrDrop decides about a delivered or submitted mail that opens nothing.
// Postfix has answered for it, and makes a bounce of a refusal: that goes out
// only to an envelope sender whom the proven sender owns. For everybody else the
// mail ends here, on record.
func (in *Intake) tellOrDrop(ctx context.Context, e milter.Envelope, p proof, raw []byte, why error) error {
	var r *workflow.Refusal
	if !errors.As(why, &r) || r.Code < 500 {
		return why
	}
	author, id := "", ""
	if h, err := mailparse.Header(raw, in.Config.Limits); err == nil {
		author, id = h.From.Address, h.MessageID
	}
	if p.person == nil && p.by != "" && author != "" { // the From speaks
		q, err := in.Directory.ByAddress(ctx, author)
		if err != nil && !isAnswer(err) {
			return errDirectory(err)
		}
		if err == nil {
			p.person = &q
		}
	}
	if p.person != nil {
		owns, err := in.owns(ctx, *p.person, e.From)
		if err != nil {
			return err
		}
		if owns {
			return why
		}
	}
	in.count("dropped")
	attrs := []any{"queue", e.QueueID, "from", e.From, "recipients", e.Recipients,
		"author", author, "message-id", id, "reason", r.Reason, "why", r.Text}
	msg := "delivered mail dropped"
	switch {
	case e.Submitted:
		msg = "submitted mail dropped"
	case in.Origin != nil && p.by == "" && in.Origin.Again(raw):
		attrs = append(attrs, "hint", hintAlias)
	}
	in.Log.Warn(msg, attrs...)
	return nil
}

// hintAlias tells the administrator what to mend.
const hintAlias = "an alias of alias_maps (/etc/aliases) or a .forward led here, behind which no login counts: use virtual_alias_maps"

// maxHops is how many servers may have passed a mail on. Postfix itself stops
// at 50; a request comes from near by.
const maxHops = 30

// loop names the reason why a mail opens no session although it could; err is
// what to say about it, nil for nothing. A mail to verify@ may stand in a thread
// of ours.
func (in *Intake) loop(r *mailparse.Request, p proof, verify bool) (why string, err error) {
	switch {
	case in.ours(r.MessageID), p.mailed && strings.HasSuffix(strings.ToLower(r.From.Address), "@"+in.Config.Domain):
		// A logged-in sender's From of ours is refused as not theirs (sender).
		why, err = "own mail", errOwn()
	case r.AutoSubmitted != "":
		why, err = "auto-submitted", errAutomatic(r.AutoSubmitted)
	case r.List:
		why, err = "mailing list", errList()
	case r.Hops > maxHops:
		why, err = "too many hops", errHops(r.Hops)
	}
	if why != "" && p.mailed {
		return why, nil
	}
	if why != "" || verify && len(r.Documents) > 0 {
		return why, err
	}
	for _, id := range append(r.InReplyTo[:len(r.InReplyTo):len(r.InReplyTo)], r.References...) {
		if in.ours(id) && len(r.Documents) == 0 {
			return "answer in a thread of ours", nil
		}
		if in.ours(id) {
			return "answer in a thread of ours", errThread()
		}
	}
	return "", nil
}

// ours recognises the Message-IDs that package notify gives:
// <milterd.…@signdomain>.
func (in *Intake) ours(id string) bool {
	id = strings.ToLower(strings.Trim(id, "<>"))
	return strings.HasPrefix(id, "milterd.") && strings.HasSuffix(id, "@"+in.Config.Domain)
}

// opening makes a complete request of a parsed mail.
func (in *Intake) opening(ctx context.Context, r *mailparse.Request, p proof, asked []address, e milter.Envelope) (workflow.Opening, error) {
	o := workflow.Opening{ProvenBy: p.by, Thread: r.Thread(), Message: r.Text, BodyHash: r.BodyHash}
	var err error
	if o.Sender, err = in.sender(ctx, p, r.From); err != nil {
		return o, err
	}
	if err = in.mayAsk(ctx, o.Sender); err != nil {
		return o, err
	}
	if o.Level, o.Signatories, err = in.signatories(ctx, r.Level, asked, o.Sender); err != nil {
		return o, err
	}
	if err = in.allowed(ctx, o.Level, o.Sender, o.Signatories); err != nil {
		return o, err
	}
	if o.Copies, err = in.copies(ctx, r, o); err != nil {
		return o, err
	}
	o.Documents, err = in.documents(ctx, r, o.Level)
	return o, err
}

// signatories are the people behind the recipients, no one twice, and the
// level on which subject and addresses agree.
func (in *Intake) signatories(ctx context.Context, level workflow.Level, asked []address, sender workflow.Person) (workflow.Level, []workflow.Person, error) {
	var out []workflow.Person
	seen := map[string]bool{}
	for _, a := range asked {
		if err := in.reserved(a); err != nil {
			return "", nil, err
		}
		people, l, err := in.meant(ctx, a, &sender)
		if err != nil {
			return "", nil, err
		}
		if l != "" && level != "" && l != level {
			return "", nil, errTwoLevels(level, l)
		}
		if l != "" {
			level = l
		}
		for _, p := range people {
			if !seen[p.Mail] {
				seen[p.Mail] = true
				out = append(out, p)
			}
		}
	}
	if n := in.Config.Signatories; n > 0 && len(out) > n {
		return "", nil, errTooManySignatories(n)
	}
	if level == "" {
		level = in.Config.Level
	}
	if !in.offers(level) {
		return "", nil, errLevel(level)
	}
	return level, out, nil
}

// offers reports whether a level can be made here. The others are refused, never
// lowered (decision 12).
func (in *Intake) offers(l workflow.Level) bool {
	return l != workflow.Qualified || in.Config.Qualified
}

// maxCopies bounds the look-ups for one mail.
const maxCopies = 100

// copies are the internal people in To and Cc who do not sign: they get the
// result. Who is not in the directory gets nothing from us.
func (in *Intake) copies(ctx context.Context, r *mailparse.Request, o workflow.Opening) ([]workflow.Person, error) {
	seen := map[string]bool{o.Sender.Mail: true}
	for _, p := range o.Signatories {
		seen[p.Mail] = true
	}
	var out []workflow.Person
	all := append(r.To[:len(r.To):len(r.To)], r.Cc...)
	for _, a := range all[:min(len(all), maxCopies)] {
		if strings.HasSuffix(strings.ToLower(a.Address), "@"+in.Config.Domain) {
			continue
		}
		p, err := in.Directory.ByAddress(ctx, a.Address)
		if isAnswer(err) {
			continue
		}
		if err != nil {
			return nil, errDirectory(err)
		}
		if !seen[p.Mail] {
			seen[p.Mail] = true
			out = append(out, p)
		}
	}
	return out, nil
}

// open hands over to the workflow.
func (in *Intake) open(ctx context.Context, e milter.Envelope, o workflow.Opening) error {
	s, created, err := in.Desk.Open(ctx, o)
	if err != nil {
		var r *workflow.Refusal
		if errors.As(err, &r) {
			return err
		}
		return errAway(err)
	}
	outcome := "opened"
	if !created {
		outcome = "repeated"
	}
	in.count(outcome)
	in.Log.Info("session "+outcome, "session", s.ID, "queue", e.QueueID, "level", string(o.Level),
		"sender", o.Sender.Mail, "proven", o.ProvenBy, "signatories", len(o.Signatories), "documents", len(o.Documents))
	return nil
}
