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
	"milterd/workflow"
)

// authenticator gives a tab a fingerprint reader of its own, which says yes.
func (b *tab) authenticator() webauthn.AuthenticatorID {
	b.t.Helper()
	protocol(b, webauthn.Enable, webauthn.EnableParams{})
	r, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r.AuthenticatorID
}

// waits lets the authenticator wait for a finger, or touch at once.
func (b *tab) waits(id webauthn.AuthenticatorID, yes bool) {
	b.t.Helper()
	protocol(b, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: id, Enabled: !yes})
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
	id := b.authenticator()
	b.cookie(st.URL, "known")
	b.do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	return b, id
}

// enrolled is a visitor whose device is set up by password.
func (st *stage) enrolled(t *testing.T, b *tab, tok string) (*tab, webauthn.AuthenticatorID) {
	t.Helper()
	b, id := st.visitor(t, b, tok)
	b.press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.press("Continue")
	b.until("the bar that signs", `!document.querySelector(".bar .as button")?.disabled && document.querySelector(".bar .as") && !document.querySelector("dialog")`)
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
	chrome := launch(t)
	for _, w := range []window{phone, small, desktop, {name: "desktop-dark", w: 1280, h: 800, dark: true}, {name: "phone-dark", w: 390, h: 844, phone: true, dark: true}} {
		t.Run(w.name, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf", "annex.pdf")
			b := blank(t, chrome, w)
			b.authenticator()
			b.do(chromedp.Navigate(st.URL + "/s#" + tok))
			b.press("Send me a code")
			b.enter(".digits", fakeCode)
			b.press("Open the documents")
			b.painted()
			b.sees("To sign, set up this device once.")
			b.until("the button", `!document.querySelector(".bar .primary").disabled`)
			b.accessible("before enrolment")
			b.shot("1-review")
			b.press("Set up this device")
			b.sees("First, prove once more that it is you")
			b.enter(`input[type=password]`, "wrong")
			b.expect = append(b.expect, "403")
			b.press("Continue")
			b.sees("You have 2 more tries within this hour")
			b.accessible("enrolment")
			b.shot("2-enrol")
			b.press("Another device of yours")
			b.accessible("another device")
			b.shot("3-device")
			b.press("Your administrator")
			b.shot("4-administrator")
			b.press("Your password")
			b.enter(`input[type=password]`, fakePassword)
			b.press("Continue")
			b.sees("You sign as Jane Doe")
			b.until("the sheet closes", `!document.querySelector("dialog") && !document.querySelector(".bar .primary").disabled`)
			b.accessible("enrolled")
			b.shot("5-ready")
			b.press("Sign 2 documents")
			b.sees("Your signature is being placed")
			b.accessible("signed")
			b.shot("6-signed")
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
			b.neverSent(tok)
			b.neverSent(fakeCode)
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
	b, _ := st.enrolled(t, blank(t, launch(t), phone), tok)
	protocol(b, network.ClearBrowserCookies, cdp.Empty{})
	st.locked(func() { st.own.log = nil })
	b.do(chromedp.Reload())
	b.sees("Open with your passkey")
	b.accessible("locked")
	b.shot("locked")
	b.press("Open with your passkey")
	b.painted()
	b.press("Sign contract.pdf")
	b.sees("Your signature is being placed")
	if got, want := st.calls(), "begin open prepare begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}

// TestDrawInstead signs with a drawn look, by the same short way.
func TestDrawInstead(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, launch(t), small), tok)
	b.press("Draw instead")
	b.sees("With a finger, a pen or the mouse")
	b.draw()
	b.accessible("drawn")
	b.shot("drawn")
	b.press("Sign contract.pdf")
	b.sees("Your signature is being placed")
	if len(st.signed) != 1 || len(st.signed[0].Strokes) != 3 {
		t.Errorf("signed: %+v", st.signed)
	}
}

// TestOtherDevice enrols a second device with the yes of the first one, which
// sees the same number; the second one goes on by itself, also after a reload.
func TestOtherDevice(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	chrome := launch(t)
	old, _ := st.enrolled(t, blank(t, chrome, phone), tok)
	b, _ := st.visitor(t, blank(t, chrome, desktop), tok)
	b.press("Devices")
	b.press("Set up this device")
	b.press("Another device of yours")
	b.sees("4207")
	b.do(chromedp.Reload())
	b.painted()
	b.press("Devices")
	b.press("Set up this device")
	b.press("Another device of yours")
	b.sees("4207")
	if got, want := st.calls(), "enrol password begin enrol enrolled certify by enrolment enrol"; got != want {
		t.Errorf("the pages called %q, want %q: a reload goes on", got, want)
	}
	old.press("Devices")
	old.sees("asks to become one of your devices")
	old.sees("4207")
	old.accessible("asked")
	old.shot("asked")
	old.press("Yes, approve Chrome on Linux with the number 4207")
	b.sees("It is you. One step is left.")
	b.accessible("last step")
	b.shot("last-step")
	b.until("the name can be seen", `document.querySelector("dialog input").getClientRects().length`)
	eval[bool](b, `(i => { i.value = "Workshop laptop"; return true; })(document.querySelector("dialog input"))`)
	b.press("Create the passkey")
	b.until("the sheet closes", `!document.querySelector("dialog")`)
	b.press("Devices")
	b.sees("Workshop laptop")
	b.shot("devices")
}

// TestAdministrator comes back to a page that was closed, after somebody's yes.
func TestAdministrator(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, launch(t), phone), tok)
	b.press("Set up this device")
	b.press("Your administrator")
	b.sees("4207")
	b.do(chromedp.Navigate("about:blank"))
	st.fake.approve("enrolment0", "administrator")
	b.do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.press("Set up this device")
	b.press("Create the passkey")
	b.sees("You sign as Jane Doe")
}

