package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"milterd/bench/served"
	"milterd/demo"
	"milterd/postfix"
)

const (
	password = "demo"
	crowd    = 300 // people who send and sign
)

// site is a mail system with a milterd beside it.
type site struct {
	dir    string
	people []demo.Person
	boxes  *demo.Mailboxes
	mail   interface {
		Address() string
		Close() error
	}
	place *served.Place
	opts  options
}

// canPostfix reports whether a private Postfix can run here.
func canPostfix() bool {
	_, err := exec.LookPath("postfix")
	return err == nil && os.Geteuid() == 0
}

func local(p demo.Person) string {
	name, _, _ := strings.Cut(p.Mail, "@")
	return name
}

func open(ctx context.Context, o options, dir string) (_ *site, err error) {
	s := &site{dir: dir, opts: o}
	users := new(strings.Builder)
	passwords := map[string]string{}
	var addresses []string
	for i := range crowd {
		p := demo.Person{Mail: fmt.Sprintf("p%03d@%s", i, demo.MailDomain), Name: fmt.Sprintf("Person %d", i), Language: "en"}
		fmt.Fprintf(users, "[[user]]\nmail = %q\nname = %q\n", p.Mail, p.Name)
		s.people = append(s.people, p)
		passwords[p.Mail] = password
		addresses = append(addresses, p.Mail)
	}
	file := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(file, []byte(users.String()), 0o644); err != nil {
		return nil, err
	}
	s.boxes = demo.NewMailboxes(addresses...)
	if s.place, err = served.At(served.Site{Binary: o.binary, Dir: dir, Users: file, TCP: o.postfix, Database: o.database}); err != nil {
		return nil, err
	}
	if err := s.startMail(ctx, passwords, addresses); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.place.Configure(ctx, s.mail.Address()); err != nil {
		return nil, err
	}
	_, err = s.place.Start(ctx)
	return s, err
}

func (s *site) startMail(ctx context.Context, passwords map[string]string, addresses []string) error {
	if s.opts.postfix {
		fmt.Println("crash: mail goes through a private Postfix")
		p, err := demo.StartPostfix(ctx, postfix.Options{Dir: filepath.Join(s.dir, "postfix"), Milter: s.place.Milter,
			SignDomain: demo.SignDomain, Domain: demo.MailDomain, Users: passwords, Mailboxes: addresses, Postmaster: addresses[0],
			Settings: []string{"minimal_backoff_time = 5s", "maximal_backoff_time = 10s", "queue_run_delay = 5s"}}, s.boxes)
		if err != nil {
			return err
		}
		s.mail = p
		return nil
	}
	fmt.Println("crash: mail goes through the demo's mail server, a stand-in for Postfix")
	m := &demo.MailServer{Domain: demo.MailDomain, SignDomain: demo.SignDomain, Users: passwords, Boxes: s.boxes,
		Milter: s.place.Milter, Log: slog.New(slog.DiscardHandler)}
	s.mail = m
	return m.Start()
}

func (s *site) close() { s.mail.Close() }
