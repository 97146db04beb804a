package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"milterd/workflow"
)

// qualifiedPaths are the calls about qualified certificates; all need proof.
var qualifiedPaths = slices.Sorted(maps.Keys(qualifiedBodies("")))

func init() { apiPaths = append(apiPaths, qualifiedPaths...) }

// prepared has something prepared for Jane by a provider, or a card.
func (st *stage) preparedFor(t *testing.T, tok, rest string) (id string) {
	t.Helper()
	res, body := st.post(t, "/api/qualified/prepare", `{"token":"`+tok+`",`+rest+`,"shown":[{"document":0,"revision":0,"sha256":"`+someDigest+
		`"}],"appearance":{"typed":"Jane Doe"}}`, st.proven)
	var p struct{ ID, Hash string }
	if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != 200 || p.Hash != "SHA-256" {
		t.Fatalf("prepare: %s %s", res.Status, body)
	}
	return p.ID
}

func (st *stage) cardFor(t *testing.T, tok string) (id string) {
	t.Helper()
	return st.preparedFor(t, tok, `"certificate":"`+base64.StdEncoding.EncodeToString(st.remote.cert)+`","algorithms":[{"cryptoAlgorithm":"ECC","hashFunction":"SHA-256","paddingScheme":"NONE"}]`)
}

// Who has the link alone or a colleague's device, or a session of another level, reaches
// neither desk nor provider.
func TestQualifiedGuards(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	st.cookies["max"] = "max.weber@corp.test"
	for name, who := range map[string]func(*http.Request){"nobody": func(*http.Request) {},
		"a colleague": func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }} {
		for path, body := range qualifiedBodies(tok) {
			if res, body := st.post(t, "/api/"+path, body, who); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s at %s: %s %s", name, path, res.Status, body)
			}
		}
	}
	_, body := st.post(t, "/api/visit", `{"token":"`+tok+`"}`)
	if strings.Contains(body, byPIN) || strings.Contains(body, `"card"`) {
		t.Errorf("before proof: %s", body)
	}
	for _, level := range []workflow.Level{workflow.Standard, workflow.Advanced} {
		st.visits[tok].Session.Level = level
		for path, body := range qualifiedBodies(tok) {
			if res, body := st.post(t, "/api/"+path, body, st.proven); res.StatusCode != http.StatusConflict || reason(t, body) != "wrong-level" {
				t.Errorf("%s at %s: %s %s", level, path, res.Status, body)
			}
		}
	}
	if got := st.calls(); got != "" {
		t.Errorf("they reached %s", got)
	}
}

