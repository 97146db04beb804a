package openotp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"milterd/signer/csc"
)

// Scope says whose certificates sign (7.3).
type Scope string

// The scopes.
const (
	Local  Scope = "Local"  // the organisation's own authority: Advanced
	Global Scope = "Global" // the vendor's authority: Advanced
	EIDAS  Scope = "eIDAS"  // an identity card or another QSCD: Qualified
)

// Mode is the form of the signature.
type Mode string

// The modes.
const (
	Auto  Mode = "auto"
	CAdES Mode = "cades"
	PAdES Mode = "pades"
)

// Server is an OpenOTP server as it is configured. Its address is https; http is
// taken for loopback only.
type Server struct {
	Name    string     // for people
	URL     string     // "https://webadm.corp.com:8443/openotp/"
	APIKey  csc.Secret // sent as WA-API-Key; may be empty
	Client  string     // client id, by which the server finds its policy
	Domain  string     // where people are looked up
	Issuer  string     // who asks, as the phone shows it
	Roots   *x509.CertPool
	Timeout time.Duration // of one call; 0 means 60 s
}

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	s    Server
	http *http.Client
	now  func() time.Time
}

// New checks the configuration.
func New(s Server) (*Client, error) {
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("OpenOTP %q: URL: want https://host/path, without name, password, query", s.Name)
	}
	address, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && address.IsLoopback()
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback):
		return nil, fmt.Errorf("OpenOTP %q: URL: want https; http is for loopback only", s.Name)
	case s.Name == "" || s.Client == "":
		return nil, errors.New("OpenOTP: Name and Client are needed")
	case s.Timeout < 0:
		return nil, fmt.Errorf("OpenOTP %q: Timeout is negative", s.Name)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	return &Client{s: s, now: time.Now, http: &http.Client{
		Transport: t,
		// A document must not follow a redirect.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name is the server's, for people.
func (c *Client) Name() string { return c.s.Name }

// Format shows nothing of a client: its server's key is in it.
func (Client) Format(f fmt.State, _ rune) { fmt.Fprint(f, "OpenOTP client") }

// Order is what a person is asked to sign or confirm.
type Order struct {
	User   string        // login, UPN or mail address, as the server is configured
	Text   string        // what the phone shows
	File   []byte        // the document; may be empty for Confirm
	Mode   Mode          // of Sign; empty: Auto
	Scope  Scope         // of Sign; empty: the server's policy
	Life   time.Duration // until it is cancelled; at most 30 days, 0 means 7
	Source string        // the asking person's address, an IP; may be empty
}

// Session is an order that is under way. It can be kept as JSON.
type Session struct {
	ID      string    `json:"id"`
	Confirm bool      `json:"confirm"` // else a signature
	Expires time.Time `json:"expires"`
}

// Result is what has become of an order.
type Result struct {
	Done        bool              // else it is pending
	File        []byte            // signed; empty if none was ordered
	Certificate *x509.Certificate // that signed; nil if the server does not say
	Comment     string            // of the person, one line; may be empty
}

const (
	defaultLife = 7 * 24 * time.Hour
	maxLife     = 30 * 24 * time.Hour // section 6
)

// parts are those that every order has, in the order of the messages (7.2.1, 7.3.1).
func (c *Client) parts(o Order, sign bool) ([]part, error) {
	life := o.Life
	if life == 0 {
		life = defaultLife
	}
	settings := ""
	if o.Scope != "" {
		settings = "SignScope=" + string(o.Scope)
	}
	switch {
	case o.User == "" || o.Text == "":
		return nil, errors.New("an order needs a user and a text")
	case life < time.Second || life > maxLife:
		return nil, fmt.Errorf("a life of %s, at most 30 days", life)
	case sign && len(o.File) == 0:
		return nil, errors.New("nothing to sign")
	case o.Scope != "" && o.Scope != Local && o.Scope != Global && o.Scope != EIDAS:
		return nil, fmt.Errorf("scope %q", o.Scope)
	}
	p := []part{{"username", o.User}, {"domain", c.s.Domain}, {"data", o.Text}, {"file", base64.StdEncoding.EncodeToString(o.File)}}
	if sign {
		mode := o.Mode
		if mode == "" {
			mode = Auto
		}
		p = append(p, part{"mode", string(mode)})
	}
	return append(p, part{"async", "true"}, part{"timeout", strconv.Itoa(int(life.Seconds()))}, part{"issuer", c.s.Issuer}, part{"client", c.s.Client},
		part{"source", o.Source}, part{"settings", settings}), nil
}

// Sign has a document sent to the person's phone (openotpNormalSign).
func (c *Client) Sign(ctx context.Context, o Order) (*Session, error) {
	return c.order(ctx, "openotpNormalSign", o, true)
}

// Confirm has a text, with or without a document, confirmed on the phone
// (openotpNormalConfirm).
func (c *Client) Confirm(ctx context.Context, o Order) (*Session, error) {
	return c.order(ctx, "openotpNormalConfirm", o, false)
}

func (c *Client) order(ctx context.Context, method string, o Order, sign bool) (*Session, error) {
	p, err := c.parts(o, sign)
	if err != nil {
		return nil, c.fail(method, BadOrder, err)
	}
	a, err := c.call(ctx, method, p)
	if err != nil {
		return nil, err
	}
	return c.session(method, a, 2, !sign)
}

// session reads the answer to an order; code is the one that means it is under way.
func (c *Client) session(method string, a answer, code int, confirm bool) (*Session, error) {
	s := &Session{ID: a["session"], Confirm: confirm}
	seconds, err := strconv.Atoi(a["timeout"])
	switch {
	case a.code() != code:
		return nil, c.fail(method, WrongAnswer, fmt.Errorf("code %d, want %d", a.code(), code))
	case !soundID(s.ID):
		return nil, c.fail(method, WrongAnswer, errors.New("no session"))
	case err != nil || seconds < 1 || time.Duration(seconds) > maxLife/time.Second:
		return nil, c.fail(method, WrongAnswer, errors.New("no timeout, or one beyond 30 days"))
	}
	s.Expires = c.now().Add(time.Duration(seconds) * time.Second)
	return s, nil
}

func soundID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// SignQR gives an image (PNG) that the person scans to fetch the document
// (openotpSignQRCode).
func (c *Client) SignQR(ctx context.Context, o Order) (*Session, []byte, error) {
	const method = "openotpSignQRCode"
	p, err := c.parts(o, true)
	if err != nil {
		return nil, nil, c.fail(method, BadOrder, err)
	}
	a, err := c.call(ctx, method, append(p, part{"qrFormat", "PNG"}, part{"qrSizing", "5"}, part{"qrMargin", "3"}))
	if err != nil {
		return nil, nil, err
	}
	s, err := c.session(method, a, 1, false)
	if err != nil {
		return nil, nil, err
	}
	image, err := c.image(method, a)
	return s, image, err
}

// image is a PNG.
func (c *Client) image(method string, a answer) ([]byte, error) {
	b, err := a.bytes("qrImage")
	if err != nil || !strings.HasPrefix(string(b), "\x89PNG\r\n\x1a\n") {
		return nil, c.fail(method, WrongAnswer, errors.New("qrImage is no PNG"))
	}
	return b, nil
}

func (s *Session) method(what string) string {
	if s.Confirm {
		return "openotp" + what + "Confirm"
	}
	return "openotp" + what + "Sign"
}

// Check asks what has become of an order (openotpCheckSign, openotpCheckConfirm). The
// error is Denied if the person said no, Expired if the server knows it no more.
func (c *Client) Check(ctx context.Context, s *Session) (*Result, error) {
	method := s.method("Check")
	a, err := c.call(ctx, method, []part{{"session", s.ID}})
	if err != nil {
		return nil, err
	}
	switch a.code() {
	case 2:
		return &Result{}, nil
	case 1:
	default:
		return nil, c.fail(method, WrongAnswer, fmt.Errorf("code %d", a.code()))
	}
	r := &Result{Done: true, Comment: clean(a["comment"], maxSaid)}
	if a["file"] == "" && !s.Confirm {
		return nil, c.fail(method, WrongAnswer, errors.New("signed, and no file"))
	}
	if r.File, err = a.bytes("file"); err != nil {
		return nil, c.fail(method, WrongAnswer, errors.New("file is no base64"))
	}
	der, err := a.bytes("cert")
	if err != nil {
		return nil, c.fail(method, WrongAnswer, errors.New("cert is no base64"))
	}
	if len(der) > 0 {
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		if r.Certificate, err = x509.ParseCertificate(der); err != nil {
			return nil, c.fail(method, WrongAnswer, fmt.Errorf("cert: %w", err))
		}
	}
	return r, nil
}

// Wait is Check until the order is done, every so often. A server that is away for a
// while is waited for too.
func (c *Client) Wait(ctx context.Context, s *Session, every time.Duration) (*Result, error) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		r, err := c.Check(ctx, s)
		var e *Error
		away := errors.As(err, &e) && e.Reason == Away && ctx.Err() == nil && c.now().Before(s.Expires)
		if err != nil && !away || err == nil && r.Done {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, c.fail(s.method("Check"), Away, ctx.Err())
		case <-t.C:
		}
	}
}

