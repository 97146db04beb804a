package validate_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	_ "crypto/sha1" // of what must not be accepted
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
	"milterd/validate"
)

// Identifiers that attackers and others use.
const (
	ds         = "http://www.w3.org/2000/09/xmldsig#"
	exclusive  = "http://www.w3.org/2001/10/xml-exc-c14n#"
	sha256URI  = "http://www.w3.org/2001/04/xmlenc#sha256"
	ecdsaURI   = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
	enveloped  = `<ds:Transform Algorithm="` + ds + `enveloped-signature"/>`
	excTransf  = `<ds:Transform Algorithm="` + exclusive + `"/>`
	xpathStart = `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116">`
)

// forged is an XAdES signature in pieces, for tests that put them together in
// ways that package xades does not.
type forged struct {
	f          *fixture
	who        *cmstest.Identity
	uri        string // of the one reference
	transforms string
	octets     []byte // what it is over
	digest     string // DigestMethod; "" is SHA-256
	hash       crypto.Hash
	method     string // SignatureMethod; "" is ECDSA with SHA-256
	c14n       string // CanonicalizationMethod; "" is exclusive
	value      func(signedInfo []byte) []byte
	keyInfo    string // instead of the certificate
	properties string // instead of the usual ones
	references string // before the usual one
	inObject   string // beside the qualifying properties
	target     string // of QualifyingProperties
}

func (f *fixture) forge() *forged {
	return &forged{f: f, who: f.seal, target: "#s", digest: sha256URI, hash: crypto.SHA256, method: ecdsaURI, c14n: exclusive}
}

