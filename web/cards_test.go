package web

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"milterd/internal/chromium"
	"milterd/workflow"
)

// standInReader answers the page as the extension of Web eID does, with what the test says in
// window.card: it is a stand-in, and nothing of it comes from there.
const standInReader = `
	window.card = { signature: "good" };
	window.heard = [];
	addEventListener("message", (e) => {
		if (e.source !== window || typeof e.data?.action !== "string") return;
		const m = /^web-eid:(status|authenticate|get-signing-certificate)$/.exec(e.data.action);
		if (!m) return;
		heard.push(e.data);
		const say = (what, more) => postMessage({ action: e.data.action + what, ...more }, location.origin);
		say("-ack");
		if (card.fails && m[1] !== "status") return say("-failure", { error: { code: card.fails } });
		if (m[1] === "authenticate") return say("-success", { unverifiedCertificate: "AAAA", algorithm: "ES384", signature: card.signature, format: "web-eid:1.1",
			appVersion: "stand-in", unverifiedSigningCertificates: [{ certificate: "AAAA" }], ...card.more });
		say("-success", { certificate: "CERTIFICATE", supportedSignatureAlgorithms: [{ cryptoAlgorithm: "ECC", hashFunction: "SHA-384", paddingScheme: "NONE" }] });
	});`

// withReader puts the stand-in's card into a tab's reader.
func (st *stage) withReader(b *tab) *tab {
	b.T.Helper()
	chromium.Protocol(b.Tab, page.Enable, page.EnableParams{})
	source := strings.Replace(standInReader, "CERTIFICATE", base64.StdEncoding.EncodeToString(st.remote.cert), 1)
	if _, err := chromedp.Call(b.Ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: source}); err != nil {
		b.T.Fatal(err)
	}
	return b
}

// TestCardEnrolsDevice sets a device up by an identity card: each of its failures is said, and
// the page hands on what the signature is over, and nothing else.
func TestCardEnrolsDevice(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	b, _ := st.visitor(t, st.withReader(blank(t, chromium.Launch(t), chromium.Desktop)), tok)
	b.Press("Set up this device")
	b.Press("Your identity card")
	b.look("card-1-way")
	for _, c := range []struct{ set, says string }{
		{`card.fails = "ERR_WEBEID_USER_CANCELLED"`, "It was not confirmed with the card"},
		{`card.fails = "ERR_WEBEID_NATIVE_UNAVAILABLE"`, "The program of Web eID is missing"},
		{`card = { signature: 7 }`, "did not answer as it should"},
		{`card = { signature: "bad card-answer" }`, "does not belong to this page"},
		{`card = { signature: "bad card-token" }`, "Web eID has answered cannot be read"},
		{`card = { signature: "bad ceremony-gone" }`, "took too long"},
		{`card = { signature: "bad signing-certificate" }`, "certificate for signatures"},
		{`card = { signature: "bad certificate-expired" }`, "This certificate has expired"},
		{`card = { signature: "bad certificate-revoked" }`, "This certificate was revoked"},
		{`card = { signature: "bad wrong-person" }`, "belongs to somebody else"},
		{`card = { signature: "bad name-alone" }`, "two people can have one name"},
		{`card = { signature: "bad revocation-unknown" }`, "could not be found out"},
	} {
		b.Expect = append(b.Expect, "400", "409", "410")
		eval[bool](b, c.set+", true")
		b.Press("Use my identity card")
		b.Sees(c.says)
	}
	b.look("card-2-failed")
	eval[bool](b, `card = { signature: "good" }, heard = [], true`)
	b.Press("Use my identity card")
	b.Sees("It is you. One step is left.")
	var asked struct {
		ChallengeNonce string `json:"challengeNonce"`
		LibraryVersion string `json:"libraryVersion"`
		Options        struct{ Lang string }
	}
	if err := json.Unmarshal([]byte(eval[string](b, `JSON.stringify(heard.find(m => m.action === "web-eid:authenticate"))`)), &asked); err != nil ||
		len(asked.ChallengeNonce) < 44 || asked.Options.Lang != "en" || asked.LibraryVersion == "" {
		t.Errorf("the card was asked %+v, %v", asked, err)
	}
	b.Press("Create the passkey")
	b.Until("the sheet closes", `!document.querySelector("dialog") && !document.querySelector(".bar .primary").disabled`)
	st.locked(func() {
		if len(st.credentials) != 1 || st.credentials[0].ApprovedBy != "identity card" {
			t.Errorf("enrolled: %+v", st.credentials)
		}
	})
	b.Press("Devices")
	b.Sees("by identity card")
}

