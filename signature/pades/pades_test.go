package pades_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

var now = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

type fixture struct {
	root, ca, seal *cmstest.Identity
	tsa            *cmstest.TSA
	tokenSize      int
}

func newFixture(t testing.TB, k cmstest.Kind) *fixture {
	root := cmstest.Root(t, now)
	ca := root.CA(t, now)
	f := &fixture{root, ca, ca.Signer(t, now, k, nil), ca.TSA(t, func() time.Time { return now.Add(time.Second) }), 0}
	token, err := f.tsa.Timestamp(context.Background(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	f.tokenSize = len(token)
	return f
}

func (f *fixture) params(field string) pades.Params {
	return pades.Params{
		Certificate: f.seal.Cert, Chain: []*x509.Certificate{f.ca.Cert, f.root.Cert}, Field: field, Time: now,
		Name: "Zoë Müller", Reason: "Standard", Location: "Luxembourg", TokenSize: f.tokenSize,
	}
}

func (f *fixture) dss(t testing.TB, at time.Time) pades.DSSData {
	return pades.DSSData{
		Certs: []*x509.Certificate{f.seal.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs:  [][]byte{f.root.CRL(t, at, nil)},
		OCSPs: [][]byte{f.ca.OCSP(t, f.seal.Cert, at, time.Time{}), f.ca.OCSP(t, f.tsa.Cert, at, time.Time{})},
	}
}

func must(t testing.TB) func(suffix []byte, err error) []byte {
	return func(suffix []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return suffix
	}
}

// Two signatures, the first in a field and the second invisible, with DSS and
// document timestamp, on every shape of file: all outside judges must agree.
func TestWholeWay(t *testing.T) {
	ctx := context.Background()
	for name, head := range forms(t) {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, cmstest.P256)
			original := slices.Clone(head)
			p := f.params("A")
			p.Look = &pdf.Look{Name: "Zoë Müller", Lines: []string{"Standard"}}
			head := slices.Concat(head, must(t)(pades.Sign(ctx, head, p, f.seal.Key, f.tsa)))
			head = append(head, must(t)(pades.AddDSS(head, f.dss(t, now.Add(2*time.Second))))...)
			head = append(head, must(t)(pades.Sign(ctx, head, f.params(""), f.seal.Key, f.tsa))...)
			dss := f.dss(t, now.Add(3*time.Second))
			head = append(head, must(t)(pades.AddDSS(head, dss))...)
			if again, err := pades.AddDSS(head, dss); again != nil || err != nil {
				t.Errorf("the same data once more: %d bytes, %v", len(again), err)
			}
			head = append(head, must(t)(pades.Timestamp(ctx, head, "", f.tsa, f.tokenSize))...)
			if !bytes.HasPrefix(head, original) {
				t.Error("the original is no prefix")
			}
			judge(t, f, head, 2, 1)
		})
	}
}

func TestEveryKey(t *testing.T) {
	for _, k := range []struct {
		kind cmstest.Kind
		alg  cms.Algorithm
	}{{cmstest.RSA, ""}, {cmstest.RSA, cms.PS256}, {cmstest.RSA, cms.RS512}, {cmstest.P256, ""}, {cmstest.P384, ""}, {cmstest.P521, ""}} {
		t.Run(string(k.kind)+" "+string(k.alg), func(t *testing.T) {
			f := newFixture(t, k.kind)
			p := f.params("Seal")
			p.Algorithm = k.alg
			head := cmstest.Document(0)
			head = append(head, must(t)(pades.Sign(context.Background(), head, p, f.seal.Key, f.tsa))...)
			judge(t, f, head, 1, 0)
		})
	}
}

