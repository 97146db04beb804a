package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"milterd/signature/cms/cmstest"
)

// revocationTime is when the seeds were issued.
var revocationTime = time.Date(2026, 11, 23, 9, 45, 0, 0, time.UTC)

// revocationNames are the parts of testdata/revocation.pem, in order.
const (
	seedIssuer = iota
	seedLeaf
	seedGoodList
	seedRevokedList
	seedGoodAnswer
	seedRevokedAnswer
	seedForeignList
	seedCount
)

// revocationSeeds are certificates, lists and answers of an authority whose key
// is gone, so that every run of a fuzz test, in every process, knows the same.
func revocationSeeds(t testing.TB) [][]byte {
	t.Helper()
	const path = "testdata/revocation.pem"
	if *update {
		at := revocationTime
		ca := cmstest.Root(t, at).CA(t, at)
		leaf := ca.Signer(t, at, cmstest.P256, nil)
		revoked := map[*x509.Certificate]time.Time{leaf.Cert: at.Add(-time.Hour)}
		var out []byte
		for _, der := range [][]byte{
			seedIssuer: ca.Cert.Raw, seedLeaf: leaf.Cert.Raw, seedGoodList: ca.CRL(t, at, nil), seedRevokedList: ca.CRL(t, at, revoked),
			seedGoodAnswer: ca.OCSP(t, leaf.Cert, at, time.Time{}), seedRevokedAnswer: ca.OCSP(t, leaf.Cert, at, at.Add(-time.Hour)),
			seedForeignList: ca.Issuer.CA(t, at).CRL(t, at, nil),
		} {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: "DATA", Bytes: der})...)
		}
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for b, rest := pem.Decode(rest); b != nil; b, rest = pem.Decode(rest) {
		out = append(out, b.Bytes)
	}
	if len(out) != seedCount {
		t.Fatalf("%d seeds", len(out))
	}
	return out
}

// saying is an HTTP client to which everybody says the same.
type saying []byte

func (s saying) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s))}, nil
}

// asked gives what a list and an answer with these bytes lead to.
func asked(t testing.TB, seeds [][]byte, b []byte) (list, answer error, e Evidence) {
	issuer, err := x509.ParseCertificate(seeds[seedIssuer])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(seeds[seedLeaf])
	if err != nil {
		t.Fatal(err)
	}
	g := &Gatherer{Client: &http.Client{Transport: saying(b)}}
	w := &gathering{g: g, now: revocationTime.Add(time.Minute), after: revocationTime, done: map[string]bool{}}
	list = w.crl(context.Background(), "http://ca.test/", leaf, issuer)
	answer = w.ocsp(context.Background(), "http://ca.test/", leaf, issuer)
	return list, answer, w.e
}

// Each seed says what it should.
func TestRevocationSeeds(t *testing.T) {
	seeds := revocationSeeds(t)
	for i, want := range map[int][2]string{
		seedGoodList: {"good", "error"}, seedRevokedList: {"revoked", "error"}, seedGoodAnswer: {"error", "good"}, seedRevokedAnswer: {"error", "revoked"},
		seedForeignList: {"error", "error"}, seedLeaf: {"error", "error"},
	} {
		list, answer, _ := asked(t, seeds, seeds[i])
		if got := [2]string{said(list), said(answer)}; got != want {
			t.Errorf("seed %d: %v, want %v (%v; %v)", i, got, want, list, answer)
		}
	}
}

func said(err error) string {
	var revoked *RevokedError
	switch {
	case err == nil:
		return "good"
	case errors.As(err, &revoked):
		return "revoked"
	}
	return "error"
}

// Nothing but what the authority has signed says anything about a certificate.
func FuzzRevocation(f *testing.F) {
	seeds := revocationSeeds(f)
	for _, b := range seeds[seedGoodList:] {
		f.Add(b)
	}
	lists, answers := map[string]string{}, map[string]string{}
	issuer, err := x509.ParseCertificate(seeds[seedIssuer])
	if err != nil {
		f.Fatal(err)
	}
	for i, what := range map[int]string{seedGoodList: "good", seedRevokedList: "revoked"} {
		l, err := x509.ParseRevocationList(seeds[i])
		if err != nil {
			f.Fatal(err)
		}
		lists[string(l.RawTBSRevocationList)] = what
	}
	for i, what := range map[int]string{seedGoodAnswer: "good", seedRevokedAnswer: "revoked"} {
		r, err := ocsp.ParseResponse(seeds[i], issuer)
		if err != nil {
			f.Fatal(err)
		}
		answers[string(r.TBSResponseData)] = what
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, answer, e := asked(t, seeds, b)
		if what := said(list); what != "error" {
			if l, err := x509.ParseRevocationList(b); err != nil || lists[string(l.RawTBSRevocationList)] != what {
				t.Errorf("a list that nobody signed says %s", what)
			}
		}
		if what := said(answer); what != "error" {
			if r, err := ocsp.ParseResponse(b, issuer); err != nil || answers[string(r.TBSResponseData)] != what {
				t.Errorf("an answer that nobody signed says %s", what)
			}
		}
		if (said(list) == "good") != (len(e.CRLs) == 1) || (said(answer) == "good") != (len(e.OCSPs) == 1) {
			t.Error("evidence that says nothing is kept")
		}
	})
}
