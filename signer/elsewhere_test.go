package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"milterd/pki"
	"milterd/signature/cms"
	"milterd/signature/cms/cmstest"
	"milterd/validate"
	"milterd/workflow"
)

// message is what a provider makes: a complete signature over a digest.
func (d *device) message(t testing.TB, digest []byte, issuers ...[]byte) []byte {
	t.Helper()
	leaf, err := x509.ParseCertificate(d.chain[0])
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := cms.SignedAttributes(cms.ES256, digest, leaf)
	if err != nil {
		t.Fatal(err)
	}
	der, err := cms.SignedData{Algorithm: cms.ES256, Certificates: append([]*x509.Certificate{leaf}, cms.Issuers(issuers)...), Attributes: attributes, Value: d.sign(t, attributes, false)}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// late is a session at level Qualified with one document that waits for a certificate, too.
func late(t testing.TB, s *Signer) (*workflow.Session, []byte, *workflow.Prepared) {
	t.Helper()
	sess := session(1)
	sess.Level = workflow.Qualified
	head := laidOut(t, s, sess, document(t, "contract.pdf"))
	act := sess.People[0].Act
	p, err := s.Prepare(context.Background(), sess, 0, 0, act.Appearance, act.At, workflow.Key{Algorithm: "ES256"}, head)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Attributes) > 0 || len(p.Digest) != 32 {
		t.Fatalf("attributes %x, digest %x", p.Attributes, p.Digest)
	}
	return sess, head, stored(t, p)
}

// The certificate comes with the signature: the result is as good as any other.
func TestMadeElsewhere(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s := ownClock(a.Authority)
	sess, head, p := late(t, s)
	d := a.device(t, sess.People[0].Person, 30*24*time.Hour)
	made := d.message(t, p.Digest, d.chain[1:]...)
	key, err := s.Take(context.Background(), p, head, made)
	chain := key.Chain
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != len(d.chain) || !bytes.Equal(chain[0], d.chain[0]) || !bytes.Equal(p.Made, made) || len(p.Attributes) == 0 {
		t.Fatalf("%d certificates, %d bytes made", len(chain), len(p.Made))
	}
	leaf, err := x509.ParseCertificate(d.chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cms.VerifyValue(leaf, cms.ES256, p.Attributes, p.Value); err != nil {
		t.Errorf("evidence could not verify it: %v", err)
	}
	p = stored(t, p)
	sess.People[0].Act.Accepted = &workflow.Acceptance{Chain: d.chain}
	incs, err := s.Complete(context.Background(), sess, 0, 0, head, p)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(head)
	for _, inc := range incs {
		out = append(out, inc.Suffix...)
	}
	r := results(t, a.Authority, out)
	if !r.Passed() || r.Signatures[0].Level != validate.LevelLT || r.Signatures[0].Reason != "Qualified: signed by Jane Roe with a qualified certificate" &&
		r.Signatures[0].Reason != OwnReason(workflow.Qualified, sess.People[0].Name) {
		t.Fatal(r.Text())
	}
	sealed, err := s.Seal(context.Background(), sess, 0, out)
	if err != nil {
		t.Fatal(err)
	}
	for _, inc := range sealed {
		out = append(out, inc.Suffix...)
	}
	judge(t, s, out, 2)
	outsiders(t, out, a.dir, 2)
	sess, other, bare := late(t, s) // its issuers come from who vouched, into the DSS
	if _, err := s.Take(context.Background(), bare, other, d.message(t, bare.Digest)); err != nil {
		t.Fatal(err)
	}
	sess.People[0].Act.Accepted = &workflow.Acceptance{Chain: d.chain}
	if _, err := s.Complete(context.Background(), sess, 0, 0, other, bare); err != nil {
		t.Errorf("without issuers: %v", err)
	}
	if _, err := s.Complete(context.Background(), sess, 0, 0, append(bytes.Clone(head), ' '), p); !errors.Is(err, workflow.ErrConflict) {
		t.Errorf("over other bytes: %v", err)
	}
}

// What came is not what was asked for: a refusal with its reason, and nothing is kept.
func TestTakeRefuses(t *testing.T) {
	t.Parallel()
	a := registered(t, pki.P256)
	s := ownClock(a.Authority)
	sess, head, p := late(t, s)
	d := a.device(t, sess.People[0].Person, time.Hour)
	good := d.message(t, p.Digest)
	leaf, err := x509.ParseCertificate(d.chain[0])
	if err != nil {
		t.Fatal(err)
	}
	inside := cmstest.NewMessage(&cmstest.Identity{Cert: leaf, Key: d.key}, p.Digest)
	inside.Content = []byte("something else")
	content := inside.Marshal(t)
	two, err := cms.Join(good, d.message(t, p.Digest))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := json.Marshal(p)
	for name, c := range map[string]struct {
		made []byte
		want string
	}{
		"other bytes":  {d.message(t, make([]byte, 32)), "foreign-signature"},
		"content":      {content, "foreign-signature"},
		"two signers":  {two, "foreign-signature"},
		"garbage":      {[]byte("%PDF-1.7"), "foreign-signature"},
		"nothing":      {nil, "foreign-signature"},
		"cut":          {good[:len(good)-1], "foreign-signature"},
		"far too much": {slices.Concat(good, make([]byte, madeElsewhere*2)), "signature-too-large"},
	} {
		key, err := s.Take(context.Background(), p, head, c.made)
		var r *workflow.Refusal
		if !errors.As(err, &r) || r.Reason != c.want || r.Text == "" || key.Chain != nil {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if after, _ := json.Marshal(p); !bytes.Equal(before, after) {
			t.Errorf("%s: something of it is kept", name)
		}
	}
	if _, err := s.Take(context.Background(), p, head, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := s.Take(context.Background(), p, head, good); err == nil {
		t.Error("taken twice")
	}
	own := prepare(t, s, advanced(1), 0, d, laidOut(t, s, advanced(1), document(t, "contract.pdf")))
	if _, err := s.Take(context.Background(), own, nil, d.message(t, make([]byte, 32))); err == nil {
		t.Error("for a certificate that was known")
	}
}
