package workflow

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds of people's certificates.
const (
	CertificatesPerDay = 20                   // for one person
	RenewUntil         = 400 * 24 * time.Hour // after its certificate ran out, a device's key can still ask for a new one
)

// Certify certifies the key of a visitor's device, for a credential of the
// visitor whose proof the caller has checked; by says which ("enrolment",
// "passkey"). Only the key is taken from csr; the subject is the person as the
// directory knew them when the session was opened, so its retention must not be over. chain is DER, the
// certificate first. The *Refusal's Reason is "gone", "bad-csr", "weak-key",
// "credential-revoked", "key-taken", "too-many-certificates" or "store-away".
func (d *Desk) Certify(ctx context.Context, v Visit, csr []byte, credential, by, client string) (chain [][]byte, serial string, err error) {
	chain, serial, err = d.certifyKey(ctx, v, csr, credential, by, client)
	return chain, serial, d.noteRefusal(ctx, v, EventKeyRefused, "", client, err)
}

func (d *Desk) certifyKey(ctx context.Context, v Visit, csr []byte, credential, by, client string) (chain [][]byte, serial string, err error) {
	c, err := d.issue(ctx, v, csr, credential, by, client)
	if err != nil {
		return nil, "", asRefusal(err)
	}
	return append([][]byte{c.DER}, d.Certifier.Issuers()...), c.Serial, nil
}

// Renew certifies a key on the word of the device's key before it, so that
// nobody is asked while a device is in use: proof is the signature of the key
// of certificate serial over csr (ECDSA with SHA-256; r‖s or DER). That
// certificate may have run out, but neither it nor its device may be revoked. Reasons
// are those of Certify, "no-certificate", "certificate-expired",
// "certificate-revoked" and "bad-proof".
func (d *Desk) Renew(ctx context.Context, v Visit, csr []byte, serial string, proof []byte, client string) (chain [][]byte, newSerial string, err error) {
	chain, newSerial, err = d.renewKey(ctx, v, csr, serial, proof, client)
	return chain, newSerial, d.noteRefusal(ctx, v, EventKeyRefused, "", client, err)
}

func (d *Desk) renewKey(ctx context.Context, v Visit, csr []byte, serial string, proof []byte, client string) (chain [][]byte, newSerial string, err error) {
	old, err := d.ownCertificate(ctx, v, serial)
	if err != nil {
		return nil, "", err
	}
	switch {
	case !old.Revoked.IsZero():
		return nil, "", certificateRevoked()
	case d.now().After(old.NotAfter.Add(RenewUntil)):
		return nil, "", certificateExpired()
	}
	if err := checkProof(old.PublicKey, csr, proof); err != nil {
		return nil, "", refuse("bad-proof", "This device could not prove that it has its earlier key. Please confirm with your passkey.", err)
	}
	return d.certifyKey(ctx, v, csr, old.Credential, "device key "+old.Serial, client)
}

// issue goes check, persist, audit, sign, audit.
func (d *Desk) issue(ctx context.Context, v Visit, csr []byte, credential, by, client string) (*Certificate, error) {
	who, now := v.Who(), d.now()
	if !v.Session.Purged.IsZero() {
		return nil, gone() // links live on for years: who somebody was then is not who they are
	}
	c, err := d.Certifier.Draft(who.Person, csr, now)
	if err != nil {
		return nil, err
	}
	c.Mail, c.Credential, c.By = who.Mail, credential, by
	if err := d.keyIsFree(ctx, c); err != nil {
		return nil, err
	}
	detail := func() map[string]string {
		return map[string]string{"serial": c.Serial, "to": c.Mail, "name": c.Name, "key sha-256": c.Key.String(),
			"credential": credential, "by": by, "session": v.Session.ID,
			"not before": c.NotBefore.UTC().Format(time.RFC3339), "not after": c.NotAfter.UTC().Format(time.RFC3339)}
	}
	err = d.Store.Do(ctx, func(tx Tx) error {
		if err := d.mayAgain(tx, v, kindCertificate, CertificatesPerDay, 24*time.Hour, refuse("too-many-certificates",
			"Your devices have asked for too many certificates today. Please try again tomorrow.", nil)); err != nil {
			return err
		}
		if err := holdsCredential(tx, credential, who.Mail); err != nil {
			return err
		}
		if err := tx.SaveCertificate(c); err != nil {
			return err
		}
		return tx.AppendLog(Event{Time: now, Kind: EventIssuing, Actor: who.Mail, Client: client, Detail: detail()})
	})
	if err != nil {
		return nil, err
	}
	// Again, now that the register has this one: of two people who bring one key
	// at the same time, at least one sees the other.
	if err := d.keyIsFree(ctx, c); err != nil {
		return nil, err
	}
	if err := d.Certifier.Issue(ctx, c); err != nil {
		return nil, err
	}
	err = d.change(ctx, v.Session.ID, func(tx Tx, s *Session) error {
		if err := holdsCredential(tx, credential, who.Mail); err != nil {
			return err
		}
		entry, err := tx.Certificate(c.Serial)
		if err != nil {
			return err
		}
		if !entry.Revoked.IsZero() {
			return certificateRevoked()
		}
		if err := tx.SaveCertificate(c); err != nil {
			return err
		}
		e := Event{Time: d.now(), Kind: EventIssued, Actor: byMilterd, Detail: detail()}
		e.Detail["sha-256"] = Digest(sha256.Sum256(c.DER)).String()
		if err := tx.AppendLog(e); err != nil {
			return err
		}
		return tx.Append(s.ID, Event{Time: e.Time, Kind: EventCertified, Actor: who.Mail, Client: client, Detail: map[string]string{
			"certificate": c.Serial, "name": c.Name, "key sha-256": c.Key.String(), "by": by}})
	})
	return c, err
}

