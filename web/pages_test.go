package web

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestBundle rebuilds what go generate makes and compares it with what is committed.
func TestBundle(t *testing.T) {
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^//go:generate go tool esbuild (.*--outfile=)(\S+)(.*)$`).FindAllStringSubmatch(string(src), -1)
	if len(lines) != 2 {
		t.Fatalf("%d go:generate lines, want 2", len(lines))
	}
	for _, l := range lines {
		out := filepath.Join(t.TempDir(), "out")
		args := append([]string{"tool", "esbuild"}, strings.Fields(l[1]+out+filepath.Ext(l[2])+l[3])...)
		if b, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("esbuild: %v\n%s", err, b)
		}
		got, err := os.ReadFile(out + filepath.Ext(l[2]))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(l[2])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what ui makes: run go generate ./web", l[2])
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(want)
		w.Close()
		t.Logf("%s: %d bytes, %d packed", l[2], len(want), z.Len())
		if z.Len() > 30_000 {
			t.Errorf("%s: %d bytes packed; issue 4 allows 30 kB", l[2], z.Len())
		}
	}
}

// TestCatalogues wants the same keys with the same {names} in each language,
// and every key that the code names.
func TestCatalogues(t *testing.T) {
	a, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\{\w+\}`)
	find := func(s string) []string {
		n := names.FindAllString(s, -1)
		slices.Sort(n)
		return slices.Compact(n)
	}
	en := a.catalogs["en"]
	for lang, c := range a.catalogs {
		if len(c) != len(en) {
			t.Errorf("%s has %d texts, en has %d", lang, len(c), len(en))
		}
		for k, v := range c {
			if v == "" || !slices.Equal(find(v), find(en[k])) {
				t.Errorf("%s %s: %q against %q", lang, k, v, en[k])
			}
		}
	}
	// "de Alice" is a mistake, "d’Bernard" another: no name stands behind such a word.
	elided := regexp.MustCompile(`(?i)\b(de|que|jusque)(\s|$)(\{(name|device|organisation|mail|by)\}|$)|[’']\{`)
	for k, v := range a.catalogs["fr"] {
		if elided.MatchString(v) {
			t.Errorf("fr %s: %q would have to be elided before some names", k, v)
		}
	}
	used := regexp.MustCompile(`\bt\("([a-z0-9.-]+)"[,)]`)
	files, err := filepath.Glob("ui/*.ts")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range used.FindAllStringSubmatch(string(b), -1) {
			if en[m[1]] == "" && en[m[1]+".other"] == "" {
				t.Errorf("%s names %q, which no catalogue has", f, m[1])
			}
		}
	}
	// Every reason with a status has words.
	for reason := range statuses {
		if en["error."+reason] == "" && en["error."+reason+"-tries.other"] == "" {
			t.Errorf("reason %s has no words", reason)
		}
	}
}

func TestAssets(t *testing.T) {
	st := newStage(t)
	h, err := New(Config{Desk: st.fake, Mailbox: st.fake, Organisation: `A <b>"C"</b>`, URL: "https://sign.corp.test", Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	base := "/static/" + a.version
	for path, want := range map[string]string{
		"/app.js": "text/javascript; charset=utf-8", "/app.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml",
		"/i18n/de.json": "application/json", "/pdfjs/pdf.min.mjs": "text/javascript; charset=utf-8",
		"/pdfjs/wasm/openjpeg.wasm": "application/wasm", "/pdfjs/cmaps/UniJIS-UTF16-H.bcmap": "application/octet-stream",
		"/pdfjs/standard_fonts/FoxitSerif.pfb": "application/octet-stream",
	} {
		w := ask(h, "GET", base+path, "Accept-Encoding", "gzip, br")
		if w.Code != 200 || w.Header().Get("Content-Type") != want || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		plain := ask(h, "GET", base+path).Body.Bytes()
		got := w.Body.Bytes()
		if w.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, plain) {
			t.Errorf("%s: packed and plain differ", path)
		}
	}
	if got := ask(h, "GET", base+"/pdfjs/pdf.worker.min.mjs").Header().Get("Content-Security-Policy"); got != workerPolicy {
		t.Errorf("the worker's policy: %q", got)
	}
	for _, path := range []string{"/static/old/app.js", base + "/", base + "/nothing", base + "/../web.go", base + "/pdfjs"} {
		if w := ask(h, "GET", path); w.Code == 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for path, status := range map[string]int{"/": 200, "/s": 200, "/nothing": 404} {
		w := ask(h, "GET", path, "Accept-Language", "fr-CH, de;q=0.5")
		if w.Code != status || !strings.Contains(w.Body.String(), `lang="fr"`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), "<b>") || strings.Contains(w.Body.String(), "<no value>") {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
}

// TestVendored wants the licence beside each library that we ship.
func TestVendored(t *testing.T) {
	for _, f := range []string{"static/pdfjs/LICENSE", "static/pdfjs/cmaps/LICENSE", "static/pdfjs/standard_fonts/LICENSE_FOXIT",
		"static/pdfjs/standard_fonts/LICENSE_LIBERATION", "static/pdfjs/wasm/LICENSE_OPENJPEG", "static/pdfjs/iccs/LICENSE",
		"ui/vendor/signature_pad.LICENSE", "../internal/chromium/axe/LICENSE"} {
		if b, err := os.ReadFile(f); err != nil || len(b) < 300 {
			t.Errorf("%s: %d bytes, %v", f, len(b), err)
		}
	}
	var c map[string]string
	b, err := os.ReadFile("static/i18n/en.json")
	if err != nil || json.Unmarshal(b, &c) != nil {
		t.Error("catalogue", err)
	}
}
