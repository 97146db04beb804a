package pki

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/pki/tsatest"
	"milterd/signature/cms"
)

func TestRemoteVerifiesWhatItGets(t *testing.T) {
	s := tsatest.New(t)
	data := []byte("a document")
	digest := sha256.Sum256(data)
	r := &Remote{URLs: []string{s.URL}, Roots: s.Roots(), Timeout: 2 * time.Second}
	token, err := r.Timestamp(context.Background(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	run(t, "openssl", "ts", "-verify", "-token_in", "-in", write(t, "token", token), "-data", write(t, "data", data),
		"-CAfile", writeCert(t, s.Root.Raw))

	for how, want := range map[tsatest.Behaviour]string{
		tsatest.WrongNonce:   "nonce",
		tsatest.NoNonce:      "nonce",
		tsatest.WrongImprint: "digest",
		tsatest.Late:         "deadline exceeded",
		tsatest.Error500:     "HTTP status 503",
		tsatest.Error404:     "HTTP status 404",
		tsatest.Huge:         "more than 65536 bytes",
		tsatest.Garbage:      "asn1",
		tsatest.Page:         `answers with "text/html"`,
		tsatest.Moved:        "HTTP status 307",
		tsatest.Rejecting:    "time source is not available",
		tsatest.Replay:       "digest",
		tsatest.Tampered:     "verification failure",
		tsatest.NoCerts:      "certificate",
		tsatest.WrongPurpose: "not a certificate of a timestamp authority alone",
	} {
		t.Run(string(how), func(t *testing.T) {
			s.Behave(how)
			r := *r
			if how == tsatest.Late {
				r.Timeout = 100 * time.Millisecond
			}
			other := sha256.Sum256([]byte(how))
			_, err := r.Timestamp(context.Background(), other[:])
			var tsa *TSAError
			if !errors.As(err, &tsa) || tsa.URL != s.URL || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want a TSAError with %q", err, want)
			}
			tries := int64(1)
			if how == tsatest.Late || how == tsatest.Error500 {
				tries = 2 // only these can be better next time
			}
			if n := s.Requests.Load(); n != tries {
				t.Errorf("%d requests, want %d", n, tries)
			}
		})
	}
}

func TestRemoteTrustPolicyAndTime(t *testing.T) {
	s := tsatest.New(t)
	digest := sha256.Sum256(nil)
	ctx := context.Background()
	r := Remote{URLs: []string{s.URL}, Roots: tsatest.New(t).Roots()}
	if _, err := r.Timestamp(ctx, digest[:]); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("foreign root: %v", err)
	}
	r.Roots = nil // the system's
	if _, err := r.Timestamp(ctx, digest[:]); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("system roots: %v", err)
	}
	r.Roots = s.Roots()
	r.Policy = asn1.ObjectIdentifier{1, 2, 3, 4, 5}
	token, err := r.Timestamp(ctx, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := cms.ParseToken(token); err != nil || !tok.Policy.Equal(r.Policy) {
		t.Errorf("policy %v: %v", tok.Policy, err)
	}
	r.Policy = asn1.ObjectIdentifier{1, 2, 3, 9}
	if _, err := r.Timestamp(ctx, digest[:]); err == nil || !strings.Contains(err.Error(), "policy") {
		t.Errorf("refused policy: %v", err)
	}
	r.Policy = nil
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, err := r.Timestamp(ctx, digest[:]); err == nil || !strings.Contains(err.Error(), "away from our clock") {
		t.Errorf("time: %v", err)
	}
	if _, err := r.Timestamp(ctx, digest[:20]); err == nil || !strings.Contains(err.Error(), "want SHA-256") {
		t.Errorf("SHA-1: %v", err)
	}
	if err := (&Remote{}).Probe(ctx); err == nil {
		t.Error("no address is fine")
	}
}

// Addresses are tried in order; one that is away costs time, not the signature.
func TestRemoteFallsBackInOrder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + ln.Addr().String() + "/tsa"
	ln.Close()
	first, second := tsatest.New(t), tsatest.New(t)
	roots := first.Roots()
	roots.AddCert(second.Root)
	r := &Remote{URLs: []string{dead, first.URL, second.URL}, Roots: roots}
	if err := r.Probe(context.Background()); err != nil {
		t.Fatal(err)
	}
	if first.Requests.Load() != 1 || second.Requests.Load() != 0 {
		t.Error("the second was asked although the first answers")
	}
	first.Behave(tsatest.OnceDown)
	if err := r.Probe(context.Background()); err != nil || second.Requests.Load() != 0 {
		t.Errorf("one 503: %v", err)
	}
	first.Behave(tsatest.Garbage)
	if err := r.Probe(context.Background()); err != nil || second.Requests.Load() != 1 {
		t.Errorf("second not asked: %v", err)
	}
	second.Behave(tsatest.Rejecting)
	err = r.Probe(context.Background())
	for _, u := range r.URLs {
		if err == nil || !strings.Contains(err.Error(), u) {
			t.Errorf("%s is not named: %v", u, err)
		}
	}
}

func TestGatherForeignEvidence(t *testing.T) {
	a, _ := authority(t)
	s := tsatest.New(t)
	digest := sha256.Sum256(nil)
	ctx := context.Background()
	token, err := (&Remote{URLs: []string{s.URL}, Roots: s.Roots()}).Timestamp(ctx, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	tok, err := cms.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tok.CheckSigner()
	if err != nil {
		t.Fatal(err)
	}
	g := &Gatherer{Own: a, Roots: s.Roots()}
	leaves := append(a.Seal().Chain[:1:1], signer)
	e, err := g.Gather(ctx, tok.Time, leaves, tok.Certificates)
	if err != nil {
		t.Fatal(err)
	}
	// Ours: seal, issuing, root; theirs: TSA, CA, root. Our two lists and their root's; OCSP for the TSA.
	if len(e.Certificates) != 6 || len(e.CRLs) != 3 || len(e.OCSPs) != 1 {
		t.Errorf("%d certificates, %d CRLs, %d OCSP responses", len(e.Certificates), len(e.CRLs), len(e.OCSPs))
	}
	s.NoOCSP.Store(true)
	if e, err = g.Gather(ctx, tok.Time, leaves, tok.Certificates); err != nil || len(e.CRLs) != 4 || len(e.OCSPs) != 0 {
		t.Errorf("without OCSP: %v, %d CRLs, %d OCSP responses", err, len(e.CRLs), len(e.OCSPs))
	}
	for _, down := range []bool{true, false} {
		s.NoOCSP.Store(down)
		s.Revoked.Store(true)
		var revoked *RevokedError
		if _, err = g.Gather(ctx, tok.Time, leaves, tok.Certificates); !errors.As(err, &revoked) || revoked.Name != "Foreign Timestamps" {
			t.Errorf("revoked: %v", err)
		}
	}
	if _, err := (&Gatherer{Own: a}).Gather(ctx, tok.Time, leaves, tok.Certificates); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("without roots: %v", err)
	}
}

func writeCert(t *testing.T, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.pem")
	os.Remove(path)
	if err := writePEM(path, "CERTIFICATE", der, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
