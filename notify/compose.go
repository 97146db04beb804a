package notify

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/emersion/go-message"

	"milterd/workflow"
)

const qrFile = "sign-qr.png"

// Compose writes the whole mail, with CRLF line ends, ready for DATA. Equal
// notices at equal times give equal bytes. An error means that the notice
// itself is wrong: a person who is not in the session, no link in an
// invitation, an address that cannot be mailed to.
func (n *Notifier) Compose(notice workflow.Notice) ([]byte, error) {
	c, err := n.write(notice)
	if err != nil {
		return nil, fmt.Errorf("composing: %w", err)
	}
	fields, err := n.fields(notice, c)
	if err != nil {
		return nil, fmt.Errorf("composing %s: %w", notice.Kind, err)
	}
	root, err := n.parts(notice, c)
	if err != nil {
		return nil, fmt.Errorf("composing %s: %w", notice.Kind, err)
	}
	root.fields = append(fields, root.fields...)
	var b bytes.Buffer
	b.Grow(root.size() + 4096)
	if err := root.write(&b); err != nil {
		return nil, fmt.Errorf("composing %s: %w", notice.Kind, err)
	}
	return b.Bytes(), nil
}

// fields are the header of the mail without that of its content.
func (n *Notifier) fields(notice workflow.Notice, c *content) ([]field, error) {
	p := notice.Recipient()
	to, err := canonical(p.Mail)
	if err != nil {
		return nil, err
	}
	submitted := "auto-generated"
	if notice.Kind == workflow.MailReceipt || notice.Kind == workflow.MailVerified {
		submitted = "auto-replied" // it answers the sender's mail at once (RFC 3834, 5)
	}
	out := []field{
		{"Date", strings.Split(n.c.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"), " ")},
		{"From", address(n.c.From, "reply@"+n.c.Domain)},
	}
	if reply := replyTo(notice, isASCII(to)); len(reply) > 0 {
		out = append(out, field{"Reply-To", reply})
	}
	out = append(out,
		field{"To", address(p.Name, to)},
		field{"Subject", unstructured(c.Subject)},
		field{"Message-ID", []string{n.messageID(notice.Mailing(), notice.Key)}},
	)
	var parent string
	var references []string
	switch { // a held mail's thread is somebody's word
	case notice.Session != nil:
		parent, references = n.thread(notice.Session, notice)
	case notice.Verification != nil:
		parent, references = original(notice.Verification.Thread)
	}
	if len(references) > 0 {
		if parent != "" {
			out = append(out, field{"In-Reply-To", []string{parent}})
		}
		out = append(out, field{"References", references})
	}
	return append(out,
		field{"Auto-Submitted", []string{submitted}},
		field{"X-Auto-Response-Suppress", []string{"All"}},
		field{"Content-Language", []string{c.Lang}},
		field{"MIME-Version", []string{"1.0"}},
	), nil
}

// thread names what the mail belongs to. All mails of a session refer to the
// original mail, which makes them one conversation for everybody; but each
// replies only to a mail that its reader has: the original, which went to sender
// and copies, or a signatory's own first invitation.
func (n *Notifier) thread(s *workflow.Session, notice workflow.Notice) (parent string, references []string) {
	parent, references = original(s.Thread)
	if p := &s.People[notice.To]; parent != "" && (p.Sender || p.Copy) {
		return parent, references
	}
	if parent == "" {
		references = []string{"<milterd." + s.ID + "." + derive(n.idKey, "thread", s.ID) + "@" + n.c.Domain + ">"}
	}
	parent = ""
	first := s.MailKey(notice.To, workflow.MailInvitation, 0, "")
	if s.People[notice.To].Signatory && notice.Key != first {
		parent = n.messageID(workflow.Mailing{Session: s.ID, Person: notice.To, Mail: workflow.MailInvitation}, first)
		references = append(references, parent)
	}
	return parent, references
}

// original is how a mail refers to the one that it answers; nothing if that has
// no Message-ID that can be referred to.
func original(t workflow.Thread) (parent string, references []string) {
	if !goodID(t.MessageID) {
		return "", nil
	}
	for _, id := range t.References {
		if goodID(id) && id != t.MessageID {
			references = append(references, id)
		}
	}
	if over := len(references) - 20; over > 0 { // the first and the newest, as RFC 5537, 3.4.4 does
		references = append(references[:1], references[over+1:]...)
	}
	return t.MessageID, append(references, t.MessageID)
}

// goodID reports whether a foreign Message-ID can stand in our header.
func goodID(id string) bool {
	return len(id) >= 5 && len(id) <= 250 && id[0] == '<' && id[len(id)-1] == '>' && strings.Contains(id, "@") &&
		!strings.ContainsFunc(id[1:len(id)-1], func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' })
}

// replyTo is whom an answer should reach: the sender, and for the sender's own
// mails those who sign (the one who declined, if it was about that). An answer
// to a mail with a code, about one that did not arrive, or to somebody who may
// know of nothing, goes nowhere but to us.
func replyTo(n workflow.Notice, ascii bool) []string {
	const most = 10
	s := n.Session
	switch n.Kind {
	case workflow.MailCode, workflow.MailReturned, workflow.MailConfirm, workflow.MailEnrolled, workflow.MailVerified:
		return nil
	}
	var people []*workflow.Participant
	switch {
	case !s.People[n.To].Sender:
		people = append(people, s.Sender())
	case n.Kind == workflow.MailDeclined:
		people = append(people, &s.People[n.By])
	default:
		for _, i := range s.Signatories() {
			people = append(people, &s.People[i])
		}
	}
	var out []string
	for _, p := range people {
		addr, err := canonical(p.Mail)
		if p == &s.People[n.To] || err != nil || len(out) > 0 && len(people) > most {
			continue
		}
		if ascii && !isASCII(addr) {
			continue // the mail would need SMTPUTF8 for this alone
		}
		if len(out) > 0 {
			out[len(out)-1] += ","
		}
		out = append(out, address(p.Name, addr)...)
	}
	return out
}

// parts builds the MIME tree: mixed{related{alternative{text, html}, png}, files},
// each layer only where it holds something.
func (n *Notifier) parts(notice workflow.Notice, c *content) (*part, error) {
	digits := derive(n.idKey, "part", string(notice.Kind), notice.Mailing().Session, fmt.Sprint(notice.To), notice.Key)
	cid := "qr." + digits + "@" + n.c.Domain
	html, err := c.html(cid)
	if err != nil {
		return nil, fmt.Errorf("HTML: %w", err)
	}
	top := multipart("alternative", digits,
		body("text/plain", []byte(c.text())),
		body("text/html", html))
	for _, b := range c.Blocks {
		if b.Is != "qr" {
			continue
		}
		png, err := qrPNG(notice.Link)
		if err != nil {
			return nil, err
		}
		picture := file(workflow.Attachment{Name: qrFile, ContentType: "image/png", Content: png}, "inline")
		picture.fields = append(picture.fields, field{"Content-ID", []string{"<" + cid + ">"}})
		top = multipart("related", digits, top, picture)
	}
	if len(notice.Attachments) > 0 {
		top = multipart("mixed", digits, top)
		for _, a := range notice.Attachments {
			top.parts = append(top.parts, file(a, "attachment"))
		}
	}
	return top, nil
}

// part is a node of the MIME tree.
type part struct {
	fields  []field
	content []byte
	parts   []*part
}

// multipart makes an inner node. The boundary comes from the mail's key, and
// with "=_" it can stand neither in base64 nor in quoted-printable.
func multipart(subtype, digits string, parts ...*part) *part {
	t := []string{"multipart/" + subtype + ";"}
	if subtype == "related" {
		t = append(t, `type="multipart/alternative";`) // RFC 2387, 3.1
	}
	return &part{fields: []field{{"Content-Type", append(t, `boundary="=_`+subtype[:3]+"_"+digits+`"`)}}, parts: parts}
}

func body(mediaType string, text []byte) *part {
	return &part{content: text, fields: []field{
		{"Content-Type", []string{mediaType + ";", "charset=utf-8"}},
		{"Content-Transfer-Encoding", []string{"quoted-printable"}},
	}}
}

func file(a workflow.Attachment, kind string) *part {
	name := fileName(a.Name)
	return &part{content: a.Content, fields: []field{
		{"Content-Type", contentType(a.ContentType, name)},
		{"Content-Disposition", disposition(kind, name)},
		{"Content-Transfer-Encoding", []string{"base64"}},
	}}
}

func (p *part) size() int {
	n := len(p.content)*4/3*78/76 + 1024
	for _, c := range p.parts {
		n += c.size()
	}
	return n
}

// write writes the part as a whole message.
func (p *part) write(b *bytes.Buffer) error {
	h, err := header(p.fields)
	if err != nil {
		return err
	}
	w, err := message.CreateWriter(b, h)
	if err != nil {
		return err
	}
	return p.fill(w)
}

// fill writes what follows the header.
func (p *part) fill(w *message.Writer) error {
	if p.parts == nil {
		if _, err := w.Write(p.content); err != nil {
			return err
		}
	}
	for _, child := range p.parts {
		h, err := header(child.fields)
		if err != nil {
			return err
		}
		cw, err := w.CreatePart(h)
		if err != nil {
			return err
		}
		if err := child.fill(cw); err != nil {
			return err
		}
	}
	return w.Close()
}