func TestQualifiedBadRequests(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	by := st.preparedFor(t, tok, `"provider":"`+byPIN+`","key":"key"`)
	for name, c := range map[string]struct {
		path, rest string
		status     int
		reason     string
	}{
		"unknown provider":            {"keys", `"provider":"Elsewhere"`, 400, "no-provider"},
		"unknown provider, to sign":   {"prepare", `"provider":"Elsewhere","key":"key","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, 400, "no-provider"},
		"unknown key":                 {"prepare", `"provider":"` + byPIN + `","key":"x","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, 400, "no-credential"},
		"neither card nor provider":   {"prepare", `"shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, 400, "malformed-certificate"},
		"a card of garbage":           {"prepare", `"certificate":"AAAA","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, 400, "malformed-certificate"},
		"a card that can do nothing":  {"prepare", `"certificate":"` + base64.StdEncoding.EncodeToString(st.remote.cert) + `","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"J"}`, 400, "weak-algorithm"},
		"nothing was shown":           {"prepare", `"provider":"` + byPIN + `","key":"key","shown":[],"appearance":{"typed":"J"}`, 400, "bad-request"},
		"a preparation of nobody's":   {"authorize", `"id":"nonsense","answers":{"PIN":"` + fakePIN + `"}`, 410, "preparation-gone"},
		"its challenge":               {"challenge", `"id":"nonsense","factor":"OTP"`, 410, "preparation-gone"},
		"leaving for it":              {"leave", `"id":"nonsense","lang":"en"`, 410, "preparation-gone"},
		"coming back for it":          {"return", `"id":"nonsense","kept":"AAAA","query":"code=fakecode&state=fakestate"`, 410, "preparation-gone"},
		"finishing it":                {"finish", `"id":"nonsense","values":["AAAA"]`, 410, "preparation-gone"},
		"a value that is none":        {"finish", `"id":"` + by + `","values":["AAAA"]`, 422, "bad-value"},
		"no value":                    {"finish", `"id":"` + by + `","values":[]`, 422, "bad-value"},
		"an unknown language":         {"leave", `"id":"` + by + `","lang":"x\r\n"`, 400, "bad-request"},
		"a query that is none":        {"return", `"id":"` + by + `","kept":"AAAA","query":"%zz"`, 400, "bad-request"},
		"kept by somebody else":       {"return", `"id":"` + by + `","kept":"AAAA","query":"code=fakecode&state=fakestate"`, 400, "authorisation-mismatch"},
		"more than is asked":          {"keys", `"provider":"` + byPIN + `","mail":"max.weber@corp.test"`, 400, "bad-request"},
		"answers that are no strings": {"authorize", `"id":"` + by + `","answers":{"PIN":8642}`, 400, "bad-request"},
	} {
		res, body := st.post(t, "/api/qualified/"+c.path, `{"token":"`+tok+`",`+c.rest+`}`, st.proven)
		if res.StatusCode != c.status || reason(t, body) != c.reason {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	for path, body := range qualifiedBodies(tok) {
		large := strings.TrimSuffix(body, "}") + strings.Repeat(" ", maxPhoneBody) + "}"
		if res, body := st.post(t, "/api/"+path, large, st.proven); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a large body at %s: %s %s", path, res.Status, body)
		}
	}
	if strings.Contains(st.log.String(), fakePIN) {
		t.Error("the log holds the PIN")
	}
}

// A colleague's preparation, and one for a card where a provider is asked.
func TestQualifiedForeignPreparation(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	max := token("max")
	st.visits[max] = workflow.Visit{Session: st.visits[tok].Session, Person: 2}
	st.cookies["max"] = "max.weber@corp.test"
	asMax := func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }
	for what, id := range map[string]string{"card": st.cardFor(t, tok), "provider": st.preparedFor(t, tok, `"provider":"`+byPIN+`","key":"key"`)} {
		for _, path := range []string{"challenge", "authorize", "leave", "return", "finish"} {
			body := strings.Replace(qualifiedBodies(max)["qualified/"+path], `"id":"p"`, `"id":"`+id+`"`, 1)
			if res, got := st.post(t, "/api/qualified/"+path, body, asMax); res.StatusCode != http.StatusGone {
				t.Errorf("%s by a colleague at %s: %s %s", what, path, res.Status, got)
			}
		}
	}
	id := st.cardFor(t, tok)
	before := st.calls()
	for _, path := range []string{"challenge", "authorize", "leave", "return"} {
		body := strings.Replace(qualifiedBodies(tok)["qualified/"+path], `"id":"p"`, `"id":"`+id+`"`, 1)
		if res, got := st.post(t, "/api/qualified/"+path, body, st.proven); res.StatusCode != http.StatusGone {
			t.Errorf("a card's at %s: %s %s", path, res.Status, got)
		}
	}
	if after := st.calls(); after != before {
		t.Errorf("they reached %s", strings.TrimPrefix(after, before))
	}
}

// PINs are slowed down for a link, codes that are sent for a person, whatever the
// number of links.
func TestQualifiedTries(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	id := st.preparedFor(t, tok, `"provider":"`+byCode+`","key":"key"`)
	try := func(tok, path, rest string) int {
		res, _ := st.post(t, "/api/qualified/"+path, `{"token":"`+tok+`","id":"`+id+`",`+rest+`}`, st.proven)
		return res.StatusCode
	}
	for n := range 12 {
		want := 400 // wrong
		if n >= 10 {
			want = 429
		}
		if got := try(tok, "authorize", `"answers":{"PIN":"0000","OTP":"1"}`); got != want && n != 10 { // one more comes every two seconds
			t.Errorf("PIN %d: %d, want %d", n+1, got, want)
		}
	}
	other := token("other") // a second link of the same person
	st.visits[other] = st.visits[tok]
	for n := range 6 {
		want, link := 200, tok
		if n >= 3 {
			want, link = 429, other
		}
		if got := try(link, "challenge", `"factor":"OTP"`); got != want {
			t.Errorf("code %d: %d, want %d", n+1, got, want)
		}
	}
	if n := strings.Count(st.calls(), "challenge"); n != 3 {
		t.Errorf("%d codes were sent", n)
	}
}

// The provider's fault is a 503 and an error in the log, the person's neither.
func TestQualifiedStatuses(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	for code, want := range map[int]int{450: 503, 451: 503, 550: 400} {
		st.log.Reset()
		st.remote.fail = &workflow.Refusal{Code: code, Reason: "some-reason", Text: "Some sentence.", Err: errors.New("inner")}
		res, body := st.post(t, "/api/qualified/keys", qualifiedBodies(tok)["qualified/keys"], st.proven)
		if res.StatusCode != want || reason(t, body) != "some-reason" || strings.Contains(body, "inner") || (res.Header.Get("Retry-After") != "") != (want == 503) {
			t.Errorf("%d: %s %s", code, res.Status, body)
		}
		if (want == 503) != strings.Contains(st.log.String(), "level=ERROR") {
			t.Errorf("%d: the log says %s", code, st.log)
		}
	}
}

// What the provider sends the browser back to changes nothing by itself, and its query
// stays out of page and log.
func TestReturnPage(t *testing.T) {
	st, _ := qualifiedStage(t, "contract.pdf")
	const query = "?code=SECRETCODE&state=SECRETSTATE&error_description=%3Cscript%3E"
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		res, body := st.post(t, "/r"+query, "", st.proven, func(r *http.Request) { r.Method = method; r.Header.Set("Sec-Fetch-Site", "cross-site") })
		want := http.StatusOK
		if method != "GET" && method != "HEAD" {
			want = http.StatusMethodNotAllowed
		}
		if res.StatusCode != want || strings.Contains(body, "SECRET") || strings.Contains(body, "<script>") || res.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %s %s", method, res.Status, body)
		}
	}
	if st.changes != 0 || strings.Contains(st.log.String(), "SECRET") || !strings.Contains(st.log.String(), `route="GET /r"`) {
		t.Errorf("%d changes, the log says %s", st.changes, st.log)
	}
}

