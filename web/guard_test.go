package web

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/workflow"
)

var apiPaths = []string{"visit", "code", "open", "document", "ready", "sign", "decline", "held", "confirm", "deny"}

func jane(t *testing.T) (*stage, string) {
	st := newStage(t)
	tok := token("jane")
	st.visits[tok] = workflow.Visit{Session: session(t, "sessionjane", "contract.pdf"), Person: 1}
	st.helds[tok] = heldMail()
	return st, tok
}

// proven adds the cookie of Jane's device.
func (st *stage) proven(r *http.Request) {
	st.cookies["known"] = "jane.doe@corp.test"
	r.Header.Set("Cookie", deviceCookie+"=known")
}

func bodies(tok string) map[string]string {
	all := map[string]string{
		"visit": `{"token":"` + tok + `"}`, "code": `{"token":"` + tok + `"}`, "ready": `{"token":"` + tok + `"}`,
		"open":     `{"token":"` + tok + `","code":"246810"}`,
		"document": `{"token":"` + tok + `","document":0}`,
		"sign": `{"token":"` + tok + `","code":"246810","shown":[{"document":0,"revision":0,"sha256":"` + strings.Repeat("a", 64) +
			`"}],"appearance":{"typed":"Jane Doe"}}`,
		"decline": `{"token":"` + tok + `","comment":"no"}`,
		"held":    `{"token":"` + tok + `"}`, "confirm": `{"token":"` + tok + `"}`, "deny": `{"token":"` + tok + `"}`,
	}
	maps.Copy(all, ownBodies(tok))
	maps.Copy(all, qualifiedBodies(tok))
	return all
}

func TestOnlyPOSTReachesTheInterface(t *testing.T) {
	st, tok := jane(t)
	for _, path := range apiPaths {
		for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			res, _ := st.post(t, "/api/"+path, bodies(tok)[path], st.proven, func(r *http.Request) { r.Method = method })
			if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s /api/%s: %s, want 405", method, path, res.Status)
			}
		}
	}
	for _, path := range []string{"/", "/s", "/s?t=" + tok, "/c", "/c?t=" + tok, "/favicon.ico", "/robots.txt", "/static/x/app.js", "/nothing"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
			res, _ := st.post(t, path, "", func(r *http.Request) { r.Method = method })
			if method != "GET" && method != "HEAD" && res.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s, want 405", method, path, res.Status)
			}
		}
	}
	if st.changes != 0 {
		t.Errorf("%d changes", st.changes)
	}
}

func TestForeignRequestsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*http.Request){
		"cross-site fetch":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same-site fetch":    func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"typed in":           func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") },
		"foreign origin":     func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.test") },
		"null origin":        func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
		"a form":             func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
		"a form as text":     func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no type":            func(r *http.Request) { r.Header.Del("Content-Type") },
		"no header of ours":  func(r *http.Request) { r.Header.Del(requestHeader) },
		"another of its own": func(r *http.Request) { r.Header.Set(requestHeader, "2") },
	} {
		st, tok := jane(t) // which does not ask too often
		for _, path := range apiPaths {
			res, body := st.post(t, "/api/"+path, bodies(tok)[path], st.proven, spoil)
			if res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s at %s: %s %s", name, path, res.Status, body)
			}
			// What another site sends with a link is on record with the link's person.
			if reason(t, body) == "cross-site" && !slices.Contains(st.foreign, "jane.doe@corp.test cross-site") {
				t.Errorf("%s at %s: not on record", name, path)
			}
			st.foreign = nil
		}
		if st.changes != 0 {
			t.Errorf("%s: %d changes", name, st.changes)
		}
	}
	st, tok := jane(t)
	for _, body := range []string{"", "{", `{"token":"` + token("nobody") + `"}`, `{"token":"` + tok + `"}` + strings.Repeat(" ", 2<<20)} {
		if res, _ := st.post(t, "/api/visit", body, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }); res.StatusCode != http.StatusForbidden || st.foreign != nil {
			t.Errorf("%.40q from elsewhere: %s, on record: %q", body, res.Status, st.foreign)
		}
	}
	if st.changes != 0 {
		t.Errorf("%d changes", st.changes)
	}
}

