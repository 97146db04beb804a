// Package chromium drives a headless Chromium for the tests: pages at the sizes of a
// phone and of a desktop, buttons found by the words that a person reads, and an
// ear for everything that the browser complains about.
package chromium

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

//go:embed axe/axe.min.js
var axe string

// patience is how long a page may take on a busy machine.
const patience = time.Minute

// Options start Chromium with its profile in a folder, without what it does on its
// own; or say which package is missing.
func Options(profile string) ([]chromedp.ExecAllocatorOption, error) {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		return nil, errors.New("Chromium is missing: apt-get install -y chromium")
	}
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile)}
	// The suggestions below the address bar are pages of their own, which each window would load.
	opts = append(opts, chromedp.Flag("disable-features", "WebUIOmniboxPopup,WebUIOmniboxAimPopup,AiModeOmniboxEntryPoint"))
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "disable-dev-shm-usage"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	return opts, nil
}

// Launch starts one browser with a fresh profile for a test.
func Launch(t *testing.T) context.Context {
	t.Helper()
	opts, err := Options(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return ctx
}

// Tab is a page in the browser.
type Tab struct {
	T         *testing.T
	Ctx       context.Context
	Downloads string   // folder
	Expect    []string // parts of complaints that the test provokes

	mu               sync.Mutex
	closed           bool
	urls, complaints []string // urls of all requests; complaints of the console, exceptions and policies
}

// Window is a size in CSS pixels.
type Window struct {
	Name  string
	W, H  int64
	Phone bool // touched, and at two dots a pixel
	Dark  bool
}

// The sizes that the pages are looked at in.
var (
	Phone   = Window{Name: "phone", W: 390, H: 844, Phone: true}
	Desktop = Window{Name: "desktop", W: 1280, H: 800}
	Small   = Window{Name: "small", W: 320, H: 640, Phone: true}
)

// Blank is a new tab with cookies of its own. The test fails at its end for whatever
// the browser complained of and the test did not expect.
func Blank(t *testing.T, chrome context.Context, w Window) *Tab {
	t.Helper()
	b := &Tab{T: t}
	ctx, cancel := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	b.Ctx = ctx
	t.Cleanup(cancel)
	t.Cleanup(b.quiet)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	scheme := "light"
	if w.Dark {
		scheme = "dark"
	}
	view := []chromedp.EmulateViewportOption{}
	if w.Phone {
		view = append(view, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(2))
	}
	b.Do(chromedp.EmulateViewport(w.W, w.H, view...))
	Protocol(b, network.Enable, network.EnableParams{})
	Protocol(b, log.Enable, cdp.Empty{})
	Protocol(b, runtime.Enable, cdp.Empty{})
	b.Downloads = t.TempDir()
	if _, err := chromedp.CallBrowser(b.Ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: b.Downloads,
		BrowserContextID: chromedp.FromContext(b.Ctx).BrowserContextID}); err != nil {
		t.Fatal(err)
	}
	Protocol(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	return b
}

// Protocol runs a command of the browser's protocol.
func Protocol[P, R any](b *Tab, cmd cdp.Command[P, R], params P) R {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.T.Fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// Authenticator gives a tab a fingerprint reader of its own, which says yes.
func (b *Tab) Authenticator() webauthn.AuthenticatorID {
	b.T.Helper()
	Protocol(b, webauthn.Enable, webauthn.EnableParams{})
	return Protocol(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
		HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}}).AuthenticatorID
}

func (b *Tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		b.urls = append(b.urls, e.Request.URL)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning || e.Entry.Source == log.EntrySourceSecurity {
			b.complaints = append(b.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, fmt.Sprintf("%+v", e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			b.complaints = append(b.complaints, fmt.Sprint("console: ", args(e.Args)))
		}
	}
}

func args(in []*runtime.RemoteObject) (out []string) {
	for _, a := range in {
		out = append(out, string(a.Value)+a.Description)
	}
	return out
}

// Complaints are all so far, expected ones too.
func (b *Tab) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.complaints...)
}

// Close ends what is heard of a page, for tests whose server goes away before the tab:
// the page would ask for it in vain. What the browser complained of until then counts.
func (b *Tab) Close() {
	b.T.Helper()
	b.quiet()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.complaints = true, nil
}

func (b *Tab) quiet() {
	b.T.Helper()
next:
	for _, c := range b.Complaints() {
		for _, e := range b.Expect {
			if strings.Contains(c, e) {
				continue next
			}
		}
		b.T.Errorf("the browser complains: %s", c)
	}
}

// Do runs actions, such as going to an address.
func (b *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail("", err)
	}
}

func (b *Tab) fail(what string, err error) {
	b.T.Helper()
	b.Shot("failed")
	b.T.Fatalf("%s: %v\npage says: %s\n%v", what, err, b.Text("body"), b.Complaints())
}

// Eval runs a script in the page; the protocol may, whatever the policy says.
func Eval[T any](b *Tab, js string) T {
	b.T.Helper()
	v, err := evaluate[T](b, js)
	if err != nil {
		b.T.Fatalf("%v\n%.200s", err, js)
	}
	return v
}

