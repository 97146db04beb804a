package web

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// pickOnce leads to the key at byPIN whose certificate is made for each signature.
func (st *stage) pickOnce(b *tab) {
	eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
	b.Press("Sign with " + byPIN)
	b.Sees("Which of your certificates?")
	b.Sees("A new certificate, made for this signature")
	b.Do(chromedp.SetValue("dialog select", "once"))
	b.Press("Continue")
}

// A certificate that is made for the signature: the page says so, checks what it can,
// and the provider's refusals go on record.
func TestOneShotPage(t *testing.T) {
	st, tok := qualifiedStage(t, "contract.pdf")
	b := st.qualifiedVisitor(t, blank(t, chromium.Launch(t), chromium.Phone), tok)
	st.pickOnce(b)
	b.Sees(byPIN + " makes a certificate for this signature only.")
	b.look("1-pin")
	b.Expect = append(b.Expect, "400")
	b.enter("dialog input[type=password]", "0000"+kb.Enter)
	b.Sees("PIN or code is not right")
	b.enter("dialog input[type=password]", fakePIN+kb.Enter)
	b.Until("signed", `document.querySelector(".outcome")`)
	st.locked(func() {
		if len(st.values) != 1 || len(st.values[0]) < 400 || st.proof.Method != "qualified signature" {
			t.Errorf("values %x, proof %+v", st.values, st.proof)
		}
		if len(st.refused) != 1 || !strings.HasSuffix(st.refused[0], " invalid-authentication") {
			t.Errorf("on record: %q", st.refused)
		}
	})
}

// What the page can check without a certificate, it does; and it does without one only
// where its person was told.
func TestOneShotSwapped(t *testing.T) {
	chrome := chromium.Launch(t)
	for name, c := range map[string]struct {
		says, calls string
		swap        func(p *workflow.Prepared, b []byte, own *x509.Certificate) []byte
	}{
		"another digest to sign": {"the signature would be over something else (messageDigest)", "message-digest",
			func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { p.Digest[3] ^= 1; return b }},
		"no digest": {"the signature would be over something else (messageDigest)", "message-digest",
			func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { p.Digest = nil; return b }},
		"a byte": {"the signature would be over something else (messageDigest)", "message-digest",
			func(_ *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { b[len(b)-20] ^= 1; return b }},
		"attributes": {"the signature would say something else than it should (signed attributes)", "attributes",
			func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte {
				p.Attributes = []byte{0x31, 0}
				return b
			}},
		"Contents": {"the place for the signature is not empty (Contents)", "contents",
			func(_ *workflow.Prepared, b []byte, _ *x509.Certificate) []byte {
				copy(b[strings.LastIndex(string(b), "0000>"):], "00a0>")
				return b
			}},
		"another document": {"other documents came", "documents",
			func(p *workflow.Prepared, b []byte, _ *x509.Certificate) []byte { p.Document = 7; return b }},
	} {
		t.Run(name, func(t *testing.T) {
			st, tok := qualifiedStage(t, "contract.pdf")
			b := st.qualifiedVisitor(t, blank(t, chrome, chromium.Phone), tok)
			st.locked(func() { st.own.log, st.swap = nil, c.swap })
			st.pickOnce(b)
			b.Sees("What was prepared is not what this page has shown you: " + c.says + ". Nothing was signed")
			for end := time.Now().Add(10 * time.Second); !strings.Contains(st.calls(), "abandon") && time.Now().Before(end); {
				time.Sleep(20 * time.Millisecond)
			}
			if got, want := st.calls(), "find find prepare by "+byPIN+" abandon "+c.calls; got != want {
				t.Errorf("the page called %q, want %q", got, want)
			}
		})
	}
	t.Run("a certificate that is known is left out", func(t *testing.T) {
		st, tok := qualifiedStage(t, "contract.pdf")
		b := st.qualifiedVisitor(t, blank(t, chrome, chromium.Phone), tok)
		eval[bool](b, `(f => { window.fetch = async (...a) => { const r = await f(...a);
			if (!a[0].endsWith("/qualified/prepare")) return r;
			const x = await r.json(); x.certificate = null; return new Response(JSON.stringify(x), r); }; return true; })(window.fetch)`)
		eval[bool](b, `document.querySelector(".bar .primary").click(), true`)
		b.Press("Sign with " + byCode)
		b.Sees("What was prepared is not what this page has shown you: it names a certificate")
	})
}
