package pki

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/digitorus/timestamp"
)

// ErrClock is what OwnClock gives when this machine's clock cannot be trusted.
// The signature then waits, as it does for an external authority that is away.
var ErrClock = errors.New("the organisation's own clock cannot be trusted")

// ClockPolicy says what OwnClock demands of this machine's clock.
type ClockPolicy struct {
	// AllowUnsynchronised gives tokens although the kernel says that nothing
	// disciplines the clock (adjtimex, STA_UNSYNC). Containers and virtual
	// machines whose host keeps the time look like this. Off by default: who
	// sets it vouches for the clock by other means.
	AllowUnsynchronised bool
}

// OwnClock is the embedded timestamp authority. Its tokens are correct
// RFC 3161, but their time is what this machine's clock says and the
// organisation vouches for it: no independent witness. It falls silent when
// the clock is unsynchronised, and whenever it steps back.
type OwnClock struct {
	a      *Authority
	policy ClockPolicy
	synced func() error
	start  time.Time // wall and monotonic reading at the start
}

// OwnClock gives the embedded timestamp authority.
func (a *Authority) OwnClock(p ClockPolicy) *OwnClock {
	return &OwnClock{a: a, policy: p, synced: synchronised, start: a.now()}
}

// Accuracy that the tokens claim. They hold whole seconds, cut off, so the
// clock itself may be a second off at most for this to be true.
const accuracy = 2 * time.Second

// smallStep is how far the clock may lie behind the newest token for the next
// one to wait for it: NTP corrects by milliseconds, and whole seconds are cut.
const smallStep = 2 * time.Second

// Timestamp gives a token over a SHA-256 digest.
func (o *OwnClock) Timestamp(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("timestamp: digest of %d bytes, want SHA-256", len(digest))
	}
	now, err := o.tick(ctx)
	if err != nil {
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	tsa := o.a.tsa
	ts := timestamp.Timestamp{
		HashAlgorithm:     crypto.SHA256,
		HashedMessage:     digest,
		Time:              now,
		Accuracy:          accuracy,
		Policy:            oidAnyPolicy, // no policy is claimed
		AddTSACertificate: true,
		Certificates:      tsa.Chain[1:],
	}
	resp, err := ts.CreateResponseWithOpts(tsa.Leaf(), tsa.Key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	t, _, err := parseResponse(resp, digest)
	if err != nil {
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	return t.Raw, nil
}

// tick reads the clock, refuses a time before the newest token's, and writes
// the new one down before it is used.
func (o *OwnClock) tick(ctx context.Context) (time.Time, error) {
	if err := o.Probe(ctx); err != nil {
		return time.Time{}, err
	}
	o.a.mu.Lock()
	defer o.a.mu.Unlock()
	now := o.a.now()
	if behind := o.a.state.LastToken.Sub(now); behind > 0 { // at most smallStep: Probe
		t := time.NewTimer(behind)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-t.C:
			now = o.a.now()
		}
	}
	stamp := now.UTC().Truncate(time.Second)
	if stamp.Before(o.a.state.LastToken) {
		return time.Time{}, fmt.Errorf("%w: it stepped back", ErrClock)
	}
	s := o.a.state
	s.LastToken = stamp
	if err := o.a.saveState(s); err != nil {
		return time.Time{}, fmt.Errorf("recording the time: %w", err)
	}
	return stamp, nil
}

// Probe checks the clock. Its errors are ErrClock.
func (o *OwnClock) Probe(ctx context.Context) error {
	if err := o.synced(); err != nil && !o.policy.AllowUnsynchronised {
		return fmt.Errorf("%w: %w", ErrClock, err)
	}
	o.a.mu.Lock()
	last := o.a.state.LastToken
	o.a.mu.Unlock()
	now := o.a.now()
	if behind := last.Sub(now); behind > smallStep {
		return fmt.Errorf("%w: it stepped back by %s since the last timestamp", ErrClock, behind.Round(time.Second))
	}
	// Sub uses the monotonic reading, Unix the wall clock: they part when the
	// clock is set. Forward steps are how a clock gets right.
	wall := time.Duration(now.UnixNano() - o.start.UnixNano())
	if behind := now.Sub(o.start) - wall; behind > smallStep {
		return fmt.Errorf("%w: it stepped back by %s since milterd was started", ErrClock, behind.Round(time.Second))
	}
	return nil
}

// Clock names whose time it is.
func (o *OwnClock) Clock() string {
	return "the clock of " + o.a.Organisation() + " itself, no independent timestamp authority"
}
