package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"milterd/auth"
	"milterd/signer/csc"
	"milterd/signer/csc/csctest"
	"milterd/workflow"
)

const (
	clientSecret = "s3cret/+ of the client"
	provider     = "Example Trust"
	pin          = "271828"
	preparation  = "preparation1"
)

var john = workflow.Person{Mail: "john@corp.test", Name: "John Doe"}

// attributes are those of two documents.
var attributes = [][]byte{[]byte("attributes of the contract"), []byte("attributes of the annex")}

// place is a stand-in provider with John, and milterd's side of it.
type place struct {
	*csctest.Server
	*Providers
	log  *bytes.Buffer
	errs []string // of all that was refused
}

// start starts both; John has the given credential.
func start(t *testing.T, c csctest.Credential) *place {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Trial CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	serial := int64(1)
	s, err := csctest.New(csctest.Config{ClientID: "milterd", Secret: clientSecret, ClientCredentials: true, RedirectURI: "https://sign.corp.test/r",
		Issue: func(pub crypto.PublicKey, user string) ([]byte, [][]byte, error) {
			serial++
			leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: user},
				NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageContentCommitment}, ca, pub, caKey)
			return leaf, [][]byte{der}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.AddUser(csctest.User{ID: john.Mail, PIN: pin})
	s.AddUser(csctest.User{ID: "jane@corp.test", PIN: "314159"})
	if c.ID != "" {
		c.User = john.Mail
		if err := s.AddCredential(c); err != nil {
			t.Fatal(err)
		}
	}
	client, err := csc.New(csc.Provider{Name: provider, URL: s.URL, ClientID: "milterd", Secret: clientSecret, AuthorizeURL: s.AuthorizeURL, TokenURL: s.TokenURL,
		RedirectURI: "https://sign.corp.test/r", ClientCredentials: true, Timeout: 400 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auth.NewKeys(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	p := &place{Server: s, log: &bytes.Buffer{}}
	p.Providers = &Providers{Clients: []*csc.Client{client}, Seal: keys.Seal, Unseal: keys.Unseal,
		Log: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	t.Cleanup(func() { p.toldNothing(t) })
	return p
}

// found is John's only key as a preparation keeps it.
func (p *place) found(t *testing.T) *workflow.Acceptance {
	t.Helper()
	all, err := p.Find(t.Context(), provider, john, len(attributes))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d keys: %v", len(all), err)
	}
	return &workflow.Acceptance{By: all[0].By, Credential: all[0].Credential, Algorithm: all[0].Algorithm, Chain: all[0].Chain}
}

// refused checks the reason of an error, whose fault it says that it is, and that
// nothing was signed.
func (p *place) refused(t *testing.T, what string, values [][]byte, err error, reason string, code int) {
	t.Helper()
	var r *workflow.Refusal
	if values != nil || !errors.As(err, &r) || r.Reason != reason || r.Code != code || r.Text == "" {
		t.Errorf("%s: %d values, %v; want %d %s", what, len(values), err, code, reason)
		return
	}
	p.errs = append(p.errs, r.Error(), r.Text, fmt.Sprintf("%+v", err), fmt.Sprint(r.Err))
}

var sad = regexp.MustCompile(`"(?:SAD|handle)":"([^"]+)"`)

// toldNothing looks for every secret that went to the provider in log and errors.
func (p *place) toldNothing(t *testing.T) {
	t.Helper()
	secrets := map[string]bool{pin: true, clientSecret: true, url.QueryEscape(clientSecret): true}
	for _, r := range p.Requests() {
		if _, token, ok := strings.Cut(r.Authorization, " "); ok {
			secrets[token] = true
		}
		for _, m := range sad.FindAllStringSubmatch(r.Body, -1) {
			secrets[m[1]] = true
		}
		for _, address := range []string{r.Body, r.URL[strings.Index(r.URL, "?")+1:]} {
			if f, err := url.ParseQuery(address); err == nil {
				for _, name := range []string{"code", "code_verifier", "state"} {
					secrets[f.Get(name)] = true
				}
			}
		}
	}
	delete(secrets, "")
	for secret := range secrets {
		for _, said := range append(p.errs, p.log.String()) {
			if strings.Contains(said, secret) {
				t.Errorf("%q was told: %s", secret, said)
			}
		}
	}
}

// calls counts the requests of a call.
func (p *place) calls(name string) (n int) {
	for _, r := range p.Requests() {
		if r.Call == name {
			n++
		}
	}
	return n
}

// verified checks values with Go's own library.
func verified(t *testing.T, q *workflow.Acceptance, values [][]byte, err error) {
	t.Helper()
	leaf, bad := x509.ParseCertificate(q.Chain[0])
	if err != nil || bad != nil || len(values) != len(attributes) {
		t.Fatalf("%d values: %v, %v", len(values), err, bad)
	}
	for i, v := range values {
		if sum := sha256.Sum256(attributes[i]); !ecdsa.VerifyASN1(leaf.PublicKey.(*ecdsa.PublicKey), sum[:], v) {
			t.Errorf("value %d is not one over its attributes", i)
		}
	}
}

// Whom the provider does not know, and keys that cannot serve.
func TestFind(t *testing.T) {
	t.Parallel()
	p256 := csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, Multisign: 10}
	with := func(change func(*csctest.Credential)) csctest.Credential { c := p256; change(&c); return c }
	for name, c := range map[string]struct {
		has    csctest.Credential
		who    string
		at     string
		reason string
		code   int
	}{
		"somebody else":       {p256, "jane@corp.test", provider, "no-credential", 550},
		"unknown there":       {p256, "max@corp.test", provider, "no-credential", 550},
		"no key":              {csctest.Credential{}, john.Mail, provider, "no-credential", 550},
		"one at a time":       {with(func(c *csctest.Credential) { c.Multisign = 1 }), john.Mail, provider, "no-credential", 550},
		"a seal":              {with(func(c *csctest.Credential) { c.Qualifier = "eu_eidas_qeseal" }), john.Mail, provider, "no-credential", 550},
		"disabled":            {with(func(c *csctest.Credential) { c.Disabled = true }), john.Mail, provider, "no-credential", 550},
		"one-shot, one alone": {with(func(c *csctest.Credential) { c.OneShot, c.Multisign = true, 1 }), john.Mail, provider, "no-credential", 550},
		"no such provider":    {p256, john.Mail, "Elsewhere", "no-provider", 550},
		"provider, no name":   {p256, john.Mail, "", "no-provider", 550},
		"provider, same name": {p256, john.Mail, strings.ToLower(provider), "no-provider", 550},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c.has)
			all, err := p.Find(t.Context(), c.at, workflow.Person{Mail: c.who}, 2)
			if all != nil {
				t.Errorf("found %+v", all)
			}
			p.refused(t, name, nil, err, c.reason, c.code)
		})
	}
}