// Touch reminds the person by another push, if push is true, and gives a code to scan
// in its place (openotpTouchSign, openotpTouchConfirm).
func (c *Client) Touch(ctx context.Context, s *Session, push bool) (image []byte, err error) {
	method := s.method("Touch")
	a, err := c.call(ctx, method, []part{{"session", s.ID}, {"sendPush", strconv.FormatBool(push)}, {"qrFormat", "PNG"}, {"qrSizing", "5"}, {"qrMargin", "3"}})
	if err != nil {
		return nil, err
	}
	return c.image(method, a)
}

// Cancel takes an order back (openotpCancelSign, openotpCancelConfirm).
func (c *Client) Cancel(ctx context.Context, s *Session) error {
	a, err := c.call(ctx, s.method("Cancel"), []part{{"session", s.ID}})
	if err == nil && a.code() != 1 {
		err = c.fail(s.method("Cancel"), WrongAnswer, fmt.Errorf("code %d", a.code()))
	}
	return err
}

// List gives what is pending at the server, as the JSON that it keeps (7.6); its form is
// not documented.
func (c *Client) List(ctx context.Context) (json.RawMessage, error) {
	const method = "openotpList"
	a, err := c.call(ctx, method, nil)
	if err != nil {
		return nil, err
	}
	if a.code() != 1 || !json.Valid([]byte(a["jsonData"])) {
		return nil, c.fail(method, WrongAnswer, errors.New("jsonData is no JSON"))
	}
	return json.RawMessage(a["jsonData"]), nil
}

// Seal has the server's own seal put on a file (7.5).
func (c *Client) Seal(ctx context.Context, file []byte, mode Mode) ([]byte, error) {
	const method = "openotpSeal"
	if len(file) == 0 {
		return nil, c.fail(method, BadOrder, errors.New("nothing to seal"))
	}
	a, err := c.call(ctx, method, []part{{"file", base64.StdEncoding.EncodeToString(file)}, {"mode", string(mode)}, {"client", c.s.Client}, {"source", ""}, {"settings", ""}})
	if err != nil {
		return nil, err
	}
	out, err := a.bytes("file")
	if a.code() != 1 || err != nil || len(out) == 0 {
		return nil, c.fail(method, WrongAnswer, errors.New("no sealed file"))
	}
	return out, nil
}
