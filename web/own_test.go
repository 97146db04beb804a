package web

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"milterd/auth"
	"milterd/internal/chromium"
	"milterd/workflow"
)

// waits lets the authenticator wait for a finger, or touch at once.
func (b *tab) waits(id webauthn.AuthenticatorID, yes bool) {
	b.T.Helper()
	chromium.Protocol(b.Tab, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: id, Enabled: !yes})
}

// advanced is Jane's session that is signed with a key of her own.
func advanced(t *testing.T, names ...string) (*stage, string) {
	t.Helper()
	st := newStage(t)
	tok := token("advanced")
	s := session(t, "advanced", names...)
	s.Level = workflow.Advanced
	st.visits[tok] = workflow.Visit{Session: s, Person: 1}
	return st, tok
}

// visitor is a tab whose browser has proven Jane's mailbox and has an authenticator.
func (st *stage) visitor(t *testing.T, b *tab, tok string) (*tab, webauthn.AuthenticatorID) {
	t.Helper()
	st.mu.Lock()
	st.cookies["known"] = "jane.doe@corp.test"
	st.mu.Unlock()
	id := b.Authenticator()
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	return b, id
}

// enrolled is a visitor whose device is set up by password.
func (st *stage) enrolled(t *testing.T, b *tab, tok string) (*tab, webauthn.AuthenticatorID) {
	t.Helper()
	b, id := st.visitor(t, b, tok)
	b.Press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.Press("Continue")
	b.Until("the bar that signs", `!document.querySelector(".bar .as button")?.disabled && document.querySelector(".bar .as") && !document.querySelector("dialog")`)
	return b, id
}

func (st *stage) locked(fn func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	fn()
}

// TestOwnKey is the first way of a signatory: code, second proof, passkey, one
// tap; and that the key stays where it is.
func TestOwnKey(t *testing.T) {
	chrome := chromium.Launch(t)
	for _, w := range []chromium.Window{chromium.Phone, chromium.Small, chromium.Desktop, {Name: "desktop-dark", W: 1280, H: 800, Dark: true}, {Name: "phone-dark", W: 390, H: 844, Phone: true, Dark: true}} {
		t.Run(w.Name, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf", "annex.pdf")
			b := blank(t, chrome, w)
			b.Authenticator()
			b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
			b.Press("Send me a code")
			b.enter(".digits", fakeCode)
			b.Press("Open the documents")
			b.painted()
			b.Sees("To sign, set up this device once.")
			b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
			b.Accessible("before enrolment")
			b.Shot("1-review")
			b.Press("Set up this device")
			b.Sees("First, prove once more that it is you")
			b.enter(`input[type=password]`, "wrong")
			b.Expect = append(b.Expect, "403")
			b.Press("Continue")
			b.Sees("You have 2 more tries within this hour")
			b.Accessible("enrolment")
			b.Shot("2-enrol")
			b.Press("Another device of yours")
			b.Accessible("another device")
			b.Shot("3-device")
			b.Press("Your administrator")
			b.Shot("4-administrator")
			b.Press("Your password")
			b.enter(`input[type=password]`, fakePassword)
			b.Press("Continue")
			b.Sees("You sign as Jane Doe")
			b.Until("the sheet closes", `!document.querySelector("dialog") && !document.querySelector(".bar .primary").disabled`)
			b.Accessible("enrolled")
			b.Shot("5-ready")
			b.Press("Sign 2 documents")
			b.Sees("Your signature is being placed")
			b.Accessible("signed")
			b.Shot("6-signed")
			st.locked(func() {
				if len(st.values) != 2 || st.proof.Method != "passkey" || st.signed[0].Typed != "Jane Doe" {
					t.Errorf("values %x, proof %+v, look %+v", st.values, st.proof, st.signed)
				}
				for i, name := range []string{"contract.pdf", "annex.pdf"} {
					if st.shown[i].SHA256 != sha256.Sum256(st.content[name]) {
						t.Errorf("shown: %+v", st.shown)
					}
				}
			})
			if got, want := st.calls(), "enrol password password begin enrol enrolled certify by enrolment prepare begin sign finish"; got != want {
				t.Errorf("the page called %q, want %q", got, want)
			}
			if got := eval[string](b, keyState); got != "P-256 sign false InvalidAccessError" {
				t.Errorf("the device's key: %s", got)
			}
			b.NeverSent(tok)
			b.NeverSent(fakeCode)
			if strings.Contains(st.log.String(), fakePassword) {
				t.Error("the log holds the password")
			}
		})
	}
}