func TestBadBodies(t *testing.T) {
	st, tok := jane(t)
	sign := func(appearance string) string {
		return `{"token":"` + tok + `","code":"246810","shown":[{"document":0,"revision":0,"sha256":"` + strings.Repeat("a", 64) + `"}],"appearance":` + appearance + `}`
	}
	strokes := func(n, points int) string {
		s := strings.TrimSuffix(strings.Repeat(`{"x":1,"y":1},`, points), ",")
		return `{"width":300,"height":150,"strokes":[` + strings.TrimSuffix(strings.Repeat("["+s+"],", n), ",") + `]}`
	}
	for name, c := range map[string]struct {
		path, body string
		status     int
		reason     string
	}{
		"empty":              {"visit", ``, 400, "bad-request"},
		"no object":          {"visit", `[]`, 400, "bad-request"},
		"more after it":      {"visit", `{"token":"` + tok + `"}{}`, 400, "bad-request"},
		"unknown field":      {"visit", `{"token":"` + tok + `","admin":true}`, 400, "bad-request"},
		"short token":        {"visit", `{"token":"abc"}`, 404, "unknown-link"},
		"unknown token":      {"visit", `{"token":"` + token("nobody") + `"}`, 404, "unknown-link"},
		"too large":          {"visit", `{"token":"` + strings.Repeat("a", 5000) + `"}`, 413, "too-large"},
		"letters as code":    {"open", `{"token":"` + tok + `","code":"abcdef"}`, 400, "bad-code"},
		"long code":          {"open", `{"token":"` + tok + `","code":"1234567"}`, 400, "bad-code"},
		"wrong code":         {"open", `{"token":"` + tok + `","code":"111111"}`, 403, "wrong-code"},
		"negative document":  {"document", `{"token":"` + tok + `","document":-1}`, 400, "bad-request"},
		"no such document":   {"document", `{"token":"` + tok + `","document":7}`, 400, "bad-request"},
		"name and strokes":   {"sign", sign(`{"typed":"J","strokes":[[{"x":1,"y":1}]],"width":9,"height":9}`), 422, "bad-appearance"},
		"neither":            {"sign", sign(`{}`), 422, "bad-appearance"},
		"a blank name":       {"sign", sign(`{"typed":"  "}`), 422, "bad-appearance"},
		"letters unprinted":  {"sign", sign(`{"typed":"山田"}`), 422, "unprintable-name"},
		"off the pad":        {"sign", sign(`{"strokes":[[{"x":10,"y":1}]],"width":9,"height":9}`), 422, "bad-appearance"},
		"an empty stroke":    {"sign", sign(`{"strokes":[[]],"width":9,"height":9}`), 422, "bad-appearance"},
		"too many strokes":   {"sign", sign(strokes(workflow.MaxStrokes+1, 1)), 422, "bad-appearance"},
		"too many points":    {"sign", sign(strokes(2, workflow.MaxPoints/2+1)), 422, "bad-appearance"},
		"a megabyte of them": {"sign", sign(strokes(1, 80_000)), 413, "too-large"},
		"numbers that burst": {"sign", sign(`{"strokes":[[{"x":1e999,"y":1}]],"width":9,"height":9}`), 400, "bad-request"},
		"nothing shown":      {"sign", `{"token":"` + tok + `","code":"246810","shown":[],"appearance":{"typed":"J"}}`, 400, "bad-request"},
		"half a digest":      {"sign", `{"token":"` + tok + `","code":"246810","shown":[{"document":0,"revision":0,"sha256":"aa"}],"appearance":{"typed":"J"}}`, 400, "bad-request"},
		"a long comment":     {"decline", `{"token":"` + tok + `","comment":"` + strings.Repeat("a", 40_000) + `"}`, 413, "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := st.post(t, "/api/"+c.path, c.body, st.proven)
			var got struct{ Reason, Text string }
			if err := json.Unmarshal([]byte(body), &got); err != nil || res.StatusCode != c.status || got.Reason != c.reason || got.Text == "" {
				t.Errorf("%s %s, want %d %s", res.Status, body, c.status, c.reason)
			}
		})
	}
	if len(st.signed) != 0 || len(st.declined) != 0 {
		t.Error("something was signed or declined")
	}
}

