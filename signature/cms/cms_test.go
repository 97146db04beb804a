package cms_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
)

var now = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

type fixture struct {
	root, ca, signer *cmstest.Identity
	tsa              *cmstest.TSA
}

func newFixture(t testing.TB, k cmstest.Kind) fixture {
	root := cmstest.Root(t, now)
	ca := root.CA(t, now)
	return fixture{root, ca, ca.Signer(t, now, k, nil), ca.TSA(t, func() time.Time { return now })}
}

// sign gives attributes over content and the value as a key in this process makes it.
func (f fixture) sign(t testing.TB, alg cms.Algorithm, content []byte) (attributes, value []byte) {
	t.Helper()
	h := alg.Hash().New()
	h.Write(content)
	attributes, err := cms.SignedAttributes(alg, h.Sum(nil), f.signer.Cert)
	if err != nil {
		t.Fatal(err)
	}
	return attributes, f.value(t, alg, attributes)
}

func (f fixture) value(t testing.TB, alg cms.Algorithm, attributes []byte) []byte {
	h := alg.Hash().New()
	h.Write(attributes)
	value, err := f.signer.Key.Sign(rand.Reader, h.Sum(nil), alg.Options())
	if err != nil {
		t.Fatal(err)
	}
	return value
}

var kinds = []struct {
	kind cmstest.Kind
	alg  cms.Algorithm
}{
	{cmstest.RSA, cms.RS256}, {cmstest.RSA, cms.RS384}, {cmstest.RSA, cms.RS512},
	{cmstest.RSA, cms.PS256}, {cmstest.RSA, cms.PS512},
	{cmstest.P256, cms.ES256}, {cmstest.P384, cms.ES384}, {cmstest.P521, cms.ES512}, {cmstest.P384, cms.ES256},
}

// Every algorithm, with and without r‖s, must come back from our parser and
// pass OpenSSL's CAdES check.
func TestSignVerifyOpenSSL(t *testing.T) {
	content := []byte("what the two ranges hold")
	for _, k := range kinds {
		t.Run(string(k.kind)+" "+string(k.alg), func(t *testing.T) {
			f := newFixture(t, k.kind)
			attributes, value := f.sign(t, k.alg, content)
			forms := map[string][]byte{"as signed": value}
			if key, ok := f.signer.Key.(*ecdsa.PrivateKey); ok {
				forms["r‖s"] = raw(t, key, value)
			}
			for name, v := range forms {
				fixed, err := cms.VerifyValue(f.signer.Cert, k.alg, attributes, v)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				d := sha256.Sum256(fixed)
				token, err := f.tsa.Timestamp(context.Background(), d[:])
				if err != nil {
					t.Fatal(err)
				}
				sd := cms.SignedData{Algorithm: k.alg, Certificates: []*x509.Certificate{f.signer.Cert, f.ca.Cert}, Attributes: attributes, Value: v, Timestamp: token}
				der, err := sd.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if size, err := cms.Size(k.alg, sd.Certificates, len(token)); err != nil || len(der) > size || len(der) < size-192 {
					t.Errorf("Size says %d, it is %d (%v)", size, len(der), err)
				}
				m, err := cms.Parse(der)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(m.Attributes, attributes) || m.Algorithm != k.alg || !slices.EqualFunc(m.Timestamps, [][]byte{token}, bytes.Equal) || !m.SigningTime.IsZero() {
					t.Error("the message is not what was put in")
				}
				h := m.Hash().New()
				h.Write(content)
				cert, err := m.Verify(h.Sum(nil))
				if err != nil || !cert.Equal(f.signer.Cert) {
					t.Errorf("%s: Verify: %v", name, err)
				}
				opensslVerify(t, der, content, f.root.Cert)
			}
		})
	}
}

func raw(t testing.TB, key *ecdsa.PrivateKey, der []byte) []byte {
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &v); err != nil {
		t.Fatal(err)
	}
	n := (key.Curve.Params().N.BitLen() + 7) / 8
	return append(v.R.FillBytes(make([]byte, n)), v.S.FillBytes(make([]byte, n))...)
}

