package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"milterd/workflow"
)

// failuresPerDay is how many wrong answers of one person come on record in a
// day: whoever holds a link must not be able to fill its trail.
const failuresPerDay = 20

// use checks a passkey's answer and uses it up: its ceremony has ended, and the
// passkey's counter stands where it said.
func (p *Passkeys) use(tx workflow.Tx, v workflow.Visit, id, label string, digests []workflow.Digest, response []byte) (*workflow.Credential, *workflow.Assertion, error) {
	c, a, err := p.check(tx, v, id, label, digests, response)
	if err != nil {
		return nil, nil, err
	}
	c.Used = p.now()
	if err := tx.SaveCredential(c); err != nil {
		return nil, nil, err
	}
	return c, a, tx.EndCeremony(id)
}

// check verifies a passkey's answer to a ceremony over digests (W3C WebAuthn,
// 7.2). The credential has its new counter and is not yet saved.
func (p *Passkeys) check(tx workflow.Tx, v workflow.Visit, id, label string, digests []workflow.Digest, response []byte) (*workflow.Credential, *workflow.Assertion, error) {
	var q asked
	if _, err := p.load(tx, v, id, kindPasskey, &q); err != nil {
		return nil, nil, err
	}
	if q.Label != label {
		return nil, nil, ceremonyGone()
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, nil, passkeyRefused(err)
	}
	c, err := p.own(tx, v, encode(answer.RawID))
	if err != nil {
		return nil, nil, err
	}
	u, err := p.user(v, c)
	if err != nil {
		return nil, nil, err
	}
	challenge := Challenge(label, v.Session.ID, v.Who().Mail, digests, q.Nonce)
	w, err := p.web.ValidateLogin(u, webauthn.SessionData{Challenge: encode(challenge[:]), RelyingPartyID: p.relyingParty,
		UserID: u.id, UserVerification: protocol.VerificationRequired}, answer)
	if err != nil {
		return nil, nil, passkeyRefused(err)
	}
	if w.Authenticator.CloneWarning {
		return nil, nil, refuse("passkey-cloned", "This passkey answered as a copy of it would. Please remove the device under Devices, and enrol it again.")
	}
	if c.Data, err = json.Marshal(w); err != nil {
		return nil, nil, fmt.Errorf("keeping a passkey: %w", err)
	}
	a := &workflow.Assertion{Label: label, Session: v.Session.ID, Mail: v.Who().Mail, Digests: digests, Nonce: q.Nonce,
		RelyingParty: p.relyingParty, Origin: p.origin, Credential: c.ID, PublicKey: w.PublicKey,
		AuthenticatorData: answer.Raw.AssertionResponse.AuthenticatorData, ClientData: answer.Raw.AssertionResponse.ClientDataJSON,
		Signature: answer.Response.Signature}
	// What is kept as evidence must hold by itself.
	if err := CheckAssertion(a); err != nil {
		return nil, nil, passkeyRefused(err)
	}
	return c, a, nil
}

// own loads and locks a passkey of the visitor's that is not revoked.
func (p *Passkeys) own(tx workflow.Tx, v workflow.Visit, id string) (*workflow.Credential, error) {
	c, err := tx.Credential(id)
	if err != nil && !errors.Is(err, workflow.ErrNotFound) {
		return nil, err
	}
	if err != nil || c.Kind != workflow.Passkey || !strings.EqualFold(c.Mail, v.Who().Mail) {
		return nil, refuse("passkey-unknown", "This passkey is none of yours here. Please choose another one, or enrol this device.")
	}
	if !c.Revoked.IsZero() {
		return nil, refuse("passkey-revoked", "This device was removed. Please enrol it again.")
	}
	return c, nil
}

// attempt runs fn, which answers a ceremony. A wrong answer ends the ceremony
// and is on record, although nothing else of fn stays.
func (p *Passkeys) attempt(ctx context.Context, v workflow.Visit, id, client string, fn func(workflow.Tx) error) error {
	err := p.do(ctx, fn)
	var r *workflow.Refusal
	if !errors.As(err, &r) || r.Code < 500 {
		return err
	}
	var q asked
	var gone *workflow.Refusal
	recorded := p.do(ctx, func(tx workflow.Tx) error {
		switch _, err := p.load(tx, v, id, kindPasskey, &q); {
		case err == nil:
			if err := tx.EndCeremony(id); err != nil {
				return err
			}
		case !errors.As(err, &gone):
			return err
		}
		// An answer to nothing that waits is one that was given before, perhaps.
		now, mail := p.now(), v.Who().Mail
		n, err := tx.CeremoniesSince(mail, kindFailed, now.Add(-24*time.Hour))
		if err != nil || n >= failuresPerDay {
			return err
		}
		if err := p.save(tx, v, random(), kindFailed, 24*time.Hour, q); err != nil {
			return err
		}
		detail := map[string]string{"reason": r.Reason, "for": q.Label}
		if ceremonyForm.MatchString(id) {
			detail["challenge"] = id
		}
		return tx.Append(v.Session.ID, workflow.Event{Time: now, Kind: workflow.EventPasskeyRefused, Actor: mail, Client: client, Detail: detail})
	})
	if recorded != nil {
		p.Log.Error("auth: a refused passkey is not on record", "session", v.Session.ID, "err", recorded)
	}
	return err
}

func passkeyRefused(err error) *workflow.Refusal {
	return refuseBy("passkey-refused", "This passkey's answer does not fit what was asked. Please load the page again.", err)
}