// TestDevices lists what is enrolled, and takes a device away.
func TestDevices(t *testing.T) {
	chrome := launch(t)
	for _, w := range []window{phone, small, {name: "desktop-dark", w: 1280, h: 800, dark: true}} {
		t.Run(w.name, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			st.credentials = []*workflow.Credential{
				{ID: "b2xk", Mail: "jane.doe@corp.test", Kind: workflow.Passkey, Name: "Safari on iPhone", Enrolled: time.Now().Add(-90 * 24 * time.Hour), ApprovedBy: "administrator", Used: time.Now().Add(-time.Hour)},
				{ID: "bG9zdA", Mail: "jane.doe@corp.test", Kind: workflow.TOTP, Name: "The old laptop with the very long name that somebody gave it", Enrolled: time.Now().Add(-300 * 24 * time.Hour), ApprovedBy: "device Safari on iPhone", Revoked: time.Now()},
				{ID: "bWF4", Mail: "max.weber@corp.test", Kind: workflow.Passkey, Name: "Max’s phone", Enrolled: time.Now()},
			}
			b, _ := st.visitor(t, blank(t, chrome, w), tok)
			b.press("Devices")
			b.press("Set up this device")
			b.enter(`input[type=password]`, fakePassword)
			b.press("Continue")
			b.until("the sheet closes", `!document.querySelector("dialog")`)
			b.press("Devices")
			b.sees("this device")
			b.sees("Safari on iPhone")
			if strings.Contains(b.text("dialog"), "Max") {
				t.Error("a colleague's device is in the list")
			}
			b.accessible("devices")
			b.shot("1-list")
			b.press("1 removed device")
			b.press("Remove Safari on iPhone")
			b.accessible("sure")
			b.shot("2-sure")
			b.press("Really remove Safari on iPhone?")
			b.sees("2 removed devices")
			b.accessible("removed")
			if st.credentials[0].Revoked.IsZero() || !st.credentials[2].Revoked.IsZero() {
				t.Error("not that one, or more than that one")
			}
		})
	}
}

// TestWithoutWebAuthn is a browser that has no passkeys: at Advanced it says
// what to do; at Standard an authenticator app does.
func TestWithoutWebAuthn(t *testing.T) {
	chrome := launch(t)
	old := func(t *testing.T, st *stage, tok string, w window) *tab {
		b := blank(t, chrome, w)
		protocol(b, page.Enable, page.EnableParams{})
		if _, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "delete window.PublicKeyCredential"}); err != nil {
			t.Fatal(err)
		}
		st.cookies["known"] = "jane.doe@corp.test"
		b.cookie(st.URL, "known")
		b.do(chromedp.Navigate(st.URL + "/s#" + tok))
		b.painted()
		return b
	}
	st, tok := advanced(t, "contract.pdf")
	b := old(t, st, tok, phone)
	b.sees("This browser cannot hold a key for this signature. Open the link in a current Chrome")
	b.accessible("cannot")
	b.shot("cannot")
	b.until("nothing can be pressed", `document.querySelector(".bar .primary").disabled`)

	st, tok = jane(t)
	b = old(t, st, tok, phone)
	b.press("Devices")
	b.press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.press("Continue")
	b.sees("This browser has no passkeys, so an authenticator app shows codes instead.")
	b.accessible("app")
	b.shot("app")
	b.expect = []string{"403"}
	b.enter(".digits", "111111")
	b.press("Done")
	b.sees("That is not the code that your app shows now")
	b.enter(".digits", fakeTOTPCode)
	b.press("Done")
	b.until("the sheet closes", `!document.querySelector("dialog")`)
	b.press("Sign contract.pdf")
	eval[bool](b, `document.querySelector("input[value=type]").click(), true`)
	b.enter(".typing input", "Jane Doe")
	b.press("Sign contract.pdf")
	b.sees("Type the six digits that your authenticator app shows.")
	b.enter(".digits", fakeTOTPCode)
	b.accessible("totp")
	b.shot("totp")
	b.press("Sign contract.pdf")
	b.sees("Your signature is being placed")
}