// TestRegisterCard registers a card's certificate on the devices page, by a second proof, and
// removes it there; in each language nothing is cut off.
func TestRegisterCard(t *testing.T) {
	chrome := chromium.Launch(t)
	for _, c := range []struct {
		lang string
		w    chromium.Window
	}{{"en", chromium.Desktop}, {"de", chromium.Window{Name: "narrow", W: 460, H: 700}}, {"fr", chromium.Window{Name: "narrow", W: 460, H: 700}}} {
		t.Run(c.lang, func(t *testing.T) {
			st, tok := qualifiedStage(t, "contract.pdf")
			st.visits[tok].Session.People[1].Language = c.lang
			b := st.qualifiedVisitor(t, st.withReader(blank(t, chrome, c.w)), tok)
			say := func(key string, more ...string) string { return b.words(c.lang, key, more...) }
			b.Press(say("devices.open"))
			b.Press(say("register.open"))
			b.Sees(say("register.why"))
			b.look("register-1-" + c.lang)
			b.Press(say("way.card"))
			b.look("register-2-" + c.lang)
			b.Press(say("way.card.do"))
			b.Sees(say("register.how"))
			b.look("register-3-" + c.lang)
			st.locked(func() { st.refuse = map[string]string{"register": "wrong-person"} })
			b.Expect = append(b.Expect, "400", "409", "410")
			b.Press(say("register.do"))
			b.Sees(say("error.wrong-person"))
			b.Press(say("register.do"))
			b.Sees("JANE DOE")
			b.Sees(say("by.card"))
			b.look("register-4-" + c.lang)
			st.locked(func() {
				if len(st.credentials) != 1 || st.credentials[0].Kind != workflow.QualifiedCertificate || string(st.credentials[0].Data) != string(st.remote.cert) {
					t.Errorf("registered: %+v", st.credentials)
				}
			})
			b.Press(say("devices.remove-of", "name", "JANE DOE, JANE DOE"))
			b.Press(say("devices.sure-of", "name", "JANE DOE, JANE DOE"))
			b.Sees(say("devices.none"))
			st.locked(func() {
				if st.credentials[0].Revoked.IsZero() {
					t.Error("it was not removed")
				}
			})
		})
	}
}

// A certificate that is none, or too large, is refused before anybody looks into it.
func TestCardCalls(t *testing.T) {
	st, tok := advanced(t, "contract.pdf")
	st.post(t, "/api/enrol/begin", ownBodies(tok)["enrol/begin"], st.proven)
	st.approve("enrolment0", "administrator")
	large := strings.Replace(ownBodies(tok)["enrol/certificate"], "AAAA", base64.StdEncoding.EncodeToString(make([]byte, maxCertificate+1)), 1)
	if res, body := st.post(t, "/api/enrol/certificate", large, st.proven); res.StatusCode == 200 || !strings.Contains(body, "malformed-certificate") {
		t.Errorf("a large certificate: %s %s", res.Status, body)
	}
	if res, body := st.post(t, "/api/enrol/certificate", ownBodies(tok)["enrol/certificate"], st.proven); !strings.Contains(body, "malformed-certificate") {
		t.Errorf("no certificate: %s %s", res.Status, body)
	}
}
