package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/directory"
	"milterd/intake/origin"
	"milterd/intake/origin/origintest"
	"milterd/milter"
	"milterd/workflow"
)

// team is a directory with groups, which counts what it is asked.
type team struct {
	people
	asked *int
}

func (d team) ByAddress(ctx context.Context, a string) (workflow.Person, error) {
	*d.asked++
	return d.people.ByAddress(ctx, a)
}

func (d team) ByLocalPart(ctx context.Context, l string) (workflow.Person, error) {
	*d.asked++
	return d.people.ByLocalPart(ctx, l)
}

func (d team) Group(_ context.Context, local string) ([]workflow.Person, error) {
	*d.asked++
	var out []workflow.Person
	switch strings.ToLower(local) {
	case "all":
		for _, n := range []string{"jane", "john", "bob"} {
			out = append(out, workflow.Person{Mail: n + "@corp.test", Name: n, Language: "en"})
		}
	case "john": // a person of that name wins
		out = []workflow.Person{{Mail: "bob@corp.test"}}
	case "nobodies":
	case "crowd":
		return nil, directory.ErrTooMany
	case "twins":
		return nil, directory.ErrAmbiguous
	case "away":
		return nil, errors.New("connection refused")
	default:
		return nil, directory.ErrNotFound
	}
	return out, nil
}

func (d team) Groups(_ context.Context, mail string) ([]string, error) {
	switch mail {
	case "jane@corp.test":
		return []string{"staff", "cn=board,dc=corp"}, nil
	case "bob@corp.test":
		return nil, errors.New("connection refused")
	case "with+plus@corp.test":
		return nil, directory.ErrTooMany
	}
	return nil, nil
}

var (
	dkimKey = origintest.RSA(2048)
	stolen  = origintest.RSA(2048)
	started = time.Now()
)

// strict is a desk that believes signatures of corp.test and the Received lines
// of mx.corp.test.
func strict() (in *Intake, o *opener, z *origintest.Zone, asked *int, counted *[]string) {
	in, o = desk()
	asked, counted = new(int), new([]string)
	z = &origintest.Zone{Records: map[string][]string{"sel._domainkey.corp.test": {dkimKey.Record("")}}}
	in.Directory = team{asked: asked}
	in.Origin = &origin.Checker{Domains: []string{"corp.test"}, ReceivedBy: "mx.corp.test", Resolver: z, Now: func() time.Time { return started }}
	in.Count = func(s string) { *counted = append(*counted, s) }
	return in, o, z, asked, counted
}

// letter is a mail with one PDF; each change replaces text of it.
func letter(from, to string, changes ...string) string {
	s := "From: " + from + "\r\nTo: " + to + "\r\nSubject: x\r\nDate: " + started.Format(time.RFC1123Z) + "\r\nMessage-ID: <1@corp.test>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-1.7 x\r\n--b--\r\n"
	return strings.NewReplacer(changes...).Replace(s)
}

func signed(m string) []byte {
	return dkimKey.Sign([]byte(m), "corp.test", "sel", started.Unix())
}

var stranger = milter.Envelope{Client: netip.MustParseAddr("198.51.100.7"), From: "jane@corp.test", Recipients: []string{"john@sign.corp.test"}}

