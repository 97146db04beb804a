//go:build cgo

package demo

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"milterd/evidence"
	"milterd/internal/chromium"
	"milterd/pki"
	"milterd/pki/qualified/qualifiedtest"
	"milterd/validate"
	"milterd/workflow"
)

// standInExtension answers the page as the extension of Web eID does, by the keys
// of the test: it is a stand-in, and nothing of it comes from there.
const standInExtension = `
addEventListener("message", async (e) => {
  if (e.source !== window || typeof e.data?.action !== "string") return;
  const m = /^web-eid:(status|authenticate|get-signing-certificate|sign)$/.exec(e.data.action);
  if (!m) return;
  const say = (what, more) => postMessage({ action: e.data.action + what, ...more }, location.origin);
  say("-ack");
  try {
    if (m[1] === "status") say("-success", { library: "stand-in", extension: "stand-in", nativeApp: "stand-in" });
    else if (m[1] === "authenticate") say("-success", JSON.parse(await standInAuthenticate({ nonce: e.data.challengeNonce, origin: location.origin })));
    else if (m[1] === "sign") say("-success", { signature: await standInSign({ certificate: e.data.certificate, hash: e.data.hash, hashFunction: e.data.hashFunction }),
      signatureAlgorithm: { cryptoAlgorithm: "ECC", hashFunction: e.data.hashFunction, paddingScheme: "NONE" } });
    else say("-success", { certificate: await standInCertificate({}), supportedSignatureAlgorithms: ["SHA-256", "SHA-384", "SHA-512"].map((hashFunction) => ({ cryptoAlgorithm: "ECC", hashFunction, paddingScheme: "NONE" })) });
  } catch (err) {
    say("-failure", { error: { code: /cancelled/.test(err.message) ? "ERR_WEBEID_USER_CANCELLED" : "ERR_WEBEID_UNKNOWN_ERROR", message: "stand-in" } });
  }
});`

// card is an identity card: a key in SoftHSM, with the certificates that were
// issued for it.
type card struct {
	key      crypto.Signer
	cert     []byte
	cancels  bool // its person does not type the PIN
	signed   int
	function string // of the last signature: its hash

	login     crypto.Signer // the card's other key, with another PIN
	loginCert []byte
	elsewhere string // what it takes the page's origin for; empty: as it is
}