// Between the phases a Preparation is bytes in a store; an error changes nothing.
func TestKeptPreparation(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, cmstest.P256)
	head := cmstest.Document(0)
	first, err := pades.Prepare(head, f.params("A"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := first.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for cut := range b {
		if got := new(pades.Preparation); got.UnmarshalBinary(b[:cut]) == nil && len(got.Certificates) == len(first.Certificates) {
			t.Fatalf("read from %d of %d bytes", cut, len(b))
		}
	}
	prep := new(pades.Preparation)
	if err := prep.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	prep.Suffix, prep.Attributes = first.Suffix, first.Attributes
	if !prep.Covers(head) || prep.Covers(append(slices.Clone(head), 0)) || prep.Covers(bytes.Replace(head, []byte("Contract"), []byte("contract"), 1)) {
		t.Error("Covers does not tell the head apart")
	}
	value, err := prep.SignWith(f.seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	f.tsa.Away = true
	if _, err := prep.Finish(ctx, value, f.tsa); err == nil {
		t.Error("finished without a time")
	}
	f.tsa.Away = false
	judge(t, f, append(head, must(t)(prep.Finish(ctx, value, f.tsa))...), 1, 0)
}

func TestFinishRefuses(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, cmstest.P256)
	head := cmstest.Document(0)
	prepare := func(p pades.Params) *pades.Preparation {
		prep, err := pades.Prepare(head, p)
		if err != nil {
			t.Fatal(err)
		}
		return prep
	}
	prep := prepare(f.params("A"))
	value, err := prep.SignWith(f.seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	over, err := prepare(f.params("B")).SignWith(f.seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string][]byte{
		"nothing": {}, "zeros": make([]byte, 64), "too long": append(slices.Clone(value), 0), "cut": value[:20], "other attributes": over,
	} {
		if s, err := prep.Finish(ctx, v, f.tsa); !errors.Is(err, cms.ErrSignature) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.tsa.Asked != 1 {
		t.Errorf("the timestamp authority was asked %d times for wrong values", f.tsa.Asked-1)
	}
	stranger := newFixture(t, cmstest.P256)
	p := f.params("A")
	p.Certificate = stranger.seal.Cert
	if v, err := prepare(p).SignWith(f.seal.Key); err != nil {
		t.Fatal(err)
	} else if _, err := prepare(p).Finish(ctx, v, nil); !errors.Is(err, cms.ErrSignature) {
		t.Errorf("another certificate: %v", err)
	}
	f.tsa.Now = func() time.Time { return f.seal.Cert.NotAfter.Add(time.Second) }
	if _, err := prep.Finish(ctx, value, f.tsa); !errors.Is(err, pades.ErrExpired) {
		t.Errorf("a time after the certificate's end: %v", err)
	}
	f.tsa.Now = func() time.Time { return now }
	for name, ts := range map[string]pades.Timestamper{
		"garbage":         stamper(func([]byte) ([]byte, error) { return []byte("token"), nil }),
		"other imprint":   stamper(func([]byte) ([]byte, error) { return f.tsa.Timestamp(ctx, make([]byte, 32)) }),
		"not a TSA":       &cmstest.TSA{Identity: f.seal, Now: f.tsa.Now},
		"away":            &cmstest.TSA{Identity: f.tsa.Identity, Now: f.tsa.Now, Away: true},
		"a whole CMS":     stamper(func(d []byte) ([]byte, error) { return providerCMS(t, f, prep, 0), nil }),
		"nothing, no err": stamper(func([]byte) ([]byte, error) { return nil, nil }),
	} {
		if s, err := prep.Finish(ctx, value, ts); err == nil || s != nil {
			t.Errorf("a timestamp authority that gives %s is believed", name)
		}
		if s, err := pades.Timestamp(ctx, head, "", ts, 4000); err == nil || s != nil {
			t.Errorf("document timestamp: %s is believed", name)
		}
	}
	p = f.params("A")
	p.TokenSize = 0
	small := prepare(p)
	if v, err := small.SignWith(f.seal.Key); err != nil {
		t.Fatal(err)
	} else if _, err := small.Finish(ctx, v, f.tsa); !errors.Is(err, pades.ErrTooLarge) {
		t.Errorf("no room for the token: %v", err)
	}
}

type stamper func([]byte) ([]byte, error)

func (s stamper) Timestamp(_ context.Context, digest []byte) ([]byte, error) { return s(digest) }

// providerCMS is what a trust service returns for a prepared digest; kind 1 is
// over another digest, 2 by a certificate that was not announced.
func providerCMS(t testing.TB, f *fixture, prep *pades.Preparation, kind int) []byte {
	t.Helper()
	who, digest := f.seal, prep.Digest
	if kind == 1 {
		digest = make([]byte, len(digest))
	}
	if kind == 2 {
		who = f.ca.Signer(t, now, cmstest.P256, nil)
	}
	attributes, err := cms.SignedAttributes(prep.Algorithm, digest, who.Cert)
	if err != nil {
		t.Fatal(err)
	}
	other := *prep
	other.Attributes = attributes
	value, err := other.SignWith(who.Key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := cms.SignedData{Algorithm: prep.Algorithm, Certificates: []*x509.Certificate{who.Cert, f.ca.Cert}, Attributes: attributes, Value: value}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestFinishCMS(t *testing.T) {
	ctx := context.Background()
	f := newFixture(t, cmstest.P256)
	head := cmstest.Document(0)
	p := f.params("A")
	p.Reserve = 20000
	prep, err := pades.Prepare(head, p)
	if err != nil {
		t.Fatal(err)
	}
	if prep.Room != 20000 {
		t.Errorf("%d bytes reserved", prep.Room)
	}
	judge(t, f, slices.Concat(head, must(t)(prep.FinishCMS(ctx, providerCMS(t, f, prep, 0), f.tsa))), 1, 0)
	if _, err := prep.FinishCMS(ctx, providerCMS(t, f, prep, 1), f.tsa); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("over another digest: %v", err)
	}
	if _, err := prep.FinishCMS(ctx, providerCMS(t, f, prep, 2), f.tsa); !errors.Is(err, cms.ErrCertificate) {
		t.Errorf("by another certificate: %v", err)
	}
	der := providerCMS(t, f, prep, 0)
	der[len(der)-1] ^= 1
	if _, err := prep.FinishCMS(ctx, der, f.tsa); !errors.Is(err, cms.ErrSignature) {
		t.Errorf("a spoiled value: %v", err)
	}
	if _, err := prep.FinishCMS(ctx, nil, f.tsa); !errors.Is(err, cms.ErrFormat) {
		t.Errorf("nothing: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	head := cmstest.Document(0)
	signed := append(slices.Clone(head), must(t)(pades.Sign(context.Background(), head, f.params("A"), f.seal.Key, nil))...)
	certified := cmstest.Build("<</Type/Catalog/Pages 2 0 R/Perms<</DocMDP<</Reference[<</TransformMethod/DocMDP/TransformParams<</P 1>>>>]>>>>>>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>")
	for name, c := range map[string]struct {
		head  []byte
		field string
		want  error
	}{
		"no PDF": {[]byte("hello"), "", cos.ErrNotPDF}, "signed field": {signed, "A", pades.ErrField},
		"text field": {head, "note", pades.ErrField}, "certified": {certified, "", pades.ErrForbidden},
		"cut off": {head[:len(head)-30], "", cos.ErrBroken},
	} {
		if _, err := pades.Prepare(c.head, f.params(c.field)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for lock, forbidden := range map[string]bool{
		"/Action/All": true, "/Action/Include/Fields[(B)]": true, "/Action/Exclude/Fields[(A)]": true, "/Action/All/P 1": true,
		"/Action/Include/Fields[(note)]": false, "/Action/Exclude/Fields[(B)]": false, "/Action/Include/Fields[(Bee)]": false,
	} {
		locked := cmstest.Build("<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R 5 0 R]>>>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>", "<</FT/Sig/T(A)/V<</Type/Sig>>/Lock<<"+lock+">>>>", "<</FT/Sig/T(B)/Rect[0 0 0 0]>>")
		if _, err := pades.Prepare(locked, f.params("B")); errors.Is(err, pades.ErrForbidden) != forbidden || !forbidden && err != nil {
			t.Errorf("%s: %v", lock, err)
		}
		if _, err := pades.Timestamp(context.Background(), locked, "", f.tsa, f.tokenSize); err != nil {
			t.Errorf("%s: document timestamp: %v", lock, err)
		}
	}
	p := f.params("A")
	p.Time = f.seal.Cert.NotAfter.Add(time.Second)
	if _, err := pades.Prepare(head, p); !errors.Is(err, pades.ErrExpired) {
		t.Errorf("an expired certificate: %v", err)
	}
	p = f.params("A")
	p.Reserve = 1 << 30
	if _, err := pades.Prepare(head, p); !errors.Is(err, cos.ErrLimit) {
		t.Errorf("a place of 1 GiB: %v", err)
	}
}

var byteRange = regexp.MustCompile(`/ByteRange ?\[0 (\d+) (\d+) (\d+)\]`)

// judge asks pdfsig, qpdf, mutool, openssl cms and openssl ts.
func judge(t *testing.T, f *fixture, pdf []byte, signatures, timestamps int) {
	t.Helper()
	dir := t.TempDir()
	file, ca := filepath.Join(dir, "signed.pdf"), filepath.Join(dir, "ca.pem")
	write(t, file, pdf)
	write(t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.root.Cert.Raw}))
	if out := run(t, "qpdf", "--check", file); !strings.Contains(out, "No syntax or stream encoding errors found") {
		t.Errorf("qpdf --check:\n%s", out)
	}
	// pdfsig of this version counts document timestamps, but verifies them as if
	// they were signatures: only the signatures' lines are judged.
	if out := run(t, "pdfsig", "-nocert", file); strings.Count(out, "Signature is Valid") < signatures {
		t.Errorf("pdfsig:\n%s", out)
	}
	if out := run(t, "mutool", "sign", "-v", file); strings.Contains(out, "digest failure") || strings.Contains(out, "modified") {
		t.Errorf("mutool sign:\n%s", out)
	}
	found := byteRange.FindAllSubmatch(pdf, -1)
	if len(found) != signatures+timestamps {
		t.Fatalf("%d ByteRanges", len(found))
	}
	for i, m := range found {
		var n [3]int
		for j := range n {
			n[j], _ = strconv.Atoi(string(m[j+1]))
		}
		covered := slices.Concat(pdf[:n[0]], pdf[n[1]:n[1]+n[2]])
		der, err := hex.DecodeString(string(pdf[n[0]+1 : n[1]-1]))
		if err != nil {
			t.Fatal(err)
		}
		der = der[:2+2+int(der[2])<<8+int(der[3])] // every message here is 256 to 65535 bytes long
		content, cmsFile := filepath.Join(dir, "content"), filepath.Join(dir, "cms")
		write(t, content, covered)
		write(t, cmsFile, der)
		if i >= signatures {
			out := run(t, "openssl", "ts", "-verify", "-data", content, "-in", cmsFile, "-token_in", "-CAfile", ca, "-attime", "1795427100")
			if !strings.Contains(out, "Verification: OK") {
				t.Errorf("openssl ts:\n%s", out)
			}
			continue
		}
		out := run(t, "openssl", "cms", "-verify", "-cades", "-binary", "-purpose", "any", "-inform", "DER", "-in", cmsFile,
			"-content", content, "-CAfile", ca, "-attime", "1795427100", "-out", os.DevNull)
		if !strings.Contains(out, "CAdES Verification successful") {
			t.Errorf("openssl cms:\n%s", out)
		}
		parsed, err := cms.Parse(der)
		if err != nil {
			t.Fatal(err)
		}
		if len(parsed.Timestamps) == 1 {
			digest := sha256.Sum256(parsed.Value)
			write(t, cmsFile, parsed.Timestamps[0])
			out := run(t, "openssl", "ts", "-verify", "-digest", hex.EncodeToString(digest[:]), "-in", cmsFile, "-token_in", "-CAfile", ca, "-attime", "1795427100")
			if !strings.Contains(out, "Verification: OK") {
				t.Errorf("openssl ts of a signature:\n%s", out)
			}
		}
	}
}

var debian = map[string]string{"qpdf": "qpdf", "pdfsig": "poppler-utils", "mutool": "mupdf-tools", "openssl": "openssl"}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is missing: apt-get install -y %s", name, debian[name])
	}
	return string(out)
}
