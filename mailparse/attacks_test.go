package mailparse

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

func reason(err error) string {
	var r *workflow.Refusal
	if err == nil || !errors.As(err, &r) {
		return fmt.Sprint(err)
	}
	return r.Reason
}

const (
	pdfPart = "--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjcK\r\n--b--\r\n"
	plain   = "From: jane@corp.test\r\nContent-Type: multipart/mixed; boundary=b\r\n"
)

// TestDifferentials: what two programs could read as two different mails is
// refused, so that nobody signs what the sender's mail client did not show.
func TestDifferentials(t *testing.T) {
	ct := func(v string) string { return "From: jane@corp.test\r\nContent-Type: " + v + "\r\n\r\n" + pdfPart }
	for name, c := range map[string]struct{ raw, want string }{
		"as it should be":              {ct("multipart/mixed; boundary=b"), "<nil>"},
		"quoted":                       {ct(`Multipart/MIXED; charset=x; boundary="b"; x=y`), "<nil>"},
		"folded, with a comment":       {ct("multipart/mixed (c;);\r\n\tboundary=b ;"), "<nil>"},
		"NUL in the header":            {plain + "X: a\x00b\r\n\r\n" + pdfPart, "broken-header"},
		"CR in a line":                 {plain + "X: a\rContent-Type: text/plain\r\n\r\n" + pdfPart, "broken-header"},
		"CR before the end":            {plain + "X: a\r\r\n\r\n" + pdfPart, "broken-header"},
		"blank before the colon":       {"From : bob@corp.test\r\n" + plain + "\r\n" + pdfPart, "broken-header"},
		"blank in a part's field":      {plain + "\r\n" + strings.Replace(pdfPart, "Encoding:", "Encoding :", 1), "broken-header"},
		"NUL in a part's field":        {plain + "\r\n" + strings.Replace(pdfPart, "name=a", "name=\x00a", 1), "broken-header"},
		"mbox line":                    {"From jane Mon Nov 23 10:00:00 2026\r\n" + plain + "\r\n" + pdfPart, "broken-header"},
		"two types":                    {plain + "content-type: text/plain\r\n\r\n" + pdfPart, "duplicate-header"},
		"two encodings":                {plain + "\r\n" + strings.Replace(pdfPart, "\r\n\r\n", "\r\ncontent-transfer-encoding: 8bit\r\n\r\n", 1), "duplicate-header"},
		"two boundaries":               {ct("multipart/mixed; boundary=b; Boundary=c"), "duplicate-header"},
		"boundary in two ways":         {ct("multipart/mixed; boundary=b; boundary*=utf-8''c"), "broken-mime"},
		"boundary of RFC 2231":         {ct("multipart/mixed; boundary*=utf-8''b"), "broken-mime"},
		"boundary in sections":         {ct("multipart/mixed; boundary*0=b"), "broken-mime"},
		"boundary as encoded word":     {ct(`multipart/mixed; boundary="=?utf-8?q?b?="`), "broken-mime"},
		"comment behind the boundary":  {ct("multipart/mixed; boundary=b(c)"), "broken-mime"},
		"words behind the boundary":    {ct(`multipart/mixed; boundary="b"c`), "broken-mime"},
		"backslash in the boundary":    {ct(`multipart/mixed; boundary="\b"`), "broken-mime"},
		"open quote":                   {ct(`multipart/mixed; boundary="b`), "broken-mime"},
		"open quote, one letter more":  {ct(`multipart/mixed; boundary="bx`), "broken-mime"},
		"comment, or a part of it":     {strings.ReplaceAll(ct("multipart/mixed; boundary=b(c)"), "--b", "--b(c)"), "broken-mime"},
		"backslash, or a part of it":   {strings.ReplaceAll(ct(`multipart/mixed; boundary="b\c"`), "--b", `--b\c`), "broken-mime"},
		"empty boundary":               {ct(`multipart/mixed; boundary=""`), "broken-mime"},
		"boundary that ends in blanks": {ct(`multipart/mixed; boundary="b "`), "broken-mime"},
		"eight bits in the boundary":   {ct("multipart/mixed; boundary=b\xff"), "broken-mime"},
		"no boundary":                  {ct("multipart/mixed"), "broken-mime"},
		"two media types":              {ct("text/plain, multipart/mixed; boundary=b"), "broken-mime"},
		"blank in the media type":      {ct("multipart/mixed alternative; boundary=b"), "broken-mime"},
		"encoded multipart":            {plain + "Content-Transfer-Encoding: BASE64\r\n\r\n" + pdfPart, "encoded-multipart"},
		"same boundary inside":         {plain + "\r\n--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + pdfPart, "broken-mime"},
		"same boundary beside":         {plain + "\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n", "broken-mime"},
		"junk behind base64":           {plain + "\r\n" + strings.Replace(pdfPart, "LjcK", "Ljc=LjcK", 1), "bad-encoding"},
		"letters outside base64":       {plain + "\r\n" + strings.Replace(pdfPart, "LjcK", "L.jcK", 1), "bad-encoding"},
		"base64 that is cut":           {plain + "\r\n" + strings.Replace(pdfPart, "LjcK", "LjcKA", 1), "bad-encoding"},
	} {
		_, err := Parse([]byte(c.raw), Limits{})
		if got := reason(err); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestFrom(t *testing.T) {
	for from, want := range map[string]string{
		"jane@corp.test":                                 "jane@corp.test",
		"Jane Doe <jane@corp.test>":                      "jane@corp.test",
		"jane@corp.test (Jane; Doe: x)":                  "jane@corp.test",
		`"Doe: Jane;" <jane@corp.test>`:                  "jane@corp.test",
		`"bob@corp.test" <jane@corp.test>`:               "jane@corp.test",
		"=?utf-8?q?bob=40corp=2Etest?= <x@other.test>":   "x@other.test",
		"=?utf-8?q?=3Cbob=40corp.test=3E?= <x@o.test>":   "x@o.test",
		"x@other.test (jane@corp.test)":                  "x@other.test",
		"(jane@corp.test) x@other.test":                  "bad-from",
		"jane@corp.test, bob@corp.test":                  "bad-from",
		"jane@corp.test <x@other.test>":                  "bad-from",
		"<jane@corp.test> <x@other.test>":                "bad-from",
		"Desk: jane@corp.test;":                          "bad-from",
		"undisclosed-recipients:;":                       "bad-from",
		`"a" : jane@corp.test ;`:                         "bad-from",
		"Desk (a\\) b): jane@corp.test;":                 "bad-from",
		"=?utf-8?q?jane=40corp=2Etest?=":                 "bad-from",
		"<@relay.test:jane@corp.test>":                   "bad-from",
		"jane@corp.test bob@corp.test":                   "bad-from",
		"":                                               "bad-from",
		"jane":                                           "bad-from",
		"jane@corp.test\r\nfrom: bob@corp.test":          "duplicate-header",
		"jane@corp.test\r\nFROM:\tjane@corp.test":        "duplicate-header",
		"jane@corp.test\r\n\t, bob@corp.test":            "bad-from",
		"=?utf-8?q?x=0D=0AFrom=3A_b=40c?= <j@corp.test>": "j@corp.test",
		"ja\u200bne@corp.test":                           "bad-from",
		"jane@corp\u00ad.test":                           "bad-from",
		"Jane <\u202ejane@corp.test>":                    "bad-from",
		"\ufeffjane@corp.test":                           "bad-from",
		"\" jane\"@corp.test":                            "bad-from",
	} {
		r, err := Header([]byte("From: "+from+"\r\n\r\n"), Limits{})
		got := reason(err)
		if err == nil {
			got = r.From.Address
			if strings.ContainsAny(r.From.Name+r.From.Address, "\r\n\x00") {
				t.Errorf("%q: a line end in %q", from, r.From)
			}
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", from, got, want)
		}
	}
}

// TestForeignLines: no line end and no NUL gets out of names and subjects,
// however they are encoded.
func TestForeignLines(t *testing.T) {
	const evil = "x\r\nBcc: evil@other.test\r\n\r\n<h1>\x00"
	q, b := "=?utf-8?q?x=0D=0ABcc=3A_evil=40other=2Etest=00?=", "=?utf-8?b?eA0KQmNjOiBldmlsQG90aGVyLnRlc3QA?="
	for _, w := range []string{q, b, q + " " + b} {
		r, err := Parse([]byte("From: "+w+" <jane@corp.test>\r\nTo: "+w+" <self@sign.corp.test>\r\nSubject: "+w+
			"\r\nMessage-ID: <"+b+">\r\nReferences: <a@b\r\n\tBcc:c>\r\nAuto-Submitted: no"+
			"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf; name=\""+w+"\"\r\n\r\n%PDF\r\n"+
			"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''x%0D%0ABcc%3A%20y%00.pdf\r\n\r\n%PDF\r\n"+
			"--b\r\n\r\nhello "+evil[:1]+"\x00\r--b--\r\n--b--\r\n"), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all := []string{r.From.Name, r.From.Address, r.To[0].Name, r.Subject, r.MessageID, r.AutoSubmitted}
		all = append(append(all, r.References...), r.InReplyTo...)
		for _, d := range r.Documents {
			all = append(all, d.Name, d.Type)
		}
		if len(r.Documents) != 2 {
			t.Errorf("%d documents", len(r.Documents))
		}
		for _, s := range all {
			if strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%q came through", s)
			}
		}
		if strings.ContainsAny(r.Text, "\r\x00") {
			t.Errorf("text %q", r.Text)
		}
	}
}

// TestBodyHash: what a relaxed DKIM signature lets somebody change is the same
// body; everything else is another one.
func TestBodyHash(t *testing.T) {
	base := bodyHash([]byte("a b\r\n\r\nc \td\r\n"))
	for _, same := range []string{"a b\n\nc d", "a \t b \r\n \r\nc d\t\r\n", "a b\r\n\r\nc d\r\n\r\n\r\n \r\n", "a b\r\n\r\nc d \t"} {
		if bodyHash([]byte(same)) != base {
			t.Errorf("%q is another body", same)
		}
	}
	for _, other := range []string{"ab\r\n\r\nc d", "a b\r\nc d", "a b\r\n\r\n\r\nc d", "\r\na b\r\n\r\nc d", " a b\r\n\r\nc d", "a b c d", "", "a b\r\n\r\nc\rd"} {
		if bodyHash([]byte(other)) == base {
			t.Errorf("%q is the same body", other)
		}
	}
	if bodyHash([]byte("a \rb")) != bodyHash([]byte("a\rb")) {
		t.Error("a blank before a CR, which DKIM's canonical form drops, makes another body")
	}
	if bodyHash(nil) != bodyHash([]byte(" \r\n\t\r\n\r\n")) {
		t.Error("empty lines make a body")
	}
	// A long body, in pieces at every possible place of the buffer.
	r := rand.New(rand.NewPCG(1, 2))
	var a, b bytes.Buffer
	for range 20000 {
		w := fmt.Sprintf("%x", r.Uint32())
		a.WriteString(w + " ")
		b.WriteString(w + strings.Repeat("\t", 1+r.IntN(3)))
		if r.IntN(4) == 0 {
			a.WriteString("\r\n")
			b.WriteString(" \n")
		}
	}
	if bodyHash(a.Bytes()) != bodyHash(b.Bytes()) {
		t.Error("a long body has two hashes")
	}
}

// TestCostOfAttacks: each is refused or read within a second of processor time
// and 100 MB.
func TestCostOfAttacks(t *testing.T) {
	const mb25 = 25<<20 - 4096
	many := func(s string) string { return strings.Repeat(s, mb25/len(s)) }
	nested := plain + "\r\n" + strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", 400000)
	for name, raw := range map[string]string{
		"nested with one boundary": nested,
		"base64 that never fits":   plain + "\r\n" + strings.Replace(pdfPart, "JVBERi0xLjcK", many("QUJD\r\n"), 1)[:mb25-400] + "\r\n!\r\n--b--\r\n",
		"base64 of blanks":         plain + "\r\n" + strings.Replace(pdfPart, "JVBERi0xLjcK", many(" \t\r\n"), 1),
		"base64 of equal signs":    plain + "\r\n" + strings.Replace(pdfPart, "JVBERi0xLjcK", many("=\r\n"), 1),
		"quoted-printable":         plain + "\r\n" + strings.Replace(strings.Replace(pdfPart, "base64", "quoted-printable", 1), "JVBERi0xLjcK", many("=\r\n"), 1),
		"quoted-printable digits":  plain + "\r\n" + strings.Replace(strings.Replace(pdfPart, "base64", "quoted-printable", 1), "JVBERi0xLjcK", many(strings.Repeat("=41", 25)+"=\r\n"), 1),
		"quoted-printable blanks":  plain + "\r\n" + strings.Replace(strings.Replace(pdfPart, "base64", "quoted-printable", 1), "JVBERi0xLjcK", many(strings.Repeat(" \t", 1000)+"\r\n"), 1),
		"near boundaries":          plain + "\r\n" + strings.Replace(pdfPart, "JVBERi0xLjcK", many("--bb\r\n"), 1),
		"line ends":                plain + "\r\n" + many("\r\n") + pdfPart,
		"blank lines in the body":  "From: jane@corp.test\r\n\r\n" + many(" \r\n"),
		"parameters":               "From: jane@corp.test\r\nContent-Type: multipart/mixed" + strings.Repeat(";boundary=b", 20000) + "\r\n\r\n" + pdfPart,
		"comments":                 "From: jane@corp.test\r\nContent-Type: multipart/mixed" + strings.Repeat("(", 250000) + "; boundary=b\r\n\r\n" + pdfPart,
		"From of comments":         "From: " + strings.Repeat("(", 250000) + "\r\n\r\n",
		"From of quotes":           "From: " + strings.Repeat(`"a" `, 60000) + "<jane@corp.test>\r\n\r\n",
		"names in a slow charset": plain + "\r\n" + strings.Repeat("--b\r\nContent-Type: application/pdf; name=\""+strings.Repeat("=?gb18030?b?gQ==?= ", 13000)+
			"\"\r\n\r\nx\r\n", 20) + "--b--\r\n",
		"Received": strings.Repeat("Received: x\r\n", 19000) + plain + "\r\n" + pdfPart,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var err error
			took := time.Hour
			for range 2 { // the machine may have other work
				start := busy(t)
				_, err = Parse([]byte(raw), Limits{})
				took = min(took, busy(t)-start)
			}
			runtime.ReadMemStats(&after)
			t.Logf("%s, %d MB allocated: %s", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, reason(err))
			if took > time.Second || after.HeapSys > before.HeapSys+100<<20 {
				t.Errorf("took %s and %d MB", took, (int64(after.HeapSys)-int64(before.HeapSys))>>20)
			}
		})
	}
}
