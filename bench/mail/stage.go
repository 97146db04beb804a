package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"milterd/auth"
	"milterd/directory"
	"milterd/intake"
	"milterd/milter"
	"milterd/notify"
	"milterd/postfix"
	"milterd/signature/pdf"
	"milterd/store"
	"milterd/workflow"
)

// stage is three Postfixes: without a milter, with milterd, with opendkim.
type stage struct {
	dir   string
	mtas  map[string]*postfix.Private
	store *store.Store
	door  *milter.Door
	dkim  *exec.Cmd

	// Mails come one after another here, so nothing guards these.
	inspected, opened []time.Duration
}

func (s *stage) addr(side string) string { return s.mtas[side].SMTPAddr }

const users = `[[user]]
mail = "jane@corp.test"
name = "Jane Doe"
[[user]]
mail = "john.doe@corp.test"
name = "John Doe"
`

func build(ctx context.Context, dir string) (_ *stage, err error) {
	s := &stage{dir: dir, mtas: map[string]*postfix.Private{}}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if err := s.startDoor(ctx, dir); err != nil {
		return nil, err
	}
	if err := s.startDKIM(dir); err != nil {
		return nil, err
	}
	for side, socket := range map[string]string{"none": "", "milterd": "milter.sock", "opendkim": "dkim.sock"} {
		o := postfix.Options{Dir: filepath.Join(dir, side), Domain: "corp.test", Users: map[string]string{"jane": password},
			Mailboxes: []string{nobody, colleague}, Settings: []string{"transport_maps = inline:{{" + nobody + " = discard:bench}}"}}
		if socket != "" {
			o.Milter = "unix:" + filepath.Join(dir, socket)
		}
		if side == "milterd" {
			o.SignDomain = "sign.corp.test"
		} else {
			// Its settings for the sign domain count for both sides.
			o.Settings = append(o.Settings, "smtpd_forbid_bare_newline = normalize", "smtpd_forbid_bare_newline_exclusions =")
		}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, err
		}
		if s.mtas[side], err = postfix.StartPrivate(ctx, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// startDoor opens milterd's door in front of a real desk whose jobs nobody does.
func (s *stage) startDoor(ctx context.Context, dir string) (err error) {
	if s.store, err = store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(dir, "bench.db")}); err != nil {
		return err
	}
	path := filepath.Join(dir, "users.toml")
	if err := os.WriteFile(path, []byte(users), 0o600); err != nil {
		return err
	}
	people, err := directory.Open(path)
	if err != nil {
		return err
	}
	keys, err := auth.NewKeys(make([]byte, 32))
	if err != nil {
		return err
	}
	db, err := openBare(dir)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s.door = &milter.Door{Domain: "sign.corp.test", Log: log, Intake: least{dir: dir, db: db, Intake: &intake.Intake{
		Config:    intake.Config{Domain: "sign.corp.test", Level: workflow.Standard},
		Directory: people, Inspector: inspector{&s.inspected}, Log: log,
		Desk: opener{&workflow.Desk{Store: s.store, Secrets: keys, Log: log, Now: time.Now, Policy: workflow.Policy{
			URL: "https://sign.corp.test", Deadline: 24 * time.Hour, Retention: 24 * time.Hour, MailLimit: 50 << 20,
			Repeat: time.Hour, MailSize: notify.MailSize}}, &s.opened},
	}}}
	ln, err := milter.Listen("unix:"+filepath.Join(dir, "milter.sock"), 0o666)
	if err != nil {
		return err
	}
	go s.door.Serve(ln)
	return nil
}

// inspector and opener are the real ones, with a clock.
type inspector struct{ took *[]time.Duration }

func (i inspector) Inspect(ctx context.Context, b []byte) (intake.Finding, error) {
	defer func(start time.Time) { *i.took = append(*i.took, time.Since(start)) }(time.Now())
	info, err := pdf.InspectInChild(ctx, b)
	if err != nil {
		return intake.Finding{}, err
	}
	return intake.Finding{Pages: info.Pages, Signed: info.Signed, Notes: info.Notes}, nil
}

type opener struct {
	*workflow.Desk
	took *[]time.Duration
}

func (o opener) Open(ctx context.Context, op workflow.Opening) (*workflow.Session, bool, error) {
	defer func(start time.Time) { *o.took = append(*o.took, time.Since(start)) }(time.Now())
	return o.Desk.Open(ctx, op)
}

// startDKIM runs opendkim as a verifier, as most sites do.
func (s *stage) startDKIM(dir string) error {
	if _, err := exec.LookPath("opendkim"); err != nil {
		return errors.New("opendkim is not installed: apt-get install -y opendkim")
	}
	socket, conf, hosts := filepath.Join(dir, "dkim.sock"), filepath.Join(dir, "opendkim.conf"), filepath.Join(dir, "internal")
	if err := os.WriteFile(hosts, []byte("192.0.2.1\n"), 0o644); err != nil {
		return err
	}
	text := fmt.Sprintf("Mode v\nSocket local:%s\nUMask 000\nInternalHosts %s\nPidFile %s.pid\nSyslog no\n", socket, hosts, conf)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	s.dkim = exec.Command("opendkim", "-f", "-x", conf)
	s.dkim.Stderr = os.Stderr
	if err := s.dkim.Start(); err != nil {
		return err
	}
	for range 200 {
		if c, err := net.Dial("unix", socket); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("opendkim does not answer")
}

func (s *stage) stop() {
	for _, p := range s.mtas {
		if p != nil {
			p.Stop()
		}
	}
	if s.dkim != nil && s.dkim.Process != nil {
		s.dkim.Process.Kill()
		s.dkim.Wait()
	}
	if s.door != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.door.Shutdown(ctx)
	}
	if s.store != nil {
		s.store.Close()
	}
}
