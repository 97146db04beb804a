package csc

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// reader is a client without a provider, for the readers of its answers.
func reader(t testing.TB, version int) *Client {
	t.Helper()
	c, err := New(Provider{Name: "Example Trust", URL: "https://sign.example.com/csc/v2", Version: version, ClientID: "x", Secret: "y",
		ClientCredentials: true, TokenURL: "https://sign.example.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	c.now = func() time.Time { return time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC) }
	return c
}

func seeds(f *testing.F, atLeast int) {
	f.Helper()
	found, err := filepath.Glob("testdata/fuzz/" + f.Name() + "/*")
	if err != nil || len(found) < atLeast {
		f.Fatalf("seeds are missing: %d, %v", len(found), err)
	}
}

// oneLine reports whether a stranger's words became one bounded line.
func oneLine(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) })
}

// A credential that is read can be signed with: it has an algorithm that fits its
// leaf, a way to be authorised, and no words that are not one line.
func FuzzCredential(f *testing.F) {
	seeds(f, 6)
	clients := map[bool]*Client{false: reader(f, 2), true: reader(f, 1)}
	f.Fuzz(func(t *testing.T, first bool, body []byte) {
		c := clients[first]
		var j credentialJSON
		if c.decode("x", &answer{200, body}, &j) != nil {
			return
		}
		cred, err := c.readCredential("x", "A", &j)
		if err != nil {
			if !oneLine(err.Error(), 1000) {
				t.Errorf("error %q", err)
			}
			return
		}
		if len(cred.Algorithms) == 0 || cred.Multisign < 1 || cred.Multisign > maxMultisign || len(cred.Chain) > maxChain || len(cred.Factors) > maxFactors {
			t.Fatalf("%+v", cred)
		}
		for _, a := range cred.Algorithms {
			if cred.oids[a] == "" || !slices.Contains(j.Key.Algo, cred.oids[a]) {
				t.Errorf("%s as %q, of %q", a, cred.oids[a], j.Key.Algo)
			}
			if l := cred.Leaf(); l != nil && a.Fits(l.PublicKey) != nil {
				t.Errorf("%s does not fit", a)
			}
		}
		if l := cred.Leaf(); l != nil && (c.now().Before(l.NotBefore) || c.now().After(l.NotAfter)) {
			t.Error("a certificate out of its time")
		}
		if cred.Mode != Explicit && cred.Mode != OAuth2Code || cred.Mode == OAuth2Code && len(cred.Factors) > 0 {
			t.Errorf("mode %q, %d factors", cred.Mode, len(cred.Factors))
		}
		if !oneLine(cred.Description, maxSaid) || !oneLine(cred.Qualifier, maxCode) {
			t.Errorf("%q, %q", cred.Description, cred.Qualifier)
		}
		for _, p := range cred.Factors {
			if p.ID == "" || !oneLine(p.Label, maxLabel) || !oneLine(p.Generator, maxCode) {
				t.Errorf("%+v", p)
			}
		}
	})
}

// Lists name each credential once, and infos only of those; what info says is lines.
func FuzzList(f *testing.F) {
	seeds(f, 4)
	c := reader(f, 2)
	f.Fuzz(func(t *testing.T, body []byte) {
		if i, err := c.readInfo(&answer{200, body}); err == nil {
			for _, s := range append(i.Methods, i.Name, i.OAuth2, i.Specs) {
				if !oneLine(s, maxSaid) {
					t.Errorf("%q", s)
				}
			}
		}
		var l listJSON
		if c.decode("x", &answer{200, body}, &l) != nil {
			return
		}
		infos, err := c.readList(&l)
		if err != nil {
			return
		}
		if len(l.IDs) > maxCredentials || len(infos) > len(l.IDs) {
			t.Errorf("%d ids, %d infos", len(l.IDs), len(infos))
		}
		for id := range infos {
			if !slices.Contains(l.IDs, id) {
				t.Errorf("info of %q", id)
			}
		}
	})
}

// A token or a SAD can stand in a header and a form as it is, and ends.
func FuzzToken(f *testing.F) {
	seeds(f, 4)
	c := reader(f, 2)
	f.Fuzz(func(t *testing.T, credential bool, body []byte) {
		g, err := c.readToken(&answer{200, body}, credential)
		if err != nil {
			if !oneLine(err.Error(), 1000) {
				t.Errorf("error %q", err)
			}
			return
		}
		left := g.token.Expires.Sub(c.now())
		if left <= 0 || left > maxLife || g.token.credential != credential {
			t.Errorf("%s left", left)
		}
		req, err := http.NewRequest("POST", "https://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(g.token.value))
		var b strings.Builder
		if err := req.Write(&b); err != nil || strings.Count(b.String(), "\r\nAuthorization: Bearer "+string(g.token.value)+"\r\n") != 1 {
			t.Errorf("%q: %v", b.String(), err)
		}
	})
}

// Signature values are as many as were asked for, and encode to what was read.
func FuzzSignatures(f *testing.F) {
	seeds(f, 4)
	strictly, loose := reader(f, 2), reader(f, 2)
	loose.p.HashURLSafe, loose.p.HashUnpadded = true, true
	f.Fuzz(func(t *testing.T, want uint8, body []byte) {
		var out struct {
			Signatures []string `json:"signatures"`
		}
		if strictly.decode("x", &answer{200, body}, &out) != nil {
			return
		}
		values, err := strictly.values("x", out.Signatures, int(want))
		if err != nil {
			return
		}
		again, err := loose.values("x", out.Signatures, int(want))
		if err != nil || len(values) != int(want) || len(again) != len(values) {
			t.Fatalf("%d values, want %d: %v", len(values), want, err)
		}
		for i, v := range values {
			if len(v) == 0 || strictly.encode(v) != out.Signatures[i] || string(again[i]) != string(v) {
				t.Errorf("%x from %q", v, out.Signatures[i])
			}
		}
	})
}

// An error of the provider has a reason with a sentence, and words that are lines,
// without the secret.
func FuzzError(f *testing.F) {
	seeds(f, 4)
	const secret = Secret("q7/+x")
	f.Fuzz(func(t *testing.T, status uint16, body []byte) {
		code, said := errorAnswer(body, []Secret{secret})
		if !oneLine(code, maxCode) || !oneLine(said, maxSaid) {
			t.Errorf("%q, %q", code, said)
		}
		if strings.Contains(said, string(secret)) {
			t.Errorf("%q shows the secret", said)
		}
		if _, known := sentences[reasonFor(int(status), code, said)]; !known {
			t.Errorf("reason %q", reasonFor(int(status), code, said))
		}
		if d := retryAfter(string(body), time.Unix(1e9, 0)); d < 0 || d > time.Hour {
			t.Errorf("Retry-After of %s", d)
		}
	})
}
