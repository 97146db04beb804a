package validate_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"milterd/signature/asic"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
	"milterd/validate"
)

var asicFiles = []asic.File{
	{Name: "letter.txt", MIME: "text/plain", Content: []byte("a letter\n")},
	{Name: "annex/Öl 100%.csv", MIME: "text/csv", Content: []byte("1;2\n")},
}

// asicXML makes a container with XAdES signatures of two people.
func (f *fixture) asicXML(ts cms.Timestamper) []byte {
	f.t.Helper()
	var elements [][]byte
	for _, who := range []*cmstest.Identity{f.seal, f.ca.Signer(f.t, now, cmstest.RSA, func(c *x509.Certificate) { c.Subject.CommonName = "Second" })} {
		prep, err := asic.PrepareXML(asicFiles, xades.Params{Certificate: who.Cert, Chain: []*x509.Certificate{f.ca.Cert}, Time: f.clock})
		if err != nil {
			f.t.Fatal(err)
		}
		elements = append(elements, f.element(prep, who, ts))
	}
	data, err := asic.BuildXML(asicFiles, elements)
	if err != nil {
		f.t.Fatal(err)
	}
	again, err := asic.BuildXML(asicFiles, elements)
	if err != nil || !bytes.Equal(data, again) {
		f.t.Errorf("the same input gives other bytes (%v)", err)
	}
	return data
}

func TestASiCWithXAdES(t *testing.T) {
	f := newFixture(t)
	judge := func(data []byte) *validate.Result {
		t.Helper()
		r, err := validate.File(data, f.options())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	data := f.asicXML(f.tsa)
	if r := judge(data); r.Passed() || r.Sub != validate.TryLater || r.Format != validate.ASiCE {
		t.Error(r.Text())
	}
	f.clock = f.clock.Add(1e9)
	lt, err := asic.AddEvidenceXML(data, xades.Evidence{Certs: []*x509.Certificate{f.ca.Cert, f.root.Cert, f.tsa.Cert},
		CRLs: [][]byte{f.root.CRL(t, f.clock, nil), f.ca.CRL(t, f.clock, nil)}})
	if err != nil {
		t.Fatal(err)
	}
	if r := judge(lt); !r.Passed() || r.Signatures[0].Level != validate.XAdESLevelLT || len(r.Signatures) != 2 {
		t.Error(r.Text())
	}
	lta, err := asic.ArchiveXML(context.Background(), lt, f.tsa)
	if err != nil {
		t.Fatal(err)
	}
	r := judge(lta)
	if !r.Passed() || len(r.Signatures) != 4 || r.Signatures[0].Level != validate.XAdESLevelLTA || r.Signatures[2].Level != validate.XAdESLevelLTA ||
		r.Signatures[2].Subject != "CN=Second, O=Test" || !r.Signatures[0].Whole || len(r.Signatures[0].Files) != 2 || !strings.Contains(r.Text(), "signs      letter.txt") {
		t.Error(r.Text())
	}
	if _, err := asic.ArchiveXML(context.Background(), f.containers(asic.Extended, asicFiles, f.people()[:1])[2], f.tsa); !errors.Is(err, asic.ErrFormat) {
		t.Errorf("a container without XAdES: %v", err)
	}
	// What is in the container, changed.
	const first, other = "letter.txt", "annex/Öl 100%.csv"
	const signature = "META-INF/signatures001.xml"
	type change = func(names []string, files map[string][]byte) []string
	for name, c := range map[string]struct {
		change change
		want   validate.Sub
	}{
		"a document changed": {func(names []string, files map[string][]byte) []string {
			files[first] = []byte("a better\n")
			return names
		}, validate.HashFailure},
		"a document renamed": {func(names []string, files map[string][]byte) []string {
			files["other.txt"] = files[first]
			names[1] = "other.txt"
			return names
		}, validate.SignedDataNotFound},
		"a document added": {func(names []string, files map[string][]byte) []string {
			files["more.txt"] = []byte("more")
			return append(names, "more.txt")
		}, validate.SigConstraintsFailure},
		"two for each other": {func(names []string, files map[string][]byte) []string {
			files[first], files[other] = files[other], files[first]
			return names
		}, validate.HashFailure},
		"a file with no signature": {func(names []string, files map[string][]byte) []string {
			files["META-INF/signatures009.xml"] = []byte("<a/>")
			return append(names, "META-INF/signatures009.xml")
		}, validate.FormatFailure},
		"no XML": {func(names []string, files map[string][]byte) []string {
			files[signature] = []byte("<!DOCTYPE a><a/>")
			return names
		}, validate.FormatFailure},
		"something beside a signature": {func(names []string, files map[string][]byte) []string {
			files[signature] = bytes.Replace(files[signature], []byte("</asic:XAdESSignatures>"), []byte("<order/></asic:XAdESSignatures>"), 1)
			return names
		}, validate.FormatFailure},
		"a signature in a wrapper": {func(names []string, files map[string][]byte) []string {
			files[signature] = []byte("<w>" + string(files[signature]) + "</w>")
			return names
		}, validate.FormatFailure},
	} {
		if r := judge(rezip(t, lta, c.change)); r.Passed() || r.Sub != c.want {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	if r := judge(rezip(t, lta, func(names []string, _ map[string][]byte) []string { return names })); !r.Passed() {
		t.Error(r.Text())
	}
	// Signatures of other documents are not put together.
	prep, err := asic.PrepareXML(asicFiles[:1], xades.Params{Certificate: f.seal.Cert, Time: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asic.BuildXML(asicFiles, [][]byte{f.element(prep, f.seal, nil)}); !errors.Is(err, cms.ErrDigest) {
		t.Error(err)
	}
}
