package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/workflow"
)

// ownPaths are the calls about passkeys, devices and own keys; all but two need proof.
var ownPaths = []string{"passkey/begin", "passkey/open", "enrol/begin", "enrol/state", "enrol/password", "enrol/approve", "enrol/options",
	"enrol/card/begin", "enrol/card", "enrol/certificate",
	"enrol/finish", "totp/begin", "totp/finish", "key/issue", "key/renew", "prepare", "prepared", "keep", "abandon", "finish", "devices", "devices/revoke"}

func init() { apiPaths = append(apiPaths, ownPaths...) }

const somePasskey = `{"ceremony":"c","response":{"id":"x"}}`

const someCardAnswer = `{"unverifiedCertificate":"AAAA","algorithm":"ES384","signature":"AAAA","format":"web-eid:1.0","appVersion":"stand-in"}`

var someDigest = strings.Repeat("a", 64)

// ownBodies are whole requests for each of ownPaths, that change something where they are let in.
func ownBodies(tok string) map[string]string {
	out := map[string]string{}
	for path, rest := range map[string]string{
		"passkey/begin":     `"purpose":"sign","digests":["` + someDigest + `"]`,
		"passkey/open":      `"passkey":` + somePasskey,
		"enrol/begin":       ``,
		"enrol/state":       `"id":"enrolment0.secret"`,
		"enrol/password":    `"id":"enrolment0.secret","password":"` + fakePassword + `"`,
		"enrol/approve":     `"enrolment":"enrolment0","passkey":` + somePasskey,
		"enrol/options":     `"id":"enrolment0.secret","key":"` + someDigest + `"`,
		"enrol/finish":      `"id":"enrolment0.secret","passkey":` + somePasskey + `,"name":"n","csr":"` + someCSR + `"`,
		"enrol/card/begin":  `"id":"enrolment0.secret"`,
		"enrol/card":        `"id":"enrolment0.secret","ceremony":"card1","card":` + someCardAnswer,
		"enrol/certificate": `"id":"enrolment0.secret","certificate":"AAAA"`,
		"totp/begin":        `"id":"enrolment0.secret"`,
		"totp/finish":       `"id":"enrolment0.secret","ceremony":"totp1","totp":"` + fakeTOTPCode + `","name":"n","csr":"` + someCSR + `"`,
		"key/issue":         `"totp":"` + fakeTOTPCode + `","csr":"` + someCSR + `"`,
		"key/renew":         `"serial":"64","proof":"AAAA","csr":"` + someCSR + `"`,
		"prepare":           `"certificate":"64","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"Jane Doe"}`,
		"prepared":          `"id":"p","document":0`,
		"keep":              `"id":"p"`,
		"abandon":           `"id":"p"`,
		"finish":            `"id":"p","values":["AAAA"],"passkey":` + somePasskey,
		"devices":           ``,
		"devices/revoke":    `"id":"d"`,
	} {
		if rest != "" {
			rest = "," + rest
		}
		out[path] = `{"token":"` + tok + `"` + rest + `}`
	}
	return out
}

var someKey, someCSR = request(func() any { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k }())

// request makes a request for a certificate, base64.
func request(key any) (*ecdsa.PrivateKey, string) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "Ada Byron"}}, key)
	if err != nil {
		panic(err)
	}
	k, _ := key.(*ecdsa.PrivateKey)
	return k, base64.StdEncoding.EncodeToString(der)
}

// reason of a refusal.
func reason(t *testing.T, body string) string {
	t.Helper()
	var r struct{ Reason, Text string }
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return r.Reason
}

