package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"milterd/workflow"
)

// relay is a go-smtp server that keeps what it got.
type relay struct {
	mu   sync.Mutex
	got  []delivered
	user string // whose login with password "secret" is accepted
}

type delivered struct {
	from, to, user, helo string
	utf8, tls            bool
	size                 int64
	data                 []byte
}

type relaySession struct {
	r *relay
	c *smtp.Conn
	d delivered
}

func (r *relay) NewSession(c *smtp.Conn) (smtp.Session, error) { return &relaySession{r: r, c: c}, nil }

func (s *relaySession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *relaySession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != s.r.user || pass != "secret" {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "Who are you?"}
		}
		s.d.user = user
		return nil
	}), nil
}

func (s *relaySession) Mail(from string, o *smtp.MailOptions) error {
	_, s.d.tls = s.c.TLSConnectionState()
	s.d.from, s.d.utf8, s.d.size, s.d.helo = from, o.UTF8, o.Size, s.c.Hostname()
	return nil
}

func (s *relaySession) Rcpt(to string, _ *smtp.RcptOptions) error { s.d.to = to; return nil }

func (s *relaySession) Data(r io.Reader) (err error) {
	if s.d.data, err = io.ReadAll(r); err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.got = append(s.r.got, s.d)
	return nil
}

func (s *relaySession) Reset()        { s.d.from, s.d.to, s.d.data = "", "", nil }
func (s *relaySession) Logout() error { return nil }

// startRelay serves until the test ends. A nil config means no TLS.
func startRelay(t *testing.T, ln net.Listener, config *tls.Config) *relay {
	t.Helper()
	r := &relay{user: "milterd"}
	s := smtp.NewServer(r)
	s.Domain, s.TLSConfig, s.AllowInsecureAuth, s.EnableSMTPUTF8 = "localhost", config, true, true
	s.MaxMessageBytes = 100 << 20
	s.ErrorLog = quietLog{}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	return r
}

type quietLog struct{}

func (quietLog) Printf(string, ...any) {}
func (quietLog) Println(...any)        {}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func certificate(t *testing.T, host string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

// localhost names a listener as a certificate can.
func localhost(ln net.Listener) string {
	return fmt.Sprintf("localhost:%d", ln.Addr().(*net.TCPAddr).Port)
}

func TestDelivery(t *testing.T) {
	good, roots := certificate(t, "localhost")
	other, _ := certificate(t, "other.test")
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate today") }}
	for name, c := range map[string]struct {
		server  *tls.Config
		relay   Relay
		unix    bool
		wantTLS bool
		fails   string
	}{
		"plain":                            {relay: Relay{}},
		"plain though TLS is offered":      {server: good},
		"unix":                             {unix: true},
		"login":                            {relay: Relay{User: "milterd", Pass: "secret"}},
		"wrong login":                      {relay: Relay{User: "milterd", Pass: "guess"}, fails: "535"},
		"required":                         {server: good, relay: Relay{TLS: Required, Roots: roots, User: "milterd", Pass: "secret"}, wantTLS: true},
		"required, not offered":            {relay: Relay{TLS: Required, Roots: roots}, fails: "STARTTLS"},
		"required, other name":             {server: other, relay: Relay{TLS: Required, Roots: roots}, fails: "certificate"},
		"required, unknown root":           {server: good, relay: Relay{TLS: Required, Roots: x509.NewCertPool()}, fails: "certificate"},
		"opportunistic":                    {server: other, relay: Relay{TLS: Opportunistic}, wantTLS: true},
		"opportunistic, not offered":       {relay: Relay{TLS: Opportunistic}},
		"opportunistic, broken handshake":  {server: broken, relay: Relay{TLS: Opportunistic}},
		"opportunistic, with a login here": {server: good, relay: Relay{TLS: Opportunistic, User: "milterd", Pass: "secret"}, wantTLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t)
			c.relay.Address = localhost(ln)
			if c.unix {
				path := filepath.Join(t.TempDir(), "relay")
				var err error
				if ln, err = net.Listen("unix", path); err != nil {
					t.Fatal(err)
				}
				c.relay.Address = "unix:" + path
			}
			r := startRelay(t, ln, c.server)
			n := testNotifier(t, c.relay)
			notice := cases("de")["invitation"]
			err := n.Send(context.Background(), notice)
			if c.fails != "" {
				var drop workflow.Drop
				if err == nil || !strings.Contains(err.Error(), c.fails) || errors.As(err, &drop) || len(r.got) > 0 {
					t.Fatalf("got %v with %d mails, want an error with %q", err, len(r.got), c.fails)
				}
				return
			}
			if err != nil || len(r.got) != 1 {
				t.Fatalf("got %v with %d mails", err, len(r.got))
			}
			want, err := n.Compose(notice)
			if err != nil {
				t.Fatal(err)
			}
			got := r.got[0]
			if !bytes.Equal(got.data, want) {
				t.Errorf("the mail arrived changed:\n%s", firstDifference(got.data, want))
			}
			if got.from != n.Bounce(notice.Mailing()) || got.to != "john.doe@corp.test" || got.helo != "sign.corp.test" ||
				got.size != int64(len(want)) || got.utf8 || got.tls != c.wantTLS || got.user != c.relay.User {
				got.data = nil
				t.Errorf("envelope %+v", got)
			}
		})
	}
}

