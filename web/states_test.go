package web

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// TestStates shows every other state to every kind of visitor, in words, and
// runs axe-core over each in light and dark.
func TestStates(t *testing.T) {
	now := time.Now()
	chrome := chromium.Launch(t)
	for _, c := range []struct {
		name   string
		person int
		change func(st *stage, s *workflow.Session)
		says   []string
		noLink bool
		proven bool
	}{
		{name: "unknown", noLink: true, says: []string{"This link is not known here", "open it from the mail"}},
		{name: "preparing", person: 1, proven: true, change: func(_ *stage, s *workflow.Session) { s.State = workflow.Preparing },
			says: []string{"Being prepared", "goes on by itself"}},
		{name: "away", person: 1, proven: true, change: func(st *stage, _ *workflow.Session) { st.away = errors.New("no route") },
			says: []string{"The timestamp authority is away at the moment. You can sign"}},
		{name: "signing-away", person: 1, proven: true, change: func(st *stage, s *workflow.Session) {
			st.away, s.People[1].State = errors.New("no route"), workflow.Signing
		}, says: []string{"Your signature is kept", "there is nothing more for you to do"}},
		{name: "signed", person: 1, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.People[1].State, s.People[1].Decided = workflow.Signed, now
		}, says: []string{"You have signed", "1 signature is still to come", "Max Weber\nasked to sign"}},
		{name: "sender-waits", person: 0, proven: true, says: []string{"Waiting for signatures", "2 signatures are still to come"}},
		{name: "unreached", person: 0, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.Returned = []workflow.Returned{{Person: 2, Mail: workflow.MailInvitation}}
		}, says: []string{"Waiting for signatures", "Max Weber\nasked to sign\nour mail came back undelivered"}},
		{name: "copy-locked", person: 3, change: func(_ *stage, s *workflow.Session) {},
			says: []string{"Les signatures sont en cours", "M’envoyer un code"}},
		{name: "sealing", person: 2, proven: true, change: func(_ *stage, s *workflow.Session) { s.State = workflow.Sealing },
			says: []string{"Alle haben unterschrieben", "Zeitstempel"}},
		{name: "done-large", person: 0, proven: true, change: func(st *stage, s *workflow.Session) {
			finish(t, st, s)
			s.Delivery = workflow.Download
		}, says: []string{"Everything is signed", "too large for a mail: download it here", "Certificate of completion"}},
		{name: "done-locked", person: 0, change: func(st *stage, s *workflow.Session) { finish(t, st, s) },
			says: []string{"Everything is signed", "only for those involved", "Send me a code"}},
		{name: "declined", person: 0, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.State, s.Ended = workflow.Declined, now
			s.People[2].State, s.People[2].Decided, s.People[2].Comment = workflow.Refused, now, "The rent is wrong."
		}, says: []string{"Max Weber has declined", "The rent is wrong.", "nothing was sealed"}},
		{name: "expired", person: 1, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.State, s.Ended, s.Deadline = workflow.Expired, now, now
		}, says: []string{"The deadline has passed", "can be mailed once more"}},
		{name: "cancelled", person: 1, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.State, s.Ended, s.Reason = workflow.Cancelled, now, "Sent to the wrong Jane."
		}, says: []string{"This request was cancelled", "Sent to the wrong Jane."}},
		{name: "purged", person: 1, proven: true, change: func(_ *stage, s *workflow.Session) {
			s.State, s.Ended, s.Purged = workflow.Done, now, now
		}, says: []string{"The documents are no longer here", "deleted as promised"}},
		{name: "broken", person: 1, change: func(st *stage, _ *workflow.Session) { st.broken = errSecret },
			says: []string{"This did not work", "Try again"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			tok := token("state" + c.name)
			s := session(t, "state", "contract.pdf")
			if c.change != nil {
				c.change(st, s)
			}
			if !c.noLink {
				st.visits[tok] = workflow.Visit{Session: s, Person: c.person}
			}
			for _, w := range []chromium.Window{{Name: "light", W: 390, H: 844, Phone: true}, {Name: "dark", W: 1280, H: 800, Dark: true}} {
				b := blank(t, chrome, w)
				b.Expect = []string{"404", "500"}
				if c.proven {
					st.cookies["known"] = s.People[c.person].Mail
					b.cookie(st.URL, "known")
				}
				b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
				for _, text := range c.says {
					b.Sees(text)
				}
				if strings.Contains(b.Text("body"), "10.1.2.3") {
					t.Error("an inner cause is on the page")
				}
				b.Accessible(w.Name)
				b.Shot(w.Name)
			}
		})
	}
}

