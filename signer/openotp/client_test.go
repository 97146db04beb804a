package openotp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"milterd/signer/openotp/openotptest"
)

const key = "k3y+of/the desk"

type site struct {
	*Client
	server *openotptest.Server
	passed atomic.Int64 // of time
	cert   *x509.Certificate
	asPEM  bool
}

func start(t *testing.T) *site {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "John"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Now().Add(time.Duration(s.passed.Load())) }
	s.server, err = openotptest.New(openotptest.Config{APIKey: key, Client: "milterd", Domain: "Default", Users: []string{"john"}, Now: now,
		Sign: func(file []byte, user, mode, scope string) ([]byte, []byte, error) {
			out := der
			if s.asPEM {
				out = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			}
			return fmt.Appendf(file, "\nsigned by %s, %s, %s", user, mode, scope), out, nil
		},
		Seal: func(file []byte, mode string) ([]byte, error) { return append(file, "\nsealed, "+mode...), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.server.Close() })
	if s.Client, err = New(Server{Name: "Phones", URL: s.server.URL, APIKey: key, Client: "milterd", Domain: "Default", Issuer: "ACME <Desk> & Co"}); err != nil {
		t.Fatal(err)
	}
	s.now = now
	return s
}

func wants(t *testing.T, err error, reason Reason) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Fatalf("%v, want reason %s", err, reason)
	}
	return e
}

var pdf = []byte("%PDF-1.7\n" + strings.Repeat("contract ", 100))

func asked() Order {
	return Order{User: "john", Text: "Please sign <b>this</b> & that\n€", File: pdf, Mode: PAdES, Scope: EIDAS, Source: "192.0.2.1"}
}

// From the order to the signed file, by push and by code, signed and confirmed.
func TestOrders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t)
	for _, scope := range []Scope{Local, Global, EIDAS, ""} {
		s.asPEM = !s.asPEM
		o := asked()
		o.Scope = scope
		x, err := s.Sign(ctx, o)
		if err != nil {
			t.Fatalf("%v; refused %q", err, s.server.Refused())
		}
		if left := x.Expires.Sub(s.now()); left < defaultLife-time.Minute || left > defaultLife {
			t.Errorf("%s left", left)
		}
		r, err := s.Check(ctx, x)
		if err != nil || r.Done {
			t.Fatalf("%+v, %v", r, err)
		}
		if text, _ := s.server.Shown(x.ID); text != o.Text {
			t.Errorf("the phone shows %q", text)
		}
		if err := s.server.Agree(x.ID); err != nil {
			t.Fatal(err)
		}
		r, err = s.Check(ctx, x)
		if err != nil || !r.Done || !bytes.Equal(r.File, fmt.Appendf(bytes.Clone(pdf), "\nsigned by john, pades, %s", scope)) || !r.Certificate.Equal(s.cert) {
			t.Errorf("%+v, %v", r, err)
		}
		_, err = s.Check(ctx, x) // told once
		wants(t, err, Expired)
	}
	x, image, err := s.SignQR(ctx, asked())
	if err != nil || !bytes.HasPrefix(image, []byte("\x89PNG")) {
		t.Fatal(err)
	}
	list, err := s.List(ctx)
	if err != nil || string(list) != fmt.Sprintf("[%q]", x.ID) {
		t.Errorf("%s, %v", list, err)
	}
	if _, err = s.Touch(ctx, x, true); err != nil {
		t.Error(err)
	}
	if _, touched := s.server.Shown(x.ID); touched != 1 {
		t.Errorf("pushed %d times", touched)
	}
	if err := s.Cancel(ctx, x); err != nil {
		t.Error(err)
	}
	_, err = s.Check(ctx, x)
	wants(t, err, Expired)

	x, err = s.Confirm(ctx, Order{User: "john", Text: "Transfer 9,999 €?", Life: time.Minute})
	if err != nil || !x.Confirm {
		t.Fatal(err)
	}
	if err := s.server.Agree(x.ID); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Wait(ctx, x, time.Millisecond); err != nil || !r.Done || len(r.File) != 0 || r.Certificate != nil {
		t.Errorf("%+v, %v", r, err)
	}
	sealed, err := s.Seal(ctx, pdf, PAdES)
	if err != nil || !bytes.HasSuffix(sealed, []byte("sealed, pades")) {
		t.Error(err)
	}
	if r := s.server.Refused(); len(r) > 0 {
		t.Errorf("refused %q", r)
	}
}