// keyState looks at the key that the page keeps, and tries to get it out.
const keyState = `new Promise((yes, no) => { const r = indexedDB.open("milterd"); r.onerror = no; r.onsuccess = () => {
	const g = r.result.transaction("keys").objectStore("keys").getAll(); g.onsuccess = async () => {
		const k = g.result[0].pair.privateKey;
		const out = await crypto.subtle.exportKey("pkcs8", k).then(() => "exported", e => e.name);
		r.result.close();
		yes([k.algorithm.namedCurve, k.usages, k.extractable, out].join(" ")); }; }; })`

// TestLaterVisit opens with the passkey, on a device whose cookie is gone, and
// signs with one tap: two looks at the phone, nothing typed.
func TestLaterVisit(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	chromium.Protocol(b.Tab, network.ClearBrowserCookies, cdp.Empty{})
	st.locked(func() { st.own.log = nil })
	b.Do(chromedp.Reload())
	b.Sees("Open with your passkey")
	b.Accessible("locked")
	b.Shot("locked")
	b.Press("Open with your passkey")
	b.painted()
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if got, want := st.calls(), "begin open prepare begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}

// TestDrawInstead signs with a drawn look, by the same short way.
func TestDrawInstead(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Small), tok)
	b.Press("Draw instead")
	b.Sees("With a finger, a pen or the mouse")
	b.draw()
	b.Accessible("drawn")
	b.Shot("drawn")
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if len(st.signed) != 1 || len(st.signed[0].Strokes) != 3 {
		t.Errorf("signed: %+v", st.signed)
	}
}

// TestOtherDevice enrols a second device with the yes of the first one, which
// sees the same number; the second one goes on by itself, also after a reload.
func TestOtherDevice(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	chrome := chromium.Launch(t)
	old, _ := st.enrolled(t, blank(t, chrome, chromium.Phone), tok)
	b, _ := st.visitor(t, blank(t, chrome, chromium.Desktop), tok)
	b.Press("Devices")
	b.Press("Set up this device")
	b.Press("Another device of yours")
	b.Sees("4207")
	b.Do(chromedp.Reload())
	b.painted()
	b.Press("Devices")
	b.Press("Set up this device")
	b.Press("Another device of yours")
	b.Sees("4207")
	if got, want := st.calls(), "enrol password begin enrol enrolled certify by enrolment enrol"; got != want {
		t.Errorf("the pages called %q, want %q: a reload goes on", got, want)
	}
	old.Press("Devices")
	old.Sees("asks to become one of your devices")
	old.Sees("4207")
	old.Accessible("asked")
	old.Shot("asked")
	old.Press("Yes, approve Chrome on Linux with the number 4207")
	b.Sees("It is you. One step is left.")
	b.Accessible("last step")
	b.Shot("last-step")
	b.Until("the name can be seen", `document.querySelector("dialog input").getClientRects().length`)
	eval[bool](b, `(i => { i.value = "Workshop laptop"; return true; })(document.querySelector("dialog input"))`)
	b.Press("Create the passkey")
	b.Until("the sheet closes", `!document.querySelector("dialog")`)
	b.Press("Devices")
	b.Sees("Workshop laptop")
	b.Shot("devices")
}

// TestAdministrator comes back to a page that was closed, after somebody's yes.
func TestAdministrator(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	b.Press("Set up this device")
	b.Press("Your administrator")
	b.Sees("4207")
	b.Do(chromedp.Navigate("about:blank"))
	st.fake.approve("enrolment0", "administrator")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.Press("Set up this device")
	b.Press("Create the passkey")
	b.Sees("You sign as Jane Doe")
}

