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

	"milterd/workflow"
)

// qualifiedVisitor is a tab whose browser has proven Jane's mailbox.
func (st *stage) qualifiedVisitor(t *testing.T, b *tab, tok string) *tab {
	t.Helper()
	st.locked(func() { st.cookies["known"] = "jane.doe@corp.test" })
	b.cookie(st.URL, "known")
	b.do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.until("the button", `!document.querySelector(".bar .primary").disabled`)
	return b
}

// inside checks that nothing of the sheet or the bar is cut off at the side.
func (b *tab) inside(what string) {
	b.t.Helper()
	for _, bad := range eval[[]string](b, `[...document.querySelectorAll("dialog[open] *, .bar .button, .bar .fit")].filter(e => {
		const r = e.getBoundingClientRect(), s = (e.closest("dialog") ?? document.body).getBoundingClientRect();
		return r.width && (r.left < s.left - 1 || r.right > s.right + 1 || e.matches(".button, .fit, label, p") && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline");
	}).map(e => e.outerHTML.slice(0, 200))`) {
		b.t.Errorf("%s: cut off: %s", what, bad)
	}
}

// look checks a sheet as it stands.
func (b *tab) look(what string) {
	b.t.Helper()
	time.Sleep(50 * time.Millisecond)
	b.accessible(what)
	b.inside(what)
	b.shot(what)
}

