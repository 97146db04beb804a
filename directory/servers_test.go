package directory

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"milterd/directory/ldaptest"
)

// slack is what a busy machine may add to a limit.
const slack = 2 * time.Second

// temporary fails the test unless err says that the directory is away, within
// the time that a question may take.
func temporary(t *testing.T, what string, begin time.Time, err error) {
	t.Helper()
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrAmbiguous) || errors.Is(err, ErrTooMany) {
		t.Errorf("%s: got %v, want a temporary error", what, err)
	}
	if took := time.Since(begin); took > Limit+slack {
		t.Errorf("%s: took %v", what, took)
	}
}

// soon tries until f finds Jane, as a mail server does that was told 451.
func soon(t *testing.T, what string, d Directory) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		p, err := d.ByLogin(t.Context(), "jane")
		if err == nil && p.Mail == "Jane.Roe@corp.test" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still %v, %v", what, p, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestAway: while the only server is killed, frozen or stopped, every question
// has a temporary error, in time; when it is back, answers come by themselves.
func TestAway(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t, staff)
	l := openLDAP(t, config(s))
	soon(t, "before", l)
	questions := func(what string) {
		t.Helper()
		for _, by := range []string{"address", "local", "login"} {
			for _, key := range []string{"jane.roe@corp.test", "nobody"} {
				begin := time.Now()
				_, err := ask(t, l, by, key)
				temporary(t, what+" by "+by, begin, err)
			}
		}
		begin := time.Now()
		_, err := l.Group(t.Context(), "staff")
		temporary(t, what+" group", begin, err)
		begin = time.Now()
		_, err = l.Groups(t.Context(), "jane.roe@corp.test")
		temporary(t, what+" groups", begin, err)
	}
	s.Kill()
	questions("killed")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "after the kill", l)

	// The connection is open and the kernel takes new ones, but nobody answers.
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err := l.ByLogin(t.Context(), "jane")
	temporary(t, "frozen", begin, err)
	for deadline := begin.Add(Limit + slack); len(l.now.Load().servers.slots) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the question still waits for the frozen server, although nobody waits for it")
		}
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	soon(t, "after the thaw", l)

	s.Stop()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ByLogin(t.Context(), "jane"); err != nil {
		t.Errorf("a restart between two questions was noticed: %v", err)
	}
}

// silent takes connections and never says a word.
func silent(t *testing.T) (url string, taken func() int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 1000)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				close(conns)
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		for c := range conns {
			c.Close()
		}
	})
	return "ldap://" + ln.Addr().String(), func() int { return len(conns) }
}

// TestSilent: a server that takes the connection and never answers costs its
// share of the time once; the next one is asked, and remembered as the one to ask.
func TestSilent(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t, staff)
	first, taken := silent(t)
	for _, tls := range []bool{false, true} {
		c := config(s)
		c.StartTLS = tls
		c.Servers = []string{first, s.URL}
		l := openLDAP(t, c)
		begin, before := time.Now(), taken()
		if p, err := l.ByLogin(t.Context(), "jane"); err != nil || time.Since(begin) > Limit {
			t.Errorf("got %v, %v after %v", p, err, time.Since(begin))
		}
		for _, login := range []string{"jane", "john", "star", "nobody"} {
			l.ByLogin(t.Context(), login)
		}
		if n := taken() - before; n != 1 {
			t.Errorf("the silent server was asked %d times, want once", n)
		}
	}
	c := config(s)
	c.Servers = []string{first}
	l := openLDAP(t, c)
	begin := time.Now()
	_, err := l.ByLogin(t.Context(), "jane")
	temporary(t, "only a silent server", begin, err)
	begin = time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.ByLogin(ctx, "john"); err == nil || time.Since(begin) > slack {
		t.Errorf("the caller's own deadline: %v after %v", err, time.Since(begin))
	}
}

