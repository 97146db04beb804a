package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"milterd/bench/internal/probe"
	"milterd/demo"
	"milterd/internal/chromium"
	"milterd/internal/rig"
)

const (
	maxScript = 30_000 // bytes of our own script, packed
	loads     = 7
	slow      = 4 // times slower: a phone's processor
)

// page weighs the page and says when it is ready.
func page(ctx context.Context, binary, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	site, err := rig.Open(ctx, rig.Options{Setup: rig.Setup{Binary: binary, Dir: dir, Log: io.Discard}})
	if err != nil {
		return err
	}
	defer site.Close()
	if _, err := site.Place.Start(ctx); err != nil {
		return err
	}
	if err := weigh(ctx, site.Place.Pages); err != nil {
		return err
	}
	if _, _, err := site.Send(ctx); err != nil {
		return err
	}
	invitation, err := letter(ctx, site, func(m *demo.Message) bool { return m.Link() != "" && m.Code() == "" })
	if err != nil {
		return err
	}
	return ready(ctx, site, invitation.Link())
}

// letter waits for a mail.
func letter(ctx context.Context, site *rig.Site, fits func(*demo.Message) bool) (*demo.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for next := 1; ctx.Err() == nil; {
		l := site.Boxes.Letter(next)
		if l == nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		next++
		if m, err := l.Open(); err == nil && fits(m) {
			return m, nil
		}
	}
	return nil, errors.New("no such mail came within a minute")
}

var asset = regexp.MustCompile(`/static/[^"]+\.(js|css)`)

// weigh adds up what the page brings along, without pdf.js.
func weigh(ctx context.Context, base string) error {
	html, err := get(ctx, base+"/s")
	if err != nil {
		return err
	}
	sizes, seen := map[string]int{}, map[string]bool{}
	for _, m := range asset.FindAllStringSubmatch(string(html), -1) {
		if strings.Contains(m[0], "pdfjs") || seen[m[0]] {
			continue
		}
		seen[m[0]] = true
		b, err := get(ctx, base+m[0])
		if err != nil {
			return err
		}
		var packed counter
		z := gzip.NewWriter(&packed)
		z.Write(b)
		z.Close()
		sizes[m[1]] += int(packed)
	}
	fmt.Printf("own: the page's own script %.1f kB packed (bound %d), style %.1f kB, without pdf.js\n",
		float64(sizes["js"])/1000, maxScript/1000, float64(sizes["css"])/1000)
	switch {
	case sizes["js"] == 0:
		return errors.New("the page has no script")
	case sizes["js"] > maxScript:
		return errors.New("the page's script is over its bound")
	}
	return nil
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

func get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", address, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// ready measures from the navigation to the button that can be pressed: the one
// that asks for a code on a new device, and Sign, with the document drawn and
// its digest checked, on one that is remembered. The cache is warm in all but
// the first load, which is not counted.
func ready(ctx context.Context, site *rig.Site, link string) error {
	opts, err := chromium.Options(filepath.Join(site.Dir, "profile"))
	if err != nil {
		return err
	}
	ctx, cancel := chromedp.NewExecAllocator(ctx, opts...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile)); err != nil {
		return err
	}
	const ask = `[...document.querySelectorAll("button")].find(b => b.innerText.trim() === "Send me a code" && !b.disabled)`
	const sign = `document.querySelector(".page.drawn canvas") && [...document.querySelectorAll(".bar .primary")].find(b => !b.disabled)`
	locked, err := load(ctx, link, ask)
	if err != nil {
		return err
	}
	if _, err := eval[bool](ctx, ask+".click(), true"); err != nil {
		return err
	}
	m, err := letter(ctx, site, func(m *demo.Message) bool { return m.Code() != "" })
	if err != nil {
		return err
	}
	_, err = eval[bool](ctx, fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event("input", {bubbles: true})); f.form.requestSubmit(); return true; })(document.querySelector(".digits"))`, m.Code()))
	if err != nil {
		return err
	}
	if err := until(ctx, sign); err != nil {
		return err
	}
	review, err := load(ctx, link, sign)
	if err != nil {
		return err
	}
	if _, err := chromedp.Call(ctx, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: slow}); err != nil {
		return err
	}
	phone, err := load(ctx, link, sign)
	if err != nil {
		return err
	}
	fmt.Printf("own: page ready, ms from the navigation: for a code %s; to sign, document drawn %s; the same with a processor %d times slower %s\n",
		probe.Spread(locked, 0), probe.Spread(review, 0), slow, probe.Spread(phone, 0))
	return nil
}

// load opens a link again and again, and gives the milliseconds to the state
// that a script looks for, by the page's own clock.
func load(ctx context.Context, link, state string) (took []float64, err error) {
	for i := range loads + 1 {
		if err := chromedp.Do(ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(link)); err != nil {
			return nil, err
		}
		ms, err := eval[float64](ctx, `new Promise(y => { const look = () => (`+state+`) ? y(performance.now()) : setTimeout(look, 5); look(); })`)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			took = append(took, ms)
		}
	}
	return took, nil
}

func until(ctx context.Context, state string) error {
	_, err := eval[float64](ctx, `new Promise(y => { const look = () => (`+state+`) ? y(1) : setTimeout(look, 20); look(); })`)
	return err
}

func eval[T any](ctx context.Context, js string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}
