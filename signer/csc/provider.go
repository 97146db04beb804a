package csc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Secret is a value that never shows itself: it prints and logs as "[secret]".
type Secret string

// String hides the value; string(s) is the value.
func (Secret) String() string { return "[secret]" }

// Format hides the value from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue hides the value from package slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the value from encoders such as encoding/json.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Provider is a QTSP as it is configured. Addresses are https; http is taken for
// loopback only.
type Provider struct {
	Name    string // for people: "Example Trust"
	URL     string // base with the version: "https://sign.example.com/csc/v2"
	Version int    // of the API: 2 or 1; 0 means 2

	ClientID string
	Secret   Secret // the client's password at TokenURL; empty: a public client, which has PKCE only

	AuthorizeURL string // OAuth2 page for people: ".../oauth2/authorize"; empty: none
	TokenURL     string // OAuth2 token endpoint: ".../oauth2/token"
	RedirectURI  string // our address that the page sends the browser back to, as registered with the provider

	// ClientCredentials gets the service's own token by client_id and Secret. Without
	// it a person signs in first (SignIn), or a token for one credential is all there is.
	ClientCredentials bool

	BasicAuth    bool // client_id and Secret in an Authorization header, not in the form
	RichRequests bool // authorization_details (RFC 9396) in place of credentialID, numSignatures and hashes
	HashURLSafe  bool // digests in JSON as base64url; else standard base64
	HashUnpadded bool // digests in JSON and addresses without "=" at the end

	Roots   *x509.CertPool // for TLS; nil means the system's
	Timeout time.Duration  // of one call; 0 means 30 s
}

// Client talks to one provider. It is safe for concurrent use.
type Client struct {
	unprinted
	p    Provider
	http *http.Client
	now  func() time.Time

	service chan *Token // the service's own token, nil for none; whoever holds it may fetch another
}

// New checks the configuration: addresses, version, client.
func New(p Provider) (*Client, error) {
	if p.Version == 0 {
		p.Version = 2
	}
	if p.Timeout == 0 {
		p.Timeout = 30 * time.Second
	}
	p.URL = strings.TrimSuffix(p.URL, "/")
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("QTSP %q: %w", p.Name, err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12}
	t.MaxResponseHeaderBytes = 64 << 10
	c := &Client{p: p, now: time.Now, service: make(chan *Token, 1), http: &http.Client{
		Transport: t,
		// An address that moved is for the administrator to know; a token or PIN must
		// not follow it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	c.service <- nil
	return c, nil
}

// check names the field that is wrong and what would be right.
func (p *Provider) check() error {
	switch {
	case p.Name == "":
		return errors.New("Name is empty; it is what people read")
	case p.Version != 1 && p.Version != 2:
		return fmt.Errorf("Version is %d, want 2 or 1", p.Version)
	case p.ClientID == "":
		return errors.New("ClientID is empty; the provider gives it")
	case p.ClientCredentials && p.Secret == "":
		return errors.New("ClientCredentials needs a Secret")
	case p.ClientCredentials && p.TokenURL == "", p.AuthorizeURL != "" && p.TokenURL == "":
		return errors.New("TokenURL is empty; the provider's oauth2/token")
	case p.AuthorizeURL != "" && p.RedirectURI == "":
		return errors.New("RedirectURI is empty; our address, as registered with the provider")
	case p.AuthorizeURL == "" && !p.ClientCredentials:
		return errors.New("neither ClientCredentials nor AuthorizeURL: no call could be authorised")
	case p.RichRequests && p.Version == 1:
		return errors.New("RichRequests is of version 2")
	case p.Timeout < 0:
		return errors.New("Timeout is negative")
	}
	for field, address := range map[string]string{"URL": p.URL, "AuthorizeURL": p.AuthorizeURL, "TokenURL": p.TokenURL, "RedirectURI": p.RedirectURI} {
		if address == "" && field != "URL" {
			continue
		}
		if err := checkAddress(address); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}

// checkAddress takes https, and http for this machine. The error does not repeat
// the address: a password could stand in it.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("no address; want https://host/path")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("name, password, query and fragment have no place in it")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("want https; http is for loopback only")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Name is the provider's, for people.
func (c *Client) Name() string { return c.p.Name }
