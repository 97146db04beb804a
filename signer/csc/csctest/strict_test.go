package csctest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const returnTo = "https://sign.corp.test/return"

// issue makes certificates that nothing here looks at.
func issue(pub crypto.PublicKey, user string) ([]byte, [][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: user}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, pub, key)
	return der, nil, err
}

func start(t *testing.T, with func(*Config)) *Server {
	t.Helper()
	c := Config{Issue: issue, ClientID: "desk", Secret: "s3cret", RedirectURI: returnTo, ClientCredentials: true}
	if with != nil {
		with(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.AddUser(User{ID: "john", PIN: "1111"})
	s.AddUser(User{ID: "jane", PIN: "2222"})
	for _, c := range []Credential{
		{ID: "pin", User: "john", Type: P256, PIN: true, Multisign: 2},
		{ID: "page", User: "john", Type: P256, OAuth2: true},
		{ID: "free", User: "jane", Type: P256},
	} {
		if err := s.AddCredential(c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// post sends as it is told, and gives status and JSON.
func post(t *testing.T, address, media, auth, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if len(b) > 0 && json.Unmarshal(b, &out) != nil {
		t.Fatalf("no JSON: %s", b)
	}
	return resp.StatusCode, out
}

const asForm, asJSON = "application/x-www-form-urlencoded", "application/json"

func (s *Server) service(t *testing.T) string {
	t.Helper()
	status, out := post(t, s.TokenURL, asForm, "", "grant_type=client_credentials&scope=service&client_id=desk&client_secret=s3cret")
	if status != 200 || out["token_type"] != "Bearer" || out["expires_in"] != float64(3600) {
		t.Fatalf("%d %v", status, out)
	}
	return "Bearer " + out["access_token"].(string)
}

func b64(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n)) }

const oid256, oid384 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"

// A stand-in that takes what a real one would not is worth nothing. Each request has one
// fault; without it, it is taken.
func TestStrict(t *testing.T) {
	s := start(t, nil)
	bearer := s.service(t)
	authorize := fmt.Sprintf(`{"credentialID":"pin","numSignatures":1,"hashes":[%q],"hashAlgorithmOID":%q,"authData":[{"id":"PIN","value":"1111"}]}`, b64(32), oid256)
	list := `{"userID":"john","credentialInfo":true,"certificates":"chain"}`
	for _, c := range []struct {
		name, call, media, auth, body string
		old, new                      string // what is changed in body
		status                        int
		word                          string
	}{
		{"good", "credentials/list", asJSON, bearer, list, "", "", 200, ""},
		{"charset", "credentials/list", asJSON + "; charset=UTF-8", bearer, list, "", "", 200, ""},
		{"media type", "credentials/list", "text/json", bearer, list, "", "", 415, "invalid_request"},
		{"no media type", "credentials/list", "", bearer, list, "", "", 415, "invalid_request"},
		{"no bearer", "credentials/list", asJSON, "", list, "", "", 400, "invalid_request"},
		{"basic", "credentials/list", asJSON, "Basic ZGVzazpzM2NyZXQ=", list, "", "", 400, "invalid_request"},
		{"unknown bearer", "credentials/list", asJSON, "Bearer x", list, "", "", 401, "invalid_token"},
		{"unknown field", "credentials/list", asJSON, bearer, list, `{`, `{"document":"x",`, 400, "invalid_request"},
		{"spelt otherwise", "credentials/list", asJSON, bearer, list, `userID`, `userId`, 400, "invalid_request"},
		{"repeated", "credentials/list", asJSON, bearer, list, `{`, `{"userID":"john",`, 400, "invalid_request"},
		{"trailing", "credentials/list", asJSON, bearer, list, `}`, `}{}`, 400, "invalid_request"},
		{"an array", "credentials/list", asJSON, bearer, list, list, `[]`, 400, "invalid_request"},
		{"unknown user", "credentials/list", asJSON, bearer, list, `john`, `joan`, 400, "invalid_request"},
		{"nobody", "credentials/list", asJSON, bearer, list, `"userID":"john",`, ``, 400, "invalid_request"},
		{"certificates", "credentials/list", asJSON, bearer, list, `chain`, `all`, 400, "invalid_request"},
		{"no such method", "credentials/steal", asJSON, bearer, list, "", "", 404, "invalid_request"},
		{"version 1", "credentials/sendOTP", asJSON, bearer, `{"credentialID":"pin"}`, "", "", 404, "invalid_request"},
		{"good", "credentials/authorize", asJSON, bearer, authorize, "", "", 200, ""},
		{"unknown credential", "credentials/authorize", asJSON, bearer, authorize, `"pin"`, `"pit"`, 400, "invalid_request"},
		{"authorised on the page", "credentials/authorize", asJSON, bearer, authorize, `"pin"`, `"page"`, 400, "invalid_request"},
		{"number as text", "credentials/authorize", asJSON, bearer, authorize, `:1,`, `:"1",`, 400, "invalid_request"},
		{"none", "credentials/authorize", asJSON, bearer, authorize, `:1,`, `:0,`, 400, "invalid_request"},
		{"more than digests", "credentials/authorize", asJSON, bearer, authorize, `:1,`, `:2,`, 400, "invalid_request"},
		{"more than multisign", "credentials/authorize", asJSON, bearer, authorize, `:1,`, `:3,`, 400, "invalid_request"},
		{"no digests", "credentials/authorize", asJSON, bearer, authorize, `"hashes":["` + b64(32) + `"],`, ``, 400, "invalid_request"},
		{"digest too short", "credentials/authorize", asJSON, bearer, authorize, b64(32), b64(20), 400, "invalid_request"},
		{"digest of another hash", "credentials/authorize", asJSON, bearer, authorize, oid256, oid384, 400, "invalid_request"},
		{"hash not named", "credentials/authorize", asJSON, bearer, authorize, `"hashAlgorithmOID":"` + oid256 + `",`, ``, 400, "invalid_request"},
		{"URL-safe", "credentials/authorize", asJSON, bearer, authorize, b64(32), strings.Repeat("_", 43) + "=", 400, "invalid_request"},
		{"unpadded", "credentials/authorize", asJSON, bearer, authorize, b64(32), strings.TrimRight(b64(32), "="), 400, "invalid_request"},
		{"wrong PIN", "credentials/authorize", asJSON, bearer, authorize, `1111`, `1112`, 400, "invalid_authentication_data"},
		{"no PIN", "credentials/authorize", asJSON, bearer, authorize, `{"id":"PIN","value":"1111"}`, ``, 400, "invalid_authentication_data"},
		{"more than is asked", "credentials/authorize", asJSON, bearer, authorize, `[{"id"`, `[{"id":"OTP","value":"1"},{"id"`, 400, "invalid_request"},
		{"of version 1", "credentials/authorize", asJSON, bearer, authorize, `"authData":[{"id":"PIN","value":"1111"}]`, `"PIN":"1111"`, 400, "invalid_request"},
		{"good", "info", asJSON, "", `{}`, "", "", 200, ""},
		{"info with a field", "info", asJSON, "", `{"x":1}`, "", "", 400, "invalid_request"},
	} {
		body := c.body
		if c.old != "" {
			if body = strings.Replace(body, c.old, c.new, 1); body == c.body {
				t.Fatalf("%s: nothing changed", c.name)
			}
		}
		status, out := post(t, s.URL+"/"+c.call, c.media, c.auth, body)
		word, _ := out["error"].(string)
		if status != c.status || word != c.word {
			t.Errorf("%s, %s: %d %v, want %d %s", c.call, c.name, status, out, c.status, c.word)
		}
		if c.word != "" && len(s.Refused()) == 0 {
			t.Errorf("%s: not among the refused", c.name)
		}
	}
	resp, err := http.Get(s.URL + "/info")
	if err != nil || resp.StatusCode != 405 {
		t.Errorf("GET: %v, %v", resp, err)
	}
}

// A SAD signs the digests that it was given for, each once, in its time.
func TestSAD(t *testing.T) {
	now := time.Now()
	s := start(t, func(c *Config) { c.Now = func() time.Time { return now } })
	bearer := s.service(t)
	other := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32))
	sad := func() string {
		status, out := post(t, s.URL+"/credentials/authorize", asJSON, bearer,
			fmt.Sprintf(`{"credentialID":"pin","numSignatures":2,"hashes":[%q,%q],"hashAlgorithmOID":%q,"authData":[{"id":"PIN","value":"1111"}]}`, b64(32), other, oid256))
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		return out["SAD"].(string)
	}
	sign := func(sad, credential, algo string, hashes ...string) (int, string) {
		l, _ := json.Marshal(hashes)
		status, out := post(t, s.URL+"/signatures/signHash", asJSON, bearer,
			fmt.Sprintf(`{"credentialID":%q,"SAD":%q,"hashes":%s,"hashAlgorithmOID":%q,"signAlgo":%q}`, credential, sad, l, oid256, algo))
		text, _ := out["error_description"].(string)
		return status, text
	}
	const ec = "1.2.840.10045.2.1"
	one := sad()
	third := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))
	for _, c := range []struct {
		name, sad, credential, algo string
		hashes                      []string
		status                      int
		text                        string
	}{
		{"unknown SAD", "x", "pin", ec, []string{other}, 400, "Invalid parameter SAD"},
		{"other credential", one, "free", ec, []string{other}, 400, "Invalid parameter SAD"},
		{"other algorithm", one, "pin", "1.2.840.113549.1.1.11", []string{other}, 400, "Invalid parameter signAlgo"},
		{"other digest", one, "pin", ec, []string{third}, 400, "Hash is not authorized by the SAD"},
		{"twice at once", one, "pin", ec, []string{other, other}, 400, "Hash is not authorized by the SAD"},
		{"none", one, "pin", ec, []string{}, 400, "Empty hash array"},
		{"first", one, "pin", ec, []string{other}, 200, ""},
		{"again", one, "pin", ec, []string{other}, 400, "Hash is not authorized by the SAD"},
		{"second", one, "pin", ec, []string{b64(32)}, 200, ""},
		{"used up", one, "pin", ec, []string{b64(32)}, 400, "SAD expired"},
	} {
		if status, text := sign(c.sad, c.credential, c.algo, c.hashes...); status != c.status || text != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.name, status, text, c.status, c.text)
		}
	}
	late := sad()
	now = now.Add(5*time.Minute + time.Second)
	if status, text := sign(late, "pin", ec, other); status != 400 || text != "SAD expired" {
		t.Errorf("late: %d %q", status, text)
	}
	now = now.Add(time.Hour)
	if status, out := post(t, s.URL+"/signatures/signHash", asJSON, bearer, `{}`); status != 401 || out["error"] != "expired_token" {
		t.Errorf("late token: %d %v", status, out)
	}
}

