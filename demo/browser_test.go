package demo

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"milterd/workflow"
)

// tab is a page in headless Chromium, with a virtual authenticator that says yes.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func chromium(t *testing.T) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("Chromium is missing: apt-get install -y chromium")
	}
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	b := &tab{t, ctx}
	b.do(chromedp.EmulateViewport(390, 844))
	if _, err := chromedp.Call(ctx, webauthn.Enable, webauthn.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func eval[T any](b *tab, js string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v\n%.200s", err, js)
	}
	return v
}

func (b *tab) until(what, js string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !eval[bool](b, "!!("+js+")"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: %v\npage says: %s", what, errors.New("it does not come"), eval[string](b, "document.body.innerText"))
		}
	}
}

func quote(s string) string {
	q, _ := json.Marshal(s) // a string always marshals
	return string(q)
}

func (b *tab) sees(text string) {
	b.t.Helper()
	b.until("waiting for "+text, `document.body?.innerText.includes(`+quote(text)+`)`)
}

func (b *tab) press(name string) {
	b.t.Helper()
	find := `[...document.querySelectorAll("button, summary")].find(b => (b.getAttribute("aria-label") || b.innerText).trim() === ` + quote(name) +
		` && !b.disabled && b.getClientRects().length && (!document.querySelector("dialog[open]") || b.closest("dialog")))`
	b.until("pressing "+name, find)
	eval[bool](b, "("+find+").click(), true")
}

// A mail "[Advanced] contract" to a colleague, by real Postfix, is signed in
// Chromium and comes back to both; who does not know us finds it in order. The
// second time it takes one look, one tap and one prompt.
func TestAdvancedInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	h, err := start(ctx, Options{Postfix: true}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	page, err := newPage(h.people, h.boxes, h.mail.Address(), h.verdict, h.program.Enrolments)
	if err != nil {
		t.Fatal(err)
	}
	jane, john := h.people[0], h.people[1]
	r := &run{house: h, out: t.Output(), dir: t.TempDir()}
	browser := chromium(t)
	for _, first := range []bool{true, false} {
		before := len(h.boxes.In(""))
		raw, err := Draft{From: jane, To: []string{"john.doe@" + SignDomain}, Subject: "[Advanced] contract", Text: "Please sign.", File: Sample()}.Compose()
		if err != nil {
			t.Fatal(err)
		}
		if err := Submit(h.mail.Address(), jane.Mail, password, jane.Mail, []string{"john.doe@" + SignDomain}, raw); err != nil {
			t.Fatal(err)
		}
		next := func(who Person, fits func(*Message) bool) *Message {
			t.Helper()
			m, err := r.next(ctx, who.Mail, before, fits)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		invitation := next(john, func(m *Message) bool { return m.Link() != "" && m.Code() == "" })
		browser.do(chromedp.Navigate("about:blank"), chromedp.Navigate(invitation.Link()))
		if first {
			browser.press("Send me a code")
			code := next(john, func(m *Message) bool { return m.Code() != "" }).Code()
			eval[bool](browser, `(f => { f.value = `+quote(code)+`; f.dispatchEvent(new Event("input", {bubbles: true})); return true; })(document.querySelector(".digits"))`)
			browser.press("Open the documents")
			browser.press("Set up this device")
			browser.sees("Call them and tell them this number.")
			waiting, err := h.program.Enrolments.Pending(ctx, "")
			if err != nil || len(waiting) != 1 || !strings.Contains(eval[string](browser, `document.querySelector(".number").innerText`), waiting[0].Number) {
				t.Fatalf("waiting: %+v, %v", waiting, err)
			}
			if w := approve(page, waiting[0].ID, http.Header{}); !strings.Contains(w.Header().Get("Location"), "sent=") {
				t.Fatalf("approval: %s", w.Header().Get("Location"))
			}
			browser.press("Create the passkey")
			next(john, func(m *Message) bool { return strings.Contains(m.Text, "administrator") })
		}
		browser.press("Sign contract.pdf")
		for _, who := range []Person{jane, john} {
			result := next(who, func(m *Message) bool { return len(m.Attachments) > 1 })
			for _, a := range result.Attachments {
				if strings.HasPrefix(a.Name, "contract") {
					judgeOwned(t, h, john, a.Content)
				}
			}
		}
		browser.sees("Download")
	}
}

// judgeOwned has our own and other judges look at a document that somebody signed.
func judgeOwned(t *testing.T, h *house, who Person, content []byte) {
	t.Helper()
	all, err := h.program.Store.Certificates(t.Context(), workflow.CertificateFilter{Mail: who.Mail})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	note, err := h.judgeOwn(content, who, all[0].DER)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(note)
	file, root := filepath.Join(t.TempDir(), "contract.pdf"), filepath.Join(t.TempDir(), "root.pem")
	for path, b := range map[string][]byte{file: content, root: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.root.Raw})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if signers := judgeAll(t, file, root); !slices.Equal(signers, []string{who.Name, "Example Corp"}) {
		t.Errorf("signed by %q", signers)
	}
}
