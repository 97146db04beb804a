package web

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// qualifiedVisitor is a tab whose browser has proven Jane's mailbox.
func (st *stage) qualifiedVisitor(t *testing.T, b *tab, tok string) *tab {
	t.Helper()
	st.locked(func() { st.cookies["known"] = "jane.doe@corp.test" })
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
	return b
}

// inside checks that nothing of the sheet or the bar is cut off at the side.
func (b *tab) inside(what string) {
	b.T.Helper()
	for _, bad := range eval[[]string](b, `[...document.querySelectorAll("dialog[open] *, .bar .button, .bar .fit")].filter(e => {
		const r = e.getBoundingClientRect(), s = (e.closest("dialog") ?? document.body).getBoundingClientRect();
		return r.width && (r.left < s.left - 1 || r.right > s.right + 1 || e.matches(".button, .fit, label, p") && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline");
	}).map(e => e.outerHTML.slice(0, 200))`) {
		b.T.Errorf("%s: cut off: %s", what, bad)
	}
}

// look checks a sheet as it stands.
func (b *tab) look(what string) {
	b.T.Helper()
	time.Sleep(50 * time.Millisecond)
	b.Accessible(what)
	b.inside(what)
	b.Shot(what)
}

// TestQualifiedSheets goes through every sheet of a Qualified signature, in each
// language and on small and large windows: nothing is cut off, and axe-core finds nothing.
func TestQualifiedSheets(t *testing.T) {
	chrome := chromium.Launch(t)
	for w, langs := range map[chromium.Window][]string{chromium.Small: {"de", "fr"}, chromium.Phone: {"de"}, chromium.Desktop: {"fr"},
		{Name: "phone-dark", W: 390, H: 844, Phone: true, Dark: true}: {"en"}} {
		for _, lang := range langs {
			t.Run(w.Name+"-"+lang, func(t *testing.T) {
				st, tok := qualifiedStage(t, "contract.pdf")
				st.visits[tok].Session.People[1].Language = lang
				b := st.qualifiedVisitor(t, blank(t, chrome, w), tok)
				say := func(key string, more ...string) string { return b.words(lang, key, more...) }
				if got := eval[string](b, "document.documentElement.lang"); got != lang {
					t.Fatalf("the page is in %s", got)
				}
				b.look("0-review")
				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.Sees(say("qualified.provider", "provider", byPage))
				b.look("1-ways")

				b.Press(say("qualified.provider", "provider", byPIN))
				b.Sees(say("qualified.which"))
				b.look("2-which")
				b.Press(say("continue"))
				b.Sees(say("qualified.pin"))
				b.look("3-pin")
				b.enter("dialog input[type=password]", "0000"+kb.Enter)
				b.Expect = append(b.Expect, "400")
				b.Sees(say("error.invalid-authentication"))
				b.look("4-wrong-pin")
				b.Press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.Press(say("qualified.provider", "provider", byCode))
				b.Sees("Code from the text message")
				b.look("5-code")
				b.Press(say("qualified.send"))
				b.Sees(say("qualified.sent", "provider", byCode))
				b.look("6-sent")
				b.Press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.Press(say("qualified.provider", "provider", byPage))
				b.Sees(say("qualified.page", "provider", byPage))
				b.look("7-go")
				b.Press(say("qualified.go", "provider", byPage))
				b.Sees("A stand-in for a provider")
				b.Press("Decline")
				b.Sees(say("error.authorisation-denied"))
				b.Until("the document behind it", `document.querySelector(".page.drawn canvas")`)
				b.look("8-declined")
				b.Press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				if w.Phone { // a phone has no reader, and other ways
					if strings.Contains(b.Text("dialog"), say("qualified.card")) {
						t.Error("a phone is asked for a card")
					}
				} else {
					b.Press(say("qualified.card"))
					b.Sees(say("error.card-extension"))
					b.look("9-no-extension")
				}
				b.Press(say("qualified.provider", "provider", byPage))
				b.Press(say("qualified.go", "provider", byPage))
				b.Sees("A stand-in for a provider")
				b.Press("Agree")
				b.Until("signed", `document.querySelector(".outcome")`)
				b.Sees(say("state.signing.title"))
				b.Accessible("signed")
				b.Shot("10-signed")
				if where := eval[string](b, "location.href"); where != st.URL+"/s#"+tok {
					t.Errorf("the address is %s", where)
				}
				b.NeverSent(tok)
				st.locked(func() {
					if len(st.values) != 1 || st.proof.Method != "qualified signature" || st.shown[0].SHA256 != sha256.Sum256(st.content["contract.pdf"]) {
						t.Errorf("values %x, proof %+v, shown %+v", st.values, st.proof, st.shown)
					}
				})
			})
		}
	}
}

// words are what a page says in a language.
func (b *tab) words(lang, key string, more ...string) string {
	b.T.Helper()
	raw, err := os.ReadFile("static/i18n/" + lang + ".json")
	if err != nil {
		b.T.Fatal(err)
	}
	var all map[string]string
	if err := json.Unmarshal(raw, &all); err != nil {
		b.T.Fatal(err)
	}
	text := all[key]
	if text == "" {
		b.T.Fatalf("%s has no %s", lang, key)
	}
	for i := 0; i+1 < len(more); i += 2 {
		text = strings.ReplaceAll(text, "{"+more[i]+"}", more[i+1])
	}
	return text
}

