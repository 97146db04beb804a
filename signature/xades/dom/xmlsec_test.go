package dom_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"milterd/signature/xades/dom"
)

// formURIs are all canonical forms.
var formURIs = []string{
	"http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
	"http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
	"http://www.w3.org/2006/12/xml-c14n11",
	"http://www.w3.org/2006/12/xml-c14n11#WithComments",
	"http://www.w3.org/2001/10/xml-exc-c14n#",
	"http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
	"http://www.w3.org/2001/10/xml-exc-c14n# p #default",
}

const dsig = "http://www.w3.org/2000/09/xmldsig#"

// xmlsec1 digests each sample in each form, whole and in part, as we do.
func TestFormsAgainstXmlsec(t *testing.T) {
	if _, err := exec.LookPath("xmlsec1"); err != nil {
		t.Fatal("these tests need Debian's xmlsec1")
	}
	paths, err := filepath.Glob("testdata/c14n/*.xml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d samples (%v)", len(paths), err)
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".xml"), func(t *testing.T) {
			t.Parallel()
			digests(t, raw)
		})
	}
}

func digests(t *testing.T, raw []byte) {
	var references strings.Builder
	for _, uri := range formURIs {
		uri, prefixes, listed := strings.Cut(uri, " ")
		inner := ""
		if listed {
			inner = `<InclusiveNamespaces xmlns="` + dom.ExclusiveURI + `" PrefixList="` + prefixes + `"/>`
		}
		for _, target := range []string{"", "#x", "#xpointer(/)"} {
			fmt.Fprintf(&references, `<Reference URI="%s"><Transforms><Transform Algorithm="%senveloped-signature"/><Transform Algorithm="%s">%s</Transform></Transforms>`+
				`<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue/></Reference>`, target, dsig, uri, inner)
		}
	}
	signature := `<Signature xmlns="` + dsig + `"><SignedInfo><CanonicalizationMethod Algorithm="` + dom.ExclusiveURI + `"/>` +
		`<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"/>` + references.String() + `</SignedInfo><SignatureValue/></Signature>`
	at := bytes.LastIndex(raw, []byte("</"))
	template := string(raw[:at]) + signature + string(raw[at:])
	dir := t.TempDir()
	key, in := filepath.Join(dir, "key"), filepath.Join(dir, "in.xml")
	if err := os.WriteFile(key, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("xmlsec1", "--sign", "--hmackey", key, in).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	theirs := regexp.MustCompile(`<DigestValue>([^<]+)</DigestValue>`).FindAllSubmatch(out, -1)
	d, err := dom.Parse([]byte(template))
	if err != nil {
		t.Fatal(err)
	}
	part, err := d.ByID("x")
	if err != nil {
		t.Fatal(err)
	}
	isSignature := func(n *dom.Node) bool { return n.Is(dsig, "Signature") }
	for i, uri := range formURIs {
		uri, prefixes, _ := strings.Cut(uri, " ")
		form, err := dom.FormOf(uri)
		if err != nil {
			t.Fatal(err)
		}
		form.Prefixes = strings.Fields(prefixes)
		// Of the three only #xpointer(/) keeps comments (XML Signature, 4.4.3.3).
		without := form
		without.Comments = false
		var whole, element, all bytes.Buffer
		if err := without.WriteDocument(&whole, d, isSignature); err != nil {
			t.Fatal(err)
		}
		if err := without.WriteElement(&element, part, isSignature); err != nil {
			t.Fatal(err)
		}
		if err := form.WriteDocument(&all, d, isSignature); err != nil {
			t.Fatal(err)
		}
		for j, b := range [][]byte{whole.Bytes(), element.Bytes(), all.Bytes()} {
			sum := sha256.Sum256(b)
			if ours := base64.StdEncoding.EncodeToString(sum[:]); len(theirs) <= 3*i+j || ours != string(theirs[3*i+j][1]) {
				t.Errorf("%s %q of %d: %s\nours: %q", uri, prefixes, j, out, b)
			}
		}
	}
}
