package pki

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"milterd/signature/cms"
)

func TestOwnClockTokensVerify(t *testing.T) {
	for _, key := range []KeyType{RSA3072, P256} {
		o, dir := options(), filepath.Join(t.TempDir(), "keys")
		o.Key = key
		if err := Init(dir, o); err != nil {
			t.Fatal(err)
		}
		a, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		data := []byte("a document")
		digest := sha256.Sum256(data)
		before := time.Now().Truncate(time.Second)
		token, err := a.OwnClock(ClockPolicy{AllowUnsynchronised: true}).Timestamp(context.Background(), digest[:])
		if err != nil {
			t.Fatal(err)
		}
		run(t, "openssl", "ts", "-verify", "-token_in", "-in", write(t, "token", token), "-data", write(t, "data", data), "-CAfile", dir+"/root.crt")
		tok, err := cms.ParseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		if tok.Time.Before(before) || tok.Time.After(time.Now()) || tok.Accuracy != accuracy || tok.Serial.BitLen() < 64 {
			t.Errorf("time %s, accuracy %s, serial %v", tok.Time, tok.Accuracy, tok.Serial)
		}
		t.Logf("%s: %d bytes", key, len(token))
	}
}

func TestOwnClockSaysWhoseTimeItIs(t *testing.T) {
	a, _ := authority(t)
	if s := a.OwnClock(ClockPolicy{}).Clock(); !strings.Contains(s, "no independent") || !strings.Contains(s, a.Organisation()) {
		t.Error(s)
	}
}

func TestOwnClockFallsSilent(t *testing.T) {
	a, dir := authority(t)
	now := time.Now().Round(0) // no monotonic reading: this clock is set at will
	a.now = func() time.Time { return now }
	ctx := context.Background()
	digest := sha256.Sum256(nil)
	unsynchronised := errors.New("not synchronised")

	o := a.OwnClock(ClockPolicy{})
	o.synced = func() error { return unsynchronised }
	if _, err := o.Timestamp(ctx, digest[:]); !errors.Is(err, ErrClock) || !errors.Is(err, unsynchronised) {
		t.Errorf("unsynchronised: %v", err)
	}
	o.policy.AllowUnsynchronised = true
	if _, err := o.Timestamp(ctx, digest[:]); err != nil {
		t.Errorf("allowed: %v", err)
	}
	now = now.Add(-time.Minute)
	if _, err := o.Timestamp(ctx, digest[:]); !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "it stepped back") {
		t.Errorf("stepped back: %v", err)
	}
	// A restart does not forget, and no policy allows it.
	b, err := Open(Config{Dir: dir, Now: a.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.OwnClock(ClockPolicy{AllowUnsynchronised: true}).Probe(ctx); !errors.Is(err, ErrClock) {
		t.Errorf("after restart: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := o.Timestamp(ctx, digest[:]); err != nil {
		t.Errorf("right again: %v", err)
	}
}

// A correction of less than a second is waited out, not refused.
func TestOwnClockWaitsForSmallSteps(t *testing.T) {
	a, _ := authority(t)
	o := a.OwnClock(ClockPolicy{AllowUnsynchronised: true})
	last := time.Now().Truncate(time.Second).Add(time.Second) // up to a second ahead
	a.state.LastToken = last
	digest := sha256.Sum256(nil)
	token, err := o.Timestamp(context.Background(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := cms.ParseToken(token); err != nil || tok.Time.Before(last) {
		t.Errorf("token of %s before %s: %v", tok.Time, last, err)
	}
}
