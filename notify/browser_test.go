package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// shots is where pictures go that somebody wants to look at.
var shots = os.Getenv("MILTERD_SHOTS")

func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is not there: apt-get install -y %s", program, pkg)
	}
	return path
}

func zbar(t *testing.T, png []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "qr.png")
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(need(t, "zbarimg", "zbar-tools"), "--quiet", "--raw", file).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func TestQR(t *testing.T) {
	for _, link := range []string{
		testLink,
		"http://localhost:8443/s#q83vEjRWeJCrze8SNFZ4kA",
		"https://signatures.department.very-long-organisation-name.example/s#q83vEjRWeJCrze8SNFZ4kA",
	} {
		b, err := qrPNG(link)
		if err != nil {
			t.Fatal(err)
		}
		if got := zbar(t, b); got != link {
			t.Errorf("zbarimg read %q, want %q", got, link)
		}
		img, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if img.Bounds() != image.Rect(0, 0, qrSize, qrSize) {
			t.Errorf("%s: size %v", link, img.Bounds())
		}
		quiet(t, img)
	}
}

// quiet checks the four modules around the symbol, on every side, and that
// every pixel is opaque black or white.
func quiet(t *testing.T, img image.Image) {
	t.Helper()
	var dark image.Rectangle
	for y := range qrSize {
		for x := range qrSize {
			switch color.NRGBAModel.Convert(img.At(x, y)) {
			case color.NRGBA{0, 0, 0, 255}:
				dark = dark.Union(image.Rect(x, y, x+1, y+1))
			case color.NRGBA{255, 255, 255, 255}:
			default:
				t.Fatalf("pixel %d,%d is neither black nor white", x, y)
			}
		}
	}
	module := 0 // a finder pattern's edge is seven modules long
	for img.At(dark.Min.X+module, dark.Min.Y) == img.At(dark.Min.X, dark.Min.Y) {
		module++
	}
	need := 4*module/7 - 1
	if dark.Min.X < need || dark.Min.Y < need || qrSize-dark.Max.X < need || qrSize-dark.Max.Y < need {
		t.Errorf("quiet zone: symbol at %v in %d pixels, want %d around it", dark, qrSize, need)
	}
}

// lookScript finds what would make a mail hard to read: text with too little
// contrast against the colour behind it (WCAG 2.1, 1.4.3), anything that makes
// the page wider than the screen, pictures without words.
const lookScript = `(() => {
  const out = [];
  const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
  const lum = c => { const f = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; n = walk.nextNode();) {
    if (!n.data.trim()) continue;
    const e = n.parentElement, a = lum(rgb(getComputedStyle(e).color)), b = lum(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) out.push('contrast ' + ratio.toFixed(2) + ': ' + n.data.trim().slice(0, 40));
    if (parseFloat(getComputedStyle(e).fontSize) < 12) out.push('small: ' + n.data.trim().slice(0, 40));
  }
  if (document.documentElement.scrollWidth > innerWidth) out.push('wider than the screen: ' + document.documentElement.scrollWidth);
  for (const i of document.images) { if (!i.alt) out.push('picture without words'); if (!i.naturalWidth) out.push('broken picture'); }
  for (const t of document.querySelectorAll('table')) if (t.getAttribute('role') !== 'presentation') out.push('table without role');
  if (document.querySelectorAll('h1').length !== 1) out.push('not one h1');
  return out;
})()`

func TestLooks(t *testing.T) {
	ctx, cancel := context.WithTimeout(chromium.Launch(t), 12*time.Minute) // a busy machine takes four
	defer cancel()
	n := testNotifier(t, Relay{})
	var html []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mail" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write(html)
		}
	}))
	defer srv.Close()
	var mu sync.Mutex
	var asked []string
	if err := chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, "data:") {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, strings.TrimPrefix(e.Request.URL, srv.URL))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, name string, notice workflow.Notice) {
		raw, err := n.Compose(notice)
		if err != nil {
			t.Fatal(err)
		}
		m := parse(t, raw)
		html = []byte(m.html)
		if m.png != nil {
			html = bytes.ReplaceAll(html, []byte("cid:"+m.cid), []byte("data:image/png;base64,"+base64.StdEncoding.EncodeToString(m.png)))
		}
		if err := chromedp.Do(ctx, chromedp.Navigate(srv.URL+"/mail")); err != nil {
			t.Fatal(err)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{320, 390, 700} {
				faults, shot := look(t, ctx, scheme, width, m.png != nil || shots != "")
				for _, f := range faults {
					t.Errorf("%s at %d px: %s", scheme, width, f)
				}
				if m.png != nil {
					if got := zbar(t, shot); got != notice.Link {
						t.Errorf("%s at %d px: zbarimg read %q on the screen, want %q", scheme, width, got, notice.Link)
					}
				}
				if shots != "" {
					file := filepath.Join(shots, strings.Join([]string{name, scheme, string(rune('0'+width/100)) + "xx.png"}, "."))
					if err := os.WriteFile(file, shot, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if len(asked) == 0 {
		t.Error("saw no request at all")
	}
	for _, url := range asked {
		if url != "/mail" && url != "/favicon.ico" {
			t.Errorf("a mail loads %s", url)
		}
	}
}

// look looks at a page as a screen of this width shows it, and takes a picture
// where one is wanted.
func look(t *testing.T, ctx context.Context, scheme string, width int64, picture bool) (faults []string, shot []byte) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 844, DeviceScaleFactor: 1, Mobile: width < 500,
	})
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
	}
	if err == nil {
		faults, err = chromedp.Run(ctx, chromedp.Evaluate[[]string](lookScript))
	}
	if err == nil && picture {
		shot, err = chromedp.Run(ctx, chromedp.FullScreenshot(100))
	}
	if err != nil {
		t.Fatalf("%s at %d px: %v", scheme, width, err)
	}
	return faults, shot
}
