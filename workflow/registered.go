package workflow

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Registration is the credential of a qualified certificate by which its person is
// recognised from now on (der); by is what proves that it is theirs, as Credential.ApprovedBy.
func Registration(mail string, der []byte, by string, now time.Time) (*Credential, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("registering a certificate: %w", err)
	}
	return &Credential{ID: newID(), Mail: mail, Kind: QualifiedCertificate, Name: certificateName(cert), Data: cert.Raw, Enrolled: now, ApprovedBy: by}, nil
}

// certificateName is what lists and mails call a certificate: whose it is, and whose word for that.
func certificateName(c *x509.Certificate) string {
	clean := func(s string) string {
		s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == unicode.ReplacementChar {
				return -1
			}
			return r
		}, s)), " ")
		r := []rune(s)
		return string(r[:min(len(r), 60)])
	}
	return cmp.Or(clean(c.Subject.CommonName), "?") + ", " + cmp.Or(clean(c.Issuer.CommonName), clean(strings.Join(c.Issuer.Organization, " ")), "?")
}

// Certificate is what a QualifiedCertificate credential keeps; nil for another one.
func (c *Credential) Certificate() *x509.Certificate {
	if c.Kind != QualifiedCertificate {
		return nil
	}
	cert, err := x509.ParseCertificate(c.Data)
	if err != nil {
		return nil
	}
	return cert
}

// Registered divides a person's credentials: certificates that are registered, and
// those that were, and are not any more.
func Registered(all []*Credential) (now, removed []*x509.Certificate) {
	for _, c := range all {
		cert := c.Certificate()
		if cert == nil {
			continue
		}
		if _, before := registeredAs(all, c.Data); before {
			removed = append(removed, cert)
		} else if c.Revoked.IsZero() {
			now = append(now, cert)
		}
	}
	return now, removed
}

// Register keeps a Registration, on record in the authority's log; with a visit, also in
// its session, and its person is told by mail, as of a device. Reason: "certificate-known".
func Register(tx Tx, v *Visit, c *Credential, client string, detail map[string]string) error {
	all, err := tx.CredentialsOf(c.Mail)
	if err != nil {
		return err
	}
	if known, _ := registeredAs(all, c.Data); known {
		return refuse("certificate-known", "This certificate is registered for you already.", nil)
	}
	if err := tx.SaveCredential(c); err != nil {
		return err
	}
	cert := c.Certificate()
	e := Event{Time: c.Enrolled, Kind: EventRegistered, Actor: byAdmin, Client: client, Detail: map[string]string{"of": c.Mail, "credential": c.ID,
		"certificate": cert.SerialNumber.Text(16), "sha-256": Digest(sha256.Sum256(cert.Raw)).String(), "subject": cert.Subject.String(), "issuer": cert.Issuer.String(), "approved by": c.ApprovedBy}}
	maps.Copy(e.Detail, detail)
	if v == nil {
		return tx.AppendLog(e)
	}
	e.Actor = c.Mail
	if err := tx.Append(v.Session.ID, e); err != nil {
		return err
	}
	// Credentials outlive sessions, so the authority's own log knows them too.
	if err := tx.AppendLog(e); err != nil {
		return err
	}
	return tx.Enqueue(Job{Kind: JobMail, Session: v.Session.ID, Person: v.Person, Mail: MailEnrolled, Credential: c.ID})
}

// registeredAs says whether a certificate is registered, or else was.
func registeredAs(all []*Credential, der []byte) (now, before bool) {
	for _, c := range all {
		if c.Kind == QualifiedCertificate && bytes.Equal(c.Data, der) {
			now, before = now || c.Revoked.IsZero(), before || !c.Revoked.IsZero()
		}
	}
	return now, before && !now
}

// RegisterCertificate is the administrator's word that a certificate (DER) is a person's.
// Nobody is told by mail: no session is open. Reason: "certificate-known".
func (d *Desk) RegisterCertificate(ctx context.Context, mail string, der []byte) (*Credential, error) {
	c, err := Registration(mail, der, byAdmin, d.now())
	if err != nil {
		return nil, err
	}
	return c, d.Store.Do(ctx, func(tx Tx) error { return Register(tx, nil, c, "", nil) })
}

// bySignature is Credential.ApprovedBy of a certificate that was registered when it was first used.
const bySignature = "first signature"

// firstUse registers the certificate of a Qualified signature that is being finished. By the
// name alone it does so only at a device that its person has enrolled: whoever has
// somebody's mailbox and that name shall not become them for good (decision 7).
// Reasons: "certificate-removed" and "certificate-not-registered", in the meantime.
func (d *Desk) firstUse(tx Tx, v Visit, q *Acceptance, client string) error {
	all, err := tx.CredentialsOf(v.Who().Mail)
	if err != nil {
		return err
	}
	now, before := registeredAs(all, q.Chain[0])
	switch {
	case before:
		return refuse("certificate-removed", "This certificate was removed from your devices: please register it there again, or ask your administrator.", nil)
	case now || q.Register == RegisterNever:
		return nil
	case q.Register == RegisterAtDevice && slices.ContainsFunc(all, func(c *Credential) bool { return c.Kind == QualifiedCertificate }):
		// Since it was prepared another one was registered: a name alone is nobody now.
		return refuse("certificate-not-registered", "This certificate is not registered for you: please register it under Devices, or ask your administrator.", nil)
	}
	detail := map[string]string{}
	if q.Register == RegisterAtDevice {
		i := slices.IndexFunc(all, func(c *Credential) bool {
			return c.ID == v.Device && c.Revoked.IsZero()
		})
		if i < 0 {
			return nil
		}
		detail["device"] = all[i].Name
	}
	c, err := Registration(v.Who().Mail, q.Chain[0], bySignature, d.now())
	if err != nil {
		return err
	}
	return Register(tx, &v, c, client, detail)
}

// UnregisterCertificate takes a registered certificate away, as RevokeDevice does with a device; ErrNotFound.
func (d *Desk) UnregisterCertificate(ctx context.Context, id string) error {
	return d.Store.Do(ctx, func(tx Tx) error {
		c, err := tx.Credential(id)
		if err == nil && c.Kind != QualifiedCertificate {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return d.revokeDevice(tx, c, byAdmin)
	})
}
