package web

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// draw moves a finger or the mouse over the pad.
func (b *tab) draw() {
	b.T.Helper()
	r := eval[[4]float64](b, `(r => [r.x, r.y, r.width, r.height])(document.querySelector(".ink").getBoundingClientRect())`)
	for _, stroke := range [][][2]float64{
		{{.12, .66}, {.17, .3}, {.22, .22}, {.24, .5}, {.21, .8}, {.17, .86}, {.2, .66}, {.3, .52}, {.33, .62}, {.37, .5}, {.4, .63}, {.45, .5}, {.48, .62}, {.53, .52}},
		{{.6, .25}, {.59, .5}, {.6, .66}, {.67, .6}, {.71, .42}, {.66, .25}, {.57, .24}},
		{{.75, .58}, {.79, .5}, {.81, .62}, {.86, .5}, {.93, .56}},
	} {
		for i, p := range stroke {
			x, y := r[0]+p[0]*r[2], r[1]+p[1]*r[3]
			kind := chromedp.MouseMoved
			if i == 0 {
				kind = chromedp.MousePressed
			}
			b.Do(chromedp.MouseEvent(kind, x, y, chromedp.ButtonLeft, chromedp.ClickCount(1), held))
			time.Sleep(12 * time.Millisecond)
		}
		last := stroke[len(stroke)-1]
		b.Do(chromedp.MouseEvent(chromedp.MouseReleased, r[0]+last[0]*r[2], r[1]+last[1]*r[3], chromedp.ButtonLeft, chromedp.ClickCount(1)))
	}
}

// held says that the button stays down.
func held(p *input.DispatchMouseEventParams) {
	p.Buttons = 1
}

func (b *tab) enter(sel, text string) {
	b.T.Helper()
	b.Until("typing into "+sel, `document.querySelector(`+chromium.Quote(sel)+`)?.getClientRects().length`)
	eval[bool](b, `document.querySelector(`+chromium.Quote(sel)+`).focus(), true`)
	b.Do(chromedp.KeyEvent(text))
}

// TestSigning is the way of a signatory, on a phone and at a desk, in light and
// dark: code, documents, signature, result.
func TestSigning(t *testing.T) {
	browser := chromium.Launch(t)
	for _, w := range []chromium.Window{chromium.Phone, chromium.Desktop, {Name: "phone-dark", W: 390, H: 844, Phone: true, Dark: true},
		{Name: "desktop-dark", W: 1280, H: 800, Dark: true}, chromium.Small} {
		t.Run(w.Name, func(t *testing.T) {
			st := newStage(t)
			tok := token("walk" + w.Name)
			ses := session(t, "walk"+w.Name, "contract.pdf", "annex.pdf")
			ses.Documents[1].Notes = []string{"It holds a form whose fields can be filled."}
			st.visits[tok] = workflow.Visit{Session: ses, Person: 1}
			b := open(t, browser, w, st.URL+"/s#"+tok)
			b.Sees("Ada Byron asks you to sign")
			b.Accessible("locked")
			b.Shot("1-locked")
			b.Press("Send me a code")
			b.enter(".digits", "111111")
			b.Expect = append(b.Expect, "403")
			b.Press("Open the documents")
			b.Sees("You have 4 more tries")
			b.Accessible("wrong code")
			b.Shot("2-code")
			b.enter(".digits", fakeCode)
			b.Press("Open the documents")
			b.painted()
			b.Until("waiting for both documents", `!document.querySelector(".bar .primary").disabled`)
			b.Accessible("review")
			b.Shot("3-review")
			if s := b.Text(".textLayer"); !strings.Contains(s, "Lease agreement") {
				t.Errorf("text layer says %q", s)
			}
			b.Press("Sign 2 documents")
			b.Sees("serves for this signature, too")
			b.Press("Draw")
			b.Press("Sign 2 documents")
			b.Sees("Draw your signature or type your name first.")
			b.draw()
			b.Accessible("sheet")
			b.Shot("4-sign")
			b.Press("Sign 2 documents")
			b.Sees("Your signature is being placed")
			b.Accessible("signing")
			b.Shot("5-signing")

			st.mu.Lock()
			if len(st.signed) != 1 || len(st.signed[0].Strokes) != 3 || st.signed[0].Typed != "" || st.signed[0].Width < 200 {
				t.Errorf("signed: %+v", st.signed)
			}
			for i, name := range []string{"contract.pdf", "annex.pdf"} {
				if len(st.shown) != 2 || st.shown[i].SHA256 != sha256.Sum256(st.content[name]) {
					t.Errorf("shown: %+v", st.shown)
				}
			}
			finish(t, st, ses)
			st.mu.Unlock()
			b.Sees("Everything is signed")
			b.Accessible("done")
			b.Shot("6-done")
			b.Press("Show contract.pdf")
			b.painted()
			b.Press("Download contract.pdf")
			b.Accessible("result shown")
			b.Shot("7-result")
			b.NeverSent(tok)
			b.NeverSent(fakeCode)
		})
	}
}