// TestUnprovenDevice: who has the link alone, or a colleague's device, gets no
// further than to be asked.
func TestUnprovenDevice(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	st.cookies["max"] = "max.weber@corp.test"
	for name, who := range map[string]func(*http.Request){"nobody": func(*http.Request) {},
		"a colleague": func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }} {
		for _, path := range ownPaths {
			if path == "passkey/open" { // that is how one proves it
				continue
			}
			if res, body := st.post(t, "/api/"+path, ownBodies(tok)[path], who); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s at %s: %s %s", name, path, res.Status, body)
			}
		}
	}
	if got := st.calls(); got != "" {
		t.Errorf("they reached %s", got)
	}
	// Only a passkey's ceremony to open may be begun without proof.
	st.credentials = []*workflow.Credential{{ID: "eA", Mail: "jane.doe@corp.test", Kind: workflow.Passkey}}
	if res, body := st.post(t, "/api/passkey/begin", `{"token":"`+tok+`","purpose":"open"}`); res.StatusCode != 200 {
		t.Errorf("open: %s %s", res.Status, body)
	}
	_, body := st.post(t, "/api/visit", `{"token":"`+tok+`"}`)
	if !strings.Contains(body, `"opens":["passkey","code"]`) || strings.Contains(body, `"passkeys"`) || strings.Contains(body, "proofs") {
		t.Errorf("before proof: %s", body)
	}
}

