package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"

	"milterd/workflow"
)

// policy is the Content Security Policy of every page (notes of the design: no
// inline script or style, no foreign host, Trusted Types for what runs).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; " +
	"connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types milterd"

// workerPolicy is for pdf.js's worker alone, which has no page to attack: it
// needs WebAssembly for JPEG 2000 and JBIG2 pictures.
const workerPolicy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"

// requestHeader marks requests of our own script: a form of another site cannot
// set it, and its script could only after a preflight that we never answer.
const requestHeader = "Milterd-Request"

// headers sets what protects every answer.
func (s *site) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()")
		if s.base.Scheme == "https" {
			h.Set("Strict-Transport-Security", "max-age=63072000")
		}
		next.ServeHTTP(w, r)
	})
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
	reason string
}

func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// logged writes a line for each request: its route, never its URL, body or
// client, so that neither tokens nor codes nor habits end up in a log.
func (s *site) logged(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		start := time.Now()
		defer func() {
			route := r.Pattern // set by the mux
			if route == "" {
				route = "none"
			}
			if rec.status == 0 {
				rec.status = http.StatusOK
			}
			s.Log.Debug("web request", "method", method(r), "route", route, "status", rec.status,
				"reason", rec.reason, "took", time.Since(start).Round(time.Microsecond))
		}()
		mux.ServeHTTP(rec, r)
	})
}

// method keeps made-up methods out of the log.
func method(r *http.Request) string {
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return r.Method
	}
	return "other"
}

// call is a request to the interface: who is there, with which link.
type call struct {
	http.ResponseWriter
	*http.Request
	body   []byte
	token  string
	client string
	visit  workflow.Visit
	proven bool
}

// tokenForm is what auth.Keys.Token makes: 16 bytes as base64url.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// api guards a call with a participant's link: it looks up the visitor and
// whether the device is proven.
func (s *site) api(limit int64, do func(context.Context, *call) error) http.Handler {
	return s.guarded(limit, func(ctx context.Context, c *call) (err error) {
		if c.visit, err = s.Desk.Visit(ctx, c.token); err != nil {
			return err
		}
		c.visit.Device, c.proven = s.remembered(ctx, c)
		return do(ctx, c)
	})
}

// guarded is what protects every call: origin, type, size, rate and time.
func (s *site) guarded(limit int64, do func(context.Context, *call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
		defer cancel()
		c := &call{ResponseWriter: w, Request: r, client: clientAddress(r, s.Proxies)}
		err := s.own(c)
		if err != nil {
			s.noteForeign(ctx, c, limit, err)
		} else if err = s.admit(c, limit); err == nil {
			err = do(ctx, c)
		}
		if err != nil {
			s.refuse(c, err)
		}
	})
}

// own wants a request that comes from no other site.
func (s *site) own(c *call) error {
	if err := s.origin.Check(c.Request); err != nil {
		return refusal("cross-site", "This request came from another site.", err)
	}
	if site := c.Header("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return refusal("cross-site", "This request came from another site.", nil)
	}
	return nil
}

// noteForeign tells the audit trail of a site that has somebody's link: without
// one, there is no trail that it concerns.
func (s *site) noteForeign(ctx context.Context, c *call, limit int64, err error) {
	if s.admitBody(c, limit) != nil {
		return
	}
	if v, failed := s.Desk.Visit(ctx, c.token); failed == nil {
		s.Desk.Foreign(ctx, v, c.client, err)
	}
}

func (s *site) admit(c *call, limit int64) error {
	if t, _, _ := mime.ParseMediaType(c.Header("Content-Type")); t != "application/json" || c.Header(requestHeader) != "1" {
		return refusal("bad-request", "This request did not come from the page.", nil)
	}
	return s.admitBody(c, limit)
}

// admitBody reads the body and its token, for those who do not ask too often.
func (s *site) admitBody(c *call, limit int64) error {
	if !s.clients.allow(clientKey(c.client), s.now()) {
		return refusal("too-fast", "Too many requests; wait a moment.", nil)
	}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(c.ResponseWriter, c.Body, limit)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return refusal("too-large", "This request is too large.", nil)
		}
		return refusal("bad-request", "This request did not arrive whole.", err)
	}
	var t struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(c.body, &t); err != nil {
		return refusal("bad-request", "This request cannot be read.", nil)
	}
	if !tokenForm.MatchString(t.Token) {
		return refusal("unknown-link", "This link is not known here.", nil)
	}
	c.token = t.Token
	if !s.tokens.allow(c.token, s.now()) {
		return refusal("too-fast", "Too many requests; wait a moment.", nil)
	}
	return nil
}

// Header reads a header of the request: both embedded types have one.
func (c *call) Header(name string) string { return c.Request.Header.Get(name) }

// decode reads the body into v, strictly.
func (c *call) decode(v any) error {
	if err := decodeStrict(c.body, v); err != nil {
		return refusal("bad-request", "This request cannot be read.", err)
	}
	return nil
}

// answer writes v as JSON.
func (c *call) answer(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	c.ResponseWriter.Header().Set("Content-Type", "application/json")
	_, _ = c.ResponseWriter.Write(b) // a visitor who left needs no answer
	return nil
}

