package pki

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"

	"milterd/workflow"
)

// memory is a register in memory: what a database gives is a copy.
type memory struct {
	workflow.Tx // the rest is not called

	mu    sync.Mutex
	certs []*workflow.Certificate // oldest first
	log   []workflow.Event
	err   error // what a database gives that is away
}

func (m *memory) Do(_ context.Context, fn func(workflow.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	return fn(&inside{memory: m})
}

func (m *memory) Certificate(_ context.Context, serial string) (*workflow.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (&inside{memory: m}).Certificate(serial)
}

func (m *memory) Certificates(_ context.Context, f workflow.CertificateFilter) ([]*workflow.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	var out []*workflow.Certificate
	for _, c := range slices.Backward(m.certs) {
		if (f.Mail == "" || f.Mail == c.Mail) && (f.Key == workflow.Digest{} || f.Key == c.Key) && (!f.Revoked || !c.Revoked.IsZero()) && c.NotAfter.After(f.ValidAfter) {
			d := *c
			out = append(out, &d)
		}
	}
	return out, nil
}

// inside is one transaction.
type inside struct{ *memory }

func (i *inside) Certificate(serial string) (*workflow.Certificate, error) {
	if i.err != nil {
		return nil, i.err
	}
	for _, c := range i.certs {
		if c.Serial == serial {
			d := *c
			d.DER = bytes.Clone(c.DER)
			return &d, nil
		}
	}
	return nil, workflow.ErrNotFound
}

func (i *inside) SaveCertificate(c *workflow.Certificate) error {
	d := *c
	for n, old := range i.certs {
		if old.Serial == c.Serial {
			i.certs[n] = &d
			return nil
		}
	}
	i.certs = append(i.certs, &d)
	return nil
}

func (i *inside) AppendLog(e workflow.Event) error {
	i.log = append(i.log, e)
	return nil
}

// enter puts a certificate into an authority's register.
func enter(t testing.TB, a *Authority, c *workflow.Certificate) {
	t.Helper()
	err := a.register.Do(t.Context(), func(tx workflow.Tx) error { return tx.SaveCertificate(c) })
	if err != nil {
		t.Fatal(err)
	}
}