func opensslVerify(t *testing.T, der, content []byte, root *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}))
	// id-kp-documentSigning needs "-purpose any".
	cmd := exec.Command("openssl", "cms", "-verify", "-cades", "-binary", "-purpose", "any", "-inform", "DER",
		"-in", write("cms", der), "-content", write("content", content), "-CAfile", ca, "-out", os.DevNull,
		"-attime", "1795427100")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "CAdES Verification successful") {
		t.Errorf("openssl cms -verify -cades: %v (apt-get install -y openssl)\n%s", err, out)
	}
}

// A value must be refused unless it is the one over these attributes.
func TestVerifyValueRefuses(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k.kind)+" "+string(k.alg), func(t *testing.T) {
			f := newFixture(t, k.kind)
			attributes, value := f.sign(t, k.alg, []byte("this"))
			_, other := f.sign(t, k.alg, []byte("that"))
			bad := map[string][]byte{
				"empty": nil, "short": value[:len(value)-1], "long": append(slices.Clone(value), 0),
				"zeros": make([]byte, len(value)), "ones": bytes.Repeat([]byte{0xff}, len(value)), "over other attributes": other,
			}
			if key, ok := f.signer.Key.(*ecdsa.PrivateKey); ok {
				n := (key.Curve.Params().N.BitLen() + 7) / 8
				rs, order := raw(t, key, value), key.Curve.Params().N
				r, s := new(big.Int).SetBytes(rs[:n]), new(big.Int).SetBytes(rs[n:])
				seq := func(r, s *big.Int) []byte {
					b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
				bad["r is zero"] = append(make([]byte, n), rs[n:]...)
				bad["s is zero"] = append(slices.Clone(rs[:n]), make([]byte, n)...)
				bad["r‖s of zeros"] = make([]byte, 2*n)
				bad["r out of range"] = seq(new(big.Int).Add(r, order), s)
				bad["s out of range"] = seq(r, new(big.Int).Add(s, order))
				bad["negative"] = seq(new(big.Int).Neg(r), s)
				bad["r is the order"] = append(order.FillBytes(make([]byte, n)), rs[n:]...)
				bad["r‖s swapped"] = append(slices.Clone(rs[n:]), rs[:n]...)
				bad["DER with a tail"] = append(slices.Clone(value), 0, 0)
				bad["DER with a long length"] = append([]byte{0x30, 0x81}, value[1:]...)
			}
			for name, v := range bad {
				if _, err := cms.VerifyValue(f.signer.Cert, k.alg, attributes, v); !errors.Is(err, cms.ErrSignature) {
					t.Errorf("%s: %v", name, err)
				}
				sd := cms.SignedData{Algorithm: k.alg, Certificates: f.signer.Chain(), Attributes: attributes, Value: v}
				if der, err := sd.Marshal(); err == nil || der != nil {
					t.Errorf("%s was embedded", name)
				}
			}
			stranger := newFixture(t, k.kind)
			if k.kind != cmstest.RSA { // the RSA key of tests is shared
				if _, err := cms.VerifyValue(stranger.signer.Cert, k.alg, attributes, value); !errors.Is(err, cms.ErrSignature) {
					t.Errorf("another certificate: %v", err)
				}
			}
		})
	}
}

func TestAlgorithmMustFitKey(t *testing.T) {
	ec, rs := newFixture(t, cmstest.P256), newFixture(t, cmstest.RSA)
	for _, c := range []struct {
		cert *x509.Certificate
		alg  cms.Algorithm
	}{{ec.signer.Cert, cms.RS256}, {ec.signer.Cert, cms.PS256}, {rs.signer.Cert, cms.ES256}, {rs.signer.Cert, "RS1"}, {rs.signer.Cert, ""}} {
		if _, err := cms.SignedAttributes(c.alg, make([]byte, 32), c.cert); !errors.Is(err, cms.ErrAlgorithm) {
			t.Errorf("%q: %v", c.alg, err)
		}
		if _, err := cms.VerifyValue(c.cert, c.alg, nil, nil); !errors.Is(err, cms.ErrAlgorithm) {
			t.Errorf("%q: %v", c.alg, err)
		}
	}
	if _, err := cms.SignedAttributes(cms.ES384, make([]byte, 32), ec.signer.Cert); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("a SHA-256 digest for ES384: %v", err)
	}
}