// keyIsFree wants a key that is nobody else's and was never revoked.
func (d *Desk) keyIsFree(ctx context.Context, c *Certificate) error {
	same, err := d.Store.Certificates(ctx, CertificateFilter{Key: c.Key})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(same, func(o *Certificate) bool {
		return o.Serial != c.Serial && (!strings.EqualFold(o.Mail, c.Mail) || !o.Revoked.IsZero())
	}) {
		return refuse("key-taken", "This device's key cannot be certified again. Please make a new one.", nil)
	}
	return nil
}

// kindCertificate counts how often a person has asked for a certificate.
const kindCertificate = "certificate"

// mayAgain counts, inside the transaction that does it, what a visitor may do only
// so often within a time; too is the answer to one time more. Two at once are two.
func (d *Desk) mayAgain(tx Tx, v Visit, kind string, limit int, within time.Duration, too *Refusal) error {
	now, mail := d.now(), v.Who().Mail
	n, err := tx.CeremoniesSince(mail, kind, now.Add(-within))
	if err != nil {
		return err
	}
	if n >= limit {
		return too
	}
	return tx.SaveCeremony(&Ceremony{ID: newID(), Kind: kind, Session: v.Session.ID, Person: v.Person, Mail: mail,
		Created: now, Expires: now.Add(within)})
}

// holdsCredential locks a person's credential that is not revoked.
func holdsCredential(tx Tx, id, mail string) error {
	c, err := tx.Credential(id)
	if errors.Is(err, ErrNotFound) || err == nil && (!strings.EqualFold(c.Mail, mail) || !c.Revoked.IsZero()) {
		return refuse("credential-revoked", "This device is not, or no longer, enrolled. Please enrol it.", nil)
	}
	return err
}

// ownCertificate finds one of the visitor's own; Reasons "no-certificate", "store-away".
func (d *Desk) ownCertificate(ctx context.Context, v Visit, serial string) (*Certificate, error) {
	c, err := d.Store.Certificate(ctx, serial)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, storeAway(err)
	}
	if err != nil || !strings.EqualFold(c.Mail, v.Who().Mail) || c.Credential == "" || len(c.DER) == 0 {
		return nil, refuse("no-certificate", "This device's key has no certificate. Please reload the page.", nil)
	}
	return c, nil
}

// usable locks a certificate and its credential, and wants both good for a
// signature now.
func usable(tx Tx, c *Certificate, now time.Time) error {
	cred, err := tx.Credential(c.Credential)
	if errors.Is(err, ErrNotFound) || err == nil && !cred.Revoked.IsZero() {
		return certificateRevoked()
	}
	if err != nil {
		return err
	}
	c, err = tx.Certificate(c.Serial)
	switch {
	case err != nil:
		return err
	case !c.Revoked.IsZero():
		return certificateRevoked()
	case now.Before(c.NotBefore), now.After(c.NotAfter):
		return certificateExpired()
	}
	return nil
}

func certificateExpired() *Refusal {
	return refuse("certificate-expired", "The certificate of this device's key has run out. Please sign again.", nil)
}

func certificateRevoked() *Refusal {
	return refuse("certificate-revoked", "The certificate of this device's key was revoked.", nil)
}

// checkProof verifies an ECDSA signature, r‖s or DER, over the request.
func checkProof(spki, csr, proof []byte) error {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return err
	}
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("a key of type %T", key)
	}
	digest := sha256.Sum256(csr)
	if len(proof) == 64 {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1BigInt(new(big.Int).SetBytes(proof[:32]))
			b.AddASN1BigInt(new(big.Int).SetBytes(proof[32:]))
		})
		proof = b.BytesOrPanic()
	}
	if !ecdsa.VerifyASN1(pub, digest[:], proof) {
		return errors.New("the signature is not the earlier key's over this request")
	}
	return nil
}

// asRefusal keeps a refusal and calls an error of the store so; what the
// authority could not do stays an error.
func asRefusal(err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return err
}

// certificateHold is the one reason that can be taken back (RFC 5280, 5.3.1).
const certificateHold = 6

