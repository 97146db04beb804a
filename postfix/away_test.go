package postfix_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"milterd/milter"
	"milterd/postfix"
)

// TestAway: with milterd away other mail flows, sign mail waits in the queue for
// the LMTP door, and strangers are refused by Postfix.
func TestAway(t *testing.T) {
	s := build(t, postfix.Options{})
	s.close()
	k := s.dial(t, "jane")
	raw := letter("while away")
	k.want("250", k.mail("jane@corp.test", []string{"bob@corp.test", "john.doe@sign.corp.test", "self@sign.corp.test"}, raw))
	if got := s.box(t, "bob@corp.test", 1)[0]; got != raw {
		t.Errorf("bob has %q", got)
	}
	stranger := s.dial(t, "")
	stranger.ok("MAIL FROM:<jane@corp.test>")
	for _, rcpt := range []string{"john.doe@sign.corp.test", "SELF@Sign.Corp.Test", "x%sign.corp.test@mx.corp.test", "sign.corp.test!x"} {
		if got, want := stranger.say("RCPT TO:<"+rcpt+">"), fmt.Sprintf("550 5.7.1 <%s>: Recipient address rejected: The signature desk cannot tell who you are; "+
			"log in to your mail server to send to sign.corp.test.", rcpt); got != want {
			t.Errorf("a stranger hears\n%s, want\n%s", got, want)
		}
	}
	stranger.ok("RCPT TO:<bob@corp.test>", "RCPT TO:<bounce+token@sign.corp.test>", "RCPT TO:<check+tag@sign.corp.test>", "RCPT TO:<postmaster@sign.corp.test>", "RSET")
	until(t, func() bool { return strings.Contains(s.Log(), "status=deferred") })
	s.clerk.wait(t, 0)
	s.open(t)
	got := s.flush(t)
	slices.Sort(got.Recipients)
	if !got.Relayed || got.From != "jane@corp.test" || fmt.Sprint(got.Recipients) != "[john.doe@sign.corp.test self@sign.corp.test]" || untraced(got.raw) != raw {
		t.Errorf("by LMTP came %+v", got)
	}
	if !strings.Contains(got.raw, "(Authenticated sender: jane)") {
		t.Errorf("no proof of the login in %q", got.raw)
	}
	s.empty(t)
}

// TestTooLarge: the client hears at the end of a mail that it is too large, since
// milterd answers no piece of it, and can go on with the next one.
func TestTooLarge(t *testing.T) {
	s := build(t, postfix.Options{})
	k := s.dial(t, "jane")
	to := []string{"bob@corp.test", "self@sign.corp.test"}
	k.want("552 5.3.4 This mail is larger than the 1 MB that the signature desk takes; send fewer or smaller documents.",
		k.mail("jane@corp.test", to, letter("too large")+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20000)))
	raw := letter("small")
	k.want("250", k.mail("jane@corp.test", to, raw))
	if got := s.box(t, "bob@corp.test", 1)[0]; got != raw {
		t.Errorf("bob has %q", got)
	}
	if got := s.clerk.wait(t, 1)[0]; got.raw != raw {
		t.Errorf("%q came", got.raw)
	}
	s.empty(t)
}

// TestRelayedTooLarge: a mail that is larger than milterd takes is not bounced by
// Postfix, whoever its sender is: it comes by LMTP, cut, and milterd decides.
func TestRelayedTooLarge(t *testing.T) {
	s := build(t, postfix.Options{Milter: "unix:/nonexistent"})
	k := s.dial(t, "jane")
	raw := letter("too large") + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 20000)
	k.want("250", k.mail("jane@corp.test", []string{"self@sign.corp.test"}, raw))
	got := s.clerk.wait(t, 1)[0]
	if !got.Relayed || len(got.raw) != 1<<20+1 || !strings.HasPrefix(raw, untraced(got.raw)) {
		t.Errorf("%d bytes came: %+v", len(got.raw), got)
	}
	s.empty(t)
	if mails, err := s.Mails("jane@corp.test"); err != nil || len(mails) != 0 {
		t.Errorf("jane has %q, %v", mails, err)
	}
}

