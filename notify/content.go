package notify

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"milterd/workflow"
)

// A mail's content is a subject and blocks, each of which both renderings know.
type content struct {
	Lang    string
	Subject string
	Brand   string
	Blocks  []block
	Small   []string // below the line: explanations
}

// block is one piece of a mail; Is says which fields are set.
type block struct {
	Is    string   // title, para, items, facts, quote, code, button, qr
	Text  string   // title, para; heading of items and quote; label of button; sentence of qr; the code
	Items []item   // items, facts
	Lines []string // quote
	URL   string   // button; para: the address that it ends with
	Alt   string   // qr
	Help  string   // button: what stands before the address
}

// item is a person, a file or a fact.
type item struct {
	Name   string
	Detail string
	Label  string // of the digest
	Digest string
}

// Longest foreign texts in a mail, in runes.
const (
	maxName    = 80
	maxFile    = 120
	maxSubject = 120
	maxQuote   = 2000
)

// writer composes the content of one notice.
type writer struct {
	*words
	n      workflow.Notice
	s      *workflow.Session
	to     *workflow.Participant
	sender *workflow.Participant
	org    string
	tsa    []string
	phones string
	root   string
	domain string
	b      []block
}

func (w *writer) add(b block) { w.b = append(w.b, b) }

func (w *writer) para(text string) { w.add(block{Is: "para", Text: text}) }

// name is how a person is called; the address where the directory knows none.
func name(p *workflow.Participant) string {
	if n := shorten(clean(p.Name), maxName); n != "" {
		return n
	}
	return shorten(clean(p.Mail), maxName)
}

// full is the name with the address, which a name alone cannot feign.
func full(p *workflow.Participant) string {
	if clean(p.Name) == "" {
		return name(p)
	}
	return name(p) + " (" + clean(p.Mail) + ")"
}

// write gives the content of a notice, or says what is wrong with the notice.
func (n *Notifier) write(notice workflow.Notice) (*content, error) {
	if err := check(notice); err != nil {
		return nil, err
	}
	s, to := notice.Session, notice.Recipient()
	w := &writer{words: speak(to.Language), n: notice, s: s, org: shorten(n.c.Organisation, maxName), tsa: n.c.TSA, phones: shorten(clean(n.c.Phones), maxName), root: n.c.Root, domain: n.c.Domain}
	c := &content{Lang: w.tag.String(), Brand: n.c.From}
	footer := w.say("footer", data{"Org": w.org, "Domain": w.domain})
	switch notice.Kind {
	case workflow.MailConfirm:
		w.to = &workflow.Participant{Person: to}
		w.confirm()
		c.Subject, c.Blocks, c.Small = w.say("confirm.subject", nil), w.b, []string{footer}
		return c, w.err
	case workflow.MailVerified:
		w.to = &workflow.Participant{Person: to}
		w.verified()
		c.Subject = w.say("verified.subject", data{"Subject": shorten(clean(notice.Verification.Thread.Subject), maxSubject)})
		c.Blocks, c.Small = w.b, []string{w.say("digest.note", nil), footer}
		return c, w.err
	}
	w.to, w.sender = &s.People[notice.To], s.Sender()
	subject := shorten(clean(s.Thread.Subject), maxSubject)
	if mailed := s.Mailed(); subject == "" && len(mailed) > 0 {
		subject = shorten(fileName(s.Documents[mailed[0]].Name), maxSubject)
	}
	kind := string(notice.Kind)
	if notice.Credential != nil && notice.Credential.Kind == workflow.QualifiedCertificate {
		kind = "registered"
	}
	c.Subject = w.say(kind+".subject", data{"Subject": subject})
	switch notice.Kind {
	case workflow.MailInvitation:
		w.invitation()
	case workflow.MailReceipt:
		w.receipt()
	case workflow.MailCode:
		w.code()
	case workflow.MailResult:
		w.result()
	case workflow.MailDeclined:
		w.declined()
	case workflow.MailExpired:
		w.ended("expired", w.say("expired.title", nil), nil)
	case workflow.MailCancelled:
		w.ended("cancelled", w.say("cancelled.title", nil), func() { w.quote(w.say("cancelled.reason", nil), s.Reason) })
	case workflow.MailReturned:
		w.returned()
	case workflow.MailEnrolled:
		w.enrolled()
	case workflow.MailAgain:
		w.again()
	}
	c.Blocks = w.b
	c.Small = []string{w.say("digest.note", nil), footer}
	return c, w.err
}

