package trustlist_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"milterd/pki/trustlist"
)

// publisher serves lists as the test says.
type publisher struct {
	*httptest.Server
	d     *desk
	fail  atomic.Int32 // so many requests
	how   atomic.Value // http.HandlerFunc that answers instead
	calls atomic.Int32
	same  atomic.Int32 // answered 304
}

func newPublisher(t *testing.T) (*publisher, *desk) {
	d := newDesk(t)
	p := &publisher{d: d}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.calls.Add(1)
		if p.fail.Add(-1) >= 0 {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		if f, ok := p.how.Load().(http.HandlerFunc); ok && f != nil {
			f(w, r)
			return
		}
		rec := httptest.NewRecorder()
		d.union.ServeHTTP(rec, r)
		if rec.Code == http.StatusNotModified {
			p.same.Add(1)
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(p.Close)
	d.union.Base = p.URL + "/"
	must(t, 0, d.union.Sign(now))
	for _, f := range []string{"EU.xml", "EE.xml"} {
		must(t, 0, os.Remove(filepath.Join(d.folder, f)))
	}
	d.config.LOTL, d.config.Client, d.config.Timeout = p.URL+"/EU.xml", p.Client(), 5*time.Second
	return p, d
}

func TestRefresh(t *testing.T) {
	p, d := newPublisher(t)
	l := d.open(t)
	if _, err := l.Vouch(d.leaf, nil, now); reason(err) != trustlist.ListMissing {
		t.Fatalf("before: %v", err)
	}
	p.fail.Store(1) // tried again
	must(t, 0, l.Refresh(t.Context()))
	if _, err := l.Vouch(d.leaf, nil, now); err != nil {
		t.Fatal(err)
	}
	if _, err := d.open(t).Vouch(d.leaf, nil, now); err != nil {
		t.Errorf("from the folder: %v", err)
	}
	must(t, 0, l.Refresh(t.Context()))
	if p.same.Load() != 2 {
		t.Errorf("%d lists were not fetched again, want 2", p.same.Load())
	}
	d.union.Lists[0].Sequence, d.union.Lists[0].Age = 8, time.Minute
	must(t, 0, d.union.Sign(now))
	must(t, 0, l.Refresh(t.Context()))
	if e, err := l.Vouch(d.leaf, nil, now); err != nil || e.Sequence != 8 {
		t.Errorf("%+v %v", e, err)
	}
	// The file was changed by hand: the server is asked without conditions.
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "EE.xml"), []byte("<x/>"), 0o644))
	must(t, 0, l.Refresh(t.Context()))
	if _, err := d.open(t).Vouch(d.leaf, nil, now); err != nil {
		t.Errorf("mended: %v", err)
	}
}

// Whatever a server does, the list in the folder stays.
func TestRefreshKeepsTheOld(t *testing.T) {
	p, d := newPublisher(t)
	l := d.open(t)
	must(t, 0, l.Refresh(t.Context()))
	good := bytes.Clone(d.union.Files["EE.xml"])
	older := func() []byte {
		d.union.Lists[0].Sequence = 6
		must(t, 0, d.union.Sign(now))
		return d.union.Files["EE.xml"]
	}()
	d.config.Timeout = time.Second
	l = d.open(t)
	plain := httptest.NewServer(d.union) // serves what would be taken
	t.Cleanup(plain.Close)
	serve := func(f func(w http.ResponseWriter, r *http.Request)) func() {
		return func() { p.how.Store(http.HandlerFunc(f)) }
	}
	for _, c := range []struct {
		name string
		do   func()
		want trustlist.Reason
	}{
		{"away", func() { p.fail.Store(100) }, trustlist.ListUnreachable},
		{"another page", serve(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>log in</html>")) }), trustlist.ListTampered},
		{"an older list", serve(func(w http.ResponseWriter, r *http.Request) { w.Write(older) }), trustlist.ListTampered},
		{"not modified", serve(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }), ""},
		{"a redirect to http", serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, plain.URL+r.URL.Path, http.StatusFound)
		}), trustlist.ListUnreachable},
		{"redirects without end", serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }), trustlist.ListUnreachable},
		{"bytes without end", serve(func(w http.ResponseWriter, r *http.Request) {
			for b := make([]byte, 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}), trustlist.ListUnreachable},
		{"silence", serve(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), trustlist.ListUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.fail.Store(0)
			c.do()
			err := l.Refresh(t.Context())
			if reason(err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, err := l.Vouch(d.leaf, nil, now); err != nil {
				t.Errorf("the old list does not count: %v", err)
			}
			if have, err := os.ReadFile(filepath.Join(d.folder, "EE.xml")); err != nil || !bytes.Equal(have, good) {
				t.Errorf("the file has changed: %v", err)
			}
		})
	}
	// The national list alone is an older one, well signed.
	p.fail.Store(0)
	p.how.Store(http.HandlerFunc(nil))
	if err := l.Refresh(t.Context()); reason(err) != trustlist.ListRolledBack {
		t.Errorf("rolled back by the server: %v", err)
	}
	if e, err := l.Vouch(d.leaf, nil, now); err != nil || e.Sequence != 7 {
		t.Errorf("%+v %v", e, err)
	}
}