// Every call of a signature goes wrong in every way: each has its reason, the
// provider's fault is told from the person's, and nothing is half-signed.
func TestProviderMisbehaves(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, Multisign: 10})
	q := p.found(t)
	sign := func() ([][]byte, error) { return p.Sign(t.Context(), q, attributes, map[string]string{"PIN": pin}) }
	values, err := sign()
	verified(t, q, values, err)
	for _, c := range []struct {
		call   string
		b      csctest.Behaviour
		reason string
		code   int
	}{
		{"credentials/info", csctest.Down, "qtsp-away", 450},
		{"credentials/info", csctest.Page, "qtsp-answer", 450},
		{"credentials/info", csctest.NewCertificate, "certificate-changed", 550},
		{"credentials/info", csctest.NoCertificate, "certificate-changed", 550},
		{"credentials/info", csctest.Huge, "qtsp-answer", 450},
		{"credentials/authorize", csctest.Down, "qtsp-away", 450},
		{"credentials/authorize", csctest.TooMany, "qtsp-busy", 450},
		{"credentials/authorize", csctest.Silent, "qtsp-away", 450},
		{"credentials/authorize", csctest.Half, "qtsp-answer", 450},
		{"credentials/authorize", csctest.Echo, "qtsp-refused", 450},
		{"credentials/authorize", csctest.Unknown, "authorisation-expired", 550},
		{"signatures/signHash", csctest.WrongHash, "qtsp-signature", 450},
		{"signatures/signHash", csctest.OtherKey, "qtsp-signature", 450},
		{"signatures/signHash", csctest.Swapped, "qtsp-signature", 450},
		{"signatures/signHash", csctest.Fewer, "qtsp-answer", 450},
		{"signatures/signHash", csctest.UsedUp, "authorisation-expired", 550},
		{"signatures/signHash", csctest.TooMany, "qtsp-busy", 450},
		{"signatures/signHash", csctest.Down, "qtsp-away", 450},
		{"signatures/signHash", csctest.Silent, "qtsp-away", 450},
		{"signatures/signHash", csctest.Hangup, "qtsp-away", 450},
		{"signatures/signHash", csctest.Cut, "qtsp-away", 450},
		{"signatures/signHash", csctest.Half, "qtsp-answer", 450},
		{"signatures/signHash", csctest.Huge, "qtsp-answer", 450},
		{"signatures/signHash", csctest.Page, "qtsp-answer", 450},
		{"signatures/signHash", csctest.Moved, "qtsp-answer", 450},
		{"signatures/signHash", csctest.Echo, "qtsp-refused", 450},
		{"oauth2/token", csctest.Down, "qtsp-away", 450},
		{"oauth2/token", csctest.Echo, "qtsp-refused", 450},
	} {
		p.Behave(csctest.Honest)
		q = p.found(t) // it may have been made anew
		if c.call == "oauth2/token" {
			p.ForgetTokens()
		}
		p.Behave(c.b, c.call)
		before := p.calls("credentials/authorize")
		values, err := sign()
		p.refused(t, c.call+" "+string(c.b), values, err, c.reason, c.code)
		if n := p.calls("credentials/authorize") - before; n > 1 {
			t.Errorf("%s %s: the PIN was sent %d times", c.call, c.b, n)
		}
	}
	p.Behave(csctest.Honest)
	values, err = sign()
	verified(t, q, values, err)
	if !strings.Contains(p.log.String(), "again in 7s") {
		t.Error("how long the provider wants to be left alone is not in the log")
	}
	p.Close()
	values, err = sign()
	p.refused(t, "nobody there", values, err, "qtsp-away", 450)
}

