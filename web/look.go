package web

import (
	"context"
	"strings"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// look is what the page learns of a session. A device that has not proven the
// mailbox learns who asks and for what; names and comments of the other people
// and the visitor's whole address come after proof (decision 7).
type look struct {
	Organisation string         `json:"organisation"`
	Session      string         `json:"session"`
	State        workflow.State `json:"state"`
	Level        workflow.Level `json:"level"`
	Subject      string         `json:"subject"`
	Message      string         `json:"message,omitempty"`
	Created      time.Time      `json:"created"`
	Deadline     time.Time      `json:"deadline"`
	Ended        time.Time      `json:"ended,omitzero"`
	Reason       string         `json:"reason,omitempty"` // an administrator's, for cancelling; after proof
	Purged       bool           `json:"purged,omitempty"`
	Download     bool           `json:"download,omitempty"` // results are not attached to mails
	Proven       bool           `json:"proven"`
	Sender       lookSender     `json:"sender"`
	Who          lookPerson     `json:"who"`
	People       []lookPerson   `json:"people,omitempty"` // after proof
	Signatures   [2]int         `json:"signatures"`       // made, asked for
	Documents    []lookDocument `json:"documents"`
	Opens        []string       `json:"opens"`              // how this person can open: by "passkey", by "code"
	Proofs       []string       `json:"proofs,omitempty"`   // after proof: what the level accepts
	Passkeys     int            `json:"passkeys,omitempty"` // after proof: how many this person has
	TOTPs        int            `json:"totps,omitempty"`
	Enrol        bool           `json:"enrol,omitempty"`     // after proof: devices can be enrolled here
	Providers    []string       `json:"providers,omitempty"` // after proof, for Qualified: who signs remotely
	Phones       string         `json:"phones,omitempty"`    // after proof: the server that asks them, and gets the documents
	Card         bool           `json:"card,omitempty"`      // after proof, for Qualified: identity cards do
}

type lookSender struct {
	Name string `json:"name"`
	Mail string `json:"mail"`
}

type lookPerson struct {
	Name      string                  `json:"name"`
	Mail      string                  `json:"mail"` // masked before proof
	Language  string                  `json:"language,omitempty"`
	You       bool                    `json:"you,omitempty"`
	Sender    bool                    `json:"sender,omitempty"`
	Signatory bool                    `json:"signatory,omitempty"`
	State     workflow.SignatoryState `json:"state,omitempty"`
	Unreached bool                    `json:"unreached,omitempty"` // after proof: a mail to this person came back
	Decided   time.Time               `json:"decided,omitzero"`
	Comment   string                  `json:"comment,omitempty"`
	Issuer    string                  `json:"issuer,omitempty"`  // after proof: of another authority's certificate that signed
	Vouched   string                  `json:"vouched,omitempty"` // by whose word it was taken
}

type lookDocument struct {
	Index    int                   `json:"index"`
	Name     string                `json:"name"`
	Kind     workflow.DocumentKind `json:"kind"`
	Pages    int                   `json:"pages"`
	Size     int64                 `json:"size"`   // of the original
	SHA256   workflow.Digest       `json:"sha256"` // of the original
	Revision int                   `json:"revision"`
	Head     workflow.RevisionKind `json:"head"`
	HeadSize int64                 `json:"head_size"`
	Signed   bool                  `json:"signed,omitempty"` // had signatures when it came
	Form     workflow.Form         `json:"form,omitempty"`   // of signatures that are not in a PDF
	Type     string                `json:"type,omitempty"`
	Sight    workflow.Sight        `json:"sight,omitempty"`
	Result   string                `json:"result,omitempty"` // name of the signed file that is here in the document's place
	Notes    []string              `json:"notes,omitempty"`
	Source   string                `json:"source,omitempty"` // name of the file of which it was made
	Maker    string                `json:"maker,omitempty"`  // by what
}

// show answers with a session as its visitor may see it.
func (s *site) show(ctx context.Context, c *call, v workflow.Visit, proven bool) error {
	out, err := s.look(ctx, v, proven)
	if err != nil {
		return err
	}
	return c.answer(out)
}

func (s *site) look(ctx context.Context, v workflow.Visit, proven bool) (look, error) {
	enrolled, err := s.credentials(ctx, v)
	if err != nil {
		return look{}, err
	}
	ses := v.Session
	out := look{
		Organisation: s.Organisation, Session: ses.ID, State: ses.State, Level: ses.Level,
		Subject: ses.Thread.Subject, Created: ses.Created, Deadline: ses.Deadline,
		Ended: ses.Ended, Purged: !ses.Purged.IsZero(), Download: ses.Delivery == workflow.Download, Proven: proven,
	}
	if s.Passkeys != nil && count(enrolled, workflow.Passkey) > 0 {
		out.Opens = append(out.Opens, auth.ProofPasskey)
	}
	out.Opens = append(out.Opens, auth.ProofCode)
	if proven { // the mail's own words can be the content itself (decision 7)
		out.Reason, out.Message = ses.Reason, ses.Message
		out.Proofs, out.Enrol = s.Proofs[ses.Level], s.Enrolments != nil
		if ses.Level == workflow.Qualified {
			out.Card = s.Card
			if s.Remote != nil {
				out.Providers = s.Remote.Names()
			}
		}
		if s.Phones != nil && s.Phones.Offers(ses.Level) {
			out.Phones = s.Phones.Name()
		}
		out.Passkeys, out.TOTPs = count(enrolled, workflow.Passkey), count(enrolled, workflow.TOTP)
	}
	if p := ses.Sender(); p != nil {
		out.Sender = lookSender{p.Name, p.Mail}
	}
	for i := range ses.People {
		p := lookAt(&ses.People[i], i == v.Person, proven)
		if p.Signatory {
			out.Signatures[1]++
			if p.State == workflow.Signed {
				out.Signatures[0]++
			}
		}
		if p.You {
			out.Who = p
		}
		if proven {
			p.Unreached = ses.Unreached(i)
			out.People = append(out.People, p)
		}
	}
	for i := range ses.Documents {
		d := &ses.Documents[i]
		if len(d.Revisions) == 0 {
			continue
		}
		r := ses.Shown(i)
		l := lookDocument{
			Index: i, Name: d.Name, Kind: d.Kind, Pages: d.Pages, Size: d.Original().Size, SHA256: d.Original().SHA256,
			Revision: r.Number, Head: r.Kind, HeadSize: r.Size, Signed: d.Signed, Notes: d.Notes,
		}
		if from := ses.SourceOf(d); from != nil {
			l.Source, l.Maker = from.Name, d.Maker
		}
		if d.Kind == workflow.Unconverted {
			l.Type, l.Sight = d.Type, d.Sight
		} else if !d.Grows() {
			if l.Form, l.Type, l.Sight = d.Form, d.Type, d.Sight; r.Number > 0 {
				l.Sight, l.Result = workflow.AsFile, d.ResultName()
			}
		}
		out.Documents = append(out.Documents, l)
	}
	return out, nil
}

func lookAt(p *workflow.Participant, you, proven bool) lookPerson {
	out := lookPerson{
		Name: p.Name, Mail: p.Mail, You: you, Sender: p.Sender, Signatory: p.Signatory,
		State: p.State, Decided: p.Decided, Comment: p.Comment,
	}
	if you {
		out.Language = p.Language
	}
	if proven && p.Act != nil && p.Act.Accepted != nil {
		out.Issuer, out.Vouched = p.Act.Accepted.Issuer, p.Act.Accepted.Vouched
	}
	if !proven {
		out.Mail, out.Comment = mask(p.Mail), ""
	}
	return out
}

// mask leaves of an address what its owner needs to recognise it.
func mask(mail string) string {
	local, domain, ok := strings.Cut(mail, "@")
	if !ok || local == "" {
		return "•••"
	}
	first := []rune(local)[:1]
	return string(first) + "•••@" + domain
}
