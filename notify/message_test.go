package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"unicode"

	"github.com/emersion/go-message"
	"golang.org/x/net/html"

	"milterd/workflow"
)

// parsed is a mail as a mail client reads it.
type parsed struct {
	header mail.Header
	shape  string // of the MIME tree: mixed{alternative{text/plain text/html} application/pdf}
	text   string
	html   string
	png    []byte
	cid    string
	files  []workflow.Attachment
}

// parse reads a mail twice, by net/mail and by go-message, and checks what
// holds for all: line ends and lengths, and ASCII outside of SMTPUTF8.
func parse(t testing.TB, raw []byte) *parsed {
	t.Helper()
	for i, l := range strings.Split(string(raw), "\r\n") {
		if strings.ContainsAny(l, "\r\n") {
			t.Fatalf("line %d has a bare line end: %q", i+1, l)
		}
		if len(l) > 998 || len(l) > 78 && !strings.Contains(l, "@") {
			t.Errorf("line %d has %d characters: %q", i+1, len(l), l)
		}
	}
	std, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	e, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := &parsed{header: std.Header}
	p.shape = p.walk(t, e)
	return p
}

func (p *parsed) walk(t testing.TB, e *message.Entity) string {
	mediaType, params, err := e.Header.ContentType()
	if err != nil {
		t.Fatal(err)
	}
	if mr := e.MultipartReader(); mr != nil {
		var inner []string
		for {
			child, err := mr.NextPart()
			if errors.Is(err, io.EOF) {
				return strings.TrimPrefix(mediaType, "multipart/") + "{" + strings.Join(inner, " ") + "}"
			}
			if err != nil {
				t.Fatal(err)
			}
			inner = append(inner, p.walk(t, child))
		}
	}
	b, err := io.ReadAll(e.Body)
	if err != nil {
		t.Fatal(err)
	}
	kind, dparams, _ := mime.ParseMediaType(e.Header.Get("Content-Disposition"))
	switch {
	case kind == "attachment":
		if params["name"] != dparams["filename"] {
			t.Errorf("file name is %q by RFC 2231 and %q by RFC 2047", dparams["filename"], params["name"])
		}
		p.files = append(p.files, workflow.Attachment{Name: dparams["filename"], ContentType: mediaType, Content: b})
	case mediaType == "text/plain":
		p.text = string(b)
	case mediaType == "text/html":
		p.html = string(b)
	case mediaType == "image/png":
		p.png, p.cid = b, strings.Trim(e.Header.Get("Content-Id"), "<>")
	}
	return mediaType
}