// Each single changed byte of a message must be refused, at parsing or verifying:
// also the version and the digest algorithms, which nothing signs, and the one
// certificate, which the signing-certificate attribute names.
func TestEveryByteCounts(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	content := []byte("content")
	attributes, value := f.sign(t, cms.ES256, content)
	sd := cms.SignedData{Algorithm: cms.ES256, Certificates: []*x509.Certificate{f.signer.Cert}, Attributes: attributes, Value: value}
	der, err := sd.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	accepted := 0
	for i := range der {
		for _, x := range []byte{1, 0x80, 0xff} {
			b := slices.Clone(der)
			b[i] ^= x
			m, err := cms.Parse(b)
			if err != nil {
				continue
			}
			if cert, err := m.Verify(digest[:]); err == nil {
				accepted++
				if !cert.Equal(f.signer.Cert) {
					t.Errorf("byte %d: accepted for another certificate", i)
				}
			}
		}
	}
	if accepted > 0 {
		t.Errorf("%d changes went unnoticed", accepted)
	}
	if _, err := cms.Parse(append(slices.Clone(der), 0)); !errors.Is(err, cms.ErrFormat) {
		t.Errorf("a trailing byte: %v", err)
	}
	other := sha256.Sum256([]byte("other"))
	m, err := cms.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Verify(other[:]); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("other content: %v", err)
	}
}

// A certificate with the same issuer and serial but another key must not take
// over a signature: signingCertificateV2 tells them apart.
func TestSubstitutedCertificate(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	attributes, value := f.sign(t, cms.ES256, []byte("x"))
	sd := cms.SignedData{Algorithm: cms.ES256, Certificates: []*x509.Certificate{f.signer.Cert}, Attributes: attributes, Value: value}
	der, err := sd.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m, err := cms.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	other := f.ca.Signer(t, now, cmstest.P256, nil)
	if err := m.CheckSigningCertificate(other.Cert); !errors.Is(err, cms.ErrCertificate) {
		t.Errorf("another certificate passes: %v", err)
	}
	if err := m.CheckSignature(other.Cert); !errors.Is(err, cms.ErrSignature) {
		t.Errorf("another key passes: %v", err)
	}
	m.Certificates = nil
	if _, err := m.Verify(nil); !errors.Is(err, cms.ErrCertificate) {
		t.Errorf("no certificate: %v", err)
	}
	d := sha256.Sum256([]byte("x"))
	if _, err := m.Verify(d[:], f.signer.Cert); err != nil {
		t.Errorf("certificate from elsewhere: %v", err)
	}
}

