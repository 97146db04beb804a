package validate_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"milterd/validate"
)

// What EU DSS makes (testdata/foreign/dss): B-T, and B-LTA archived twice, in every
// form; and the same with a byte of the letter changed.
func TestForeignOfDSS(t *testing.T) {
	const dir = "testdata/foreign/dss/"
	root, err := x509.ParseCertificate(read(t, dir+"root.cer"))
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, dir+"letter.txt")
	o := validate.Options{Anchors: x509.NewCertPool(), Now: time.Date(2026, 11, 29, 9, 46, 0, 0, time.UTC)}
	o.Anchors.AddCert(root)
	lists := [][]byte{read(t, dir+"root.crl"), read(t, dir+"ca.crl")}
	for name, c := range map[string]struct {
		level  validate.Level
		format validate.Format
		stamps int
	}{
		"t.p7m":      {validate.CAdESLevelT, validate.CAdES, 0},
		"t.asice":    {validate.CAdESLevelT, validate.ASiCE, 0},
		"lta2.p7m":   {validate.CAdESLevelLTA, validate.CAdES, 2},
		"lta2.p7s":   {validate.CAdESLevelLTA, validate.CAdES, 2},
		"lta2.asics": {validate.CAdESLevelLTA, validate.ASiCS, 2},
		"lta2.asice": {validate.CAdESLevelLTA, validate.ASiCE, 2},
	} {
		o := o
		if c.stamps == 0 {
			o.CRLs = lists
		}
		if name == "lta2.p7s" {
			o.Files = beside(text)
		}
		data := read(t, dir+name)
		r, err := validate.File(data, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s := r.Signatures[0]; !r.Passed() || s.Level != c.level || r.Format != c.format || len(r.Signatures) != 1+c.stamps {
			t.Errorf("%s: %s\n%s", name, r.Format, r.Text())
		}
		other := bytes.Replace(text, []byte("agree"), []byte("deny!"), 1)
		switch {
		case c.format != validate.CAdES:
			data = rezip(t, data, func(names []string, files map[string][]byte) []string {
				files["letter.txt"] = other
				return names
			})
		case o.Files != nil:
			o.Files = beside(other)
		default:
			data = bytes.Replace(data, text, other, 1)
		}
		if r, err = validate.File(data, o); err != nil {
			t.Fatalf("%s, changed: %v", name, err)
		}
		if s := r.Signatures[0]; s.Indication != validate.Failed || s.Sub != validate.HashFailure {
			t.Errorf("%s, changed: %s", name, r.Text())
		}
	}
}