func TestProofIsNeeded(t *testing.T) {
	st, tok := jane(t)
	for _, path := range []string{"document", "sign", "decline"} {
		if res, body := st.post(t, "/api/"+path, bodies(tok)[path]); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without proof: %s %s", path, res.Status, body)
		}
		// Max's device proves nothing about Jane's mailbox.
		st.cookies["max"] = "max.weber@corp.test"
		if res, body := st.post(t, "/api/"+path, bodies(tok)[path], func(r *http.Request) {
			r.Header.Set("Cookie", deviceCookie+"=max")
		}); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with a colleague's device: %s %s", path, res.Status, body)
		}
	}
	// Before proof: no content, no colleagues, no whole address, no comment.
	st.visits[tok].Session.People[2].Comment = "secret comment"
	_, body := st.post(t, "/api/visit", bodies(tok)["visit"])
	for _, secret := range []string{"jane.doe@", "Max", "max.weber", "Marie", "secret", "here is the lease"} {
		if strings.Contains(body, secret) {
			t.Errorf("an unproven visitor is told %q: %s", secret, body)
		}
	}
	if !strings.Contains(body, `"proven":false`) || !strings.Contains(body, `j•••@corp.test`) || !strings.Contains(body, "Ada Byron") {
		t.Errorf("an unproven visitor: %s", body)
	}
	_, body = st.post(t, "/api/visit", bodies(tok)["visit"], st.proven)
	for _, known := range []string{"jane.doe@", "Max Weber", "here is the lease", `"proven":true`} {
		if !strings.Contains(body, known) {
			t.Errorf("a proven visitor is not told %q: %s", known, body)
		}
	}
}

