package web

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/signature/cms"
	"milterd/workflow"
)

// TestCeremonyTroubles is what can happen between tap and signature: the page
// goes on by itself where it can, else it says what to do, and the second press helps.
func TestCeremonyTroubles(t *testing.T) {
	chrome := chromium.Launch(t)
	forget := `new Promise(y => { const r = indexedDB.open("milterd"); r.onsuccess = () => { const t = r.result.transaction("keys", "readwrite"); t.objectStore("keys").clear(); t.oncomplete = () => { r.result.close(); y(true); }; }; })`
	for _, c := range []struct {
		name   string
		before func(st *stage, b *tab)
		says   string // then "Try again" is pressed; empty if it goes on by itself
		calls  string
	}{
		{name: "colleague", before: func(st *stage, _ *tab) { st.busy = 2 }, calls: "prepare begin sign finish"},
		{name: "certificate expired", before: func(st *stage, _ *tab) { st.refuse["prepare"] = "certificate-expired" },
			calls: "prepare renew certify by device key 64 prepare begin sign finish"},
		{name: "certificate revoked", before: func(st *stage, _ *tab) { st.refuse["prepare"] = "certificate-revoked" },
			calls: "prepare begin key certify by passkey prepare begin sign finish"},
		{name: "key lost", before: func(_ *stage, b *tab) { eval[bool](b, forget) },
			calls: "begin key certify by passkey prepare begin sign finish"},
		{name: "renewal refused", before: func(st *stage, _ *tab) { st.refuse["prepare"], st.refuse["renew"] = "certificate-expired", "bad-proof" },
			calls: "prepare renew begin key certify by passkey prepare begin sign finish"},
		{name: "time away", before: func(st *stage, _ *tab) { st.refuse["prepare"] = "time-away" },
			says: "The timestamp authority is away at the moment, so nothing can be signed", calls: "prepare prepare begin sign finish"},
		{name: "too late", before: func(st *stage, _ *tab) { st.refuse["finish"] = "preparation-gone" },
			says: "That took too long, or you went on in another window. Nothing was signed", calls: "prepare begin sign finish abandon prepare begin sign finish"},
		{name: "certificate revoked meanwhile", before: func(st *stage, _ *tab) { st.refuse["finish"] = "certificate-revoked" },
			says: "The certificate of this device was revoked.", calls: "prepare begin sign finish abandon prepare begin sign finish"},
		{name: "session over", before: func(st *stage, _ *tab) { st.refuse["finish"] = "already-decided" }, calls: "prepare begin sign finish abandon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, tok := advanced(t, "contract.pdf")
			b, _ := st.enrolled(t, blank(t, chrome, chromium.Phone), tok)
			b.Expect = []string{"400", "403", "409", "410"}
			st.locked(func() { st.own.log = nil; c.before(st, b) })
			b.Press("Sign contract.pdf")
			if c.name == "colleague" {
				b.Sees("A colleague is signing just now. Yours follows by itself")
				b.Shot("waiting")
			}
			if c.says != "" {
				b.Sees(c.says)
				b.Accessible(c.name)
				b.Shot(strings.ReplaceAll(c.name, " ", "-"))
				b.Press("Try again")
			}
			if c.name == "session over" { // the page looks again, and is where it was
				b.Until("the sheet closes", `!document.querySelector("dialog")`)
			} else {
				b.Sees("Your signature is being placed")
			}
			if got := st.calls(); got != c.calls {
				t.Errorf("the page called %q, want %q", got, c.calls)
			}
		})
	}
}