// TestMailboxAlone: whoever reads the mailbox gets no device enrolled, no key
// certified and nothing signed at Advanced.
func TestMailboxAlone(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	ask := func(path, rest string) string {
		t.Helper()
		_, body := st.post(t, "/api/"+path, `{"token":"`+tok+`"`+rest+`}`, st.proven)
		return body
	}
	ask("enrol/begin", "")
	for path, want := range map[string]string{"enrol/options": "not-approved", "enrol/finish": "not-approved", "totp/begin": "not-approved", "totp/finish": "not-approved"} {
		if _, body := st.post(t, "/api/"+path, ownBodies(tok)[path], st.proven); reason(t, body) != want {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
	for what, body := range map[string]string{
		"a key by code":     ask("key/issue", `,"code":"`+fakeCode+`","csr":"`+someCSR+`"`),
		"a key by nothing":  ask("key/issue", `,"csr":"`+someCSR+`"`),
		"a key by two":      ask("key/issue", `,"totp":"`+fakeTOTPCode+`","passkey":`+somePasskey+`,"csr":"`+someCSR+`"`),
		"finish by code":    ask("finish", `,"id":"p","values":["AAAA"],"code":"`+fakeCode+`"`),
		"finish by totp":    ask("finish", `,"id":"p","values":["AAAA"],"totp":"`+fakeTOTPCode+`"`),
		"renewal by nobody": ask("key/renew", `,"serial":"64","proof":"AAAA","csr":"`+someCSR+`"`),
	} {
		if r := reason(t, body); r != "proof-not-accepted" && r != "bad-value" {
			t.Errorf("%s: %s", what, body)
		}
	}
	// The Standard call does not lower the level.
	if body := ask("sign", `,"code":"`+fakeCode+`","shown":[{"document":0,"revision":0,"sha256":"`+someDigest+`"}],"appearance":{"typed":"J"}`); reason(t, body) != "wrong-level" {
		t.Errorf("sign at Advanced: %s", body)
	}
	// The list of what waits names no handle: who reads it cannot finish a colleague's approval.
	if body := ask("devices", ""); !strings.Contains(body, `"enrolment":"enrolment0"`) || strings.Contains(body, "secret") {
		t.Errorf("devices: %s", body)
	}
	if got := st.calls(); strings.Contains(got, "certify") || strings.Contains(got, "enrolled") || st.signed != nil {
		t.Errorf("they reached %s", got)
	}
}

// TestOneTimePasswordCertifies: a one-time password, which is bound to no key and
// can be passed on, makes a certificate only where Advanced signatures take it.
func TestOneTimePasswordCertifies(t *testing.T) {
	for name, accepted := range map[string][]string{"passkey": {auth.ProofPasskey}, "passkey and totp": {auth.ProofPasskey, auth.ProofTOTP}} {
		for _, level := range []workflow.Level{workflow.Standard, workflow.Advanced} {
			st, tok := advanced(t, "contract.pdf")
			st.visits[tok].Session.Level = level
			st.proofs[workflow.Advanced] = accepted
			st.post(t, "/api/enrol/begin", ownBodies(tok)["enrol/begin"], st.proven)
			st.post(t, "/api/enrol/password", ownBodies(tok)["enrol/password"], st.proven)
			st.post(t, "/api/totp/begin", ownBodies(tok)["totp/begin"], st.proven)
			_, enrolled := st.post(t, "/api/totp/finish", ownBodies(tok)["totp/finish"], st.proven)
			_, issued := st.post(t, "/api/key/issue", ownBodies(tok)["key/issue"], st.proven)
			if n, want := strings.Count(enrolled+issued, `"serial"`), 2*(len(accepted)-1); n != want || !strings.Contains(enrolled, `"device"`) {
				t.Errorf("%s, %s session: %d certificates, want %d: %s %s", name, level, n, want, enrolled, issued)
			}
		}
	}
}

// TestOwnKeyAtStandard: a session that asks for no own key takes none.
func TestOwnKeyAtStandard(t *testing.T) {
	st, tok := jane(t)
	for _, path := range []string{"prepare", "finish"} {
		if _, body := st.post(t, "/api/"+path, ownBodies(tok)[path], st.proven); reason(t, body) != "wrong-level" {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// device is a device of Jane's, as the interface sees it.
type device struct {
	t   *testing.T
	st  *stage
	tok string
}

func (d device) ask(path, rest string, into any) string {
	d.t.Helper()
	res, body := d.st.post(d.t, "/api/"+path, `{"token":"`+d.tok+`"`+rest+`}`, d.st.proven)
	if into == nil {
		return body
	}
	if res.StatusCode != 200 {
		d.t.Fatalf("%s: %s %s", path, res.Status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		d.t.Fatalf("%s: %v", path, err)
	}
	return body
}

// answers a ceremony as the fake wants it.
func answers(b begun, id string) string {
	var o struct {
		PublicKey struct{ Challenge string }
	}
	_ = json.Unmarshal(b.Options, &o) // an empty challenge is refused
	client := base64.RawURLEncoding.EncodeToString([]byte(`{"type":"webauthn.get","challenge":"` + o.PublicKey.Challenge + `"}`))
	return fmt.Sprintf(`{"ceremony":%q,"response":{"id":%q,"response":{"clientDataJSON":%q}}}`, b.Ceremony, id, client)
}

func r64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// sign gives r‖s over b.
func signed(b []byte) []byte {
	h := sha256.Sum256(b)
	r, s, err := ecdsa.Sign(rand.Reader, someKey, h[:])
	if err != nil {
		panic(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// TestInterface enrols and signs by the calls alone, as docs/page.md has them,
// and tries at each step what must not work: a swapped digest, a replay, other
// values, another person's preparation.
func TestInterface(t *testing.T) {
	st, tok := advanced(t, "contract.pdf", "annex.pdf")
	d := device{t, st, tok}
	var e lookEnrolment
	d.ask("enrol/begin", "", &e)
	if body := d.ask("enrol/password", `,"id":"`+e.ID+`","password":""`, nil); reason(t, body) != "wrong-password" {
		t.Errorf("an empty password: %s", body)
	}
	d.ask("enrol/password", `,"id":"`+e.ID+`","password":"`+fakePassword+`"`, &e)
	if !e.Approved || e.Number != "4207" || e.Seconds < 3000 || len(e.Ways) != 4 {
		t.Errorf("enrolment: %+v", e)
	}
	der, _ := base64.StdEncoding.DecodeString(someCSR)
	key, err := auth.KeyOf(der)
	if err != nil {
		t.Fatal(err)
	}
	var b begun
	d.ask("enrol/options", `,"id":"`+e.ID+`","key":"`+someDigest+`"`, &b)
	// The challenge was made of another key than the request's.
	if body := d.ask("enrol/finish", `,"id":"`+e.ID+`","passkey":`+answers(b, "cGs")+`,"name":"Phone","csr":"`+someCSR+`"`, nil); reason(t, body) != "digest-mismatch" {
		t.Errorf("a swapped key: %s", body)
	}
	d.ask("enrol/options", `,"id":"`+e.ID+`","key":"`+key.String()+`"`, &b)
	var in enrolled
	body := d.ask("enrol/finish", `,"id":"`+e.ID+`","passkey":`+answers(b, "cGs")+`,"name":"Phone","csr":"`+someCSR+`"`, &in)
	if in.Device != "cGs" || in.Certificate == nil || in.Look.Passkeys != 1 || in.Certificate.Until.Before(time.Now()) {
		t.Fatalf("enrolled: %s", body)
	}
	cert, err := x509.ParseCertificate(in.Certificate.Chain[0])
	if err != nil || cert.Subject.CommonName != "Jane Doe" {
		t.Errorf("certificate: %v %v", cert, err)
	}

	prepare := func() (p struct {
		ID        string
		Seconds   int
		Documents []lookPrepared
	}) {
		t.Helper()
		d.ask("prepare", fmt.Sprintf(`,"certificate":%q,"appearance":{"typed":"Jane Doe"},"shown":[{"document":0,"revision":0,"sha256":"%x"},{"document":1,"revision":0,"sha256":"%x"}]`,
			in.Certificate.Serial, sha256.Sum256(st.content["contract.pdf"]), sha256.Sum256(st.content["annex.pdf"])), &p)
		return p
	}
	p := prepare()
	if len(p.Documents) != 2 || p.Seconds < 50 {
		t.Fatalf("preparation: %+v", p)
	}
	var values, digests []string
	for _, x := range p.Documents {
		values = append(values, `"`+r64(signed(x.Attributes))+`"`)
		digests = append(digests, fmt.Sprintf(`"%x"`, sha256.Sum256(x.Attributes)))
		whole := d.ask("prepared", fmt.Sprintf(`,"id":%q,"document":%d`, p.ID, x.Document), nil)
		rest := d.ask("prepared", fmt.Sprintf(`,"id":%q,"document":%d,"from":1000`, p.ID, x.Document), nil)
		if sha256.Sum256([]byte(whole)) != x.SHA256 || whole[1000:] != rest {
			t.Errorf("document %d: %d and %d bytes", x.Document, len(whole), len(rest))
		}
		for _, from := range []int{-1, len(whole) + 1} {
			if body := d.ask("prepared", fmt.Sprintf(`,"id":%q,"document":%d,"from":%d`, p.ID, x.Document, from), nil); reason(t, body) != "bad-request" {
				t.Errorf("from %d: %.100s", from, body)
			}
		}
	}
	begin := func(digests []string) (b begun) {
		t.Helper()
		d.ask("passkey/begin", `,"purpose":"sign","digests":[`+strings.Join(digests, ",")+`]`, &b)
		return b
	}
	finish := func(values []string, passkey string) string {
		t.Helper()
		_, body := st.post(t, "/api/finish", `{"token":"`+tok+`","id":"`+p.ID+`","values":[`+strings.Join(values, ",")+`],"passkey":`+passkey+`}`, st.proven)
		return body
	}
	swapped := []string{values[1], values[0]}
	for what, body := range map[string]string{
		"one value":        finish(values[:1], answers(begin(digests), "cGs")),
		"swapped values":   finish(swapped, answers(begin(digests), "cGs")),
		"zeros":            finish([]string{`"` + r64(make([]byte, 64)) + `"`, values[1]}, answers(begin(digests), "cGs")),
		"an empty value":   finish([]string{`""`, values[1]}, answers(begin(digests), "cGs")),
		"a kilobyte":       finish([]string{`"` + r64(make([]byte, 1000)) + `"`, values[1]}, answers(begin(digests), "cGs")),
		"one digest":       finish(values, answers(begin(digests[:1]), "cGs")),
		"another order":    finish(values, answers(begin([]string{digests[1], digests[0]}), "cGs")),
		"another passkey":  finish(values, answers(begin(digests), "b3RoZXI")),
		"no such ceremony": finish(values, `{"ceremony":"none","response":{}}`),
	} {
		if r := reason(t, body); r != "bad-value" && r != "digest-mismatch" && r != "passkey-unknown" && r != "ceremony-gone" {
			t.Errorf("%s: %s", what, body)
		}
	}
	// Max, at his own device, has nothing to do with Jane's preparation.
	other := token("max")
	st.visits[other] = workflow.Visit{Session: st.visits[tok].Session, Person: 2}
	st.cookies["max"] = "max.weber@corp.test"
	for path, want := range map[string]string{"prepared": "preparation-gone", "keep": "preparation-gone", "abandon": "", "finish": "preparation-gone"} {
		body := strings.Replace(ownBodies(other)[path], `"p"`, `"`+p.ID+`"`, 1)
		if _, body := st.post(t, "/api/"+path, body, func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }); reason(t, body) != want {
			t.Errorf("%s by a colleague: %.200s", path, body)
		}
	}
	if st.preparation == nil || st.preparation.ID != p.ID {
		t.Fatal("a colleague has let it go")
	}
	if st.values != nil {
		t.Fatal("something was signed")
	}
	right := answers(begin(digests), "cGs")
	if body := finish(values, right); !strings.Contains(body, `"state":"signing"`) {
		t.Fatalf("finish: %s", body)
	}
	if body := finish(values, right); reason(t, body) != "preparation-gone" {
		t.Errorf("once more: %s", body)
	}
	old := p
	p = prepare() // the fake prepares again; the ceremony is used up
	if body := finish(values, right); reason(t, body) != "bad-value" && reason(t, body) != "ceremony-gone" {
		t.Errorf("a replay: %s", body)
	}
	if old.ID == p.ID {
		t.Error("the same preparation")
	}
}

// TestOwnBadBodies bounds what these calls read.
func TestOwnBadBodies(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	st.own.credentials = []*workflow.Credential{{ID: "eA", Mail: "jane.doe@corp.test", Kind: workflow.Passkey}}
	_, weak := request(func() any { k, _ := rsa.GenerateKey(rand.Reader, 1024); return k }())
	long := strings.Repeat("a", 60_000)
	digests := strings.TrimSuffix(strings.Repeat(`"`+someDigest+`",`, maxShown+1), ",")
	for name, c := range map[string]struct{ path, rest, reason string }{
		"unknown purpose":     {"passkey/begin", `"purpose":"admin","digests":["` + someDigest + `"]`, "bad-request"},
		"no digest":           {"passkey/begin", `"purpose":"sign"`, "bad-request"},
		"digests to open":     {"passkey/begin", `"purpose":"open","digests":["` + someDigest + `"]`, "bad-request"},
		"two keys":            {"passkey/begin", `"purpose":"key","digests":["` + someDigest + `","` + someDigest + `"]`, "bad-request"},
		"too many digests":    {"passkey/begin", `"purpose":"sign","digests":[` + digests + `]`, "bad-request"},
		"half a digest":       {"passkey/begin", `"purpose":"sign","digests":["aa"]`, "bad-request"},
		"a long answer":       {"passkey/open", `"passkey":{"ceremony":"c","response":{"id":"` + long + `"}}`, "too-large"},
		"a long password":     {"enrol/password", `"id":"x","password":"` + long + `"`, "too-large"},
		"a long enrolment":    {"enrol/finish", `"id":"x","passkey":` + somePasskey + `,"name":"` + long + `","csr":""`, "too-large"},
		"no request":          {"enrol/finish", `"id":"x","passkey":` + somePasskey + `,"name":"","csr":""`, "bad-csr"},
		"no request at all":   {"key/issue", `"passkey":` + somePasskey, "bad-csr"},
		"junk as request":     {"key/renew", `"serial":"1","proof":"","csr":"` + r64([]byte("junk")) + `"`, "bad-csr"},
		"a long request":      {"key/issue", `"passkey":` + somePasskey + `,"csr":"` + r64(make([]byte, maxCSR+1)) + `"`, "bad-csr"},
		"a foreign ceremony":  {"key/issue", `"passkey":` + somePasskey + `,"csr":"` + weak + `"`, "ceremony-gone"},
		"letters unprinted":   {"prepare", `"certificate":"64","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"山田"}`, "unprintable-name"},
		"no appearance":       {"prepare", `"certificate":"64","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{}`, "bad-appearance"},
		"nothing shown":       {"prepare", `"certificate":"64","shown":[],"appearance":{"typed":"J"}`, "bad-request"},
		"no certificate":      {"prepare", `"shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, "no-certificate"},
		"letters as totp":     {"totp/finish", `"id":"x","ceremony":"c","totp":"abcdef","name":""`, "bad-code"},
		"many values":         {"finish", `"id":"p","values":["` + long + long + `"],"passkey":` + somePasskey, "too-large"},
		"no proof":            {"finish", `"id":"p","values":["AAAA"]`, "bad-request"},
		"two proofs":          {"finish", `"id":"p","values":["AAAA"],"totp":"123456","passkey":` + somePasskey, "bad-request"},
		"somebody's device":   {"devices/revoke", `"id":"bWF4"`, "no-device"},
		"an unknown field":    {"devices", `"mail":"max.weber@corp.test"`, "bad-request"},
		"somebody's approval": {"enrol/approve", `"enrolment":"e","passkey":` + somePasskey, "ceremony-gone"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := st.post(t, "/api/"+c.path, `{"token":"`+tok+`",`+c.rest+`}`, st.proven)
			if got := reason(t, body); got != c.reason || res.StatusCode < 400 || res.StatusCode >= 500 {
				t.Errorf("%s %s, want %s", res.Status, body, c.reason)
			}
		})
	}
}

// TestOwnRates: passwords and one-time passwords are tried as slowly as codes.
func TestOwnRates(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	st.post(t, "/api/enrol/begin", ownBodies(tok)["enrol/begin"], st.proven)
	last := 0
	for range 30 {
		res, _ := st.post(t, "/api/enrol/password", `{"token":"`+tok+`","id":"enrolment0.secret","password":"guess"}`, st.proven)
		last = res.StatusCode
	}
	if n := strings.Count(st.calls(), "password"); last != http.StatusTooManyRequests || n > 12 {
		t.Errorf("30 passwords in a row: %d reached the directory, the last got %d", n, last)
	}
	for _, path := range []string{"totp/finish", "key/issue"} {
		if _, body := st.post(t, "/api/"+path, ownBodies(tok)[path], st.proven); reason(t, body) != "too-fast" {
			t.Errorf("%s after them: %s", path, body)
		}
	}
}

// TestProofsNeedTheirRooms: a level whose proof nothing can check is a mistake
// of the configuration, and a mailed code proves nothing at Advanced.
func TestProofsNeedTheirRooms(t *testing.T) {
	st := newStage(t)
	c := Config{Desk: st.fake, Mailbox: st.fake, URL: "https://sign.corp.test", Log: testLog(t)}
	for name, change := range map[string]func(c *Config){
		"passkeys":         func(c *Config) { c.Proofs = auth.Proofs{workflow.Standard: {auth.ProofPasskey}} },
		"totp":             func(c *Config) { c.Proofs = auth.Proofs{workflow.Standard: {auth.ProofTOTP}} },
		"code at advanced": func(c *Config) { c.Proofs = auth.Proofs{workflow.Advanced: {auth.ProofCode}} },
		"a word":           func(c *Config) { c.Proofs = auth.Proofs{workflow.Standard: {"fax"}} },
		"no enrolments":    func(c *Config) { c.Passkeys = fakePasskeys{st.fake} },
	} {
		k := c
		change(&k)
		if _, err := New(k); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	// Without the rooms there are no such calls.
	for _, path := range ownPaths {
		if w := ask(h, "POST", "/api/"+path); w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if bytes.Contains(ask(h, "GET", "/s").Body.Bytes(), []byte("passkey")) {
		t.Error("the page speaks of passkeys")
	}
}
