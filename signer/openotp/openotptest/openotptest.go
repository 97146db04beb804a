// Package openotptest is a stand-in for an OpenOTP server: SOAP on loopback, with people
// whose phones are methods (Agree, Decline). It is for tests and must be called a
// stand-in wherever it is shown: it signs nothing by itself, its caller does.
//
// It refuses every message that is not the documented one: unknown or missing parts, parts
// in another order or of another type, another media type, a wrong key, a session that
// is over. It shares no code with the client. It can be told to misbehave.
//
// Reference: RCDevs, OpenOTP electronic signatures, section 7.
package openotptest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skip2/go-qrcode"
)

// Behaviour says how a method is answered.
type Behaviour string

// The behaviours. All but Honest are wrong in the way of their name.
const (
	Honest    Behaviour = ""
	Down      Behaviour = "503"
	Silent    Behaviour = "silent"
	Slow      Behaviour = "slow" // the answer, 100 ms after it was made
	Half      Behaviour = "half an answer"
	Page      Behaviour = "page"
	Moved     Behaviour = "moved"
	DocType   Behaviour = "document type" // with an entity
	Twice     Behaviour = "twice"         // a part stands twice
	Nested    Behaviour = "nested"
	Fault     Behaviour = "fault"
	NoFile    Behaviour = "no file"
	NoSession Behaviour = "no session"
	Echo      Behaviour = "echo" // an error that repeats the key, with control characters
)

// Config is what the stand-in works with.
type Config struct {
	// Sign makes the signed file of an order, and the certificate (DER or PEM).
	Sign   func(file []byte, user, mode, scope string) (signed, certificate []byte, err error)
	Seal   func(file []byte, mode string) ([]byte, error)
	APIKey string
	Client string
	Domain string
	Users  []string
	Now    func() time.Time // nil means time.Now
}

// Server is a stand-in that runs. It is safe for concurrent use.
type Server struct {
	URL string

	c    Config
	http *http.Server
	stop chan struct{}
	end  sync.Once

	mu        sync.Mutex
	sessions  map[string]*session
	behaviour map[string]Behaviour
	calls     []string
	refused   []string
}

type session struct {
	user, data, mode, scope string
	file                    []byte
	confirm                 bool
	expires                 time.Time
	answer                  []field // of the phone; nil while it is pending
	touched                 int
}

// New starts a stand-in; Close ends it.
func New(c Config) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + ln.Addr().String() + "/openotp/", c: c, stop: make(chan struct{}), sessions: map[string]*session{}, behaviour: map[string]Behaviour{}}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go s.http.Serve(ln)
	return s, nil
}

// Close ends the server. It can be called twice.
func (s *Server) Close() error {
	s.end.Do(func() { close(s.stop) })
	return s.http.Close()
}

// Behave makes a method answer in that way from now on.
func (s *Server) Behave(b Behaviour, method string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviour[method] = b
}

// Calls are the methods that were called, in order.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Refused says which requests were refused, and why.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// Shown is the text that a session shows on the phone, and how often it was pushed again.
func (s *Server) Shown(id string) (text string, touched int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sessions[id]; x != nil {
		return x.data, x.touched
	}
	return "", 0
}

// Agree is the person's yes on the phone: the file is signed.
func (s *Server) Agree(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.sessions[id]
	if x == nil {
		return fmt.Errorf("stand-in OpenOTP: no session %q", id)
	}
	answer := []field{{"code", "1"}, {"error", ""}, {"message", "Authentication success"}, {"session", id}}
	if len(x.file) > 0 {
		signed, cert, err := s.c.Sign(x.file, x.user, x.mode, x.scope)
		if err != nil {
			return err
		}
		answer = append(answer, field{"file", lines(signed)}, field{"cert", lines(cert)})
	}
	x.answer = answer
	return nil
}

// Decline is the no, with the person's own words.
func (s *Server) Decline(id, comment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sessions[id]; x != nil {
		x.answer = []field{{"code", "0"}, {"error", "AuthFailed"}, {"message", "Request rejected by the user"}, {"comment", comment}}
	}
}

