package web

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/signer/remote"
	"milterd/workflow"
)

const byPhones = "Corp Phones"

// fakePhones stands in for remote.Phones; signer/remote has its own tests.
type fakePhones struct {
	*fake
	files  [][]byte
	level  workflow.Level
	texts  []string
	agreed bool
	fail   string           // of the next check
	levels []workflow.Level // at which phones sign
}

func (p *fakePhones) Name() string { return byPhones }

func (p *fakePhones) Offers(l workflow.Level) bool { return slices.Contains(p.levels, l) }

func (p *fakePhones) Order(_ context.Context, o remote.Order) ([]byte, error) {
	if err := p.once("order"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files, p.texts, p.level = o.Files, o.Texts, o.Level
	return []byte(o.Preparation + o.Mail), nil
}

func (p *fakePhones) Check(_ context.Context, preparation, mail string, files [][]byte, kept []byte) (made [][]byte, again []byte, err error) {
	time.Sleep(50 * time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	why := p.fail
	p.fail = ""
	switch {
	case why != "":
		return nil, nil, refusal(why, "As the test wishes.", nil)
	case string(kept) != preparation+mail || !slices.EqualFunc(files, p.files, bytes.Equal):
		return nil, nil, refusal("preparation-gone", "Another.", nil)
	case p.agreed:
		return slices.Repeat([][]byte{[]byte("signed")}, len(files)), nil, nil
	}
	return nil, kept, nil
}

func (p *fakePhones) Touch(_ context.Context, _, _ string, _ []byte, push bool) ([]byte, error) {
	call := "code"
	if push {
		call = "remind"
	}
	// One black point.
	image, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
	if err != nil {
		return nil, err
	}
	return image, p.once(call)
}

func (p *fakePhones) Cancel(context.Context, string, string, []byte) error { return p.once("cancel") }

func phoneStage(t *testing.T) (*stage, string, *fakePhones) {
	t.Helper()
	st, tok := qualifiedStage(t, "contract.pdf")
	st.locked(func() { st.own.log = nil })
	return st, tok, st.phones
}

// Phones sign PDFs only: beside other ways, none is offered for anything else.
func TestPhonesSignPDFsOnly(t *testing.T) {
	st, tok, _ := phoneStage(t)
	chrome := chromium.Launch(t)
	for form, offered := range map[workflow.Form]bool{"": true, workflow.ASiC: false} {
		st.locked(func() { st.visits[tok].Session.Documents[0].Form = form; st.cookies["known"] = "jane.doe@corp.test" })
		b := blank(t, chrome, chromium.Desktop)
		b.cookie(st.URL, "known")
		b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
		b.Until("the button", `document.querySelector(".bar .primary") && !document.querySelector(".bar .primary").disabled`)
		eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
		b.Sees("Sign with " + byPIN)
		if text := b.Text("dialog"); strings.Contains(text, byPhones) != offered {
			t.Errorf("form %q: the sheet says %q", form, text)
		}
	}
}

// The page says who gets the documents, waits, reminds, and tells of a no: it declines nothing.
func TestPhonesPage(t *testing.T) {
	st, tok, p := phoneStage(t)
	b := st.qualifiedVisitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
	b.Press("Sign on my phone, by " + byPhones)
	b.Sees(byPhones + " gets the documents themselves, not just a digest.")
	b.look("1-gets")
	if strings.Contains(st.calls(), "order") {
		t.Error("sent before its person said so")
	}
	b.Press("Send to " + byPhones)
	b.Sees("Or scan this with the app:")
	b.Sees("Agree on your other device")
	b.look("2-waiting")
	b.Press("Ask my phone again")
	b.Until("the reminder", `document.querySelector("dialog img.qr")`)
	b.Expect = append(b.Expect, "400")
	st.locked(func() { p.fail = "openotp-denied" })
	b.Sees("You said no on your phone. Nothing was signed; you can sign in another way, or decline here.")
	b.look("3-declined")
	if v := st.visits[tok]; v.Who().State != workflow.Waiting || v.Session.State != workflow.Open {
		t.Errorf("a no on the phone made them %s, the session %s", v.Who().State, v.Session.State)
	}
	b.Press("Send to " + byPhones)
	b.Sees("Or scan this with the app:")
	st.locked(func() { p.agreed = true })
	b.Until("signed", `document.querySelector(".outcome")`)
	st.locked(func() {
		if len(st.values) != 1 || string(st.values[0]) != "signed" || len(p.files) != 1 || !bytes.Equal(p.files[0], st.content["contract.pdf"]) ||
			!strings.Contains(p.texts[0], "contract.pdf") || len(st.refused) != 1 || !strings.HasSuffix(st.refused[0], " openotp-denied") {
			t.Errorf("values %q, sent %d files as %q, on record %q", st.values, len(p.files), p.texts, st.refused)
		}
	})
	if got, want := st.calls(), "prepare by "+byPhones+" leave order code remind leave order code finish once"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}

// Back takes the order back and lets the document go.
func TestPhonesBack(t *testing.T) {
	st, tok, _ := phoneStage(t)
	b := st.qualifiedVisitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
	b.Press("Sign on my phone, by " + byPhones)
	b.Press("Send to " + byPhones)
	b.Sees("Or scan this with the app:")
	b.Press("Back")
	for end := time.Now().Add(10 * time.Second); !(strings.Contains(st.calls(), "cancel") && strings.Contains(st.calls(), "abandon")) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if got := st.calls(); !strings.Contains(got, "cancel") || !strings.Contains(got, "abandon") || strings.Contains(got, "finish") {
		t.Errorf("the page called %q", got)
	}
}

// Nothing else is given away than what was shown.
func TestPhonesSwapped(t *testing.T) {
	chrome := chromium.Launch(t)
	for name, c := range map[string]struct {
		says, calls string
		swap        func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte
	}{
		"another byte":   {"its bytes are not those that were announced (SHA-256)", "digest", func(_ *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { b[40] ^= 1; return b }},
		"something more": {"its bytes are not those that were announced (SHA-256)", "digest", func(_ *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { return append(b, "\n% more"...) }},
		"attributes": {"the signature would say something else than it should (signed attributes)", "attributes",
			func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte {
				p.Attributes = []byte{0x31, 0}
				return b
			}},
	} {
		t.Run(name, func(t *testing.T) {
			st, tok, _ := phoneStage(t)
			b := st.qualifiedVisitor(t, blank(t, chrome, chromium.Phone), tok)
			st.locked(func() { st.swap = c.swap })
			eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
			b.Press("Sign on my phone, by " + byPhones)
			b.Sees("What was prepared is not what this page has shown you: " + c.says + ". Nothing was signed")
			for end := time.Now().Add(10 * time.Second); !strings.Contains(st.calls(), "abandon") && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
			if got, want := st.calls(), "prepare by "+byPhones+" abandon "+c.calls; got != want {
				t.Errorf("the page called %q, want %q", got, want)
			}
		})
	}
}

// What was prepared for a provider is not given away, and a colleague reaches nothing.
func TestPhonesGuards(t *testing.T) {
	st, tok, p := phoneStage(t)
	max := token("max")
	st.visits[max] = workflow.Visit{Session: st.visits[tok].Session, Person: 2}
	st.cookies["max"] = "max.weber@corp.test"
	asMax := func(r *http.Request) { r.Header.Set("Cookie", deviceCookie+"=max") }
	id := st.preparedFor(t, tok, `"provider":"`+byPIN+`","key":"key"`)
	for _, path := range []string{"order", "check"} {
		body := strings.Replace(qualifiedBodies(tok)["phone/"+path], `"id":"p"`, `"id":"`+id+`"`, 1)
		if res, got := st.post(t, "/api/phone/"+path, body, st.proven); res.StatusCode != http.StatusGone {
			t.Errorf("a provider's at %s: %s %s", path, res.Status, got)
		}
		body = strings.Replace(qualifiedBodies(max)["phone/"+path], `"id":"p"`, `"id":"`+id+`"`, 1)
		if res, got := st.post(t, "/api/phone/"+path, body, asMax); res.StatusCode != http.StatusGone {
			t.Errorf("by a colleague at %s: %s %s", path, res.Status, got)
		}
	}
	if p.files != nil || strings.Contains(st.calls(), "order") {
		t.Errorf("documents were given away: %s", st.calls())
	}
	for n := range 5 {
		res, body := st.post(t, "/api/phone/touch", strings.Replace(qualifiedBodies(tok)["phone/touch"], `"p"`, `"`+id+`"`, 1), st.proven)
		if n == 4 && (res.StatusCode == http.StatusOK || reason(t, body) != "too-fast") {
			t.Errorf("a phone is asked without end: %s %s", res.Status, body)
		}
	}
}