func TestLargeMail(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln, nil)
	n := testNotifier(t, Relay{Address: ln.Addr().String()})
	notice := cases("en")["result"]
	notice.Attachments[0].Content = bytes.Repeat([]byte(".\r\n.x\r\n"), 3<<20)
	start := time.Now()
	if err := n.Send(context.Background(), notice); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes took %v", len(r.got[0].data), time.Since(start))
	if m := parse(t, r.got[0].data); !bytes.Equal(m.files[0].Content, notice.Attachments[0].Content) {
		t.Error("the attachment arrived changed")
	}
}

func TestSMTPUTF8OnlyWhenNeeded(t *testing.T) {
	ln := listen(t)
	r := startRelay(t, ln, nil)
	n := testNotifier(t, Relay{Address: ln.Addr().String()})
	notice := cases("en")["code"]
	notice.Session.People[zoe].Mail = "zoë@bücher.test"
	if err := n.Send(context.Background(), notice); err != nil {
		t.Fatal(err)
	}
	if got := r.got[0]; !got.utf8 || got.to != "zoë@xn--bcher-kva.test" {
		t.Errorf("SMTPUTF8 %v, to %q", got.utf8, got.to)
	}
}

// scripted is a relay that answers each stage with a line; "stall" answers
// nothing, "hangup" closes.
func scripted(t *testing.T, answers map[string]string) (address string, sessions func() int) {
	t.Helper()
	ln := listen(t)
	var mu sync.Mutex
	count := 0
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			count++
			mu.Unlock()
			go func() {
				defer c.Close()
				play(c, answers, done)
			}()
		}
	}()
	return ln.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return count }
}

func play(c net.Conn, answers map[string]string, done chan struct{}) {
	r := bufio.NewReader(c)
	say := func(stage, normal string) bool {
		switch a := answers[stage]; a {
		case "stall":
			<-done
			return false
		case "hangup":
			return false
		case "":
			fmt.Fprintf(c, "%s\r\n", normal)
		default:
			fmt.Fprintf(c, "%s\r\n", a)
		}
		return true
	}
	if !say("greeting", "220 relay.test ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		ok := true
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "DATA":
			if ok = say("DATA", "354 go ahead"); !ok || answers["DATA"] != "" {
				break
			}
			if answers["body"] == "stall" {
				<-done
				return
			}
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			ok = say("dot", "250 2.0.0 queued")
		default:
			ok = say(verb, "250 fine")
		}
		if !ok {
			return
		}
	}
}

