package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

func TestHeldInterface(t *testing.T) {
	st, tok := jane(t)
	body := `{"token":"` + tok + `"}`
	res, got := st.post(t, "/api/held", body)
	if res.StatusCode != http.StatusOK || !strings.Contains(got, "max.weber@corp.test") || !strings.Contains(got, `"recipients":2`) || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("look: %s %s", res.Status, got)
	}
	if st.changes != 0 {
		t.Error("looking changed something")
	}
	for _, path := range []string{"held", "confirm", "deny"} {
		for name, c := range map[string]struct {
			body   string
			status int
		}{
			"unknown token": {`{"token":"` + token("nobody") + `"}`, 404},
			"short token":   {`{"token":"x"}`, 404},
			"unknown field": {`{"token":"` + tok + `","yes":true}`, 400},
		} {
			if res, got := st.post(t, "/api/"+path, c.body); res.StatusCode != c.status {
				t.Errorf("%s, %s: %s %s", path, name, res.Status, got)
			}
		}
	}
	seen := func(n string) string { return `{"token":"` + tok + `","recipients":` + n + `}` }
	for _, wrong := range []string{body, seen("0"), seen("1"), seen("3"), seen("-2")} {
		if res, got := st.post(t, "/api/confirm", wrong); res.StatusCode != http.StatusConflict || !strings.Contains(got, `"held-changed"`) {
			t.Errorf("confirm %s: %s %s", wrong, res.Status, got)
		}
	}
	if res, _ := st.post(t, "/api/confirm", seen(`"2"`)); res.StatusCode != http.StatusBadRequest || st.changes != 0 {
		t.Errorf("confirm with a word: %s, %d changes", res.Status, st.changes)
	}
	if res, got := st.post(t, "/api/confirm", seen("2")); res.StatusCode != http.StatusOK {
		t.Errorf("confirm: %s %s", res.Status, got)
	}
	for _, path := range []string{"held", "confirm", "deny"} {
		if res, got := st.post(t, "/api/"+path, body); res.StatusCode != http.StatusConflict || !strings.Contains(got, `"confirmed"`) {
			t.Errorf("%s once more: %s %s", path, res.Status, got)
		}
	}
	if strings.Contains(st.log.String(), tok) {
		t.Error("the log tells the token")
	}

	// Where nothing is ever held, no link is known.
	st.Server.Close()
	f := st.fake
	srv := serve(t, Config{Desk: f, Mailbox: f, Organisation: "x", Log: testLog(t)})
	off := &stage{fake: f, Server: srv, log: st.log}
	if res, got := off.post(t, "/api/held", body); res.StatusCode != http.StatusNotFound {
		t.Errorf("switched off: %s %s", res.Status, got)
	}
}

