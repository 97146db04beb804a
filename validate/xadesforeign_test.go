package validate_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"milterd/signature/xades"
	"milterd/validate"
)

// What EU DSS has signed (testdata/foreign/xades/README) is judged as what it is,
// and by what it covers.
func TestXAdESForeign(t *testing.T) {
	const dir = "testdata/foreign/xades/"
	block, _ := pem.Decode(read(t, dir+"root.pem"))
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	anchors := x509.NewCertPool()
	anchors.AddCert(root)
	o := validate.Options{Anchors: anchors, Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	judge := func(data []byte, files ...xades.File) *validate.Result {
		t.Helper()
		o := o
		o.Files = files
		r, err := validate.File(data, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	letter := xades.File{Name: "letter.txt", Content: read(t, dir+"letter.txt")}
	for name, c := range map[string]struct {
		covers xades.Cover
		files  []xades.File
		sub    validate.Sub
	}{
		"enveloped":  {xades.CoversDocument, nil, ""},
		"enveloping": {xades.CoversObject, nil, ""},
		"detached":   {xades.CoversFile, []xades.File{letter}, ""},
		"within":     {xades.CoversElement, nil, validate.SigConstraintsFailure},
	} {
		for _, key := range []string{"rsa", "ec"} {
			data := read(t, dir+name+"-"+key+"-lta.xml")
			r := judge(data, c.files...)
			s := r.Signatures[0]
			if len(r.Signatures) != 2 || r.Sub != c.sub || (c.sub == "") != r.Passed() || s.Level != validate.XAdESLevelLTA ||
				!s.References[0].Holds || s.References[0].Covers != c.covers || r.Signatures[1].Indication != validate.Passed {
				t.Errorf("%s-%s: %s", name, key, r.Text())
			}
			early := judge(read(t, dir+name+"-"+key+"-t.xml"), c.files...).Signatures[0]
			if early.Indication != validate.Indeterminate || early.Level != validate.XAdESLevelB {
				t.Errorf("%s-%s at B-T: %s %s %s", name, key, early.Indication, early.Sub, early.Problem)
			}
			// What each covers, changed.
			bad := bytes.Replace(data, []byte("100</sum>"), []byte("900</sum>"), 1)
			bad = bytes.Replace(bad, []byte(">YSBsZXR0ZXIK<"), []byte(">YSBtZXR0ZXIK<"), 1)
			files := c.files
			if name == "detached" {
				files = []xades.File{{Name: "letter.txt", Content: []byte("a metter\n")}}
			} else if bytes.Equal(bad, data) {
				t.Fatalf("%s: nothing changed", name)
			}
			if r := judge(bad, files...); r.Signatures[0].Sub != validate.HashFailure || r.Indication != validate.Failed {
				t.Errorf("%s-%s changed: %s", name, key, r.Text())
			}
		}
	}
	if text := judge(read(t, dir+"enveloped-rsa-lta.xml")).Text(); !strings.Contains(text, "1 comments stand in the document, which no signature covers") {
		t.Error(text)
	}
}

// Our signature stands beside one that EU DSS made, and both hold; beside one that
// covers whatever is added to the document, none is made.
func TestXAdESBesideForeign(t *testing.T) {
	f := newFixture(t)
	f.clock = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	block, _ := pem.Decode(read(t, "testdata/foreign/xades/root.pem"))
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	doc, id := f.xml(read(t, "testdata/foreign/xades/enveloped-ec-lta.xml"), f.seal, f.tsa)
	doc = f.xmlArchive(f.xmlEvidence(doc, id, nil), id)
	o := f.options()
	o.Anchors.AddCert(root)
	r, err := validate.File(doc, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Signatures) != 4 || !r.Passed() || r.Signatures[0].Level != validate.XAdESLevelLTA || r.Signatures[2].Level != validate.XAdESLevelLTA {
		t.Error(r.Text())
	}
	g := f.forge()
	g.transforms, g.octets = enveloped+excTransf, exc(t, cheap)
	alone := strings.Replace(cheap, "</order>", g.element()+"</order>", 1)
	if _, err := xades.Envelope([]byte(alone), xades.Params{Certificate: f.seal.Cert, Time: f.clock}); !errors.Is(err, xades.ErrForbidden) {
		t.Error(err)
	}
}