// Certificates that came after the digests, or are others than the ones prepared for.
func TestCertificateChanged(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, Multisign: 10})
	q := p.found(t)
	if err := p.AddCredential(csctest.Credential{ID: "B", User: "jane@corp.test", Type: csctest.P256, PIN: true, Multisign: 10}); err != nil {
		t.Fatal(err)
	}
	if err := p.AddCredential(csctest.Credential{ID: "C", User: john.Mail, Type: csctest.P256, PIN: true, Multisign: 10, OneShot: true}); err != nil {
		t.Fatal(err)
	}
	for id, reason := range map[string]string{"B": "certificate-changed", "C": "certificate-changed", "nonsense": "no-credential"} {
		other := *q
		other.Credential = id
		values, err := p.Sign(t.Context(), &other, attributes, map[string]string{"PIN": pin})
		p.refused(t, "key "+id, values, err, reason, 550)
		_, err = p.Challenge(t.Context(), &other, "OTP")
		p.refused(t, "challenge of key "+id, nil, err, reason, 550)
		_, _, err = p.Leave(t.Context(), &other, preparation, john.Mail, attributes, "en")
		p.refused(t, "leaving for key "+id, nil, err, reason, 550)
	}
	if n := p.calls("credentials/authorize") + p.calls("signatures/signHash"); n != 0 {
		t.Errorf("%d calls about keys of others", n)
	}
}

