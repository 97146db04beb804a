package csctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Config is what the stand-in works with.
type Config struct {
	// Issue makes a certificate for a user's key: the leaf and its issuers, DER.
	Issue func(pub crypto.PublicKey, user string) (leaf []byte, issuers [][]byte, err error)

	Version     int    // 2 or 1; 0 means 2
	Address     string // "127.0.0.1:8443"; empty: a free port
	TLS         bool   // with a certificate below Server.Roots
	ClientID    string
	Secret      string // empty: a public client
	RedirectURI string

	ClientCredentials bool // the client may have a token of its own, and name users
	BasicAuth         bool // wants the client's secret in the header
	RichRequests      bool // wants authorization_details
	HashURLSafe       bool // wants digests in JSON as base64url
	HashUnpadded      bool // wants digests without "="
	NamesFactor       bool // says invalid_pin and invalid_otp in version 2 too
	RawECDSA          bool // gives ECDSA values as r‖s; else DER

	Life time.Duration    // of SADs and credential tokens; 0 means 5 minutes
	Now  func() time.Time // nil means time.Now
}

// Server is a stand-in that runs. It is safe for concurrent use.
type Server struct {
	URL          string // base of the API, with the version
	AuthorizeURL string // OAuth2 page
	TokenURL     string // OAuth2 token endpoint
	Roots        *x509.CertPool

	c    Config
	http *http.Server
	stop chan struct{}
	end  sync.Once

	mu          sync.Mutex
	users       map[string]*User
	credentials map[string]*credential
	tokens      map[string]*token
	codes       map[string]*code
	sads        map[string]*authorisation
	handles     map[string]*authorisation
	behaviour   map[string]Behaviour // by call, "" for all
	requests    []Request
	refused     []string
}

// Request is one that arrived.
type Request struct {
	Call          string // "signatures/signHash", "oauth2/token"
	Method        string
	URL           string // path and query
	Authorization string
	Body          string
}

// kept bounds what Requests and Refused remember.
const kept = 500

// New starts a stand-in; Close ends it.
func New(c Config) (*Server, error) {
	if c.Version == 0 {
		c.Version = 2
	}
	if c.Address == "" {
		c.Address = "127.0.0.1:0"
	}
	if c.Life == 0 {
		c.Life = 5 * time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Issue == nil || c.ClientID == "" {
		return nil, errors.New("stand-in QTSP: Issue and ClientID are needed")
	}
	s := &Server{c: c, stop: make(chan struct{}), users: map[string]*User{}, credentials: map[string]*credential{}, tokens: map[string]*token{},
		codes: map[string]*code{}, sads: map[string]*authorisation{}, handles: map[string]*authorisation{}, behaviour: map[string]Behaviour{}}
	ln, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if c.TLS {
		scheme = "https"
		cert, err := s.certificate()
		if err != nil {
			ln.Close()
			return nil, err
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	origin := scheme + "://" + ln.Addr().String()
	s.URL = origin + strings.TrimSuffix(s.base(), "/")
	s.AuthorizeURL, s.TokenURL = origin+"/oauth2/authorize", origin+"/oauth2/token"
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go s.http.Serve(ln)
	return s, nil
}

// Close ends the server and whatever it is made to be slow about. It can be called twice.
func (s *Server) Close() error {
	s.end.Do(func() { close(s.stop) })
	return s.http.Close()
}

func (s *Server) base() string {
	if s.c.Version == 1 {
		return "/csc/v1/"
	}
	return "/csc/v2/"
}

// Requests are the last ones that arrived, whatever was answered.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Refused are the last requests that were refused: the call and why.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refused...)
}

// ForgetTokens makes every token unknown, as a restart there would.
func (s *Server) ForgetTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// certificate is the server's own for TLS; it is its own root.
func (s *Server) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "stand-in QTSP"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	s.Roots = x509.NewCertPool()
	s.Roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// random is an opaque value.
func random() string { return rand.Text() }
