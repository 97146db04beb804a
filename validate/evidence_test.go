package validate

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"golang.org/x/crypto/ocsp"
)

// Nothing but what an authority has signed says anything about a certificate:
// the seeds (see package pki) are its certificate, one of a person, and lists and
// answers, of which the last is by a namesake.
func FuzzEvidence(f *testing.F) {
	rest, err := os.ReadFile("../pki/testdata/revocation.pem")
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][]byte
	for b, rest := pem.Decode(rest); b != nil; b, rest = pem.Decode(rest) {
		seeds = append(seeds, b.Bytes)
	}
	if len(seeds) < 7 {
		f.Fatalf("%d seeds", len(seeds))
	}
	issuer, err := x509.ParseCertificate(seeds[0])
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(seeds[1])
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]bool{}
	known := 0
	for _, b := range seeds[2:] {
		f.Add(b)
		for _, tbs := range toBeSigned(b, issuer) {
			signed[tbs] = true
		}
		if st := about(b, leaf, issuer); st.good || st.revoked {
			known++
		}
	}
	if known != 4 {
		f.Fatalf("%d of the seeds speak for the certificate", known)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if st := about(b, leaf, issuer); !st.good && !st.revoked {
			return
		}
		for _, tbs := range toBeSigned(b, issuer) {
			if signed[tbs] {
				return
			}
		}
		t.Error("what nobody signed speaks for the certificate")
	})
}

func about(b []byte, leaf, issuer *x509.Certificate) status {
	e := &evidence{ocsps: [][]byte{b}}
	e.addCRL(b)
	return e.status(leaf, issuer)
}

func toBeSigned(b []byte, issuer *x509.Certificate) (out []string) {
	if l, err := x509.ParseRevocationList(b); err == nil {
		out = append(out, string(l.RawTBSRevocationList))
	}
	if r, err := ocsp.ParseResponse(b, issuer); err == nil {
		out = append(out, string(r.TBSResponseData))
	}
	return out
}
