package notify

import (
	"bytes"
	"maps"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"

	"milterd/workflow"
)

// attacks are what somebody may put where a name or a subject is expected.
var attacks = []string{
	"x\r\nBcc: victim@other.test",
	"x\nContent-Type: text/html\n\n<h1>hello</h1>",
	"x\r\n\r\n.\r\nMAIL FROM:<a@b>",
	"=?utf-8?q?=0D=0ABcc=3A_victim=40other=2Etest?=",
	"=?utf-8?b?DQpCY2M6IHg=?= =?x?=",
	`"; boundary="x"; filename="evil.exe`,
	`ceo@corp.test" <evil@other.test>, "x`,
	"invoice\u202Efdp.exe",
	"a\u2066b\u2069c\u200Fd\u061Ce\u200Bf",
	"<script>alert(1)</script><img src=x onerror=alert(1)>",
	`" onmouseover="alert(1)" x="`,
	"{{.Org}} {{template \"x\"}} <no value>",
	"javascript:alert(1)",
	"../../etc/passwd",
	"\x00\x01\x7f\x1b[31m\u0085\u2028\u2029end",
	"\xff\xfe broken utf-8 \xc3",
	strings.Repeat("long", 3000),
	strings.Repeat("ü", 3000),
	strings.Repeat("a ", 5000),
	"--=_alt_x", " . ", "",
}

// attacked puts one text everywhere where foreign text can stand.
func attacked(n workflow.Notice, a string) workflow.Notice {
	if n.Held != nil {
		h := *n.Held
		h.Person.Name = a
		n.Held = &h
		return n
	}
	if n.Verification != nil {
		v := *n.Verification
		v.Person.Name = a
		v.Thread = workflow.Thread{MessageID: v.Thread.MessageID, References: v.Thread.References, Subject: a}
		v.Files = slices.Clone(v.Files)
		for i := range v.Files {
			v.Files[i].Name = a
			v.Files[i].Signatures = slices.Clone(v.Files[i].Signatures)
			for k := range v.Files[i].Signatures {
				v.Files[i].Signatures[k].By = a
			}
		}
		n.Verification = &v
		return n
	}
	if n.Returned != nil {
		r := *n.Returned
		r.Recipient, r.Status, r.Diagnostic = a, a, a
		n.Returned = &r
	}
	s := *n.Session
	s.People = slices.Clone(s.People)
	for i := range s.People {
		s.People[i].Name, s.People[i].Comment = a, a
	}
	s.Documents = slices.Clone(s.Documents)
	for i := range s.Documents {
		s.Documents[i].Name = a
	}
	s.Thread = workflow.Thread{MessageID: s.Thread.MessageID, References: []string{"<" + a + "@x>", a}, Subject: a}
	s.Message, s.Reason = a, a
	n.Attachments = slices.Clone(n.Attachments)
	for i := range n.Attachments {
		n.Attachments[i].Name, n.Attachments[i].ContentType = a, a
	}
	n.Session = &s
	return n
}

func fieldNames(h mail.Header) []string { return slices.Sorted(maps.Keys(h)) }