// TestStale: a connection that the server gave up without a word is replaced
// unnoticed.
func TestStale(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if p, err := ber.ReadPacket(c); err == nil {
				c.Write(result(p, 5, 0).Bytes()) // SearchResultDone: nothing found
				ber.ReadPacket(c)                // and no answer to a second question
			}
			c.Close()
		}
	}()
	c := config(ldaptest.Start(t, ""))
	c.Servers, c.StartTLS, c.BindDN, c.PasswordFile = []string{"ldap://" + ln.Addr().String()}, false, "", ""
	l := openLDAP(t, c)
	for range 3 {
		if _, err := l.ByLogin(t.Context(), "jane"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
}

// TestOrder: the first server is asked while it answers, the second one for
// half a minute when it does not, then the first again.
func TestOrder(t *testing.T) {
	a := ldaptest.Start(t, ldaptest.Person("jane", "From First", "jane@corp.test"))
	b := ldaptest.Start(t, ldaptest.Person("jane", "From Second", "jane@corp.test"))
	c := config(a)
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	c.Servers = []string{a.URL, b.URL}
	pem := append(read(t, a.CA), read(t, b.CA)...)
	c.CA = filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(c.CA, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLDAP(t, c)
	want := func(when, name string) {
		t.Helper()
		if p, err := l.ByLogin(t.Context(), "jane"); err != nil || p.Name != name {
			t.Errorf("%s: got %v, %v, want %s", when, p, err, name)
		}
	}
	want("both up", "From First")
	a.Kill()
	want("first down", "From Second")
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("first just back", "From Second")
	sv := l.now.Load().servers.list[0]
	sv.mu.Lock()
	sv.skip, sv.rest = time.Now().Add(-time.Second), time.Now().Add(-time.Second) // half a minute later
	sv.mu.Unlock()
	want("half a minute later", "From First")
	b.Kill()
	want("second down", "From First")
	if s := l.Check(t.Context()); len(s) != 2 || s[0].Err != nil || s[1].Err == nil || s[1].Source != b.URL {
		t.Errorf("check: %v", s)
	}
	if s := log.String(); strings.Count(s, "LDAP server is away") != 1 || strings.Count(s, "answers again") != 1 {
		t.Errorf("log: %s", s)
	}
}

// TestCertificateOfServer: no word goes to a server whose certificate is of a
// stranger, for another host, or whose TLS is too old.
func TestCertificateOfServer(t *testing.T) {
	s := ldaptest.Start(t, staff)
	other := ldaptest.StartWith(t, ldaptest.Options{LDIF: staff, Names: []string{"ldap.other.test"}})
	old := listenTLS11(t, s)
	for what, change := range map[string]func(*LDAPConfig){
		"a stranger's authority": func(c *LDAPConfig) { c.CA = other.CA },
		"the system's":           func(c *LDAPConfig) { c.CA = "" },
		"another host":           func(c *LDAPConfig) { c.Servers, c.CA = []string{other.URL}, other.CA },
		"another host, ldaps":    func(c *LDAPConfig) { c.Servers, c.CA = []string{other.TLSURL}, other.CA },
		"ldaps, a stranger":      func(c *LDAPConfig) { c.Servers, c.CA = []string{s.TLSURL}, other.CA },
		"TLS 1.1":                func(c *LDAPConfig) { c.Servers = []string{old} },
	} {
		c := config(s)
		change(&c)
		begin := time.Now()
		_, err := openLDAP(t, c).ByLogin(t.Context(), "jane")
		temporary(t, what, begin, err)
		if err != nil && !strings.Contains(err.Error(), "tls: ") && !strings.Contains(err.Error(), "x509: ") {
			t.Errorf("%s: failed for another reason: %v", what, err)
		}
	}
}

// TestDowngrade: a server, or somebody between, that says it knows no StartTLS
// hears no password.
func TestDowngrade(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	heard := make(chan []byte, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		defer close(heard)
		p, err := ber.ReadPacket(c)
		if err != nil {
			t.Error(err)
			return
		}
		if !asksStartTLS(p) {
			t.Errorf("its first word is no StartTLS: %q", p.Bytes())
		}
		c.Write(result(p, 24, 2).Bytes()) // ExtendedResponse: protocolError
		rest, _ := io.ReadAll(c)
		heard <- rest
	}()
	s := ldaptest.Start(t, "")
	c := config(s)
	c.Servers = []string{"ldap://" + ln.Addr().String()}
	begin := time.Now()
	_, err = openLDAP(t, c).ByLogin(t.Context(), "jane")
	temporary(t, "no StartTLS", begin, err)
	if rest := <-heard; len(rest) != 0 {
		t.Errorf("it went on without TLS: %q", rest)
	}
}

// asksStartTLS reports that a message is an ExtendedRequest for StartTLS (RFC
// 4511, 4.12 and 4.14.1).
func asksStartTLS(p *ber.Packet) bool {
	if len(p.Children) < 2 {
		return false
	}
	r := p.Children[1]
	return r.ClassType == ber.ClassApplication && r.Tag == 23 && len(r.Children) == 1 &&
		r.Children[0].ClassType == ber.ClassContext && r.Children[0].Data.String() == "1.3.6.1.4.1.1466.20037"
}

// TestEndless: an answer without end is cut off.
func TestEndless(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sent := make(chan int64, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := ber.ReadPacket(c); err != nil {
			return
		}
		c.Write([]byte{0x30, 0x84, 0x70, 0, 0, 0, 0x04, 0x84, 0x6f, 0, 0, 0}) // a message with one string of 1.8 GB
		n, _ := io.Copy(c, zeroes{})
		sent <- n
	}()
	s := ldaptest.Start(t, "")
	c := config(s)
	c.Servers, c.StartTLS, c.BindDN, c.PasswordFile = []string{"ldap://" + ln.Addr().String()}, false, "", ""
	begin := time.Now()
	_, err = openLDAP(t, c).ByLogin(t.Context(), "jane")
	temporary(t, "endless", begin, err)
	if !errors.Is(err, errTooLong) {
		t.Errorf("got %v", err)
	}
	if n := <-sent; n > 4*maxAnswer {
		t.Errorf("%d bytes were taken", n)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestWrongPassword: a refused login is temporary, loud, without the password,
// and not tried again and again, for that locks accounts. With the right
// password a reload is enough.
func TestWrongPassword(t *testing.T) {
	s := ldaptest.Start(t, staff)
	c := config(s)
	c.PasswordFile = filepath.Join(t.TempDir(), "password")
	write := func(word string) {
		if err := os.WriteFile(c.PasswordFile, []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a wrong word\n")
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	l := openLDAP(t, c)
	for range 3 {
		begin := time.Now()
		_, err := l.ByLogin(t.Context(), "jane")
		temporary(t, "wrong password", begin, err)
	}
	if sv := l.now.Load().servers.list[0]; time.Until(sv.rest) < refusedPause/2 {
		t.Errorf("it logs in again in %v", time.Until(sv.rest))
	}
	if s := log.String(); strings.Count(s, "level=ERROR") != 1 || !strings.Contains(s, c.BindDN) || strings.Contains(s, "a wrong word") {
		t.Errorf("log: %s", s)
	}
	write(s.Password)
	if err := l.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ByLogin(t.Context(), "jane"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(c.PasswordFile); err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(); err == nil {
		t.Error("reloaded without a password")
	}
	if _, err := l.ByLogin(t.Context(), "john"); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
}

// TestPartial: what a server's limits leave over is no answer, neither the
// first of several people nor that there is nobody.
func TestPartial(t *testing.T) {
	s := ldaptest.StartWith(t, ldaptest.Options{LDIF: staff + ldaptest.Group("a", "", ldaptest.DN("jane")) + ldaptest.Group("b", "", ldaptest.DN("jane")),
		Config: "sizelimit size.soft=1 size.hard=1 size.prtotal=1"})
	l := openLDAP(t, config(s))
	begin := time.Now()
	p, err := l.ByLocalPart(t.Context(), "john.doe") // two people
	if p.Mail != "" {
		t.Errorf("took the first of two: %v", p)
	}
	temporary(t, "one of two", begin, err)
	groups, err := l.Groups(t.Context(), "jane.roe@corp.test")
	if len(groups) != 0 {
		t.Errorf("took the first of two: %v", groups)
	}
	temporary(t, "one of two groups", begin, err)
	if _, err := l.ByLogin(t.Context(), "jane"); err != nil {
		t.Errorf("one of one: %v", err)
	}
}

// TestWrongBase: a base that is not there, or that milterd may not see, is no
// answer either.
func TestWrongBase(t *testing.T) {
	s := ldaptest.Start(t, staff)
	for what, change := range map[string]func(*LDAPConfig){
		"no such base": func(c *LDAPConfig) { c.Base = "ou=persons," + ldaptest.Base },
		"anonymous":    func(c *LDAPConfig) { c.BindDN, c.PasswordFile = "", "" },
		"elsewhere":    func(c *LDAPConfig) { c.Base = "dc=elsewhere" },
	} {
		c := config(s)
		change(&c)
		l := openLDAP(t, c)
		begin := time.Now()
		_, err := l.ByLogin(t.Context(), "jane")
		temporary(t, what, begin, err)
		if s := l.Check(t.Context()); s[0].Err == nil {
			t.Errorf("%s: check finds nothing", what)
		}
	}
	l := openLDAP(t, config(s))
	if s := l.Check(t.Context()); len(s) != 1 || s[0].Err != nil {
		t.Errorf("check: %v", s)
	}
	if addr, err := l.Sample(t.Context()); err != nil || !strings.HasSuffix(addr, ".test") {
		t.Errorf("sample: %q, %v", addr, err)
	}
}

// result answers a request with a result code.
func result(request *ber.Packet, tag ber.Tag, code int) *ber.Packet {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, request.Children[0].Value, ""))
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	p.AppendChild(r)
	return p
}

// listenTLS11 stands on a server's good certificate with old TLS.
func listenTLS11(t *testing.T, s *ldaptest.Server) (url string) {
	t.Helper()
	dir := filepath.Dir(s.CA)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	return "ldaps://" + ln.Addr().String()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