// textWords are the words of a text, without what only draws lines.
func textWords(s string) string {
	var out []string
	for _, w := range strings.FieldsFunc(s, unicode.IsSpace) {
		if strings.ContainsFunc(w, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// htmlText is what a reader sees of an HTML page. It fails on anything that a
// mail must not hold.
func htmlText(t testing.TB, page string) (text string, links []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		if n.Type == html.ElementNode {
			switch n.Data {
			case "head", "style", "title":
				return
			case "script", "link", "iframe", "object", "embed", "form", "input", "video", "base", "svg":
				t.Errorf("the mail holds <%s>", n.Data)
			}
			for _, a := range n.Attr {
				switch {
				case a.Key == "href":
					links = append(links, a.Val)
				case a.Key == "src" && !strings.HasPrefix(a.Val, "cid:"), strings.HasPrefix(a.Key, "on"), a.Key == "background", a.Key == "srcset",
					a.Key == "style" && strings.Contains(a.Val, "url("):
					t.Errorf("the mail holds %s=%q", a.Key, a.Val)
				}
			}
			b.WriteByte(' ')
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(doc)
	return b.String(), links
}

func TestEveryMail(t *testing.T) {
	n := testNotifier(t, Relay{})
	each(t, func(t *testing.T, name string, notice workflow.Notice) {
		raw, err := n.Compose(notice)
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, raw)

		shape := "alternative{text/plain text/html}"
		switch {
		case notice.Kind == workflow.MailInvitation:
			shape = "related{" + shape + " image/png}"
			if got := zbar(t, m.png); got != notice.Link {
				t.Errorf("the attached picture says %q", got)
			}
			if !strings.Contains(m.html, `src="cid:`+m.cid+`"`) {
				t.Error("the picture is not shown")
			}
		case len(notice.Attachments) > 0:
			shape = "mixed{" + shape + strings.Repeat(" "+mediaType(notice), len(notice.Attachments)) + "}"
		}
		if m.shape != shape {
			t.Errorf("shape %s, want %s", m.shape, shape)
		}
		for i, a := range notice.Attachments {
			if g := m.files[i]; g.Name != a.Name || !bytes.Equal(g.Content, a.Content) {
				t.Errorf("attachment %d came out as %q, %d bytes", i, g.Name, len(g.Content))
			}
		}

		seen, links := htmlText(t, m.html)
		if a, b := textWords(m.text), textWords(seen); a != b {
			t.Errorf("the parts differ\ntext %s\nhtml %s", a, b)
		}
		for _, l := range links {
			if l != notice.Link && (notice.Kind != workflow.MailResult || l != "https://sign.corp.test/pki/root.cer") {
				t.Errorf("link to %q", l)
			}
		}
		if strings.Contains(m.text, "<no value>") || strings.Contains(m.text, "{{") {
			t.Errorf("a placeholder is not filled: %s", m.text)
		}
		if notice.Session == nil {
			return
		}
		s := notice.Session
		for _, d := range s.Mailed() {
			if !strings.Contains(m.text, s.Documents[d].Original().SHA256.String()) {
				t.Errorf("no digest of %s", s.Documents[d].Name)
			}
		}
		checkHeader(t, n, notice, m.header, &s.People[notice.To])
	})
}

// A mail to somebody in whose name another mail came holds no word of that one.
func TestConfirmQuotesNothing(t *testing.T) {
	n := testNotifier(t, Relay{})
	notice := cases("en")["confirm"]
	want, err := n.Compose(notice)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(want)), "forged") {
		t.Errorf("the mail quotes the forged one:\n%s", want)
	}
	for _, f := range []string{"Reply-To", "In-Reply-To", "References"} {
		if v := parse(t, want).header.Get(f); v != "" {
			t.Errorf("%s: %s", f, v)
		}
	}
	for _, a := range attacks {
		h := *notice.Held
		h.Subject, h.From, h.QueueID, h.Client, h.Recipients = a, a, a, a, []string{a}
		h.Asks, h.Documents = []workflow.Person{{Mail: a, Name: a}}, []workflow.HeldDocument{{Name: a}}
		x := notice
		x.Held = &h
		if got, err := n.Compose(x); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q changes the mail (%v)", a, err)
		}
	}
}