// TestStrangersLearnNothing: at RCPT, all who are not logged in hear the same,
// whoever is asked and whoever they say they are, and the directory is not asked.
func TestStrangersLearnNothing(t *testing.T) {
	in, _, _, asked, _ := strict()
	for _, from := range []string{"jane@corp.test", "nobody@corp.test", "x@evil.test"} {
		for _, rcpt := range []string{"john", "nobody", "self", "all", "nobodies", "john+standard", "john+x", "self+qualified", "check+aaaa", "postmaster+1", "abuse+"} {
			e := stranger
			e.From, e.Recipients = from, nil
			if v, err := in.Recipient(t.Context(), e, rcpt+"@sign.corp.test"); v != milter.Take || err != nil {
				t.Errorf("%s to %s: %v, %v", from, rcpt, v, err)
			}
		}
	}
	// Nor do they learn it at the end of a mail that proves nothing.
	var answers []string
	for _, rcpt := range []string{"john", "nobody", "all"} {
		for _, from := range []string{"jane@corp.test", "nobody@corp.test"} {
			e := stranger
			e.From, e.Recipients = from, []string{rcpt + "@sign.corp.test"}
			err := in.Message(t.Context(), e, []byte(letter(from, rcpt+"@sign.corp.test")))
			answers = append(answers, fmt.Sprint(err))
		}
	}
	if len(slices.Compact(answers)) != 1 || !strings.HasPrefix(answers[0], "550 5.7.1 The signature desk cannot tell who you are: ") {
		t.Errorf("answers %q", answers)
	}
	if *asked != 0 {
		t.Errorf("the directory was asked %d times", *asked)
	}
	in.Origin.Domains = nil
	if v, err := in.Recipient(t.Context(), stranger, "postmaster+1@sign.corp.test"); v == milter.Pass && err == nil {
		t.Error("a stranger's mail to postmaster+1 stays in Postfix's queue, and bounces to whomever it names")
	}
	if _, err := in.Recipient(t.Context(), stranger, "john@sign.corp.test"); reason(err) != "550 5.7.1 unproven-sender" || *asked != 0 {
		t.Errorf("without DKIM: %v", err)
	}
}