// TestSubdomains: a stranger can relay to no subdomain of the sign domain, also
// where strangers may write to the sign domain itself.
func TestSubdomains(t *testing.T) {
	s := build(t, postfix.Options{Strangers: true, Settings: append([]string{"smtpd_authorized_xclient_hosts = 127.0.0.1"}, lenient...)})
	k := s.dial(t, "")
	k.ok("XCLIENT ADDR=192.0.2.77 NAME=[UNAVAILABLE]", "EHLO stranger.test", "MAIL FROM:<a@stranger.test>", "RCPT TO:<self@sign.corp.test>", "RCPT TO:<self@SIGN.corp.test>")
	for _, rcpt := range []string{"x@sub.sign.corp.test", "x@a.b.sign.corp.test", "x@xsign.corp.test", "x@signxcorp.test", "x@sign.corp.test.elsewhere.test"} {
		k.want("454 4.7.1", k.say("RCPT TO:<"+rcpt+">"))
	}
}

// TestTempfail: where the LMTP door could prove no login, all mail waits at its client.
func TestTempfail(t *testing.T) {
	value := postfix.Settings(postfix.Site{SignDomain: "sign.corp.test", Milter: "unix:/nonexistent", LMTP: "unix:/nonexistent"})[0].Value
	s := build(t, postfix.Options{Settings: []string{"smtpd_milters = " + value}})
	k := s.dial(t, "")
	k.want("451", k.say("MAIL FROM:<jane@corp.test>"))
}

// faults is a milter that hands everything on to the real one until a fault.
type faults struct {
	mu      sync.Mutex
	command byte // of the milter protocol
	how     string
	stalled []net.Conn
}

func (f *faults) set(command byte, how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.command, f.how = command, how
	for _, c := range f.stalled {
		c.Close()
	}
	f.stalled = nil
}

func (f *faults) serve(ln net.Listener, door string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go f.talk(c, door)
	}
}

func (f *faults) talk(c net.Conn, door string) {
	d, err := net.Dial("unix", door)
	if err != nil {
		c.Close()
		return
	}
	quiet := &mutable{c: c}
	go func() { io.Copy(quiet, d); c.Close() }()
	defer d.Close()
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-1)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		f.mu.Lock()
		hit := f.command == head[4]
		how := f.how
		if hit && how != "dies" {
			quiet.mute(how == "dies after its work")
			f.stalled = append(f.stalled, c)
		}
		f.mu.Unlock()
		if hit && how == "dies" {
			c.Close()
			return
		}
		if hit && how == "stalls" {
			io.Copy(io.Discard, c)
			return
		}
		d.Write(slices.Concat(head[:], body))
		if hit { // "after its work": the real milter does it, and Postfix never hears
			io.Copy(io.Discard, c)
			return
		}
	}
}

// mutable writes nothing once it is mute, or closes then.
type mutable struct {
	mu          sync.Mutex
	c           net.Conn
	mut, closes bool
}

func (m *mutable) mute(closes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mut, m.closes = true, closes
}

func (m *mutable) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mut && m.closes {
		m.c.Close()
	}
	if m.mut {
		return len(p), nil
	}
	return m.c.Write(p)
}

// TestFaults: wherever the milter dies or stalls, the client hears 250, the sign
// recipients get to the LMTP door, and everyone else gets the mail as it was.
// Where the milter had done its work before, the clerk sees the same mail twice.
func TestFaults(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "f")
	ln, err := milter.Listen("unix:"+socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	value := postfix.Settings(postfix.Site{SignDomain: "sign.corp.test", Milter: "unix:" + socket, LMTP: "unix:x", ReceivedBy: "mx.corp.test"})[0].Value
	if !strings.Contains(value, "default_action=accept, connect_timeout=2s, command_timeout=5s, content_timeout=60s") {
		t.Fatal(value)
	}
	impatient := strings.NewReplacer("=5s", "=2s", "=60s", "=2s").Replace(value)
	s := build(t, postfix.Options{Milter: "unix:" + socket, Settings: []string{"smtpd_milters = " + impatient}})
	f := &faults{}
	go f.serve(ln, s.milter)
	t.Cleanup(func() { f.set(0, "") })
	n := 0
	for how, commands := range map[string]string{"dies": "OMRLNBE", "stalls": "OMRLE"} {
		for _, command := range commands {
			t.Run(fmt.Sprintf("%s at %c", how, command), func(t *testing.T) {
				n++
				f.set(byte(command), how)
				s.fault(t, n, 1)
			})
		}
	}
	for _, how := range []string{"stalls after its work", "dies after its work"} {
		t.Run(how, func(t *testing.T) {
			n++
			f.set('E', how)
			s.fault(t, n, 2)
		})
	}
	f.set(0, "")
	s.empty(t)
}

