package cms_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"milterd/signature/cms"
)

// What OpenSSL streams, with indefinite lengths and content in chunks, becomes the
// message that it writes otherwise; DER stays as it is.
func TestFromBER(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.der")
	if err != nil || len(paths) < 8 {
		t.Fatalf("%d samples, %v", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		der, err := cms.FromBER(b)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := cms.ParseAll(b); err == nil && !bytes.Equal(der, b) {
			t.Errorf("%s: DER was changed", path)
		}
		if _, err := cms.ParseAll(der); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	dir := t.TempDir()
	run := func(args ...string) {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	content := bytes.Repeat([]byte("We agree.\n"), 2000)
	if err := os.WriteFile(filepath.Join(dir, "content"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "cert", "-subj", "/CN=A")
	run("cms", "-sign", "-cades", "-binary", "-nodetach", "-stream", "-signer", "cert", "-inkey", "key", "-in", "content", "-outform", "DER", "-out", "out")
	streamed, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cms.ParseAll(streamed); !errors.Is(err, cms.ErrFormat) {
		t.Fatalf("BER passes for DER: %v", err)
	}
	der, err := cms.FromBER(streamed)
	if err != nil {
		t.Fatal(err)
	}
	all, err := cms.ParseAll(der)
	if err != nil || !bytes.Equal(all[0].Content, content) {
		t.Fatalf("content of %d bytes: %v", len(all[0].Content), err)
	}
	cert, err := all[0].SignerCertificate()
	if err != nil || all[0].CheckSignature(cert) != nil {
		t.Errorf("the signature: %v", err)
	}
}

func TestFromBERRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "a tag alone": {0x30}, "a long tag": {0x3f, 1, 0}, "no end": {0x30, 0x80}, "a primitive without length": {4, 0x80, 0, 0},
		"longer than it is": {0x30, 3, 5, 0}, "length of nine bytes": {0x30, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, "something behind": {0x30, 0, 0x30, 0},
		"a string of integers": {0x24, 0x80, 2, 1, 1, 0, 0}, "text in pieces": {0x2c, 0x80, 0x0c, 1, 'a', 0, 0}, "huge": {4, 0x84, 0xff, 0xff, 0xff, 0xff},
		"nested": bytes.Repeat([]byte{0x30, 0x80}, 100_000),
	} {
		if _, err := cms.FromBER(b); !errors.Is(err, cms.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What comes out is DER as far as lengths go: again, it stays as it is.
func FuzzFromBER(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.der")
	if err != nil || len(paths) < 8 {
		f.Fatalf("%d seeds, %v", len(paths), err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x24, 0x80, 4, 1, 'a', 0x24, 0x80, 4, 0x81, 1, 'b', 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		der, err := cms.FromBER(b)
		if err != nil {
			return
		}
		again, err := cms.FromBER(der)
		if err != nil || !bytes.Equal(again, der) || len(der) > len(b)+len(b)/2 {
			t.Fatalf("%x became %x, then %x (%v)", b, der, again, err)
		}
	})
}