func TestSignedMail(t *testing.T) {
	good := letter("jane@corp.test", "john@sign.corp.test")
	for name, c := range map[string]struct {
		raw    []byte
		rcpt   []string
		change func(*Intake, *origintest.Zone)
		want   string
	}{
		"as it should be":     {raw: signed(good), want: "opened jane@corp.test for [john@corp.test] by dkim corp.test"},
		"to several":          {raw: signed(letter("jane@corp.test", "john@sign.corp.test, Me <self@sign.corp.test>")), rcpt: []string{"john@sign.corp.test", "self@sign.corp.test"}, want: "opened jane@corp.test for [john@corp.test jane@corp.test] by dkim corp.test"},
		"unsigned":            {raw: []byte(good), want: "550 5.7.1 unproven-sender"},
		"by somebody else":    {raw: stolen.Sign([]byte(good), "corp.test", "sel", started.Unix()), want: "550 5.7.1 unproven-sender"},
		"to another":          {raw: signed(good), rcpt: []string{"bob@sign.corp.test"}, want: "550 5.7.1 unproven-sender"},
		"to another as well":  {raw: signed(good), rcpt: []string{"john@sign.corp.test", "bob@sign.corp.test"}, want: "550 5.7.1 unproven-sender"},
		"unknown sender":      {raw: signed(letter("no@corp.test", "john@sign.corp.test")), want: "550 5.7.1 unknown-sender"},
		"unknown signatory":   {raw: signed(letter("jane@corp.test", "no@sign.corp.test")), rcpt: []string{"no@sign.corp.test"}, want: "550 5.1.1 unknown-signatory"},
		"unknown level":       {raw: signed(letter("jane@corp.test", "john+x@sign.corp.test")), rcpt: []string{"john+x@sign.corp.test"}, want: "550 5.1.3 unknown-level"},
		"two authors":         {raw: signed(letter("jane@corp.test, bob@corp.test", "john@sign.corp.test")), want: "554 5.7.1 bad-from"},
		"DNS away":            {raw: signed(good), change: func(_ *Intake, z *origintest.Zone) { z.Away = &net.DNSError{IsTemporary: true} }, want: "451 4.4.3 dns-away"},
		"directory away":      {raw: signed(good), change: func(in *Intake, _ *origintest.Zone) { in.Directory = people{away: true} }, want: "451 4.4.3 directory-away"},
		"automatic":           {raw: signed("Auto-Submitted: auto-replied\r\n" + good), want: "left alone"},
		"from a list":         {raw: signed("List-Id: <x>\r\n" + good), want: "left alone"},
		"in bulk":             {raw: signed("Precedence: bulk\r\n" + good), want: "left alone"},
		"over 30 hops":        {raw: append(bytes.Repeat([]byte("Received: x\r\n"), 31), signed(good)...), want: "left alone"},
		"over 31 hops, minus": {raw: append(bytes.Repeat([]byte("Received: x\r\n"), 30), signed(good)...), want: "opened jane@corp.test for [john@corp.test] by dkim corp.test"},
	} {
		t.Run(name, func(t *testing.T) {
			in, o, z, _, counted := strict()
			if c.change != nil {
				c.change(in, z)
			}
			e := stranger
			if c.rcpt != nil {
				e.Recipients = c.rcpt
			}
			if got := outcome(in.Message(t.Context(), e, c.raw), o, *counted); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// outcome says in a few words what became of a mail.
func outcome(err error, o *opener, counted []string) string {
	switch {
	case err != nil:
		return reason(err)
	case len(o.opened) == 1:
		var who []string
		for _, p := range o.opened[0].Signatories {
			who = append(who, p.Mail)
		}
		return fmt.Sprintf("opened %s for %v by %s", o.opened[0].Sender.Mail, who, o.opened[0].ProvenBy)
	case slices.Equal(counted, []string{"left-alone"}):
		return "left alone"
	}
	return strings.Join(counted, " ")
}

// TestLoginDecides: a signature that Postfix itself put on the mail of whoever
// is logged in helps nobody to write in another's name.
func TestLoginDecides(t *testing.T) {
	in, _, _, _, _ := strict()
	e := stranger
	e.Login = "bob"
	if _, err := in.Recipient(t.Context(), e, "john@sign.corp.test"); reason(err) != "550 5.7.1 envelope-not-yours" {
		t.Errorf("envelope: %v", err)
	}
	e.From = "bob@corp.test"
	if err := in.Message(t.Context(), e, signed(letter("jane@corp.test", "john@sign.corp.test"))); reason(err) != "550 5.7.1 from-not-yours" {
		t.Errorf("From: %v", err)
	}
	e.Login = "unknown"
	if err := in.Message(t.Context(), e, signed(letter("jane@corp.test", "john@sign.corp.test"))); reason(err) != "550 5.7.1 unknown-login" {
		t.Errorf("login: %v", err)
	}
}

const (
	byLogin = "Received: from client.corp.test (localhost [192.0.2.99])\r\n\t(Authenticated sender: jane)\r\n" +
		"\tby mx.corp.test (Postfix) with ESMTPSA id 4F2A1\r\n\tfor <team@corp.test>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
	byScanner = "Received: from scanner (scanner.corp.test [192.0.2.10])\r\n\tby mx.corp.test (Postfix) with ESMTP id 4F2A1;\r\n\tMon, 23 Nov 2026 10:00:00 +0000 (UTC)\r\n"
)

// TestRelayed: what the LMTP door makes of mail for which Postfix has answered.
func TestRelayed(t *testing.T) {
	good := letter("jane@corp.test", "john@sign.corp.test")
	for name, c := range map[string]struct {
		raw    string
		from   string // envelope; jane's without
		rcpt   string
		change func(*Intake, *opener, *origintest.Zone)
		want   string
	}{
		"login":                              {raw: byLogin + good, want: "opened jane@corp.test for [john@corp.test] by sasl jane, told by mx.corp.test"},
		"trusted client":                     {raw: byScanner + good, from: "scanner@corp.test", want: "opened jane@corp.test for [john@corp.test] by client 192.0.2.10, told by mx.corp.test"},
		"signature":                          {raw: string(signed(good)), from: "x@elsewhere.test", want: "opened jane@corp.test for [john@corp.test] by dkim corp.test"},
		"unproven":                           {raw: good, want: "dropped"},
		"unproven, null sender":              {raw: good, from: "<>", want: "dropped"},
		"signature, null sender":             {raw: string(signed(good)), from: "<>", want: "dropped"},
		"login, null sender":                 {raw: byLogin + good, from: "<>", want: "dropped"},
		"login of another host":              {raw: strings.Replace(byLogin, "by mx.corp", "by mx.evil", 1) + good, want: "dropped"},
		"unknown login":                      {raw: strings.Replace(byLogin, "jane", "robot", 1) + good, want: "dropped"},
		"login, another's envelope":          {raw: byLogin + good, from: "bob@corp.test", want: "dropped"},
		"login, another's From":              {raw: byLogin + letter("bob@corp.test", "john@sign.corp.test"), want: "550 5.7.1 from-not-yours"},
		"login, signed in another's name":    {raw: byLogin + string(signed(letter("bob@corp.test", "john@sign.corp.test"))), want: "550 5.7.1 from-not-yours"},
		"login, unknown signatory":           {raw: byLogin + good, rcpt: "no@sign.corp.test", want: "550 5.1.1 unknown-signatory"},
		"login, broken MIME":                 {raw: byLogin + strings.Replace(good, "boundary=b", "boundary", 1), want: "554 5.6.0 broken-mime"},
		"login, nothing attached":            {raw: byLogin + strings.Replace(good, "multipart/mixed; boundary=b", "text/plain", 1), want: "554 5.6.2 no-attachment"},
		"login, answer address":              {raw: byLogin + good, rcpt: "reply@sign.corp.test", want: "550 5.2.1 answer-address"},
		"login, verify address":              {raw: byLogin + good, rcpt: "verify@sign.corp.test", want: "550 5.2.1 verify-address"},
		"unproven, answer address":           {raw: good, rcpt: "reply@sign.corp.test", want: "dropped"},
		"unproven, unknown signatory":        {raw: good, rcpt: "no@sign.corp.test", want: "dropped"},
		"unproven, routed address":           {raw: good, rcpt: "john%corp.test@sign.corp.test", want: "dropped"},
		"login, routed address":              {raw: byLogin + good, rcpt: "john%corp.test@sign.corp.test", want: "550 5.1.1 unknown-signatory"},
		"unproven, broken MIME":              {raw: strings.Replace(good, "boundary=b", "boundary", 1), want: "dropped"},
		"unproven, no From":                  {raw: strings.Replace(good, "From:", "Form:", 1), want: "dropped"},
		"signature, refused":                 {raw: string(signed(strings.Replace(good, "%PDF", "%PD", 1))), want: "opened jane@corp.test for [john@corp.test] by dkim corp.test"},
		"signature, broken MIME":             {raw: string(signed(strings.Replace(good, "boundary=b", "boundary", 1))), want: "554 5.6.0 broken-mime"},
		"signature, broken, to a stranger":   {raw: string(signed(strings.Replace(good, "boundary=b", "boundary", 1))), from: "x@evil.test", want: "dropped"},
		"signature, unknown sender":          {raw: string(signed(letter("no@corp.test", "john@sign.corp.test"))), from: "no@corp.test", want: "dropped"},
		"signature, another's mail":          {raw: string(signed(letter("jane@corp.test", "no@sign.corp.test"))), rcpt: "no@sign.corp.test", from: "bob@corp.test", want: "dropped"},
		"signature, own mail refused":        {raw: string(signed(letter("jane@corp.test", "no@sign.corp.test"))), rcpt: "no@sign.corp.test", want: "550 5.1.1 unknown-signatory"},
		"scanner's mail refused":             {raw: byScanner + good, from: "scanner@corp.test", rcpt: "no@sign.corp.test", want: "dropped"},
		"automatic":                          {raw: "Auto-Submitted: auto-replied\r\n" + good, want: "dropped"},
		"automatic, login":                   {raw: byLogin + "Auto-Submitted: auto-replied\r\n" + good, want: "left alone"},
		"own mail, login":                    {raw: byLogin + strings.Replace(good, "<1@corp", "<milterd.1@sign.corp", 1), want: "left alone"},
		"DNS away":                           {raw: string(signed(good)), change: func(_ *Intake, _ *opener, z *origintest.Zone) { z.Away = errors.New("refused") }, want: "451 4.4.3 dns-away"},
		"directory away":                     {raw: byLogin + good, change: func(in *Intake, _ *opener, _ *origintest.Zone) { in.Directory = people{away: true} }, want: "451 4.4.3 directory-away"},
		"store away":                         {raw: byLogin + good, change: func(_ *Intake, o *opener, _ *origintest.Zone) { o.err = errors.New("disk full") }, want: "451 4.3.0 store-away"},
		"login where no line counts":         {raw: byLogin + good, change: func(in *Intake, _ *opener, _ *origintest.Zone) { in.Origin.ReceivedBy = "" }, want: "dropped"},
		"login, nothing configured":          {raw: byLogin + good, change: func(in *Intake, _ *opener, _ *origintest.Zone) { in.Origin = nil }, want: "dropped"},
		"client's claim below the real line": {raw: strings.Replace(byScanner, "192.0.2.10", "198.51.100.7", 1) + byLogin + byScanner + good, want: "dropped"},
	} {
		t.Run(name, func(t *testing.T) {
			in, o, z, _, counted := strict()
			var log bytes.Buffer
			in.Log = slog.New(slog.NewTextHandler(&log, nil))
			if c.change != nil {
				c.change(in, o, z)
			}
			e := milter.Envelope{Relayed: true, From: "jane@corp.test", Recipients: []string{"john@sign.corp.test"}, QueueID: "4F2A1"}
			if c.from != "" {
				e.From = strings.Trim(c.from, "<>")
			}
			if c.rcpt != "" {
				e.Recipients = []string{c.rcpt}
			}
			if v, err := in.Recipient(t.Context(), e, e.Recipients[0]); v != milter.Take || err != nil {
				t.Errorf("at RCPT: %v, %v", v, err)
			}
			got := outcome(in.Message(t.Context(), e, []byte(c.raw)), o, *counted)
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if got == "dropped" && (!strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "queue=4F2A1") || !strings.Contains(log.String(), "reason=")) {
				t.Errorf("not on record: %s", log.String())
			}
		})
	}
}

// TestForgedSenders: of a thousand mails with forged senders, at both doors,
// none opens anything and none is answered with a mail: at the milter all are
// refused while their client is there, at the LMTP door all end on record.
func TestForgedSenders(t *testing.T) {
	in, o, _, _, counted := strict()
	r := rand.New(rand.NewPCG(1, 1))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	for i := range 1000 {
		author := pick("jane@corp.test", "john@corp.test", "no@corp.test", "victim@other.test", `"jane@corp.test" <x@evil.test>`)
		to := pick("john", "self", "no", "all", "reply", "verify", "john+standard", "bounce") + "@sign.corp.test"
		raw := []byte(letter(author, to))
		switch r.IntN(5) {
		case 1:
			raw = stolen.Sign(raw, "corp.test", "sel", started.Unix())
		case 2:
			raw = stolen.Sign(raw, "evil.test", "sel", started.Unix())
		case 3:
			raw = append([]byte("Authentication-Results: mx.corp.test; dkim=pass header.d=corp.test header.b=AAAAAAAA\r\n"), raw...)
		case 4: // Postfix's own line stands above what the client wrote
			raw = append([]byte(strings.Replace(byScanner, "192.0.2.10", "198.51.100.7", 1)+byLogin), raw...)
		}
		e := milter.Envelope{From: pick("jane@corp.test", "victim@other.test", "no@corp.test", ""), Recipients: []string{to}, Relayed: i%2 == 0}
		if !e.Relayed {
			e.Client = netip.MustParseAddr("198.51.100.7")
		}
		err := in.Message(t.Context(), e, raw)
		var refusal *workflow.Refusal
		switch {
		case e.Relayed && err != nil:
			t.Errorf("%d: a refusal at the LMTP door: %v", i, err)
		case !e.Relayed && to != "bounce@sign.corp.test" && (!errors.As(err, &refusal) || refusal.Code < 500):
			t.Errorf("%d: not refused: %v", i, err)
		}
	}
	if len(o.opened) != 0 || slices.ContainsFunc(*counted, func(s string) bool { return s != "dropped" && s != "bounce" }) {
		t.Errorf("%d opened; %v", len(o.opened), *counted)
	}
}