func checkHeader(t *testing.T, n *Notifier, notice workflow.Notice, h mail.Header, p *workflow.Participant) {
	t.Helper()
	for name, v := range h {
		if len(v) != 1 {
			t.Errorf("%d fields %s", len(v), name)
		}
	}
	one := func(field string) mail.Address {
		l, err := h.AddressList(field)
		if err != nil || len(l) != 1 {
			t.Fatalf("%s: %v %v", field, l, err)
		}
		return *l[0]
	}
	if got := one("From"); got != (mail.Address{Name: "Example Corp signatures", Address: "reply@sign.corp.test"}) {
		t.Errorf("From %v", got)
	}
	if got := one("To"); got != (mail.Address{Name: p.Name, Address: p.Mail}) {
		t.Errorf("To %v", got)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
	if err != nil || !strings.HasSuffix(subject, notice.Session.Thread.Subject) {
		t.Errorf("Subject %q", subject)
	}
	if id, ok := Own(h.Get("Message-Id"), "SIGN.corp.test"); !ok || id != notice.Session.ID {
		t.Errorf("Message-ID %s is not recognised", h.Get("Message-Id"))
	}
	if got := h.Get("References"); !strings.HasPrefix(got, "<20261120.0900@mx.corp.test> <20261123.1030@mx.corp.test>") {
		t.Errorf("References %q", got)
	}
	parent := ""
	switch x := cases("en")["invitation"]; {
	case p.Sender || p.Copy:
		parent = "<20261123.1030@mx.corp.test>"
	case notice.Kind != workflow.MailInvitation: // a signatory has their invitation, not the original
		parent = n.messageID(workflow.Mailing{Session: x.Session.ID, Person: notice.To, Mail: x.Kind}, x.Session.MailKey(notice.To, x.Kind, 0, ""))
	}
	if got := h.Get("In-Reply-To"); got != parent || !strings.HasSuffix(h.Get("References"), parent) {
		t.Errorf("In-Reply-To %q, want %q, the last of %q", got, parent, h.Get("References"))
	}
	if d, err := h.Date(); err != nil || !d.Equal(testNow) {
		t.Errorf("Date %v, %v", d, err)
	}
	if h.Get("X-Mailer") != "" || h.Get("User-Agent") != "" || h.Get("X-Auto-Response-Suppress") != "All" {
		t.Errorf("header %v", h)
	}
	var reply []string
	if l, err := h.AddressList("Reply-To"); err == nil {
		for _, a := range l {
			reply = append(reply, a.Address)
		}
	}
	want := "[jane.roe@corp.test]"
	switch {
	case notice.Kind == workflow.MailCode, notice.Kind == workflow.MailReturned, notice.Kind == workflow.MailEnrolled, len(notice.Session.People) == 1:
		want = "[]"
	case notice.Kind == workflow.MailDeclined:
		want = "[john.doe@corp.test]"
	case p.Sender:
		want = "[john.doe@corp.test zoe@corp.test]"
	}
	if got := fmt.Sprint(reply); got != want {
		t.Errorf("Reply-To %s, want %s", got, want)
	}
}

// The sender's words are for those whom they asked to sign.
func TestMessageGoesToSignatoriesOnly(t *testing.T) {
	n := testNotifier(t, Relay{})
	each(t, func(t *testing.T, name string, notice workflow.Notice) {
		raw, err := n.Compose(notice)
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, raw)
		there := strings.Contains(m.text, "> please have a look at § 4 before you sign")
		if want := notice.Kind == workflow.MailInvitation && notice.Session.Message != ""; there != want {
			t.Errorf("message quoted: %v, want %v", there, want)
		}
	})
}

// A request without a usable Message-ID still makes one conversation, and a
// long thread keeps its first and its newest mails.
func TestThreads(t *testing.T) {
	n := testNotifier(t, Relay{})
	header := func(x workflow.Notice) mail.Header {
		b, err := n.Compose(x)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, b).header
	}
	a, b := cases("en")["receipt"], cases("en")["invitation"]
	for _, bad := range []string{"", "20261123@mx", "<a b@mx>", "<a@b>\r\nBcc: <c@d>", "<" + strings.Repeat("x", 300) + "@mx>"} {
		a.Session.Thread.MessageID, b.Session.Thread.MessageID = bad, bad
		x, y := header(a).Get("References"), header(b).Get("References")
		if _, ok := Own(x, "sign.corp.test"); !ok || x != y || header(a).Get("In-Reply-To") != "" {
			t.Errorf("%q: References %q and %q", bad, x, y)
		}
	}
	a = cases("en")["receipt"]
	a.Session.Thread.References = nil
	for i := range 100 {
		a.Session.Thread.References = append(a.Session.Thread.References, fmt.Sprintf("<%d@mx>", i))
	}
	got := strings.Fields(header(a).Get("References"))
	if len(got) != 21 || got[0] != "<0@mx>" || got[1] != "<81@mx>" || got[20] != "<20261123.1030@mx.corp.test>" {
		t.Errorf("References %q", got)
	}
}

// TestRootElsewhere: a root that is the company's own is not ours to hand out.
func TestRootElsewhere(t *testing.T) {
	n := testNotifier(t, Relay{})
	n.c.Root = ""
	c, err := n.write(cases("en")["result"])
	if err != nil {
		t.Fatal(err)
	}
	if got := c.text(); !strings.Contains(got, "certificates of Example Corp.") || strings.Contains(got, "root.cer") {
		t.Error(got)
	}
	n.c.Root = "javascript:alert(1)"
	if _, err := New(n.c); err == nil {
		t.Error("any address is taken")
	}
}

// mediaType is that of a notice's attachments.
func mediaType(n workflow.Notice) string {
	t, _, _ := strings.Cut(n.Attachments[0].ContentType, ";")
	return t
}