// Waiting bears a server that is away, and ends with the person's no, the time, or the caller.
func TestWait(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t)
	x, err := s.Sign(ctx, asked())
	if err != nil {
		t.Fatal(err)
	}
	s.server.Behave(openotptest.Down, "openotpCheckSign")
	go func() {
		time.Sleep(50 * time.Millisecond)
		s.server.Decline(x.ID, "not\r\nthis \u202eone")
		s.server.Behave(openotptest.Honest, "openotpCheckSign")
	}()
	_, err = s.Wait(ctx, x, 5*time.Millisecond)
	if e := wants(t, err, Denied); e.Comment != "not this one" {
		t.Errorf("comment %q", e.Comment)
	}
	if x, err = s.Sign(ctx, asked()); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = s.Wait(short, x, 5*time.Millisecond)
	wants(t, err, Away)
	s.passed.Store(int64(defaultLife))
	_, err = s.Wait(ctx, x, time.Millisecond)
	wants(t, err, Expired)
}

// What the server says wrong, or not at all, is told apart; nothing is sent twice.
func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := start(t)
	for b, reason := range map[openotptest.Behaviour]Reason{
		openotptest.Down: Away, openotptest.Half: WrongAnswer, openotptest.Page: WrongAnswer, openotptest.Moved: WrongAnswer, openotptest.DocType: WrongAnswer,
		openotptest.Twice: WrongAnswer, openotptest.Nested: WrongAnswer, openotptest.Fault: Refused, openotptest.NoSession: WrongAnswer, openotptest.Echo: BadOrder,
		openotptest.Silent: Away,
	} {
		s.server.Behave(b, "openotpNormalSign")
		before := len(s.server.Calls())
		s.s.Timeout = time.Minute
		if b == openotptest.Silent {
			s.s.Timeout = 100 * time.Millisecond
		}
		_, err := s.Sign(ctx, asked())
		e := wants(t, err, reason)
		if n := len(s.server.Calls()) - before; n != 1 {
			t.Errorf("%s: %d calls", b, n)
		}
		if strings.Contains(err.Error(), key) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q", b, err)
		}
		if e.Temporary() != (reason == Away) || !strings.Contains(e.Sentence(), "Phones") {
			t.Errorf("%s: %q", b, e.Sentence())
		}
	}
	s.s.Timeout = time.Minute
	s.server.Behave(openotptest.Honest, "openotpNormalSign")
	x, err := s.Sign(ctx, asked())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.server.Agree(x.ID); err != nil {
		t.Fatal(err)
	}
	s.server.Behave(openotptest.NoFile, "openotpCheckSign")
	_, err = s.Check(ctx, x)
	wants(t, err, WrongAnswer)

	for name, c := range map[string]struct {
		change func(*Order)
		reason Reason
		calls  int
	}{
		"nobody":      {func(o *Order) { o.User = "" }, BadOrder, 0},
		"stranger":    {func(o *Order) { o.User = "joan" }, NoUser, 1},
		"no text":     {func(o *Order) { o.Text = "" }, BadOrder, 0},
		"no file":     {func(o *Order) { o.File = nil }, BadOrder, 0},
		"scope":       {func(o *Order) { o.Scope = "eIDAS,SignVerify=No" }, BadOrder, 0},
		"life":        {func(o *Order) { o.Life = 31 * 24 * time.Hour }, BadOrder, 0},
		"no address":  {func(o *Order) { o.Source = "here" }, Away, 1},
		"text as PDF": {func(o *Order) { o.File = []byte("text") }, BadOrder, 1},
	} {
		o := asked()
		c.change(&o)
		before := len(s.server.Calls())
		_, err := s.Sign(ctx, o)
		var e *Error
		if !errors.As(err, &e) || e.Reason != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
		if n := len(s.server.Calls()) - before; n != c.calls {
			t.Errorf("%s: %d calls, want %d", name, n, c.calls)
		}
	}
	s.s.APIKey = "old"
	_, err = s.Sign(ctx, asked())
	wants(t, err, Misconfigured)
	if text := fmt.Sprintf("%v %+v %#v %v", s.Client, *s.Client, s.s.APIKey, s.s); strings.Contains(text, "old") {
		t.Error(text)
	}
}