// What the person types: wrong, missing, too much, too often.
func TestAnswers(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, PIN: true, OTP: true, Multisign: 10})
	q := p.found(t)
	sign := func(answers map[string]string) ([][]byte, error) { return p.Sign(t.Context(), q, attributes, answers) }
	for name, answers := range map[string]map[string]string{
		"nothing":     nil,
		"no code":     {"PIN": pin},
		"empty":       {"PIN": pin, "OTP": ""},
		"more":        {"PIN": pin, "OTP": "123456", "SAD": "x"},
		"other names": {"pin": pin, "otp": "123456"},
	} {
		values, err := sign(answers)
		p.refused(t, name, values, err, "invalid-authentication", 550)
	}
	if n := p.calls("credentials/authorize"); n != 0 {
		t.Errorf("%d incomplete answers were sent, and are counted there", n)
	}
	_, err := p.Challenge(t.Context(), q, "PIN")
	p.refused(t, "a PIN that is to be sent", nil, err, "not-offered", 550)
	if question, err := p.Challenge(t.Context(), q, "OTP"); err != nil || question != "" {
		t.Fatalf("%q, %v", question, err)
	}
	code := p.OTP(john.Mail)
	values, err := sign(map[string]string{"PIN": "000000", "OTP": code})
	p.refused(t, "wrong PIN", values, err, "invalid-authentication", 550)
	values, err = sign(map[string]string{"PIN": pin, "OTP": code})
	verified(t, q, values, err)
	for range 3 {
		values, err = sign(map[string]string{"PIN": "000000", "OTP": code})
		p.refused(t, "wrong PIN", values, err, "invalid-authentication", 550)
	}
	values, err = sign(map[string]string{"PIN": pin, "OTP": code})
	p.refused(t, "locked", values, err, "credential-locked", 550)
	p.errs = append(p.errs, "") // and the code is in none of it
	for _, said := range append(p.errs, p.log.String()) {
		if strings.Contains(said, code) {
			t.Errorf("the code was told: %s", said)
		}
	}
}

// Agreed on a phone, declined there, or left alone.
func TestOnAnotherDevice(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, App: true, Multisign: 10})
	p.every, p.agree = 50*time.Millisecond, 10*time.Second
	q := p.found(t)
	on := func(decide func(string)) {
		before := p.calls("credentials/authorizeCheck")
		go func() {
			for p.calls("credentials/authorizeCheck") == before {
				time.Sleep(10 * time.Millisecond)
			}
			decide("A")
		}()
	}
	on(p.Agree)
	values, err := p.Sign(t.Context(), q, attributes, nil)
	verified(t, q, values, err)
	on(p.Decline)
	values, err = p.Sign(t.Context(), q, attributes, nil)
	p.refused(t, "declined", values, err, "authorisation-denied", 550)
	p.agree = 300 * time.Millisecond
	values, err = p.Sign(t.Context(), q, attributes, nil)
	p.refused(t, "left alone", values, err, "not-agreed", 550)
	p.Behave(csctest.Silent, "credentials/authorizeCheck") // the time ends within a call
	values, err = p.Sign(t.Context(), q, attributes, nil)
	p.refused(t, "left alone by a slow provider", values, err, "not-agreed", 550)
}

