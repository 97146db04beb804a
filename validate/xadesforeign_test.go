package validate_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
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