// element writes the ds:Signature and signs it with the key of who.
func (g *forged) element() string {
	sum := func(b []byte) string {
		h := g.hash.New()
		h.Write(b)
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	cert := sha256.Sum256(g.who.Cert.Raw)
	properties := g.properties
	if properties == "" {
		properties = `<x:SignedSignatureProperties><x:SigningTime>` + g.f.clock.Format("2006-01-02T15:04:05Z") + `</x:SigningTime><x:SigningCertificateV2><x:Cert><x:CertDigest>` +
			`<ds:DigestMethod Algorithm="` + sha256URI + `"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(cert[:]) +
			`</ds:DigestValue></x:CertDigest></x:Cert></x:SigningCertificateV2></x:SignedSignatureProperties>` +
			`<x:SignedDataObjectProperties><x:DataObjectFormat ObjectReference="#r"><x:MimeType>text/xml</x:MimeType></x:DataObjectFormat></x:SignedDataObjectProperties>`
	}
	object := `<ds:Object><x:QualifyingProperties xmlns:x="http://uri.etsi.org/01903/v1.3.2#" Target="` + g.target + `"><x:SignedProperties Id="p">` + properties + `</x:SignedProperties></x:QualifyingProperties>` + g.inObject + `</ds:Object>`
	keyInfo := g.keyInfo
	if keyInfo == "" {
		keyInfo = `<ds:KeyInfo><ds:X509Data>`
		for _, c := range g.who.Chain()[:2] {
			keyInfo += `<ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c.Raw) + `</ds:X509Certificate>`
		}
		keyInfo += `</ds:X509Data></ds:KeyInfo>`
	}
	head := `<ds:Signature xmlns:ds="` + ds + `" Id="s">`
	form := func(xml, id string) []byte {
		d, err := dom.Parse([]byte(xml))
		if err != nil {
			g.f.t.Fatalf("%v: %s", err, xml)
		}
		var b bytes.Buffer
		n := d.Root.Find(ds, "SignedInfo")
		if id != "" {
			of, err := d.ByID(id)
			if err != nil {
				g.f.t.Fatal(err)
			}
			n = []*dom.Node{of}
		}
		if err := (dom.Form{Exclusive: true}).WriteElement(&b, n[0], nil); err != nil {
			g.f.t.Fatal(err)
		}
		return b.Bytes()
	}
	method := `<ds:DigestMethod Algorithm="` + g.digest + `"/>`
	transforms := ""
	if g.transforms != "" {
		transforms = `<ds:Transforms>` + g.transforms + `</ds:Transforms>`
	}
	signedInfo := `<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="` + g.c14n + `"/><ds:SignatureMethod Algorithm="` + g.method + `"/>` + g.references +
		`<ds:Reference Id="r" URI="` + g.uri + `">` + transforms + method + `<ds:DigestValue>` + sum(g.octets) + `</ds:DigestValue></ds:Reference>` +
		`<ds:Reference Type="http://uri.etsi.org/01903#SignedProperties" URI="#p"><ds:Transforms>` + excTransf + `</ds:Transforms>` + method +
		`<ds:DigestValue>` + sum(form(head+object+`</ds:Signature>`, "p")) + `</ds:DigestValue></ds:Reference></ds:SignedInfo>`
	canonical := form(head+signedInfo+`</ds:Signature>`, "")
	var value []byte
	if g.value != nil {
		value = g.value(canonical)
	} else {
		h := g.hash.New()
		h.Write(canonical)
		der, err := g.who.Key.Sign(rand.Reader, h.Sum(nil), g.hash)
		if err != nil {
			g.f.t.Fatal(err)
		}
		value = raw(g.f.t, der)
	}
	return head + signedInfo + `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) + `</ds:SignatureValue>` + keyInfo + object + `</ds:Signature>`
}

// raw makes 64 bytes of a DER ECDSA value on P-256.
func raw(t testing.TB, der []byte) []byte {
	t.Helper()
	out := make([]byte, 64)
	r := der[4 : 4+der[3]]
	s := der[6+der[3]:]
	for i, n := range [][]byte{r, s} {
		n = bytes.TrimLeft(n, "\x00")
		copy(out[32*(i+1)-len(n):], n)
	}
	return out
}

// judged gives the result with revocation data from outside, so that only what
// is attacked can keep a file from passing.
func (f *fixture) judged(doc string, files ...xades.File) *validate.Result {
	f.t.Helper()
	o := f.options()
	o.CRLs, o.Files = [][]byte{f.root.CRL(f.t, f.clock, nil), f.ca.CRL(f.t, f.clock, nil)}, files
	r, err := validate.ValidateXAdES([]byte(doc), o)
	if err != nil {
		f.t.Fatalf("%v: %s", err, doc)
	}
	return r
}

// exc is the canonical form of a whole document.
func exc(t testing.TB, doc string) []byte {
	t.Helper()
	d, err := dom.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (dom.Form{Exclusive: true}).WriteDocument(&b, d, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	cheap = `<order Id="o"><sum>1</sum></order>`
	dear  = `<sum>1000000</sum>`
)

// what each attack starts from passes: otherwise it would prove nothing.
func TestForgedWhole(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(g *forged){
		"whole document": func(g *forged) { g.transforms = enveloped + excTransf },
		"root by its Id": func(g *forged) { g.uri, g.transforms = "#o", enveloped+excTransf },
		"all signatures": func(g *forged) {
			g.transforms = xpathStart + `<ds:XPath>not(ancestor-or-self::ds:Signature)</ds:XPath></ds:Transform>` + excTransf
		},
		"XPath with a prefix": func(g *forged) {
			g.transforms = xpathStart + `<ds:XPath xmlns:q="` + ds + `"> not( ancestor-or-self::q:Signature )</ds:XPath></ds:Transform>` + excTransf
		},
		"filter": func(g *forged) {
			g.transforms = `<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"><f:XPath xmlns:f="http://www.w3.org/2002/06/xmldsig-filter2" Filter="subtract">/descendant::ds:Signature</f:XPath></ds:Transform>` + excTransf
		},
		"no form named":        func(g *forged) { g.transforms = enveloped },
		"an older certificate": func(g *forged) { g.transforms = enveloped + excTransf; g.properties = older(f) },
	} {
		g := f.forge()
		change(g)
		g.octets = exc(t, cheap)
		r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1))
		if !r.Passed() || r.Signatures[0].References[0].Covers != "the document" {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
}

// older are signed properties that name the certificate as XAdES once did, by SHA-1.
func older(f *fixture) string {
	h := crypto.SHA1.New()
	h.Write(f.seal.Cert.Raw)
	return `<x:SignedSignatureProperties><x:SigningCertificate><x:Cert><x:CertDigest><ds:DigestMethod Algorithm="` + ds + `sha1"/><ds:DigestValue>` +
		base64.StdEncoding.EncodeToString(h.Sum(nil)) + `</ds:DigestValue></x:CertDigest></x:Cert></x:SigningCertificate></x:SignedSignatureProperties>`
}

