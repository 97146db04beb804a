package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// password is that of every login.
const password = "bench"

// times is how long a client waited.
type times struct{ rcpt, data []time.Duration }

type client struct{ *smtp.Client }

func dial(addr, login string) (*client, error) {
	c, err := smtp.Dial(addr)
	if err != nil {
		return nil, err
	}
	if login != "" {
		if err := c.Auth(sasl.NewPlainClient("", login, password)); err != nil {
			c.Close()
			return nil, err
		}
	}
	return &client{c}, nil
}

// send is one mail on a connection of its own.
func send(addr, login string, mail []byte, to []string, t *times) error {
	c, err := dial(addr, login)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.mail(mail, to, t); err != nil {
		return err
	}
	return c.Quit()
}

func (c *client) mail(mail []byte, to []string, t *times) error {
	if err := c.Mail("jane@corp.test", nil); err != nil {
		return err
	}
	for _, a := range to {
		start := time.Now()
		if err := c.Rcpt(a, nil); err != nil {
			return err
		}
		if t != nil {
			t.rcpt = append(t.rcpt, time.Since(start))
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(mail); err != nil {
		return err
	}
	start := time.Now()
	if err := w.Close(); err != nil {
		return err
	}
	if t != nil {
		t.data = append(t.data, time.Since(start))
	}
	return nil
}

func head(subject string) string {
	return fmt.Sprintf("From: Jane Doe <jane@corp.test>\r\nTo: somebody@corp.test\r\nSubject: %s\r\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@corp.test>\r\nMIME-Version: 1.0\r\n", subject, rand.Text())
}

// other is a plain mail of about size bytes.
func other(size int) []byte {
	return []byte(head("Lunch") + "\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78))
}

// request is a sign mail of about size bytes, always another one.
func request(size int) []byte {
	var b bytes.Buffer
	b.WriteString(head("Please sign") + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nPlease sign.\r\n" +
		"--b\r\nContent-Type: application/pdf; name=contract.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(document(size * 73 / 100))
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n--b--\r\n")
	return b.Bytes()
}

// document is a PDF of one page with a stream that makes up its size.
func document(size int) []byte {
	var b bytes.Buffer
	var at []int
	object := func(text string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), text)
	}
	b.WriteString("%PDF-1.7\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << >> >>")
	content := strings.Repeat("0 0 m 100 100 l S\n", max(1, (size-700)/18))
	object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content))
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}