// TestQualifiedKeyboard signs with PIN and code without a pointer.
func TestQualifiedKeyboard(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	b := st.qualifiedVisitor(t, blank(t, chromium.Launch(t), chromium.Desktop), tok)
	b.tabTo("Sign contract.pdf")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("Sign with " + byCode)
	b.tabTo("Sign with " + byCode)
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("PIN of your signature")
	b.Do(chromedp.KeyEvent(kb.Escape))
	b.Until("the sheet closes", `!document.querySelector("dialog")`)
	b.focused(".bar .primary")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.tabTo("Sign with " + byCode)
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("PIN of your signature")
	b.focused("dialog input[type=password]")
	b.Do(chromedp.KeyEvent(fakePIN + kb.Enter)) // before the code is there
	b.Sees("Please fill this in")
	b.tabTo("Send me the code", true)
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("has sent you a code")
	b.focused("dialog input[type=text]")
	b.Do(chromedp.KeyEvent(fakeSent + kb.Enter))
	b.Sees("Your signature is being placed")
	b.focused("h1")
	if got := st.calls(); got != "find find prepare by "+byCode+" abandon find find prepare by "+byCode+" challenge sign finish" {
		t.Errorf("the page called %q", got)
	}
	if strings.Contains(st.log.String(), fakePIN) || strings.Contains(st.log.String(), fakeSent) {
		t.Error("the log holds PIN or code")
	}
	b.NeverSent(fakePIN)
}

// TestQualifiedCard has a stand-in extension fail in each of its ways: the page says
// which, nothing is signed, and the document is let go.
func TestQualifiedCard(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	b := blank(t, chromium.Launch(t), chromium.Desktop)
	chromium.Protocol(b.Tab, page.Enable, page.EnableParams{})
	if _, err := chromedp.Call(b.Ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		addEventListener("message", (e) => {
			const action = e.data?.action ?? "", say = (what, more) => postMessage({ action: action + what, ...more }, location.origin);
			if (!/^web-eid:(status|get-signing-certificate|sign)$/.test(action)) return;
			say("-ack");
			const code = localStorage.getItem("fails " + action);
			if (code === "silent") return;
			if (code) return say("-failure", { error: { code } });
			if (code === null && action === "web-eid:status") return say("-success", {});
			if (action === "web-eid:sign") return say("-success", { signature: localStorage.getItem("value") });
			say("-success", { certificate: localStorage.getItem("certificate"), supportedSignatureAlgorithms: [{ cryptoAlgorithm: "ECC", hashFunction: "SHA-256", paddingScheme: "NONE" }] });
		});`}); err != nil {
		t.Fatal(err)
	}
	st.qualifiedVisitor(t, b, tok)
	set := func(name, value string) {
		eval[bool](b, `(localStorage.setItem(`+chromium.Quote(name)+`, `+chromium.Quote(value)+`), true)`)
	}
	set("certificate", base64.StdEncoding.EncodeToString(st.remote.cert))
	set("value", "AAAA")
	b.Expect = append(b.Expect, "400", "422", "409", "410")
	b.Press("Sign contract.pdf")
	for _, c := range []struct{ action, code, says string }{
		{"get-signing-certificate", "ERR_WEBEID_USER_CANCELLED", "It was not confirmed with the card"},
		{"get-signing-certificate", "ERR_WEBEID_NATIVE_UNAVAILABLE", "The program of Web eID is missing or too old"},
		{"get-signing-certificate", "ERR_WEBEID_UNKNOWN_ERROR", "The card did not answer as it should"},
		{"sign", "ERR_WEBEID_USER_TIMEOUT", "It was not confirmed with the card"},
		{"sign", "", "does not fit"}, // a value that is none
	} {
		set("fails web-eid:get-signing-certificate", "")
		set("fails web-eid:sign", "")
		set("fails web-eid:"+c.action, c.code)
		b.Press("Sign with my identity card")
		b.Sees(c.says)
	}
	for reason, says := range map[string]string{"certificate-revoked": "Use your new card", "certificate-expired": "Use your new card", "no-qscd": "is not in a qualified device",
		"wrong-person": "belongs to somebody else", "list-missing": "does not count at the moment"} {
		st.locked(func() { st.refuse["prepare by "+workflow.ByCard] = reason })
		b.Press("Sign with my identity card")
		b.Sees(says)
	}
	b.look("refused")
	st.locked(func() {
		if st.values != nil || len(st.signed) > 3 {
			t.Errorf("values %x", st.values)
		}
	})
}

// TestQualifiedAway comes back to a tab that knows of nothing, and to one whose
// preparation is gone.
func TestQualifiedAway(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	chrome := chromium.Launch(t)
	b := blank(t, chrome, chromium.Phone)
	b.Do(chromedp.Navigate(st.URL + "/r?code=fakecode&state=fakestate"))
	b.Sees("Please open the link in the mail again")
	b.look("lost")
	if where := eval[string](b, "location.href"); strings.Contains(where, "code") {
		t.Errorf("the address is %s", where)
	}
	b = st.qualifiedVisitor(t, blank(t, chrome, chromium.Small), tok)
	b.Press("Sign contract.pdf")
	b.Press("Sign with " + byPage)
	b.Press("Go on to " + byPage)
	b.Sees("A stand-in for a provider")
	st.locked(func() { st.preparation = nil }) // a newer tab has replaced it
	b.Expect = append(b.Expect, "410")
	b.Press("Agree")
	b.Sees("That took too long, or you went on in another window")
	b.look("gone")
	b.Press("Back")
	// The browser's own way back: the page is as it was, and can sign.
	b.Press("Sign contract.pdf")
	b.Press("Sign with " + byPage)
	b.Press("Go on to " + byPage)
	b.Sees("A stand-in for a provider")
	chromium.Protocol(b.Tab, page.Enable, page.EnableParams{})
	b.Back()
	b.painted()
	b.Until("no sheet, or one that can go on", `document.querySelector("dialog") || document.querySelector(".bar .primary:not(:disabled)")`)
	b.Shot("back")
}
