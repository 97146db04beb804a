package webeid

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	origin = "https://sign.corp.test"
	other  = "https://evil.test"
)

// card is a stand-in for an identity card and Web eID's program: a software key.
type card struct {
	key  crypto.Signer
	cert []byte
}

func newCard(t testing.TB, key crypto.Signer) *card {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &card{key, der}
}

// answer makes a token.
func (c *card) answer(t testing.TB, alg, origin, nonce string) *Token {
	t.Helper()
	a := algorithms[alg]
	digest := a.digest([]byte(origin), []byte(nonce))
	opts := crypto.SignerOpts(a.hash)
	if a.pss {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash}
	}
	var value []byte
	var err error
	if key, ok := c.key.(*ecdsa.PrivateKey); ok {
		r, s, e := ecdsa.Sign(rand.Reader, key, digest)
		n := (key.Curve.Params().N.BitLen() + 7) / 8
		value, err = append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...), e
	} else {
		value, err = c.key.Sign(rand.Reader, digest, opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Token{UnverifiedCertificate: base64.StdEncoding.EncodeToString(c.cert), Algorithm: alg,
		Signature: base64.StdEncoding.EncodeToString(value), Format: "web-eid:1.0", AppVersion: "stand-in"}
}

func write(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRealCards verifies tokens of test cards of Estonia and Latvia, as the Web eID project
// publishes them with its Java library (web-eid-authtoken-validation-java, src/test; the
// Latvian one there calls its appVersion by an older name).
func TestRealCards(t *testing.T) {
	for file, name := range map[string]string{"estonia": "JÕEORG,JAAK-KRISTJAN,38001085718", "latvia": "ANDRIS PARAUDZIŅŠ"} {
		b, err := os.ReadFile(filepath.Join("testdata", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		token, cert, err := Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if cert.Subject.CommonName != name {
			t.Errorf("%s: it is %q", file, cert.Subject.CommonName)
		}
		const nonce = "12345678123456781234567812345678912356789123"
		if err := token.Verify(cert, "https://ria.ee", nonce); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, bad := range [][2]string{{"https://ria.ee.", nonce}, {"https://ria.ee/", nonce}, {"http://ria.ee", nonce}, {"https://ria.ee", "2" + nonce[1:]}} {
			if err := token.Verify(cert, bad[0], bad[1]); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: at %q for %q: %v", file, bad[0], bad[1], err)
			}
		}
	}
}

// Every algorithm of the format, with each key that it is for and no other one.
func TestAlgorithms(t *testing.T) {
	cards := map[string]*card{}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521(), "P-224": elliptic.P224()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cards[name] = newCard(t, key)
	}
	for name, bits := range map[string]int{"RSA": 2048, "short RSA": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		cards[name] = newCard(t, key)
	}
	fits := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
	nonce := NewNonce()
	for alg := range algorithms {
		for name, c := range cards {
			_, ec := c.key.(*ecdsa.PrivateKey)
			if ec == (algorithms[alg].curve == nil) { // signed with an algorithm of its own, said to be another
				token := c.answer(t, map[bool]string{true: "ES384", false: "RS256"}[ec], origin, nonce)
				token.Algorithm = alg
				_, cert, err := Parse(write(t, token))
				if err != nil {
					t.Fatal(err)
				}
				if err := token.Verify(cert, origin, nonce); !errors.Is(err, ErrAlgorithm) {
					t.Errorf("%s with %s: %v", alg, name, err)
				}
				continue
			}
			how := alg
			if name == "short RSA" { // too short for some
				how = "RS256"
			}
			token := c.answer(t, how, origin, nonce)
			token.Algorithm = alg
			_, cert, err := Parse(write(t, token))
			if err != nil {
				t.Fatal(err)
			}
			var want error
			if ec && fits[alg] != name || name == "short RSA" {
				want = ErrAlgorithm
			}
			if err := token.Verify(cert, origin, nonce); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s with %s: %v, want %v", alg, name, err, want)
			}
		}
	}
}

// What is not this card's answer to this question at this site.
func TestRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, nonce := newCard(t, key), NewNonce()
	good := c.answer(t, "ES384", origin, nonce)
	raw, _ := base64.StdEncoding.DecodeString(good.Signature)
	der, err := ecdsa.SignASN1(rand.Reader, key, algorithms["ES384"].digest([]byte(origin), []byte(nonce)))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Token)) *Token { x := *good; change(&x); return &x }
	value := func(b []byte) *Token {
		return with(func(x *Token) { x.Signature = base64.StdEncoding.EncodeToString(b) })
	}
	_, cert, err := Parse(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if err := good.Verify(cert, origin, nonce); err != nil || len(nonce) < 44 {
		t.Fatalf("good: %v, nonce %q", err, nonce)
	}
	if NewNonce() == nonce {
		t.Error("a nonce comes twice")
	}
	short := base64.StdEncoding.EncodeToString(make([]byte, 31))
	for name, k := range map[string]struct {
		token *Token
		nonce string
		want  error
	}{
		"for another site":      {c.answer(t, "ES384", other, nonce), nonce, ErrSignature},
		"for another nonce":     {c.answer(t, "ES384", origin, NewNonce()), nonce, ErrSignature},
		"parts moved":           {c.answer(t, "ES384", origin+nonce[:4], nonce[4:]), nonce, ErrSignature},
		"short nonce":           {c.answer(t, "ES384", origin, short), short, ErrSignature},
		"no nonce":              {c.answer(t, "ES384", origin, ""), "", ErrSignature},
		"r‖s a byte short":      {value(raw[1:]), nonce, ErrSignature},
		"r‖s a byte long":       {value(append([]byte{0}, raw...)), nonce, ErrSignature},
		"r‖s of P-256's length": {value(raw[:64]), nonce, ErrSignature},
		"DER":                   {value(der), nonce, ErrSignature},
		"nothing":               {value(nil), nonce, ErrSignature},
		"zeros":                 {value(make([]byte, 96)), nonce, ErrSignature},
		"ones":                  {value(bytes.Repeat([]byte{0xff}, 96)), nonce, ErrSignature},
		"not base64":            {with(func(x *Token) { x.Signature += "*" }), nonce, ErrFormat},
		"hash said otherwise":   {with(func(x *Token) { x.Algorithm = "ES256" }), nonce, ErrAlgorithm},
		"none":                  {with(func(x *Token) { x.Algorithm = "none" }), nonce, ErrAlgorithm},
		"HS256":                 {with(func(x *Token) { x.Algorithm = "HS256" }), nonce, ErrAlgorithm},
		"es384":                 {with(func(x *Token) { x.Algorithm = "es384" }), nonce, ErrAlgorithm},
	} {
		if err := k.token.Verify(cert, origin, k.nonce); !errors.Is(err, k.want) {
			t.Errorf("%s: %v, want %v", name, err, k.want)
		}
	}
}