func evaluate[T any](b *Tab, js string) (T, error) {
	ctx, cancel := context.WithTimeout(b.Ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// left says that a page gave way to another one before it had answered.
func left(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Inspected target navigated or closed")
}

// Until waits until a script says true. The page may give way to another one
// meanwhile: a question that was asked in between is asked again.
func (b *Tab) Until(what, js string) {
	b.T.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(40 * time.Millisecond) {
		yes, err := evaluate[bool](b, "!!("+js+")")
		if err != nil && !left(err) {
			b.T.Fatalf("%v\n%.200s", err, js)
		}
		if yes {
			return
		}
		if time.Now().After(end) {
			b.fail(what, errors.New("it does not come"))
		}
	}
}

// Quote is a text as a literal of JavaScript.
func Quote(s string) string {
	q, _ := json.Marshal(s) // a string always marshals
	return string(q)
}

// Sees waits until a text is on the page.
func (b *Tab) Sees(text string) {
	b.T.Helper()
	b.Until("waiting for "+text, `document.body?.innerText.includes(`+Quote(text)+`)`)
}

// Press clicks the button that shows a text, or is called so.
func (b *Tab) Press(name string) {
	b.T.Helper()
	find := `[...document.querySelectorAll("button, summary, label, a")].find(b => (b.getAttribute("aria-label") || b.innerText).trim() === ` + Quote(name) +
		` && !b.disabled && b.getClientRects().length && (!document.querySelector("dialog[open]") || b.closest("dialog")))`
	b.Until("pressing "+name, find)
	b.click(find)
}

// Click clicks what a selector finds.
func (b *Tab) Click(sel string) {
	b.T.Helper()
	find := `document.querySelector(` + Quote(sel) + `)`
	b.Until("clicking "+sel, find)
	b.click(find)
}

func (b *Tab) click(find string) {
	b.T.Helper()
	b.Lead("(" + find + ").click()")
}

// Back goes back as the browser's own button does.
func (b *Tab) Back() {
	b.T.Helper()
	b.Lead("history.back()")
}

// Lead runs a script that may lead to another page before it has answered.
func (b *Tab) Lead(js string) {
	b.T.Helper()
	if _, err := evaluate[bool](b, js+", true"); err != nil && !left(err) {
		b.T.Fatalf("%v\n%.200s", err, js)
	}
}

// Fill puts a text into a field, once it is there.
func (b *Tab) Fill(sel, text string) {
	b.T.Helper()
	b.Until("a field "+sel, `document.querySelector(`+Quote(sel)+`)`)
	Eval[bool](b, `(f => { f.value = `+Quote(text)+`; f.dispatchEvent(new Event("input", {bubbles: true})); return true; })(document.querySelector(`+Quote(sel)+`))`)
}

// Text is what the element that a selector finds says.
func (b *Tab) Text(sel string) string {
	s, err := chromedp.Run(b.Ctx, chromedp.Evaluate[string](`document.querySelector(`+Quote(sel)+`)?.innerText ?? ""`))
	if err != nil {
		return err.Error()
	}
	return s
}

// Shot keeps a picture of the page in the folder MILTERD_SHOTS, for who wants to look;
// where none is named, nothing is drawn.
func (b *Tab) Shot(name string) {
	b.T.Helper()
	dir := os.Getenv("MILTERD_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.Ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(b.T.Name(), "/", "-")+"-"+name+".png"), png, 0o644)
	}
	if err != nil {
		b.T.Errorf("a picture of the page: %v", err)
	}
}

// Accessible runs axe-core over the page as it is, and checks that it does not
// scroll sideways.
func (b *Tab) Accessible(what string) {
	b.T.Helper()
	if !Eval[bool](b, "!!window.axe") {
		Eval[int](b, axe+";0")
	}
	found := Eval[[]struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		} `json:"nodes"`
	}](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => ({html: n.html, failureSummary: n.failureSummary}))})))`)
	for _, v := range found {
		for _, n := range v.Nodes {
			b.T.Errorf("%s: axe %s: %s\n%.300s\n%s", what, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
	if Eval[bool](b, `document.documentElement.scrollWidth > innerWidth`) {
		b.T.Errorf("%s: the page is wider than the window", what)
	}
}

// NeverSent fails if a word was part of any requested address.
func (b *Tab) NeverSent(secret string) {
	b.T.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, u := range b.urls {
		u, _, _ = strings.Cut(u, "#") // what follows stays in the browser
		if strings.Contains(u, secret) {
			b.T.Errorf("request %d: %s", i, u)
		}
	}
	if len(b.urls) < 5 {
		b.T.Errorf("only %d requests were seen", len(b.urls))
	}
}

// Cookies are the values of the tab's cookies; scripts must not see them.
func (b *Tab) Cookies() (values []string) {
	b.T.Helper()
	if s := Eval[string](b, "document.cookie"); s != "" {
		b.T.Errorf("scripts see cookies: %q", s)
	}
	for _, c := range Protocol(b, network.GetCookies, network.GetCookiesParams{}).Cookies {
		values = append(values, c.Value)
	}
	return values
}