// Signature wrapping (McIntosh and Austel 2005; Somorovsky and others 2012): the
// signed element moves, a forged one takes its place. Every place to move it to.
func TestXMLWrapping(t *testing.T) {
	f := newFixture(t)
	g := f.forge()
	g.uri, g.transforms, g.octets = "#o", excTransf, exc(t, cheap)
	signature := g.element()
	into := func(before, what string) string { return strings.Replace(signature, before, what+before, 1) }
	for name, doc := range map[string]string{
		"forged root around it":                   `<order>` + dear + cheap + signature + `</order>`,
		"after the signature":                     `<order>` + dear + signature + cheap + `</order>`,
		"both in a wrapper":                       `<w><order>` + dear + `</order>` + cheap + signature + `</w>`,
		"same Id, signed first":                   `<w>` + cheap + `<order Id="o">` + dear + `</order>` + signature + `</w>`,
		"same Id, signed last":                    `<order Id="o">` + dear + signature + cheap + `</order>`,
		"same ID in other letters":                `<order ID="o">` + dear + signature + cheap + `</order>`,
		"same xml:id":                             `<order xml:id="o">` + dear + signature + cheap + `</order>`,
		"in an Object":                            `<order>` + dear + into(`</ds:Signature>`, `<ds:Object>`+cheap+`</ds:Object>`) + `</order>`,
		"in an Object, same Id":                   `<order Id="o">` + dear + into(`</ds:Signature>`, `<ds:Object>`+cheap+`</ds:Object>`) + `</order>`,
		"in the Object of the properties":         `<order>` + dear + into(`</ds:Object>`, cheap) + `</order>`,
		"in KeyInfo":                              `<order>` + dear + into(`</ds:KeyInfo>`, cheap) + `</order>`,
		"in SignedInfo":                           `<order>` + dear + into(`</ds:SignedInfo>`, cheap) + `</order>`,
		"in SignatureValue":                       `<order>` + dear + into(`</ds:SignatureValue>`, cheap) + `</order>`,
		"in the unsigned properties":              `<order>` + dear + into(`</x:QualifyingProperties>`, `<x:UnsignedProperties><x:UnsignedSignatureProperties>`+cheap+`</x:UnsignedSignatureProperties></x:UnsignedProperties>`) + `</order>`,
		"in the signature itself":                 `<order>` + dear + into(`</ds:Signature>`, cheap) + `</order>`,
		"in another signature":                    `<order>` + dear + signature + `<ds:Signature xmlns:ds="` + ds + `"><ds:Object>` + cheap + `</ds:Object></ds:Signature></order>`,
		"in a signature around the signature":     `<order>` + dear + `<ds:Signature xmlns:ds="` + ds + `"><ds:Object>` + cheap + signature + `</ds:Object></ds:Signature></order>`,
		"beside, in a header nobody reads":        `<order><ext>` + cheap + `</ext>` + dear + signature + `</order>`,
		"under the signature's own document root": `<r>` + signature + `<order>` + dear + `</order>` + cheap + `</r>`,
	} {
		if r := f.judged(doc); r.Passed() {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
}

// A signature over the whole document leaves itself, or all signatures, out:
// nothing can hide there.
func TestHiddenInSignature(t *testing.T) {
	f := newFixture(t)
	evil := `<order xmlns="">` + dear + `</order>`
	for _, transform := range []string{enveloped, xpathStart + `<ds:XPath>not(ancestor-or-self::ds:Signature)</ds:XPath></ds:Transform>`} {
		g := f.forge()
		g.transforms, g.octets = transform+excTransf, exc(t, cheap)
		signature := g.element()
		for name, sig := range map[string]string{
			"KeyInfo":             strings.Replace(signature, "</ds:KeyInfo>", evil+"</ds:KeyInfo>", 1),
			"Object":              strings.Replace(signature, "</ds:Object>", evil+"</ds:Object>", 1),
			"another Object":      strings.Replace(signature, "</ds:Signature>", "<ds:Object>"+evil+"</ds:Object></ds:Signature>", 1),
			"first Object":        strings.Replace(signature, "<ds:Object>", "<ds:Object>"+evil+"</ds:Object><ds:Object>", 1),
			"unsigned properties": strings.Replace(signature, "</x:QualifyingProperties>", "<x:UnsignedProperties>"+evil+"</x:UnsignedProperties></x:QualifyingProperties>", 1),
			"unsigned values": strings.Replace(signature, "</x:QualifyingProperties>", "<x:UnsignedProperties><x:UnsignedSignatureProperties><x:CertificateValues>"+
				evil+"</x:CertificateValues></x:UnsignedSignatureProperties></x:UnsignedProperties></x:QualifyingProperties>", 1),
			"another signature":       signature + `<ds:Signature xmlns:ds="` + ds + `">` + evil + `</ds:Signature>`,
			"a signature in KeyInfo":  strings.Replace(signature, "</ds:KeyInfo>", `<ds:Signature>`+evil+`</ds:Signature></ds:KeyInfo>`, 1),
			"a signature cuts a text": "1" + signature + "1",
		} {
			if r := f.judged(strings.Replace(cheap, "</order>", sig+"</order>", 1)); r.Passed() {
				t.Errorf("%s: %s", name, r.Text())
			}
		}
		cut := `<order Id="o"><sum>1` + signature + `</sum></order>`
		if r := f.judged(cut); !r.Passed() {
			t.Errorf("at the end of a text it cuts nothing: %s", r.Text())
		}
	}
}

// Text that a comment or a CDATA section cuts is the same to the signature, and
// another to a reader that takes the first piece (Ludwig 2018).
func TestXMLComments(t *testing.T) {
	f := newFixture(t)
	doc, id := f.xml([]byte(`<a><user>admin.evil.test</user><b/></a>`), f.seal, f.tsa)
	doc = f.xmlEvidence(doc, id, nil)
	for in, passes := range map[string]bool{
		"admin.evil.test":                         true,
		"<!-- c -->admin.evil.test":               true,
		"admin<!---->.evil.test":                  false,
		"admin<!-- c --><!-- d -->.evil.test":     false,
		"admin<![CDATA[.evil.test]]>":             false,
		"<![CDATA[admin]]><![CDATA[.evil.test]]>": false,
		"<![CDATA[admin.evil.test]]>":             true,
		"&#97;dmin.evil.test":                     true,
		"admin.evil.test<?x?>":                    false,
	} {
		r := f.validateXML(bytes.Replace(doc, []byte("admin.evil.test"), []byte(in), 1))
		if r.Passed() != passes {
			t.Errorf("%s: %s", in, r.Text())
		}
		if strings.Contains(in, "<!-- c -->admin") && !strings.Contains(r.Text(), "1 comments stand in the document, which no signature covers") {
			t.Error(r.Text())
		}
	}
	for _, where := range []string{"DigestValue>", "SigningTime>", "X509Certificate>", "SignatureValue>", "EncapsulatedTimeStamp>"} {
		at := bytes.Index(doc, []byte(where)) + len(where) + 4
		if where == "SignatureValue>" {
			at = bytes.Index(doc, []byte("</ds:SignatureValue>")) - 8
		}
		bad := append(append(bytes.Clone(doc[:at]), "<!-- c -->"...), doc[at:]...)
		if r := f.validateXML(bad); r.Passed() {
			t.Errorf("a comment in %s passes", where)
		}
	}
}

func TestXMLAlgorithms(t *testing.T) {
	f := newFixture(t)
	spki, err := x509.MarshalPKIXPublicKey(f.seal.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte) func([]byte) []byte {
		return func(b []byte) []byte {
			h := hmac.New(sha256.New, key)
			h.Write(b)
			return h.Sum(nil)
		}
	}
	const more = "http://www.w3.org/2001/04/xmldsig-more#"
	for name, c := range map[string]struct {
		change func(g *forged)
		want   validate.Sub
	}{
		"HMAC with the public key":      {func(g *forged) { g.method, g.value = more+"hmac-sha256", mac(spki) }, validate.CryptoConstraints},
		"HMAC with the certificate":     {func(g *forged) { g.method, g.value = more+"hmac-sha256", mac(f.seal.Cert.Raw) }, validate.CryptoConstraints},
		"no algorithm":                  {func(g *forged) { g.method, g.value = "", func([]byte) []byte { return []byte{0} } }, validate.CryptoConstraints},
		"none":                          {func(g *forged) { g.method, g.value = "none", func([]byte) []byte { return []byte{0} } }, validate.CryptoConstraints},
		"SHA-1 of the signature":        {func(g *forged) { g.method = more + "ecdsa-sha1" }, validate.CryptoConstraints},
		"SHA-1 of the document":         {func(g *forged) { g.digest, g.hash = ds+"sha1", crypto.SHA1 }, validate.CryptoConstraints},
		"MD5 of the document":           {func(g *forged) { g.digest = more + "md5" }, validate.CryptoConstraints},
		"RSA with an ECDSA key":         {func(g *forged) { g.method = more + "rsa-sha256" }, validate.CryptoConstraints},
		"a canonical form nobody knows": {func(g *forged) { g.c14n = "urn:x" }, validate.FormatFailure},
		"an XSLT as canonical form":     {func(g *forged) { g.c14n = "http://www.w3.org/TR/1999/REC-xslt-19991116" }, validate.FormatFailure},
		"zeros as value":                {func(g *forged) { g.value = func([]byte) []byte { return make([]byte, 64) } }, validate.SigCryptoFailure},
		"DER as value": {func(g *forged) {
			g.value = func(b []byte) []byte {
				sum := sha256.Sum256(b)
				der, err := g.who.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
				if err != nil {
					t.Fatal(err)
				}
				return der
			}
		}, validate.SigCryptoFailure},
		"signed by another": {func(g *forged) {
			other := f.ca.Signer(t, now, cmstest.P256, nil)
			g.value = func(b []byte) []byte {
				sum := sha256.Sum256(b)
				der, err := other.Key.Sign(rand.Reader, sum[:], crypto.SHA256)
				if err != nil {
					t.Fatal(err)
				}
				return raw(t, der)
			}
		}, validate.SigCryptoFailure},
	} {
		g := f.forge()
		g.transforms, g.octets = enveloped+excTransf, exc(t, cheap)
		c.change(g)
		r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1))
		if r.Passed() || r.Sub != c.want {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	g := f.forge()
	g.transforms, g.octets = enveloped+excTransf, exc(t, cheap)
	truncated := strings.Replace(g.element(), `ecdsa-sha256"/>`, `ecdsa-sha256"><ds:HMACOutputLength>1</ds:HMACOutputLength></ds:SignatureMethod>`, 1)
	if r := f.judged(strings.Replace(cheap, "</order>", truncated+"</order>", 1)); r.Sub != validate.CryptoConstraints {
		t.Error(r.Text())
	}
}

// Transforms decide what is signed: none is followed but those that are known.
func TestXMLTransforms(t *testing.T) {
	f := newFixture(t)
	for name, transforms := range map[string]string{
		"XSLT":                      `<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><s:stylesheet xmlns:s="http://www.w3.org/1999/XSL/Transform" version="1.0"><s:template match="/"><order Id="o"><sum>1</sum></order></s:template></s:stylesheet></ds:Transform>`,
		"XPath that leaves out sum": xpathStart + `<ds:XPath>not(ancestor-or-self::sum)</ds:XPath></ds:Transform>`,
		"XPath that is never true":  xpathStart + `<ds:XPath>false()</ds:XPath></ds:Transform>`,
		"XPath with another prefix": xpathStart + `<ds:XPath xmlns:ds="urn:x">not(ancestor-or-self::ds:Signature)</ds:XPath></ds:Transform>`,
		"two XPaths in one":         xpathStart + `<ds:XPath>not(ancestor-or-self::ds:Signature)</ds:XPath><ds:XPath>false()</ds:XPath></ds:Transform>`,
		"XPath with a comment":      xpathStart + `<ds:XPath>not(ancestor-or-self::ds:Sig<!-- -->nature)</ds:XPath></ds:Transform>`,
		"filter that intersects":    `<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"><f:XPath xmlns:f="http://www.w3.org/2002/06/xmldsig-filter2" Filter="intersect">/descendant::ds:Signature</f:XPath></ds:Transform>`,
		"base64 of the document":    `<ds:Transform Algorithm="` + ds + `base64"/>`,
		"something after the form":  enveloped + excTransf + enveloped,
		"decryption":                `<ds:Transform Algorithm="http://www.w3.org/2002/07/decrypt#XML"/>`,
		"no name":                   `<ds:Transform/>`,
	} {
		g := f.forge()
		g.transforms, g.octets = transforms, exc(t, cheap)
		if !strings.Contains(transforms, exclusive) {
			g.transforms += excTransf
		}
		r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1))
		if r.Passed() || r.Indication != validate.Indeterminate || r.Sub != validate.SigConstraintsFailure {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
}

// Nothing is ever fetched, whatever stands where an address may stand.
func TestXMLFetchesNothing(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; fmt.Fprint(w, "text") }))
	defer server.Close()
	f := newFixture(t)
	for _, uri := range []string{server.URL + "/a", "//" + strings.TrimPrefix(server.URL, "http://"), "file:///etc/hostname", "/etc/hostname", "../xades_test.go", "xades_test.go", "#xpointer(/)", "#xpointer(id('o'))", "ftp://127.0.0.1/a"} {
		g := f.forge()
		g.uri, g.octets = uri, []byte("text")
		r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1))
		if r.Passed() || r.Sub != validate.SignedDataNotFound && r.Sub != validate.SigConstraintsFailure {
			t.Errorf("%s: %s", uri, r.Text())
		}
	}
	g := f.forge()
	g.transforms, g.octets = enveloped+excTransf, exc(t, cheap)
	g.keyInfo = `<ds:KeyInfo><ds:RetrievalMethod URI="` + server.URL + `" Type="` + ds + `X509Data"/></ds:KeyInfo>`
	r := f.judged(strings.Replace(`<!-- c --><?xml-stylesheet href="`+server.URL+`"?>`+cheap, "</order>", g.element()+"</order>", 1))
	if r.Passed() {
		t.Error(r.Text())
	}
	g.references = `<ds:Reference URI="` + server.URL + `"><ds:DigestMethod Algorithm="` + sha256URI + `"/><ds:DigestValue>AAAA</ds:DigestValue></ds:Reference>`
	g.keyInfo = ""
	if r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1)); r.Passed() {
		t.Error(r.Text())
	}
	if asked != 0 {
		t.Errorf("something was fetched %d times", asked)
	}
}