// TestQualifiedSheets goes through every sheet of a Qualified signature, in each
// language and on small and large windows: nothing is cut off, and axe-core finds nothing.
func TestQualifiedSheets(t *testing.T) {
	chrome := launch(t)
	for w, langs := range map[window][]string{small: {"de", "fr"}, phone: {"de"}, desktop: {"fr"},
		{name: "phone-dark", w: 390, h: 844, phone: true, dark: true}: {"en"}} {
		for _, lang := range langs {
			t.Run(w.name+"-"+lang, func(t *testing.T) {
				st, tok := qualifiedStage(t, "contract.pdf")
				st.visits[tok].Session.People[1].Language = lang
				b := st.qualifiedVisitor(t, blank(t, chrome, w), tok)
				say := func(key string, more ...string) string { return b.words(lang, key, more...) }
				if got := eval[string](b, "document.documentElement.lang"); got != lang {
					t.Fatalf("the page is in %s", got)
				}
				b.look("0-review")
				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.sees(say("qualified.provider", "provider", byPage))
				b.look("1-ways")

				b.press(say("qualified.provider", "provider", byPIN))
				b.sees(say("qualified.which"))
				b.look("2-which")
				b.press(say("continue"))
				b.sees(say("qualified.pin"))
				b.look("3-pin")
				b.enter("dialog input[type=password]", "0000"+kb.Enter)
				b.expect = append(b.expect, "400")
				b.sees(say("error.invalid-authentication"))
				b.look("4-wrong-pin")
				b.press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.press(say("qualified.provider", "provider", byCode))
				b.sees("Code from the text message")
				b.look("5-code")
				b.press(say("qualified.send"))
				b.sees(say("qualified.sent", "provider", byCode))
				b.look("6-sent")
				b.press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				b.press(say("qualified.provider", "provider", byPage))
				b.sees(say("qualified.page", "provider", byPage))
				b.look("7-go")
				b.press(say("qualified.go", "provider", byPage))
				b.sees("A stand-in for a provider")
				eval[bool](b, `[...document.querySelectorAll("a")].find(a => a.innerText === "Decline").click(), true`)
				b.sees(say("error.authorisation-denied"))
				b.until("the document behind it", `document.querySelector(".page.drawn canvas")`)
				b.look("8-declined")
				b.press(say("back"))

				eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
				if w.phone { // a phone has no reader, and other ways
					if strings.Contains(b.text("dialog"), say("qualified.card")) {
						t.Error("a phone is asked for a card")
					}
				} else {
					b.press(say("qualified.card"))
					b.sees(say("error.card-extension"))
					b.look("9-no-extension")
				}
				b.press(say("qualified.provider", "provider", byPage))
				b.press(say("qualified.go", "provider", byPage))
				b.sees("A stand-in for a provider")
				eval[bool](b, `[...document.querySelectorAll("a")].find(a => a.innerText === "Agree").click(), true`)
				b.until("signed", `document.querySelector(".outcome")`)
				b.sees(say("state.signing.title"))
				b.accessible("signed")
				b.shot("10-signed")
				if where := eval[string](b, "location.href"); where != st.URL+"/s#"+tok {
					t.Errorf("the address is %s", where)
				}
				b.neverSent(tok)
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
	b.t.Helper()
	raw, err := os.ReadFile("static/i18n/" + lang + ".json")
	if err != nil {
		b.t.Fatal(err)
	}
	var all map[string]string
	if err := json.Unmarshal(raw, &all); err != nil {
		b.t.Fatal(err)
	}
	text := all[key]
	if text == "" {
		b.t.Fatalf("%s has no %s", lang, key)
	}
	for i := 0; i+1 < len(more); i += 2 {
		text = strings.ReplaceAll(text, "{"+more[i]+"}", more[i+1])
	}
	return text
}

// TestQualifiedKeyboard signs with PIN and code without a pointer.
func TestQualifiedKeyboard(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	b := st.qualifiedVisitor(t, blank(t, launch(t), desktop), tok)
	b.tabTo("Sign contract.pdf")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("Sign with " + byCode)
	b.tabTo("Sign with " + byCode)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("PIN of your signature")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("the sheet closes", `!document.querySelector("dialog")`)
	b.focused(".bar .primary")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.tabTo("Sign with " + byCode)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("PIN of your signature")
	b.focused("dialog input[type=password]")
	b.do(chromedp.KeyEvent(fakePIN + kb.Enter)) // before the code is there
	b.sees("Please fill this in")
	b.tabTo("Send me the code", true)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("has sent you a code")
	b.focused("dialog input[type=text]")
	b.do(chromedp.KeyEvent(fakeSent + kb.Enter))
	b.sees("Your signature is being placed")
	b.focused("h1")
	if got := st.calls(); got != "find find prepare by "+byCode+" abandon find find prepare by "+byCode+" challenge sign finish" {
		t.Errorf("the page called %q", got)
	}
	if strings.Contains(st.log.String(), fakePIN) || strings.Contains(st.log.String(), fakeSent) {
		t.Error("the log holds PIN or code")
	}
	b.neverSent(fakePIN)
}

// TestQualifiedCard has a stand-in extension fail in each of its ways: the page says
// which, nothing is signed, and the document is let go.
func TestQualifiedCard(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	b := blank(t, launch(t), desktop)
	protocol(b, page.Enable, page.EnableParams{})
	if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
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
		eval[bool](b, `(localStorage.setItem(`+quote(name)+`, `+quote(value)+`), true)`)
	}
	set("certificate", base64.StdEncoding.EncodeToString(st.remote.cert))
	set("value", "AAAA")
	b.expect = append(b.expect, "400", "422", "409", "410")
	b.press("Sign contract.pdf")
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
		b.press("Sign with my identity card")
		b.sees(c.says)
	}
	for reason, says := range map[string]string{"certificate-revoked": "Use your new card", "certificate-expired": "Use your new card", "no-qscd": "is not in a qualified device",
		"wrong-person": "belongs to somebody else", "list-missing": "does not count at the moment"} {
		st.locked(func() { st.refuse["prepare by "+workflow.ByCard] = reason })
		b.press("Sign with my identity card")
		b.sees(says)
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
	chrome := launch(t)
	b := blank(t, chrome, phone)
	b.do(chromedp.Navigate(st.URL + "/r?code=fakecode&state=fakestate"))
	b.sees("Please open the link in the mail again")
	b.look("lost")
	if where := eval[string](b, "location.href"); strings.Contains(where, "code") {
		t.Errorf("the address is %s", where)
	}
	b = st.qualifiedVisitor(t, blank(t, chrome, small), tok)
	b.press("Sign contract.pdf")
	b.press("Sign with " + byPage)
	b.press("Go on to " + byPage)
	b.sees("A stand-in for a provider")
	st.locked(func() { st.preparation = nil }) // a newer tab has replaced it
	b.expect = append(b.expect, "410")
	eval[bool](b, `[...document.querySelectorAll("a")].find(a => a.innerText === "Agree").click(), true`)
	b.sees("That took too long, or you went on in another window")
	b.look("gone")
	b.press("Back")
	// The browser's own way back: the page is as it was, and can sign.
	b.press("Sign contract.pdf")
	b.press("Sign with " + byPage)
	b.press("Go on to " + byPage)
	b.sees("A stand-in for a provider")
	protocol(b, page.Enable, page.EnableParams{})
	eval[bool](b, `history.back(), true`)
	b.painted()
	b.until("no sheet, or one that can go on", `document.querySelector("dialog") || document.querySelector(".bar .primary:not(:disabled)")`)
	b.shot("back")
}
