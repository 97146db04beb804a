package csctest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Behaviour says how a call is answered.
type Behaviour string

// The behaviours. All but Honest are wrong in the way of their name.
const (
	Honest   Behaviour = ""
	Down     Behaviour = "503"
	OnceDown Behaviour = "503 once"
	TooMany  Behaviour = "429" // Retry-After: 7
	Silent   Behaviour = "silent"
	Hangup   Behaviour = "hangup"         // ends the connection without a byte
	Cut      Behaviour = "cut"            // in the middle of an answer
	Half     Behaviour = "half an answer" // whole for HTTP, not for JSON
	Huge     Behaviour = "huge"
	Page     Behaviour = "page" // HTML with status 200, as captive portals do
	Text     Behaviour = "text" // the right answer, as text/plain
	Moved    Behaviour = "moved"
	Unknown  Behaviour = "401"  // every token
	Echo     Behaviour = "echo" // an error that repeats all it was sent, with control characters

	// Of oauth2/token.
	Another Behaviour = "another" // says that the token is for another credential

	// Of signatures/signHash and signatures/signDoc.
	WrongHash Behaviour = "wrong hash"   // a good signature over another digest
	OtherKey  Behaviour = "other key"    // over the digest, by a key of somebody else
	Fewer     Behaviour = "fewer"        // one signature is missing
	Lines     Behaviour = "lines"        // base64 on several lines
	Swapped   Behaviour = "swapped"      // the signatures in another order
	UsedUp    Behaviour = "expired late" // the SAD runs out between authorisation and use

	// Of signatures/signDoc.
	TwoSigners Behaviour = "two signers"       // one more signature of the same kind
	Attached   Behaviour = "attached"          // a content inside
	TooLarge   Behaviour = "too large"         // 64 KiB of something beside the certificates
	Claims     Behaviour = "claims a time"     // signed attributes that nobody asked for
	OwnTime    Behaviour = "a time of its own" // an unsigned attribute that nobody asked for

	// Of credentials/info and credentials/list.
	NoCertificate  Behaviour = "no certificate"  // not even after the authorisation
	NewCertificate Behaviour = "new certificate" // another one after each call
	WrongLength    Behaviour = "wrong length"    // key/len is not the certificate's
)

// Behave makes the given calls ("signatures/signHash"), or all if none is given, answer in
// that way from now on.
func (s *Server) Behave(b Behaviour, calls ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(calls) == 0 {
		clear(s.behaviour)
		calls = []string{""}
	}
	for _, c := range calls {
		s.behaviour[c] = b
	}
}

// behaves is how a call is to be answered.
func (s *Server) behaves(call string) Behaviour {
	if b, told := s.behaviour[call]; told {
		return b
	}
	return s.behaviour[""]
}

// handler answers a call; s.mu is held.
type handler func(s *Server, r *http.Request, body []byte) (status int, out any, err error)

// methods are those of a version of the API.
func methods(version int) map[string]handler {
	m := map[string]handler{
		"info":                  (*Server).info,
		"credentials/list":      (*Server).list,
		"credentials/info":      (*Server).credentialInfo,
		"credentials/authorize": (*Server).authorize,
		"signatures/signHash":   (*Server).signHash,
	}
	if version == 1 {
		m["credentials/sendOTP"] = (*Server).getChallenge
		return m
	}
	m["credentials/getChallenge"] = (*Server).getChallenge
	m["credentials/authorizeCheck"] = (*Server).authorizeCheck
	m["signatures/signDoc"] = (*Server).signDoc
	return m
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	call := strings.TrimPrefix(r.URL.Path, "/")
	var answer handler
	if method, of := strings.CutPrefix(r.URL.Path, s.base()); of {
		call, answer = method, methods(s.c.Version)[method]
	} else if call == "oauth2/token" {
		answer = (*Server).token
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.requests = keep(s.requests, Request{call, r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), string(body)})
	b := s.behaves(call)
	if b == OnceDown {
		s.behaviour[call] = Honest
		b = Down
	}
	s.mu.Unlock()
	if s.misbehave(w, r, b, body) {
		return
	}
	if call == "oauth2/authorize" {
		s.page(w, r)
		return
	}
	s.mu.Lock()
	status, out, err := http.StatusNotFound, any(nil), refuse(http.StatusNotFound, "invalid_request", "no such method")
	switch {
	case answer != nil && r.Method == http.MethodPost && r.URL.RawQuery == "":
		status, out, err = answer(s, r, body)
	case answer != nil:
		err = refuse(http.StatusMethodNotAllowed, "invalid_request", "POST only, without a query")
	}
	var no *refusal
	if err != nil {
		if !errors.As(err, &no) {
			no = &refusal{http.StatusInternalServerError, "server_error", "the stand-in failed"}
		}
		s.refused = keep(s.refused, call+": "+err.Error())
		status, out = no.status, map[string]string{"error": no.code, "error_description": no.text}
	}
	s.mu.Unlock()
	s.write(w, b, status, out)
}

// misbehave does what needs no answer.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, b Behaviour, body []byte) bool {
	switch b {
	case Down:
		http.Error(w, "maintenance", http.StatusServiceUnavailable)
	case TooMany:
		w.Header().Set("Retry-After", "7")
		writeJSON(w, http.StatusTooManyRequests, []byte(`{"error":"temporarily_unavailable"}`))
	case Unknown:
		writeJSON(w, http.StatusUnauthorized, []byte(`{"error":"invalid_token"}`))
	case Silent:
		select {
		case <-r.Context().Done():
		case <-s.stop:
		}
	case Hangup:
		panic(http.ErrAbortHandler)
	case Huge:
		writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"fill":%q}`, strings.Repeat("x", 2<<20)))
	case Page:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>Please log in to the network")
	case Moved:
		w.Header().Set("Location", s.URL+"/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Echo:
		out, _ := json.Marshal(map[string]string{"error": "invalid_request",
			"error_description": "\x1b[31m\u202enope\r\nX-Injected: 1 " + string(body) + " " + r.Header.Get("Authorization")})
		writeJSON(w, http.StatusBadRequest, out)
	default:
		return false
	}
	return true
}

// write sends an answer, or as much of it as the behaviour has.
func (s *Server) write(w http.ResponseWriter, b Behaviour, status int, out any) {
	if out == nil {
		w.WriteHeader(status)
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic(err) // strings, numbers and truth values
	}
	switch b {
	case Half:
		body = body[:len(body)/2]
	case Text:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		w.Write(body)
		return
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		writeJSON(w, status, body[:len(body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// keep appends, and forgets the oldest.
func keep[T any](l []T, x T) []T {
	if len(l) >= kept {
		l = l[1:]
	}
	return append(l, x)
}

func (s *Server) in(d time.Duration) time.Time { return s.c.Now().Add(d) }
