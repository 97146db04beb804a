package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"golang.org/x/text/language"

	"milterd/signature/pdf/font"
)

//go:embed static
var staticFiles embed.FS

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// languages are those of the catalogues, the default first.
var languages = []language.Tag{language.English, language.German, language.French}

var languageMatcher = language.NewMatcher(languages)

// assets serves the embedded files under a path that names their version, so
// that browsers may keep them for good.
type assets struct {
	files    fs.FS
	version  string
	catalogs map[string]map[string]string

	mu     sync.Mutex
	zipped map[string][]byte
}

func loadAssets() (*assets, error) {
	files, err := fs.Sub(staticFiles, "static")
	if err != nil {
		return nil, err
	}
	a := &assets{files: files, catalogs: map[string]map[string]string{}, zipped: map[string][]byte{}}
	h := sha256.New()
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		fmt.Fprintf(h, "%s %d\n", name, len(b))
		h.Write(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("static files: %w", err)
	}
	a.version = hex.EncodeToString(h.Sum(nil)[:6])
	for _, tag := range languages {
		b, err := fs.ReadFile(files, "i18n/"+tag.String()+".json")
		if err != nil {
			return nil, fmt.Errorf("static files: %w", err)
		}
		var c map[string]string
		if err := json.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("catalogue %s: %w", tag, err)
		}
		a.catalogs[tag.String()] = c
	}
	return a, nil
}

// types by ending: the machine's own list would differ from one to the next.
var types = map[string]string{
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".svg": "image/svg+xml", ".wasm": "application/wasm", ".ttf": "font/ttf",
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	info, err := fs.Stat(a.files, name)
	if err != nil || info.IsDir() || r.PathValue("version") != a.version {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	a.write(w, r, name)
}

func (a *assets) write(w http.ResponseWriter, r *http.Request, name string) {
	b, err := fs.ReadFile(a.files, name)
	if err != nil {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	t := types[path.Ext(name)]
	if t == "" {
		t = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", t)
	h.Add("Vary", "Accept-Encoding")
	if strings.HasSuffix(name, "pdf.worker.min.mjs") {
		h.Set("Content-Security-Policy", workerPolicy)
	}
	if len(b) > 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		b = a.gzip(name, b)
	}
	_, _ = w.Write(b)
}

// gzip packs a file the first time that somebody asks for it.
func (a *assets) gzip(name string, b []byte) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if z, ok := a.zipped[name]; ok {
		return z
	}
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	a.zipped[name] = buf.Bytes()
	return a.zipped[name]
}

func (a *assets) icon(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=86400")
	a.write(w, r, "icon.svg")
}

func robots(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("User-agent: *\nDisallow: /\n"))
}

// view is what the templates are given.
type view struct {
	Lang         string
	Assets       string // /static/VERSION
	Organisation string
	Domain       string
	Printed      string // characters that signatures can show: font.Ranges
	Text         map[string]string
	Verify       bool // there is a verification page
}

func (s *site) view(r *http.Request) view {
	_, i := language.MatchStrings(languageMatcher, r.Header.Get("Accept-Language"))
	lang := languages[i].String()
	return view{lang, "/static/" + s.assets.version, s.Organisation, s.Domain, font.Ranges(), s.assets.catalogs[lang], s.Verifier != nil}
}

func (s *site) render(w http.ResponseWriter, r *http.Request, status int, name string) {
	s.renderAs(w, status, name, s.view(r))
}

func (s *site) renderAs(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		s.Log.Error("web: page failed", "page", name, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-cache")
	}
	h.Set("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (s *site) signPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "sign.html")
}

func (s *site) startPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "start.html")
}

func (s *site) notFound(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusNotFound, "missing.html")
}
