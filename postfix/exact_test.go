package postfix_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/milter"
	"milterd/postfix"
)

// odd is a mail whose bytes a careless hand would change.
func odd(id string) string {
	return "X-Id: " + id + "\r\nX-Fold: one\r\n\ttwo\r\n   three\r\nX-Empty:\r\nX-Blank: \r\nX-Eight: \xfcml\xe4ut\r\nsubject:tight\r\n" +
		"From: Jane <jane@corp.test>\r\nTo: bob@corp.test, john.doe@sign.corp.test\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n" +
		"Message-ID: <" + id + "@corp.test>\r\nDKIM-Signature: v=1; a=x;\r\n b=yyyy\r\n\r\n..two dots\r\n.\r\n.\x01\tcontrol  \r\n\r\nFrom here\r\n" +
		strings.Repeat("long ", 180) + "\r\n\xff\xfe eight bit\r\n\r\n\r\n"
}

// TestExact: several mails on one connection, with RSET between, duplicate and
// mixed recipients: the doors see exactly theirs, the others get their mail byte
// by byte as it was sent.
func TestExact(t *testing.T) {
	s := build(t, postfix.Options{})
	s.clerk.rcpt = func(_ milter.Envelope, r string) (milter.Verdict, error) {
		switch {
		case strings.HasPrefix(r, "gone@"):
			return milter.Pass, errGone
		case strings.HasPrefix(r, "postmaster@"):
			return milter.Pass, nil
		}
		return milter.Take, nil
	}
	k := s.dial(t, "jane")
	var want []string // envelope recipients of each mail taken
	boxed := map[string][]string{}
	send := func(id string, sign []string, others []string, rcpts ...string) {
		k.ok("MAIL FROM:<jane@corp.test> BODY=8BITMIME")
		for _, r := range rcpts {
			reply := k.say("RCPT TO:<" + r + ">")
			if gone := strings.HasPrefix(r, "gone@"); gone != (reply == "550 5.1.1 Nobody has this address.") || !gone && reply[0] != '2' {
				t.Errorf("%s: RCPT %s: %s", id, r, reply)
			}
		}
		k.ok("DATA")
		k.send(dotted(odd(id)) + ".\r\n")
		k.want("250", k.reply())
		if len(sign) > 0 {
			want = append(want, fmt.Sprint(sign))
		}
		for _, o := range others {
			boxed[o] = append(boxed[o], odd(id))
		}
	}
	send("one", []string{"john.doe@sign.corp.test"}, nil, "john.doe@sign.corp.test")
	send("two", []string{"john.doe@sign.corp.test", "self@sign.corp.test"}, []string{"bob@corp.test", "chris@corp.test"},
		"bob@corp.test", "john.doe@sign.corp.test", "gone@sign.corp.test", "John.Doe@Sign.Corp.Test", "self@sign.corp.test", "bob@corp.test", "chris@corp.test")
	send("three", nil, []string{"bob@corp.test"}, "bob@corp.test")
	send("four", nil, []string{"bob@corp.test", "chris@corp.test"}, "gone@sign.corp.test", "bob@corp.test", "postmaster@sign.corp.test")

	// RSET in the middle: after RCPT; a mail given up; a connection lost in the header.
	k.ok("MAIL FROM:<jane@corp.test>", "RCPT TO:<self@sign.corp.test>", "RSET")
	send("five", nil, []string{"bob@corp.test"}, "bob@corp.test")
	k.ok("MAIL FROM:<jane@corp.test>", "RCPT TO:<self@sign.corp.test>", "RCPT TO:<bob@corp.test>", "EHLO again")
	send("six", []string{"bob@sign.corp.test"}, []string{"bob@corp.test"}, "bob@corp.test", "bob@sign.corp.test", "bob@sign.corp.test.", `"bob"@sign.corp.test`)
	lost := s.dial(t, "jane")
	lost.ok("MAIL FROM:<jane@corp.test>", "RCPT TO:<self@sign.corp.test>", "DATA")
	lost.send("Subject: lost\r\n\r\nhalf")
	lost.Close()
	send("seven", []string{"self@sign.corp.test"}, nil, "self@sign.corp.test")

	// Everything at once (RFC 2920), and a body with what looks like commands.
	k.send("MAIL FROM:<jane@corp.test>\r\nRCPT TO:<self@sign.corp.test>\r\nRCPT TO:<bob@corp.test>\r\nRCPT TO:<gone@sign.corp.test>\r\nDATA\r\n")
	for _, code := range []string{"250", "250", "250", "550", "354"} {
		k.want(code, k.reply())
	}
	k.send(dotted(odd("eight")+"MAIL FROM:<x@y>\r\nRCPT TO:<bob@sign.corp.test>\r\nDATA\r\n") + ".\r\nRSET\r\nMAIL FROM:<jane@corp.test>\r\nRCPT TO:<john.doe@sign.corp.test>\r\nDATA\r\n")
	for _, code := range []string{"250", "250", "250", "250", "354"} {
		k.want(code, k.reply())
	}
	k.send(dotted(odd("nine")) + ".\r\nQUIT\r\n")
	k.want("250", k.reply())
	k.want("221", k.reply())
	want = append(want, "[self@sign.corp.test]", "[john.doe@sign.corp.test]")
	boxed["bob@corp.test"] = append(boxed["bob@corp.test"], odd("eight")+"MAIL FROM:<x@y>\r\nRCPT TO:<bob@sign.corp.test>\r\nDATA\r\n")

	got := s.clerk.wait(t, len(want))
	ids := []string{"one", "two", "six", "seven", "eight", "nine"}
	for i, g := range got {
		if fmt.Sprint(g.Recipients) != want[i] || g.Relayed || g.Login != "jane" || g.From != "jane@corp.test" || !strings.HasPrefix(g.raw, odd(ids[i])) {
			t.Errorf("%s: envelope %+v, want %s; mail\n%q\nwant\n%q", ids[i], g.Envelope, want[i], g.raw, odd(ids[i]))
		}
	}
	s.empty(t)
	for addr, mails := range boxed {
		if got := s.box(t, addr, len(mails)); !same(got, mails) {
			t.Errorf("%s has\n%q\nwant\n%q", addr, got, mails)
		}
	}
}

