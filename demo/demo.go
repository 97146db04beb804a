package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"milterd/config"
	"milterd/internal/ports"
	"milterd/pki"
	"milterd/postfix"
	"milterd/program"
	"milterd/workflow"
)

// Options say how the demo runs.
type Options struct {
	Once    bool           // both cases unattended, then the end
	Level   workflow.Level // of Once: Standard, Advanced with software in place of people's devices, Qualified with a stand-in for a provider
	Postfix bool           // a private Postfix instead of MailServer
	Port    int            // of the page with the mailboxes, the signing pages are on the next; 0: any
	Dir     string         // for mail/*.eml and signed/*.pdf of Once
	Verbose bool           // show the log
	Out     io.Writer      // what a person reads

	provider bool   // with a stand-in for a trust service provider
	cards    bool   // identity cards enrol devices, and certificates are registered at first use
	seal     bool   // which holds the organisation's seal, too
	phones   string // more of the configuration: where a server asks people's phones
}

// Run runs the demo until ctx ends, or with Once until it is done; then ok says
// whether everything was as it should be.
func Run(ctx context.Context, o Options) (ok bool, err error) {
	log := slog.New(slog.DiscardHandler)
	if o.Verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if o.Once {
		o.Port = 0
	}
	cast, err := everybody()
	if err != nil {
		return false, err
	}
	o.provider = true
	h, err := start(ctx, o, cast, log)
	if err != nil {
		return false, err
	}
	defer h.close()
	if o.Once {
		return h.once(ctx, o)
	}
	return true, h.show(ctx, o)
}

// house is the demo in operation: mail server, mailboxes and milterd.
type house struct {
	dir    string
	config string // path of milterd's configuration
	cast
	boxes   *Mailboxes
	mail    mailSystem
	program *program.Program
	stop    func()
	ended   chan error // what program.Run returned
	root    *x509.Certificate
	monitor string // host:port
	pages   string // base URL of the signing pages
	port    int    // of the page with the mailboxes

	provider *qtsp // nil: level Qualified is not offered
}

// mailSystem is what delivers into the mailboxes.
type mailSystem interface {
	Address() string
	Close() error
}

func start(ctx context.Context, o Options, c cast, log *slog.Logger) (_ *house, err error) {
	h := &house{cast: c, boxes: NewMailboxes(), port: o.Port}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.dir, err = os.MkdirTemp("", "milterd-demo-"); err != nil {
		return nil, err
	}
	milter := "unix:" + filepath.Join(h.dir, "milter.sock")
	lmtp := "unix:" + filepath.Join(h.dir, "lmtp.sock")
	if err := h.startMail(ctx, o, milter, lmtp, log); err != nil {
		return nil, err
	}
	cfg, err := h.configure(milter, lmtp, o)
	if err != nil {
		return nil, err
	}
	if _, err := program.Init(cfg, pki.RSA3072); err != nil {
		return nil, err
	}
	if h.program, err = program.Build(ctx, cfg, log); err != nil {
		return nil, err
	}
	roots, err := program.Roots(cfg)
	if err != nil {
		return nil, err
	}
	h.root = roots[0]
	run, stop := context.WithCancel(ctx)
	h.stop, h.ended = stop, make(chan error, 1)
	go func() { h.ended <- h.program.Run(run) }()
	if err := h.healthy(ctx); err != nil {
		return nil, err
	}
	if o.Postfix {
		// The private Postfix runs as user postfix, who is in no group of ours.
		for _, socket := range []string{milter, lmtp} {
			if err := os.Chmod(strings.TrimPrefix(socket, "unix:"), 0o666); err != nil {
				return nil, err
			}
		}
	}
	return h, nil
}

// startMail starts the mail server with a mailbox for everybody.
func (h *house) startMail(ctx context.Context, o Options, milter, lmtp string, log *slog.Logger) error {
	for _, p := range h.people {
		h.boxes.boxes[p.Mail] = true
	}
	if o.Postfix {
		var addresses []string
		for _, p := range h.people {
			addresses = append(addresses, p.Mail)
		}
		p, err := StartPostfix(ctx, postfix.Options{Dir: filepath.Join(h.dir, "postfix"), Milter: milter, LMTP: lmtp, SignDomain: SignDomain,
			Domain: MailDomain, Users: h.logins, Mailboxes: addresses, Postmaster: addresses[0]}, h.boxes)
		if err != nil {
			return err // not into h.mail: a nil *Postfix there would not be nil
		}
		h.mail = p
		return nil
	}
	s := &MailServer{Domain: MailDomain, SignDomain: SignDomain, Users: h.logins, Milter: milter, Boxes: h.boxes, Log: log}
	if err := s.Start(); err != nil {
		return err
	}
	h.mail = s
	return nil
}

