package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"milterd/workflow"
)

// MaxDeviceName is the longest name of a device, in characters.
const MaxDeviceName = 60

// algorithms of passkeys; RSA is for older Windows.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// Options starts the registration of a passkey for an approved enrolment. key
// is KeyOf the request that its device key will be certified by: the passkey's
// challenge is made of it. options is {"publicKey": …}, in JSON, for
// navigator.credentials.create. Reasons:
// "enrolment-gone", "not-approved", "passkey-revoked" (the device that approved
// has been removed since), "no-passkeys-here".
func (e *Enrolments) Options(ctx context.Context, v workflow.Visit, handle string, key workflow.Digest) (options json.RawMessage, ceremony string, err error) {
	err = e.do(ctx, func(tx workflow.Tx) error {
		_, _, err := e.approved(tx, v, handle)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	all, err := e.Store.Credentials(ctx, v.Who().Mail)
	if err != nil {
		return nil, "", forPage(err)
	}
	u, err := e.user(v, all...)
	if err != nil {
		return nil, "", err
	}
	ceremony, challenge, err := e.ask(ctx, v, LabelEnrol, []workflow.Digest{key})
	if err != nil {
		return nil, "", err
	}
	creation, _, err := e.web.BeginRegistration(u, webauthn.WithCredentialParameters(algorithms),
		webauthn.WithExclusions(webauthn.Credentials(u.credentials).CredentialDescriptors()),
		func(o *protocol.PublicKeyCredentialCreationOptions) error {
			o.Challenge = challenge[:]
			return nil
		})
	if err != nil {
		return nil, "", fmt.Errorf("asking for a new passkey: %w", err)
	}
	options, err = json.Marshal(creation)
	return options, ceremony, err
}

// Finish registers the passkey of an approved enrolment: the device is enrolled,
// remembered as Mailbox.Open remembers one, and its person is told by mail. name
// is what the person calls it; empty for agent. Reasons: those of Options,
// "ceremony-gone", "passkey-refused", "passkey-known" (it is enrolled already).
func (e *Enrolments) Finish(ctx context.Context, v workflow.Visit, handle, ceremony string, response []byte, name string, key workflow.Digest, client, agent string) (c *workflow.Credential, cookie string, expires time.Time, err error) {
	err = e.attempt(ctx, v, ceremony, client, func(tx workflow.Tx) error {
		if _, _, err := e.approved(tx, v, handle); err != nil {
			return err
		}
		w, err := e.created(tx, v, ceremony, response, key)
		if err != nil {
			return err
		}
		data, err := json.Marshal(w)
		if err != nil {
			return fmt.Errorf("keeping a passkey: %w", err)
		}
		c = &workflow.Credential{ID: encode(w.ID), Kind: workflow.Passkey, Name: name, Data: data}
		cookie, expires, err = e.enrol(tx, v, handle, c, client, agent, map[string]string{"device key sha-256": key.String()})
		return err
	})
	return c, cookie, expires, err
}

// created verifies the registration of a passkey (W3C WebAuthn, 7.1), and ends
// its ceremony.
func (e *Enrolments) created(tx workflow.Tx, v workflow.Visit, ceremony string, response []byte, key workflow.Digest) (*webauthn.Credential, error) {
	var q asked
	if _, err := e.load(tx, v, ceremony, kindPasskey, &q); err != nil {
		return nil, err
	}
	if q.Label != LabelEnrol {
		return nil, ceremonyGone()
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, passkeyRefused(err)
	}
	u, err := e.user(v)
	if err != nil {
		return nil, err
	}
	challenge := Challenge(LabelEnrol, v.Session.ID, v.Who().Mail, []workflow.Digest{key}, q.Nonce)
	w, err := e.web.CreateCredential(u, webauthn.SessionData{Challenge: encode(challenge[:]), RelyingPartyID: e.relyingParty,
		UserID: u.id, UserVerification: protocol.VerificationRequired, CredParams: algorithms}, answer)
	if err != nil {
		return nil, passkeyRefused(err)
	}
	return w, tx.EndCeremony(ceremony)
}

// approved loads an enrolment that has its second proof, and whose approver is
// still trusted.
func (e *Enrolments) approved(tx workflow.Tx, v workflow.Visit, handle string) (*workflow.Ceremony, *enrolment, error) {
	n, d, err := e.find(tx, v, handle)
	if err != nil {
		return nil, nil, err
	}
	if d.ApprovedBy == "" {
		return nil, nil, refuse("not-approved", "This device is not approved yet. A mailed code alone does not suffice to enrol it.")
	}
	if d.Passkey != "" {
		if _, err := e.own(tx, v, d.Passkey); err != nil {
			return nil, nil, err
		}
	}
	return n, d, nil
}

// enrol makes a credential of an approved enrolment, which ends with it.
func (e *Enrolments) enrol(tx workflow.Tx, v workflow.Visit, handle string, c *workflow.Credential, client, agent string, detail map[string]string) (cookie string, expires time.Time, err error) {
	n, d, err := e.approved(tx, v, handle)
	if err != nil {
		return "", time.Time{}, err
	}
	now, mail := e.now(), v.Who().Mail
	c.Mail, c.Name, c.Enrolled, c.ApprovedBy = mail, deviceName(c.Name, agent), now, d.ApprovedBy
	switch _, err := tx.Credential(c.ID); {
	case err == nil:
		// Even the person's own: it would come back with another history.
		return "", time.Time{}, refuse("passkey-known", "This passkey is enrolled already. Please use it, or remove the device first and make a new one.")
	case !errors.Is(err, workflow.ErrNotFound):
		return "", time.Time{}, err
	}
	if err := tx.SaveCredential(c); err != nil {
		return "", time.Time{}, err
	}
	if err := e.ended(tx, v, n.ID); err != nil {
		return "", time.Time{}, err
	}
	expires = now.Add(DeviceLifetime)
	if cookie, err = e.Keys.remember(tx, mail, c.ID, agent, now, expires); err != nil {
		return "", time.Time{}, err
	}
	event := workflow.Event{Time: now, Kind: workflow.EventEnrolled, Actor: mail, Client: client, Detail: map[string]string{
		"device": c.Name, "credential": c.ID, "kind": string(c.Kind), "approved by": c.ApprovedBy, "enrolment": n.ID}}
	maps.Copy(event.Detail, detail)
	if err := tx.Append(v.Session.ID, event); err != nil {
		return "", time.Time{}, err
	}
	// Credentials outlive sessions, so the authority's own log knows them too.
	if err := tx.AppendLog(event); err != nil {
		return "", time.Time{}, err
	}
	return cookie, expires, tx.Enqueue(workflow.Job{Kind: workflow.JobMail, Session: v.Session.ID, Person: v.Person,
		Mail: workflow.MailEnrolled, Credential: c.ID})
}

// Certificate ends an approved enrolment with a qualified certificate instead of a
// device: chain (DER, the certificate first) is registered as the visitor's, and they are told by
// mail. That its key is theirs, each signature proves. Reasons: those of Options but
// for passkeys, "no-card", "certificate-known", and those of Cards.Registrable.
func (e *Enrolments) Certificate(ctx context.Context, v workflow.Visit, handle string, chain [][]byte, client string) error {
	if e.Cards == nil {
		return noCards()
	}
	if err := e.do(ctx, func(tx workflow.Tx) error { // before anybody is asked about a certificate
		_, _, err := e.approved(tx, v, handle)
		return err
	}); err != nil {
		return err
	}
	q, err := e.Cards.Registrable(ctx, v.Who().Person, chain)
	if err != nil {
		return e.refused(ctx, v, client, "register", err)
	}
	return e.do(ctx, func(tx workflow.Tx) error {
		// The session first, as whoever removes a certificate does.
		if _, err := tx.Session(v.Session.ID); err != nil {
			return err
		}
		n, d, err := e.approved(tx, v, handle)
		if err != nil {
			return err
		}
		c, err := workflow.Registration(v.Who().Mail, q.Chain[0], d.ApprovedBy, e.now())
		if err != nil {
			return err
		}
		if err := e.ended(tx, v, n.ID); err != nil {
			return err
		}
		return workflow.Register(tx, &v, c, client, map[string]string{"enrolment": n.ID})
	})
}

// ended ends an enrolment that has led somewhere; it still counts for a day.
func (e *Enrolments) ended(tx workflow.Tx, v workflow.Visit, id string) error {
	if err := tx.EndCeremony(id); err != nil {
		return err
	}
	return e.save(tx, v, random(), kindEnrolled, 24*time.Hour, struct{}{})
}

// deviceName cleans what a person calls a device; lists and mails quote it.
func deviceName(name, instead string) string {
	clean := func(s string) string {
		s = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r):
				return ' '
			case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
				return -1
			}
			return r
		}, s)
		r := []rune(strings.Join(strings.Fields(s), " "))
		return strings.TrimSpace(string(r[:min(len(r), MaxDeviceName)]))
	}
	return cmp.Or(clean(name), clean(instead), "Device")
}