// same compares mails in any order.
func same(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// TestMixedThroughBothDoors: an alias leads to the sign domain behind the
// milter's back. Both doors see the mail, each with its own recipients.
func TestMixedThroughBothDoors(t *testing.T) {
	maps := postfix.Settings(postfix.Site{SignDomain: "sign.corp.test", Postmaster: "chris@corp.test"})
	i := slices.IndexFunc(maps, func(s postfix.Setting) bool { return s.Name == "virtual_alias_maps" })
	s := build(t, postfix.Options{Settings: []string{"virtual_alias_maps = " + maps[i].Value + " inline:{ {sales@corp.test = john.doe@sign.corp.test, bob@corp.test} }"}})
	k := s.dial(t, "jane")
	k.want("250", k.mail("jane@corp.test", []string{"self@sign.corp.test", "sales@corp.test"}, odd("alias")))
	got := s.clerk.wait(t, 2)
	if got[0].Relayed || fmt.Sprint(got[0].Recipients) != "[self@sign.corp.test]" || got[0].raw != odd("alias") {
		t.Errorf("the milter saw %+v", got[0])
	}
	if !got[1].Relayed || fmt.Sprint(got[1].Recipients) != "[john.doe@sign.corp.test]" || untraced(got[1].raw) != odd("alias") {
		t.Errorf("by LMTP came %+v\n%q\n%q", got[1].Envelope, untraced(got[1].raw), odd("alias"))
	}
	if got := s.box(t, "bob@corp.test", 1)[0]; got != odd("alias") {
		t.Errorf("bob has %q", got)
	}
	s.empty(t)
}

// TestChrooted: as Debian ships Postfix, with sockets below queue_directory.
func TestChrooted(t *testing.T) {
	s := build(t, postfix.Options{Chroot: true})
	k := s.dial(t, "jane")
	k.want("250", k.mail("jane@corp.test", []string{"self@sign.corp.test", "bob@corp.test"}, odd("jail")))
	if got := s.clerk.wait(t, 1)[0]; got.Relayed || got.raw != odd("jail") {
		t.Errorf("the milter saw %+v", got)
	}
	s.box(t, "bob@corp.test", 1)
	if err := s.Submit(t.Context(), "jane@corp.test", []string{"self@sign.corp.test"}, []byte(odd("submitted"))); err != nil {
		t.Fatal(err)
	}
	if got := s.clerk.wait(t, 1)[0]; got.Relayed {
		t.Errorf("the milter did not see what sendmail submitted: %+v", got)
	}
	s.empty(t)
	if l := s.Log(); strings.Contains(l, "warning:") {
		t.Error("Postfix warns")
	}
	s.close()
	k.want("250", k.mail("jane@corp.test", []string{"self@sign.corp.test"}, odd("jail 2")))
	s.open(t)
	if got := s.flush(t); !got.Relayed {
		t.Errorf("by LMTP came %+v", got)
	}
	s.empty(t)
}

// TestBounces: Postfix's own bounces of our mail pass no milter and come by
// LMTP; a bounce from outside comes to the milter. Both are for bounce+TOKEN.
func TestBounces(t *testing.T) {
	s := build(t, postfix.Options{Settings: []string{"smtpd_reject_unlisted_recipient = no"}})
	k := s.dial(t, "")
	k.want("250", k.mail("bounce+token.1@sign.corp.test", []string{"gone@corp.test"}, letter("invitation")))
	got := s.clerk.wait(t, 1)[0]
	if !got.Relayed || got.From != "" || fmt.Sprint(got.Recipients) != "[bounce+token.1@sign.corp.test]" ||
		!strings.Contains(got.raw, "Content-Type: multipart/report; report-type=delivery-status;") || !strings.Contains(got.raw, "\r\nFinal-Recipient: rfc822; gone@corp.test\r\n") {
		t.Errorf("by LMTP came %+v %s", got.Envelope, got.raw)
	}
	k.want("250", k.mail("", []string{"bounce+token.2@sign.corp.test"}, letter("Undelivered Mail")))
	if got := s.clerk.wait(t, 1)[0]; got.Relayed || got.From != "" || fmt.Sprint(got.Recipients) != "[bounce+token.2@sign.corp.test]" {
		t.Errorf("the milter saw %+v", got.Envelope)
	}
	s.empty(t)
}

// TestFifty: fifty connections at once, among them slow ones; nobody's mail is
// mixed up, and nobody waits for the slow ones.
func TestFifty(t *testing.T) {
	s := build(t, postfix.Options{})
	const n = 50
	var slow []*talk
	for i := range 5 {
		k := s.dial(t, "jane")
		k.ok("MAIL FROM:<jane@corp.test>", "RCPT TO:<self@sign.corp.test>", "DATA")
		k.send(fmt.Sprintf("X-Id: slow%d\r\nSubject: sl", i))
		slow = append(slow, k)
	}
	begin := time.Now()
	talks := make([]*talk, n)
	for i := range talks {
		talks[i] = s.dial(t, "jane")
	}
	var wait sync.WaitGroup
	for i, k := range talks {
		wait.Go(func() {
			for j := range 2 {
				id := fmt.Sprintf("m%d.%d", i, j)
				for _, l := range []string{"MAIL FROM:<jane@corp.test>", fmt.Sprintf("RCPT TO:<p%d.%d@sign.corp.test>", i, j), "RCPT TO:<bob@corp.test>", "DATA"} {
					if r := k.try(l + "\r\n"); r == "" || r[0] > '3' {
						t.Errorf("%s: %s: %s", id, l, r)
						return
					}
				}
				if r := k.try(dotted(odd(id)) + ".\r\n"); !strings.HasPrefix(r, "250") {
					t.Errorf("%s: %s", id, r)
				}
			}
		})
	}
	wait.Wait()
	took := time.Since(begin)
	for _, k := range slow {
		k.send("ow\r\n\r\nbody\r\n.\r\n")
		k.want("250", k.reply())
	}
	seen := map[string]bool{}
	for _, g := range s.clerk.wait(t, 2*n+len(slow)) {
		id, _, _ := strings.Cut(strings.TrimPrefix(g.raw, "X-Id: "), "\r\n")
		want := "[p" + strings.TrimPrefix(id, "m") + "@sign.corp.test]"
		if strings.HasPrefix(id, "slow") {
			want = "[self@sign.corp.test]"
		} else if g.raw != odd(id) {
			t.Errorf("%s was changed: %q", id, g.raw)
		}
		if seen[id] || fmt.Sprint(g.Recipients) != want || g.Relayed {
			t.Errorf("%s: %+v", id, g.Envelope)
		}
		seen[id] = true
	}
	bobs := s.box(t, "bob@corp.test", 2*n)
	for _, m := range bobs {
		id, _, _ := strings.Cut(strings.TrimPrefix(m, "X-Id: "), "\r\n")
		if m != odd(id) {
			t.Errorf("bob has %q", m)
		}
	}
	t.Logf("%d mails on %d connections in %s", 2*n, n, took)
	s.empty(t)
}

// try is say for goroutines: "" when it fails.
func (k *talk) try(send string) string {
	k.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := net.Conn.Write(k.Conn, []byte(send)); err != nil {
		return ""
	}
	for {
		l, err := k.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if len(l) < 4 || l[3] != '-' {
			return strings.TrimSpace(l)
		}
	}
}
