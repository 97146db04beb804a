package mailparse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"milterd/workflow"
)

var update = flag.Bool("update", false, "write the expected files anew")

// mails gives the real mails of the project, with CRLF.
func mails(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/mail/*.eml")
	if err != nil || len(files) < 40 {
		t.Fatalf("mails are missing: %d, %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
	}
	return out
}

// TestParse compares what every mail says, or why it is refused, with
// testdata/NAME.txt; the same with LF line ends.
func TestParse(t *testing.T) {
	for name, raw := range mails(t) {
		t.Run(name, func(t *testing.T) {
			got := describe(Parse(raw, Limits{}))
			if lf := describe(Parse(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), Limits{})); lf != got {
				t.Errorf("with LF:\n%s\nwith CRLF:\n%s", lf, got)
			}
			file := filepath.Join("testdata", strings.TrimSuffix(name, ".eml")+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func describe(r *Request, err error) string {
	if err != nil {
		var refusal *workflow.Refusal
		if !errors.As(err, &refusal) {
			return "no refusal: " + err.Error()
		}
		return fmt.Sprintf("refused: %d %s %s\nreason: %s\n", refusal.Code, refusal.Enhanced, refusal.Text, refusal.Reason)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "from: %s\n", r.From.String())
	for _, a := range r.To {
		fmt.Fprintf(&b, "to: %s\n", a.String())
	}
	for _, a := range r.Cc {
		fmt.Fprintf(&b, "cc: %s\n", a.String())
	}
	fmt.Fprintf(&b, "subject: %q\nlevel: %s\nmessage-id: %s\nin-reply-to: %q\nreferences: %q\nauto-submitted: %q\nlist: %t\nbody hash: %x\n",
		r.Subject, r.Level, r.MessageID, r.InReplyTo, r.References, r.AutoSubmitted, r.List, r.BodyHash)
	for _, d := range r.Documents {
		fmt.Fprintf(&b, "document: %q %s %d bytes, begins %.8q\n", d.Name, d.Type, len(d.Content), d.Content)
	}
	fmt.Fprintf(&b, "text: %q\n", r.Text)
	return b.String()
}

func TestSubjectLevel(t *testing.T) {
	for subject, want := range map[string]string{
		"":                                 "",
		"Contract":                         "",
		"Standard":                         "Standard",
		"standard":                         "Standard",
		"ADVANCED contract":                "Advanced",
		"Advanced: contract":               "Advanced",
		"Contract - Qualified":             "Qualified",
		"Contract (qualified)":             "Qualified",
		"Contract, qualified!":             "Qualified",
		"[Advanced] contract":              "Advanced",
		"contract [ advanced ] of sale":    "Advanced",
		"Our Standard Terms of sale":       "",
		"Standard Terms":                   "Standard",
		"Re: Advanced contract":            "Advanced",
		"RE: AW: Fwd: WG: TR : Advanced":   "Advanced",
		"Re[2]: Qualified contract":        "Qualified",
		"[EXTERN] Re: Advanced contract":   "Advanced",
		"Re: [EXTERN] Fwd: Advanced x":     "Advanced",
		"Advanced contract [v2]":           "Advanced",
		"contract advanced [v2]":           "Advanced",
		"Advanced-Care contract":           "",
		"Advancedcontract":                 "",
		"nonstandard":                      "",
		"[Standard] x [Standard] standard": "Standard",
		"[Standard] x [Advanced]":          "two-levels",
		"Standard contract, qualified":     "two-levels",
		"[Advanced] Qualified contract":    "two-levels",
		"[not Advanced] contract":          "",
		"Redvanced: x":                     "",
		"Re: ":                             "",
		"[[Advanced]]":                     "Advanced",
		"Frage: Advanced oder nicht":       "",
		"\u201eAdvanced\u201c Vertrag":     "Advanced",
	} {
		l, err := SubjectLevel(subject)
		got := l.String()
		var r *workflow.Refusal
		if errors.As(err, &r) {
			got = r.Reason
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", subject, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		" a\r\n b\x00c ":             "a   b c",
		"invoice \u202etxt.exe":      "invoice txt.exe",
		"Ad\u200bvan\u00adced":       "Advanced",
		"\U0001F468\u200d\U0001F4BB": "\U0001F468\u200d\U0001F4BB",
		"bad\xff":                    "bad\ufffd",
	} {
		if got := decodeWords(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSafeName(t *testing.T) {
	for _, c := range []struct{ name, mediaType, want string }{
		{"contract.pdf", "application/pdf", "contract.pdf"},
		{"", "application/pdf", "document.pdf"},
		{"", "image/png", "document"},
		{"Vertrag", "application/pdf", "Vertrag.pdf"},
		{"v1.2", "application/pdf", "v1.2.pdf"},
		{"../../etc/passwd", "", "passwd"},
		{`C:\Users\jane\a.pdf`, "application/pdf", "a.pdf"},
		{"a\x00b\r\nc.pdf", "application/pdf", "ab c.pdf"},
		{"con.pdf", "application/pdf", "_con.pdf"},
		{"NUL", "", "_NUL"},
		{"...hidden.pdf ", "", "hidden.pdf"},
		{"a?b*c|d<e>f\"g:h.pdf", "", "a_b_c_d_e_f_g_h.pdf"},
		{"invoice\u202efdp.exe", "", "invoicefdp.exe"},
		{"A\u0308rger.pdf", "application/pdf", "Ärger.pdf"},
		{"bad\xffutf8.pdf", "application/pdf", "bad_utf8.pdf"},
		{"/", "application/pdf", "document.pdf"},
		{strings.Repeat("ä", 300) + ".pdf", "application/pdf", strings.Repeat("ä", 58) + ".pdf"},
	} {
		if got := safeName(c.name, c.mediaType); got != c.want {
			t.Errorf("%q %s: got %q, want %q", c.name, c.mediaType, got, c.want)
		}
	}
	taken := map[string]bool{}
	for _, want := range []string{"a.pdf", "a (2).pdf", "a (3).pdf"} {
		if got := unique("a.pdf", taken); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := unique("A.PDF", taken); got == "A.PDF" {
		t.Error("names differ by case only")
	}
}

func TestParseField(t *testing.T) {
	for in, want := range map[string]string{
		`attachment; filename=a.pdf`:                                              "attachment a.pdf",
		`ATTACHMENT; FileName="a b.pdf"`:                                          "attachment a b.pdf",
		`attachment; filename=a b (1).pdf`:                                        "attachment a b (1).pdf",
		`attachment; filename="a;b\".pdf"`:                                        `attachment a;b".pdf`,
		`attachment; filename="C:\a.pdf"`:                                         `attachment C:\a.pdf`,
		`attachment (comment; x) ; filename=a.pdf`:                                "attachment a.pdf",
		`attachment; filename*=utf-8''%e2%82%ac.pdf`:                              "attachment €.pdf",
		`attachment; filename*=iso-8859-1'en'%A3.pdf`:                             "attachment £.pdf",
		`attachment; filename="fallback.pdf"; filename*=utf-8''%e2%82%ac.pdf`:     "attachment €.pdf",
		`attachment; filename*0="a"; filename*1="b.pdf"`:                          "attachment ab.pdf",
		`attachment; filename*1="b.pdf"; filename*0="a"`:                          "attachment ab.pdf",
		`attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac; filename*2=.pdf`: "attachment €.pdf",
		`attachment; filename="=?utf-8?Q?=C3=9C.pdf?="`:                           "attachment Ü.pdf",
		`attachment; filename==?utf-8?B?w5wucGRm?=`:                               "attachment Ü.pdf",
		`attachment; filename`:                                                    "attachment ",
		`attachment; filename=a; filename=b`:                                      "twice",
		`attachment; filename*0=a; filename*0=b`:                                  "twice",
		``:                                                                        " ",
	} {
		f, err := parseField(in)
		got := f.value + " " + f.params["filename"]
		if errors.Is(err, errTwice) {
			got = "twice"
		}
		if got != want {
			t.Errorf("%s\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestOwnWords(t *testing.T) {
	long := strings.Repeat("word ", 200)
	for in, want := range map[string]string{
		"Hello\r\n\r\n\r\nworld \r\n":                              "Hello\n\nworld",
		"Please sign.\n\n-- \nJane\nCorp":                          "Please sign.",
		"Yes.\n\nOn Mon, 23 Nov 2026, Bob wrote:\n> no":            "Yes.",
		"Ja.\n\nAm 23.11.2026 um 10:00 schrieb Bob <b@c>:\n> nein": "Ja.",
		"Oui.\nLe lun. 23 nov. 2026, Bob a écrit :\n> non":         "Oui.",
		"On Friday we wrote it all down.\nSign it.":                "On Friday we wrote it all down.\nSign it.",
		"Top\n-----Original Message-----\nFrom: x":                 "Top",
		"Top\n\nVon: Bob\nGesendet: Montag\nAlt":                   "Top",
		"a\n> quoted\nb":                                           "a\nb",
		"turn\u202eed, hid\u200bden":                               "turned, hidden",
		"":                                                         "",
	} {
		if got := ownWords(in); got != want {
			t.Errorf("%q:\n got %q\nwant %q", in, got, want)
		}
	}
	if got := ownWords(long); len([]rune(got)) > maxWords || !strings.HasSuffix(got, "word…") {
		t.Errorf("long text: %d characters, ends %q", len([]rune(got)), got[len(got)-20:])
	}
}

// busy is the processor time of this process so far: unlike the clock, it does
// not count what other tests do on the same machine.
func busy(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestLimits feeds what is too much of everything, each within a second.
func TestLimits(t *testing.T) {
	head := "From: jane@corp.test\r\nMIME-Version: 1.0\r\n"
	parts := func(n int, each string) string {
		return head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n"+each, n) + "--b--\r\n"
	}
	const quoted = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	deep := head
	for i := range 50 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for name, c := range map[string]struct{ raw, reason string }{
		"size":          {head + "\r\n" + strings.Repeat("x", 26<<20), "too-large"},
		"header":        {head + strings.Repeat("X: y\r\n", 1<<20) + "\r\n", "header-too-large"},
		"parts":         {parts(10000, "\r\nx\r\n"), "too-many-parts"},
		"empty parts":   {parts(200000, ""), "broken-mime"},
		"depth":         {deep, "too-deep"},
		"lines":         {parts(1, quoted+strings.Repeat("a=\r\n", maxLines+2)), "too-many-lines"},
		"lines of all":  {parts(10, quoted+strings.Repeat("=\n", maxLines/5)), "too-many-lines"},
		"fewer lines":   {parts(2, quoted+strings.Repeat("abcdefghij=\r\n", maxLines/2-10)), ""},
		"part header":   {parts(1, strings.Repeat("X: y\r\n", 4<<20)+"\r\nx\r\n"), "header-too-large"},
		"long line":     {parts(1, "X: "+strings.Repeat("y", 20<<20)+"\r\n\r\nx\r\n"), "header-too-large"},
		"preamble":      {head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("x\r\n", 8<<20), "header-too-large"},
		"no boundary":   {head + "Content-Type: multipart/mixed\r\n\r\n", "broken-mime"},
		"never ending":  {head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx", "broken-mime"},
		"many from":     {"From: " + strings.Repeat("a@b.test, ", 20000) + "a@b.test\r\n\r\n", "bad-from"},
		"many ids":      {head + "References: " + strings.Repeat("<a@b> ", 30000) + "\r\n\r\n", ""},
		"many words":    {head + "Subject: " + strings.Repeat("=?utf-8?Q?a?= ", 15000) + "\r\n\r\n", ""},
		"many brackets": {head + "Subject: " + strings.Repeat("[a] ", 60000) + "\r\n\r\n", ""},
		"many re":       {head + "Subject: " + strings.Repeat("Re: ", 60000) + "\r\n\r\n", ""},
		"long text":     {head + "\r\n" + strings.Repeat("a\n", 12<<20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			start := busy(t)
			_, err := Parse([]byte(c.raw), Limits{})
			if took := busy(t) - start; took > time.Second {
				t.Errorf("took %s", took)
			}
			var refusal *workflow.Refusal
			switch {
			case c.reason == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.reason != "" && (!errors.As(err, &refusal) || refusal.Reason != c.reason):
				t.Errorf("got %v, want %s", err, c.reason)
			}
		})
	}
}

// TestCost parses the largest mail that is taken.
func TestCost(t *testing.T) {
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 57)) + "\r\n"
	raw := []byte("From: jane@corp.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" +
		"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(line, (25<<20-1000)/len(line)) + "--b--\r\n")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	best := time.Hour
	for range 3 { // the machine may have other work
		runtime.GC()
		start := busy(t)
		r, err := Parse(raw, Limits{})
		best = min(best, busy(t)-start)
		if err != nil || len(r.Documents) != 1 || len(r.Documents[0].Content) < 17<<20 {
			t.Fatalf("got %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	grown := (after.Sys - before.Sys) >> 20
	t.Logf("25 MB in %s, %d MB of memory", best, grown)
	if best > time.Second || grown > 100 {
		t.Errorf("25 MB took %s and %d MB", best, grown)
	}
}

// FuzzParse: no panic; the same twice; safe, distinct names; every error a Refusal.
func FuzzParse(f *testing.F) {
	for _, raw := range mails(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := Parse(raw, Limits{})
		again, errAgain := Parse(raw, Limits{})
		if describe(r, err) != describe(again, errAgain) {
			t.Fatalf("not the same twice:\n%s\n%s", describe(r, err), describe(again, errAgain))
		}
		if err != nil {
			var refusal *workflow.Refusal
			if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Text == "" || refusal.Code < 500 {
				t.Fatalf("not a complete refusal: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, d := range r.Documents {
			if d.Name == "" || d.Name != safeName(d.Name, "") || filepath.Base(d.Name) != d.Name || seen[strings.ToLower(d.Name)] {
				t.Fatalf("unsafe name %q", d.Name)
			}
			seen[strings.ToLower(d.Name)] = true
		}
		if len([]rune(r.Text)) > maxWords || strings.ContainsAny(r.Subject, "\r\n\x00") {
			t.Fatalf("text or subject out of bounds")
		}
	})
}

// FuzzField: parameters survive being read, whatever they are.
func FuzzField(f *testing.F) {
	for _, s := range []string{`attachment; filename*0*=utf-8''%e2%82; filename*1*=%ac`, `a/b; x="y\"z"; (c;) q=1`, `;;=`, `a; b*=x''`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseField(s)
		b, _ := parseField(s)
		if err == nil && fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("not the same twice: %v, %v", a, b)
		}
		for _, v := range a.params {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("control characters in %q", v)
			}
		}
	})
}
