package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signer/remote"
	"milterd/workflow"
)

// The fake's providers, each with its own way.
const (
	byPIN  = "Alpha Trust"                                               // two keys, and one whose certificate is made for each signature; a PIN
	byCode = "Beta Sign"                                                 // a PIN, and a code that is sent
	byPage = "Gamma Qualified Trust Services of the Chamber of Commerce" // its own page
)

const (
	fakePIN  = "8642"
	fakeSent = "975310"
)

// fakeRemote stands in for remote.Providers; signer/remote has its own tests.
type fakeRemote struct {
	*fake
	key  *ecdsa.PrivateKey
	cert []byte
	page *httptest.Server // of the third provider
	back string           // where it sends the browser
	fail error            // of the next call
}

func newFakeRemote(t *testing.T, f *fake) *fakeRemote {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "JANE DOE"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageContentCommitment}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	r := &fakeRemote{fake: f, key: key, cert: der}
	r.page = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.page.Close)
	return r
}

// serve is the page of a provider: two links lead back.
func (r *fakeRemote) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>Provider</title><link rel="icon" href="data:,"><main><h1>A stand-in for a provider</h1>
<a href="%[1]s?code=fakecode&amp;state=fakestate">Agree</a> <a href="%[1]s?error=access_denied&amp;state=fakestate">Decline</a></main></html>`, r.back)
}

// trouble is what the test wants to go wrong, once.
func (r *fakeRemote) trouble(call string) error {
	if err := r.once(call); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.fail
	r.fail = nil
	return err
}

func (r *fakeRemote) Names() []string { return []string{byPIN, byCode, byPage} }

func (r *fakeRemote) Find(_ context.Context, provider string, _ workflow.Person, _ int) ([]remote.Credential, error) {
	if err := r.trouble("find"); err != nil {
		return nil, err
	}
	if !slices.Contains(r.Names(), provider) {
		return nil, refusal("no-provider", "None.", nil)
	}
	k := remote.Credential{Subject: "JANE DOE", Until: time.Now().Add(400 * 24 * time.Hour),
		Offer: workflow.Offer{By: provider, Credential: "key", Algorithm: "ES256", Chain: [][]byte{r.cert}}}
	pin := remote.Factor{ID: "PIN", Typed: true, Numeric: true, Hidden: true}
	switch provider {
	case byPIN:
		other := k
		k.Factors = []remote.Factor{pin}
		other.Credential, other.Subject, other.Factors = "key2", "JANE DOE, notary in the district of Upper Example", k.Factors
		once := other
		once.Credential, once.Subject, once.Until, once.Chain = "once", "", time.Time{}, nil
		return []remote.Credential{k, other, once}, nil
	case byCode:
		k.Factors = []remote.Factor{pin, {ID: "OTP", Typed: true, Sent: true, Numeric: true, Label: "Code from the text message"}}
	case byPage:
		k.Page = true
	}
	return []remote.Credential{k}, nil
}

func (r *fakeRemote) Challenge(context.Context, *workflow.Acceptance, string) (string, error) {
	return "", r.trouble("challenge")
}

func (r *fakeRemote) Sign(_ context.Context, q *workflow.Acceptance, attributes [][]byte, answers map[string]string) ([][]byte, error) {
	if err := r.trouble("sign"); err != nil {
		return nil, err
	}
	if answers["PIN"] != fakePIN || q.By == byCode && answers["OTP"] != fakeSent {
		return nil, refusal("invalid-authentication", "Wrong.", nil)
	}
	if len(q.Chain) == 0 {
		return r.messages(attributes)
	}
	return r.values(attributes), nil
}

// messages are complete, over digests.
func (r *fakeRemote) messages(digests [][]byte) (out [][]byte, err error) {
	cert, err := x509.ParseCertificate(r.cert)
	if err != nil {
		return nil, err
	}
	for _, d := range digests {
		attributes, err := cms.SignedAttributes(cms.ES256, d, cert)
		if err != nil {
			return nil, err
		}
		der, err := cms.SignedData{Algorithm: cms.ES256, Certificates: []*x509.Certificate{cert}, Attributes: attributes, Value: r.values([][]byte{attributes})[0]}.Marshal()
		if err != nil {
			return nil, err
		}
		out = append(out, der)
	}
	return out, nil
}

func (r *fakeRemote) values(attributes [][]byte) (out [][]byte) {
	for _, a := range attributes {
		h := sha256.Sum256(a)
		x, y, err := ecdsa.Sign(rand.Reader, r.key, h[:])
		if err != nil {
			panic(err)
		}
		value := make([]byte, 64)
		x.FillBytes(value[:32])
		y.FillBytes(value[32:])
		out = append(out, value)
	}
	return out
}

func (r *fakeRemote) Leave(_ context.Context, _ *workflow.Acceptance, id, mail string, _ [][]byte, lang string) (string, []byte, error) {
	return r.page.URL + "/authorize?lang=" + lang, []byte(id + mail), r.trouble("away")
}

func (r *fakeRemote) Return(_ context.Context, _ *workflow.Acceptance, id, mail string, attributes [][]byte, kept []byte, query url.Values) ([][]byte, error) {
	if err := r.trouble("back"); err != nil {
		return nil, err
	}
	switch {
	case string(kept) != id+mail || query.Get("state") != "fakestate":
		return nil, refusal("authorisation-mismatch", "Other.", nil)
	case query.Get("error") != "" || query.Get("code") != "fakecode":
		return nil, refusal("authorisation-denied", "No.", nil)
	}
	return r.values(attributes), nil
}

func (f *fake) PrepareOffer(_ context.Context, v workflow.Visit, shown []workflow.Shown, a workflow.Appearance, o workflow.Offer, _ string) (*workflow.Preparation, error) {
	f.mu.Lock()
	busy := f.busy > 0
	f.busy--
	f.mu.Unlock()
	if busy {
		return nil, refusal("busy", "A colleague is signing.", nil)
	}
	if err := f.once("prepare by " + o.By); err != nil {
		return nil, err
	}
	var cert *x509.Certificate
	if len(o.Chain) > 0 {
		var err error
		if cert, err = x509.ParseCertificate(o.Chain[0]); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = o.Whole
	return f.write(v, shown, a, cert, &workflow.Acceptance{By: o.By, Credential: o.Credential, Algorithm: o.Algorithm, Chain: o.Chain})
}

func (f *fake) Prepared(_ context.Context, v workflow.Visit, id string) (*workflow.Preparation, *workflow.Acceptance, error) {
	p, err := f.held(v, id)
	if err != nil {
		return nil, nil, err
	}
	return p.Preparation, p.qualified, nil
}

func (f *fake) Leave(_ context.Context, v workflow.Visit, id string) (time.Time, error) {
	if err := f.once("leave"); err != nil {
		return time.Time{}, err
	}
	_, err := f.held(v, id)
	return time.Now().Add(10 * time.Minute), err
}

func (f *fake) FinishOffer(ctx context.Context, v workflow.Visit, id string, values [][]byte, client string) error {
	p, err := f.held(v, id)
	if err != nil {
		return err
	}
	if p.qualified == nil {
		return refusal("wrong-level", "Another.", nil)
	}
	if len(p.qualified.Chain) == 0 {
		return f.finishOnce(v, p, values)
	}
	return f.Finish(ctx, v, id, values, client, func(workflow.Tx, []workflow.Digest) (workflow.Proof, error) {
		return workflow.Proof{Method: "qualified signature"}, nil
	})
}

// finishOnce takes complete messages; package workflow has the tests of what is not taken.
func (f *fake) finishOnce(v workflow.Visit, p *fakePreparation, messages [][]byte) error {
	if err := f.once("finish once"); err != nil {
		return err
	}
	for i, der := range messages {
		if f.whole {
			continue // the fake of the phones has made it
		}
		m, err := cms.Parse(der)
		if err == nil {
			_, err = m.Verify(p.Documents[i].Digest)
		}
		if err != nil {
			return refusal("foreign-signature", "Wrong.", err)
		}
	}
	f.change(v, func(_ *workflow.Session, p *workflow.Participant) { p.State, p.Decided = workflow.Signing, time.Now() })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values, f.proof, f.preparation = messages, workflow.Proof{Method: "qualified signature"}, nil
	return nil
}

// Refused notes what would go on record.
func (f *fake) Refused(_ context.Context, _ workflow.Visit, id, _ string, err error) error {
	var r *workflow.Refusal
	if errors.As(err, &r) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.refused = append(f.refused, id+" "+r.Reason)
	}
	return err
}

// qualifiedStage is Jane's session at level Qualified.
func qualifiedStage(t *testing.T, names ...string) (*stage, string) {
	t.Helper()
	st, tok := advanced(t, names...)
	v := st.visits[tok]
	v.Session.Level = workflow.Qualified
	st.remote.back = st.URL + "/r"
	return st, tok
}

// qualifiedBodies are whole requests for each of qualifiedPaths.
func qualifiedBodies(tok string) map[string]string {
	out := map[string]string{}
	for path, rest := range map[string]string{
		"qualified/keys":      `"provider":"` + byPIN + `"`,
		"qualified/prepare":   `"provider":"` + byPIN + `","key":"key","shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"Jane Doe"}`,
		"qualified/challenge": `"id":"p","factor":"OTP"`,
		"qualified/authorize": `"id":"p","answers":{"PIN":"` + fakePIN + `"}`,
		"qualified/leave":     `"id":"p","lang":"en"`,
		"qualified/return":    `"id":"p","kept":"AAAA","query":"code=fakecode&state=fakestate"`,
		"qualified/finish":    `"id":"p","values":["AAAA"]`,
		"phone/prepare":       `"shown":[{"document":0,"revision":0,"sha256":"` + someDigest + `"}],"appearance":{"typed":"Jane Doe"}`,
		"phone/order":         `"id":"p"`,
		"phone/check":         `"id":"p","kept":"AAAA"`,
		"phone/touch":         `"id":"p","kept":"AAAA","push":true`,
		"phone/cancel":        `"id":"p","kept":"AAAA"`,
	} {
		out[path] = strings.Join([]string{`{"token":"`, tok, `",`, rest, `}`}, "")
	}
	return out
}
