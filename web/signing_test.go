package web

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"milterd/workflow"
)

// draw moves a finger or the mouse over the pad.
func (b *tab) draw() {
	b.t.Helper()
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
			b.do(chromedp.MouseEvent(kind, x, y, chromedp.ButtonLeft, chromedp.ClickCount(1), held))
			time.Sleep(12 * time.Millisecond)
		}
		last := stroke[len(stroke)-1]
		b.do(chromedp.MouseEvent(chromedp.MouseReleased, r[0]+last[0]*r[2], r[1]+last[1]*r[3], chromedp.ButtonLeft, chromedp.ClickCount(1)))
	}
}

// held says that the button stays down.
func held(p *input.DispatchMouseEventParams) {
	p.Buttons = 1
}

func (b *tab) enter(sel, text string) {
	b.t.Helper()
	b.until("typing into "+sel, `document.querySelector(`+quote(sel)+`)?.getClientRects().length`)
	eval[bool](b, `document.querySelector(`+quote(sel)+`).focus(), true`)
	b.do(chromedp.KeyEvent(text))
}

// TestSigning is the way of a signatory, on a phone and at a desk, in light and
// dark: code, documents, signature, result.
func TestSigning(t *testing.T) {
	browser := launch(t)
	for _, w := range []window{phone, desktop, {name: "phone-dark", w: 390, h: 844, phone: true, dark: true},
		{name: "desktop-dark", w: 1280, h: 800, dark: true}, small} {
		t.Run(w.name, func(t *testing.T) {
			st := newStage(t)
			tok := token("walk" + w.name)
			ses := session(t, "walk"+w.name, "contract.pdf", "annex.pdf")
			ses.Documents[1].Notes = []string{"It holds a form whose fields can be filled."}
			st.visits[tok] = workflow.Visit{Session: ses, Person: 1}
			b := open(t, browser, w, st.URL+"/s#"+tok)
			b.sees("Ada Byron asks you to sign")
			b.accessible("locked")
			b.shot("1-locked")
			b.press("Send me a code")
			b.enter(".digits", "111111")
			b.expect = append(b.expect, "403")
			b.press("Open the documents")
			b.sees("You have 4 more tries")
			b.accessible("wrong code")
			b.shot("2-code")
			b.enter(".digits", fakeCode)
			b.press("Open the documents")
			b.painted()
			b.until("waiting for both documents", `!document.querySelector(".bar .primary").disabled`)
			b.accessible("review")
			b.shot("3-review")
			if s := b.text(".textLayer"); !strings.Contains(s, "Lease agreement") {
				t.Errorf("text layer says %q", s)
			}
			b.press("Sign 2 documents")
			b.sees("serves for this signature, too")
			b.press("Draw")
			b.press("Sign 2 documents")
			b.sees("Draw your signature or type your name first.")
			b.draw()
			b.accessible("sheet")
			b.shot("4-sign")
			b.press("Sign 2 documents")
			b.sees("Your signature is being placed")
			b.accessible("signing")
			b.shot("5-signing")

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
			b.sees("Everything is signed")
			b.accessible("done")
			b.shot("6-done")
			b.press("Show contract.pdf")
			b.painted()
			b.press("Download contract.pdf")
			b.accessible("result shown")
			b.shot("7-result")
			b.neverSent(tok)
			b.neverSent(fakeCode)
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
	b := open(t, launch(t), desktop, st.URL+"/s#"+tok)
	b.sees("Send me a code")
	b.tabTo("Send me a code")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.focused(".digits")
	b.do(chromedp.KeyEvent(fakeCode + kb.Enter))
	b.painted()
	b.sees("Read everything, then sign.")
	b.tabTo("Sign contract.pdf")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.sees("How do you want to sign?")
	b.focused(`.typing input, .choice input`)
	b.tabTo("type", true)
	b.do(chromedp.KeyEvent(kb.ArrowLeft))
	b.sees("With a finger, a pen or the mouse")
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.tabTo("Jane Doe")
	b.do(chromedp.KeyEvent("Jane Doe"))
	b.accessible("typed")
	b.shot("typed")
	b.do(chromedp.KeyEvent(kb.Escape)) // the sheet closes, the focus goes back
	b.focused(".bar .primary")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.tabTo("Jane Doe")
	b.do(chromedp.KeyEvent("Jane Doe" + kb.Enter))
	b.sees("Your signature is being placed")
	b.focused("h1")
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.signed) != 1 || st.signed[0].Typed != "Jane Doe" || st.signed[0].Strokes != nil {
		t.Errorf("signed: %+v", st.signed)
	}
}

// tabTo presses Tab, or Shift-Tab, until the focus is on what is called so, and sees that it shows.
func (b *tab) tabTo(name string, back ...bool) {
	b.t.Helper()
	for range 60 {
		at := eval[string](b, `(e => (e.getAttribute("aria-label") || e.placeholder || e.innerText || e.value || "").trim())(document.activeElement)`)
		if at == name {
			ring := eval[string](b, `(e => getComputedStyle(e.type === "radio" ? e.nextSibling : e).outlineStyle)(document.activeElement)`)
			if ring == "none" {
				b.t.Errorf("%s has the focus, and shows none", name)
			}
			return
		}
		if len(back) > 0 {
			b.do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
		} else {
			b.do(chromedp.KeyEvent(kb.Tab))
		}
	}
	b.t.Fatalf("Tab never reaches %q; page says %s", name, b.text("body"))
}

func (b *tab) focused(sel string) {
	b.t.Helper()
	b.until("focus on "+sel, `document.activeElement.matches(`+quote(sel)+`)`)
}

// TestTurningThePhone changes the pad's size under a stroke: nothing is lost,
// and the pad goes on.
func TestTurningThePhone(t *testing.T) {
	st, tok := jane(t)
	st.cookies["known"] = "jane.doe@corp.test"
	b := blank(t, launch(t), phone)
	b.cookie(st.URL, "known")
	b.do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.press("Sign contract.pdf")
	b.sees("With a finger, a pen or the mouse")
	b.press("Send me a code to sign")
	b.enter(".digits", fakeCode)
	r := eval[[4]float64](b, `(r => [r.x, r.y, r.width, r.height])(document.querySelector(".ink").getBoundingClientRect())`)
	b.do(chromedp.MouseEvent(chromedp.MousePressed, r[0]+40, r[1]+40, chromedp.ButtonLeft, chromedp.ClickCount(1), held),
		chromedp.MouseEvent(chromedp.MouseMoved, r[0]+90, r[1]+60, chromedp.ButtonLeft, held),
		chromedp.EmulateViewport(844, 700, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2)))
	b.until("the pad grows", `document.querySelector(".ink").clientWidth > 450`)
	time.Sleep(100 * time.Millisecond) // the observer's frame
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, r[0]+200, r[1]+90, chromedp.ButtonLeft, held),
		chromedp.MouseEvent(chromedp.MouseReleased, r[0]+200, r[1]+90, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	b.draw()
	b.shot("turned")
	b.press("Sign contract.pdf")
	b.sees("Your signature is being placed")
	if len(st.signed) != 1 || len(st.signed[0].Strokes) != 4 || st.signed[0].Width < 450 {
		t.Errorf("signed: %+v", st.signed)
	}
}