// TestRenewed renews an old certificate without a question.
func TestRenewed(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	st.lasting = 3 * time.Second // and 3 s later it is in its last third, or over
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	time.Sleep(3 * time.Second)
	st.locked(func() { st.own.log, st.lasting = nil, time.Hour })
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if got, want := st.calls(), "renew certify by device key 64 prepare begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}

// again makes the attributes fit what was changed, as a server that lies would:
// those of a signature over all but b[gap:after], up to end.
func again(p *workflow.Prepared, b []byte, gap, after, end int, own *x509.Certificate) []byte {
	h := sha256.Sum256(slices.Concat(b[:gap], b[after:end]))
	var err error
	if p.Attributes, err = cms.SignedAttributes(cms.ES256, h[:], own); err != nil {
		panic(err)
	}
	return b
}

// TestSwapped prepares something else than what was shown, with attributes that
// fit it where a server could make them fit: the page refuses, in words, before
// anybody is asked to confirm, gives the documents back, and says which check failed.
// The page is the same all the way, and signs in the end.
func TestSwapped(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	words := map[string]string{
		"documents": "other documents came", "byte-range": "the signature would not cover exactly this document (ByteRange)",
		"contents":       "the place for the signature is not empty (Contents)",
		"message-digest": "the signature would be over something else (messageDigest)",
		"certificate":    "it names a certificate that is not this device’s",
		"attributes":     "the signature would say something else than it should (signed attributes)",
	}
	replace := func(b []byte, old, new string) []byte {
		i := bytes.LastIndex(b, []byte(old))
		if i < 0 {
			panic(old)
		}
		return slices.Concat(b[:i], []byte(new), b[i+len(old):])
	}
	// ranges gives where Contents stands.
	ranges := func(b []byte) (gap, after int) {
		if _, err := fmt.Sscanf(string(b[bytes.LastIndex(b, []byte("/ByteRange")):]), "/ByteRange [0 %d %d", &gap, &after); err != nil {
			panic(err)
		}
		return gap, after
	}
	// ranged writes another ByteRange, in the place of the one that is there.
	ranged := func(b []byte, gap, after int) []byte {
		i := bytes.LastIndex(b, []byte("/ByteRange ["))
		copy(b[i:], fmt.Sprintf("/ByteRange [0 %010d %010d %010d]", gap, after, len(b)-after))
		return b
	}
	for name, swap := range map[[2]string]func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte{
		{"a byte", "message-digest"}: func(_ *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { b[len(b)-20] ^= 1; return b },
		{"something behind", "byte-range"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			end := len(b)
			return again(p, append(b, "\n% more\n"...), gap, after, end, own)
		},
		{"no ByteRange", "byte-range"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			return again(p, replace(b, "/ByteRange", "/ByteRang "), gap, after, len(b), own)
		},
		{"a wider gap", "contents"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			return again(p, ranged(b, gap-10, after), gap-10, after, len(b), own)
		},
		{"a gap in what was shown", "byte-range"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			i := bytes.Index(b, []byte("stream")) // of the original, written over with what the page takes for Contents
			return again(p, ranged(b, i, i+20), i, i+20, len(b), own)
		},
		{"Contents", "contents"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			return again(p, replace(b, "0000>", "00a0>"), gap, after, len(b), own)
		},
		{"another key than Contents", "contents"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			return again(p, replace(b, "/Contents", "/Cuntents"), gap, after, len(b), own)
		},
		{"another type", "attributes"}: func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte {
			p.Attributes[8] ^= 1
			return b
		},
		{"attributes", "certificate"}: func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte {
			p.Attributes[len(p.Attributes)-1] ^= 1
			return b
		},
		{"no attributes", "attributes"}: func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { p.Attributes = nil; return b },
		{"another certificate", "certificate"}: func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte {
			gap, after := ranges(b)
			other := *own
			other.Raw = append(slices.Clone(own.Raw), 0)
			return again(p, b, gap, after, len(b), &other)
		},
		{"another document", "documents"}: func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { p.Document = 7; return b },
	} {
		t.Run(name[0], func(t *testing.T) {
			defer b.within(t)()
			st.locked(func() { st.own.log, st.swap = nil, swap })
			b.Press("Sign contract.pdf")
			b.Sees("What was prepared is not what this page has shown you: " + words[name[1]] + ". Nothing was signed")
			b.Accessible(name[0])
			b.Shot("refused")
			if eval[bool](b, `[...document.querySelectorAll("dialog .primary")].some(x => x.getClientRects().length)`) {
				t.Error("the sheet offers to go on")
			}
			for end := time.Now().Add(10 * time.Second); !strings.Contains(st.calls(), "abandon") && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
			if got, want := st.calls(), "prepare abandon "+name[1]; got != want {
				t.Errorf("the page called %q, want %q", got, want)
			}
			b.Press("Back")
		})
	}
	st.locked(func() { st.swap = nil })
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
}

// TestSwappedOnTheWay changes the bytes after the server has said their digest.
func TestSwappedOnTheWay(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	eval[bool](b, `(f => { window.fetch = async (...a) => { const r = await f(...a);
		if (!a[0].endsWith("/prepared")) return r;
		const x = new Uint8Array(await r.arrayBuffer()); x[40] ^= 1; return new Response(x, r); }; return true; })(window.fetch)`)
	b.Press("Sign contract.pdf")
	b.Sees("What was prepared is not what this page has shown you: its bytes are not those that were announced (SHA-256). Nothing was signed")
}

// TestUnconfirmed lets the prompt go by: nothing is signed, the same
// preparation waits for the second press, and Back shows the document as it was.
func TestUnconfirmed(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, id := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	before := eval[string](b, `document.querySelector(".page.drawn canvas").toDataURL()`)
	verified := func(yes bool) {
		chromium.Protocol(b.Tab, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: id, IsUserVerified: yes})
	}
	st.locked(func() { st.own.log = nil })
	verified(false)
	b.Press("Sign contract.pdf")
	b.Sees("It was not confirmed. Nothing was signed.")
	if strings.Contains(b.Text("dialog"), "Is this device new?") {
		t.Error("a device that is set up is asked whether it is new")
	}
	b.Accessible("unconfirmed")
	b.Shot("unconfirmed")
	verified(true)
	b.Press("Confirm")
	b.Sees("Your signature is being placed")
	if got, want := st.calls(), "prepare begin sign begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}

	st, tok = advanced(t, "contract.pdf")
	b, id = st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	st.locked(func() { st.own.log = nil })
	b.waits(id, true)
	b.Press("Sign contract.pdf")
	b.Sees("Confirm with your fingerprint, face or PIN.")
	b.Sees("What you sign: as mailed, with your signature added") // not: exactly as it was mailed
	if words := b.Text(".doc"); strings.Contains(words, "Exactly as it was mailed") {
		t.Errorf("above the prepared revision: %s", words)
	}
	b.Accessible("prompt")
	b.Shot("prompt")
	b.Press("Back")
	b.Until("the sheet closes", `!document.querySelector("dialog")`)
	b.Sees("Exactly as it was mailed")
	b.Until("the document is as it was", `document.querySelector(".page.drawn canvas")?.toDataURL() === `+chromium.Quote(before))
	for end := time.Now().Add(10 * time.Second); st.calls() != "prepare begin sign abandon"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the page called %q", st.calls())
		}
	}
}