func TestToken(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	digest := sha256.Sum256([]byte("value"))
	policy := cms.TokenPolicy{Hash: crypto.SHA256, Digest: digest[:], Anchors: f.root.Pool(), Now: now, Skew: time.Minute}
	stamp := func(change func(*cmstest.TSA)) []byte {
		a := *f.tsa
		if change != nil {
			change(&a)
		}
		der, err := a.Timestamp(context.Background(), digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	good := stamp(nil)
	tok, err := cms.VerifyToken(good, policy)
	if err != nil {
		t.Fatal(err)
	}
	if !tok.Time.Equal(now) || tok.Accuracy != time.Second || tok.Nonce != nil {
		t.Errorf("token says %v ± %v, nonce %v", tok.Time, tok.Accuracy, tok.Nonce)
	}
	nonce := policy
	nonce.Nonce = big.NewInt(77)
	if _, err := cms.VerifyToken(good, nonce); err == nil {
		t.Error("a token without the nonce passes")
	}
	if _, err := cms.VerifyToken(stamp(func(a *cmstest.TSA) { a.Nonce = big.NewInt(78) }), nonce); err == nil {
		t.Error("a token with another nonce passes")
	}
	if _, err := cms.VerifyToken(stamp(func(a *cmstest.TSA) { a.Nonce = big.NewInt(77) }), nonce); err != nil {
		t.Errorf("the right nonce: %v", err)
	}
	other := policy
	d2 := sha256.Sum256([]byte("other"))
	other.Digest = d2[:]
	if _, err := cms.VerifyToken(good, other); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("other imprint: %v", err)
	}
	far := policy
	far.Now = now.Add(time.Hour)
	if _, err := cms.VerifyToken(good, far); err == nil {
		t.Error("a token that is an hour off passes")
	}
	strange := policy
	strange.Anchors = cmstest.Root(t, now).Pool()
	if _, err := cms.VerifyToken(good, strange); err == nil {
		t.Error("an unknown authority passes")
	}
	// A signing certificate that is no timestamp authority's.
	seal := stamp(func(a *cmstest.TSA) { a.Identity = f.signer })
	if _, err := cms.VerifyToken(seal, policy); !errors.Is(err, cms.ErrCertificate) {
		t.Errorf("token of a seal certificate: %v", err)
	}
	if _, err := cms.VerifyToken(stamp(func(a *cmstest.TSA) {
		a.Spoil = func(ts *timestamp.Timestamp) { ts.HashedMessage = d2[:] }
	}), policy); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("spoiled imprint: %v", err)
	}
	accepted := 0
	for i := range good {
		b := slices.Clone(good)
		b[i] ^= 1
		if _, err := cms.VerifyToken(b, policy); err == nil {
			accepted++
		}
	}
	// Outside of what is signed: versions, unneeded certificates' bytes.
	if accepted > len(good)/2 {
		t.Errorf("%d of %d changes of a token went unnoticed", accepted, len(good))
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	// The makers of attacks put messages together in other ways.
	fx := newFixture(f, cmstest.P256)
	for _, change := range []func(*cmstest.Message){
		func(*cmstest.Message) {},
		func(m *cmstest.Message) { m.Signers = 2 },
		func(m *cmstest.Message) { slices.Reverse(m.Attributes); m.Unsorted = true },
		func(m *cmstest.Message) { m.Content = []byte("content") },
		func(m *cmstest.Message) { m.Attributes = append(m.Attributes, m.Attributes[0]) },
		func(m *cmstest.Message) { m.Digest = cmstest.DER(0x30, cmstest.SHA1) },
	} {
		m := cmstest.NewMessage(fx.signer, make([]byte, 32))
		change(m)
		f.Add(m.Marshal(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := cms.Parse(b)
		if err != nil {
			return
		}
		if len(m.Attributes) == 0 || m.Algorithm.Hash() == 0 || m.Hash() != m.Algorithm.Hash() {
			t.Error("parsed without attributes or algorithm")
		}
		if m.CheckPlain() == nil && (!m.SigningTime.IsZero() || len(m.Timestamps) > 0 || len(m.Archives) > 0 || m.Role != "") {
			t.Error("taken for plain, and claims more")
		}
		// Nothing but the real content's digest may verify.
		if _, err := m.Verify(bytes.Repeat([]byte{7}, m.Hash().Size())); err == nil {
			t.Error("a digest of anything verifies")
		}
		if tok, err := cms.ParseToken(b); err == nil {
			if _, err := tok.CheckSigner(); err == nil && tok.Time.IsZero() {
				t.Error("a token without time")
			}
		}
	})
}

// seeds are messages and tokens of this package, of OpenSSL and of others.
func seeds(t testing.TB) [][]byte {
	paths, err := filepath.Glob("testdata/*.der")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestSeedsLoad(t *testing.T) {
	if n := len(seeds(t)); n < 4 {
		t.Errorf("%d seeds in testdata", n)
	}
}