// What the browser brings to the page, and the client to the token endpoint.
func TestOAuth2(t *testing.T) {
	s := start(t, nil)
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	good := url.Values{"response_type": {"code"}, "client_id": {"desk"}, "redirect_uri": {returnTo}, "scope": {"credential"}, "state": {"0123456789abcdef"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "credentialID": {"page"}, "numSignatures": {"1"},
		"hashes": {base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))}, "hashAlgorithmOID": {oid256}}
	change := func(v url.Values, set ...string) url.Values {
		out := url.Values{}
		for name, values := range v {
			out[name] = values
		}
		for i := 0; i < len(set); i += 2 {
			if out.Del(set[i]); set[i+1] != "" {
				out.Set(set[i], set[i+1])
			}
		}
		return out
	}
	visit := func(q url.Values, form url.Values) (int, url.Values) {
		method, body := http.MethodGet, ""
		if form != nil {
			method, body = http.MethodPost, form.Encode()
		}
		req, err := http.NewRequest(method, s.AuthorizeURL+"?"+q.Encode(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", asForm)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		u, err := url.Parse(resp.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, u.Query()
	}
	for name, c := range map[string]struct {
		set    []string
		status int
		word   string
	}{
		"good":               {nil, 200, ""},
		"redirect_uri":       {[]string{"redirect_uri", "https://evil.test/"}, 400, ""},
		"client":             {[]string{"client_id", "x"}, 400, ""},
		"no state":           {[]string{"state", ""}, 302, "invalid_request"},
		"short state":        {[]string{"state", "1"}, 302, "invalid_request"},
		"no challenge":       {[]string{"code_challenge", ""}, 302, "invalid_request"},
		"plain":              {[]string{"code_challenge_method", "plain"}, 302, "invalid_request"},
		"implicit":           {[]string{"response_type", "token"}, 302, "unsupported_response_type"},
		"scope":              {[]string{"scope", "all"}, 302, "invalid_scope"},
		"service and digest": {[]string{"scope", "service"}, 302, "invalid_request"},
		"credential":         {[]string{"credentialID", "pin"}, 302, "invalid_request"},
		"no digests":         {[]string{"hashes", ""}, 302, "invalid_request"},
		"plain base64":       {[]string{"hashes", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32))}, 302, "invalid_request"},
		"digest length":      {[]string{"hashAlgorithmOID", oid384}, 302, "invalid_request"},
		"number":             {[]string{"numSignatures", "2"}, 302, "invalid_request"},
		"unknown":            {[]string{"document", "x"}, 302, "invalid_request"},
		"version 1":          {[]string{"hashes", "", "hash", b64(32)}, 302, "invalid_request"},
	} {
		if status, back := visit(change(good, c.set...), nil); status != c.status || back.Get("error") != c.word {
			t.Errorf("%s: %d %v, want %d %s", name, status, back, c.status, c.word)
		}
	}
	yes := url.Values{"user": {"john"}, "pin": {"1111"}, "decision": {"yes"}}
	if status, back := visit(good, change(yes, "decision", "no")); status != 302 || back.Get("error") != "access_denied" || back.Get("state") != good.Get("state") {
		t.Errorf("declined: %d %v", status, back)
	}
	for name, form := range map[string]url.Values{"PIN": change(yes, "pin", "1112"), "user": change(yes, "user", "joan"), "another's": change(yes, "user", "jane", "pin", "2222")} {
		if status, back := visit(good, form); status != 403 || back.Has("code") {
			t.Errorf("wrong %s: %d %v", name, status, back)
		}
	}
	token := url.Values{"grant_type": {"authorization_code"}, "client_id": {"desk"}, "client_secret": {"s3cret"}, "redirect_uri": {returnTo}, "code_verifier": {verifier}}
	var used string
	for _, c := range []struct {
		name   string
		set    []string
		status int
		word   any
	}{
		{"verifier", []string{"code_verifier", strings.Repeat("w", 43)}, 400, "invalid_grant"},
		{"no verifier", []string{"code_verifier", ""}, 400, "invalid_grant"},
		{"redirect_uri", []string{"redirect_uri", returnTo + "/x"}, 400, "invalid_grant"},
		{"code", []string{"code", "x"}, 400, "invalid_grant"},
		{"secret", []string{"client_secret", "x"}, 400, "invalid_request"},
		{"client", []string{"client_id", "x"}, 400, "invalid_request"},
		{"details", []string{"authorization_details", "[]"}, 400, "invalid_request"},
		{"unknown", []string{"x", "y"}, 400, "invalid_request"},
		{"grant", []string{"grant_type", "password"}, 400, "invalid_request"},
		{"good", nil, 200, nil},
	} {
		status, back := visit(good, yes)
		if status != 302 || back.Get("code") == "" {
			t.Fatalf("%d %v", status, back)
		}
		used = back.Get("code")
		form := change(change(token, "code", used), c.set...)
		if status, out := post(t, s.TokenURL, asForm, "", form.Encode()); status != c.status || out["error"] != c.word {
			t.Errorf("%s: %d %v, want %d %v", c.name, status, out, c.status, c.word)
		}
	}
	if status, out := post(t, s.TokenURL, asForm, "", change(token, "code", used).Encode()); status != 400 || out["error"] != "invalid_grant" {
		t.Errorf("a code twice: %d %v", status, out)
	}
	if status, _ := post(t, s.TokenURL, asJSON, "", change(token, "code", used).Encode()); status != 415 {
		t.Errorf("media type: %d", status)
	}
}

