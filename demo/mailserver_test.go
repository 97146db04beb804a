package demo

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"milterd/milter"
	"milterd/workflow"
)

// clerk is a milter.Intake that takes every recipient but "nobody", and
// remembers what it was shown.
type clerk struct {
	mu        sync.Mutex
	envelopes []milter.Envelope
	mails     []string
}

func (c *clerk) Recipient(_ context.Context, _ milter.Envelope, to string) (milter.Verdict, error) {
	if strings.HasPrefix(to, "nobody@") {
		return milter.Pass, &workflow.Refusal{Code: 550, Enhanced: "5.1.1", Text: "Nobody here is called nobody.", Reason: "unknown"}
	}
	return milter.Take, nil
}

func (c *clerk) Message(_ context.Context, e milter.Envelope, raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Contains(string(raw), "Subject: bad") {
		return &workflow.Refusal{Code: 554, Enhanced: "5.6.0", Text: "Your mail has no document.", Reason: "no-document"}
	}
	c.envelopes = append(c.envelopes, e)
	c.mails = append(c.mails, string(raw))
	return nil
}

// stage is a mail server whose milter is the real door with a clerk behind it.
func stage(t *testing.T) (*MailServer, *clerk, *milter.Door) {
	t.Helper()
	c := &clerk{}
	address := "unix:" + filepath.Join(t.TempDir(), "m.sock")
	ln, err := milter.Listen(address, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	door := &milter.Door{Domain: SignDomain, Intake: c, Log: log}
	go door.Serve(ln)
	s := &MailServer{Domain: MailDomain, SignDomain: SignDomain, Users: map[string]string{"jane.roe@corp.test": password},
		Milter: address, Boxes: NewMailboxes("jane.roe@corp.test", "john.doe@corp.test"), Log: log}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		door.Shutdown(ctx)
	})
	return s, c, door
}

const letter = "From: Jane Roe <jane.roe@corp.test>\r\nTo: someone\r\nSubject:  two blanks and\r\n a fold\r\nMessage-ID: <1@corp.test>\r\n\r\nHello.\r\n.dot\r\n\r\n"

func TestMixedMail(t *testing.T) {
	s, c, _ := stage(t)
	to := []string{"Self@Sign.Corp.Test", "john.doe@corp.test"}
	if err := Submit(s.Address(), "jane.roe@corp.test", password, "jane.roe@corp.test", to, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	in := s.Boxes.In("")
	if len(in) != 1 || in[0].Box != "john.doe@corp.test" || !strings.HasSuffix(string(in[0].Raw), letter) {
		t.Errorf("delivered: %+v", in)
	}
	if len(c.mails) != 1 || c.mails[0] != letter {
		t.Fatalf("milter was shown %q", c.mails)
	}
	e := c.envelopes[0]
	if e.Login != "jane.roe@corp.test" || e.From != "jane.roe@corp.test" || e.Client.String() != "127.0.0.1" || e.QueueID == "" ||
		len(e.Recipients) != 1 || !strings.EqualFold(e.Recipients[0], "self@sign.corp.test") {
		t.Errorf("envelope is %+v", e)
	}
}

func TestOrdinaryMailIsNotShown(t *testing.T) {
	s, c, _ := stage(t)
	if err := Submit(s.Address(), "", "", "jane.roe@corp.test", []string{"john.doe@corp.test"}, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	if in := s.Boxes.In("john.doe@corp.test"); len(in) != 1 || !strings.HasSuffix(string(in[0].Raw), letter) {
		t.Errorf("delivered: %+v", in)
	}
	if len(c.mails) != 0 {
		t.Errorf("milter was shown %q", c.mails)
	}
}

func TestRepliesReachTheClient(t *testing.T) {
	s, _, door := stage(t)
	for _, c := range []struct{ name, to, raw, want string }{
		{"at RCPT", "nobody@sign.corp.test", letter, "550 5.1.1 Nobody here is called nobody."},
		{"at the end", "self@sign.corp.test", strings.Replace(letter, "Subject:  two", "Subject: bad", 1), "554 5.6.0 Your mail has no document."},
		{"own rules", "who@corp.test", letter, "550 5.1.1 User unknown in local recipient table"},
		{"no relay", "a@example.org", letter, "554 5.7.1 Relay access denied"},
	} {
		err := Submit(s.Address(), "", "", "jane.roe@corp.test", []string{c.to}, []byte(c.raw))
		var e *smtp.SMTPError
		if !errors.As(err, &e) || refusal(err) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	if err := Submit(s.Address(), "jane.roe@corp.test", "wrong", "jane.roe@corp.test", []string{"john.doe@corp.test"}, []byte(letter)); err == nil {
		t.Error("a wrong password was taken")
	}
	if in := s.Boxes.In(""); len(in) != 0 {
		t.Errorf("delivered: %+v", in)
	}

	// default_action=tempfail.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	door.Shutdown(ctx)
	err := Submit(s.Address(), "", "", "jane.roe@corp.test", []string{"self@sign.corp.test"}, []byte(letter))
	if !strings.HasPrefix(refusal(err), "451 4.7.1") {
		t.Errorf("without a milter: %v", err)
	}
}

// Two mails on one connection, the second after a reset.
func TestOneConnection(t *testing.T) {
	s, c, _ := stage(t)
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	client := smtp.NewClient(conn)
	defer client.Close()
	for range 2 {
		if err := client.Mail("jane.roe@corp.test", nil); err != nil {
			t.Fatal(err)
		}
		if err := client.Rcpt("john.doe@sign.corp.test", nil); err != nil {
			t.Fatal(err)
		}
		if err := client.Reset(); err != nil {
			t.Fatal(err)
		}
		if err := client.SendMail("jane.roe@corp.test", []string{"self@sign.corp.test"}, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.mails) != 2 || len(s.Boxes.In("")) != 0 {
		t.Errorf("milter was shown %d mails, %d delivered", len(c.mails), len(s.Boxes.In("")))
	}
	if e := c.envelopes[1]; !slices.Equal(e.Recipients, []string{"self@sign.corp.test"}) {
		t.Errorf("recipients of the second mail: %q", e.Recipients)
	}
}