// refusal is an error of the door itself.
func refusal(reason, text string, err error) error {
	return &workflow.Refusal{Code: 550, Enhanced: "5.7.1", Reason: reason, Text: text, Err: err}
}

// statuses are the HTTP statuses of reasons; others follow their SMTP code.
var statuses = map[string]int{
	"unknown-link":    http.StatusNotFound,
	"gone":            http.StatusGone,
	"denied":          http.StatusGone,
	"expired":         http.StatusGone,
	"confirmed":       http.StatusConflict,
	"held-changed":    http.StatusConflict,
	"not-proven":      http.StatusUnauthorized,
	"wrong-code":      http.StatusForbidden,
	"code-expired":    http.StatusForbidden,
	"not-signatory":   http.StatusForbidden,
	"cross-site":      http.StatusForbidden,
	"too-many-codes":  http.StatusTooManyRequests,
	"too-fast":        http.StatusTooManyRequests,
	"too-large":       http.StatusRequestEntityTooLarge,
	"already-decided": http.StatusConflict,
	"ended":           http.StatusConflict,
	"digest-mismatch": http.StatusConflict,
	"not-viewed":      http.StatusConflict,
	"preparing":       http.StatusConflict,
	"bad-appearance":  http.StatusUnprocessableEntity,

	"unprintable-name": http.StatusUnprocessableEntity,

	"wrong-level":         http.StatusConflict,
	"proof-not-accepted":  http.StatusForbidden,
	"wrong-totp":          http.StatusForbidden,
	"wrong-password":      http.StatusForbidden,
	"no-totp":             http.StatusForbidden,
	"no-passkey":          http.StatusForbidden,
	"no-passkeys-here":    http.StatusForbidden,
	"passkey-unknown":     http.StatusForbidden,
	"passkey-revoked":     http.StatusForbidden,
	"passkey-refused":     http.StatusForbidden,
	"passkey-cloned":      http.StatusForbidden,
	"passkey-known":       http.StatusConflict,
	"not-approved":        http.StatusForbidden,
	"way-not-accepted":    http.StatusForbidden,
	"no-device":           http.StatusNotFound,
	"credential-revoked":  http.StatusForbidden,
	"bad-proof":           http.StatusForbidden,
	"key-taken":           http.StatusConflict,
	"ceremony-gone":       http.StatusGone,
	"enrolment-gone":      http.StatusGone,
	"preparation-gone":    http.StatusGone,
	"too-many-passwords":  http.StatusTooManyRequests,
	"no-more-passwords":   http.StatusTooManyRequests,
	"too-many-enrolments": http.StatusTooManyRequests,
	"too-many-totp":       http.StatusTooManyRequests,
	"too-many-tries":      http.StatusTooManyRequests,

	"too-many-certificates": http.StatusTooManyRequests,
	"busy":                  http.StatusConflict,
	"no-certificate":        http.StatusConflict,
	"certificate-expired":   http.StatusConflict,
	"certificate-revoked":   http.StatusConflict,
	"bad-csr":               http.StatusUnprocessableEntity,
	"weak-key":              http.StatusUnprocessableEntity,
	"bad-value":             http.StatusUnprocessableEntity,
}

// refuse tells the page why not. Inner causes stay in the log.
func (s *site) refuse(c *call, err error) {
	out := struct {
		Reason string `json:"reason"`
		Text   string `json:"text"`
	}{"internal", "Something went wrong here; it is in the log. Please try again later."}
	status := http.StatusInternalServerError
	var r *workflow.Refusal
	switch {
	case errors.As(err, &r):
		out.Reason, out.Text = r.Reason, r.Text
		var known bool
		if status, known = statuses[r.Reason]; !known {
			status = http.StatusBadRequest
			if r.Code < 500 {
				status = http.StatusServiceUnavailable
			}
		}
	case errors.Is(err, context.DeadlineExceeded):
		out.Reason, out.Text, status = "slow", "This took too long. Please try again.", http.StatusServiceUnavailable
	}
	if rec, ok := c.ResponseWriter.(*recorder); ok {
		rec.reason = out.Reason
	}
	if status >= 500 && c.Context().Err() == nil { // a visitor who has gone is no failure of ours
		s.Log.Error("web: request failed", "route", c.Pattern, "session", sessionID(c.visit), "err", err)
	} else if r != nil && r.Err != nil {
		s.Log.Log(c.Context(), slog.LevelInfo, "web: request refused", "route", c.Pattern, "session", sessionID(c.visit),
			"reason", r.Reason, "err", brief(r.Err))
	}
	h := c.ResponseWriter.Header()
	h.Set("Content-Type", "application/json")
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	c.ResponseWriter.WriteHeader(status)
	_ = json.NewEncoder(c.ResponseWriter).Encode(out)
}

// brief shortens what is logged of a refused request: parsers quote what they
// were sent, up to a whole body.
func brief(err error) string {
	const most = 300
	text := err.Error()
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func sessionID(v workflow.Visit) string {
	if v.Session == nil {
		return ""
	}
	return v.Session.ID
}
