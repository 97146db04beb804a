package program

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"milterd/pki"
	"milterd/signature/xades"
	"milterd/workflow"
)

// What XML can take a signature in itself is tried in a child.
func TestInspectXML(t *testing.T) {
	invoice, err := os.ReadFile(filepath.Join("..", "testdata", "xml", "invoice.xml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "keys")
	if err := pki.Init(dir, pki.Options{Organisation: "Corp", Country: "LU", URL: "https://sign.corp.test", Key: pki.P256}); err != nil {
		t.Fatal(err)
	}
	a, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	seal := a.Seal()
	prep, err := xades.Envelope(invoice, xades.Params{Certificate: seal.Chain[0], Time: seal.Chain[0].NotBefore.Add(1)})
	if err != nil {
		t.Fatal(err)
	}
	value, err := prep.SignWith(seal.Key)
	if err != nil {
		t.Fatal(err)
	}
	element, err := prep.Finish(t.Context(), value, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := xades.Put(invoice, element)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ xml, want string }{
		"an invoice":                 {string(invoice), "signed=false notes=[comments]"},
		"signed before":              {string(signed), "signed=true notes=[comments]"},
		"a comment":                  {"<a><!-- c --><b/></a>", "signed=false notes=[comments]"},
		"a document type":            {"<!DOCTYPE a><a/>", "broken-xml"},
		"entities":                   {`<!DOCTYPE a [<!ENTITY x "` + strings.Repeat("x", 100) + `"><!ENTITY y "&x;&x;">]><a>&y;</a>`, "broken-xml"},
		"an entity, alone":           {"<a>&x;</a>", "broken-xml"},
		"two roots":                  {"<a/><b/>", "broken-xml"},
		"no end":                     {"<a>", "broken-xml"},
		"nothing":                    {"", "broken-xml"},
		"no XML":                     {"PK\x03\x04", "broken-xml"},
		"another charset":            {"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><a>\xfc</a>", "broken-xml"},
		"a cut text":                 {"<a>1<!-- -->000</a>", "split-xml"},
		"deep":                       {strings.Repeat("<a>", 5000) + strings.Repeat("</a>", 5000), "broken-xml"},
		"a signature":                {string(element), "signature-forbidden"},
		"one that covers what comes": {strings.Replace(string(signed), "http://www.w3.org/TR/1999/REC-xpath-19991116", "http://www.w3.org/2000/09/xmldsig#enveloped-signature", 1), "signature-forbidden"},
	} {
		f, err := inspectXML(t.Context(), []byte(c.xml))
		got := fmt.Sprintf("signed=%t notes=%v", f.Signed, f.Notes)
		var r *workflow.Refusal
		if errors.As(err, &r) {
			got = r.Reason
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s (%v)", name, got, c.want, err)
		}
	}
}