// TestDevices lists what is enrolled, and takes a device away.
func TestDevices(t *testing.T) {
	chrome := chromium.Launch(t)
	for _, w := range []chromium.Window{chromium.Phone, chromium.Small, {Name: "desktop-dark", W: 1280, H: 800, Dark: true}} {
		t.Run(w.Name, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			st.credentials = []*workflow.Credential{
				{ID: "b2xk", Mail: "jane.doe@corp.test", Kind: workflow.Passkey, Name: "Safari on iPhone", Enrolled: time.Now().Add(-90 * 24 * time.Hour), ApprovedBy: "administrator", Used: time.Now().Add(-time.Hour)},
				{ID: "bG9zdA", Mail: "jane.doe@corp.test", Kind: workflow.TOTP, Name: "The old laptop with the very long name that somebody gave it", Enrolled: time.Now().Add(-300 * 24 * time.Hour), ApprovedBy: "device Safari on iPhone", Revoked: time.Now()},
				{ID: "bWF4", Mail: "max.weber@corp.test", Kind: workflow.Passkey, Name: "Max’s phone", Enrolled: time.Now()},
			}
			b, _ := st.visitor(t, blank(t, chrome, w), tok)
			b.Press("Devices")
			b.Press("Set up this device")
			b.enter(`input[type=password]`, fakePassword)
			b.Press("Continue")
			b.Until("the sheet closes", `!document.querySelector("dialog")`)
			b.Press("Devices")
			b.Sees("this device")
			b.Sees("Safari on iPhone")
			if strings.Contains(b.Text("dialog"), "Max") {
				t.Error("a colleague's device is in the list")
			}
			b.Accessible("devices")
			b.Shot("1-list")
			b.Press("1 removed device")
			b.Press("Remove Safari on iPhone")
			b.Accessible("sure")
			b.Shot("2-sure")
			b.Press("Really remove Safari on iPhone?")
			b.Sees("2 removed devices")
			b.Accessible("removed")
			if st.credentials[0].Revoked.IsZero() || !st.credentials[2].Revoked.IsZero() {
				t.Error("not that one, or more than that one")
			}
		})
	}
}

// TestWithoutWebAuthn is a browser that has no passkeys: at Advanced it says
// what to do; at Standard an authenticator app does.
func TestWithoutWebAuthn(t *testing.T) {
	chrome := chromium.Launch(t)
	old := func(t *testing.T, st *stage, tok string, w chromium.Window) *tab {
		b := blank(t, chrome, w)
		chromium.Protocol(b.Tab, page.Enable, page.EnableParams{})
		if _, err := chromedp.Call(b.Ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "delete window.PublicKeyCredential"}); err != nil {
			t.Fatal(err)
		}
		st.cookies["known"] = "jane.doe@corp.test"
		b.cookie(st.URL, "known")
		b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
		b.painted()
		return b
	}
	st, tok := advanced(t, "contract.pdf")
	b := old(t, st, tok, chromium.Phone)
	b.Sees("This browser cannot hold a key for this signature. Open the link in a current Chrome")
	b.Accessible("cannot")
	b.Shot("cannot")
	b.Until("nothing can be pressed", `document.querySelector(".bar .primary").disabled`)

	st, tok = jane(t)
	b = old(t, st, tok, chromium.Phone)
	b.Press("Devices")
	b.Press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.Press("Continue")
	b.Sees("This browser has no passkeys, so an authenticator app shows codes instead.")
	b.Accessible("app")
	b.Shot("app")
	b.Expect = []string{"403"}
	b.enter(".digits", "111111")
	b.Press("Done")
	b.Sees("That is not the code that your app shows now")
	b.enter(".digits", fakeTOTPCode)
	b.Press("Done")
	b.Until("the sheet closes", `!document.querySelector("dialog")`)
	b.Press("Sign contract.pdf")
	eval[bool](b, `document.querySelector("input[value=type]").click(), true`)
	b.enter(".typing input", "Jane Doe")
	b.Press("Sign contract.pdf")
	b.Sees("Type the six digits that your authenticator app shows.")
	b.enter(".digits", fakeTOTPCode)
	b.Accessible("totp")
	b.Shot("totp")
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
}

// TestStandardByPasskey signs at Standard with one tap, bound to what was shown.
func TestStandardByPasskey(t *testing.T) {
	st, tok := jane(t)
	b, id := st.visitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	b.Press("Devices")
	b.Press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.Press("Continue")
	b.Sees("You sign as Jane Doe")
	b.Until("the sheet closes", `!document.querySelector("dialog")`)
	chromium.Protocol(b.Tab, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id})
	st.locked(func() { st.own.log = nil })
	b.Press("Sign contract.pdf")
	b.Sees("It was not confirmed")
	b.Sees("Use a mailed code instead")
	b.Accessible("other ways")
	b.Shot("other-ways")
	chromium.Protocol(b.Tab, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: true})
	b.Press("Confirm")
	b.Sees("Your signature is being placed")
	if got := st.calls(); got != "begin sign begin sign" {
		t.Errorf("the page called %q", got)
	}
}

