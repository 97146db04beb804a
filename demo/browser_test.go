package demo

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// A mail "[Advanced] contract" to a colleague, by real Postfix, is signed in
// Chromium and comes back to both; who does not know us finds it in order. The
// second time it takes one look, one tap and one prompt.
func TestAdvancedInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	h, err := start(ctx, Options{Postfix: true}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	page, err := newPage(h.people, h.boxes, h.mail.Address(), h.verdict, h.program.Enrolments)
	if err != nil {
		t.Fatal(err)
	}
	jane, john := h.people[0], h.people[1]
	r := &run{house: h, out: t.Output(), dir: t.TempDir()}
	browser := chromium.Blank(t, chromium.Launch(t), chromium.Phone)
	defer browser.Close()
	browser.Authenticator()
	for _, first := range []bool{true, false} {
		before := len(h.boxes.In(""))
		raw, err := Draft{From: jane, To: []string{"john.doe@" + SignDomain}, Subject: "[Advanced] contract", Text: "Please sign.", File: Sample()}.Compose()
		if err != nil {
			t.Fatal(err)
		}
		if err := Submit(h.mail.Address(), jane.Mail, password, jane.Mail, []string{"john.doe@" + SignDomain}, raw); err != nil {
			t.Fatal(err)
		}
		next := func(who Person, fits func(*Message) bool) *Message {
			t.Helper()
			m, err := r.next(ctx, who.Mail, before, fits)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		invitation := next(john, func(m *Message) bool { return m.Link() != "" && m.Code() == "" })
		browser.Do(chromedp.Navigate("about:blank"), chromedp.Navigate(invitation.Link()))
		if first {
			browser.Press("Send me a code")
			code := next(john, func(m *Message) bool { return m.Code() != "" }).Code()
			browser.Fill(".digits", code)
			browser.Press("Open the documents")
			browser.Press("Set up this device")
			browser.Sees("Call them and tell them this number.")
			waiting, err := h.program.Enrolments.Pending(ctx, "")
			if err != nil || len(waiting) != 1 || !strings.Contains(chromium.Eval[string](browser, `document.querySelector(".number").innerText`), waiting[0].Number) {
				t.Fatalf("waiting: %+v, %v", waiting, err)
			}
			if w := approve(page, waiting[0].ID, http.Header{}); !strings.Contains(w.Header().Get("Location"), "sent=") {
				t.Fatalf("approval: %s", w.Header().Get("Location"))
			}
			browser.Press("Create the passkey")
			next(john, func(m *Message) bool { return strings.Contains(m.Text, "administrator") })
		}
		browser.Press("Sign contract.pdf")
		for _, who := range []Person{jane, john} {
			result := next(who, func(m *Message) bool { return len(m.Attachments) > 1 })
			for _, a := range result.Attachments {
				if strings.HasPrefix(a.Name, "contract") {
					judgeOwned(t, h, john, a.Content)
				}
			}
		}
		browser.Sees("Download")
	}
}

// judgeOwned has our own and other judges look at a document that somebody signed.
func judgeOwned(t *testing.T, h *house, who Person, content []byte) {
	t.Helper()
	all, err := h.program.Store.Certificates(t.Context(), workflow.CertificateFilter{Mail: who.Mail})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	note, err := h.judgeOwn(content, who, all[0].DER)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(note)
	file, root := filepath.Join(t.TempDir(), "contract.pdf"), filepath.Join(t.TempDir(), "root.pem")
	for path, b := range map[string][]byte{file: content, root: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.root.Raw})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if signers := judgeAll(t, file, root); !slices.Equal(signers, []string{who.Name, "Example Corp"}) {
		t.Errorf("signed by %q", signers)
	}
}
