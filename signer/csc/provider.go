package csc

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"
)

// Secret is a value that never shows itself: it prints and logs as "[secret]".
type Secret string

// String hides the value; string(s) is the value.
func (Secret) String() string { return "[secret]" }

// GoString hides the value from %#v.
func (Secret) GoString() string { return "[secret]" }

// LogValue hides the value from package slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the value from encoders such as encoding/json.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

var (
	_ fmt.Stringer   = Secret("")
	_ slog.LogValuer = Secret("")
)

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
	BareKeyOID   bool // signAlgo is 1.2.840.113549.1.1.1 for RSA even where the provider lists more exact ones

	Roots   *x509.CertPool // for TLS; nil means the system's
	Timeout time.Duration  // of one call; 0 means 30 s
}

// Client talks to one provider. It is safe for concurrent use.
type Client struct {
	p   Provider
	now func() time.Time
}

// New checks the configuration: addresses, version, client.
func New(p Provider) (*Client, error) { panic("csc: its body is in the next commit") }

// Provider's Name, for people.
func (c *Client) Name() string { return c.p.Name }
