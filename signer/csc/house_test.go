package csc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signer/csc/csctest"
)

// What the stand-in and the client agree on.
const (
	clientID = "milterd"
	secret   = "s3cret/+ of the client"
	returnTo = "https://sign.corp.test/qtsp/return"
	john     = "john-4711"
	pin      = "271828"
)

// authority is a small CA for the stand-in's users.
type authority struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

var house = sync.OnceValue(func() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Trial Root"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		panic(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{key, root}
})

func (a *authority) issue(pub crypto.PublicKey, user string) ([]byte, [][]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "Johannes Muster", SerialNumber: user}, NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageContentCommitment}
	der, err := x509.CreateCertificate(rand.Reader, t, a.root, pub, a.key)
	return der, [][]byte{a.root.Raw}, err
}

// RSA keys take long to make.
var (
	rsa2048 = sync.OnceValue(func() crypto.Signer { return newRSA(2048) })
	rsa3072 = sync.OnceValue(func() crypto.Signer { return newRSA(3072) })
)

func newRSA(bits int) crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// site is a stand-in with John, and a client for it.
type site struct {
	*csctest.Server
	*Client
	clock *clock
}

// clock is what both think the time is.
type clock struct {
	mu     sync.Mutex
	passed time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.passed)
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed += d
}

// start starts both; with may change them before.
func start(t testing.TB, with func(*csctest.Config, *Provider), credentials ...csctest.Credential) *site {
	t.Helper()
	clk := &clock{}
	conf := csctest.Config{Issue: house().issue, ClientID: clientID, Secret: secret, RedirectURI: returnTo, ClientCredentials: true, Now: clk.now}
	p := Provider{Name: "Example Trust", ClientID: clientID, Secret: secret, RedirectURI: returnTo, ClientCredentials: true, Timeout: 5 * time.Second}
	if with != nil {
		with(&conf, &p)
	}
	s, err := csctest.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.AddUser(csctest.User{ID: john, PIN: pin})
	s.AddUser(csctest.User{ID: "jane-0815", PIN: "314159"})
	for _, c := range credentials {
		if c.User == "" {
			c.User = john
		}
		if err := s.AddCredential(c); err != nil {
			t.Fatal(err)
		}
	}
	p.URL, p.AuthorizeURL, p.TokenURL, p.Version, p.Roots = s.URL, s.AuthorizeURL, s.TokenURL, conf.Version, s.Roots
	c, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	c.now = clk.now
	return &site{s, c, clk}
}

// one is the only usable credential of John.
func (s *site) one(t testing.TB) *Credential {
	t.Helper()
	list, skipped, err := s.Credentials(context.Background(), nil, john)
	if err != nil || len(list) != 1 || len(skipped) != 0 {
		t.Fatalf("%d credentials, skipped %v: %v", len(list), skipped, err)
	}
	return list[0]
}

// request is for as many digests as are asked for.
func request(t testing.TB, cred *Credential, n int) Request {
	t.Helper()
	r := Request{Credential: cred, Algorithm: cred.Algorithms[0]}
	for i := range n {
		h := r.Algorithm.Hash().New()
		h.Write([]byte{byte(i)})
		r.Digests = append(r.Digests, h.Sum(nil))
	}
	return r
}

// browse is the person on the provider's page, and gives what the browser brings back.
func (s *site) browse(t testing.TB, address, user, pin, decision string) url.Values {
	t.Helper()
	client := &http.Client{Transport: s.Client.http.Transport, CheckRedirect: s.Client.http.CheckRedirect}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if !strings.Contains(string(page), `name="pin"`) {
			t.Fatalf("no page: %s", page)
		}
		resp, err = client.PostForm(address, url.Values{"user": {user}, "pin": {pin}, "decision": {decision}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if resp.StatusCode != http.StatusFound || !strings.HasPrefix(resp.Header.Get("Location"), returnTo+"?") {
		t.Fatalf("status %d, to %q; refused: %q", resp.StatusCode, resp.Header.Get("Location"), s.Refused())
	}
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// verified checks values with Go's own library.
func verified(t testing.TB, cred *Credential, r Request, values [][]byte) {
	t.Helper()
	if len(values) != len(r.Digests) {
		t.Fatalf("%d values for %d digests", len(values), len(r.Digests))
	}
	for i, v := range values {
		var err error
		switch k := cred.Leaf().PublicKey.(type) {
		case *rsa.PublicKey:
			if r.Algorithm[0] == 'P' {
				err = rsa.VerifyPSS(k, r.Algorithm.Hash(), r.Digests[i], v, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			} else {
				err = rsa.VerifyPKCS1v15(k, r.Algorithm.Hash(), r.Digests[i], v)
			}
		case *ecdsa.PublicKey:
			if !ecdsa.VerifyASN1(k, r.Digests[i], v) {
				err = errors.New("ECDSA")
			}
		}
		if err != nil {
			t.Errorf("value %d: %v", i, err)
		}
	}
}

// refusedNothing checks that the strict stand-in found no fault.
func (s *site) refusedNothing(t testing.TB) {
	t.Helper()
	if r := s.Refused(); len(r) > 0 {
		t.Errorf("the stand-in refused %q", r)
	}
}

// wants checks the reason of an error.
func wants(t testing.TB, err error, reason Reason) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want reason %s", err, reason)
	}
	if e.Reason != reason {
		t.Fatalf("reason %s, want %s: %v", e.Reason, reason, err)
	}
	return e
}

// calls counts the requests of a call.
func (s *site) calls(name string) (n int) {
	for _, r := range s.Requests() {
		if r.Call == name {
			n++
		}
	}
	return n
}

func sum(alg cms.Algorithm, b []byte) []byte {
	h := alg.Hash().New()
	h.Write(b)
	return h.Sum(nil)
}