// Without a scope of its own, a token is for one credential.
func TestScope(t *testing.T) {
	s := start(t, func(c *Config) { c.ClientCredentials = false })
	if status, out := post(t, s.TokenURL, asForm, "", "grant_type=client_credentials&scope=service&client_id=desk&client_secret=s3cret"); status != 400 || out["error"] != "unauthorized_client" {
		t.Errorf("%d %v", status, out)
	}
	s.mu.Lock()
	s.tokens["john"] = &token{user: "john", expires: time.Now().Add(time.Hour)}
	s.tokens["page"] = &token{user: "john", grant: &authorisation{credential: s.credentials["page"], left: 1, expires: time.Now().Add(time.Hour)}, expires: time.Now().Add(time.Hour)}
	s.mu.Unlock()
	for _, c := range []struct {
		call, auth, body string
		status           int
	}{
		{"credentials/list", "Bearer john", `{}`, 200},
		{"credentials/list", "Bearer john", `{"userID":"john"}`, 400},
		{"credentials/list", "Bearer page", `{}`, 403},
		{"credentials/info", "Bearer john", `{"credentialID":"page"}`, 200},
		{"credentials/info", "Bearer john", `{"credentialID":"free"}`, 400},
		{"credentials/info", "Bearer page", `{"credentialID":"page"}`, 200},
		{"credentials/info", "Bearer page", `{"credentialID":"pin"}`, 400},
		{"credentials/authorize", "Bearer page", `{"credentialID":"pin"}`, 403},
		{"signatures/signHash", "Bearer page", fmt.Sprintf(`{"credentialID":"page","SAD":"x","hashes":[%q],"hashAlgorithmOID":%q,"signAlgo":"1.2.840.10045.2.1"}`, b64(32), oid256), 400},
		{"signatures/signHash", "Bearer john", fmt.Sprintf(`{"credentialID":"page","hashes":[%q],"hashAlgorithmOID":%q,"signAlgo":"1.2.840.10045.2.1"}`, b64(32), oid256), 400},
		{"signatures/signHash", "Bearer page", fmt.Sprintf(`{"credentialID":"page","hashes":[%q],"hashAlgorithmOID":%q,"signAlgo":"1.2.840.10045.2.1"}`, b64(32), oid256), 200},
	} {
		if status, out := post(t, s.URL+"/"+c.call, asJSON, c.auth, c.body); status != c.status {
			t.Errorf("%s as %s with %s: %d %v, want %d", c.call, c.auth, c.body, status, out, c.status)
		}
	}
}
