package origin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"milterd/intake/origin"
	"milterd/intake/origin/origintest"
	"milterd/mailparse"
)

var (
	key     = origintest.RSA(2048)
	short   = origintest.RSA(1024)
	edwards = origintest.Ed25519()
	other   = origintest.RSA(2048)
	now     = time.Now().UTC().Truncate(time.Second) // the library has a clock of its own
	asked   = []string{"john.doe@sign.corp.test"}
)

func zone() *origintest.Zone {
	return &origintest.Zone{Records: map[string][]string{
		"sel._domainkey.corp.test":       {key.Record("")},
		"sel._domainkey.news.corp.test":  {key.Record("")},
		"sel._domainkey.corp2.test":      {key.Record("")},
		"sel._domainkey.evil.test":       {key.Record("")},
		"sel._domainkey.test":            {key.Record("")},
		"short._domainkey.corp.test":     {short.Record("")},
		"edwards._domainkey.corp.test":   {edwards.Record("")},
		"testing._domainkey.corp.test":   {key.Record("t=s:y; ")},
		"strict._domainkey.corp.test":    {key.Record("t=s; ")},
		"revoked._domainkey.corp.test":   {"v=DKIM1; k=rsa; p="},
		"twice._domainkey.corp.test":     {key.Record(""), other.Record("")},
		"broken._domainkey.corp.test":    {"v=DKIM1; v=DKIM1; p=x"},
		"otheruse._domainkey.corp.test":  {key.Record("s=tlsrpt; ")},
		"oldhash._domainkey.corp.test":   {key.Record("h=sha1; ")},
		"different._domainkey.corp.test": {other.Record("")},
	}}
}

func checker(z *origintest.Zone) *origin.Checker {
	return &origin.Checker{Domains: []string{"corp.test", "corp2.test"}, Authserv: "mx.corp.test", ReceivedBy: "mx.corp.test", Requeued: "102",
		Resolver: z, Now: func() time.Time { return now }}
}

var mail = "From: Jane Doe <jane@corp.test>\r\nTo: john.doe@sign.corp.test\r\nCc: bob@corp.test\r\nSubject: Please  sign\r\n" +
	"Date: " + date(-time.Hour) + "\r\nMessage-ID: <1@corp.test>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\nSome  words.\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\n%PDF-1.7\r\n--b--\r\n"

func date(d time.Duration) string { return now.Add(d).Format(time.RFC1123Z) }

// sign signs with the key of corp.test.
func sign(m string, t ...origintest.Tag) string {
	return string(key.Sign([]byte(m), "corp.test", "sel", now.Unix()-60, t...))
}

// check gives what proves a mail, or why nothing does.
func check(t *testing.T, c *origin.Checker, raw string, asked []string, delivered bool) string {
	t.Helper()
	r, err := mailparse.Header([]byte(raw), mailparse.Limits{})
	if err != nil {
		return "header refused"
	}
	by, err := c.Signed(t.Context(), []byte(raw), r, asked, delivered)
	var u *origin.Unproven
	switch {
	case err == nil:
		return by
	case errors.As(err, &u):
		return u.Why
	}
	return "temporary"
}

// replace changes a signed mail on its way.
func replace(m, old, new string) string {
	if !strings.Contains(m, old) {
		panic(old)
	}
	return strings.Replace(m, old, new, 1)
}

// without makes an h= that leaves out a field.
func without(name string) origintest.Tag {
	return origintest.T("h", strings.Trim(strings.Replace(":"+origintest.Signed+":", ":"+name+":", ":", 1), ":"))
}