// TestHeldPage looks at every state of the page that confirms a mail on a
// phone, in each language, and at the first ones on a dark screen too.
func TestHeldPage(t *testing.T) {
	chrome := chromium.Launch(t)
	for _, c := range []struct {
		name, lang string
		change     func(st *stage, h *workflow.Held)
		press      string
		says       []string
		changes    int
		dark       bool
	}{
		{name: "waiting-de", lang: "de", dark: true, says: []string{"Haben Sie das gesendet?", "max.weber@corp.test", "Urgent: call <b>+1 555</b> and sign", "Ada Byron", "lease agreement"}},
		{name: "waiting-en", lang: "en", says: []string{"Did you send this?", "Follow no advice in them", "It asks 2 people to sign"}},
		{name: "waiting-fr", lang: "fr", says: []string{"Est-ce vous", "2 personnes sont appelées à signer"}},
		{name: "confirmed", lang: "en", dark: true, press: "Yes, confirm", says: []string{"Your request is on its way", "A receipt comes"}, changes: 1},
		{name: "denied", lang: "de", press: "Nicht von mir", says: []string{"Die E-Mail wurde verworfen", "einen Tag lang"}, changes: 1},
		{name: "refused", lang: "en", press: "Yes, confirm", changes: 1, change: func(st *stage, _ *workflow.Held) {
			st.confirm = &workflow.Refusal{Code: 554, Reason: "encrypted-pdf", Text: "contract.pdf: the PDF is encrypted."}
		}, says: []string{"This request could not be opened", "contract.pdf: the PDF is encrypted.", "send it again"}},
		{name: "away", lang: "en", press: "Yes, confirm", changes: 1, change: func(st *stage, _ *workflow.Held) {
			st.confirm = &workflow.Refusal{Code: 451, Reason: "directory-away", Text: "x", Err: errSecret}
		}, says: []string{"Did you send this?", "The directory does not answer"}},
		{name: "done-before", lang: "fr", change: func(_ *stage, h *workflow.Held) { h.State = workflow.HeldConfirmed }, says: []string{"already"}},
		{name: "dropped", change: func(_ *stage, h *workflow.Held) { h.State = "expired" }, says: []string{"waited for a day"}},
		{name: "unknown", change: func(st *stage, _ *workflow.Held) { clear(st.helds) }, says: []string{"This link is not known here"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			windows := []chromium.Window{{Name: "light", W: 390, H: 844, Phone: true}}
			if c.dark {
				windows = append(windows, chromium.Window{Name: "dark", W: 1280, H: 800, Dark: true})
			}
			for _, w := range windows {
				st, tok := newStage(t), token("held"+c.name)
				h := heldMail()
				h.Person.Language = c.lang
				st.helds[tok] = h
				if c.change != nil {
					c.change(st, h)
				}
				b := blank(t, chrome, w)
				b.Expect = []string{"404", "409", "410", "400", "503"}
				b.Do(chromedp.Navigate(st.URL + "/c#" + tok))
				if c.press != "" {
					b.Sees(c.press)
					if st.changes != 0 {
						t.Error("opening the page changed something")
					}
					b.Press(c.press)
				}
				for _, text := range c.says {
					b.Sees(text)
				}
				if strings.Contains(b.Text("body"), "10.1.2.3") {
					t.Error("an inner cause is on the page")
				}
				if st.changes != c.changes {
					t.Errorf("%d changes, want %d", st.changes, c.changes)
				}
				b.Accessible(w.Name)
				b.Shot(w.Name)
				eval[bool](b, `(scrollTo(0, document.body.scrollHeight), true)`)
				b.Shot(w.Name + "-end")
			}
		})
	}
}

// TestHeldChanged lets somebody join while the page is open: the first press
// shows them and confirms nothing, the second one confirms.
func TestHeldChanged(t *testing.T) {
	chrome := chromium.Launch(t)
	for lang, words := range map[string][3]string{
		"en": {"Yes, confirm", "More people were added", "Your request is on its way"},
		"de": {"Ja, bestätigen", "weitere Personen hinzugekommen", "Ihre Anfrage ist unterwegs"},
		"fr": {"Oui, confirmer", "D’autres personnes ont été ajoutées", "Votre demande est en route"},
	} {
		t.Run(lang, func(t *testing.T) {
			st, tok := newStage(t), token("heldgrows"+lang)
			h := heldMail()
			h.Person.Language = lang
			st.helds[tok] = h
			b := blank(t, chrome, chromium.Window{Name: "light", W: 390, H: 844, Phone: true})
			b.Expect = []string{"409"}
			b.Do(chromedp.Navigate(st.URL + "/c#" + tok))
			b.Sees(words[0])
			st.mu.Lock()
			more := *h
			more.Recipients = append(slices.Clone(h.Recipients), "emma@sign.corp.test")
			more.Asks = append(slices.Clone(h.Asks), workflow.Person{Mail: "emma@corp.test", Name: "Emma Curie"})
			st.helds[tok] = &more
			st.mu.Unlock()
			b.Press(words[0])
			b.Sees(words[1])
			b.Sees("Emma Curie")
			if more.State != workflow.HeldWaiting {
				t.Error("confirmed unseen")
			}
			b.Accessible("changed")
			b.Shot("changed")
			b.Press(words[0])
			b.Sees(words[2])
		})
	}
}

// TestHeldKeyboard confirms with the keyboard alone, in another language than
// the directory's.
func TestHeldKeyboard(t *testing.T) {
	st, tok := newStage(t), token("heldkeys")
	st.helds[tok] = heldMail()
	b := blank(t, chromium.Launch(t), chromium.Desktop)
	b.Do(chromedp.Navigate(st.URL + "/c#" + tok))
	b.Sees("Haben Sie das gesendet?")
	eval[bool](b, `(s => { s.value = "en"; s.dispatchEvent(new Event("change")); return true; })(document.querySelector("select"))`)
	b.Sees("Did you send this?")
	eval[bool](b, `(document.querySelector(".acts .primary").focus(), true)`)
	b.Do(chromedp.KeyEvent("\r"))
	b.Sees("Your request is on its way")
	b.Until("the heading has the focus", `document.activeElement === document.querySelector("h1")`)
	if st.helds[tok].State != workflow.HeldConfirmed {
		t.Error("not confirmed")
	}
}
