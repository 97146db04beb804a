package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"milterd/workflow"
)

// renewable are the certificates that Renew renews, with the years that a new one
// lasts. The OCSP responder renews its own; people's devices ask for theirs.
var renewable = map[string]int{sealName: sealYears, tsaName: tsaYears, issuingName: issuingYears}

// Renew makes a new certificate for the organisation's seal ("seal"), the
// embedded timestamp authority ("tsa"), or the issuing CA below our root
// ("issuing"), whose end bounds those of the others: check, persist, audit, sign, and only then
// the file, whose first certificate is used from the next start on. The present
// one stays valid, in the file and in the register.
//
// The key stays the same, for it may be in a token, nobody trusts it but by
// its certificate, and one file then changes in one step. With newKey there is
// another: that is for a key that was lost to somebody, after its certificate was
// revoked. It goes before or beside the present one, which runs on until the
// next start.
func (a *Authority) Renew(ctx context.Context, name string, newKey bool) (*x509.Certificate, error) {
	c, err := a.renew(ctx, name, newKey)
	if err != nil {
		return nil, fmt.Errorf("renewing the certificate of %s: %w", name, err)
	}
	return c, nil
}

func (a *Authority) renew(ctx context.Context, name string, newKey bool) (*x509.Certificate, error) {
	years, ok := renewable[name]
	if !ok {
		return nil, errors.New("it is neither seal, tsa nor issuing")
	}
	id, by := a.seal, a.issuing
	switch name {
	case tsaName:
		id = a.tsa
	case issuingName:
		id, by = a.issuing, a.root
		if newKey {
			return nil, errors.New("the issuing CA keeps its key: what it has signed hangs on it")
		}
		if !id.Chain[1].Equal(by.Leaf()) {
			return nil, fmt.Errorf("it is below %q: milterd ca request, and milterd ca install", id.Chain[1].Subject.CommonName)
		}
	}
	if l, ok := by.Key.(locked); ok {
		return nil, l.why
	}
	old := id.Leaf()
	t := a.again(old, by.Leaf(), a.now().UTC().Truncate(time.Second).AddDate(years, 0, 0))
	if name == issuingName {
		t.IsCA, t.MaxPathLenZero = true, true
		t.OCSPServer, t.CRLDistributionPoints, t.IssuingCertificateURL = nil, old.CRLDistributionPoints, old.IssuingCertificateURL
	}
	if !newKey && !t.NotAfter.After(old.NotAfter) {
		return nil, fmt.Errorf("a new one would last no longer than the present one, until %s: the certificate of %q ends at %s",
			old.NotAfter.UTC().Format(time.DateOnly), by.Leaf().Subject.CommonName, by.Leaf().NotAfter.UTC().Format(time.DateOnly))
	}
	public := old.PublicKey
	if newKey {
		key, err := a.anotherKey(name, old)
		if err != nil {
			return nil, fmt.Errorf("new key: %w", err)
		}
		public = key.Public()
	} else if err := a.unspoilt(ctx, old); err != nil {
		return nil, err
	}
	made, err := a.certifyOwn(ctx, old.Subject.CommonName, t, public, by)
	if err != nil {
		return nil, err
	}
	if name == issuingName { // one certificate alone is below our root: loadIssuing
		return made, replaceFile(filepath.Join(a.dir, name+".crt"), encode([]*x509.Certificate{made}), 0o644)
	}
	return made, a.prepend(name+".crt", made)
}

// unspoilt refuses a key of which a certificate was revoked.
func (a *Authority) unspoilt(ctx context.Context, c *x509.Certificate) error {
	same, err := a.register.Certificates(ctx, workflow.CertificateFilter{Key: sha256.Sum256(c.RawSubjectPublicKeyInfo), Revoked: true})
	if err != nil {
		return wrap("register", err)
	}
	if len(same) > 0 {
		return fmt.Errorf("certificate %s of this key is revoked: want a new key (--new-key)", same[0].Serial)
	}
	return nil
}

// certifyOwn goes persist, audit, sign, verify, audit.
func (a *Authority) certifyOwn(ctx context.Context, name string, t *x509.Certificate, public crypto.PublicKey, by Identity) (*x509.Certificate, error) {
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	if t.SerialNumber, err = randomSerial(); err != nil {
		return nil, err
	}
	t.SubjectKeyId = keyID(spki)
	e := &workflow.Certificate{Serial: serialText(t.SerialNumber), Name: name, By: "milterd ca renew",
		Key: sha256.Sum256(spki), PublicKey: spki, NotBefore: t.NotBefore, NotAfter: t.NotAfter}
	record := func(kind workflow.EventKind, sum string) error {
		return wrap("register", a.register.Do(ctx, func(tx workflow.Tx) error {
			if err := tx.SaveCertificate(e); err != nil {
				return err
			}
			detail := map[string]string{"serial": e.Serial, "name": e.Name, "by": e.By, "key sha-256": e.Key.String(),
				"not before": e.NotBefore.UTC().Format(time.RFC3339), "not after": e.NotAfter.UTC().Format(time.RFC3339)}
			if sum != "" {
				detail["sha-256"] = sum
			}
			return tx.AppendLog(workflow.Event{Time: a.now(), Kind: kind, Actor: "administrator", Detail: detail})
		}))
	}
	if err := record(workflow.EventIssuing, ""); err != nil {
		return nil, err
	}
	made, err := sign(t, public, by.Leaf(), by.Key)
	if err != nil {
		return nil, err
	}
	switch err := made.CheckSignatureFrom(by.Leaf()); {
	case err != nil:
		return nil, fmt.Errorf("what was signed does not verify: %w", err)
	case !bytes.Equal(made.RawSubjectPublicKeyInfo, spki) || made.SerialNumber.Cmp(t.SerialNumber) != 0 || made.IsCA != t.IsCA:
		return nil, errors.New("what was signed is not what was drawn up")
	}
	e.DER = made.Raw
	if err := record(workflow.EventIssued, workflow.Digest(sha256.Sum256(made.Raw)).String()); err != nil {
		return nil, err
	}
	return made, nil
}

// anotherKey makes a key of the same kind before the present one in its file, or
// beside it in the token. Which is used, the certificate says: one that never gets
// a certificate does no harm.
func (a *Authority) anotherKey(name string, old *x509.Certificate) (crypto.Signer, error) {
	kind := RSA3072
	if _, ok := old.PublicKey.(*ecdsa.PublicKey); ok {
		kind = P256
	}
	if a.keys.inToken(name) {
		key, _, err := a.keys.generate(name, kind)
		return key, err
	}
	k, err := newKeeper(kind, a.keys)
	if err != nil {
		return nil, err
	}
	key, err := kind.generate()
	if err != nil {
		return nil, err
	}
	block, err := marshalKey(key, k.pass)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(a.dir, name+".key")
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return key, replaceFile(path, slices.Concat(pem.EncodeToMemory(block), before), 0o600)
}