// browse is John on the provider's page, and gives what the browser brings back.
func (p *place) browse(t *testing.T, address, decision string) url.Values {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(address, url.Values{"user": {john.Mail}, "pin": {pin}, "decision": {decision}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("%s; refused %q", resp.Status, p.Refused())
	}
	return back.Query()
}

// away is John on his way: what his browser keeps, and brings back.
func (p *place) away(t *testing.T, q *workflow.Acceptance, decision string) (kept []byte, query url.Values) {
	t.Helper()
	address, kept, err := p.Leave(t.Context(), q, preparation, john.Mail, attributes, "de")
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(address); err != nil || u.Query().Get("lang") != "de" {
		t.Errorf("sent to %s: %v", address, err)
	}
	return kept, p.browse(t, address, decision)
}

// The provider's page: only what was begun for this preparation, by this person, ends.
func TestReturn(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: true, Multisign: 10})
	q := p.found(t)
	back := func(id, mail string, kept []byte, query url.Values) ([][]byte, error) {
		return p.Return(t.Context(), q, id, mail, attributes, kept, query)
	}
	kept, query := p.away(t, q, "yes")
	values, err := back(preparation, john.Mail, kept, query)
	verified(t, q, values, err)
	values, err = back(preparation, john.Mail, kept, query)
	p.refused(t, "a code used twice", values, err, "authorisation-expired", 550)

	kept, query = p.away(t, q, "yes")
	other, foreign := p.away(t, q, "yes")
	change := func(name, value string) url.Values {
		out := url.Values{}
		for k, v := range query {
			out[k] = v
		}
		out[name] = []string{value}
		return out
	}
	for i := range kept {
		if i%7 == 0 { // any of its bytes
			bad := bytes.Clone(kept)
			bad[i] ^= 1
			values, err := back(preparation, john.Mail, bad, query)
			p.refused(t, fmt.Sprintf("byte %d of what was kept", i), values, err, "preparation-gone", 550)
		}
	}
	for _, c := range []struct {
		name, id, mail string
		kept           []byte
		query          url.Values
		reason         string
		code           int
	}{
		{"of another preparation", "preparation2", john.Mail, kept, query, "preparation-gone", 550},
		{"of somebody else", preparation, "jane@corp.test", kept, query, "preparation-gone", 550},
		{"nothing kept", preparation, john.Mail, nil, query, "preparation-gone", 550},
		{"cut short", preparation, john.Mail, kept[:len(kept)-1], query, "preparation-gone", 550},
		{"forged state", preparation, john.Mail, kept, change("state", "forged"), "authorisation-mismatch", 550},
		{"no state", preparation, john.Mail, kept, change("state", ""), "authorisation-mismatch", 550},
		{"state of another way", preparation, john.Mail, kept, foreign, "authorisation-mismatch", 550},
		{"forged no", preparation, john.Mail, kept, url.Values{"error": {"access_denied"}, "state": {"forged"}}, "authorisation-mismatch", 550},
		{"two codes", preparation, john.Mail, kept, url.Values{"state": query["state"], "code": {"a", "b"}}, "authorisation-mismatch", 550},
		{"neither code nor error", preparation, john.Mail, kept, url.Values{"state": query["state"]}, "qtsp-answer", 450},
		{"nothing", preparation, john.Mail, kept, nil, "authorisation-mismatch", 550},
		{"no", preparation, john.Mail, kept, url.Values{"error": {"access_denied"}, "state": query["state"]}, "authorisation-denied", 550},
		{"provider fails", preparation, john.Mail, kept, url.Values{"error": {"server_error"}, "state": query["state"]}, "qtsp-away", 450},
		{"a long word", preparation, john.Mail, kept, url.Values{"error": {strings.Repeat("x", 20<<10)}, "state": query["state"]}, "authorisation-mismatch", 550},
	} {
		values, err := back(c.id, c.mail, c.kept, c.query)
		p.refused(t, c.name, values, err, c.reason, c.code)
	}
	if n := p.calls("oauth2/token"); n != 3 { // of our own, and the two of the code used twice
		t.Errorf("the token endpoint was asked %d times", n)
	}
	// A code of another way does not fit this verifier (RFC 7636).
	values, err = back(preparation, john.Mail, kept, change("code", foreign.Get("code")))
	p.refused(t, "a code of another way", values, err, "authorisation-expired", 550)
	values, err = back(preparation, john.Mail, other, foreign)
	p.refused(t, "whose code was spent by that", values, err, "authorisation-expired", 550)
	values, err = p.Return(t.Context(), q, preparation, john.Mail, attributes[:1], kept, query)
	p.refused(t, "for other documents", values, err, "preparation-gone", 550)
	values, err = p.Return(t.Context(), q, preparation, john.Mail, [][]byte{attributes[1], attributes[0]}, kept, query)
	p.refused(t, "in another order", values, err, "preparation-gone", 550)
	another := *q
	another.Credential = "B"
	values, err = p.Return(t.Context(), &another, preparation, john.Mail, attributes, kept, query)
	p.refused(t, "for another key", values, err, "preparation-gone", 550)
	values, err = back(preparation, john.Mail, kept, query)
	verified(t, q, values, err) // none of all that has used it up
}

