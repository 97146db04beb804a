package cades_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
)

var (
	now     = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)
	content = []byte("We, the undersigned, agree.\r\n")
)

type fixture struct {
	root, ca, signer *cmstest.Identity
	tsa              *cmstest.TSA
	clock            time.Time
}

func newFixture(t testing.TB, k cmstest.Kind) *fixture {
	root := cmstest.Root(t, now)
	ca := root.CA(t, now)
	f := &fixture{root: root, ca: ca, signer: ca.Signer(t, now, k, nil), clock: now}
	f.tsa = ca.TSA(t, func() time.Time { f.clock = f.clock.Add(time.Second); return f.clock })
	return f
}

func (f *fixture) params() cades.Params {
	return cades.Params{Certificate: f.signer.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock, MIME: "text/plain"}
}

func (f *fixture) evidence(t testing.TB) cades.Evidence {
	f.clock = f.clock.Add(time.Second)
	return cades.Evidence{
		Certs: []*x509.Certificate{f.signer.Cert, f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs:  [][]byte{f.root.CRL(t, f.clock, nil), f.ca.CRL(t, f.clock, nil)},
		OCSPs: [][]byte{f.ca.OCSP(t, f.signer.Cert, f.clock, time.Time{})},
	}
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// openssl verifies a message; content is nil where it is inside.
func openssl(t *testing.T, f *fixture, der, content []byte) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.root.Cert.Raw}))
	args := []string{"cms", "-verify", "-cades", "-binary", "-purpose", "any", "-inform", "DER", "-in", file("cms", der),
		"-CAfile", ca, "-attime", "1795427100", "-out", filepath.Join(dir, "out")}
	if content != nil {
		args = append(args, "-content", file("content", content))
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "CAdES Verification successful") {
		t.Errorf("openssl cms: %v\n%s", err, out)
	}
}

// Every level by every kind of key, detached and attached, one signer and two,
// stands before openssl; and what Archive covers is what CheckArchive finds.
func TestLevels(t *testing.T) {
	ctx := context.Background()
	for _, k := range []cmstest.Kind{cmstest.RSA, cmstest.P256, cmstest.P384, cmstest.P521} {
		t.Run(string(k), func(t *testing.T) {
			f := newFixture(t, k)
			ok := must[[]byte](t)
			bare := ok(cades.Sign(ctx, content, f.params(), f.signer.Key, nil))
			openssl(t, f, bare, content)
			stamped := ok(cades.Sign(ctx, content, f.params(), f.signer.Key, f.tsa))
			attached := ok(cades.Attach(stamped, content))
			openssl(t, f, attached, nil)
			both := ok(cades.Join(stamped, bare))
			openssl(t, f, both, content)
			for name, der := range map[string][]byte{"detached": stamped, "attached": attached, "two": both} {
				outside := content
				if name == "attached" {
					outside = nil
				}
				der = ok(cades.AddEvidence(der, f.evidence(t)))
				openssl(t, f, der, outside)
				der = ok(cades.Archive(ctx, der, outside, f.tsa))
				der = ok(cades.AddEvidence(der, f.evidence(t)))
				der = ok(cades.Archive(ctx, der, outside, f.tsa))
				openssl(t, f, der, outside)
				all := must[[]*cms.Message](t)(cms.ParseAll(der))
				if want := map[string]int{"two": 2}[name]; len(all) != max(want, 1) {
					t.Fatalf("%s: %d signers", name, len(all))
				}
				for _, m := range all {
					if len(m.Archives) != 2 || len(m.OCSPs) != 2 || len(m.CRLs) != 4 || m.SigningTime.IsZero() {
						t.Errorf("%s: %d archive timestamps, %d OCSPs, %d CRLs", name, len(m.Archives), len(m.OCSPs), len(m.CRLs))
					}
					for i, token := range m.Archives {
						index := must[*cms.ArchiveIndex](t)(m.CheckArchive(must[*cms.Token](t)(cms.ParseToken(token)), digest))
						_, crls, ocsps := index.Covered(m)
						if len(crls) != 2*(i+1) || len(ocsps) != i+1 {
							t.Errorf("%s: archive timestamp %d covers %d CRLs, %d OCSPs", name, i, len(crls), len(ocsps))
						}
						if index.CoversTimestamp(m.Archives[0]) != (i == 1) || index.CoversTimestamp(m.Archives[1]) {
							t.Errorf("%s: archive timestamp %d and the others", name, i)
						}
					}
				}
			}
		})
	}
}