// fault sends the nth mail to both kinds of recipients, which the clerk sees
// the given number of times.
func (s *site) fault(t *testing.T, n, times int) {
	raw := letter(fmt.Sprintf("fault %d", n))
	k := s.dial(t, "jane")
	k.want("250", k.mail("jane@corp.test", []string{"john.doe@sign.corp.test", "bob@corp.test", "self@sign.corp.test"}, raw))
	if got := s.box(t, "bob@corp.test", n)[n-1]; got != raw {
		t.Errorf("bob has %q", got)
	}
	got := s.clerk.wait(t, times)
	last := got[len(got)-1]
	slices.Sort(last.Recipients)
	if !last.Relayed || fmt.Sprint(last.Recipients) != "[john.doe@sign.corp.test self@sign.corp.test]" || untraced(last.raw) != raw {
		t.Errorf("by LMTP came %+v", last)
	}
	if times == 2 && (got[0].Relayed || got[0].raw != raw) {
		t.Errorf("the milter took %+v", got[0])
	}
	stranger := s.dial(t, "")
	stranger.ok("MAIL FROM:<jane@corp.test>")
	stranger.want("550 5.7.1", stranger.say("RCPT TO:<self@sign.corp.test>"))
	stranger.Close()
	k.Close()
}

// TestNotAliased: postmaster's mail that Postfix would deliver to milterd stays
// in the queue and says why, until the administrator has mended the alias.
func TestNotAliased(t *testing.T) {
	aliases := filepath.Join(t.TempDir(), "aliases")
	write := func(text string) {
		if err := os.WriteFile(aliases, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	s := build(t, postfix.Options{Settings: []string{"virtual_alias_maps = texthash:" + aliases}})
	k := s.dial(t, "")
	k.want("250", k.mail("somebody@elsewhere.test", []string{"postmaster@sign.corp.test"}, letter("help")))
	until(t, func() bool {
		return strings.Contains(s.Log(), "status=deferred (host mx.corp.test["+s.lmtp+"] said: 451 4.3.5 This address belongs to a person: Postfix lacks its line")
	})
	write("postmaster@sign.corp.test chris@corp.test\n")
	for _, command := range []string{"postfix -c " + s.conf + " reload", "postsuper -c " + s.conf + " -r ALL"} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	if err := s.Submit(t.Context(), "jane@corp.test", []string{"bob@corp.test"}, []byte(letter("wakes pickup"))); err != nil {
		t.Fatal(err)
	}
	if got := s.box(t, "chris@corp.test", 1)[0]; got != letter("help") {
		t.Errorf("chris has %q", got)
	}
	s.clerk.wait(t, 0)
	s.empty(t)
}

// TestRelayedTwice: an LMTP door that dies between its commit and its answer
// sees the same mail again.
func TestRelayedTwice(t *testing.T) {
	s := build(t, postfix.Options{Milter: "unix:/nonexistent"})
	door := s.door
	s.clerk.after = func(milter.Envelope) error {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		door.Shutdown(cut)
		return nil
	}
	raw := letter("relayed twice")
	k := s.dial(t, "jane")
	k.want("250", k.mail("jane@corp.test", []string{"john.doe@sign.corp.test"}, raw))
	first := s.clerk.wait(t, 1)[0]
	until(t, func() bool { return strings.Contains(s.Log(), "status=deferred") })
	s.clerk.after = nil
	s.open(t)
	again := s.flush(t)
	if !first.Relayed || first.raw != again.raw || fmt.Sprint(first.Envelope) != fmt.Sprint(again.Envelope) {
		t.Errorf("first came %+v, then %+v", first, again)
	}
	s.empty(t)
}