func newCard(t *testing.T) *card {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Fatalf("%v: apt-get install -y softhsm2", err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "card", "--so-pin", "12345678", "--pin", "1234").CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	token, err := crypto11.Configure(&crypto11.Config{Path: "/usr/lib/softhsm/libsofthsm2.so", TokenLabel: "card", Pin: "1234"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	key, err := token.GenerateECDSAKeyPairWithLabel([]byte{1}, []byte("sign"), elliptic.P384())
	if err != nil {
		t.Fatal(err)
	}
	login, err := token.GenerateECDSAKeyPairWithLabel([]byte{2}, []byte("login"), elliptic.P384())
	if err != nil {
		t.Fatal(err)
	}
	return &card{key: key, login: login}
}

// insert puts the card into the tab's reader.
func (c *card) insert(b *chromium.Tab) {
	b.Do(chromedp.ExposeFunc("standInCertificate", func(context.Context, struct{}) (string, error) {
		return base64.StdEncoding.EncodeToString(c.cert), nil
	}), chromedp.ExposeFunc("standInSign", func(_ context.Context, in struct {
		Certificate  string `json:"certificate"`
		Hash         string `json:"hash"`
		HashFunction string `json:"hashFunction"`
	}) (string, error) {
		digest, err := base64.StdEncoding.DecodeString(in.Hash)
		switch {
		case err != nil:
			return "", err
		case c.cancels:
			return "", errors.New("cancelled")
		case in.Certificate != base64.StdEncoding.EncodeToString(c.cert):
			return "", errors.New("another certificate than the card's")
		}
		c.signed, c.function = c.signed+1, in.HashFunction
		hash := map[string]crypto.Hash{"SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512}[in.HashFunction]
		raw, err := rs(c.key, digest, hash)
		return base64.StdEncoding.EncodeToString(raw), err
	}), chromedp.ExposeFunc("standInAuthenticate", func(_ context.Context, in struct {
		Nonce  string `json:"nonce"`
		Origin string `json:"origin"`
	}) (string, error) {
		sum := func(b []byte) []byte { d := sha512.Sum384(b); return d[:] }
		raw, err := rs(c.login, sum(append(sum([]byte(cmp.Or(c.elsewhere, in.Origin))), sum([]byte(in.Nonce))...)), crypto.SHA384)
		if err != nil {
			return "", err
		}
		token, err := json.Marshal(map[string]string{"unverifiedCertificate": base64.StdEncoding.EncodeToString(c.loginCert), "algorithm": "ES384",
			"signature": base64.StdEncoding.EncodeToString(raw), "format": "web-eid:1.0", "appVersion": "stand-in"})
		return string(token), err
	}))
	if _, err := chromedp.Call(b.Ctx, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: standInExtension}); err != nil {
		b.T.Fatal(err)
	}
}

// rs has a key on P-384 sign a digest, in the form that cards give: r‖s.
func rs(key crypto.Signer, digest []byte, hash crypto.Hash) ([]byte, error) {
	der, err := key.Sign(nil, digest, hash)
	if err != nil {
		return nil, err
	}
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		return nil, err
	}
	return append(v.R.FillBytes(make([]byte, 48)), v.S.FillBytes(make([]byte, 48))...), nil
}

// Mails "[Qualified] contract", by real Postfix, are signed in Chromium: at the
// provider's page, with a PIN on ours, and with a card in SoftHSM; certificates that
// must not be taken are refused on the page and stand on record. Provider,
// extension and lists are stand-ins.
func TestQualifiedInChromium(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	people, err := everybody()
	if err != nil {
		t.Fatal(err)
	}
	card := newCard(t) // before milterd opens a token of its own
	h, err := start(ctx, Options{Postfix: true, provider: true}, people, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	jane, john := h.people[0], h.people[1]
	r := &run{house: h, out: t.Output(), dir: t.TempDir()}
	b := chromium.Blank(t, chromium.Launch(t), chromium.Desktop) // a phone has no reader for cards
	defer b.Close()
	b.Authenticator()
	b.Expect = []string{"400", "409", "favicon.ico"} // refusals, and what a browser asks the provider for
	card.insert(b)

	// ask mails a request from jane and opens it for its signatory.
	ask := func(who Person, local string) (next func(Person, func(*Message) bool) *Message) {
		t.Helper()
		before := len(h.boxes.In(""))
		raw, err := Draft{From: jane, To: []string{local + "@" + SignDomain}, Subject: "[Qualified] contract", Text: "Please sign.", File: Sample()}.Compose()
		if err != nil {
			t.Fatal(err)
		}
		if err := Submit(h.mail.Address(), jane.Mail, password, jane.Mail, []string{local + "@" + SignDomain}, raw); err != nil {
			t.Fatal(err)
		}
		next = func(who Person, fits func(*Message) bool) *Message {
			t.Helper()
			m, err := r.next(ctx, who.Mail, before, fits)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		invitation := next(who, func(m *Message) bool { return m.Link() != "" && m.Code() == "" })
		b.Do(chromedp.Navigate("about:blank"), chromedp.Navigate(invitation.Link()))
		b.Until("the page", `document.querySelector("h1")`)
		if chromium.Eval[bool](b, `document.body.innerText.includes("Send me a code")`) {
			b.Press("Send me a code")
			code := next(who, func(m *Message) bool { return m.Code() != "" }).Code()
			b.Fill(".digits", code)
			b.Press("Open the documents")
		}
		b.Press("Sign contract.pdf")
		return next
	}
	judge := func(who Person, next func(Person, func(*Message) bool) *Message) {
		t.Helper()
		result := next(who, func(m *Message) bool { return len(m.Attachments) > 1 })
		for _, a := range result.Attachments {
			if strings.HasPrefix(a.Name, "contract") {
				judgeQualified(t, h, who, a.Content)
				judgeEvidence(t, h, a)
			}
		}
	}

	t.Log("a PIN on our page")
	next := ask(jane, "self")
	b.Shot("qualified-ways")
	b.Press("Sign with " + StandIn)
	b.Sees("PIN")
	b.Fill("dialog input[type=password]", "9999")
	b.Press("Sign contract.pdf")
	b.Sees("PIN or code is not right")
	b.Fill("dialog input[type=password]", standInPIN)
	b.Shot("qualified-pin")
	b.Press("Sign contract.pdf")
	judge(jane, next)
	b.Sees("Download")

	t.Log("the provider's page")
	next = ask(john, "john.doe")
	b.Press("Sign with " + StandIn)
	b.Shot("qualified-go")
	b.Press("Go on to " + StandIn)
	b.Until("the provider's page", `document.querySelector("#pin")`)
	if !chromium.Eval[bool](b, `document.body.innerText.includes("tand-in")`) {
		t.Error("the provider's page does not say that it is a stand-in")
	}
	b.Fill("#user", john.Mail)
	b.Fill("#pin", standInPIN)
	b.Click("#authorise")
	judge(john, next)
	b.Sees("Download")
	if where := chromium.Eval[string](b, "location.href"); strings.Contains(where, "code=") {
		t.Errorf("the provider's code stays in the address: %s", where)
	}

	t.Log("no at the provider's page")
	next = ask(john, "john.doe")
	b.Press("Sign with " + StandIn)
	b.Press("Go on to " + StandIn)
	b.Click("#decline")
	b.Sees("Nothing was signed")
	b.Press("Back")

	t.Log("an identity card")
	for _, c := range []struct {
		says  string
		spoil func(*qualifiedtest.Request)
	}{
		{"This is the certificate for logging in", func(q *qualifiedtest.Request) { q.Authentication = true }},
		{"is not in a qualified device", func(q *qualifiedtest.Request) { q.NoQSCD = true }},
		{"belongs to somebody else", func(q *qualifiedtest.Request) { q.Surname = "Mallory" }},
	} {
		card.issue(t, h, john, c.spoil)
		b.Press("Sign contract.pdf")
		b.Press("Sign with my identity card")
		b.Sees(c.says)
		b.Press("Back")
	}
	good := card.issue(t, h, john, nil)
	card.cancels = true
	b.Press("Sign contract.pdf")
	b.Press("Sign with my identity card")
	b.Sees("It was not confirmed with the card")
	card.cancels = false
	b.Press("Sign with my identity card")
	judge(john, next)
	if card.signed != 1 || card.function != "SHA-384" {
		t.Errorf("the card has signed %d times, with %s", card.signed, card.function)
	}

	t.Log("a card that was revoked")
	h.provider.authority.Revoke(good.Cert, time.Now().Add(-time.Minute))
	ask(john, "john.doe")
	b.Press("Sign with my identity card")
	b.Sees("revoked")

	refused := map[string]bool{}
	all, err := h.program.Store.List(ctx, workflow.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		events, err := h.program.Store.Events(ctx, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == "refused" {
				refused[e.Detail["reason"]] = true
			}
		}
	}
	for _, want := range []string{"authentication-certificate", "no-qscd", "wrong-person", "certificate-revoked"} {
		if !refused[want] {
			t.Errorf("no refusal %q on record: %v", want, refused)
		}
	}
	if odd := h.provider.Refused(); slices.ContainsFunc(odd, func(s string) bool { return !strings.Contains(s, "authentication") && !strings.Contains(s, "favicon") }) {
		t.Errorf("the provider had to refuse: %q", odd)
	}
}

// judgeEvidence checks the evidence file of the newest session against its document: it
// holds where the authority of the certificate is trusted, nothing can be said where
// it is not, and it does not hold with another reason for the certificate.
func judgeEvidence(t *testing.T, h *house, doc Part) {
	t.Helper()
	all, err := h.program.Store.List(t.Context(), workflow.Filter{Limit: 1})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	file, err := h.program.Evidence(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	pdfs := []evidence.PDF{{Name: doc.Name, Content: doc.Content}}
	if r := evidence.Check(file, evidence.Options{Anchors: h.anchors(), PDFs: pdfs}); !r.Passed() {
		t.Errorf("evidence: %+v", r)
	}
	only := x509.NewCertPool()
	only.AddCert(h.root)
	if r := evidence.Check(file, evidence.Options{Anchors: only}); r.Indication != validate.Indeterminate {
		t.Errorf("evidence without the provider's authority: %s", r.Indication)
	}
	e, err := h.program.Desk.Evidence(t.Context(), all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	q := e.Session.People[e.Session.Signatories()[0]].Act.Accepted
	for what, spoil := range map[string]func(){
		"another subject": func() { q.Subject = "CN=Mallory" },
		"another number":  func() { q.Serial = "1" },
		"another chain":   func() { q.Chain[0], q.Chain[1] = q.Chain[1], q.Chain[0] },
		"no chain":        func() { q.Chain = q.Chain[:1] },
	} {
		kept := *q
		q.Chain = slices.Clone(q.Chain)
		spoil()
		file, err := evidence.Write(t.Context(), e, h.program.Authority.Seal(), h.clock())
		*q = kept
		if err != nil {
			t.Fatal(err)
		}
		if r := evidence.Check(file, evidence.Options{Anchors: h.anchors(), PDFs: pdfs}); r.Indication != validate.Failed {
			t.Errorf("evidence with %s: %s", what, r.Indication)
		}
	}
}

// clock is the demo's own timestamp authority.
func (h *house) clock() pki.Timestamper {
	return h.program.Authority.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true})
}

// issue gives the card a certificate in somebody's name.
func (c *card) issue(t *testing.T, h *house, who Person, spoil func(*qualifiedtest.Request)) *qualifiedtest.Identity {
	t.Helper()
	first, last, _ := strings.Cut(who.Name, " ")
	q := qualifiedtest.Request{GivenName: first, Surname: last, Key: c.key.Public()}
	if spoil != nil {
		spoil(&q)
	}
	id, err := h.provider.authority.Issue(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := id.Cert.PublicKey.(*ecdsa.PublicKey); !ok {
		t.Fatal("no key on a curve")
	}
	c.cert = id.Cert.Raw
	return id
}

// judgeQualified has our own and other judges look at a document that was signed
// with a qualified certificate.
func judgeQualified(t *testing.T, h *house, who Person, content []byte) {
	t.Helper()
	note, err := h.judge(content)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(note)
	file, root := filepath.Join(t.TempDir(), "contract.pdf"), filepath.Join(t.TempDir(), "root.pem")
	for path, b := range map[string][]byte{file: content, root: certificates(h.root, h.provider.authority.Root)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signers := judgeAll(t, file, root) // in the order of their fields
	if slices.Sort(signers); !slices.Equal(signers, []string{"Example Corp", who.Name}) {
		t.Errorf("signed by %q", signers)
	}
}