// reasons that an end entity's certificate can be revoked for (RFC 5280,
// 5.3.1): unspecified, keyCompromise, affiliationChanged, superseded,
// cessationOfOperation, certificateHold, privilegeWithdrawn.
var reasons = []int{0, 1, 3, 4, 5, certificateHold, 9}

// RevokeCertificate ends what a certificate is good for: no further signature;
// earlier ones stay valid by their time. by is a mail address or
// "administrator". One on hold can be revoked for good, and keeps the time when
// it was put on hold. Reasons: "bad-reason", "already-revoked"; ErrNotFound.
func (d *Desk) RevokeCertificate(ctx context.Context, serial string, reason int, by string) error {
	if !slices.Contains(reasons, reason) {
		return refuse("bad-reason", fmt.Sprintf("%d is no reason for which a certificate is revoked here.", reason), nil)
	}
	return d.Store.Do(ctx, func(tx Tx) error {
		c, err := tx.Certificate(serial)
		if err != nil {
			return err
		}
		if !c.Revoked.IsZero() && (c.Reason != certificateHold || reason == certificateHold) {
			return refuse("already-revoked", "This certificate is revoked already.", nil)
		}
		return d.revoke(tx, c, reason, by)
	})
}

func (d *Desk) revoke(tx Tx, c *Certificate, reason int, by string) error {
	now := d.now()
	if c.Revoked.IsZero() {
		c.Revoked = now
	}
	c.Reason = reason
	if err := tx.SaveCertificate(c); err != nil {
		return err
	}
	return tx.AppendLog(Event{Time: now, Kind: EventRevoked, Actor: by, Detail: map[string]string{
		"serial": c.Serial, "of": c.Mail, "reason": strconv.Itoa(reason)}})
}

// UnrevokeCertificate takes a certificate off hold; one that was revoked for
// good stays so (Reason "not-on-hold"). ErrNotFound.
func (d *Desk) UnrevokeCertificate(ctx context.Context, serial, by string) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		c, err := tx.Certificate(serial)
		if err != nil {
			return err
		}
		if c.Revoked.IsZero() || c.Reason != certificateHold {
			return refuse("not-on-hold", "This certificate is not on hold: a revocation for good cannot be taken back.", nil)
		}
		c.Revoked, c.Reason = time.Time{}, 0
		if err := tx.SaveCertificate(c); err != nil {
			return err
		}
		return tx.AppendLog(Event{Time: d.now(), Kind: EventUnrevoked, Actor: by, Detail: map[string]string{"serial": c.Serial, "of": c.Mail}})
	})
}

// cessationOfOperation is why a removed device's certificates are revoked.
const cessationOfOperation = 5

// RevokeDevice ends an enrolled device: its credential proves nothing any more,
// its certificates are revoked (cessationOfOperation). by is a mail address or
// "administrator". One that is revoked already is no error. ErrNotFound.
func (d *Desk) RevokeDevice(ctx context.Context, id, by string) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		c, err := tx.Credential(id)
		if err != nil {
			return err
		}
		return d.revokeDevice(tx, c, by)
	})
}

func (d *Desk) revokeDevice(tx Tx, c *Credential, by string) error {
	if !c.Revoked.IsZero() {
		return nil
	}
	c.Revoked, c.RevokedBy = d.now(), by
	if err := tx.SaveCredential(c); err != nil {
		return err
	}
	certs, err := tx.CertificatesOf(c.ID)
	if err != nil {
		return err
	}
	for _, cert := range certs {
		if !cert.Revoked.IsZero() && cert.Reason != certificateHold {
			continue
		}
		if err := d.revoke(tx, cert, cessationOfOperation, by); err != nil {
			return err
		}
	}
	return tx.AppendLog(Event{Time: c.Revoked, Kind: EventDeviceRevoked, Actor: by, Detail: map[string]string{
		"credential": c.ID, "of": c.Mail, "device": c.Name}})
}

// RemoveDevice is RevokeDevice at a visitor's page: only the visitor's own, and
// on record in the session, too. Reasons "no-device", "store-away".
func (d *Desk) RemoveDevice(ctx context.Context, v Visit, id, client string) error {
	mail := v.Who().Mail
	err := d.change(ctx, v.Session.ID, func(tx Tx, s *Session) error {
		c, err := tx.Credential(id)
		if errors.Is(err, ErrNotFound) || err == nil && !strings.EqualFold(c.Mail, mail) {
			return refuse("no-device", "You have no such device.", nil)
		}
		if err != nil {
			return err
		}
		if !c.Revoked.IsZero() {
			return errMoot
		}
		if err := d.revokeDevice(tx, c, mail); err != nil {
			return err
		}
		return tx.Append(s.ID, Event{Time: c.Revoked, Kind: EventDeviceRevoked, Actor: mail, Client: client,
			Detail: map[string]string{"device": c.Name}})
	})
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		return storeAway(err)
	}
	return err
}
