package web

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/signature/cms"
	"milterd/workflow"
)

// picture is a small PNG.
func picture(t *testing.T) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 640, 200))
	for x := range 640 {
		for y := range 200 {
			m.Set(x, y, color.RGBA{uint8(x / 3), uint8(y), 120, 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// add puts a file that is no PDF into a session.
func (st *stage) add(s *workflow.Session, name, kind string, form workflow.Form, sight workflow.Sight, content []byte) {
	st.content[name] = content
	s.Documents = append(s.Documents, workflow.Document{Name: name, Kind: workflow.Mailed, Form: form, Type: kind, Sight: sight,
		Revisions: []workflow.Revision{{Kind: workflow.Original, Size: int64(len(content)), SHA256: sha256.Sum256(content), Person: -1}}})
}

const word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

// TestFiles shows what is no PDF as far as a page can, and signs it without a pen.
func TestFiles(t *testing.T) {
	browser := chromium.Launch(t)
	for _, w := range []chromium.Window{chromium.Phone, chromium.Desktop, chromium.Small} {
		t.Run(w.Name, func(t *testing.T) {
			st := newStage(t)
			tok := token("files" + w.Name)
			ses := session(t, "files"+w.Name)
			st.add(ses, "terms & <b>more</b>.txt", "text/plain", workflow.ASiC, workflow.AsText, []byte("1. Pay.\r\n\t2. <script>alert(1)</script> \u202egnihton yap\u202c \u200b.\n"+strings.Repeat("word ", 400)))
			st.add(ses, "invoice.xml", "application/xml", workflow.XAdES, workflow.AsText, []byte("<?xml version=\"1.0\"?>\n<a b='c'>&amp;</a>\n"))
			ses.Documents[1].Notes = []string{"comments"}
			st.add(ses, "plan.png", "image/png", workflow.ASiC, workflow.AsPicture, picture(t))
			st.add(ses, "broken.png", "image/png", workflow.ASiC, workflow.AsPicture, []byte("\x89PNG\r\n\x1a\nno more"))
			st.add(ses, "offer.docx", word, workflow.ASiC, workflow.AsFile, []byte("PK\x03\x04"))
			st.visits[tok] = workflow.Visit{Session: ses, Person: 1}
			st.cookies["known"] = "jane.doe@corp.test"
			b := blank(t, browser, w)
			b.cookie(st.URL, "known")
			b.Expect = append(b.Expect, "broken.png") // nothing of it is complained of
			b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
			b.Until("everything is loaded", `!document.querySelector(".bar .primary")?.disabled && document.querySelectorAll(".nosight").length === 2`)
			b.Accessible("files")
			b.Shot("1-files")
			text := eval[string](b, `document.querySelector(".plain").textContent`)
			if !strings.HasPrefix(text, "1. Pay.\n\t2. <script>alert(1)</script> U+202Egnihton yapU+202C U+200B.\nword ") {
				t.Errorf("the text is shown as %.100q", text)
			}
			if n := eval[int](b, `document.querySelectorAll(".plain mark").length`); n != 3 {
				t.Errorf("%d invisible characters are named, want 3", n)
			}
			if got := eval[string](b, `document.querySelectorAll(".plain")[1].textContent`); got != string(st.content["invoice.xml"]) {
				t.Errorf("XML is shown as %q", got)
			}
			if n := eval[int](b, `document.querySelector("img.picture").naturalWidth`); n != 640 {
				t.Errorf("the picture is %d pixels wide", n)
			}
			if eval[bool](b, `!!document.querySelector(".toolbar")`) {
				t.Error("what has no pages has a toolbar for them")
			}
			if wide := eval[bool](b, `document.documentElement.scrollWidth > innerWidth`); wide {
				t.Error("the page is wider than the window")
			}
			b.Sees("which the signature does not cover")
			b.Sees("This page cannot show this file.")
			b.Press("Sign 5 documents")
			b.Sees("This page could not show you broken.png and offer.docx")
			if eval[bool](b, `!!document.querySelector("dialog .ink")`) {
				t.Error("there is a pad, and nothing to draw into")
			}
			b.Accessible("sheet")
			b.Shot("2-sheet")
			b.Press("Send me a code to sign")
			b.enter("dialog .digits", fakeCode)
			b.Press("Sign 5 documents")
			b.Sees("Your signature is being placed")
			st.mu.Lock()
			if len(st.signed) != 1 || st.signed[0].Typed != "Jane Doe" || len(st.shown) != 5 {
				t.Errorf("signed %+v, shown %+v", st.signed, st.shown)
			}
			for i, sh := range st.shown {
				if sh.SHA256 != sha256.Sum256(st.content[ses.Documents[i].Name]) || sh.Revision != 0 {
					t.Errorf("shown: %+v", sh)
				}
			}
			container := []byte("PK\x03\x04 a container")
			st.content["offer.docx"] = container
			d := &ses.Documents[4]
			d.Revisions = append(d.Revisions, workflow.Revision{Number: 1, Kind: workflow.Archive, Size: int64(len(container)), SHA256: sha256.Sum256(container), Cut: 4})
			finish(t, st, ses)
			st.mu.Unlock()
			b.Sees("Everything is signed")
			b.Sees("offer.docx.asice")
			b.Accessible("done")
			b.Shot("3-done")
			eval[bool](b, `document.querySelector('[aria-label="Download offer.docx"]').click(), true`)
			path := filepath.Join(b.Downloads, "offer.docx.asice")
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if got, err := os.ReadFile(path); err == nil && bytes.Equal(got, container) {
					return
				}
			}
			t.Errorf("%s was not downloaded", path)
		})
	}
}

// TestOwnKeyOnFiles signs a PDF, a text in a container and a text in a message with
// the device's own key; what a server could swap, the page finds.
func TestOwnKeyOnFiles(t *testing.T) {
	chrome := chromium.Launch(t)
	text := []byte("We agree.\n")
	name := "terms & <conditions> für 50 %.txt"
	// attributes fits the attributes to a manifest.
	attributes := func(p *workflow.Prepared, over []byte, own *x509.Certificate, at time.Time, mime string) {
		h := sha256.Sum256(over)
		var err error
		if p.Attributes, err = cms.CAdESAttributes(cms.ES256, h[:], own, at, mime, ""); err != nil {
			panic(err)
		}
	}
	fits := func(change func([]byte) []byte) func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
		return func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			if bytes.Contains(b, []byte("/ByteRange")) {
				return b
			}
			if b = change(b); len(b) > 0 {
				attributes(p, b, own, time.Now(), "application/xml")
			}
			return b
		}
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if len(b) > 0 && !bytes.Contains(b, []byte(old)) {
				panic(old)
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	sum, other := sha256.Sum256(text), sha256.Sum256([]byte("We agree to more.\n"))
	digest, swapped := base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(other[:])
	reference := `<asic:DataObjectReference URI="more.txt" MimeType="text/plain"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>` + swapped + "</ds:DigestValue></asic:DataObjectReference>\n"
	stages, tabs := map[workflow.Form]*stage{}, map[workflow.Form]*tab{}
	for _, form := range []workflow.Form{workflow.ASiC, workflow.CAdES} {
		st, tok := advanced(t, "contract.pdf")
		st.locked(func() { st.add(st.visits[tok].Session, name, "text/plain", form, workflow.AsText, text) })
		tabs[form], _ = st.enrolled(t, blank(t, chrome, chromium.Phone), tok)
		stages[form] = st
	}
	for _, c := range []struct {
		name, failed string
		form         workflow.Form
		swap         func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte
	}{
		{"another content", "manifest", workflow.ASiC, fits(replace(digest, swapped))},
		{"another name", "manifest", workflow.ASiC, fits(replace("terms", "terns"))},
		{"another type", "manifest", workflow.ASiC, fits(replace(`MimeType="text/plain"`, `MimeType="text/html"`))},
		{"one more file", "manifest", workflow.ASiC, fits(replace("</asic:ASiCManifest>", reference+"</asic:ASiCManifest>"))},
		{"something behind", "manifest", workflow.ASiC, fits(func(b []byte) []byte { return append(b, "<!-- -->"...) })},
		{"no manifest", "manifest", workflow.ASiC, fits(func(b []byte) []byte { return nil })},
		{"attributes of another manifest", "message-digest", workflow.ASiC, func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			if !bytes.Contains(b, []byte("/ByteRange")) {
				attributes(p, text, own, time.Now(), "application/xml")
			}
			return b
		}},
		{"a message about another file", "message-digest", workflow.CAdES, func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			if len(b) == 0 {
				attributes(p, []byte("We agree to more.\n"), own, time.Now(), "text/plain")
			}
			return b
		}},
		{"a message of another type", "attributes", workflow.CAdES, func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			if len(b) == 0 {
				attributes(p, text, own, time.Now(), "text/html")
			}
			return b
		}},
		{"no time", "attributes", workflow.CAdES, func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			if len(b) == 0 {
				var err error
				if p.Attributes, err = cms.SignedAttributes(cms.ES256, sum[:], own); err != nil {
					panic(err)
				}
			}
			return b
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, b := stages[c.form], tabs[c.form]
			defer b.within(t)()
			st.locked(func() { st.own.log, st.swap = nil, c.swap })
			b.Press("Sign 2 documents")
			b.Sees("What was prepared is not what this page has shown you")
			for end := time.Now().Add(10 * time.Second); !strings.Contains(st.calls(), "abandon") && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
			if got, want := st.calls(), "prepare abandon "+c.failed; got != want {
				t.Errorf("the page called %q, want %q", got, want)
			}
			b.Press("Back")
		})
	}
	for form, st := range stages {
		b := tabs[form]
		st.locked(func() { st.swap = nil })
		b.Press("Sign 2 documents")
		b.Sees("Your signature is being placed")
		st.locked(func() {
			if len(st.values) != 2 {
				t.Errorf("%s: %d values", form, len(st.values))
			}
		})
	}
}