func TestDeviceCookie(t *testing.T) {
	st, tok := jane(t)
	other := token("max")
	st.visits[other] = workflow.Visit{Session: st.visits[tok].Session, Person: 2}
	for base, c := range map[string]struct{ name, secure string }{
		"https://sign.corp.test": {"__Host-milterd-device=", "; Secure"},
		"http://localhost:8481":  {"milterd-device=", ""},
	} {
		h, err := New(Config{Desk: st.fake, Mailbox: st.fake, URL: base, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", base+"/api/open", strings.NewReader(bodies(tok)["open"]))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(requestHeader, "1")
		r.Header.Set("Origin", base)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		raw := w.Header().Get("Set-Cookie")
		for _, part := range []string{"Path=/", "Max-Age=77", "HttpOnly", "SameSite=Strict", c.secure} {
			if !strings.Contains(raw, part) {
				t.Errorf("%s: cookie %q has no %q", base, raw, part)
			}
		}
		if !strings.HasPrefix(raw, c.name) || strings.Contains(raw, "Domain") || strings.Contains(raw, "Secure") != (c.secure != "") {
			t.Errorf("%s: cookie %q", base, raw)
		}
	}
	res, _ := st.post(t, "/api/open", bodies(tok)["open"])
	// A second person at the same browser keeps the first one's proof.
	one := res.Cookies()[0]
	res, _ = st.post(t, "/api/open", bodies(other)["open"], func(r *http.Request) { r.AddCookie(one) })
	both := res.Cookies()[0]
	for _, tk := range []string{tok, other} {
		if _, body := st.post(t, "/api/visit", `{"token":"`+tk+`"}`, func(r *http.Request) { r.AddCookie(both) }); !strings.Contains(body, `"proven":true`) {
			t.Errorf("%s is not remembered: %s", tk, body)
		}
	}
	for range 6 { // and the cookie does not grow without end
		res, _ = st.post(t, "/api/open", bodies(other)["open"], func(r *http.Request) { r.AddCookie(both) })
		both = res.Cookies()[0]
	}
	if n := strings.Count(both.Value, "."); n != 1 {
		t.Errorf("cookie has %d values: %s", n+1, both.Value)
	}
}

func TestHeaders(t *testing.T) {
	st, tok := jane(t)
	want := map[string]string{
		"Content-Security-Policy":      policy,
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Strict-Transport-Security":    "", // this site is plain http
	}
	for _, path := range []string{"/", "/s", "/nothing", "/favicon.ico", "/robots.txt"} {
		res, err := http.Get(st.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for k, v := range want {
			if got := res.Header.Get(k); got != v {
				t.Errorf("%s: %s is %q, want %q", path, k, got, v)
			}
		}
	}
	res, _ := st.post(t, "/api/visit", bodies(tok)["visit"])
	if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Security-Policy") != policy {
		t.Errorf("visit: %v", res.Header)
	}
	h, err := New(Config{Desk: st.fake, Mailbox: st.fake, URL: "https://sign.corp.test", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(h, "GET", "/s").Header().Get("Strict-Transport-Security"); got != "max-age=63072000" {
		t.Errorf("HSTS on https: %q", got)
	}
}

func TestRates(t *testing.T) {
	st, tok := jane(t)
	last := 0
	for range 30 {
		res, _ := st.post(t, "/api/open", `{"token":"`+tok+`","code":"111111"}`)
		last = res.StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("30 guesses in a row: the last got %d", last)
	}
	if n := len(st.agents); n > 12 {
		t.Errorf("%d of 30 guesses reached the mailbox", n)
	}
	for range 80 {
		res, _ := st.post(t, "/api/visit", bodies(tok)["visit"])
		last = res.StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("100 requests with one link: the last got %d", last)
	}
	// Another link of another client is not concerned; the map does not grow for ever.
	l := newLimiter(1, 1)
	now := time.Now()
	for i := range limiterKeys + 50 {
		if !l.allow(fmt.Sprint(i), now) {
			t.Fatal("a new key has no room")
		}
	}
	if len(l.keys) != limiterKeys || l.used.Len() != limiterKeys {
		t.Errorf("%d keys, want at most %d", len(l.keys), limiterKeys)
	}
	if l.allow(fmt.Sprint(limiterKeys), now) {
		t.Error("a second request at once went through")
	}
}

func TestErrorsLeakNothing(t *testing.T) {
	st, tok := jane(t)
	for _, err := range []error{errSecret, fmt.Errorf("looking: %w", errSecret),
		&workflow.Refusal{Code: 451, Reason: "store-away", Text: "Please try again.", Err: errSecret}} {
		st.broken = err
		res, body := st.post(t, "/api/visit", bodies(tok)["visit"])
		if res.StatusCode < 500 || strings.Contains(body, "10.1.2.3") {
			t.Errorf("%v: %s %s", err, res.Status, body)
		}
	}
	if !strings.Contains(st.log.String(), "10.1.2.3") {
		t.Error("the cause is not in the log")
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	st, tok := jane(t)
	for _, path := range apiPaths {
		st.post(t, "/api/"+path, bodies(tok)[path], st.proven)
		st.post(t, "/api/"+path, bodies(tok)[path]+"{", st.proven)
	}
	st.post(t, "/api/open", `{"token":"`+tok+`","code":"135790"}`)
	st.broken = errSecret
	st.post(t, "/api/open", bodies(tok)["open"])
	res, err := http.Get(st.URL + "/" + tok + "?code=" + fakeCode)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	log := st.log.String()
	for _, secret := range []string{tok, fakeCode, "135790", "ccccc", "known", "127.0.0.1", fakePassword, fakeTOTPCode, "enrolment0.secret", "secret=ABC"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if !strings.Contains(log, "POST /api/open") {
		t.Errorf("the log holds no routes: %s", log)
	}
}

// What is refused is quoted by no more than some words.
func TestLogIsNotFilled(t *testing.T) {
	st, tok := jane(t)
	st.credentials = []*workflow.Credential{{ID: "eA", Mail: "jane.doe@corp.test", Kind: workflow.Passkey}}
	long := strings.Repeat("a", 15<<10)
	for path, rest := range map[string]string{
		"sign":          `"` + strings.Repeat(long, 60) + `":1`, // an unknown field
		"passkey/begin": `"purpose":"sign","digests":["` + long + `"]`,
		"enrol/options": `"` + long[:3<<10] + `":1`,
	} {
		before := st.log.Len()
		res, body := st.post(t, "/api/"+path, `{"token":"`+tok+`",`+rest+`}`, st.proven)
		if n := st.log.Len() - before; res.StatusCode != http.StatusBadRequest || n > 1000 {
			t.Errorf("%s: %s %.100s: %d bytes in the log", path, res.Status, body, n)
		}
	}
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		remote, forwarded, want string
		proxies                 []netip.Prefix
	}{
		{"192.0.2.1:99", "", "192.0.2.1", proxies},
		{"192.0.2.1:99", "198.51.100.7", "192.0.2.1", proxies},
		{"10.0.0.1:99", "198.51.100.7", "198.51.100.7", proxies},
		{"10.0.0.1:99", "203.0.113.9, 198.51.100.7", "198.51.100.7", proxies},
		{"10.0.0.1:99", "198.51.100.7, 10.2.2.2", "198.51.100.7", proxies},
		{"10.0.0.1:99", "junk", "10.0.0.1", proxies},
		{"10.0.0.1:99", "junk, 10.2.2.2", "10.2.2.2", proxies},
		{"10.0.0.1:99", "198.51.100.7", "10.0.0.1", nil},
		{"[::1]:99", "2001:db8::7", "2001:db8::7", proxies},
		{"[::ffff:10.0.0.1]:99", "198.51.100.7", "198.51.100.7", proxies},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := clientAddress(r, c.proxies); got != c.want {
			t.Errorf("%s forwarded %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
	if a, b := clientKey("2001:db8::1"), clientKey("2001:db8::2"); a != b || a == clientKey("2001:db8:1::1") {
		t.Errorf("keys of one network: %s and %s", a, b)
	}
}

func TestMount(t *testing.T) {
	st := newStage(t)
	h, err := New(Config{Desk: st.fake, Mailbox: st.fake, URL: "https://sign.corp.test", Log: testLog(t), Mount: map[string]http.Handler{
		"GET /healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }),
		"/pki/":        http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/pki/root.crl": "/pki/root.crl", "/pki/ocsp/a//b///c": "/pki/ocsp/a//b///c", "/robots.txt": "User-agent: *\nDisallow: /\n"} {
		if got := ask(h, "GET", path).Body.String(); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	for _, bad := range []string{"", "sign.corp.test", "ftp://x", "https://x/y", "https://x?y", "https://x#y"} {
		if _, err := New(Config{Desk: st.fake, Mailbox: st.fake, URL: bad, Log: testLog(t)}); err == nil {
			t.Errorf("base address %q was taken", bad)
		}
	}
}

func TestBrowserNames(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Safari/537.36 Edg/156.0":                   "Edge on Windows",
		"Mozilla/5.0 (Android 16; Mobile; rv:150.0) Gecko/150.0 Firefox/150.0":                                                                    "Firefox on Android",
		"curl/8": "Browser",
		"<b>x":   "Browser",
	} {
		if got := browser(agent); got != want {
			t.Errorf("%s: %q, want %q", agent, got, want)
		}
	}
}

// FuzzSign asserts that whatever parses is within the limits and on the pad.
func FuzzSign(f *testing.F) {
	f.Add([]byte(bodies(token("seed"))["sign"]))
	f.Add([]byte(`{"token":"x","shown":[{"document":0,"revision":1}],"appearance":{"strokes":[[{"x":1,"y":2},{"x":3,"y":4}]],"width":300,"height":150}}`))
	f.Add([]byte(`{"appearance":{"strokes":[[{"x":-1}]]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := parseSign(b)
		if err != nil {
			return
		}
		a := in.Appearance
		if len(in.Shown) == 0 || len(in.Shown) > maxShown || (a.Typed == "") == (len(a.Strokes) == 0) || len(a.Strokes) > workflow.MaxStrokes {
			t.Fatalf("taken: %+v", in)
		}
		for _, s := range a.Strokes {
			for _, p := range s {
				if p.X < 0 || p.X > a.Width || p.Y < 0 || p.Y > a.Height {
					t.Fatalf("off the pad: %+v", a)
				}
			}
		}
	})
}

// FuzzForwarded asserts that a header never makes an address that is none, nor
// changes that of a client who is no proxy.
func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.7, 10.2.2.2")
	f.Add("fe80::1%eth0,,")
	f.Fuzz(func(t *testing.T, v string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {v}}}
		if _, err := netip.ParseAddr(clientAddress(r, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})); err != nil {
			t.Fatal(err)
		}
		if got := clientAddress(r, nil); got != "10.0.0.1" {
			t.Fatal(got)
		}
	})
}
