package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"milterd/workflow"
)

// OpenSSL is the client: it checks signature, delegation, nonce and times.
func TestOCSPByOpenSSL(t *testing.T) {
	a, dir := authority(t)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(a.Handler())
	defer srv.Close()
	good, _ := certified(t, a, john)
	bad, _ := certified(t, a, john)
	revoke(t, a, bad, 1)
	never, err := a.Draft(john, csrSeeds(t)["good-openssl.der"], time.Now())
	if err != nil {
		t.Fatal(err)
	}
	enter(t, a, never)

	ask := func(args ...string) string {
		return run(t, "openssl", append([]string{"ocsp", "-url", srv.URL + ocspPath, "-issuer", dir + "/issuing.crt",
			"-CAfile", dir + "/root.crt", "-verify_other", dir + "/issuing.crt", "-resp_text"}, args...)...)
	}
	for _, nonce := range []string{"-nonce", "-no_nonce"} {
		for _, hash := range []string{"-sha1", "-sha256", "-sha384", "-sha512"} {
			out := ask(nonce, hash, "-cert", writeCert(t, good.DER), hash, "-cert", writeCert(t, bad.DER),
				hash, "-cert", writeCert(t, a.seal.Leaf().Raw), hash, "-serial", "0x1234", hash, "-serial", "0x"+never.Serial)
			want := []string{"Response verify OK", ": good", "Cert Status: unknown", ": revoked", "Reason: keyCompromise", "Next Update"}
			if nonce == "-nonce" {
				want = append(want, "OCSP Nonce")
			}
			for _, w := range want {
				if !strings.Contains(out, w) {
					t.Fatalf("%s %s: want %q in\n%s", nonce, hash, w, out)
				}
			}
			if strings.Count(out, "Cert Status: good") != 2 || strings.Count(out, "Cert Status: unknown") != 2 {
				t.Errorf("%s %s:\n%s", nonce, hash, out)
			}
			if strings.Contains(out, "WARNING: no nonce") {
				t.Errorf("the nonce was lost:\n%s", out)
			}
		}
	}
	// The responder's own certificate: entered, and marked.
	all, err := a.register.Certificates(t.Context(), workflow.CertificateFilter{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c *workflow.Certificate) bool { return c.By == "OCSP responder" })
	if i < 0 {
		t.Fatal("the responder's certificate is not in the register")
	}
	text := run(t, "openssl", "x509", "-in", writeCert(t, all[i].DER), "-noout", "-text")
	for _, want := range []string{"OCSP Signing", "OCSP No Check", "Digital Signature", "CA:FALSE"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}

func TestOCSPGet(t *testing.T) {
	a, _ := authority(t)
	srv := httptest.NewServer(a.Handler())
	defer srv.Close()
	_, made := certified(t, a, john)
	der, err := ocsp.CreateRequest(made, a.issuing.Leaf(), &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	get := func(der []byte) *http.Response {
		resp, err := http.Get(srv.URL + ocspPath + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(der)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := get(der)
	body, _ := io.ReadAll(resp.Body)
	r, err := ocsp.ParseResponseForCert(body, made, a.issuing.Leaf())
	if err != nil || r.Status != ocsp.Good || r.NextUpdate.Sub(r.ThisUpdate) != answerLife {
		t.Errorf("%+v: %v", r, err)
	}
	for header, want := range map[string]string{"Content-Type": "application/ocsp-response", "Cache-Control": "public, no-transform, must-revalidate, max-age=300"} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %s", header, got)
		}
	}
	for _, header := range []string{"Etag", "Expires", "Last-Modified"} {
		if resp.Header.Get(header) == "" {
			t.Errorf("no %s", header)
		}
	}
	// An answer to a nonce is for whoever asked.
	if resp := get(withNonce(t, der, make([]byte, 32))); resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("an answer with a nonce may be kept")
	}
	resp, err = http.Get(srv.URL + ocspPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); statusOf(b) != ocspMalformed {
		t.Errorf("without a request: %x", b)
	}
}

// withNonce adds a nonce to a request without extensions.
func withNonce(t testing.TB, der, nonce []byte) []byte {
	t.Helper()
	var w wireRequest
	if _, err := asn1.Unmarshal(der, &w); err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal(nonce)
	if err != nil {
		t.Fatal(err)
	}
	return remade(t, w, pkix.Extension{Id: oidOCSPNonce, Value: value})
}

// remade writes a request with extensions.
func remade(t testing.TB, w wireRequest, x ...pkix.Extension) []byte {
	t.Helper()
	type asked struct{ ID asn1.RawValue }
	var tbs struct {
		List       []asked
		Extensions []pkix.Extension `asn1:"explicit,tag:2,optional,omitempty"`
	}
	for _, a := range w.TBS.List {
		tbs.List = append(tbs.List, asked{asn1.RawValue{FullBytes: a.ID.Raw}})
	}
	tbs.Extensions = x
	der, err := asn1.Marshal(struct{ TBS any }{tbs})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// statusOf reads an OCSPResponseStatus; -1 if it is none.
func statusOf(der []byte) int {
	if len(der) == 5 && bytes.HasPrefix(der, []byte{0x30, 3, 0x0a, 1}) {
		return int(der[4])
	}
	return -1
}

func TestOCSPRefuses(t *testing.T) {
	a, _ := authority(t)
	other, _ := authority(t)
	_, made := certified(t, a, john)
	good, err := ocsp.CreateRequest(made, a.issuing.Leaf(), nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ocsp.CreateRequest(made, other.issuing.Leaf(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fromRoot, err := ocsp.CreateRequest(a.issuing.Leaf(), a.root.Leaf(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var w, two wireRequest
	if _, err := asn1.Unmarshal(good, &w); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(foreign, &two); err != nil {
		t.Fatal(err)
	}
	two.TBS.List = append(two.TBS.List, w.TBS.List...)
	many := w
	for range maxAsked {
		many.TBS.List = append(many.TBS.List, w.TBS.List[0])
	}
	none := w
	none.TBS.List = nil
	nonce := func(n int) []byte { return withNonce(t, good, make([]byte, n)) }
	serve := func(method, path, kind string, body []byte) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		req.Header.Set("Content-Type", kind)
		a.Handler().ServeHTTP(rec, req)
		return rec
	}
	tampered := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 0x55; return b }
	for name, c := range map[string]struct {
		der    []byte
		status int
	}{
		"empty":                  {nil, ocspMalformed},
		"garbage":                {[]byte("GET me"), ocspMalformed},
		"trailing data":          {append(bytes.Clone(good), 0), ocspMalformed},
		"cut off":                {good[:len(good)-1], ocspMalformed},
		"tampered length":        {tampered(1), ocspMalformed},
		"nobody is asked about":  {remade(t, none), ocspMalformed},
		"too many":               {remade(t, many), ocspMalformed},
		"oversized":              {make([]byte, maxOCSPRequest+1), ocspMalformed},
		"megabytes":              {make([]byte, 8<<20), ocspMalformed},
		"empty nonce":            {nonce(0), ocspMalformed},
		"long nonce":             {nonce(maxNonce + 1), ocspMalformed},
		"two nonces":             {remade(t, w, pkix.Extension{Id: oidOCSPNonce, Value: []byte{4, 1, 1}}, pkix.Extension{Id: oidOCSPNonce, Value: []byte{4, 1, 2}}), ocspMalformed},
		"nonce of another type":  {remade(t, w, pkix.Extension{Id: oidOCSPNonce, Value: []byte{2, 1, 1}}), ocspMalformed},
		"a critical extension":   {remade(t, w, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}), ocspMalformed},
		"other issuer":           {foreign, ocspUnauthorized},
		"the root's certificate": {fromRoot, ocspUnauthorized},
		"ours beside another's":  {remade(t, two), ocspUnauthorized},
	} {
		rec := serve("POST", ocspPath, "application/ocsp-request", c.der)
		if got := statusOf(rec.Body.Bytes()); rec.Code != 200 || got != c.status || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: HTTP %d, status %d, want %d", name, rec.Code, got, c.status)
		}
	}
	for _, n := range []int{1, maxNonce} {
		rec := serve("POST", ocspPath, "application/ocsp-request", nonce(n))
		if r, err := ocsp.ParseResponse(rec.Body.Bytes(), a.issuing.Leaf()); err != nil || r.Status != ocsp.Good {
			t.Errorf("a nonce of %d bytes: %v", n, err)
		}
	}
	if rec := serve("POST", ocspPath, "text/plain", good); rec.Code != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d", rec.Code)
	}
	if rec := serve("PUT", ocspPath, "application/ocsp-request", good); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", rec.Code)
	}
	for _, path := range []string{"/!!!!", "/" + strings.Repeat("A", 2*maxOCSPRequest)} {
		if rec := serve("GET", ocspPath+path, "", nil); statusOf(rec.Body.Bytes()) != ocspMalformed {
			t.Errorf("GET %.20s: %d", path, rec.Code)
		}
	}
	// A database that is away is no yes.
	a.register.(*memory).err = errors.New("away")
	if rec := serve("POST", ocspPath, "application/ocsp-request", good); statusOf(rec.Body.Bytes()) != ocspInternal {
		t.Errorf("register away: %x", rec.Body.Bytes())
	}
}

// What a client sees of a revocation, and of one that was taken back.
func TestOCSPFollowsTheRegister(t *testing.T) {
	a, _ := authority(t)
	c, made := certified(t, a, john)
	status := func() *ocsp.Response {
		der, err := ocsp.CreateRequest(made, a.issuing.Leaf(), nil)
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("POST", ocspPath, bytes.NewReader(der))
		req.Header.Set("Content-Type", "application/ocsp-request")
		a.Handler().ServeHTTP(rec, req)
		r, err := ocsp.ParseResponseForCert(rec.Body.Bytes(), made, a.issuing.Leaf())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := status(); r.Status != ocsp.Good {
		t.Errorf("%+v", r)
	}
	revoke(t, a, c, 6)
	if r := status(); r.Status != ocsp.Revoked || r.RevocationReason != ocsp.CertificateHold || time.Since(r.RevokedAt) > time.Minute {
		t.Errorf("%+v", r)
	}
	enter(t, a, c)
	if r := status(); r.Status != ocsp.Good {
		t.Errorf("%+v", r)
	}
	revoke(t, a, c, 0)
	if r := status(); r.Status != ocsp.Revoked || r.RevocationReason != ocsp.Unspecified {
		t.Errorf("%+v", r)
	}
}

// The responder's key is changed before its certificate ends.
func TestOCSPResponderIsRenewed(t *testing.T) {
	a, _ := authority(t)
	r := &responder{a: a}
	now := time.Now()
	_, first, _, err := r.identity(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	_, same, _, _ := r.identity(t.Context(), now.Add(responderLife/2-time.Minute))
	_, next, _, err := r.identity(t.Context(), now.Add(responderLife/2+time.Minute))
	if err != nil || !same.Equal(first) || next.Equal(first) || bytes.Equal(next.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
		t.Errorf("not renewed, or too early: %v", err)
	}
}

// A certificate of the root's that has by chance a number of the issuing CA's.
func TestOCSPOfAnotherIssuersNumber(t *testing.T) {
	a, _ := authority(t)
	if err := a.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: new(big.Int).Set(a.issuing.Leaf().SerialNumber)}
	der, err := ocsp.CreateRequest(leaf, a.issuing.Leaf(), nil)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := parseOCSPRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := (&responder{a: a}).status(t.Context(), &asked.asked[0]); err != nil || s.Tag != 2 {
		t.Errorf("status %d, want unknown: %v", s.Tag, err)
	}
}

func ocspSeeds(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/ocsp/*.der")
	if err != nil || len(paths) < 4 {
		t.Fatalf("seeds are missing: %v (%v); go test -run OCSPSeeds -update", paths, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		if out[filepath.Base(p)], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestOCSPSeeds(t *testing.T) {
	if *update {
		a, dir := authority(t)
		write := func(name string, b []byte) {
			if err := os.WriteFile("testdata/ocsp/"+name+".der", b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for name, args := range map[string][]string{
			"good-nonce": {"-nonce", "-serial", "1"},
			"good-plain": {"-no_nonce", "-serial", "1"},
			"good-three": {"-sha256", "-serial", "1", "-sha1", "-serial", "2", "-sha512", "-serial", "0x7fffffffffffffffffffffffffffffff"},
		} {
			path := filepath.Join(t.TempDir(), "req")
			run(t, "openssl", append([]string{"ocsp", "-issuer", dir + "/issuing.crt", "-reqout", path}, args...)...)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(name, b)
		}
		der, err := ocsp.CreateRequest(a.seal.Leaf(), a.issuing.Leaf(), nil)
		if err != nil {
			t.Fatal(err)
		}
		write("bad-nonce", withNonce(t, der, make([]byte, maxNonce+1)))
	}
	for name, b := range ocspSeeds(t) {
		if _, err := parseOCSPRequest(b); strings.HasPrefix(name, "good") != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is read keeps the limits, names each certificate by bytes of the request
// and repeats a nonce as it came.
func FuzzParseOCSPRequest(f *testing.F) {
	for _, b := range ocspSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseOCSPRequest(b)
		if err != nil {
			return
		}
		if len(b) > maxOCSPRequest || len(r.asked) == 0 || len(r.asked) > maxAsked {
			t.Fatal("beyond the limits")
		}
		for _, id := range r.asked {
			if !bytes.Contains(b, id.Raw) || id.Serial == nil {
				t.Fatal("a certificate that was not asked about")
			}
		}
		if r.nonce != nil && (!bytes.Contains(b, r.nonce.Value) || len(r.nonce.Value) > maxNonce+3) {
			t.Fatal("another nonce")
		}
	})
}

// What base64 holds (slashes, several of them, pluses) does not lead astray on
// the way through the muxes of pages and authority, nor do odd paths.
func TestOCSPGetOddPaths(t *testing.T) {
	a, _ := authority(t)
	pages := http.NewServeMux()
	pages.Handle("/pki/", a.Handler())
	get := func(path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "/", nil)
		req.URL = &url.URL{Path: path}
		if u, err := url.Parse(path); err == nil {
			req.URL = u
		}
		pages.ServeHTTP(rec, req)
		return rec
	}
	serial := new(big.Int).SetBytes(append([]byte{0x7f}, bytes.Repeat([]byte{0xff, 0xfb}, 9)...))
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, a.issuing.Leaf(), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(der)
	if !strings.Contains(text, "//") && !strings.Contains(text, "+") {
		t.Fatalf("not odd at all: %s", text)
	}
	rec := get(ocspPath + "/" + url.PathEscape(text))
	if r, err := ocsp.ParseResponse(rec.Body.Bytes(), a.issuing.Leaf()); err != nil || r.Status != ocsp.Unknown || r.SerialNumber.Cmp(serial) != 0 {
		t.Errorf("escaped: HTTP %d, %+v, %v", rec.Code, r, err)
	}
	for _, path := range []string{
		ocspPath + "/", ocspPath + "/%00", ocspPath + "/" + strings.Repeat("A", 1<<20), ocspPath + "/AAAA/BBBB=/", ocspPath + "/" + text[:20],
		ocspPath + "/" + strings.ReplaceAll(text, "/", "_"), ocspPath + "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
	} {
		if rec := get(path); rec.Code != http.StatusOK || statusOf(rec.Body.Bytes()) != ocspMalformed || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%.60s: HTTP %d, %x", path, rec.Code, rec.Body.Bytes())
		}
	}
	for _, path := range []string{"/pki/", "/pki/issuing.key", "/pki/..%2fkeys%2fissuing.key", "/pki/%2e%2e/root.crt", "/pki/root.crl/..", "/pki/seal.cer"} {
		if rec := get(path); rec.Code == http.StatusOK {
			t.Errorf("%s: HTTP %d, %d bytes", path, rec.Code, rec.Body.Len())
		}
	}
}
