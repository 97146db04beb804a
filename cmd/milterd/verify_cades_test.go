package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms/cmstest"
	"milterd/validate"
)

// verify judges what is no PDF: a detached signature with its file, in DER and in
// PEM, and containers.
func TestVerifyCAdESAndASiC(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	file := func(name string, b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := cmstest.Root(t, now)
	seal := root.Signer(t, now, cmstest.P256, nil)
	p := cades.Params{Certificate: seal.Cert, Time: now.Add(-time.Minute)}
	content := []byte("a letter\n")
	der, err := cades.Sign(context.Background(), content, p, seal.Key, nil)
	letter, other := file("letter.txt", content, nil), file("other.txt", nil, nil)
	detached := file("letter.txt.p7s", der, err)
	alone := file("alone.p7s", der, nil)
	whole, err := cades.Attach(der, content)
	attached := file("other.txt.p7m", whole, err)
	armoured := file("letter.txt.pem", pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: der}), nil)
	files := []asic.File{{Name: "letter.txt", Content: content}}
	s, err := asic.Sign(context.Background(), asic.Extended, files, 1, p, seal.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := asic.Build(asic.Extended, files, []asic.Signature{*s})
	container := file("letter.asice", data, err)
	broken := file("broken.asice", append(data[:len(data):len(data)], '!'), nil)
	known := []string{"--trust", file("root.crt", root.Cert.Raw, nil), "--crl", file("root.crl", root.CRL(t, now, nil), nil), "-c", "/nonexistent"}
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"detached":           {[]string{detached, letter}, 0, "signs      letter.txt"},
		"its file beside it": {[]string{detached}, 0, "CAdES-BASELINE-B"},
		"in PEM":             {[]string{armoured}, 0, "CAdES-BASELINE-B"},
		"attached":           {[]string{attached}, 0, "CAdES-BASELINE-B"}, // whatever lies beside it
		"of another file":    {[]string{detached, other}, exitFailed, "HASH_FAILURE"},
		"of two files":       {[]string{detached, letter, other}, exitIndeterminate, "signs one file, and 2 were given"},
		"without its file":   {[]string{alone}, exitIndeterminate, "SIGNED_DATA_NOT_FOUND"},
		"container":          {[]string{container}, 0, "signs      letter.txt"},
		"a container's file": {[]string{container, letter}, exitUsage, "after a detached signature"},
		"broken container":   {[]string{broken}, exitIndeterminate, "malformed container"},
	} {
		out, errs, status := milterd(t, append(append([]string{"verify"}, c.args...), known...)...)
		if status != c.status || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: status %d, want %d and %q\n%s%s", name, status, c.status, c.says, out, errs)
		}
	}
	out, _, _ := milterd(t, append([]string{"verify", "--json", container}, known...)...)
	var r validate.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Format != validate.ASiCE || len(r.Signatures) != 1 || len(r.Signatures[0].Files) != 1 {
		t.Errorf("%v in %s", err, out)
	}
}
