package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// advancedPhones is Jane's session at level Advanced, where phones sign, too.
func advancedPhones(t *testing.T, names ...string) (*stage, string, *fakePhones) {
	t.Helper()
	st, tok := advanced(t, names...)
	st.locked(func() { st.own.log = nil })
	st.phones.levels = []workflow.Level{workflow.Advanced}
	return st, tok, st.phones
}

// Somebody who never enrolled a device signs on her phone; what was not taken is told in
// words for this level.
func TestPhonesAdvanced(t *testing.T) {
	st, tok, p := advancedPhones(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
	b.Sees("Or set up this device, and sign with it")
	b.look("1-bar")
	b.Press("Sign on my phone, by " + byPhones)
	b.Sees(byPhones + " gets the documents themselves, not just a digest.")
	b.Press("Send to " + byPhones)
	b.Sees("Or scan this with the app:")
	b.look("2-waiting")
	b.Expect = append(b.Expect, "400", "409")
	for why, says := range map[string]string{
		"wrong-person":        "The certificate that signed on the phone belongs to somebody else",
		"certificate-revoked": "The certificate on your phone was revoked",
	} {
		st.locked(func() { p.fail = why })
		b.Sees(says)
		if why == "wrong-person" {
			b.look("3-refused")
		}
		b.Press("Send to " + byPhones)
		b.Sees("Or scan this with the app:")
	}
	st.locked(func() { p.agreed = true })
	b.Until("signed", `document.querySelector(".outcome")`)
	st.locked(func() {
		if len(st.values) != 1 || string(st.values[0]) != "signed" || p.level != workflow.Advanced || len(st.certificates) > 0 {
			t.Errorf("values %q at level %q; certified: %d", st.values, p.level, len(st.certificates))
		}
	})
	if got := st.calls(); !strings.HasPrefix(got, "prepare by "+byPhones+" leave order code ") || strings.Contains(got, "enrol") {
		t.Errorf("the page called %q", got)
	}
}

// Beside an enrolled device the phone is the second choice; setting up the device stays the
// way it was.
func TestPhonesBesideADevice(t *testing.T) {
	st, tok, _ := advancedPhones(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, chromium.Launch(t), chromium.Small), tok)
	b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
	b.Press("Or set up this device, and sign with it")
	b.enter(`input[type=password]`, fakePassword)
	b.Press("Continue")
	b.Until("the bar that signs", `document.querySelector(".bar .as") && !document.querySelector("dialog") && !document.querySelector(".bar .primary").disabled`)
	b.look("1-bar")
	b.Press("Sign on my phone, by " + byPhones)
	b.Sees(byPhones + " gets the documents themselves")
	b.look("2-sheet")
	b.Press("Back")
	eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
	b.Until("signed", `document.querySelector(".outcome")`)
	if strings.Contains(st.calls(), "order") || st.proof.Method != "passkey" {
		t.Errorf("signed by %q after %q", st.proof.Method, st.calls())
	}
}

// A phone is not offered before proof, for what is no PDF, or where no server says so.
func TestPhonesNotOffered(t *testing.T) {
	st, tok, p := advancedPhones(t, "contract.pdf")
	if _, body := st.post(t, "/api/visit", `{"token":"`+tok+`"}`); strings.Contains(body, byPhones) {
		t.Errorf("before proof: %s", body)
	}
	st.cookies["known"] = "jane.doe@corp.test"
	if _, body := st.post(t, "/api/visit", `{"token":"`+tok+`"}`, st.proven); !strings.Contains(body, `"phones":"`+byPhones+`"`) || strings.Contains(body, `"providers"`) || strings.Contains(body, `"card"`) {
		t.Errorf("after it: %s", body)
	}
	p.levels = nil
	if _, body := st.post(t, "/api/visit", `{"token":"`+tok+`"}`, st.proven); strings.Contains(body, byPhones) {
		t.Errorf("not at this level: %s", body)
	}
	p.levels = []workflow.Level{workflow.Advanced}
	st.visits[tok].Session.Documents[0].Form = workflow.ASiC
	b := blank(t, chromium.Launch(t), chromium.Phone)
	b.Authenticator()
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.Until("the button", `document.querySelector(".bar .primary") && !document.querySelector(".bar .primary").disabled`)
	if text := b.Text(".bar"); strings.Contains(text, byPhones) || !strings.Contains(text, "Set up this device") {
		t.Errorf("the bar says %q", text)
	}
}

// The calls are for proven devices of the signatory, at the level that is offered.
func TestPhonesAdvancedGuards(t *testing.T) {
	st, tok, p := advancedPhones(t, "contract.pdf")
	st.cookies["max"] = "max.weber@corp.test"
	bodies := qualifiedBodies(tok)
	for path, body := range bodies {
		if !strings.HasPrefix(path, "phone/") {
			continue
		}
		for name, who := range map[string]func(*http.Request){"nobody": func(*http.Request) {},
			"a colleague": func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }} {
			if res, got := st.post(t, "/api/"+path, body, who); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s at %s: %s %s", name, path, res.Status, got)
			}
		}
		for _, level := range []workflow.Level{workflow.Standard, workflow.Qualified} {
			st.visits[tok].Session.Level = level
			if res, got := st.post(t, "/api/"+path, body, st.proven); res.StatusCode != http.StatusConflict || reason(t, got) != "wrong-level" {
				t.Errorf("%s at %s: %s %s", level, path, res.Status, got)
			}
		}
		st.visits[tok].Session.Level = workflow.Advanced
	}
	if got := st.calls(); got != "" || p.files != nil {
		t.Errorf("they reached %s", got)
	}
	// A provider's way stays closed at this level.
	if res, got := st.post(t, "/api/qualified/prepare", bodies["qualified/prepare"], st.proven); res.StatusCode != http.StatusConflict {
		t.Errorf("a provider at level Advanced: %s %s", res.Status, got)
	}
}
