package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"milterd/demo"
	"milterd/workflow"
)

var jane = demo.Person{Name: "Jane Roe", Mail: "jane@corp.com"}

// submit hands a mail to the machine's Postfix as Jane's mail client would:
// STARTTLS, then her login.
func (t *trial) submit(ctx context.Context, to, subject string, file demo.Part) ([]byte, error) {
	raw, err := demo.Draft{From: jane, To: []string{to}, Subject: subject, Text: "Please sign.", File: file}.Compose()
	if err != nil {
		return nil, err
	}
	conn, err := t.dial(ctx, "25")
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	// Debian's Postfix has a certificate that it made for itself.
	c, err := smtp.NewClientStartTLS(conn, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "jane", password)); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	if err := c.SendMail(jane.Mail, []string{to}, bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	return raw, c.Quit()
}

// letter waits for a mail in a user's mailbox.
func (t *trial) letter(ctx context.Context, user, what string, fits func(*demo.Message) bool) (found *demo.Message, err error) {
	err = await(ctx, what+" for "+user, func() bool {
		b, err := os.ReadFile(t.path("/var/mail/" + user))
		if err != nil {
			return false
		}
		for _, raw := range strings.Split("\n"+string(b), "\nFrom ") {
			_, raw, _ = strings.Cut(raw, "\n") // the rest of mbox's own line
			if m, err := (&demo.Letter{Raw: []byte(raw)}).Open(); err == nil && fits(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found, err
}

// sign takes a mail to John from SMTP to the signed document in Jane's mailbox.
func (t *trial) sign(ctx context.Context, subject string, file demo.Part) error {
	if _, err := t.submit(ctx, "john@sign.corp.com", "[Standard] "+subject, file); err != nil {
		return err
	}
	about := func(m *demo.Message) bool { return strings.Contains(m.Subject, subject) }
	invitation, err := t.letter(ctx, "john", "invitation", func(m *demo.Message) bool { return about(m) && m.Link() != "" && m.Code() == "" })
	if err != nil {
		return err
	}
	if err := t.trustPages(); err != nil {
		return err
	}
	b, err := demo.Follow(invitation.Link())
	if err != nil {
		return err
	}
	if _, _, err := b.Post(ctx, "visit", nil, nil); err != nil {
		return err
	}
	if _, _, err := b.Post(ctx, "code", nil, nil); err != nil {
		return err
	}
	code, err := t.letter(ctx, "john", "code", func(m *demo.Message) bool { return about(m) && m.Code() != "" })
	if err != nil {
		return err
	}
	if _, _, err := b.Post(ctx, "open", map[string]any{"code": code.Code()}, nil); err != nil {
		return err
	}
	shown, _, err := b.Document(ctx, 0)
	if err != nil {
		return err
	}
	if _, _, err := b.Post(ctx, "sign", map[string]any{"code": code.Code(), "shown": []workflow.Shown{shown},
		"appearance": workflow.Appearance{Typed: "John Doe"}}, nil); err != nil {
		return err
	}
	result, err := t.letter(ctx, "jane", "result", func(m *demo.Message) bool { return about(m) && len(m.Attachments) > 1 })
	if err != nil {
		return err
	}
	for _, a := range result.Attachments {
		if bytes.Equal(a.Content, file.Content) {
			continue // of what was converted, the original goes along
		}
		if err := t.write("/root/signed.pdf", string(a.Content), 0o644); err != nil {
			return err
		}
		if _, err := t.say(ctx, "milterd verify /root/signed.pdf", "TOTAL-PASSED", "PAdES-BASELINE-LTA", "Fresh Corp"); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}

// trustPages lets this process's browser into the machine, with the pages'
// self-signed certificate for a root.
func (t *trial) trustPages() error {
	cert, err := os.ReadFile(t.path("/etc/milterd/tls.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		return errors.New("the pages' certificate is no PEM")
	}
	http.DefaultTransport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return t.dial(ctx, port)
		},
	}
	return nil
}

// doctor runs milterd postfix check. Nothing may be wrong but what this network
// lacks: a DNS, and with it MX, SPF, DKIM and DMARC.
func (t *trial) doctor(ctx context.Context) error {
	out, err := t.machine.run(ctx, "", "milterd postfix check; test $? -le 1")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "warn" && f[1] != "mx" && !strings.HasPrefix(f[1], "own-mail/") {
			return fmt.Errorf("milterd postfix check:\n%s", out)
		}
	}
	fmt.Print("             " + out[:strings.IndexByte(out, '\n')+1])
	return nil
}

// away stops milterd, mails, and starts it again: Postfix keeps the mail and
// hands it to the second door, whose socket its chrooted lmtp must reach.
func (t *trial) away(ctx context.Context) error {
	if err := t.all(ctx, "systemctl stop milterd"); err != nil {
		return err
	}
	if _, err := t.submit(ctx, "self@sign.corp.com", "[Standard] While nobody was there", demo.Sample()); err != nil {
		return err
	}
	if err := await(ctx, "the mail waits in the queue", func() bool {
		out, _ := t.machine.run(ctx, "", "postqueue -p")
		return strings.Contains(out, "self@sign.corp.com") && strings.Contains(out, "milterd/lmtp.sock")
	}); err != nil {
		return err
	}
	if err := t.all(ctx, "systemctl start milterd", "postqueue -f"); err != nil {
		return err
	}
	if err := await(ctx, "the queue is empty", func() bool {
		out, _ := t.machine.run(ctx, "", "postqueue -p")
		return strings.Contains(out, "queue is empty")
	}); err != nil {
		return err
	}
	// Her login stood in Postfix's own Received line only.
	_, err := t.letter(ctx, "jane", "invitation", func(m *demo.Message) bool {
		return m.Link() != "" && strings.Contains(m.Subject, "While nobody was there")
	})
	return err
}
