package workflow_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"milterd/workflow"
)

// Whoever overtakes their own preparations, or makes them fail, has us work as
// seldom as everybody else: the work is counted, not what comes of it.
func TestOvertakenPreparationsCount(t *testing.T) {
	d, _, _, vj, _, dj, _ := ready(t)
	shown := d.shown(t, vj)
	worked := 0
	d.signer.preparing = func() {
		if worked++; worked < 9*workflow.PreparationLimit { // overtaken by the next one, and so on
			_, _ = d.Prepare(t.Context(), vj, shown, workflow.Appearance{Typed: "John Doe"}, dj.serial, "")
		}
	}
	_, err := d.Prepare(t.Context(), vj, shown, workflow.Appearance{Typed: "John Doe"}, dj.serial, "")
	want(t, "the one that was overtaken", reason(err), "preparation-gone")
	want(t, "documents written", worked, workflow.PreparationLimit*len(shown))

	d, _, _, vj, _, dj, _ = ready(t)
	worked, d.signer.preparing, d.signer.prepare = 0, func() { worked++ }, errors.New("this document breaks it")
	for range 3 * workflow.PreparationLimit {
		_, _ = d.prepareAs(t, vj, dj)
	}
	want(t, "times that a document failed", worked, workflow.PreparationLimit)
	_, err = d.prepareAs(t, vj, dj)
	want(t, "the next one", reason(err), "too-many-tries")
}

// together is a store whose first readers of certificates see the same.
type together struct {
	workflow.Store
	wait sync.WaitGroup
	left atomic.Int64
}

func newTogether(s workflow.Store, n int) *together {
	o := &together{Store: s}
	o.left.Store(int64(n))
	o.wait.Add(n)
	return o
}

func (o *together) Certificates(ctx context.Context, f workflow.CertificateFilter) ([]*workflow.Certificate, error) {
	out, err := o.Store.Certificates(ctx, f)
	if o.left.Add(-1) >= 0 {
		o.wait.Done()
		o.wait.Wait()
	}
	return out, err
}

// Who asks for many certificates at once gets as many as one after the other.
func TestCertificatesAtOnceAreRationed(t *testing.T) {
	d, a, _, vj, _, dj, _ := ready(t)
	before := a.issued.Load()
	const n = 2 * workflow.CertificatesPerDay
	d.Store = newTogether(d.Store, n)
	var wg sync.WaitGroup
	for range n {
		csr := request(t, newKey(t))
		wg.Go(func() {
			if _, _, err := d.Renew(t.Context(), vj, csr, dj.serial, rs(t, dj.key, csr), ""); err != nil && reason(err) != "too-many-certificates" {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(t, "certificates", a.issued.Load()-before, workflow.CertificatesPerDay-1) // with that of the enrolment
}

// Two people with one key, at the same time: at most one of them has it certified.
func TestOneKeyForTwoAtOnce(t *testing.T) {
	d, _, _, vj, ve, dj, de := ready(t)
	key := newKey(t)
	csr := request(t, key)
	d.Store = newTogether(d.Store, 2)
	var signed atomic.Int64
	var wg sync.WaitGroup
	for _, one := range []struct {
		v   workflow.Visit
		dev *device
	}{{vj, dj}, {ve, de}} {
		wg.Go(func() {
			switch _, _, err := d.Certify(t.Context(), one.v, csr, one.dev.credential, "passkey", ""); {
			case err == nil:
				signed.Add(1)
			case reason(err) != "key-taken":
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if signed.Load() > 1 {
		t.Error("one key has certificates of two people")
	}
}
