package web

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
)

// tab is a page of ours in the browser.
type tab struct {
	*chromium.Tab
}

// blank is a new tab with cookies of its own.
func blank(t *testing.T, chrome context.Context, w chromium.Window) *tab {
	t.Helper()
	return &tab{chromium.Blank(t, chrome, w)}
}

// open loads an address in a new tab.
func open(t *testing.T, chrome context.Context, w chromium.Window, address string) *tab {
	t.Helper()
	b := blank(t, chrome, w)
	b.Do(chromedp.Navigate(address))
	return b
}

func eval[T any](b *tab, js string) T {
	b.T.Helper()
	return chromium.Eval[T](b.Tab, js)
}

// cookie lets the tab's browser be one that has proven a mailbox.
func (b *tab) cookie(site, value string) {
	b.T.Helper()
	chromium.Protocol(b.Tab, network.SetCookie, network.SetCookieParams{Name: deviceCookie, Value: value, URL: site, Path: "/",
		HTTPOnly: new(true), SameSite: network.CookieSameSiteStrict})
}

// within lets a part of a test use the tab of the whole, until what it gives is called.
func (b *tab) within(t *testing.T) func() {
	whole := b.T
	b.T = t
	return func() { b.T = whole }
}

// painted waits until the first page of the first document is drawn, and not blank.
func (b *tab) painted() {
	b.T.Helper()
	b.Until("waiting for the document", `document.querySelector(".page.drawn canvas")`)
	dark := eval[int](b, `(() => { const c = document.querySelector(".page.drawn canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i] < 128) n++; return n; })()`)
	if dark < 500 {
		b.T.Errorf("the first page is blank: %d dark pixels\n%v", dark, b.Complaints())
	}
}