func TestConfiguration(t *testing.T) {
	for _, s := range []Server{
		{Name: "x", Client: "y", URL: "http://webadm.corp.com/openotp/"},
		{Name: "x", Client: "y", URL: "https://u:p@webadm.corp.com/"},
		{Name: "x", Client: "y", URL: "webadm.corp.com"},
		{Name: "x", Client: "y", URL: "https://webadm.corp.com/?x=y"},
		{Client: "y", URL: "https://webadm.corp.com/"},
		{Name: "x", URL: "https://webadm.corp.com/"},
		{Name: "x", Client: "y", URL: "https://webadm.corp.com/", Timeout: -1},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
	if _, err := New(Server{Name: "x", Client: "y", URL: "https://webadm.corp.com:8443/openotp/"}); err != nil {
		t.Error(err)
	}
}

// One form of envelope is read, and nothing that two readers could take for two things.
func TestReadAnswer(t *testing.T) {
	const good = `<?xml version="1.0"?><!-- x --><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/" xmlns:o="urn:openotp"><S:Header/><S:Body>` +
		`<o:openotpListResponse><code>1</code><jsonData>[]</jsonData></o:openotpListResponse></S:Body></S:Envelope>`
	if a, err := readAnswer([]byte(good)); err != nil || len(a) != 2 || a.code() != 1 || a["jsonData"] != "[]" {
		t.Fatalf("%v, %v", a, err)
	}
	for name, c := range map[string][2]string{
		"comment in a part":   {"<code>1", "<code><!-- -->1"},
		"element in a part":   {"<code>1", "<code><x>1</x>"},
		"instruction":         {"<code>1", "<code><?x y?>1"},
		"another instruction": {"<!-- x -->", "<?x y?>"},
		"document type":       {"<!-- x -->", "<!DOCTYPE x>"},
		"entity":              {"<code>1", "<code>&one;"},
		"part twice":          {"<code>1</code>", "<code>1</code><code>0</code>"},
		"text among parts":    {"<code>1</code>", "1<code>1</code>"},
		"two responses":       {"</o:openotpListResponse>", "</o:openotpListResponse><o:openotpListResponse/>"},
		"two bodies":          {"</S:Body>", "</S:Body><S:Body/>"},
		"something behind":    {"</S:Envelope>", "</S:Envelope><x/>"},
		"header":              {"<S:Header/>", "<S:Header><x/></S:Header>"},
		"namespace":           {"urn:openotp", "urn:other"},
		"SOAP 1.2":            {"http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"},
		"request":             {"ListResponse", "ListRequest"},
		"cut":                 {"</S:Body></S:Envelope>", ""},
		"many parts":          {"<code>1</code>", manyParts()},
		"encoding":            {`version="1.0"`, `version="1.0" encoding="ISO-8859-1"`},
	} {
		bad := strings.ReplaceAll(good, c[0], c[1])
		if bad == good {
			t.Fatalf("%s: nothing changed", name)
		}
		if a, err := readAnswer([]byte(bad)); err == nil {
			t.Errorf("%s is read as %v", name, a)
		}
	}
}

func manyParts() string {
	var b strings.Builder
	for i := range maxParts + 1 {
		fmt.Fprintf(&b, "<p%d/>", i)
	}
	return b.String()
}

// An answer that is read has each part once, and its errors are lines.
func FuzzAnswer(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzAnswer/*")
	if err != nil || len(seeds) < 6 {
		f.Fatalf("seeds are missing: %d, %v", len(seeds), err)
	}
	c := &Client{s: Server{Name: "x"}, now: time.Now}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readAnswer(b)
		if err != nil {
			return
		}
		if len(a) > maxParts {
			t.Errorf("%d parts", len(a))
		}
		e := c.judge("openotpCheckSign", a)
		for _, s := range []string{e.Code, e.Said, e.Comment} {
			if !utf8.ValidString(s) || len([]rune(s)) > maxSaid || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q", s)
			}
		}
		if s, err := c.session("x", a, a.code(), false); err == nil && (!soundID(s.ID) || s.Expires.Before(time.Now())) {
			t.Errorf("%+v", s)
		}
		// What is written in the way that it was read is read again.
		parts := []part{}
		for name, value := range a {
			parts = append(parts, part{name, value})
		}
		again, err := readAnswer(envelope("openotpXResponse", parts))
		if err != nil || len(again) != len(a) {
			t.Fatalf("%q, %v", again, err)
		}
		for name, value := range a {
			if again[name] != value {
				t.Errorf("%s: %q, then %q", name, value, again[name])
			}
		}
	})
}