// check looks for what would make a mail without sense.
func check(n workflow.Notice) error {
	s, id := n.Session, n.Mailing().Session
	switch {
	case (n.Held != nil) != (n.Kind == workflow.MailConfirm) || (n.Verification != nil) != (n.Kind == workflow.MailVerified) ||
		(s == nil) != (n.Held != nil || n.Verification != nil):
		return fmt.Errorf("%s: no session, or one too many", n.Kind)
	case strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" || id == "" || len(id) > 20:
		return fmt.Errorf("%s: session %q: not an id", n.Kind, id)
	case s != nil && (n.To < 0 || n.To >= len(s.People)):
		return fmt.Errorf("%s: person %d is not in session %s", n.Kind, n.To, s.ID)
	case s != nil && s.Sender() == nil:
		return fmt.Errorf("%s: session %s has no sender", n.Kind, s.ID)
	case n.Link != "" && !goodLink(n.Link):
		return fmt.Errorf("%s: the link is not an http address", n.Kind) // not quoted: it holds a token
	}
	missing := ""
	switch n.Kind {
	case workflow.MailInvitation:
		if !s.People[n.To].Signatory {
			missing = "a signatory"
		} else if n.Link == "" {
			missing = "a link"
		}
	case workflow.MailCode:
		if strings.Trim(n.Code, "0123456789") != "" || n.Code == "" || n.CodeExpires.IsZero() {
			missing = "a code of digits with its time"
		}
	case workflow.MailResult:
		if len(n.Attachments) == 0 && n.Link == "" {
			missing = "attachments or a link"
		}
	case workflow.MailDeclined:
		if n.By < 0 || n.By >= len(s.People) {
			missing = "who declined"
		}
	case workflow.MailReturned:
		if n.Returned == nil || n.By < 0 || n.By >= len(s.People) || n.Returned.Mail == workflow.MailResult && n.Link == "" {
			missing = "what came back"
		}
	case workflow.MailEnrolled:
		if n.Credential == nil || n.Link == "" {
			missing = "a credential and a link"
		}
	case workflow.MailAgain:
		if !s.People[n.To].Signatory || n.Link == "" || !slices.Contains(workflow.AgainReasons, n.Again) {
			missing = "a signatory, a link and why"
		}
	case workflow.MailConfirm:
		if n.Link == "" || n.Until.IsZero() {
			missing = "a link with its time"
		}
	case workflow.MailVerified:
		if len(n.Verification.Files) == 0 || len(n.Attachments) == 0 {
			missing = "files and a report"
		}
	case workflow.MailReceipt, workflow.MailExpired, workflow.MailCancelled:
	default:
		return fmt.Errorf("%q: unknown kind of mail", n.Kind)
	}
	if missing != "" {
		return fmt.Errorf("%s of session %s: wants %s", n.Kind, id, missing)
	}
	return nil
}

