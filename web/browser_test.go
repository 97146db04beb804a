package web

import (
	"context"
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
	"github.com/chromedp/chromedp"
)

// chromium finds the browser; without it the tests cannot say anything.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	t.Fatal("Chromium is missing: apt-get install -y chromium")
	return ""
}

// launch starts one browser with a fresh profile for a test.
func launch(t *testing.T) context.Context {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{chromedp.ExecPath(chromium(t)), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir())}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "disable-dev-shm-usage"} {
		opts = append(opts, chromedp.Flag(flag, true))
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

// tab is a page in the browser, with an ear for everything that goes wrong.
type tab struct {
	t         *testing.T
	ctx       context.Context
	downloads string // folder
	mu        sync.Mutex
	// urls of all requests; complaints of the console, exceptions and policies.
	urls, complaints []string
	expect           []string // parts of complaints that the test provokes
}

// size of the window in CSS pixels.
type window struct {
	name  string
	w, h  int64
	phone bool
	dark  bool
}

var (
	phone   = window{name: "phone", w: 390, h: 844, phone: true}
	desktop = window{name: "desktop", w: 1280, h: 800}
	small   = window{name: "small", w: 320, h: 640, phone: true}
)

// open loads an address in a new tab.
func open(t *testing.T, chrome context.Context, w window, address string) *tab {
	t.Helper()
	b := blank(t, chrome, w)
	b.do(chromedp.Navigate(address))
	return b
}

// cookie lets the tab's browser be one that has proven a mailbox.
func (b *tab) cookie(site, value string) {
	b.t.Helper()
	protocol(b, network.SetCookie, network.SetCookieParams{Name: deviceCookie, Value: value, URL: site, Path: "/",
		Secure: new(true), HTTPOnly: new(true), SameSite: network.CookieSameSiteStrict})
}

// blank is a new tab with cookies of its own.
func blank(t *testing.T, chrome context.Context, w window) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(chrome, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	b.ctx = ctx
	t.Cleanup(cancel)
	t.Cleanup(b.quiet)
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as this context
		t.Fatal(err)
	}
	scheme := "light"
	if w.dark {
		scheme = "dark"
	}
	view := []chromedp.EmulateViewportOption{}
	if w.phone {
		view = append(view, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait, chromedp.EmulateScale(2))
	}
	b.do(chromedp.EmulateViewport(w.w, w.h, view...))
	protocol(b, network.Enable, network.EnableParams{})
	protocol(b, log.Enable, cdp.Empty{})
	protocol(b, runtime.Enable, cdp.Empty{})
	b.downloads = t.TempDir()
	if _, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: b.downloads,
		BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID}); err != nil {
		t.Fatal(err)
	}
	protocol(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	return b
}

// protocol runs a command of the browser's protocol.
func protocol[P, R any](b *tab, cmd cdp.Command[P, R], params P) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if _, err := chromedp.Call(ctx, cmd, params); err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
}

func (b *tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
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

// quiet fails the test for whatever the browser complained about.
func (b *tab) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, c := range b.complaints {
		for _, e := range b.expect {
			if strings.Contains(c, e) {
				continue next
			}
		}
		b.t.Errorf("the browser complains: %s", c)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail("", err)
	}
}

func (b *tab) fail(what string, err error) {
	b.t.Helper()
	b.t.Fatalf("%s: %v\npage says: %s\n%v\nscreenshot %s", what, err, b.text("body"), b.complaints, b.shot("failed"))
}

// eval runs a script in the page; the protocol may, whatever the policy says.
func eval[T any](b *tab, js string) T {
	b.t.Helper()
	v, err := evaluate[T](b, js)
	if err != nil {
		b.t.Fatalf("%v\n%.200s", err, js)
	}
	return v
}

func evaluate[T any](b *tab, js string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// until waits until a script says true. The page may give way to another one
// meanwhile: a question that was asked in between is asked again.
func (b *tab) until(what, js string) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(40 * time.Millisecond) {
		yes, err := evaluate[bool](b, "!!("+js+")")
		if err != nil && !strings.Contains(err.Error(), "Inspected target navigated or closed") {
			b.t.Fatalf("%v\n%.200s", err, js)
		}
		if yes {
			return
		}
		if time.Now().After(end) {
			b.fail(what, errors.New("it does not come"))
		}
	}
}

func quote(s string) string {
	q, _ := json.Marshal(s) // a string always marshals
	return string(q)
}

// sees waits until a text is on the page.
func (b *tab) sees(text string) {
	b.t.Helper()
	b.until("waiting for "+text, `document.body?.innerText.includes(`+quote(text)+`)`)
}

// press clicks the button that shows a text, or is called so.
func (b *tab) press(name string) {
	b.t.Helper()
	find := `[...document.querySelectorAll("button, summary, label, a")].find(b => (b.getAttribute("aria-label") || b.innerText).trim() === ` + quote(name) +
		` && !b.disabled && b.getClientRects().length && (!document.querySelector("dialog[open]") || b.closest("dialog")))`
	b.until("pressing "+name, find)
	eval[bool](b, "("+find+").click(), true")
}

func (b *tab) text(sel string) string {
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector(`+quote(sel)+`)?.innerText ?? ""`))
	if err != nil {
		return err.Error()
	}
	return s
}

// shots is where screenshots go: MILTERD_SHOTS, or a folder that goes with the test.
func shots(t *testing.T) string {
	if dir := os.Getenv("MILTERD_SHOTS"); dir != "" {
		return dir
	}
	return t.TempDir()
}

func (b *tab) shot(name string) string {
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return err.Error()
	}
	file := filepath.Join(shots(b.t), strings.ReplaceAll(b.t.Name(), "/", "-")+"-"+name+".png")
	if err := os.WriteFile(file, png, 0o644); err != nil {
		return err.Error()
	}
	return file
}

// accessible runs axe-core over the page as it is, and checks that it does not
// scroll sideways.
func (b *tab) accessible(what string) {
	b.t.Helper()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	eval[int](b, string(axe)+";0")
	found := eval[[]struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		} `json:"nodes"`
	}](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => ({html: n.html, failureSummary: n.failureSummary}))})))`)
	for _, v := range found {
		for _, n := range v.Nodes {
			b.t.Errorf("%s: axe %s: %s\n%.300s\n%s", what, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
	if eval[bool](b, `document.documentElement.scrollWidth > innerWidth`) {
		b.t.Errorf("%s: the page is wider than the window", what)
	}
}

// painted waits until the first page of the first document is drawn, and not blank.
func (b *tab) painted() {
	b.t.Helper()
	b.until("waiting for the document", `document.querySelector(".page.drawn canvas")`)
	dark := eval[int](b, `(() => { const c = document.querySelector(".page.drawn canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i] < 128) n++; return n; })()`)
	if dark < 500 {
		b.t.Errorf("the first page is blank: %d dark pixels\n%v", dark, b.complaints)
	}
}

// neverSent fails if a word was part of any requested address.
func (b *tab) neverSent(secret string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, u := range b.urls {
		u, _, _ = strings.Cut(u, "#") // what follows stays in the browser
		if strings.Contains(u, secret) {
			b.t.Errorf("request %d: %s", i, u)
		}
	}
	if len(b.urls) < 5 {
		b.t.Errorf("only %d requests were seen", len(b.urls))
	}
}

// cookies are the values of the tab's cookies; scripts do not see them.
func cookies(b *tab) (values []string) {
	b.t.Helper()
	if s := eval[string](b, "document.cookie"); s != "" {
		b.t.Errorf("scripts see cookies: %q", s)
	}
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range got.Cookies {
		values = append(values, c.Value)
	}
	return values
}