// What is no token, or none of this version.
func TestParse(t *testing.T) {
	good, err := os.ReadFile("testdata/estonia.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	swap := func(from, to string) []byte {
		b := bytes.Replace(good, []byte(from), []byte(to), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("no %q", from)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "null": []byte("null"), "a list": []byte("[]"), "empty": []byte("{}"), "half": good[:len(good)/2],
		"followed by another": append(bytes.Clone(good), good...), "another field": swap(`"format"`, `"nonce": "x", "format"`),
		"version 2": swap("web-eid:1.0", "web-eid:2.0"), "version 10": swap("web-eid:1.0", "web-eid:10"), "no version": swap("web-eid:1.0", "web-eid"),
		"another format": swap("web-eid:1.0", "jwt:1.0"), "a number": swap(`"web-eid:1.0"`, "1"),
		"too large": swap("https://web-eid.eu/", strings.Repeat("a", MaxToken)), "a long version": swap("https://web-eid.eu/", strings.Repeat("a", 300)),
		"no base64": swap(`"MII`, `"*II`), "no certificate": swap(`"MII`, `"AAA`),
	} {
		if token, _, err := Parse(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %+v, %v", name, token, err)
		}
	}
	for _, v := range []string{"web-eid:1", "web-eid:1.1"} {
		if _, _, err := Parse(swap("web-eid:1.0", v)); err != nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// FuzzParse: what is read is written and read again the same, and verifies for no nonce of ours.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 2 {
		f.Fatalf("seeds: %v, %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	nonce := NewNonce()
	f.Fuzz(func(t *testing.T, b []byte) {
		token, cert, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) || token != nil || cert != nil {
				t.Fatalf("%v, %v", token, err)
			}
			return
		}
		again, sameCert, err := Parse(write(t, token))
		if err != nil || *again != *token || !cert.Equal(sameCert) {
			t.Fatalf("%+v became %+v, %v", token, again, err)
		}
		if err := token.Verify(cert, origin, nonce); err == nil {
			t.Fatal("it verifies for a nonce that nobody has seen")
		}
	})
}
