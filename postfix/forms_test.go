package postfix_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"milterd/postfix"
)

// forms reads testdata/addresses.txt.
func forms(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../testdata/addresses.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		out = append(out, unescape(strings.TrimPrefix(l, "~")))
	}
	return out
}

var escapes = regexp.MustCompile(`\\x[0-9A-F]{2}|\\u\{[0-9A-F]+\}`)

// unescape gives the bytes that a line of the table means.
func unescape(l string) string {
	return escapes.ReplaceAllStringFunc(l, func(e string) string {
		n, _ := strconv.ParseUint(strings.Trim(e[2:], "{}"), 16, 32)
		if e[1] == 'x' {
			return string([]byte{byte(n)})
		}
		return string(rune(n))
	})
}

// lenient lets a client make as many mistakes as it likes.
var lenient = []string{"smtpd_error_sleep_time = 0", "smtpd_soft_error_limit = 10000", "smtpd_hard_error_limit = 10000"}

// TestForms shows every form to Postfix with several settings, together with
// another recipient. The milter takes it, or it is refused; the other recipient
// gets the mail, and nothing else leaves Postfix: neither to the sink, where
// mail for the world would go, nor to the LMTP door, which is not where a mail
// that the milter has seen should come.
func TestForms(t *testing.T) {
	sink, visits := listen(t)
	toSink := []string{"default_transport = smtp:[127.0.0.1]:" + sink, "relay_transport = smtp:[127.0.0.1]:" + sink,
		"local_transport = smtp:[127.0.0.1]:" + sink}
	for name, settings := range map[string][]string{
		"as Debian ships it": {"recipient_delimiter = +"},
		"without hacks":      {"allow_percent_hack = no", "swap_bangpath = no", "resolve_dequoted_address = no"},
		"rewriting little":   {"append_at_myorigin = no", "append_dot_mydomain = yes", "remote_header_rewrite_domain = elsewhere.test", "smtputf8_enable = no", "recipient_delimiter = +-"},
		"strict":             {"strict_rfc821_envelopes = yes", "resolve_null_domain = yes", "resolve_numeric_domain = yes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := build(t, postfix.Options{Settings: slices.Concat(settings, lenient, toSink)})
			k := s.dial(t, "jane")
			n := 0
			for _, f := range forms(t) {
				k.ok("MAIL FROM:<jane@corp.test>" + smtputf8(f, settings))
				if r := k.say("RCPT TO:<" + f + ">"); r[0] != '2' {
					if r[0] == '4' {
						t.Errorf("%q: %s", f, r)
					}
					k.ok("RSET")
					continue
				}
				n++
				k.ok("RCPT TO:<bob@corp.test>", "DATA")
				k.send(letter(fmt.Sprint("form ", n)) + ".\r\n")
				k.want("250", k.reply())
				s.clerk.mu.Lock()
				got := s.clerk.taken
				s.clerk.taken = nil
				s.clerk.mu.Unlock()
				if len(got) != 1 || got[0].Relayed || len(got[0].Recipients) != 1 || !strings.HasSuffix(got[0].Recipients[0], "@sign.corp.test") {
					t.Errorf("form %d, %q, passed: %v", n, f, got)
				}
			}
			s.empty(t)
			if n < 20 {
				t.Errorf("only %d forms accepted", n)
			}
			s.box(t, "bob@corp.test", n)
			s.clerk.wait(t, 0)
			for l := range strings.Lines(s.Log()) {
				if strings.Contains(l, " to=<") && strings.Contains(l, " relay=") && !strings.Contains(l, " to=<bob@corp.test>, relay=virtual,") {
					t.Errorf("left by another way: %s", l)
				}
			}
			if v := visits.Load(); v != 0 {
				t.Errorf("%d visits at the sink", v)
			}
		})
	}
}

// TestFormsOfStrangers: in no form does Postfix take a stranger's mail while
// milterd is away.
func TestFormsOfStrangers(t *testing.T) {
	s := build(t, postfix.Options{Milter: "unix:/nonexistent", LMTP: "unix:/nonexistent", Settings: lenient})
	k := s.dial(t, "")
	for _, f := range forms(t) {
		k.ok("MAIL FROM:<jane@corp.test>" + smtputf8(f, nil))
		if r := k.say("RCPT TO:<" + f + ">"); r[0] == '2' {
			t.Errorf("%q: %s", f, r)
		}
		k.ok("RSET")
	}
}

// smtputf8 is the parameter of MAIL for an address that needs it.
func smtputf8(f string, settings []string) string {
	if slices.Contains(settings, "smtputf8_enable = no") || !strings.ContainsFunc(f, func(r rune) bool { return r > 127 }) {
		return ""
	}
	return " SMTPUTF8"
}

// listen counts who comes to a port, and says nothing.
func listen(t *testing.T) (port string, visits *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	visits = &atomic.Int64{}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port, visits
}