// Whatever a provider or a trusted list is refused for has words in each language.
func TestQualifiedReasonsAreTranslated(t *testing.T) {
	var reasons []string
	for _, file := range []string{"../pki/qualified/refusal.go", "../signer/csc/errors.go", "../signer/openotp/errors.go", "../pki/trustlist/entry.go"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bReason\s+= "([a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
			reasons = append(reasons, m[1])
		}
	}
	if len(reasons) < 40 {
		t.Fatalf("only %d reasons were found", len(reasons))
	}
	reasons = append(reasons, "no-provider", "no-card", "level-unavailable", "not-agreed", "card-token", "card-answer", "certificate-known", "qualified-certificate-revoked", "qualified-certificate-expired", "advanced-authentication-certificate", "advanced-wrong-key-usage", "advanced-certificate-expired", "advanced-certificate-revoked", "advanced-broken-chain", "advanced-wrong-person", "advanced-certificate-removed", "advanced-untrusted-service", "pdf-only", "several-certificates", "foreign-signature", "foreign-document", "signature-too-large")
	for _, lang := range []string{"en", "de", "fr"} {
		b, err := os.ReadFile("static/i18n/" + lang + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var words map[string]string
		if err := json.Unmarshal(b, &words); err != nil {
			t.Fatal(err)
		}
		for _, r := range reasons {
			if r == "not-for-seal" || r == "list-unreachable" { // no person meets them
				continue
			}
			if words["error."+r] == "" {
				t.Errorf("%s: %s has no words", lang, r)
			}
		}
	}
}