// Whoever comes back too late, to another certificate, or to a provider that fails.
func TestReturnFails(t *testing.T) {
	t.Parallel()
	p := start(t, csctest.Credential{ID: "A", Type: csctest.P256, OAuth2: true, Multisign: 10})
	q := p.found(t)
	kept, query := p.away(t, q, "no")
	values, err := p.Return(t.Context(), q, preparation, john.Mail, attributes, kept, query)
	p.refused(t, "declined there", values, err, "authorisation-denied", 550)

	kept, query = p.away(t, q, "yes")
	plain, err := p.Unseal(preparation, john.Mail, kept)
	if err != nil {
		t.Fatal(err)
	}
	var r csc.Redirect
	if err := json.Unmarshal(plain, &r); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept), r.Verifier) || strings.Contains(string(kept), r.State) {
		t.Error("the browser can read what it keeps")
	}
	r.Expires = time.Now().Add(-time.Second)
	old, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if old, err = p.Seal(preparation, john.Mail, old); err != nil {
		t.Fatal(err)
	}
	values, err = p.Return(t.Context(), q, preparation, john.Mail, attributes, old, query)
	p.refused(t, "too late", values, err, "authorisation-expired", 550)

	for _, c := range []struct {
		call   string
		b      csctest.Behaviour
		reason string
		code   int
	}{
		{"oauth2/token", csctest.Down, "qtsp-away", 450},
		{"oauth2/token", csctest.Echo, "qtsp-refused", 450},
		{"oauth2/token", csctest.Half, "qtsp-answer", 450},
		{"credentials/info", csctest.NewCertificate, "certificate-changed", 550},
		{"credentials/info", csctest.NoCertificate, "qtsp-answer", 450},
		{"signatures/signHash", csctest.WrongHash, "qtsp-signature", 450},
		{"signatures/signHash", csctest.Fewer, "qtsp-answer", 450},
		{"signatures/signHash", csctest.Echo, "qtsp-refused", 450},
		{"signatures/signHash", csctest.Silent, "qtsp-away", 450},
	} {
		q := p.found(t) // it may have been made anew
		kept, query := p.away(t, q, "yes")
		p.Behave(c.b, c.call)
		values, err := p.Return(t.Context(), q, preparation, john.Mail, attributes, kept, query)
		p.refused(t, c.call+" "+string(c.b), values, err, c.reason, c.code)
		p.Behave(csctest.Honest)
	}
	q = p.found(t)
	kept, query = p.away(t, q, "yes")
	gone := *p.Providers
	gone.Clients = nil
	values, err = gone.Return(t.Context(), q, preparation, john.Mail, attributes, kept, query)
	p.refused(t, "a provider that was taken away", values, err, "no-provider", 550)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if values, err := p.Return(ctx, q, preparation, john.Mail, attributes, kept, query); err == nil || values != nil {
		t.Errorf("out of time: %d values, %v", len(values), err)
	}
}