// TestReloadAndTwoTabs leaves the prompt by a reload, and goes on in another
// tab: the newest preparation counts, and each page says what became of its own.
func TestReloadAndTwoTabs(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, id := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	st.locked(func() { st.own.log = nil })
	b.waits(id, true)
	b.Press("Sign contract.pdf")
	b.Sees("Confirm with your fingerprint, face or PIN.")
	b.Do(chromedp.Reload())
	b.painted()
	b.Sees("You sign as Jane Doe")
	if got := st.calls(); got != "prepare begin sign abandon" {
		t.Errorf("the page called %q", got)
	}
	// The other tab begins anew while this one waits for a finger: it says so at once.
	b.Expect = []string{"410"}
	eval[bool](b, `(s => { window.setInterval = (f, ms) => s(f, ms / 50); return true; })(window.setInterval)`)
	b.Press("Sign contract.pdf")
	b.Sees("Confirm with your fingerprint, face or PIN.")
	st.locked(func() { st.preparation.ID = "newer" })
	b.Sees("you went on in another window")

	// And while its last call is under way.
	b.waits(id, false)
	eval[bool](b, `(f => { window.fetch = async (...a) => { if (a[0].endsWith("/finish")) await new Promise(y => { window.go = y; }); return f(...a); }; return true; })(window.fetch)`)
	b.Press("Try again")
	b.Until("the last call", "window.go")
	st.locked(func() { st.preparation.ID = "newest" })
	eval[bool](b, "window.go(), delete window.go")
	b.Sees("you went on in another window")
	b.Press("Try again")
	b.Until("the last call", "window.go")
	eval[bool](b, "window.go(), true")
	b.Sees("Your signature is being placed")
}

// TestOffline loses the answer to the last call: the same signatures are sent
// again, and nobody confirms twice.
func TestOffline(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.enrolled(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	st.locked(func() { st.own.log = nil })
	eval[bool](b, `(f => { let once = true; window.fetch = (...a) => { if (a[0].endsWith("/finish") && once) { once = false; return Promise.reject(new TypeError("x")); } return f(...a); }; return true; })(window.fetch)`)
	b.Press("Sign contract.pdf")
	b.Sees("The desk cannot be reached.")
	b.Press("Try again")
	b.Sees("Your signature is being placed")
	if got, want := st.calls(), "prepare begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}

// TestClockSkew is a device whose clock is a year ahead: its certificate is as
// young as anybody's.
func TestClockSkew(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b := blank(t, chromium.Launch(t), chromium.Phone)
	chromium.Protocol(b.Tab, page.Enable, page.EnableParams{})
	if _, err := chromedp.Call(b.Ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: "(now => { Date.now = () => now() + 365 * 864e5; })(Date.now)"}); err != nil {
		t.Fatal(err)
	}
	st.enrolled(t, b, tok)
	st.locked(func() { st.own.log = nil })
	b.Press("Sign contract.pdf")
	b.Sees("Your signature is being placed")
	if got, want := st.calls(), "prepare begin sign finish"; got != want {
		t.Errorf("the page called %q, want %q", got, want)
	}
}