func TestRepliesOfTheRelay(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string
		drop    bool
		ok      bool
		says    string
	}{
		"all is well":           {ok: true},
		"unknown user":          {answers: map[string]string{"RCPT": "550 5.1.1 No such user here"}, drop: true, says: "No such user here"},
		"mailbox full for now":  {answers: map[string]string{"RCPT": "452 4.2.2 Mailbox full"}, says: "Mailbox full"},
		"busy":                  {answers: map[string]string{"greeting": "421 4.3.2 Too busy"}, says: "Too busy"},
		"no greeting for us":    {answers: map[string]string{"greeting": "554 5.7.1 Go away"}, says: "Go away"},
		"sender refused":        {answers: map[string]string{"MAIL": "550 5.7.1 Sender rejected"}, says: "Sender rejected"},
		"no data":               {answers: map[string]string{"DATA": "451 4.3.0 Disk full"}, says: "Disk full"},
		"content refused":       {answers: map[string]string{"dot": "554 5.7.1 Looks like spam"}, says: "Looks like spam"},
		"content deferred":      {answers: map[string]string{"dot": "451 4.7.1 Greylisted"}, says: "Greylisted"},
		"gone at the greeting":  {answers: map[string]string{"greeting": "hangup"}, says: "EOF"},
		"gone at RCPT":          {answers: map[string]string{"RCPT": "hangup"}, says: "EOF"},
		"gone after the dot":    {answers: map[string]string{"dot": "hangup"}, says: "end of the message"},
		"stall at the greeting": {answers: map[string]string{"greeting": "stall"}, says: "timeout"},
		"stall at MAIL":         {answers: map[string]string{"MAIL": "stall"}, says: "timeout"},
		"stall in the body":     {answers: map[string]string{"body": "stall"}, says: "timeout"},
		"stall after the dot":   {answers: map[string]string{"dot": "stall"}, says: "timeout"},
		"no goodbye":            {answers: map[string]string{"QUIT": "hangup"}, ok: true},
		"stall at the goodbye":  {answers: map[string]string{"QUIT": "stall"}, ok: true},
		"error at the goodbye":  {answers: map[string]string{"QUIT": "550 5.0.0 No"}, ok: true},
		"a line without an end": {answers: map[string]string{"MAIL": "250 " + strings.Repeat("x", 1<<16)}, says: "MAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, _ := scripted(t, c.answers)
			n := testNotifier(t, Relay{Address: address, Command: 300 * time.Millisecond, Data: 300 * time.Millisecond})
			notice := cases("en")["code"]
			if c.answers["body"] == "stall" { // more than the sockets hold
				notice = cases("en")["result"]
				notice.Attachments[0].Content = make([]byte, 16<<20)
			}
			start := time.Now()
			err := n.Send(context.Background(), notice)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if c.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var rejected workflow.Rejected
			if name == "unknown user" && (!errors.As(err, &rejected) || rejected.Failure != workflow.Failure{Status: "5.1.1", Diagnostic: "550 5.1.1 No such user here"}) {
				t.Errorf("the server's words are %+v", rejected)
			}
			_, drop := err.(workflow.Drop) // not wrapped: whoever runs the job may look at the type
			if err == nil || drop != c.drop || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (drop %v), want %q (drop %v)", err, drop, c.says, c.drop)
			}
			if err != nil && notice.Code != "" && strings.Contains(err.Error(), notice.Code) {
				t.Error("the error tells the code")
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	ln := listen(t)
	ln.Close()
	n := testNotifier(t, Relay{Address: ln.Addr().String()})
	var drop workflow.Drop
	if err := n.Send(context.Background(), cases("en")["code"]); err == nil || errors.As(err, &drop) {
		t.Errorf("got %v", err)
	}
}

func TestWrongNoticeIsDropped(t *testing.T) {
	n := testNotifier(t, Relay{})
	x := cases("en")["invitation"]
	x.Session.People[john].Mail = "no address"
	if _, ok := n.Send(context.Background(), x).(workflow.Drop); !ok {
		t.Error("a notice that can never be sent would be tried again")
	}
}

// A stopping program hangs up before the message is complete, but after the
// final dot it waits for the answer: else the next start would send it again.
func TestStopping(t *testing.T) {
	address, _ := scripted(t, map[string]string{"RCPT": "stall"})
	n := testNotifier(t, Relay{Address: address})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := n.Send(ctx, cases("en")["code"]); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
		t.Errorf("before the dot: %v after %v", err, time.Since(start))
	}

	ln := listen(t)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		play(slowDot{c}, nil, nil)
	}()
	n = testNotifier(t, Relay{Address: ln.Addr().String()})
	ctx, cancel = context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := n.Send(ctx, cases("en")["code"]); err != nil {
		t.Errorf("after the dot: %v", err)
	}
}

// slowDot lets the answer to the message take longer than the program runs.
type slowDot struct{ net.Conn }

func (c slowDot) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("queued")) {
		time.Sleep(600 * time.Millisecond)
	}
	return c.Conn.Write(p)
}

func TestConfigIsChecked(t *testing.T) {
	ok := Config{Domain: "sign.corp.test", Organisation: "Example Corp", Master: make([]byte, 32), Relay: Relay{Address: "mx.corp.test:25"}}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Config){
		"sign domain":      func(c *Config) { c.Domain = "not a domain" },
		"organisation":     func(c *Config) { c.Organisation = "\n" },
		"master key":       func(c *Config) { c.Master = c.Master[:31] },
		"address":          func(c *Config) { c.Relay.Address = "mx.corp.test" },
		"absolute path":    func(c *Config) { c.Relay.Address = "unix:relay" },
		"tls \"maybe\"":    func(c *Config) { c.Relay.TLS = "maybe" },
		"not on a unix":    func(c *Config) { c.Relay.Address, c.Relay.TLS = "unix:/run/relay", Required },
		"login: wants tls": func(c *Config) { c.Relay.User = "x" },
		"timeouts":         func(c *Config) { c.Relay.Dial = -1 },
	} {
		c := ok
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
