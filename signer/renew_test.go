package signer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"milterd/pki"
	"milterd/pki/tsatest"
	"milterd/validate"
	"milterd/workflow"
)

// renewed appends what Renew gives.
func renewed(t *testing.T, s *Signer, data []byte, before time.Time) ([]byte, []workflow.RevisionKind, time.Time) {
	t.Helper()
	r, err := s.Renew(context.Background(), data, before)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []workflow.RevisionKind
	out := bytes.Clone(data)
	for _, inc := range r.Increments {
		out, kinds = append(out, inc.Suffix...), append(kinds, inc.Kind)
	}
	return out, kinds, r.Until
}

// TestRenew: a younger timestamp over the old one, twice, by another authority.
func TestRenew(t *testing.T) {
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	data, _ := finish(t, s, session(2), document(t, "contract.pdf"))
	same, kinds, until := renewed(t, s, data, time.Now().AddDate(5, 0, 0))
	if len(kinds) != 0 || !bytes.Equal(same, data) || until.Before(time.Now().AddDate(5, 11, 0)) {
		t.Fatalf("renewed too early: %v, until %s", kinds, until)
	}
	foreign := tsatest.New(t)
	s.c.Time = &pki.Remote{URLs: []string{foreign.URL}, Roots: foreign.Roots()}
	s.c.Evidence = &pki.Gatherer{Own: a, Roots: foreign.Roots()}
	once, kinds, until := renewed(t, s, data, time.Now().AddDate(7, 0, 0))
	if !bytes.HasPrefix(once, data) || len(kinds) != 2 || kinds[0] != workflow.DSS || kinds[1] != workflow.Archive || until.After(time.Now().AddDate(2, 0, 0)) {
		t.Fatalf("%v, until %s", kinds, until)
	}
	twice, _, _ := renewed(t, s, once, until.Add(time.Hour))
	r := judge(t, s, twice, 3)
	stamps := 0
	for _, sig := range r.Signatures {
		if sig.Kind == validate.KindTimestamp {
			stamps++
		} else if sig.Level != validate.LevelLTA {
			t.Errorf("%s has level %s", sig.Field, sig.Level)
		}
	}
	if stamps != 3 {
		t.Errorf("%d document timestamps, want 3", stamps)
	}
	path := filepath.Join(t.TempDir(), "renewed.pdf")
	if err := os.WriteFile(path, twice, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "qpdf", "--check", path)
}

func TestRenewRefuses(t *testing.T) {
	a, _ := authority(t, pki.P256)
	s := ownClock(a)
	ctx, far := context.Background(), time.Now().AddDate(100, 0, 0)
	var r *workflow.Refusal
	if _, err := s.Renew(ctx, document(t, "contract.pdf"), far); !errors.As(err, &r) || r.Reason != "no-archive" {
		t.Errorf("unsigned: %v", err)
	}
	if _, err := s.Renew(ctx, []byte("no PDF"), far); !errors.As(err, &r) || r.Reason != "broken-pdf" {
		t.Errorf("no PDF: %v", err)
	}
	data, _ := finish(t, s, session(1), document(t, "contract.pdf"))
	// Its certificate has ended: nothing can prove it any more.
	s.c.Now = func() time.Time { return time.Now().AddDate(7, 0, 0) }
	if _, err := s.Renew(ctx, data, far); err == nil {
		t.Error("renewed what has ended")
	}
	// A document that was changed is not dignified with a younger timestamp.
	s = ownClock(a)
	spoilt := bytes.Replace(data, []byte("/MediaBox"), []byte("/MediaBax"), 1)
	if bytes.Equal(spoilt, data) {
		t.Fatal("nothing was changed")
	}
	if _, err := s.Renew(ctx, spoilt, far); !errors.As(err, &r) || r.Reason != "signature-broken" {
		t.Errorf("changed: %v", err)
	}
}