// TestStandardByPasskey signs at Standard with one tap, bound to what was shown.
func TestStandardByPasskey(t *testing.T) {
	st, tok := jane(t)
	b, id := st.visitor(t, blank(t, launch(t), phone), tok)
	b.press("Devices")
	b.press("Set up this device")
	b.enter(`input[type=password]`, fakePassword)
	b.press("Continue")
	b.sees("You sign as Jane Doe")
	b.until("the sheet closes", `!document.querySelector("dialog")`)
	protocol(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id})
	st.locked(func() { st.own.log = nil })
	b.press("Sign contract.pdf")
	b.sees("It was not confirmed")
	b.sees("Use a mailed code instead")
	b.accessible("other ways")
	b.shot("other-ways")
	protocol(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: true})
	b.press("Confirm")
	b.sees("Your signature is being placed")
	if got := st.calls(); got != "begin sign begin sign" {
		t.Errorf("the page called %q", got)
	}
}

// TestOwnKeyByKeyboard enrols and signs without a pointer.
func TestOwnKeyByKeyboard(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.visitor(t, blank(t, launch(t), desktop), tok)
	b.until("the button", `!document.querySelector(".bar .primary").disabled`)
	b.tabTo("Set up this device")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.focused("input[type=password]")
	b.do(chromedp.KeyEvent(fakePassword + kb.Enter))
	b.until("the bar has the focus", `document.activeElement.matches(".bar .primary") && document.querySelector(".bar .as")`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("Your signature is being placed")
	b.focused("h1")
}

// TestUnprintableName has names that the fonts of signatures lack: the page asks
// for a drawn signature instead, in words, before anything is asked of anybody.
func TestUnprintableName(t *testing.T) {
	chrome := launch(t)
	for lang, c := range map[string]struct {
		w          window
		sign, says string
	}{
		"en": {phone, "Sign contract.pdf", "letters that cannot be printed into the document: please draw your signature."},
		"de": {small, "contract.pdf unterschreiben", "Buchstaben, die sich nicht ins Dokument drucken lassen: Bitte zeichnen Sie Ihre Unterschrift."},
		"fr": {small, "Signer contract.pdf", "lettres qui ne peuvent pas être imprimées dans le document : veuillez dessiner votre signature."},
	} {
		t.Run(lang, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			who := &st.visits[tok].Session.People[1]
			who.Language, who.Name = lang, "山田 太郎"
			st.locked(func() {
				st.credentials = []*workflow.Credential{{ID: "b2xk", Mail: who.Mail, Kind: workflow.Passkey, Name: "Phone", Enrolled: time.Now()}}
			})
			b, _ := st.visitor(t, blank(t, chrome, c.w), tok)
			b.press(c.sign) // with a name that can be printed, this signs
			b.until("the pad", `document.querySelector("dialog .ink")?.getClientRects().length`)
			if n := eval[int](b, `[...document.querySelectorAll(".choice label > span")].filter(s => s.getBoundingClientRect().height > 46).length`); n > 0 {
				t.Errorf("%d tabs need two lines", n)
			}
			b.accessible("pad")
			b.shot("1-pad")
			eval[bool](b, `document.querySelector("input[value=type]").click(), true`)
			b.shot("2-type")
			b.enter(".typing input", "山田")
			b.press(c.sign)
			b.sees(c.says)
			b.until("the pad", `document.querySelector("dialog .ink").getClientRects().length && document.activeElement.value === "draw"`)
			b.accessible("refused")
			b.shot("3-refused")
			if calls := st.calls(); calls != "" || len(st.signed) > 0 {
				t.Errorf("the page called %q", calls)
			}
		})
	}
}

// TestOwnKeyLanguages looks at the new sheets in the longer languages, at 320 px.
func TestOwnKeyLanguages(t *testing.T) {
	chrome := launch(t)
	for lang, words := range map[string][2]string{"de": {"Dieses Gerät einrichten", "Geräte"}, "fr": {"Configurer cet appareil", "Appareils"}} {
		t.Run(lang, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			st.visits[tok].Session.People[1].Language = lang
			b, _ := st.visitor(t, blank(t, chrome, small), tok)
			b.until("the button", `!document.querySelector(".bar .primary").disabled`)
			b.accessible("bar")
			b.shot("1-bar")
			b.press(words[0])
			b.until("the ways", `document.querySelectorAll(".way").length === 3`)
			b.accessible("enrolment")
			b.shot("2-enrol")
			b.do(chromedp.KeyEvent(kb.Escape))
			st.fake.approve("enrolment0", auth.WayAdministrator)
			b.press(words[0])
			b.until("the last step", `document.querySelector("dialog .primary")`)
			b.accessible("last step")
			b.shot("3-last")
			eval[bool](b, `document.querySelector("dialog .primary").click(), true`)
			b.until("the sheet closes", `!document.querySelector("dialog")`)
			b.accessible("ready")
			b.shot("4-ready")
			b.press(words[1])
			b.until("the list", `document.querySelector(".devices li")`)
			b.accessible("devices")
			b.shot("5-devices")
		})
	}
}
