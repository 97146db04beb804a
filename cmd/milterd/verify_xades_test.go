package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms/cmstest"
	"milterd/signature/xades"
	"milterd/validate"
)

// verify judges XML: a signed document, and a detached signature with the files
// that are named or lie beside it.
func TestVerifyXAdES(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := cmstest.Root(t, now)
	seal := root.Signer(t, now, cmstest.P256, nil)
	sign := func(prep *xades.Preparation, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		value, err := prep.SignWith(seal.Key)
		if err != nil {
			t.Fatal(err)
		}
		element, err := prep.Finish(context.Background(), value, nil)
		if err != nil {
			t.Fatal(err)
		}
		return element
	}
	p := xades.Params{Certificate: seal.Cert, Chain: []*x509.Certificate{root.Cert}, Time: now.Add(-time.Minute)}
	invoice := []byte("<?xml version='1.0'?>\n<invoice><sum>100</sum></invoice>\n")
	signed, err := xades.Put(invoice, sign(xades.Envelope(invoice, p)))
	if err != nil {
		t.Fatal(err)
	}
	letter := []byte("a letter\n")
	detached := sign(xades.Detach([]xades.File{{Name: "letter.txt", Content: letter}}, p))
	outside := sign(xades.Detach([]xades.File{{Name: "folder/link", Content: letter}}, p))
	known := []string{"--trust", file("root.crt", root.Cert.Raw), "--crl", file("root.crl", root.CRL(t, now, nil)), "-c", "/nonexistent"}
	file("beside/letter.txt", letter)
	secret := file("letter-elsewhere.txt", letter)
	link := filepath.Join(dir, "beside", "folder", "link")
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"enveloped":         {[]string{file("invoice.xml", signed)}, 0, "covers     the document"},
		"changed":           {[]string{file("changed.xml", []byte(strings.Replace(string(signed), "100", "900", 1)))}, exitFailed, "HASH_FAILURE"},
		"not signed":        {[]string{file("plain.xml", invoice)}, exitIndeterminate, "no signature"},
		"no XML":            {[]string{file("bad.xml", []byte("<!DOCTYPE a><a/>"))}, exitIndeterminate, "document type declaration"},
		"detached, beside":  {[]string{file("beside/letter.xml", detached)}, 0, `covers     file "letter.txt"`},
		"detached, alone":   {[]string{file("alone/letter.xml", detached)}, exitIndeterminate, "SIGNED_DATA_NOT_FOUND"},
		"detached, given":   {[]string{file("alone/letter.xml", detached), file("given/letter.txt", letter)}, 0, "XAdES-BASELINE-B"},
		"one too many":      {[]string{file("alone/letter.xml", detached), file("given/letter.txt", letter), secret}, exitIndeterminate, "no signature covers"},
		"a link leads away": {[]string{file("beside/outside.xml", outside)}, exitIndeterminate, "SIGNED_DATA_NOT_FOUND"},
	} {
		out, errs, status := milterd(t, append(append([]string{"verify"}, c.args...), known...)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: status %d, want %d and %q\n%s%s", name, status, c.status, c.says, out, errs)
		}
	}
	out, _, _ := milterd(t, append([]string{"verify", "--json", file("invoice.xml", signed)}, known...)...)
	var r validate.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Format != validate.XAdES || len(r.Signatures) != 1 || len(r.Signatures[0].References) != 1 || !r.Signatures[0].References[0].Holds {
		t.Errorf("%v in %s", err, out)
	}
}
