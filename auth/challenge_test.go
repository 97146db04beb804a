package auth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"

	"milterd/auth"
	"milterd/auth/authtest"
	"milterd/workflow"
)

// The challenge as docs say it, written out.
func TestChallenge(t *testing.T) {
	nonce := bytes.Repeat([]byte{7}, 32)
	one := workflow.Digest{1}
	text := "milterd/sign\x00session\x00john@corp.test\x00" + "\x00\x00\x00\x01" + string(one[:]) + string(nonce)
	if auth.Challenge("sign", "session", "john@corp.test", []workflow.Digest{one}, nonce) != sha256.Sum256([]byte(text)) {
		t.Error("not as documented")
	}
	if auth.ApprovalOf("abc") != sha256.Sum256([]byte("abc")) {
		t.Error("approval not as documented")
	}
}

// Evidence holds only as it was given: each field counts.
func TestCheckAssertion(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"), key("two"))
	proof, r := d.sign(d.john, ceremony, answer, key("one"), key("two"))
	want(t, "sign", r, "")
	other, answer2 := d.ask(t, d.john, d.device, auth.LabelSign, key("one"), key("two"))
	second, r := d.sign(d.john, other, answer2, key("one"), key("two"))
	want(t, "sign again", r, "")
	if err := auth.CheckAssertion(proof.Assertion); err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	for name, change := range map[string]func(*workflow.Assertion){
		"label":                func(a *workflow.Assertion) { a.Label = "open" },
		"session":              func(a *workflow.Assertion) { a.Session = "bbbbbbbbbbbbbbbb" },
		"mail":                 func(a *workflow.Assertion) { a.Mail = "jane@corp.test" },
		"digest":               func(a *workflow.Assertion) { a.Digests = []workflow.Digest{key("one"), key("evil")} },
		"digest order":         func(a *workflow.Assertion) { a.Digests = []workflow.Digest{key("two"), key("one")} },
		"nonce":                func(a *workflow.Assertion) { a.Nonce = flip(a.Nonce, 0) },
		"short nonce":          func(a *workflow.Assertion) { a.Nonce = a.Nonce[:31] },
		"digest as nonce":      func(a *workflow.Assertion) { a.Nonce = append(a.Digests[1][:], a.Nonce...); a.Digests = a.Digests[:1] },
		"fields moved":         func(a *workflow.Assertion) { a.Label, a.Session = a.Label+"\x00"+a.Session, a.Mail; a.Mail = "" },
		"relying party":        func(a *workflow.Assertion) { a.RelyingParty = "corp.test" },
		"origin":               func(a *workflow.Assertion) { a.Origin = "https://evil.test" },
		"origin and its party": func(a *workflow.Assertion) { a.Origin, a.RelyingParty = "https://evil.test", "evil.test" },
		"public key":           func(a *workflow.Assertion) { a.PublicKey = flip(a.PublicKey, len(a.PublicKey)-1) },
		"no public key":        func(a *workflow.Assertion) { a.PublicKey = nil },
		"user verification":    func(a *workflow.Assertion) { a.AuthenticatorData[32] &^= 4 },
		"counter":              func(a *workflow.Assertion) { a.AuthenticatorData = flip(a.AuthenticatorData, 36) },
		"short data":           func(a *workflow.Assertion) { a.AuthenticatorData = a.AuthenticatorData[:36] },
		"client data": func(a *workflow.Assertion) {
			a.ClientData = bytes.Replace(a.ClientData, []byte("webauthn.get"), []byte("webauthn.got"), 1)
		},
		"signature":         func(a *workflow.Assertion) { a.Signature = flip(a.Signature, len(a.Signature)-1) },
		"no signature":      func(a *workflow.Assertion) { a.Signature = nil },
		"another signature": func(a *workflow.Assertion) { a.Signature = second.Assertion.Signature },
		"another answer": func(a *workflow.Assertion) {
			a.Signature, a.ClientData, a.AuthenticatorData = second.Assertion.Signature, second.Assertion.ClientData, second.Assertion.AuthenticatorData
		},
		"credential": func(a *workflow.Assertion) { a.Credential = "!" },
	} {
		a := *proof.Assertion
		a.AuthenticatorData = bytes.Clone(a.AuthenticatorData)
		change(&a)
		if err := auth.CheckAssertion(&a); err == nil {
			t.Errorf("%s changed, and it holds", name)
		} else if !strings.HasPrefix(err.Error(), "assertion: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Evidence is judged by itself: what an authenticator has really signed, but
// without the person, in another place or over a nonce of no length, does not hold.
func TestCheckAssertionOfRealAnswers(t *testing.T) {
	d := newDesk(t)
	d.enrol(t, d.john, d.device)
	ceremony, answer := d.ask(t, d.john, d.device, auth.LabelSign, key("one"))
	proof, r := d.sign(d.john, ceremony, answer, key("one"))
	want(t, "sign", r, "")
	for name, c := range map[string]struct {
		mischief authtest.Mischief
		nonce    int
		origin   string
		good     bool
	}{
		"as it should be":    {nonce: 32, origin: origin, good: true},
		"nobody verified":    {authtest.Mischief{Unverified: true}, 32, origin, false},
		"nobody there":       {authtest.Mischief{Absent: true}, 32, origin, false},
		"in a frame":         {authtest.Mischief{CrossOrigin: true}, 32, origin, false},
		"no nonce":           {nonce: 0, origin: origin},
		"a short nonce":      {nonce: 31, origin: origin},
		"of a subdomain":     {authtest.Mischief{FromOrigin: "https://evil.sign.corp.test"}, 32, "https://evil.sign.corp.test", false},
		"of another website": {authtest.Mischief{FromOrigin: "https://evil.test"}, 32, "https://evil.test", false},
	} {
		a := *proof.Assertion
		a.Nonce, a.Origin = make([]byte, c.nonce), c.origin
		challenge := auth.Challenge(a.Label, a.Session, a.Mail, a.Digests, a.Nonce)
		options, err := json.Marshal(map[string]any{"publicKey": map[string]any{"rpId": a.RelyingParty,
			"challenge":        base64.RawURLEncoding.EncodeToString(challenge[:]),
			"allowCredentials": []map[string]string{{"type": "public-key", "id": a.Credential}}}})
		if err != nil {
			t.Fatal(err)
		}
		d.device.Mischief = c.mischief
		b, err := d.device.Get(options)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Response struct{ AuthenticatorData, ClientDataJSON, Signature protocol.URLEncodedBase64 }
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		a.AuthenticatorData, a.ClientData, a.Signature = got.Response.AuthenticatorData, got.Response.ClientDataJSON, got.Response.Signature
		if err := auth.CheckAssertion(&a); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeyOf(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, k)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if d, err := auth.KeyOf(csr); err != nil || d != sha256.Sum256(spki) {
		t.Errorf("%v, %v", d, err)
	}
	_, err = auth.KeyOf(spki)
	want(t, "no request", reason(err), "bad-csr")
}

func TestProofs(t *testing.T) {
	p := auth.DefaultProofs()
	for level, accepted := range map[workflow.Level]string{workflow.Standard: "code passkey totp", workflow.Advanced: "passkey", workflow.Qualified: ""} {
		for _, proof := range []string{auth.ProofCode, auth.ProofPasskey, auth.ProofTOTP, ""} {
			r := "proof-not-accepted"
			if proof != "" && strings.Contains(accepted, proof) {
				r = ""
			}
			want(t, level.String()+" "+proof, reason(p.Check(level, proof)), r)
		}
	}
}
