package pki

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"milterd/pki/tsatest"
	"milterd/signature/cms"
)

var update = flag.Bool("update", false, "write testdata anew")

// The seeds are a granting and a rejecting answer to the digest of nothing, the
// first by OpenSSL.
func seeds(t testing.TB) [][]byte {
	paths, err := filepath.Glob("testdata/*.tsr")
	if err != nil || len(paths) < 2 {
		t.Fatalf("seeds are missing: %v (%v); go test -run Seeds -update", paths, err)
	}
	var out [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestSeeds(t *testing.T) {
	digest := sha256.Sum256(nil)
	if *update {
		s := tsatest.New(t)
		nonce, _ := randomSerial()
		for _, how := range []tsatest.Behaviour{tsatest.Honest, tsatest.Rejecting} {
			s.Behave(how)
			query, err := (&Remote{}).query(digest[:], nonce)
			if err != nil {
				t.Fatal(err)
			}
			body, err := (&Remote{}).post(t.Context(), s.URL, query)
			if err != nil {
				t.Fatal(err)
			}
			name := map[tsatest.Behaviour]string{tsatest.Honest: "granted", tsatest.Rejecting: "rejected"}[how]
			if err := os.WriteFile("testdata/"+name+".tsr", body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := 0
	for _, b := range seeds(t) {
		if _, _, err := parseResponse(b, digest[:]); err == nil {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d of the seeds are granted, want 1", good)
	}
}

// What parseResponse takes is a token over the digest, and its bytes are DER
// that reads the same again.
func FuzzParseResponse(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	digest := sha256.Sum256(nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, signer, err := parseResponse(b, digest[:])
		if err != nil {
			return
		}
		if signer == nil || !bytes.Equal(tok.Imprint, digest[:]) {
			t.Fatal("a token without signer or over other data")
		}
		if again, err := cms.ParseToken(tok.Raw); err != nil || !again.Time.Equal(tok.Time) {
			t.Fatal("reads differently again")
		}
	})
}
