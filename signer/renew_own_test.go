package signer

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"milterd/pki"
	"milterd/validate"
	"milterd/workflow"
)

// entries is a register that only takes down.
type entries struct{ workflow.Tx }

func (e entries) Do(_ context.Context, fn func(workflow.Tx) error) error { return fn(e.Tx) }

func (entries) Certificate(context.Context, string) (*workflow.Certificate, error) {
	return nil, workflow.ErrNotFound
}

func (entries) Certificates(context.Context, workflow.CertificateFilter) ([]*workflow.Certificate, error) {
	return nil, nil
}

// taken is its transaction.
type taken struct{ workflow.Tx }

func (taken) SaveCertificate(*workflow.Certificate) error { return nil }
func (taken) AppendLog(workflow.Event) error              { return nil }

// TestRenewAfterCA: five and a half years ago a house was made and a document
// sealed there. Its archive timestamp gains years by the certificate of milterd ca
// renew tsa, and by nothing else.
func TestRenewAfterCA(t *testing.T) {
	then := func() time.Time { return time.Now().AddDate(-5, -8, 0) }
	dir := filepath.Join(t.TempDir(), "keys")
	if err := pki.Init(dir, pki.Options{Organisation: org, Country: "LU", URL: "https://sign.corp.test", Key: pki.P256, Now: then()}); err != nil {
		t.Fatal(err)
	}
	open := func(now func() time.Time) (*pki.Authority, *Signer) {
		a, err := pki.Open(pki.Config{Dir: dir, Register: entries{taken{}}, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		s := ownClock(a)
		s.c.Now = now
		return a, s
	}
	_, s := open(then)
	sess := session(1)
	sess.Created, sess.People[0].Act.At = then(), then()
	data, _ := finish(t, s, sess, document(t, "contract.pdf"))

	soon := time.Now().Add(workflow.RenewBefore)
	a, s := open(time.Now)
	r, err := s.Renew(t.Context(), data, soon)
	if err != nil || len(r.Increments) == 0 || r.Until.After(r.Was) {
		t.Fatalf("with the old certificate: %d increments until %s, were until %s: %v", len(r.Increments), r.Until, r.Was, err)
	}
	// The seal has expired years ago: nothing new is sealed, and the old stands.
	if err := a.Unlocked(); err == nil {
		t.Error("an expired seal can be used")
	}
	if _, err := s.Seal(t.Context(), sess, 0, data); err == nil {
		t.Error("sealed with an expired certificate")
	}
	if _, err := a.Renew(t.Context(), "tsa", false); err != nil {
		t.Fatal(err)
	}
	_, s = open(time.Now)
	out, kinds, until := renewed(t, s, data, soon)
	if !bytes.HasPrefix(out, data) || kinds[len(kinds)-1] != workflow.Archive || until.Before(time.Now().AddDate(4, 3, 0)) {
		t.Errorf("%v until %s", kinds, until)
	}
	for _, sig := range judge(t, s, out, 2).Signatures {
		if sig.Indication != validate.Passed {
			t.Errorf("%s is %s %s", sig.Field, sig.Indication, sig.Problem)
		}
	}
	if same, _, _ := renewed(t, s, out, soon); !bytes.Equal(same, out) {
		t.Error("renewed although it is not time")
	}
}