// The signed properties alone say whose certificate it is.
func TestXMLKeyInfo(t *testing.T) {
	f := newFixture(t)
	other := f.ca.Signer(t, now, cmstest.P256, func(c *x509.Certificate) { c.Subject.CommonName = "Another" })
	b64 := func(c *x509.Certificate) string { return base64.StdEncoding.EncodeToString(c.Raw) }
	data := func(certs ...*x509.Certificate) string {
		out := `<ds:KeyInfo><ds:X509Data>`
		for _, c := range certs {
			out += `<ds:X509Certificate>` + b64(c) + `</ds:X509Certificate>`
		}
		return out + `</ds:X509Data></ds:KeyInfo>`
	}
	for name, c := range map[string]struct {
		keyInfo string
		passes  bool
	}{
		"another first":     {data(other.Cert, f.seal.Cert, f.ca.Cert), true}, // and the report names the right one
		"another alone":     {data(other.Cert, f.ca.Cert), false},
		"a key beside":      {strings.Replace(data(f.seal.Cert, f.ca.Cert), "<ds:X509Data>", `<ds:KeyValue/><ds:X509Data>`, 1), true},
		"none":              {" ", false},
		"not a certificate": {`<ds:KeyInfo><ds:X509Data><ds:X509Certificate>AAAA</ds:X509Certificate></ds:X509Data></ds:KeyInfo>`, false},
	} {
		g := f.forge()
		g.transforms, g.octets, g.keyInfo = enveloped+excTransf, exc(t, cheap), c.keyInfo
		r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1))
		if r.Passed() != c.passes || c.passes && r.Signatures[0].Subject != "CN=Test Seal, O=Test" || !c.passes && r.Sub != validate.NoSigningCertificate {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	// Signed by another key, whose certificate KeyInfo has.
	g := f.forge()
	g.transforms, g.octets, g.keyInfo = enveloped+excTransf, exc(t, cheap), data(other.Cert, f.seal.Cert, f.ca.Cert)
	sig := g.element()
	g.who = other
	g.properties = sig[strings.Index(sig, "<x:SignedSignatureProperties>"):strings.Index(sig, "</x:SignedProperties>")]
	if r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1)); r.Indication != validate.Failed || r.Sub != validate.SigCryptoFailure {
		t.Error(r.Text())
	}
	// Properties that name no certificate: a plain XML signature.
	g.properties = `<x:SignedSignatureProperties/>`
	if r := f.judged(strings.Replace(cheap, "</order>", g.element()+"</order>", 1)); r.Passed() || r.Sub != validate.NoSigningCertificate {
		t.Error(r.Text())
	}
}