// Without an address nothing is fetched, and what the administrator puts into the
// folder counts.
func TestOffline(t *testing.T) {
	p, d := newPublisher(t)
	d.config.LOTL = ""
	l := d.open(t)
	must(t, 0, l.Refresh(t.Context()))
	if _, err := l.Vouch(d.leaf, nil, now); reason(err) != trustlist.ListMissing {
		t.Errorf("nothing there: %v", err)
	}
	must(t, 0, d.union.Write(d.folder))
	must(t, 0, l.Refresh(t.Context()))
	if _, err := l.Vouch(d.leaf, nil, now); err != nil {
		t.Error(err)
	}
	if p.calls.Load() != 0 {
		t.Errorf("%d requests", p.calls.Load())
	}
}

// A pointer without https is not followed; the list can be put there by hand.
func TestPlainHTTP(t *testing.T) {
	_, d := newPublisher(t)
	d.union.Base = strings.Replace(d.union.Base, "https:", "http:", 1)
	must(t, 0, d.union.Sign(now))
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "EE.xml"), d.union.Files["EE.xml"], 0o644))
	l := d.open(t)
	err := l.Refresh(t.Context())
	if reason(err) != trustlist.ListUnreachable || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("got %v", err)
	}
	if _, err := l.Vouch(d.leaf, nil, now); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(l.Status(), func(s trustlist.Status) bool { return s.Territory == "EE" && s.Services == 1 && s.Reason == "" }) {
		t.Errorf("%+v", l.Status())
	}
}

// A refresh that cannot keep what it fetched must not make the old file one that was rolled
// back.
func TestFolderThatCannotBeWritten(t *testing.T) {
	_, d := newPublisher(t)
	l := d.open(t)
	must(t, 0, l.Refresh(t.Context()))
	d.union.Lists[0].Sequence = 8
	must(t, 0, d.union.Sign(now))
	// A folder in the file's place: nothing can be renamed onto it.
	kept, err := os.ReadFile(filepath.Join(d.folder, "EE.xml"))
	must(t, kept, err)
	must(t, 0, os.Remove(filepath.Join(d.folder, "EE.xml")))
	must(t, 0, os.MkdirAll(filepath.Join(d.folder, "EE.xml", "x"), 0o755))
	if err := l.Refresh(t.Context()); reason(err) != trustlist.ListUnreachable {
		t.Errorf("got %v", err)
	}
	must(t, 0, os.RemoveAll(filepath.Join(d.folder, "EE.xml")))
	must(t, 0, os.WriteFile(filepath.Join(d.folder, "EE.xml"), kept, 0o644))
	if e, err := d.open(t).Vouch(d.leaf, nil, now); err != nil || e.Sequence != 7 {
		t.Errorf("%+v %v", e, err)
	}
}

// Questions are answered while lists are refreshed (go test -race).
func TestAtOnce(t *testing.T) {
	_, d := newPublisher(t)
	l := d.open(t)
	must(t, 0, l.Refresh(t.Context()))
	done := make(chan error)
	for range 4 {
		go func() {
			for range 50 {
				if _, err := l.Vouch(d.leaf, nil, now); err != nil {
					done <- err
					return
				}
				l.Status()
			}
			done <- nil
		}()
	}
	for range 5 {
		must(t, 0, l.Refresh(t.Context()))
	}
	for range 4 {
		must(t, 0, <-done)
	}
}