// lines is base64Binary as many servers write it.
func lines(b []byte) string {
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + "\n")
		s = s[76:]
	}
	return out.String() + s
}

type field struct{ name, value string }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	s.mu.Lock()
	method, parts, err := s.read(r, body)
	s.calls = append(s.calls, method)
	b := s.behaviour[method]
	s.mu.Unlock()
	switch b {
	case Down:
		http.Error(w, "maintenance", http.StatusServiceUnavailable)
		return
	case Silent:
		select {
		case <-r.Context().Done():
		case <-s.stop:
		}
		return
	case Page:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>Please log in to the network")
		return
	case Moved:
		w.Header().Set("Location", s.URL+"elsewhere")
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	if s.c.APIKey != "" && r.Header.Get("WA-API-Key") != s.c.APIKey {
		http.Error(w, "unknown key", http.StatusForbidden)
		return
	}
	s.mu.Lock()
	var out []field
	if err == nil {
		out, err = s.answer(method, parts)
	}
	if err != nil {
		s.refused = append(s.refused, method+": "+err.Error())
		out = failed("BadRequest", "Invalid authentication request")
	}
	s.mu.Unlock()
	if b == Slow {
		time.Sleep(100 * time.Millisecond)
	}
	if b == Echo {
		out = failed("BadRequest", "\u202enope\u0085"+r.Header.Get("WA-API-Key"))
	}
	s.write(w, method, out, b)
}

func failed(word, message string) []field {
	return []field{{"code", "0"}, {"error", word}, {"message", message}}
}