func TestSigned(t *testing.T) {
	single := replace(mail, "multipart/mixed; boundary=b", "application/pdf")
	for name, c := range map[string]struct{ raw, want string }{
		"relaxed":                       {sign(mail), "dkim corp.test"},
		"simple":                        {sign(mail, origintest.T("c", "simple/simple")), "dkim corp.test"},
		"simple by default":             {sign(mail, origintest.T("c", "")), "dkim corp.test"},
		"mixed":                         {sign(mail, origintest.T("c", "relaxed/simple")), "dkim corp.test"},
		"Ed25519":                       {string(edwards.Sign([]byte(mail), "corp.test", "edwards", now.Unix())), "dkim corp.test"},
		"capitals":                      {string(key.Sign([]byte(replace(mail, "jane@corp", "jane@CORP")), "Corp.TEST", "sel", now.Unix())), "dkim corp.test"},
		"second domain":                 {string(key.Sign([]byte(replace(mail, "jane@corp", "jane@corp2")), "corp2.test", "sel", now.Unix())), "dkim corp2.test"},
		"subdomain signs":               {string(key.Sign([]byte(mail), "news.corp.test", "sel", now.Unix())), "dkim news.corp.test"},
		"subdomain writes":              {sign(replace(mail, "jane@corp.test", "jane@news.corp.test")), "dkim corp.test"},
		"signed twice over":             {sign(mail, origintest.T("h", origintest.Signed+":From:Subject:To")), "dkim corp.test"},
		"no Cc":                         {sign(replace(mail, "Cc: bob@corp.test\r\n", ""), without("Cc")), "dkim corp.test"},
		"no time but a Date":            {sign(mail, origintest.T("t", "")), "dkim corp.test"},
		"expires later":                 {sign(mail, origintest.T("x", fmt.Sprint(now.Unix()+9))), "dkim corp.test"},
		"six days old":                  {string(key.Sign([]byte(mail), "corp.test", "sel", now.Add(-6*24*time.Hour).Unix())), "dkim corp.test"},
		"clock a bit ahead":             {string(key.Sign([]byte(mail), "corp.test", "sel", now.Add(4*time.Minute).Unix())), "dkim corp.test"},
		"key for no subdomains":         {sign(mail, origintest.T("s", "strict"), origintest.T("i", "jane@corp.test")), "dkim corp.test"},
		"below what others put on top":  {"Received: from x\r\n\tby y\r\nX-A: b\r\nDKIM-Signature: v=1; d=other.test\r\n" + sign(mail), "dkim corp.test"},
		"second of two signatures":      {string(other.Sign([]byte(sign(mail)), "corp.test", "sel", now.Unix())), "dkim corp.test"},
		"blanks changed on the way":     {replace(replace(sign(mail), "Some  words.", "Some\t words. "), "Please  sign", " Please\r\n sign\t"), "dkim corp.test"},
		"naming a part":                 {sign("Content-Disposition: inline\r\n" + mail), "dkim corp.test"},
		"naming the document, signed":   {sign("Content-Disposition: x; filename=a.pdf\r\n"+single, origintest.T("h", origintest.Signed+":content-disposition")), "dkim corp.test"},
		"naming the document, unsigned": {"Content-Disposition: x; filename=a.pdf\r\n" + sign(single), "its DKIM signature leaves out Content-Disposition"},

		"none":                     {mail, "the mail has no DKIM signature of corp.test"},
		"body changed":             {replace(sign(mail), "words", "Words"), "its DKIM signature does not verify"},
		"blanks changed, simple":   {replace(sign(mail, origintest.T("c", "relaxed/simple")), "Some  words", "Some words"), "its DKIM signature does not verify"},
		"subject changed":          {replace(sign(mail), "Please  sign", "Please sign all"), "its DKIM signature does not verify"},
		"subject unsigned":         {sign(mail, without("Subject")), "its DKIM signature leaves out Subject"},
		"from unsigned":            {sign(mail, without("From")), "its DKIM signature leaves out From"},
		"to unsigned":              {sign(mail, without("To")), "its DKIM signature leaves out To"},
		"cc unsigned":              {sign(mail, without("Cc")), "its DKIM signature leaves out Cc"},
		"date unsigned":            {sign(mail, without("Date")), "its DKIM signature leaves out Date"},
		"message-id unsigned":      {sign(mail, without("Message-ID")), "its DKIM signature leaves out Message-ID"},
		"content-type unsigned":    {sign(mail, without("Content-Type")), "its DKIM signature leaves out Content-Type"},
		"mime-version unsigned":    {sign(mail, without("MIME-Version")), "its DKIM signature leaves out MIME-Version"},
		"encoding added unsigned":  {"Content-Transfer-Encoding: base64\r\n" + sign(mail, without("Content-Transfer-Encoding")), "its DKIM signature leaves out Content-Transfer-Encoding"},
		"cc added":                 {"Cc: self@sign.corp.test\r\n" + sign(mail), "it has 2 fields Cc"},
		"second from on top":       {"From: bob@corp.test\r\n" + sign(mail), "header refused"},
		"second from, odd form":    {"From : bob@corp.test\r\n" + sign(mail), "header refused"},
		"second to":                {"To: self@sign.corp.test\r\n" + sign(mail), "it has 2 fields To"},
		"second subject":           {replace(sign(mail), "\r\nCc:", "\r\nSubject: x\r\nCc:"), "header refused"},
		"no message-id":            {sign(replace(mail, "Message-ID: <1@corp.test>\r\n", "")), "it has no Message-ID"},
		"message-id without words": {sign(replace(mail, "<1@corp.test>", "1")), "it has no Message-ID"},
		"no to":                    {sign(replace(mail, "To: john.doe@sign.corp.test\r\n", "")), "it has no To"},
		"no content-type":          {sign(replace(mail, "Content-Type: multipart/mixed; boundary=b\r\n", "")), "it has no Content-Type"},
		"part of the body":         {sign(mail, origintest.T("l", "4")) + "more", "its DKIM signature covers only a part of the body (l=)"},
		"all of the body by l=":    {sign(mail, origintest.T("l", fmt.Sprint(len(origintest.Body(mail[strings.Index(mail, "\r\n\r\n")+4:], true))))), "its DKIM signature covers only a part of the body (l=)"},
		"eight days old":           {string(key.Sign([]byte(mail), "corp.test", "sel", now.Add(-8*24*time.Hour).Unix())), "its DKIM signature is older than 7 days"},
		"old Date without time":    {sign(replace(mail, date(-time.Hour), date(-8*24*time.Hour)), origintest.T("t", "")), "its DKIM signature is older than 7 days"},
		"no time at all":           {sign(replace(mail, date(-time.Hour), "soon"), origintest.T("t", "")), "its DKIM signature has no time, and the mail no Date"},
		"odd time":                 {sign(mail, origintest.T("t", "-1")), "its DKIM signature has no readable time"},
		"from the future":          {string(key.Sign([]byte(mail), "corp.test", "sel", now.Add(6*time.Minute).Unix())), "its DKIM signature comes from the future"},
		"expired":                  {sign(mail, origintest.T("x", fmt.Sprint(now.Unix()))), "its DKIM signature has expired"},
		"expires before it begins": {sign(mail, origintest.T("x", "1")), "its DKIM signature has no readable time"},
		"unaligned":                {string(key.Sign([]byte(mail), "evil.test", "sel", now.Unix())), "the mail has no DKIM signature of corp.test"},
		"own, but unaligned":       {string(key.Sign([]byte(mail), "corp2.test", "sel", now.Unix())), "the mail has no DKIM signature of corp.test"},
		"from elsewhere":           {string(key.Sign([]byte(replace(mail, "jane@corp.test", "x@evil.test")), "evil.test", "sel", now.Unix())), "the From is in none of the domains whose signature counts"},
		"from like ours":           {string(key.Sign([]byte(replace(mail, "jane@corp.test", "x@xcorp.test")), "corp.test", "sel", now.Unix())), "the From is in none of the domains whose signature counts"},
		"public suffix":            {string(key.Sign([]byte(mail), "test", "sel", now.Unix())), "the mail has no DKIM signature of corp.test"},
		"name is ours":             {sign(replace(mail, "Jane Doe <jane@corp.test>", `"jane@corp.test" <x@evil.test>`)), "the From is in none of the domains whose signature counts"},
		"comment is ours":          {sign(replace(mail, "Jane Doe <jane@corp.test>", "x@evil.test (jane@corp.test)")), "the From is in none of the domains whose signature counts"},
		"encoded from":             {sign(replace(mail, "Jane Doe <jane@corp.test>", "=?utf-8?q?jane=40corp=2Etest?=")), "header refused"},
		"group":                    {sign(replace(mail, "Jane Doe <jane@corp.test>", "x: jane@corp.test;")), "header refused"},
		"two authors":              {sign(replace(mail, "Jane Doe <jane@corp.test>", "jane@corp.test, x@evil.test")), "header refused"},
		"wrong key":                {string(other.Sign([]byte(mail), "corp.test", "sel", now.Unix())), "its DKIM signature does not verify"},
		"key of another selector":  {sign(mail, origintest.T("s", "different")), "its DKIM signature does not verify"},
		"no key":                   {sign(mail, origintest.T("s", "none")), "the DNS has no key none._domainkey.corp.test for its DKIM signature"},
		"two keys":                 {sign(mail, origintest.T("s", "twice")), "the DNS has several keys twice._domainkey.corp.test for its DKIM signature"},
		"short key":                {string(short.Sign([]byte(mail), "corp.test", "short", now.Unix())), "the key of its DKIM signature has 1024 bits, and 2048 are the least"},
		"test key":                 {sign(mail, origintest.T("s", "testing")), "the key of its DKIM signature is for tests only (t=y)"},
		"strict key":               {sign(mail, origintest.T("s", "strict"), origintest.T("i", "jane@news.corp.test")), "the key of its DKIM signature is for no subdomains (t=s)"},
		"revoked key":              {sign(mail, origintest.T("s", "revoked")), "the key of its DKIM signature has 0 bits, and 2048 are the least"},
		"broken key":               {sign(mail, origintest.T("s", "broken")), "the key of its DKIM signature cannot be read"},
		"key for something else":   {sign(mail, origintest.T("s", "otheruse")), "its DKIM signature does not verify"},
		"key for SHA-1":            {sign(mail, origintest.T("s", "oldhash")), "its DKIM signature does not verify"},
		"key of the wrong kind":    {sign(mail, origintest.T("a", "ed25519-sha256")), "its DKIM signature does not verify"},
		"SHA-1":                    {sign(mail, origintest.T("a", "rsa-sha1")), `its DKIM signature has the algorithm "rsa-sha1"`},
		"identity elsewhere":       {sign(mail, origintest.T("i", "jane@evil.test")), "its DKIM signature does not verify"},
		"version 2":                {sign(mail, origintest.T("v", "2")), `its DKIM signature has the algorithm "rsa-sha256"`},
		"odd canonicalization":     {sign(mail, origintest.T("c", "relaxed/none")), "its DKIM signature does not verify"},
		"covers signatures":        {sign(mail, origintest.T("h", origintest.Signed+":DKIM-Signature")), "its DKIM signature covers other DKIM signatures"},
		"tag given twice":          {replace(sign(mail), "d=corp.test", "d=corp.test; d=corp.test"), "the mail has no DKIM signature of corp.test"},
		"text behind another b=":   {replace(sign(mail), " v=1;", " v=1; rb=anything;"), "the mail has no DKIM signature of corp.test"},
		"sixth signature":          {strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; d=corp.test; s=sel; h=from; bh=x; b=y\r\n", 5) + sign(mail), "its DKIM signature leaves out To"},
		"LF in the header":         {replace(sign(mail), "Cc: bob@corp.test\r\n", "Cc: bob@corp.test\n"), "the header of the mail is damaged"},
		"too many fields":          {strings.Repeat("X: y\r\n", 1001) + sign(mail), "the header of the mail is damaged"},
		"too many lines":           {"X: y\r\n" + strings.Repeat(" y\r\n", 2001) + sign(mail), "the header of the mail is damaged"},
		"too many names":           {sign(mail, origintest.T("h", origintest.Signed+strings.Repeat(":x", 100))), "the mail has no DKIM signature of corp.test"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := check(t, checker(zone()), c.raw, asked, false); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestDomainsAreTheLimit: with one subdomain configured, the others do not speak
// for it, aligned as they are.
func TestDomainsAreTheLimit(t *testing.T) {
	c := checker(zone())
	c.Domains = []string{"news.corp.test"}
	from := replace(mail, "jane@corp.test", "jane@news.corp.test")
	if got := check(t, c, sign(from), asked, false); got != "the mail has no DKIM signature of news.corp.test" {
		t.Errorf("the domain above: %s", got)
	}
	if got := check(t, c, string(key.Sign([]byte(from), "news.corp.test", "sel", now.Unix())), asked, false); got != "dkim news.corp.test" {
		t.Errorf("itself: %s", got)
	}
	if got := check(t, c, sign(mail), asked, false); got != "the From is in none of the domains whose signature counts" {
		t.Errorf("author above: %s", got)
	}
}

// TestReplayToOthers: each asked address must stand in the signed To or Cc.
func TestReplayToOthers(t *testing.T) {
	raw := sign(replace(replace(mail, "Cc: bob@corp.test", "Cc: Bob (x) <Bob+Standard@SIGN.corp.test>, \"self@sign.corp.test\" <x@evil.test>"),
		"To: john.doe@sign.corp.test", "To: john.doe@sign.corp.test (emma@sign.corp.test)"))
	for _, c := range []struct {
		asked []string
		want  string
	}{
		{[]string{"john.doe@sign.corp.test"}, "dkim corp.test"},
		{[]string{"JOHN.doe@sign.corp.test", "bob+standard@sign.corp.test"}, "dkim corp.test"},
		{[]string{"john.doe+standard@sign.corp.test"}, "john.doe+standard@sign.corp.test is not among its To and Cc"},
		{[]string{"john.doe@sign.corp.test", "emma@sign.corp.test"}, "emma@sign.corp.test is not among its To and Cc"},
		{[]string{"self@sign.corp.test"}, "self@sign.corp.test is not among its To and Cc"},
		{[]string{"doe@sign.corp.test"}, "doe@sign.corp.test is not among its To and Cc"},
	} {
		if got := check(t, checker(zone()), raw, c.asked, false); got != c.want {
			t.Errorf("%v: got %s, want %s", c.asked, got, c.want)
		}
	}
}

// TestReplayIsTheSameMail: whatever blanks a resender changes under a relaxed
// signature, body hash, subject words and Message-ID stay.
func TestReplayIsTheSameMail(t *testing.T) {
	raw := sign(mail)
	again := replace(replace(raw, "Some  words.", "Some \t words.\t"), "Please  sign", "Please\r\n\tsign ") + "\r\n \r\n\r\n"
	if got := check(t, checker(zone()), again, asked, false); got != "dkim corp.test" {
		t.Fatalf("the changed mail does not verify any more: %s", got)
	}
	a, err := mailparse.Parse([]byte(raw), mailparse.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := mailparse.Parse([]byte(again), mailparse.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if a.BodyHash != b.BodyHash || a.MessageID != b.MessageID || strings.Join(strings.Fields(a.Subject), " ") != strings.Join(strings.Fields(b.Subject), " ") {
		t.Errorf("a replay is another mail: %+v\n%+v", a, b)
	}
}

func TestDNS(t *testing.T) {
	for name, c := range map[string]struct {
		away error
		want string
	}{
		"server failure": {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, "temporary"},
		"timeout":        {context.DeadlineExceeded, "temporary"},
		"refused":        {errors.New("connection refused"), "temporary"},
		"no such name":   {&net.DNSError{Err: "no such host", IsNotFound: true}, "the DNS has no key sel._domainkey.corp.test for its DKIM signature"},
	} {
		z := zone()
		z.Away = c.away
		if got := check(t, checker(z), sign(mail), asked, false); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	// Only own domains are asked for, with a dot at the end, and no more than five times.
	z := zone()
	raw := sign(mail)
	for range 20 {
		raw = string(other.Sign([]byte(raw), "evil.test", "sel", now.Unix()))
		raw = string(other.Sign([]byte(raw), "corp.test", "sel", now.Unix()))
	}
	check(t, checker(z), raw, asked, false)
	if strings.Join(z.Asked, " ") != strings.TrimSpace(strings.Repeat("sel._domainkey.corp.test. ", 5)) {
		t.Errorf("asked %q", z.Asked)
	}
}

// slow never answers in time.
type slow struct{}

func (slow) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowDNS(t *testing.T) {
	c := checker(nil)
	c.Resolver = slow{}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	raw := []byte(sign(mail))
	r, err := mailparse.Header(raw, mailparse.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var u *origin.Unproven
	if _, err := c.Signed(ctx, raw, r, asked, false); err == nil || errors.As(err, &u) {
		t.Errorf("got %v, want a temporary error", err)
	}
}

// TestCost: five signatures over the worst bodies and headers.
func TestCost(t *testing.T) {
	const size = 25 << 20
	five := func(body string, t ...origintest.Tag) []byte {
		raw := []byte(mail)
		for range 5 {
			raw = other.Sign(raw, "corp.test", "sel", now.Unix(), t...)
		}
		if body != "" { // whose hash does not fit, which takes as long to find out
			raw = append(raw[:bytes.Index(raw, []byte("\r\n\r\n"))+4], body...)
		}
		return raw
	}
	crlf := strings.Repeat("\r\n", size/2)
	for name, raw := range map[string][]byte{
		"line ends, simple":  five(crlf+"x", origintest.T("c", "simple/simple")),
		"line ends, relaxed": five(crlf + "x"),
		"blanks":             five(strings.Repeat(" ", size)),
		"header lines":       five("", origintest.T("h", origintest.Signed+strings.Repeat(":x", 90)), origintest.T("z", "a"+strings.Repeat("\r\n a", 300))),
	} {
		t.Run(name, func(t *testing.T) {
			var a, b syscall.Rusage
			syscall.Getrusage(syscall.RUSAGE_SELF, &a)
			got := check(t, checker(zone()), string(raw), asked, false)
			syscall.Getrusage(syscall.RUSAGE_SELF, &b)
			took := time.Duration(b.Utime.Nano() - a.Utime.Nano() + b.Stime.Nano() - a.Stime.Nano())
			t.Logf("%s: %s", took.Round(time.Millisecond), got)
			if took > 5*time.Second {
				t.Errorf("took %s of processor time", took)
			}
		})
	}
}

// FuzzSigned: no mail that was not signed as it is, is proven.
func FuzzSigned(f *testing.F) {
	whole := sign(mail)
	f.Add([]byte(whole), 0, []byte("x"))
	f.Add([]byte(whole), 20, []byte("; l=3"))
	f.Add([]byte(replace(whole, "c=relaxed/relaxed", "c=simple")), 3, []byte("\r\n "))
	f.Add([]byte("DKIM-Signature: v=1; a=rsa-sha256; d=corp.test; s=sel; h=from:to; bh=; b=\r\n"+mail), 5, []byte(":"))
	c := checker(zone())
	want, err := mailparse.Parse([]byte(whole), mailparse.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte, at int, put []byte) {
		if at >= 0 && at <= len(raw) {
			raw = append(append(bytes.Clone(raw[:at]), put...), raw[at:]...)
		}
		r, err := mailparse.Header(raw, mailparse.Limits{})
		if err != nil {
			return
		}
		if _, err := c.Signed(t.Context(), raw, r, asked, false); err != nil {
			return
		}
		got, err := mailparse.Parse(raw, mailparse.Limits{})
		if err != nil || got.BodyHash != want.BodyHash || got.From.Address != want.From.Address || got.MessageID != want.MessageID ||
			strings.Join(strings.Fields(got.Subject), " ") != strings.Join(strings.Fields(want.Subject), " ") || len(got.Documents) != 1 {
			t.Fatalf("another mail is proven: %q, %v", raw, err)
		}
	})
}
