package web

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// TestConverted: who signs a PDF that was made of another file reads so above its
// pages; the file is not among what is signed, and is there with the result.
func TestConverted(t *testing.T) {
	browser := chromium.Launch(t)
	st := newStage(t)
	tok := token("converted")
	ses := session(t, "converted", "contract.pdf")
	st.add(ses, "lease.docx", word, "", workflow.AsFile, []byte("PK\x03\x04"))
	ses.Documents[0].Source, ses.Documents[0].Maker = 1, "LibreOffice 7.4"
	ses.Documents[1].Kind = workflow.Unconverted
	st.visits[tok] = workflow.Visit{Session: ses, Person: 1}
	st.cookies["known"] = "jane.doe@corp.test"
	b := blank(t, browser, chromium.Phone)
	b.cookie(st.URL, "known")
	b.Do(chromedp.Navigate(st.URL + "/s#" + tok))
	b.Until("everything is loaded", `!document.querySelector(".bar .primary")?.disabled`)
	b.Sees("This PDF was made of lease.docx by LibreOffice 7.4. Only the PDF is signed")
	b.Accessible("converted")
	if eval[bool](b, `document.body.innerText.includes("2 documents")`) {
		t.Error("the file is counted among what is signed")
	}
	st.mu.Lock()
	finish(t, st, ses)
	st.mu.Unlock()
	b.Do(chromedp.Reload())
	b.Sees("Everything is signed")
	b.Sees("as it was mailed, unsigned")
	b.Accessible("converted, done")
	b.Press("Download lease.docx")
	path := filepath.Join(b.Downloads, "lease.docx")
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err := os.ReadFile(path); err == nil && string(got) == "PK\x03\x04" {
			return
		}
	}
	t.Errorf("%s was not downloaded", path)
}
