package xades_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
)

// What a stranger can pile up is refused, or does not cost much.
func TestPiledUp(t *testing.T) {
	f := newFixture(t)
	doc, _ := f.envelope([]byte("<a/>"), f.ca.Signer(t, now, cmstest.P256, nil), "", f.tsa)
	edit := func(old, new string) string { return string(bytes.Replace(doc, []byte(old), []byte(new), 1)) }
	stamp := string(doc[bytes.Index(doc, []byte("<xades:SignatureTimeStamp")) : bytes.Index(doc, []byte("</xades:SignatureTimeStamp>"))+len("</xades:SignatureTimeStamp>")])
	reference := string(doc[bytes.Index(doc, []byte("<ds:Reference")) : bytes.Index(doc, []byte("</ds:Reference>"))+len("</ds:Reference>")])
	transform := `<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform>`
	var declared, prefixes strings.Builder
	for i := range 400 {
		fmt.Fprintf(&declared, ` xmlns:p%d="urn:%d"`, i, i)
		fmt.Fprintf(&prefixes, "p%d ", i)
	}
	deep := strings.Repeat("<b"+declared.String()+">", 250) + strings.Repeat("</b>", 250)
	for name, c := range map[string]struct {
		doc     string
		refused bool
	}{
		"references":    {edit(reference, strings.Repeat(reference, 300)), true},
		"transforms":    {edit(transform, strings.Repeat(transform, 9)), true},
		"timestamps":    {edit(stamp, strings.Repeat(stamp, 17)), true},
		"certificates":  {edit("<ds:X509Data>", "<ds:X509Data>"+strings.Repeat("<ds:X509Certificate>MAA=</ds:X509Certificate>", 5000)), true},
		"evidence":      {edit(stamp, "<xades:CertificateValues>"+strings.Repeat("<xades:EncapsulatedX509Certificate>MAA=</xades:EncapsulatedX509Certificate>", 5000)+"</xades:CertificateValues>"), true},
		"namespaces":    {edit("<a>", "<a>"+deep), false},
		"elements":      {edit("<a>", "<a>"+strings.Repeat("<b/>", 200_000)), false},
		"identifiers":   {edit("<a>", "<a>"+strings.Repeat(`<b Id="x"/>`, 100_000)), false},
		"prefixes":      {edit(transform, transform[:len(transform)-len("</ds:Transform>")]+`<e:InclusiveNamespaces xmlns:e="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="`+prefixes.String()+`"/></ds:Transform>`), false},
		"256 documents": {edit(reference, strings.Repeat(reference, 255)), false},
	} {
		began := time.Now()
		d, err := xades.Read([]byte(c.doc))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if (d.Signatures[0].Problem != nil) != c.refused {
			t.Errorf("%s: %v", name, d.Signatures[0].Problem)
		}
		if err := verified([]byte(c.doc)); err == nil {
			t.Errorf("%s: verified", name)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
	// Two hundred signatures, each of all of a large document: the work is bounded.
	big := strings.Replace(string(doc), "<a>", "<a>"+"<b>"+strings.Repeat("text", 500_000)+"</b>", 1)
	d, err := xades.Read([]byte(strings.Replace(big, reference, strings.Repeat(reference, 255), 1)))
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for range 2 {
		for _, r := range d.Signatures[0].References {
			last = d.Signatures[0].Check(r, nil)
		}
	}
	if last == nil || !strings.Contains(last.Error(), "to be hashed") {
		t.Errorf("no bound: %v", last)
	}
}