// configure writes milterd's configuration and reads it as serve does.
func (h *house) configure(milter, lmtp string, o Options) (*config.Config, error) {
	if h.port == 0 {
		p, err := ports.Free(2) // the mailboxes' page and milterd's
		if err != nil {
			return nil, err
		}
		h.port = p
	}
	pages := h.port + 1
	monitor, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	h.monitor = fmt.Sprintf("127.0.0.1:%d", monitor)
	h.pages = fmt.Sprintf("http://localhost:%d", pages)
	users := filepath.Join(h.dir, "users.toml")
	if err := os.WriteFile(users, h.users, 0o644); err != nil {
		return nil, err
	}
	owner := "" // of a queue that the demo's own mail server does not have
	if _, real := h.mail.(*Postfix); real {
		owner = "postfix"
	}
	h.config = filepath.Join(h.dir, "milterd.toml")
	text := fmt.Sprintf(`# The demo's configuration.
domain = %q
url = %q
data = %q
[organisation]
name = "Example Corp"
vat = "LU12345678"
country = "LU"
[milter]
listen = %q
[lmtp]
listen = %q
received_by = "mx.%s"
mail_owner = %q
[http]
listen = "localhost:%d"
[monitor]
listen = %q
[smtp]
relay = %q
tls = "plain"
[directory]
users = %q
[limits]
mail = "25MiB"
[timestamps]
unsynchronised = true
`, SignDomain, h.pages, filepath.Join(h.dir, "data"), milter, lmtp, MailDomain, owner, pages, h.monitor, h.mail.Address(), users)
	if o.provider {
		p, more, err := startQTSP(h.dir, h.pages, h.people)
		if err != nil {
			return nil, err
		}
		if o.cards {
			more = "[enrolment]\nways = [\"device\", \"card\", \"administrator\"]\n" +
				strings.Replace(more, "[qualified]\n", "[qualified]\nregistered = \"first-use\"\n", 1)
		}
		h.provider = p
		text += more
		if o.seal {
			if more, err = p.seal(h.dir, "Example Corp"); err != nil {
				return nil, err
			}
			text += more
		}
		text += o.phones
	}
	if err := os.WriteFile(h.config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return config.Load(h.config)
}

// healthy waits until milterd says that it is.
func (h *house) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		select {
		case err := <-h.ended:
			h.ended <- err
			return fmt.Errorf("milterd ended at once: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
		var resp *http.Response
		if resp, last = http.Get("http://" + h.monitor + "/healthz"); last != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = errors.New(resp.Status)
	}
	return fmt.Errorf("milterd is not healthy: %w", last)
}

// close drains milterd, ends the mail server and drops every file.
func (h *house) close() error {
	var err error
	if h.stop != nil {
		h.stop()
		err = <-h.ended
	}
	if h.program != nil {
		h.program.Close()
	}
	if h.mail != nil {
		h.mail.Close()
	}
	if h.provider != nil {
		h.provider.Close()
	}
	if h.dir != "" && strings.Contains(h.dir, "milterd-demo-") {
		os.RemoveAll(h.dir)
	}
	return err
}

// show serves the page with the mailboxes until ctx ends.
func (h *house) show(ctx context.Context, o Options) error {
	handler, err := newPage(h.people, h.boxes, h.mail.Address(), h.verdict, h.program.Enrolments)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", h.port))
	if err != nil {
		return fmt.Errorf("demo's page: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	defer server.Close()
	fmt.Fprintf(o.Out, `Every mailbox:  http://localhost:%d/
Signing pages:  %s (from the links in the mails)
Mail server:    %s (every login's password is %q)
Qualified:      a %s holds everybody's key; the PIN is %s
Look inside:    milterd -c %s session list
End with Ctrl-C.
`, h.port, h.pages, h.mail.Address(), password, StandIn, standInPIN, h.config)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	case err := <-h.ended:
		h.ended <- err
		return err
	}
}