// harmless checks that an attack changed nothing but words: the same fields,
// each once, the same tree, the same words in both parts, the same links.
func harmless(t *testing.T, n *Notifier, notice workflow.Notice, a string) {
	t.Helper()
	want, err := n.Compose(notice)
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Compose(attacked(notice, a))
	if err != nil {
		t.Fatalf("%q: %v", a, err)
	}
	w, g := parse(t, want), parse(t, got)
	if x, y := fieldNames(g.header), fieldNames(w.header); !slices.Equal(x, y) {
		t.Errorf("%q: fields %q, want %q", a, x, y)
	}
	for name, v := range g.header {
		if len(v) != 1 {
			t.Errorf("%q: %d fields %s", a, len(v), name)
		}
	}
	if to, err := g.header.AddressList("To"); err != nil || len(to) != 1 || to[0].Address != notice.Recipient().Mail {
		t.Errorf("%q: To %v, %v", a, to, err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(g.header.Get("Subject"))
	if err != nil || len([]rune(subject)) > 200 || strings.ContainsFunc(subject, forbidden) {
		t.Errorf("%q: Subject %q, %v", a, subject, err)
	}
	if x := strings.ReplaceAll(g.shape, "application/octet-stream", "application/pdf"); x != w.shape {
		t.Errorf("%q: shape %s, want %s", a, g.shape, w.shape)
	}
	for _, f := range g.files {
		if f.Name == "" || strings.ContainsFunc(f.Name, forbidden) || strings.ContainsAny(f.Name, `/\"<>`) || strings.HasPrefix(f.Name, ".") {
			t.Errorf("%q: file name %q", a, f.Name)
		}
	}
	seen, links := htmlText(t, g.html)
	if x, y := textWords(g.text), textWords(seen); x != y {
		t.Errorf("%q: the parts differ\ntext %s\nhtml %s", a, x, y)
	}
	for _, l := range links {
		if l != notice.Link && (l != n.c.Root || notice.Kind != workflow.MailResult) {
			t.Errorf("%q: link to %q", a, l)
		}
	}
	if strings.ContainsFunc(strings.NewReplacer("\n", "", "\r", "").Replace(g.text), forbidden) {
		t.Errorf("%q: control characters in the text", a)
	}
}

// forbidden is what no reader may meet: controls and what turns the direction.
func forbidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029
}

func TestAttacks(t *testing.T) {
	n := testNotifier(t, Relay{})
	for name, notice := range cases("de") {
		t.Run(name, func(t *testing.T) {
			for _, a := range attacks {
				harmless(t, n, notice, a)
			}
		})
	}
}

func FuzzForeignText(f *testing.F) {
	for _, a := range attacks {
		f.Add(a)
	}
	all := cases("en") // without the invitation: drawing its QR code would take all the time
	n := testNotifier(f, Relay{})
	f.Fuzz(func(t *testing.T, a string) {
		for _, kind := range []string{"result", "declined", "returned"} {
			harmless(t, n, all[kind], a)
		}
	})
}

func TestWrongNoticesAreRefused(t *testing.T) {
	n := testNotifier(t, Relay{})
	for what, change := range map[string]func(*workflow.Notice){
		"no session":         func(x *workflow.Notice) { x.Session = nil },
		"nobody":             func(x *workflow.Notice) { x.To = 9 },
		"negative person":    func(x *workflow.Notice) { x.To = -1 },
		"not a signatory":    func(x *workflow.Notice) { x.To = copied },
		"no link":            func(x *workflow.Notice) { x.Link = "" },
		"script as link":     func(x *workflow.Notice) { x.Link = "javascript:alert(1)" },
		"link with newline":  func(x *workflow.Notice) { x.Link = testLink + "\r\nx" },
		"link with password": func(x *workflow.Notice) { x.Link = "https://a:b@c/s#x" },
		"unknown kind":       func(x *workflow.Notice) { x.Kind = "greeting" },
		"code without time":  func(x *workflow.Notice) { x.Kind, x.Code = workflow.MailCode, "123456" },
		"code of letters":    func(x *workflow.Notice) { x.Kind, x.Code, x.CodeExpires = workflow.MailCode, "12x", testNow },
		"empty result":       func(x *workflow.Notice) { x.Kind, x.Link = workflow.MailResult, "" },
		"nobody declined":    func(x *workflow.Notice) { x.Kind = workflow.MailDeclined },
		"unknown level":      func(x *workflow.Notice) { x.Session.Level = "super" },
		"session id":         func(x *workflow.Notice) { x.Session.ID = "a\r\nb" },
		"address list":       func(x *workflow.Notice) { x.Session.People[john].Mail = "a@b.test>,<c@d.test" },
		"address newline":    func(x *workflow.Notice) { x.Session.People[john].Mail = "a@b.test\r\nRCPT TO:<c@d.test>" },
		"quoted newline":     func(x *workflow.Notice) { x.Session.People[john].Mail = "\"a\r\n b\"@d.test" },
	} {
		x := cases("en")["invitation"]
		change(&x)
		if b, err := n.Compose(x); err == nil {
			t.Errorf("%s: composed %d bytes", what, len(b))
		} else if strings.Contains(err.Error(), "q83vEjRWeJCrze8SNFZ4kA") {
			t.Errorf("%s: the error tells the token: %v", what, err)
		}
	}
}

func TestBounceAddress(t *testing.T) {
	n := testNotifier(t, Relay{})
	for kind := range letters {
		m := workflow.Mailing{Session: "mfrggzdfmztwq2lk", Person: 12, Mail: kind, Round: 7}
		a := n.Bounce(m)
		if got, ok := n.ParseBounce(a); !ok || got != m {
			t.Errorf("%q: %+v %v", a, got, ok)
		}
	}
	m := workflow.Mailing{Session: "mfrggzdfmztwq2lk", Person: 1234, Mail: workflow.MailInvitation, Round: 12}
	a := n.Bounce(m)
	local, domain, _ := strings.Cut(a, "@")
	if len(local) > 64 || domain != "sign.corp.test" || !strings.HasPrefix(local, "bounce+") {
		t.Fatalf("bounce address %q", a)
	}
	for _, form := range []string{a, local, strings.ToUpper(a)} {
		if got, ok := n.ParseBounce(form); !ok || got != m {
			t.Errorf("%q: %+v %v", form, got, ok)
		}
	}
	for _, wrong := range []string{
		"", "bounce", "bounce+", "bounce+...", "bounce+....", "reply@sign.corp.test", strings.Replace(a, ".1234.", ".1235.", 1),
		strings.Replace(a, ".1234.", ".01234.", 1), strings.Replace(a, ".1234.", ".+1234.", 1), strings.Replace(a, ".i12.", ".i13.", 1),
		strings.Replace(a, ".i12.", ".s12.", 1), strings.Replace(a, ".i12.", ".i012.", 1), strings.Replace(a, ".i12.", "..", 1),
		strings.Replace(a, "sign.", "evil.", 1), strings.Replace(a, "lk.", "lj.", 1), a + ".x", local[:len(local)-1],
	} {
		if got, ok := n.ParseBounce(wrong); ok {
			t.Errorf("%q was taken for %+v", wrong, got)
		}
	}
	other, err := New(Config{Domain: "sign.corp.test", Organisation: "x", Master: bytes.Repeat([]byte{8}, 32), Relay: Relay{Address: "localhost:25"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := other.ParseBounce(a); ok {
		t.Error("a bounce address of another key was taken")
	}
}

func TestOwnMessageID(t *testing.T) {
	for id, want := range map[string]bool{
		"<milterd.mfrggzdfmztwq2lk.6kosvzbgio4p5izlkzc3mtb6m4@sign.corp.test>": true,
		"milterd.mfrggzdfmztwq2lk.6kosvzbgio4p5izlkzc3mtb6m4@SIGN.corp.test":   true,
		"<milterd.mfrggzdfmztwq2lk.6kosvzbgio4p5izlkzc3mtb6m4@corp.test>":      false,
		"<20261123.1030@sign.corp.test>":                                       false,
		"<milterd.x@sign.corp.test>":                                           false,
		"":                                                                     false,
	} {
		if _, ok := Own(id, "sign.corp.test"); ok != want {
			t.Errorf("%q: %v", id, ok)
		}
	}
}

// A mail of the kind that the workflow plans for at intake never gets larger
// than it was told.
func TestMailSizeIsAnUpperBound(t *testing.T) {
	n := testNotifier(t, Relay{})
	for _, a := range []string{"plain.pdf", strings.Repeat("ü", 500), strings.Repeat("<\"&>", 200)} {
		for _, size := range []int{0, 1, 56, 57, 58, 1 << 20} {
			notice := attacked(cases("fr")["result"], a)
			var sizes []int64
			for i := range notice.Attachments {
				notice.Attachments[i].Content = make([]byte, size)
				sizes = append(sizes, int64(size))
			}
			b, err := n.Compose(notice)
			if err != nil {
				t.Fatal(err)
			}
			if bound := MailSize(sizes...); int64(len(b)) > bound {
				t.Errorf("%d bytes, the bound was %d", len(b), bound)
			} else if size == 1<<20 && float64(bound) > 1.05*float64(len(b)) {
				t.Errorf("%d bytes, the bound of %d is too careful", len(b), bound)
			}
		}
	}
}

func TestAddressesOutsideASCII(t *testing.T) {
	n := testNotifier(t, Relay{})
	x := cases("en")["invitation"]
	x.Session.People[john].Mail = "jürgen@bücher.test"
	b, err := n.Compose(x)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("<jürgen@xn--bcher-kva.test>")) {
		t.Errorf("To is written otherwise: %s", b[:300])
	}
	x.Session.People[john].Mail = "john@corp.test"
	x.Session.People[sender].Mail = "jürgen@corp.test"
	if b, err = n.Compose(x); err != nil || !isASCII(string(b)) {
		t.Errorf("a Reply-To outside ASCII came into a mail that can do without (%v)", err)
	}
}