// TestOwnKeyByKeyboard enrols and signs without a pointer.
func TestOwnKeyByKeyboard(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, chromium.Launch(t), chromium.Desktop), tok)
	b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
	b.tabTo("Set up this device")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.focused("input[type=password]")
	b.Do(chromedp.KeyEvent(fakePassword + kb.Enter))
	b.Until("the bar has the focus", `document.activeElement.matches(".bar .primary") && document.querySelector(".bar .as")`)
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("Your signature is being placed")
	b.focused("h1")
}

// TestUnprintableName has names that the fonts of signatures lack: the page asks
// for a drawn signature instead, in words, before anything is asked of anybody.
func TestUnprintableName(t *testing.T) {
	chrome := chromium.Launch(t)
	for lang, c := range map[string]struct {
		w          chromium.Window
		sign, says string
	}{
		"en": {chromium.Phone, "Sign contract.pdf", "letters that cannot be printed into the document: please draw your signature."},
		"de": {chromium.Small, "contract.pdf unterschreiben", "Buchstaben, die sich nicht ins Dokument drucken lassen: Bitte zeichnen Sie Ihre Unterschrift."},
		"fr": {chromium.Small, "Signer contract.pdf", "lettres qui ne peuvent pas être imprimées dans le document : veuillez dessiner votre signature."},
	} {
		t.Run(lang, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			who := &st.visits[tok].Session.People[1]
			who.Language, who.Name = lang, "山田 太郎"
			st.locked(func() {
				st.credentials = []*workflow.Credential{{ID: "b2xk", Mail: who.Mail, Kind: workflow.Passkey, Name: "Phone", Enrolled: time.Now()}}
			})
			b, _ := st.visitor(t, blank(t, chrome, c.w), tok)
			b.Press(c.sign) // with a name that can be printed, this signs
			b.Until("the pad", `document.querySelector("dialog .ink")?.getClientRects().length`)
			if n := eval[int](b, `[...document.querySelectorAll(".choice label > span")].filter(s => s.getBoundingClientRect().height > 46).length`); n > 0 {
				t.Errorf("%d tabs need two lines", n)
			}
			b.Accessible("pad")
			b.Shot("1-pad")
			eval[bool](b, `document.querySelector("input[value=type]").click(), true`)
			b.Shot("2-type")
			b.enter(".typing input", "山田")
			b.Press(c.sign)
			b.Sees(c.says)
			b.Until("the pad", `document.querySelector("dialog .ink").getClientRects().length && document.activeElement.value === "draw"`)
			b.Accessible("refused")
			b.Shot("3-refused")
			if calls := st.calls(); calls != "" || len(st.signed) > 0 {
				t.Errorf("the page called %q", calls)
			}
		})
	}
}

// TestOwnKeyLanguages looks at the new sheets in the longer languages, at 320 px.
func TestOwnKeyLanguages(t *testing.T) {
	chrome := chromium.Launch(t)
	for lang, words := range map[string][2]string{"de": {"Dieses Gerät einrichten", "Geräte"}, "fr": {"Configurer cet appareil", "Appareils"}} {
		t.Run(lang, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			st.visits[tok].Session.People[1].Language = lang
			b, _ := st.visitor(t, blank(t, chrome, chromium.Small), tok)
			b.Until("the button", `!document.querySelector(".bar .primary").disabled`)
			b.Accessible("bar")
			b.Shot("1-bar")
			b.Press(words[0])
			b.Until("the ways", `document.querySelectorAll(".way").length === 3`)
			b.Accessible("enrolment")
			b.Shot("2-enrol")
			b.Do(chromedp.KeyEvent(kb.Escape))
			st.fake.approve("enrolment0", auth.WayAdministrator)
			b.Press(words[0])
			b.Until("the last step", `document.querySelector("dialog .primary")`)
			b.Accessible("last step")
			b.Shot("3-last")
			eval[bool](b, `document.querySelector("dialog .primary").click(), true`)
			b.Until("the sheet closes", `!document.querySelector("dialog")`)
			b.Accessible("ready")
			b.Shot("4-ready")
			b.Press(words[1])
			b.Until("the list", `document.querySelector(".devices li")`)
			b.Accessible("devices")
			b.Shot("5-devices")
		})
	}
}
