package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// Desk is what the pages need of workflow.Desk.
type Desk interface {
	Visit(ctx context.Context, token string) (workflow.Visit, error)
	View(ctx context.Context, v workflow.Visit, document int, client string) ([]byte, workflow.Revision, error)
	Sign(ctx context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, client string, consume workflow.Consume) error
	Decline(ctx context.Context, v workflow.Visit, comment, client string) error
	Ready(ctx context.Context) error
	Foreign(ctx context.Context, v workflow.Visit, client string, err error)

	// For signatures by the signatories' own keys.
	Prepare(ctx context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, certificate, client string) (*workflow.Preparation, error)
	PreparedContent(ctx context.Context, v workflow.Visit, id string, document int) ([]byte, error)
	Keep(ctx context.Context, v workflow.Visit, id string) (until time.Time, err error)
	Abandon(ctx context.Context, v workflow.Visit, id, failed, client string) error
	Finish(ctx context.Context, v workflow.Visit, id string, values [][]byte, client string, consume workflow.Consume) error
	Certify(ctx context.Context, v workflow.Visit, csr []byte, credential, by, client string) (chain [][]byte, serial string, err error)
	Renew(ctx context.Context, v workflow.Visit, csr []byte, serial string, proof []byte, client string) (chain [][]byte, newSerial string, err error)
	PrepareOffer(ctx context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, o workflow.Offer, client string) (*workflow.Preparation, error)
	Prepared(ctx context.Context, v workflow.Visit, id string) (*workflow.Preparation, *workflow.Acceptance, error)
	Leave(ctx context.Context, v workflow.Visit, id string) (until time.Time, err error)
	FinishOffer(ctx context.Context, v workflow.Visit, id string, values [][]byte, client string) error
	Refused(ctx context.Context, v workflow.Visit, id, client string, err error) error
	RemoveDevice(ctx context.Context, v workflow.Visit, id, client string) error
}

// Mailbox is what the pages need of auth.Mailbox.
type Mailbox interface {
	RequestCode(ctx context.Context, v workflow.Visit, client string) (expires time.Time, err error)
	Open(ctx context.Context, v workflow.Visit, code, client, agent string) (cookie string, expires time.Time, err error)
	Remembered(ctx context.Context, v workflow.Visit, cookie string) (enrolled string, ok bool)
	ForSigning(ctx context.Context, v workflow.Visit, code, client string) (consume workflow.Consume, err error)
}

// Config is what the pages are built from.
type Config struct {
	Desk         Desk
	Mailbox      Mailbox
	Held         Held           // nil: no mail is ever held
	Verifier     Verifier       // nil: there is no verification page
	MaxFile      int64          // bytes of a file that is to be verified
	Passkeys     Passkeys       // nil: none can be used
	Enrolments   Enrolments     // nil: no device can be enrolled
	TOTP         TOTP           // nil: no one-time passwords
	Remote       Remote         // nil: no keys at trust service providers
	Phones       Phones         // nil: no signatures on phones by a server that gets the documents
	Card         bool           // identity cards sign, too (Web eID)
	Credentials  Credentials    // what is enrolled; needed with the three before
	Proofs       auth.Proofs    // that each level accepts; nil: Standard by code
	Organisation string         // as people know it, in every page's head
	URL          string         // base of all links, https://sign.corp.com; http is for localhost and proxies
	Domain       string         // the sign domain, for the start page
	Proxies      []netip.Prefix // whose X-Forwarded-For is believed; empty for none
	Log          *slog.Logger
	// Mount adds handlers of other rooms by ServeMux pattern ("GET /healthz",
	// "GET /pki/"). They get the security headers, and no other protection.
	Mount map[string]http.Handler
}

// site is the handler that New builds.
type site struct {
	Config
	base    *url.URL
	origin  *http.CrossOriginProtection
	clients *limiter // requests by client address
	tokens  *limiter // requests by link
	guesses *limiter // codes tried by link
	sends   *limiter // codes that a provider sends, by person: they cost it money, and a phone its peace
	files   *limiter // files to verify by client address
	assets  *assets
	now     func() time.Time
}

// New builds the handler for everything that people's browsers ask for.
func New(c Config) (http.Handler, error) {
	if c.Desk == nil || c.Mailbox == nil || c.Log == nil {
		return nil, errors.New("web: desk, mailbox and log are needed")
	}
	if err := c.checkProofs(); err != nil {
		return nil, err
	}
	base, err := url.Parse(c.URL)
	if err != nil || (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" ||
		strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("web: %q is no base address: want https://HOST", c.URL)
	}
	s := &site{
		Config:  c,
		base:    base,
		origin:  http.NewCrossOriginProtection(),
		clients: newLimiter(20, 120),
		tokens:  newLimiter(4, 60),
		guesses: newLimiter(0.5, 10),
		sends:   newLimiter(1./60, 3),
		files:   newLimiter(0.1, 6),
		now:     time.Now,
	}
	// Behind a proxy that rewrites Host, the browser's Origin is still ours.
	if err := s.origin.AddTrustedOrigin(base.Scheme + "://" + base.Host); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if s.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return s.routes(), nil
}

// routes lays out the mux. Every path that changes something takes POST alone.
func (s *site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.startPage)
	mux.HandleFunc("GET /s", s.signPage)
	mux.HandleFunc("GET /c", s.signPage)
	mux.HandleFunc("GET /static/{version}/{path...}", s.assets.serve)
	mux.HandleFunc("GET /favicon.ico", s.assets.icon)
	mux.HandleFunc("GET /robots.txt", robots)
	mux.Handle("POST /api/visit", s.api(4<<10, s.visit))
	mux.Handle("POST /api/code", s.api(4<<10, s.code))
	mux.Handle("POST /api/open", s.api(4<<10, s.open))
	mux.Handle("POST /api/document", s.api(4<<10, s.proven(s.document)))
	mux.Handle("POST /api/ready", s.api(4<<10, s.ready))
	mux.Handle("POST /api/sign", s.api(maxSignBody, s.proven(s.sign)))
	mux.Handle("POST /api/decline", s.api(32<<10, s.proven(s.decline)))
	s.ownKeyRoutes(mux)
	s.qualifiedRoutes(mux)
	s.phoneRoutes(mux)
	for path, do := range map[string]func(context.Context, *call) error{"held": s.held, "confirm": s.confirm, "deny": s.deny} {
		mux.Handle("POST /api/"+path, s.guarded(4<<10, s.heldAPI(do)))
	}
	s.verifyRoutes(mux)
	mux.HandleFunc("GET /api/", onlyPost)
	mux.HandleFunc("GET /", s.notFound)
	if len(s.Mount) > 0 {
		own := mux
		mux = http.NewServeMux()
		mux.Handle("/", own)
		for pattern, h := range s.Mount {
			mux.Handle(pattern, h)
		}
	}
	return s.headers(slashes(s.logged(mux)))
}

// slashes lets a path with two slashes in a row reach its handler: the base64 of an
// OCSP request has them (RFC 6960, A.1), and a redirect to a cleaned path loses one.
func slashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.EscapedPath(); strings.Contains(path, "//") {
			r.URL.RawPath = strings.ReplaceAll(path, "//", "/%2F")
		}
		next.ServeHTTP(w, r)
	})
}

// onlyPost answers a GET of the interface: it changes nothing.
func onlyPost(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "POST")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
}

// NewServer gives an http.Server whose limits keep slow and large requests from
// holding a place: 10 s for the header, 16 KiB of it, a minute for the whole.
// Handlers that answer with documents extend their own time.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