// finish makes a session done, with a report.
func finish(t *testing.T, st *stage, s *workflow.Session) {
	t.Helper()
	now := time.Now()
	s.State, s.Ended = workflow.Done, now
	for i := range s.People {
		if s.People[i].Signatory {
			s.People[i].State, s.People[i].Decided = workflow.Signed, now
		}
	}
	b := sample(t, "annex.pdf")
	st.content["certificate of completion.pdf"] = b
	s.Documents = append(s.Documents, workflow.Document{Name: "certificate of completion.pdf", Kind: workflow.Report, Pages: 1,
		Revisions: []workflow.Revision{{Kind: workflow.Original, Size: int64(len(b)), SHA256: sha256.Sum256(b), Person: -1}}})
}

// TestKeyboard signs without a pointer: Tab, arrows, Enter.
func TestKeyboard(t *testing.T) {
	st, tok := jane(t)
	b := open(t, chromium.Launch(t), chromium.Desktop, st.URL+"/s#"+tok)
	b.Sees("Send me a code")
	b.tabTo("Send me a code")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.focused(".digits")
	b.Do(chromedp.KeyEvent(fakeCode + kb.Enter))
	b.painted()
	b.Sees("Read everything, then sign.")
	b.tabTo("Sign contract.pdf")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.Sees("How do you want to sign?")
	b.focused(`.typing input, .choice input`)
	b.tabTo("type", true)
	b.Do(chromedp.KeyEvent(kb.ArrowLeft))
	b.Sees("With a finger, a pen or the mouse")
	b.Do(chromedp.KeyEvent(kb.ArrowRight))
	b.tabTo("Jane Doe")
	b.Do(chromedp.KeyEvent("Jane Doe"))
	b.Accessible("typed")
	b.Shot("typed")
	b.Do(chromedp.KeyEvent(kb.Escape)) // the sheet closes, the focus goes back
	b.focused(".bar .primary")
	b.Do(chromedp.KeyEvent(kb.Enter))
	b.tabTo("Jane Doe")
	b.Do(chromedp.KeyEvent("Jane Doe" + kb.Enter))
	b.Sees("Your signature is being placed")
	b.focused("h1")
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.signed) != 1 || st.signed[0].Typed != "Jane Doe" || st.signed[0].Strokes != nil {
		t.Errorf("signed: %+v", st.signed)
	}
}

// tabTo presses Tab, or Shift-Tab, until the focus is on what is called so, and sees that it shows.
func (b *tab) tabTo(name string, back ...bool) {
	b.T.Helper()
	for range 60 {
		at := eval[string](b, `(e => (e.getAttribute("aria-label") || e.placeholder || e.innerText || e.value || "").trim())(document.activeElement)`)
		if at == name {
			ring := eval[string](b, `(e => getComputedStyle(e.type === "radio" ? e.nextSibling : e).outlineStyle)(document.activeElement)`)
			if ring == "none" {
				b.T.Errorf("%s has the focus, and shows none", name)
			}
			return
		}
		if len(back) > 0 {
			b.Do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
		} else {
			b.Do(chromedp.KeyEvent(kb.Tab))
		}
	}
	b.T.Fatalf("Tab never reaches %q; page says %s", name, b.Text("body"))
}

func (b *tab) focused(sel string) {
	b.T.Helper()
	b.Until("focus on "+sel, `document.activeElement.matches(`+chromium.Quote(sel)+`)`)
}

// TestTurningThePhone changes the pad's size under a stroke: nothing is lost,
// and the pad goes on.
func TestTurningThePhone(t *testing.T) {
	st, tok := jane(t)
	st.cookies["known"] = "jane.doe@corp.test"
	b := blank(t, chromium.Launch(t), chromium.Phone)
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.Press("Sign contract.pdf")
	b.Sees("With a finger, a pen or the mouse")
	b.Press("Send me a code to sign")
	b.enter(".digits", fakeCode)
	r := eval[[4]float64](b, `(r => [r.x, r.y, r.width, r.height])(document.querySelector(".ink").getBoundingClientRect())`)
	b.Do(chromedp.MouseEvent(chromedp.MousePressed, r[0]+40, r[1]+40, chromedp.ButtonLeft, chromedp.ClickCount(1), held),
		chromedp.MouseEvent(chromedp.MouseMoved, r[0]+90, r[1]+60, chromedp.ButtonLeft, held),
		chromedp.EmulateViewport(844, 700, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
	b.Until("the pad grows", `document.querySelector(".ink").clientWidth > 450`)
	time.Sleep(100 * time.Millisecond) // the observer's frame
	b.Do(chromedp.MouseEvent(chromedp.MouseMoved, r[0]+200, r[1]+90, chromedp.ButtonLeft, held),
		chromedp.MouseEvent(chromedp.MouseReleased, r[0]+200, r[1]+90, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	b.draw()
	b.Shot("turned")
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if len(st.signed) != 1 || len(st.signed[0].Strokes) != 4 || st.signed[0].Width < 450 {
		t.Errorf("signed: %+v", st.signed)
	}
}
