package rig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/demo"
	"milterd/postfix"
	"milterd/store"
)

const (
	password = "demo"
	crowd    = 300 // people who send and sign: a killed milterd leaves codes unanswered, of which a person gets twenty a day
)

// Site is a mail system with a milterd between its mailboxes.
type Site struct {
	Options
	People []demo.Person
	Boxes  *demo.Mailboxes
	Mail   interface {
		Address() string
		Close() error
	}
	Place *Place
	Users string // the directory file, "" with LDAP

	turn atomic.Int64
}

// Options describe a Site.
type Options struct {
	Setup
	Postfix bool                // a private real Postfix, else the demo's mail server, which is a stand-in
	Relay   string              // takes milterd's mail, default the mail system itself
	Milter  string              // what the mail system asks, default milterd itself
	LDAP    bool                // Extra names the directory, which knows People
	Trust   []*x509.Certificate // roots of the judge beside milterd's own: a timestamp authority's

	// Unrecorded: milterd loses its life, disk or database at moments like that
	// between a mail's 250 and its record. If the session ends before the next try,
	// there is a receipt that the trail does not know.
	Unrecorded bool
}

// CanPostfix reports whether a private Postfix can run here.
func CanPostfix() bool {
	_, err := exec.LookPath("postfix")
	return err == nil && os.Geteuid() == 0
}

// People are p000@corp.test and so on.
func People() []demo.Person {
	out := make([]demo.Person, crowd)
	for i := range out {
		out[i] = demo.Person{Mail: fmt.Sprintf("p%03d@%s", i, demo.MailDomain), Name: fmt.Sprintf("Person %d", i), Language: "en"}
	}
	return out
}

// Local is the part of a person's address before the @.
func Local(p demo.Person) string {
	name, _, _ := strings.Cut(p.Mail, "@")
	return name
}

// Open starts a mail system and configures a milterd beside it, which its
// Place.Start starts. The caller ends both with Close.
func Open(ctx context.Context, o Options) (_ *Site, err error) {
	s := &Site{Options: o, People: People()}
	users := new(strings.Builder)
	passwords := map[string]string{}
	var addresses []string
	for _, p := range s.People {
		fmt.Fprintf(users, "[[user]]\nmail = %q\nname = %q\n", p.Mail, p.Name)
		passwords[p.Mail] = password
		addresses = append(addresses, p.Mail)
	}
	file := filepath.Join(o.Dir, "users.toml")
	if err := os.WriteFile(file, []byte(users.String()), 0o644); err != nil {
		return nil, err
	}
	if o.LDAP {
		file = ""
	}
	s.Users = file
	s.Boxes = demo.NewMailboxes(addresses...)
	if s.Place, err = At(o.Setup); err != nil {
		return nil, err
	}
	if err := s.startMail(ctx, passwords, addresses); err != nil {
		return nil, err
	}
	relay := o.Relay
	if relay == "" {
		relay = s.Mail.Address()
	}
	if err := s.Place.Configure(ctx, relay, s.Users); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Site) startMail(ctx context.Context, passwords map[string]string, addresses []string) error {
	milter := s.Milter
	if milter == "" {
		milter = s.Place.Milter
	}
	if s.Postfix {
		p, err := demo.StartPostfix(ctx, postfix.Options{Dir: filepath.Join(s.Dir, "postfix"), Milter: milter, LMTP: s.Place.LMTP,
			SignDomain: demo.SignDomain, Domain: demo.MailDomain, Users: passwords, Mailboxes: addresses, Postmaster: addresses[0],
			Settings: []string{"minimal_backoff_time = 5s", "maximal_backoff_time = 10s", "queue_run_delay = 5s"}}, s.Boxes)
		if err != nil {
			return err
		}
		s.Mail = p
		return nil
	}
	m := &demo.MailServer{Domain: demo.MailDomain, SignDomain: demo.SignDomain, Users: passwords, Boxes: s.Boxes,
		Milter: milter, Log: slog.New(slog.DiscardHandler)}
	if err := m.Start(); err != nil {
		return err
	}
	s.Mail = m
	return nil
}

// Close ends the mail system, and milterd if it runs.
func (s *Site) Close() {
	if s.Place.Running() {
		s.Place.Kill()
	}
	s.Mail.Close()
}

// Draft writes a request of one person to another, each time of others.
func (s *Site) Draft() (from demo.Person, to string, raw []byte, err error) {
	n := int(s.turn.Add(1))
	from = s.People[n%len(s.People)]
	to = Local(s.People[(n+len(s.People)/2)%len(s.People)]) + "@" + demo.SignDomain
	d := demo.Draft{From: from, To: []string{to}, Subject: "[Standard] rig", Text: "x", File: demo.Sample()}
	raw, err = d.Compose()
	return from, to, raw, err
}

// Submit hands a mail to the mail system, once.
func (s *Site) Submit(from demo.Person, to string, raw []byte) error {
	return demo.Submit(s.Mail.Address(), from.Mail, password, from.Mail, []string{to}, raw)
}

// Send drafts a request and submits it until it is taken or refused for good, as
// persistent as a mail server. It gives its sender and Message-ID.
func (s *Site) Send(ctx context.Context) (from demo.Person, id string, err error) {
	from, to, raw, err := s.Draft()
	if err != nil {
		return from, "", err
	}
	for {
		if err = s.Submit(from, to, raw); err == nil {
			return from, demo.MessageID(raw), nil
		}
		var reply *smtp.SMTPError
		if errors.As(err, &reply) && reply.Code >= 500 {
			return from, "", fmt.Errorf("refused: %w", err)
		}
		select {
		case <-ctx.Done():
			return from, "", fmt.Errorf("never taken: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Store opens milterd's database.
func (s *Site) Store(ctx context.Context) (*store.Store, error) {
	url := s.Database
	if url == "" {
		url = "sqlite:" + filepath.Join(s.Place.Data, "milterd.db")
	}
	return store.Open(ctx, store.Config{URL: url})
}