// TestPlainPages are those that need no script.
func TestPlainPages(t *testing.T) {
	st := newStage(t)
	chrome := chromium.Launch(t)
	for path, text := range map[string]string{"/": "self@sign.corp.test", "/nothing": "There is nothing here", "/s": "This link is not complete"} {
		for _, w := range []chromium.Window{chromium.Phone, {Name: "dark", W: 1280, H: 800, Dark: true}} {
			b := blank(t, chrome, w)
			b.Expect = []string{"404"}
			b.Do(chromedp.Navigate(st.URL + path))
			b.Sees(text)
			b.Accessible(path)
			b.Shot(w.Name + strings.ReplaceAll(path, "/", "-"))
		}
	}
}

// TestScan shows a page whose only content is a JPEG 2000 picture, which pdf.js
// decodes in WebAssembly: the worker's own policy allows it.
func TestScan(t *testing.T) {
	st := newStage(t)
	st.visits[token("scan")] = workflow.Visit{Session: session(t, "scan", "scan.pdf"), Person: 1}
	b := blank(t, chromium.Launch(t), chromium.Phone)
	st.cookies["known"] = "jane.doe@corp.test"
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + token("scan")))
	b.painted()
}

// TestTampered gives the page another document than the mailed one: it says so,
// and there is no way to sign.
func TestTampered(t *testing.T) {
	st, tok := jane(t)
	st.content["contract.pdf"] = st.content["annex.pdf"]
	st.cookies["known"] = "jane.doe@corp.test"
	b := blank(t, chromium.Launch(t), chromium.Phone)
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.Sees("This document is not the one that was mailed. Do not sign")
	b.Until("the button stays off", `document.querySelector(".bar .primary").disabled`)
	b.Accessible("tampered")
	b.Shot("tampered")
}

// TestRememberedDevice needs a new code to sign, and keeps what was typed when it was wrong.
func TestRememberedDevice(t *testing.T) {
	st, tok := jane(t)
	st.cookies["known"] = "jane.doe@corp.test"
	b := blank(t, chromium.Launch(t), chromium.Desktop)
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.Press("Sign contract.pdf")
	b.enter(".typing input", "Jane Doe")
	b.Press("Sign contract.pdf")
	b.Sees("Ask for your code first")
	b.Press("Send me a code to sign")
	b.enter(".digits", "999999")
	b.Accessible("code to sign")
	b.Shot("code")
	b.Expect = []string{"403"}
	b.Press("Sign contract.pdf")
	b.Sees("You have 3 more tries.")
	b.enter(".digits", fakeCode)
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if len(st.signed) != 1 || st.signed[0].Typed != "Jane Doe" {
		t.Errorf("signed: %+v", st.signed)
	}
}

// TestDecline ends the session with a comment; who looks on meanwhile learns of it.
func TestDecline(t *testing.T) {
	st, tok := jane(t)
	other := token("max")
	st.visits[other] = workflow.Visit{Session: st.visits[tok].Session, Person: 2}
	st.cookies["j"], st.cookies["m"] = "jane.doe@corp.test", "max.weber@corp.test"
	chrome := chromium.Launch(t)
	b, m := blank(t, chrome, chromium.Phone), blank(t, chrome, chromium.Desktop)
	b.cookie(st.URL, "j")
	m.cookie(st.URL, "m")
	m.Do(chromedp.Navigate(st.URL + "/s#" + other))
	m.painted()
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.painted()
	b.Press("Decline")
	b.enter("textarea", "Not like this.")
	b.Accessible("decline")
	b.Shot("sheet")
	b.Press("Decline to sign")
	b.Sees("You have declined")
	b.Accessible("declined")
	if len(st.declined) != 1 || st.declined[0] != "Not like this." {
		t.Errorf("declined: %q", st.declined)
	}
	// Max comes back to his tab.
	eval[bool](m, `document.dispatchEvent(new Event("visibilitychange"))`)
	m.Sees("Jane Doe hat abgelehnt")
	m.Sees("Not like this.")
}

// TestLanguage follows the directory, then the visitor's own choice.
func TestLanguage(t *testing.T) {
	st := newStage(t)
	tok := token("sprache")
	st.visits[tok] = workflow.Visit{Session: session(t, "sprache", "contract.pdf"), Person: 2}
	b := blank(t, chromium.Launch(t), chromium.Phone)
	st.cookies["known"] = "max.weber@corp.test"
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.Sees("Ada Byron bittet um Ihre Unterschrift")
	b.painted()
	b.Accessible("de")
	b.Shot("de")
	eval[bool](b, `(s => { s.value = "fr"; s.dispatchEvent(new Event("change")); return true; })(document.querySelector("select"))`)
	b.Sees("Ada Byron vous demande de signer")
	b.painted()
	if lang := eval[string](b, "document.documentElement.lang"); lang != "fr" {
		t.Errorf("lang is %q", lang)
	}
	b.Do(chromedp.Reload())
	b.Sees("Ada Byron vous demande de signer")
}
