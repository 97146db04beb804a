package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// judge is a Verifier that goes by what stands in the file.
type judge struct {
	entered, leave chan struct{} // nil: it does not wait
}

func (j judge) Verify(_ context.Context, file workflow.NamedFile, others []workflow.NamedFile, given bool) (workflow.VerifiedFile, error) {
	if j.entered != nil {
		j.entered <- struct{}{}
		<-j.leave
	}
	word := strings.TrimSpace(string(file.Content))
	at := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	jane := workflow.VerifiedSignature{By: "Jane Roe (Example Corp)", Verdict: workflow.VerdictValid, At: at}
	f := workflow.VerifiedFile{Name: file.Name, Size: int64(len(file.Content)), Verdict: workflow.Verdict(word), Report: strings.Repeat("1. signature in field \"A very long name of a field\"\n   result     TOTAL-PASSED\n", 5)}
	if given != (len(others) > 0) {
		return f, errors.New("what a form holds is given")
	}
	for _, o := range others {
		f.Signs = append(f.Signs, o.Name)
	}
	switch f.Verdict {
	case workflow.VerdictValid:
		f.Signatures = []workflow.VerifiedSignature{jane, {By: "Example Corp", Verdict: workflow.VerdictValid, At: at, Stamp: true}}
	case workflow.VerdictInvalid, workflow.VerdictChanged:
		f.Signatures = []workflow.VerifiedSignature{{By: "<script>alert(1)</script>", Verdict: workflow.VerdictInvalid, At: at}, {Verdict: workflow.VerdictOpen}}
	case workflow.VerdictOpen:
		f.Signatures = slices.Repeat([]workflow.VerifiedSignature{{By: "CN=Somebody", Verdict: workflow.VerdictOpen}}, maxListed+7)
	case "away":
		return f, errors.New("fork: secret.internal is out of memory")
	}
	return f, nil
}

// form is a body with one file.
func form(t *testing.T, field, name, content string) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = new(bytes.Buffer)
	w := multipart.NewWriter(body)
	p, err := w.CreateFormFile(field, name)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(p, content)
	w.Close()
	return body, w.FormDataContentType()
}