// One signature's parts, twice or elsewhere, or in other namespaces.
func TestXMLStructure(t *testing.T) {
	f := newFixture(t)
	g := f.forge()
	g.transforms, g.octets = enveloped+excTransf, exc(t, cheap)
	signature := g.element()
	part := func(from, to string) string {
		i := strings.Index(signature, from)
		return signature[i : i+strings.Index(signature[i:], to)+len(to)]
	}
	signedInfo, properties := part("<ds:SignedInfo>", "</ds:SignedInfo>"), part("<x:SignedProperties", "</x:SignedProperties>")
	qualifying := part("<x:QualifyingProperties", "</x:QualifyingProperties>")
	evil := strings.Replace(signedInfo, "<ds:DigestValue>", "<ds:DigestValue>AA", 1)
	edit := func(old, new string) string {
		if !strings.Contains(signature, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(signature, old, new, 1)
	}
	for name, sig := range map[string]string{
		"two SignedInfo":                       edit(signedInfo, signedInfo+signedInfo),
		"a forged SignedInfo first":            edit(signedInfo, evil+signedInfo),
		"a forged SignedInfo last":             edit(signedInfo, signedInfo+evil),
		"SignedInfo in an Object":              edit(signedInfo, evil) + "",
		"the true SignedInfo in an Object":     strings.Replace(edit(signedInfo, evil), "</ds:Signature>", "<ds:Object>"+signedInfo+"</ds:Object></ds:Signature>", 1),
		"two values":                           edit("</ds:SignatureValue>", "</ds:SignatureValue><ds:SignatureValue>AAAA</ds:SignatureValue>"),
		"SignedProperties twice":               edit(properties, properties+properties),
		"other SignedProperties, same Id":      edit("</ds:Object>", strings.NewReplacer("text/xml", "text/evil", "<x:SignedProperties", `<x:SignedProperties xmlns:x="http://uri.etsi.org/01903/v1.3.2#"`).Replace(properties)+"</ds:Object>"),
		"the true ones elsewhere":              strings.Replace(edit(properties, strings.Replace(properties, `Id="p"`, `Id="q"`, 1)), "</ds:Signature>", "<ds:Object>"+strings.Replace(properties, "<x:SignedProperties", `<x:SignedProperties xmlns:x="http://uri.etsi.org/01903/v1.3.2#"`, 1)+"</ds:Object></ds:Signature>", 1),
		"QualifyingProperties twice":           edit(qualifying, qualifying+qualifying),
		"of another signature":                 edit(`Target="#s"`, `Target="#t"`),
		"properties of another namespace":      edit(`xmlns:x="http://uri.etsi.org/01903/v1.3.2#"`, `xmlns:x="http://uri.etsi.org/01903/v1.3.2"`),
		"SignedInfo of another namespace":      edit("<ds:SignedInfo>", `<ds:SignedInfo xmlns:ds="urn:x">`),
		"a reference without its type":         edit(` Type="http://uri.etsi.org/01903#SignedProperties"`, ""),
		"the type on the document's reference": edit(`<ds:Reference Id="r"`, `<ds:Reference Type="http://uri.etsi.org/01903#SignedProperties" Id="r"`),
		"text in the properties' Object":       edit("<ds:Object>", "<ds:Object>x"),
		"text in SignedInfo":                   edit("<ds:SignedInfo>", "<ds:SignedInfo>x"),
		"the same Id on the root":              edit(`Id="s"`, `Id="o"`),
		"no Id":                                edit(` Id="s"`, ""),
		"base64 with something else in it":     edit("</ds:SignatureValue>", "!</ds:SignatureValue>"),
		"a Manifest for a document":            edit(`<ds:Reference Id="r"`, `<ds:Reference Type="`+ds+`Manifest" Id="r"`),
	} {
		if r := f.judged(strings.Replace(cheap, "</order>", sig+"</order>", 1)); r.Passed() {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	// A signature in a namespace that only looks like it is none.
	lookalike := strings.Replace(signature, ds, strings.TrimSuffix(ds, "#"), 1)
	if r := f.judged(strings.Replace(cheap, "</order>", lookalike+"</order>", 1)); r.Passed() || len(r.Signatures) != 0 {
		t.Error(r.Text())
	}
	// The same markup that means other elements: a default namespace from outside.
	if r := f.judged(strings.Replace(strings.Replace(cheap, "<order", `<order xmlns="urn:x"`, 1), "</order>", signature+"</order>", 1)); r.Sub != validate.HashFailure {
		t.Error(r.Text())
	}
	// A signature that covers only a part.
	g = f.forge()
	g.uri, g.transforms, g.octets = "#i", excTransf, exc(t, `<i Id="i"/>`)
	if r := f.judged(`<a><i Id="i"/>` + g.element() + dear + `</a>`); r.Sub != validate.SigConstraintsFailure || !strings.Contains(r.Text(), `element "i", which is not all of the document`) {
		t.Error(r.Text())
	}
	// A style sheet outside of a root that is covered by its Id.
	g = f.forge()
	g.uri, g.transforms, g.octets = "#o", enveloped+excTransf, exc(t, cheap)
	if r := f.judged(`<?xml-stylesheet href="evil.xsl"?>` + strings.Replace(cheap, "</order>", g.element()+"</order>", 1)); r.Sub != validate.SigConstraintsFailure {
		t.Error(r.Text())
	}
}

// Timestamps of one signature on another, and archive timestamps that are over
// other things.
func TestXMLTimestampSwaps(t *testing.T) {
	f := newFixture(t)
	a, idA := f.xml([]byte(order), f.seal, f.tsa)
	b, idB := f.xml([]byte(strings.Replace(order, "100", "200", 1)), f.seal, f.tsa)
	a = f.xmlArchive(f.xmlEvidence(a, idA, nil), idA)
	b = f.xmlArchive(f.xmlEvidence(b, idB, nil), idB)
	if r := f.validateXML(a); !r.Passed() {
		t.Fatal(r.Text())
	}
	tokens := func(doc []byte) (out []string) {
		for _, p := range strings.Split(string(doc), "<xades:EncapsulatedTimeStamp>")[1:] {
			token, _, _ := strings.Cut(p, "<")
			out = append(out, token)
		}
		return out
	}
	ta, tb := tokens(a), tokens(b)
	if len(ta) != 2 || len(tb) != 2 {
		t.Fatal(len(ta), len(tb))
	}
	swap := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(string(a)) }
	for name, c := range map[string]struct {
		doc  string
		want validate.Sub
	}{
		"another signature's time":              {swap(ta[0], tb[0]), validate.HashFailure},
		"another signature's archive timestamp": {swap(ta[1], tb[1]), validate.HashFailure},
		"the two for each other":                {swap(ta[0], ta[1], ta[1], ta[0]), validate.HashFailure},
		"the archive timestamp twice":           {swap(ta[0], ta[1]), validate.HashFailure},
		"no token":                              {swap(ta[0], "MAA="), validate.FormatFailure},
		"a form that it was not made with":      {swap(`<ds:CanonicalizationMethod xmlns:ds="`+ds+`" Algorithm="`+exclusive+`"/>`, ""), validate.HashFailure},
	} {
		if r := f.judged(c.doc); r.Passed() || r.Sub != c.want {
			t.Errorf("%s: %s", name, r.Text())
		}
	}
	// A list taken out from under the archive timestamp: the signature is no LTA any more.
	i := strings.Index(string(a), "<xades:RevocationValues")
	j := strings.Index(string(a), "</xades:RevocationValues>") + len("</xades:RevocationValues>")
	if r := f.judged(string(a[:i]) + string(a[j:])); r.Passed() {
		t.Error(r.Text())
	}
}

func FuzzXAdES(f *testing.F) {
	fx := newFixture(f)
	doc, id := fx.xml([]byte(order), fx.seal, fx.tsa)
	f.Add(doc, "a.txt")
	f.Add(fx.xmlArchive(fx.xmlEvidence(doc, id, nil), id), "")
	file := xades.File{Name: "a.txt", Content: []byte("text")}
	detached, _ := fx.xmlFiles([]xades.File{file}, fx.tsa)
	f.Add(detached, "a.txt")
	g := fx.forge()
	g.uri, g.transforms, g.octets = "#o", enveloped+excTransf, exc(f, cheap)
	f.Add([]byte(strings.Replace(cheap, "</order>", g.element()+"</order>", 1)), "")
	f.Add([]byte("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"), "")
	for _, name := range []string{"enveloped-ec-lta", "enveloping-rsa-lta", "detached-ec-lta", "within-ec-t"} {
		f.Add(read(f, "testdata/foreign/xades/"+name+".xml"), "letter.txt")
	}
	known := fx.options()
	known.CRLs = [][]byte{fx.root.CRL(f, fx.clock, nil), fx.ca.CRL(f, fx.clock, nil)}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		o := known
		o.Files = []xades.File{{Name: name, Content: []byte("text")}}
		r, err := validate.ValidateXAdES(b, o)
		if err != nil {
			return
		}
		for _, s := range r.Signatures {
			if s.Indication == validate.Passed && s.Kind == validate.KindSignature && (s.Subject == "" || len(s.References) == 0) {
				t.Errorf("passed without signer or reference: %+v", s)
			}
		}
		// What passes says what one of the seeds says: nobody forges a signature here.
		if r.Passed() && !bytes.Contains(b, []byte("100")) && !bytes.Contains(b, []byte("a.txt")) && !bytes.Contains(b, []byte("<sum>1</sum>")) {
			t.Errorf("passes: %s", b)
		}
		if strings.ContainsAny(r.Text(), "\x1b\x07") {
			t.Error("control characters reach the terminal")
		}
	})
}