// write sends an envelope, spoilt as the behaviour says.
func (s *Server) write(w http.ResponseWriter, method string, out []field, b Behaviour) {
	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	if b == DocType {
		buf.WriteString(`<!DOCTYPE x [<!ENTITY e "1">]>`)
	}
	buf.WriteString(`<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" xmlns:ns1="urn:openotp"><SOAP-ENV:Body>`)
	if b == Fault {
		buf.WriteString("<SOAP-ENV:Fault><faultcode>SOAP-ENV:Server</faultcode><faultstring>broken\u202e</faultstring></SOAP-ENV:Fault>")
	} else {
		fmt.Fprintf(&buf, "<ns1:%sResponse>", method)
		for _, f := range out {
			if b == NoFile && f.name == "file" || b == NoSession && f.name == "session" {
				continue
			}
			for range map[bool]int{true: 2, false: 1}[b == Twice] {
				buf.WriteString("<" + f.name + ">")
				if b == Nested {
					buf.WriteString("<x/>")
				}
				xml.EscapeText(&buf, []byte(f.value))
				buf.WriteString("</" + f.name + ">")
			}
		}
		fmt.Fprintf(&buf, "</ns1:%sResponse>", method)
	}
	buf.WriteString("</SOAP-ENV:Body></SOAP-ENV:Envelope>\n")
	answer := buf.Bytes()
	if b == Half {
		answer = answer[:len(answer)/2]
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	if b == Fault {
		w.WriteHeader(http.StatusInternalServerError)
	}
	w.Write(answer)
}

// answer does what a method does; an error is a request that no client should make.
func (s *Server) answer(method string, p map[string]string) ([]field, error) {
	switch method {
	case "openotpList":
		ids := []string{}
		for id, x := range s.sessions {
			if x.answer == nil && s.c.Now().Before(x.expires) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		b, err := json.Marshal(ids)
		return []field{{"code", "1"}, {"error", ""}, {"message", "Authentication success"}, {"jsonData", string(b)}}, err
	case "openotpSeal":
		file, err := base64.StdEncoding.DecodeString(p["file"])
		if err != nil || len(file) == 0 || p["client"] != s.c.Client {
			return nil, fmt.Errorf("no file, or client %q", p["client"])
		}
		out, err := s.c.Seal(file, p["mode"])
		return []field{{"code", "1"}, {"error", ""}, {"message", "Authentication success"}, {"file", lines(out)}}, err
	case "openotpNormalSign", "openotpSignQRCode", "openotpNormalConfirm":
		return s.start(method, p)
	}
	if len(p["session"]) != 16 {
		return nil, fmt.Errorf("session %q", p["session"])
	}
	x := s.sessions[p["session"]]
	if x == nil || !s.c.Now().Before(x.expires) || x.confirm != strings.HasSuffix(method, "Confirm") {
		return failed("NoSession", "Session not started or timed out"), nil
	}
	left := strconv.Itoa(int(x.expires.Sub(s.c.Now()).Seconds()))
	switch {
	case strings.HasPrefix(method, "openotpCancel"):
		delete(s.sessions, p["session"])
		return []field{{"code", "1"}, {"message", "Mobile authentication canceled"}}, nil
	case strings.HasPrefix(method, "openotpTouch"):
		if p["sendPush"] == "true" {
			x.touched++
		}
		image, err := code(p["session"])
		return []field{{"code", "1"}, {"error", ""}, {"message", "Waiting for mobile response"}, {"timeout", left}, {"qrImage", lines(image)}}, err
	case x.answer == nil:
		return []field{{"code", "2"}, {"error", ""}, {"message", "Session already started"}, {"session", p["session"]}, {"timeout", left}}, nil
	}
	delete(s.sessions, p["session"]) // told once
	return x.answer, nil
}

// code is a picture to scan (PNG); what stands in it is the stand-in's own.
func code(id string) ([]byte, error) {
	return qrcode.Encode("openotptest:"+id, qrcode.Medium, -5)
}

// start opens a session.
func (s *Server) start(method string, p map[string]string) ([]field, error) {
	file, err := base64.StdEncoding.DecodeString(p["file"])
	life, _ := strconv.Atoi(p["timeout"])
	scope, scoped := strings.CutPrefix(p["settings"], "SignScope=")
	switch {
	case err != nil || len(p["data"]) < 3 || method != "openotpNormalConfirm" && len(file) < 4:
		return nil, fmt.Errorf("data or file are too short")
	case p["client"] != s.c.Client || p["domain"] != s.c.Domain:
		return nil, fmt.Errorf("client %q, domain %q", p["client"], p["domain"])
	case p["async"] != "true" && life > 300, life > 30*24*3600:
		return nil, fmt.Errorf("timeout of %d s", life)
	case p["settings"] != "" && (!scoped || scope != "Local" && scope != "Global" && scope != "eIDAS"):
		return nil, fmt.Errorf("settings %q", p["settings"])
	case method != "openotpNormalConfirm" && !slices.Contains([]string{"auto", "cades", "pades"}, p["mode"]):
		return nil, fmt.Errorf("mode %q", p["mode"])
	case p["mode"] == "pades" && !bytes.HasPrefix(file, []byte("%PDF-")):
		return nil, fmt.Errorf("pades, and no PDF")
	}
	if _, err := netip.ParseAddr(p["source"]); p["source"] != "" && err != nil {
		return failed("ServerError", "Server error"), nil
	}
	if !slices.Contains(s.c.Users, p["username"]) {
		return failed("AuthFailed", "Invalid username or password"), nil
	}
	id := rand.Text()[:16]
	s.sessions[id] = &session{user: p["username"], data: p["data"], mode: p["mode"], scope: scope, file: file, confirm: method == "openotpNormalConfirm",
		expires: s.c.Now().Add(time.Duration(life) * time.Second)}
	out := []field{{"code", "2"}, {"error", ""}, {"message", "Waiting for mobile response"}, {"session", id}, {"timeout", p["timeout"]}}
	if method == "openotpSignQRCode" {
		image, err := code(id)
		if err != nil {
			return nil, err
		}
		out[0].value = "1"
		out = append(out, field{"qrImage", lines(image)})
	}
	return out, nil
}
