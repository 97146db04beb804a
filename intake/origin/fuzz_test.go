package origin

import (
	"strings"
	"testing"
)

// FuzzHeader: taking a header apart loses nothing.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\nbody", "A: b\r\n c\r\n\td\r\nB:\r\n\r\n", " A: b\r\n\r\n", "A : b\r\n\r\n", "A: b\n\r\n\r\n", "Received: by mx.corp.test (Postfix, from userid 102)\r\n\tid 1\r\nReceived: x\r\n\r\n", "\r\n", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields, body, ok := split(raw)
		if !ok {
			return
		}
		var b strings.Builder
		for _, x := range fields {
			b.Write(x.raw)
			if x.name == "" || strings.ContainsAny(x.name, " \t\r\n:") {
				t.Fatalf("name %q", x.name)
			}
			if strings.Join(x.lines(), "\r\n")+"\r\n" != string(x.raw) {
				t.Fatalf("lines of %q", x.raw)
			}
		}
		if b.String()+"\r\n"+string(body) != string(raw) {
			t.Fatalf("%q became %q and %q", raw, b.String(), body)
		}
		(&Checker{ReceivedBy: "mx.corp.test", Requeued: "102"}).reception(fields)
	})
}

// FuzzResults: no panic; what is read has no separators in it that were not quoted.
func FuzzResults(f *testing.F) {
	for _, s := range []string{`mx; dkim=pass (a;b) header.d=x header.b="a;b"`, `mx 1; none`, `"mx"; a=b c=d`, `(c) mx; dkim=fail reason="x \" y"`, `mx; a = b`, "mx;\r\n\ta=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, results, err := parseResults(s)
		if err == nil && id == "" && !strings.Contains(s, `"`) {
			t.Fatalf("no id in %q", s)
		}
		for _, r := range results {
			if err != nil || r.method == "" || !strings.ContainsAny(s, `"`) && strings.ContainsAny(r.method+r.value, "; \t()") {
				t.Fatalf("%q gives %+v, %v", s, r, err)
			}
		}
	})
}

// FuzzTags: what is read can be written and read again.
func FuzzTags(f *testing.F) {
	for _, s := range []string{"v=1; a=rsa-sha256;\r\n\tb=x y; bh=", " k=rsa ; p=", "a=b;a=c", "=", "a", ";;", "b=b="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, ok := parseTags(s)
		if !ok {
			return
		}
		var b strings.Builder
		for k, v := range tags {
			b.WriteString(k + "=" + v + ";")
		}
		again, ok := parseTags(b.String())
		if !ok || len(again) != len(tags) {
			t.Fatalf("%q gives %v, then %v", s, tags, again)
		}
		parseSignature(0, field{"dkim-signature", []byte("DKIM-Signature: " + s)})
	})
}