func goodLink(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") || len(s) > 500 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>\^`+"`{|}", r) })
}

func (w *writer) invitation() {
	docs := len(w.s.Mailed())
	self := w.to.Sender
	if self {
		w.add(block{Is: "title", Text: w.count("invitation.title.self", docs, nil)})
	} else {
		w.add(block{Is: "title", Text: w.say("invitation.title", data{"Name": name(w.sender)})})
	}
	w.hello()
	if self {
		w.documents(w.count("invitation.intro.self", docs, nil))
	} else {
		w.documents(w.count("invitation.intro", docs, data{"Sender": full(w.sender)}))
	}
	var facts []item
	if others := w.people(func(i int) bool { return i != w.n.To }); len(others) > 0 {
		facts = append(facts, item{Name: w.say("others", nil), Detail: strings.Join(others, ", ")})
	}
	w.add(block{Is: "facts", Items: append(facts, w.level(), w.deadline())})
	w.theirs(w.sender, w.s.Message)
	w.button("invitation.button")
	w.add(block{Is: "qr", Text: w.say("invitation.qr", nil), Alt: w.say("invitation.qr.alt", nil)})
	next := "invitation.next"
	if w.s.Level != workflow.Standard {
		next += "." + string(w.s.Level)
	}
	if w.s.Level == workflow.Advanced && w.phones != "" && w.onlyPDFs() {
		next += ".phones"
	}
	w.para(w.count(next, docs, data{"Server": w.phones}))
	w.para(w.say("invitation.private", nil))
	if !self {
		w.para(w.say("invitation.reply", data{"Name": name(w.sender)}))
	}
}

func (w *writer) receipt() {
	w.add(block{Is: "title", Text: w.say("receipt.title", nil)})
	w.hello()
	var people []item
	for _, i := range w.s.Signatories() {
		people = append(people, person(&w.s.People[i]))
	}
	w.add(block{Is: "items", Text: w.count("receipt.intro", len(people), nil), Items: people})
	w.documents("")
	w.add(block{Is: "facts", Items: []item{w.level(), w.deadline()}})
	w.para(w.say("receipt.next", nil))
	if w.s.Delivery == workflow.Download {
		w.para(w.say("receipt.download", nil))
	}
	w.button("receipt.button")
}

func (w *writer) code() {
	w.add(block{Is: "title", Text: w.say("code.title", nil)})
	w.hello()
	w.para(w.say("code.intro", nil))
	w.add(block{Is: "code", Text: w.n.Code})
	w.documents(w.say("code.expires", data{"Date": w.date(w.n.CodeExpires)}))
	w.askedBy()
	w.para(w.say("code.ignore", data{"Org": w.org}))
}

func (w *writer) result() {
	docs := len(w.s.Mailed())
	w.add(block{Is: "title", Text: w.count("result.title", docs, nil)})
	w.hello()
	w.para(w.count("result.intro", len(w.s.Signatories()), nil))
	if len(w.n.Attachments) > 0 {
		files := w.attachments()
		w.add(block{Is: "items", Text: w.count("result.attached", len(files), nil), Items: files})
	} else {
		w.download()
	}
	w.standing(w.say("result.signed-by", nil))
	if at, ok := w.sealed(); ok {
		w.para(w.count("result.added", docs, data{"Org": w.org, "Date": w.date(at)}) + " " + w.clock())
	}
	w.documents("")
	w.askedBy(w.level())
	w.trust()
}

// trust says how signatures are checked, and where the root certificate is that a
// reader must know.
func (w *writer) trust() {
	if w.root == "" {
		w.para(w.say("result.verify", nil) + " " + w.say("result.trust.other", data{"Org": w.org}))
		return
	}
	w.add(block{Is: "para", Text: w.say("result.verify", nil) + " " + w.say("result.trust", data{"Org": w.org}), URL: w.root})
}

// clock says whose time it is (design.md, decision 11).
func (w *writer) clock() string {
	if len(w.tsa) == 0 {
		return w.say("result.clock.own", data{"Org": w.org})
	}
	return w.say("result.clock.tsa", data{"TSA": strings.Join(w.tsa, ", ")})
}

// download stands in for attachments that would be too large.
func (w *writer) download() {
	files := w.heads()
	w.add(block{Is: "items", Text: w.count("result.files", len(files), nil), Items: files})
	w.para(w.say("result.download", nil))
	if !w.n.Until.IsZero() {
		w.para(w.say("result.until", data{"Date": w.date(w.n.Until)}))
	}
	w.button("result.button")
}

func (w *writer) declined() {
	by := &w.s.People[w.n.By]
	title := w.say("declined.title", data{"Name": name(by)})
	if w.n.By == w.n.To {
		title = w.say("declined.title.you", nil)
	}
	w.ended("declined", title, func() {
		if !w.theirs(by, by.Comment) {
			w.para(w.say("declined.silent", nil))
		}
	})
}

// ended is what the three unhappy ends have in common; middle stands after the
// first sentence.
func (w *writer) ended(kind, title string, middle func()) {
	docs := len(w.s.Mailed())
	w.add(block{Is: "title", Text: title})
	w.hello()
	request := w.say("request.yours", nil)
	if !w.to.Sender {
		request = w.say("request.of", data{"Sender": full(w.sender)})
	}
	at := w.s.Ended
	if at.IsZero() {
		at = w.s.Deadline
	}
	w.para(w.say(kind+".intro", data{"Request": request, "Org": w.org, "Date": w.date(at)}) + " " + w.count("not-sealed", docs, nil))
	if middle != nil {
		middle()
	}
	w.standing(w.say("standing", nil))
	w.documents("")
	if w.to.Sender {
		w.para(w.count("send-again", docs, nil))
	}
}

func (w *writer) hello() { w.para(w.say("hello", data{"Name": name(w.to)})) }

func (w *writer) level() item {
	return item{Name: w.say("level", nil), Detail: w.say("level."+string(w.s.Level), data{"Org": w.org})}
}

func (w *writer) deadline() item {
	return item{Name: w.say("deadline", nil), Detail: w.date(w.s.Deadline)}
}

// askedBy tells everyone but the sender who asked, before other facts.
func (w *writer) askedBy(more ...item) {
	if !w.to.Sender {
		more = append([]item{{Name: w.say("asked-by", nil), Detail: full(w.sender)}}, more...)
	}
	if len(more) > 0 {
		w.add(block{Is: "facts", Items: more})
	}
}

// theirs sets somebody's own words apart and reports whether there were any.
func (w *writer) theirs(by *workflow.Participant, text string) bool {
	if by == w.to {
		return w.quote(w.say("writes.you", nil), text)
	}
	return w.quote(w.say("writes", data{"Name": name(by)}), text)
}

func (w *writer) quote(heading, text string) bool {
	lines := cleanLines(text, maxQuote)
	if len(lines) == 0 {
		return false
	}
	w.add(block{Is: "quote", Text: heading, Lines: lines})
	return true
}

func (w *writer) button(label string) {
	if w.n.Link != "" {
		w.add(block{Is: "button", Text: w.say(label, nil), URL: w.n.Link, Help: w.say("address", nil)})
	}
}