func digest(h crypto.Hash) []byte {
	w := h.New()
	w.Write(content)
	return w.Sum(nil)
}

// What JSON keeps of a Preparation suffices, and values come as browsers give
// them.
func TestTwoPhases(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	prep := must[*cades.Preparation](t)(cades.Prepare(content, f.params()))
	var kept *cades.Preparation
	if err := json.Unmarshal(must[[]byte](t)(json.Marshal(prep)), &kept); err != nil {
		t.Fatal(err)
	}
	value := must[[]byte](t)(prep.SignWith(f.signer.Key))
	var rs struct{ R, S asn1.RawValue }
	if _, err := asn1.Unmarshal(value, &rs); err != nil {
		t.Fatal(err)
	}
	raw := func(b []byte) []byte { b = bytes.TrimLeft(b, "\x00"); return append(make([]byte, 32-len(b)), b...) }
	der := must[[]byte](t)(kept.Finish(context.Background(), append(raw(rs.R.Bytes), raw(rs.S.Bytes)...), f.tsa))
	openssl(t, f, der, content)
	if again := must[[]byte](t)(kept.FinishCMS(context.Background(), der, nil)); !bytes.Equal(again, der) {
		t.Error("a message that is complete was changed")
	}
}

func TestRefused(t *testing.T) {
	f := newFixture(t, cmstest.P256)
	ctx := context.Background()
	late := f.params()
	late.Time = f.signer.Cert.NotAfter.Add(time.Second)
	if _, err := cades.Prepare(content, late); !errors.Is(err, cms.ErrExpired) {
		t.Errorf("after the certificate's end: %v", err)
	}
	odd := f.params()
	odd.MIME = "text/plain\r\nX: y"
	if _, err := cades.Prepare(content, odd); err == nil {
		t.Error("a media type with line ends")
	}
	prep := must[*cades.Preparation](t)(cades.Prepare(content, f.params()))
	other := must[*cades.Preparation](t)(cades.Prepare([]byte("other"), f.params()))
	wrong := must[[]byte](t)(other.SignWith(f.signer.Key))
	if _, err := prep.Finish(ctx, wrong, f.tsa); !errors.Is(err, cms.ErrSignature) || f.tsa.Asked > 0 {
		t.Errorf("another content's value: %v, and %d times asked for", err, f.tsa.Asked)
	}
	f.tsa.Away = true
	if _, err := prep.Finish(ctx, must[[]byte](t)(prep.SignWith(f.signer.Key)), f.tsa); err == nil {
		t.Error("without the time that was asked for")
	}
	f.tsa.Away = false
	der := must[[]byte](t)(cades.Sign(ctx, content, f.params(), f.signer.Key, f.tsa))
	if _, err := cades.Attach(der, []byte("other")); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("other content attached: %v", err)
	}
	if _, err := cades.Archive(ctx, der, []byte("other"), f.tsa); !errors.Is(err, cms.ErrDigest) {
		t.Errorf("an archive timestamp for other content: %v", err)
	}
	if _, err := cades.Join(der, must[[]byte](t)(cades.Attach(der, content))); !errors.Is(err, cms.ErrFormat) {
		t.Errorf("attached and detached joined: %v", err)
	}
	pades := cmstest.NewMessage(f.signer, prep.Digest) // no signing-time
	if _, err := prep.FinishCMS(ctx, pades.Marshal(t), nil); !errors.Is(err, cms.ErrFormat) {
		t.Errorf("a provider's message without signing-time: %v", err)
	}
}