// checker is a site with a verification page.
func checker(t *testing.T, j judge) (send func(change func(*http.Request), field, name, content string) (int, string), url string) {
	t.Helper()
	st := newStage(t)
	site := serve(t, Config{Desk: st.fake, Mailbox: st.fake, Verifier: j, MaxFile: 1 << 20, Organisation: "Example GmbH", Domain: "sign.corp.test", Log: testLog(t)})
	return func(change func(*http.Request), field, name, content string) (int, string) {
		t.Helper()
		body, kind := form(t, field, name, content)
		r, err := http.NewRequest("POST", site.URL+"/verify", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", site.URL)
		if change != nil {
			change(r)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.Header.Get("Cache-Control") != "no-store" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: headers %v", content, res.Header)
		}
		return res.StatusCode, string(b)
	}, site.URL
}

// TestVerifyPage: words for each verdict and each refusal, and no word of a
// file is markup.
func TestVerifyPage(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		change            func(*http.Request)
		field, name, file string
		status            int
		says, neverSays   string
	}{
		{nil, "file", "lease.pdf", "valid", 200, "Every signature is valid", "NOT valid"},
		{nil, "file", `C:\Users\jane\lease.pdf`, "changed", 200, "CHANGED after it was signed", `C:\`},
		{nil, "file", "a.pdf", "invalid", 200, "&lt;script&gt;alert(1)", "<script>alert"},
		{nil, "file", `<img src=x onerror=alert(1)>.pdf`, "unsigned", 200, "&lt;img src=x", "<img src=x"},
		{nil, "file", "a.pdf", "open", 200, "7</p>", "is valid, and"},
		{nil, "file", "a.pdf", "unreadable", 200, "could not be read", ""},
		{nil, "file", "a.pdf", "away", 503, "try again in a moment", "secret.internal"},
		{nil, "file", "", "", 400, "No file was chosen", ""},
		{nil, "other", "a.pdf", "valid", 400, "No file was chosen", "Every signature is valid"},
		{nil, "file", "a.pdf", strings.Repeat("x", 1<<20), 413, "too large", ""},
		{header("Content-Type", "application/json"), "file", "a.pdf", "valid", 400, "did not arrive whole", ""},
		{header("Sec-Fetch-Site", "cross-site"), "file", "a.pdf", "valid", 403, "came from another site", "Every signature is valid"},
		{header("Origin", "https://evil.test"), "file", "a.pdf", "valid", 403, "came from another site", "Every signature is valid"},
		{header("Accept-Language", "de"), "file", "a.pdf", "valid", 200, "Alle Unterschriften sind gültig", ""},
		{header("Accept-Language", "fr"), "file", "a.pdf", "changed", 200, "MODIFIÉ après sa signature", ""},
	} {
		send, _ := checker(t, judge{})
		change := func(r *http.Request) {
			if r.Header.Del("Sec-Fetch-Site"); c.change != nil {
				c.change(r)
			}
		}
		status, body := send(change, c.field, c.name, c.file)
		if status != c.status || !strings.Contains(body, c.says) || c.neverSays != "" && strings.Contains(body, c.neverSays) {
			t.Errorf("%.20q %.20q: status %d, want %d with %q and without %q:\n%s", c.name, c.file, status, c.status, c.says, c.neverSays, body)
		}
	}
}

// The files that a detached signature is for come with it; an empty choice is none.
func TestVerifyPageDetached(t *testing.T) {
	st := newStage(t)
	site := serve(t, Config{Desk: st.fake, Mailbox: st.fake, Verifier: judge{}, MaxFile: 1 << 20, Organisation: "Example GmbH", Domain: "sign.corp.test", Log: testLog(t)})
	for name, c := range map[string]struct {
		verdict string
		signed  []string // names
		status  int
		says    string
	}{
		"one":         {"valid", []string{"offer.docx"}, 200, `<dt>Signs</dt><dd dir="auto">offer.docx</dd>`},
		"hostile":     {"valid", []string{"<b>.docx"}, 200, "&lt;b&gt;.docx"},
		"changed":     {"changed", []string{"a", "b"}, 200, "What was given is NOT what was signed"},
		"none chosen": {"valid", []string{""}, 200, "Every signature is valid"},
		"too many":    {"valid", slices.Repeat([]string{"x"}, maxSigned+1), 400, "too many files"},
	} {
		body := new(bytes.Buffer)
		w := multipart.NewWriter(body)
		for i, n := range append([]string{"offer.p7s"}, c.signed...) {
			field := "signed"
			if i == 0 {
				field = "file"
			}
			p, err := w.CreateFormFile(field, n)
			if err != nil {
				t.Fatal(err)
			}
			if n != "" {
				io.WriteString(p, c.verdict)
			}
		}
		w.Close()
		r, err := http.NewRequest("POST", site.URL+"/verify", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", w.FormDataContentType())
		r.Header.Set("Origin", site.URL)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(page), c.says) {
			t.Errorf("%s: %v, status %d, want %d with %q:\n%s", name, err, res.StatusCode, c.status, c.says, page)
		}
	}
}

// One client cannot have file after file judged, and a flood of them holds
// neither memory nor the children that requests for signatures need.
func TestVerifyIsBounded(t *testing.T) {
	send, _ := checker(t, judge{})
	var got []int
	for range 8 {
		status, _ := send(nil, "file", "a.pdf", "valid")
		got = append(got, status)
	}
	if want := append(slices.Repeat([]int{200}, 6), 429, 429); !slices.Equal(got, want) {
		t.Errorf("one client, one file after the other: %v, want %v", got, want)
	}

	j := judge{make(chan struct{}, 10), make(chan struct{})}
	send, _ = checker(t, j)
	statuses := make(chan int, 10)
	for range uploads + 1 {
		go func() {
			status, _ := send(nil, "file", "a.pdf", "valid")
			statuses <- status
		}()
	}
	<-j.entered
	if status := <-statuses; status != 503 { // nobody else can have an answer yet
		t.Errorf("one upload too many: %d", status)
	}
	if len(j.entered) != 0 {
		t.Error("two files are judged at once")
	}
	close(j.leave)
	for range uploads {
		if status := <-statuses; status != 200 {
			t.Errorf("a file that waited: %d", status)
		}
	}
}

// Where nobody judges there is no page.
func TestNoVerifyPage(t *testing.T) {
	st := newStage(t)
	for _, path := range []string{"/verify", "/"} {
		res, err := http.Get(st.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if path == "/verify" && res.StatusCode != 404 || strings.Contains(string(b), "Check a signed document") {
			t.Errorf("%s: %s\n%s", path, res.Status, b)
		}
	}
}

// TestVerifyInBrowser: without a script of ours, on a phone and a desktop.
func TestVerifyInBrowser(t *testing.T) {
	chrome := chromium.Launch(t)
	for _, w := range []chromium.Window{chromium.Phone, chromium.Small, {Name: "dark", W: 1280, H: 800, Dark: true}} {
		_, url := checker(t, judge{})
		b := open(t, chrome, w, url+"/")
		b.Sees("Check a signed document")
		b.Do(chromedp.Navigate(url + "/verify"))
		b.Sees("Choose a signed file")
		b.Accessible("verify")
		b.Shot(w.Name + "-form")
		for word, says := range map[string]string{"valid": "Every signature is valid", "changed": "CHANGED", "open": "More signatures", "unreadable": "could not be read"} {
			b.Lead(fmt.Sprintf(`(() => { const d = new DataTransfer(); d.items.add(new File([%q], "Lease agreement for the office in the Müllerstraße.pdf"));
				document.querySelector("input").files = d.files; document.querySelector("form").requestSubmit(); return true })()`, word))
			b.Sees(says)
			b.Accessible(word)
			b.Shot(w.Name + "-" + word)
		}
	}
}
