package demo

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/mail"
	"strings"
	"time"

	gomail "github.com/emersion/go-message/mail"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// contract is the document that the sample mail carries.
//
//go:embed contract.pdf
var contract []byte

// Sample is the sample document.
func Sample() Part { return Part{"contract.pdf", "application/pdf", contract} }

// Draft is a mail that somebody is about to send.
type Draft struct {
	From    Person
	To, Cc  []string
	Subject string
	Text    string
	File    Part // none if its Content is empty
	More    []Part
}

// Compose writes the draft as a mail client would.
func (d Draft) Compose() ([]byte, error) {
	var h gomail.Header
	h.SetDate(time.Now())
	h.SetSubject(d.Subject)
	h.SetAddressList("From", []*gomail.Address{{Name: d.From.Name, Address: d.From.Mail}})
	h.SetAddressList("To", list(d.To))
	if len(d.Cc) > 0 {
		h.SetAddressList("Cc", list(d.Cc))
	}
	_, domain, _ := strings.Cut(d.From.Mail, "@")
	h.SetMessageID(rand.Text() + "@" + domain)
	var b bytes.Buffer
	w, err := gomail.CreateWriter(&b, h)
	if err != nil {
		return nil, fmt.Errorf("composing a mail: %w", err)
	}
	var th gomail.InlineHeader
	th.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	text, err := w.CreateSingleInline(th)
	if err != nil {
		return nil, fmt.Errorf("composing a mail: %w", err)
	}
	io.WriteString(text, strings.ReplaceAll(d.Text, "\n", "\r\n"))
	text.Close()
	for _, part := range append([]Part{d.File}, d.More...) {
		if len(part.Content) == 0 {
			continue
		}
		var ah gomail.AttachmentHeader
		ah.SetContentType(part.Type, nil)
		ah.SetFilename(part.Name)
		file, err := w.CreateAttachment(ah)
		if err != nil {
			return nil, fmt.Errorf("composing a mail: %w", err)
		}
		file.Write(part.Content)
		file.Close()
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("composing a mail: %w", err)
	}
	return b.Bytes(), nil
}

func list(addrs []string) []*gomail.Address {
	var out []*gomail.Address
	for _, a := range addrs {
		out = append(out, &gomail.Address{Address: a})
	}
	return out
}

// Submit hands a mail to a mail server as a mail client would, logged in unless
// login is empty. A refusal is a *smtp.SMTPError.
func Submit(server, login, password, from string, to []string, raw []byte) error {
	conn, err := net.DialTimeout("tcp", server, 5*time.Second)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := smtp.NewClient(conn)
	defer c.Close()
	if err := c.Hello("localhost"); err != nil {
		return err
	}
	if login != "" {
		if err := c.Auth(sasl.NewPlainClient("", login, password)); err != nil {
			return err
		}
	}
	if err := c.SendMail(from, to, bytes.NewReader(raw)); err != nil {
		return err
	}
	return c.Quit()
}

// MessageID gives a mail's Message-ID with its angle brackets, "" if it has none.
func MessageID(raw []byte) string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return m.Header.Get("Message-Id")
}
