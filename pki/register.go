package pki

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"milterd/workflow"
)

// Enter puts the authority's own certificates into the register, where they are
// not there yet: what init made before there was a register, and what came
// since. From then on they can be listed, revoked and asked about.
func (a *Authority) Enter(ctx context.Context) error {
	for _, id := range []Identity{a.issuing, a.seal, a.tsa} {
		if err := a.enter(ctx, id.Leaf(), "milterd init"); err != nil {
			return err
		}
	}
	return wrap("register", a.retire(ctx))
}

// enter writes one certificate of our own down, once.
func (a *Authority) enter(ctx context.Context, c *x509.Certificate, by string) error {
	e := entry(c, by)
	_, err := a.register.Certificate(ctx, e.Serial)
	if err == nil || !errors.Is(err, workflow.ErrNotFound) {
		return wrap("register", err)
	}
	return wrap("register", a.register.Do(ctx, func(tx workflow.Tx) error {
		// Two processes may start at once.
		if _, err := tx.Certificate(e.Serial); err == nil || !errors.Is(err, workflow.ErrNotFound) {
			return err
		}
		if err := tx.SaveCertificate(e); err != nil {
			return err
		}
		return tx.AppendLog(workflow.Event{Time: a.now(), Kind: workflow.EventEntered, Actor: "milterd",
			Detail: map[string]string{"serial": e.Serial, "name": e.Name, "by": by}})
	}))
}

// entry is how a certificate of our own stands in the register.
func entry(c *x509.Certificate, by string) *workflow.Certificate {
	return &workflow.Certificate{
		Serial: serialText(c.SerialNumber), Name: c.Subject.CommonName, By: by,
		Key: sha256.Sum256(c.RawSubjectPublicKeyInfo), PublicKey: c.RawSubjectPublicKeyInfo, DER: c.Raw,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter,
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
