package demo

import (
	"bytes"
	"fmt"
	"io"
	"net/mail"
	"regexp"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // mails in any charset can be read
	gomail "github.com/emersion/go-message/mail"
)

// Message is a letter as a mail client shows it.
type Message struct {
	Subject, From, To, Date string
	MessageID               string
	InReplyTo               string
	Text, HTML              string
	Inline                  map[string]Part // by Content-ID, without angle brackets
	Attachments             []Part
}

// Part is a file in a mail.
type Part struct {
	Name, Type string
	Content    []byte
}

// maxNesting is how deep a mail's parts may be nested to be shown.
const maxNesting = 10

// Open reads a letter.
func (l *Letter) Open() (*Message, error) {
	e, err := message.Read(bytes.NewReader(l.Raw))
	if err != nil && !message.IsUnknownCharset(err) {
		return nil, fmt.Errorf("reading mail %d: %w", l.ID, err)
	}
	h := gomail.Header{Header: e.Header}
	m := &Message{Inline: map[string]Part{}, From: addresses(h, "From"), To: addresses(h, "To"), Date: h.Get("Date")}
	m.Subject, _ = h.Subject()
	m.MessageID, m.InReplyTo = h.Get("Message-Id"), h.Get("In-Reply-To")
	if err := m.collect(e, 0); err != nil {
		return nil, fmt.Errorf("reading mail %d: %w", l.ID, err)
	}
	return m, nil
}

func (m *Message) collect(e *message.Entity, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("parts nested deeper than %d", maxNesting)
	}
	if mr := e.MultipartReader(); mr != nil {
		for {
			p, err := mr.NextPart()
			if err == io.EOF {
				return nil
			}
			if err != nil && !message.IsUnknownCharset(err) {
				return err
			}
			if err := m.collect(p, depth+1); err != nil {
				return err
			}
		}
	}
	content, err := io.ReadAll(e.Body)
	if err != nil {
		return err
	}
	kind, _, _ := e.Header.ContentType()
	disposition, _, _ := e.Header.ContentDisposition()
	attachment := gomail.AttachmentHeader{Header: e.Header}
	name, _ := attachment.Filename()
	id := strings.Trim(e.Header.Get("Content-Id"), "<> ")
	switch {
	case disposition == "attachment" || name != "" && id == "":
		m.Attachments = append(m.Attachments, Part{name, kind, content})
	case id != "":
		m.Inline[id] = Part{name, kind, content}
	case kind == "text/html" && m.HTML == "":
		m.HTML = string(content)
	case (kind == "text/plain" || kind == "") && m.Text == "":
		m.Text = string(content)
	}
	return nil
}

func addresses(h gomail.Header, key string) string {
	list, err := h.AddressList(key)
	if err != nil {
		return h.Get(key)
	}
	var out []string
	for _, a := range list {
		if a.Name != "" {
			out = append(out, a.Name+" <"+a.Address+">")
		} else {
			out = append(out, a.Address)
		}
	}
	return strings.Join(out, ", ")
}

var link = regexp.MustCompile(`https?://[^\s"<>]+#[A-Za-z0-9_-]{22}`)

// Link is the signing page that the mail leads to, or "".
func (m *Message) Link() string { return link.FindString(m.Text) }

var code = regexp.MustCompile(`(?m)^\s*(\d{3}) ?(\d{3})\s*$`)

// Code is the six digits of a mail with a code, or "".
func (m *Message) Code() string {
	if f := code.FindStringSubmatch(m.Text); f != nil {
		return f[1] + f[2]
	}
	return ""
}

// address takes the bare address out of "Name <address>".
func address(s string) string {
	if a, err := mail.ParseAddress(s); err == nil {
		return a.Address
	}
	return s
}
