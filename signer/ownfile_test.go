package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"milterd/pki"
	"milterd/validate"
	"milterd/workflow"
)

// Two people sign a file with keys of their own, then the organisation seals it.
func TestOwnKeysOnFiles(t *testing.T) {
	t.Parallel()
	h := registered(t, pki.P256)
	s := New(Config{Seal: h.Seal(), Organisation: org, Time: h.OwnClock(pki.ClockPolicy{AllowUnsynchronised: true}), Evidence: &pki.Gatherer{Own: h.Authority}})
	ctx := context.Background()
	content := []byte("We agree.\n")
	for form, level := range map[workflow.Form]validate.Level{workflow.ASiC: validate.CAdESLevelLTA, workflow.CAdES: validate.CAdESLevelLTA} {
		sess := filed(2, form, "offer & more.txt", content)
		sess.Level = workflow.Advanced
		now := content
		for i := range sess.People {
			d := h.device(t, sess.People[i].Person, 24*time.Hour)
			act := sess.People[i].Act
			p, err := s.Prepare(ctx, sess, 0, i, act.Appearance, time.Now(), workflow.Key{Chain: d.chain}, now)
			if err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256(content)
			if form == workflow.ASiC {
				digest = sha256.Sum256(p.Suffix)
			}
			if !bytes.Contains(p.Attributes, digest[:]) || p.SHA256 != sha256.Sum256(p.Suffix) || p.Size != int64(len(p.Suffix)) {
				t.Errorf("%s: what is signed names something else", form)
			}
			p = stored(t, p)
			if err := s.CheckValue(p, d.sign(t, []byte("something else"), false)); reasonOf(err) != "bad-value" {
				t.Errorf("%s: a value over something else: %v", form, err)
			}
			p.Value = d.sign(t, p.Attributes, i == 1)
			if err := s.CheckValue(p, p.Value); err != nil {
				t.Fatal(err)
			}
			// Prepared for another file.
			other := *p
			if form == workflow.ASiC {
				other.Suffix = bytes.Replace(p.Suffix, []byte("offer"), []byte("order"), 1)
			} else {
				other.Attributes = bytes.Replace(p.Attributes, digest[:], make([]byte, 32), 1)
			}
			if incs, err := s.Complete(ctx, sess, 0, i, now, &other); err == nil {
				t.Errorf("%s: completed what was prepared for another file: %d increments", form, len(incs))
			}
			incs, err := s.Complete(ctx, sess, 0, i, now, p)
			if err != nil {
				t.Fatal(err)
			}
			now = append(bytes.Clone(now[:int64(len(now))-incs[0].Cut]), incs[0].Suffix...)
			sess.Documents[0].Revisions = append(sess.Documents[0].Revisions, workflow.Revision{Number: i + 1, Kind: workflow.Signature})
		}
		incs, err := s.Seal(ctx, sess, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		now = append(bytes.Clone(now[:int64(len(now))-incs[0].Cut]), incs[0].Suffix...)
		r, err := validate.File(now, validate.Options{Anchors: h.Roots()})
		if err != nil {
			t.Fatal(err)
		}
		own := 0
		for _, sig := range signatures(r) {
			if sig.Level != level {
				t.Errorf("%s: %s has level %s", form, sig.Field, sig.Level)
			}
			if sig.Role == "" {
				own++
			}
		}
		if !r.Passed() || own != 2 || len(signatures(r)) != 3 {
			t.Errorf("%s:\n%s", form, r.Text())
		}
	}
	sess := filed(1, workflow.XAdES, "invoice.xml", invoice)
	sess.Level = workflow.Advanced
	if _, err := s.Prepare(ctx, sess, 0, 0, workflow.Appearance{Typed: "x"}, time.Now(), workflow.Key{Chain: h.device(t, jane, time.Hour).chain}, invoice); reasonOf(err) != "form-unavailable" {
		t.Errorf("XAdES: %v", err)
	}
}

func reasonOf(err error) string {
	var r *workflow.Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}
