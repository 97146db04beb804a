package pki

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"milterd/workflow"
)

// formerFile holds the certificates that the issuing CA had before, with their
// chains: what was signed below them is still asked about.
const formerFile = "former.crt"

// Request gives a certificate signing request (PKCS #10, DER) for the issuing
// CA's key, by which a company's CA can take it below itself.
func (a *Authority) Request() ([]byte, error) {
	constraints, err := asn1.Marshal(struct {
		CA      bool
		PathLen int
	}{true, 0})
	if err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}) // keyCertSign, cRLSign
	if err != nil {
		return nil, err
	}
	id, err := asn1.Marshal(a.issuing.Leaf().SubjectKeyId)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		RawSubject: a.issuing.Leaf().RawSubject,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: constraints},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: usage},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 14}, Value: id},
		},
	}, a.issuing.Key)
	return der, wrap("certificate request", err)
}

// Install takes the certificate that a company's CA gave for Request, with the
// chain above it, in PEM form. Seal and timestamp certificate are made anew below it
// where its name differs. The folder is whole at every moment; a milterd
// that runs goes on as before until it is started again. g fetches the company's
// revocation data once, so that no signature fails for want of it later.
func (a *Authority) Install(ctx context.Context, g *Gatherer, given []byte) (chain []*x509.Certificate, err error) {
	chain, err = a.companyChain(given)
	if err == nil {
		err = g.reachable(ctx, chain)
	}
	if err == nil {
		err = a.switchTo(chain)
	}
	if err != nil {
		return nil, fmt.Errorf("installing the certificate: %w", err)
	}
	serial := serialText(chain[0].SerialNumber)
	err = a.register.Do(ctx, func(tx workflow.Tx) error {
		return tx.AppendLog(workflow.Event{Time: a.now(), Kind: workflow.EventInstalled, Actor: "administrator", Detail: map[string]string{
			"serial": serial, "name": chain[0].Subject.CommonName, "issuer": chain[1].Subject.CommonName}})
	})
	return chain, wrap("register", err)
}

// companyChain sorts what was given into a chain from our key up to a root, and
// checks that it lets us issue.
func (a *Authority) companyChain(given []byte) ([]*x509.Certificate, error) {
	all, err := parseCertificates(given)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubjectPublicKeyInfo, a.issuing.Leaf().RawSubjectPublicKeyInfo)
	})
	if i < 0 {
		return nil, errors.New("none of the certificates is for the key of milterd ca request")
	}
	chain := []*x509.Certificate{all[i]}
	for !issuedBy(chain[len(chain)-1], chain[len(chain)-1]) {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool { return issuedBy(last, c) })
		if i < 0 || len(chain) > len(all) {
			return nil, fmt.Errorf("the chain ends at %q: add the certificate of %q, and so on up to the root", last.Subject.CommonName, last.Issuer.CommonName)
		}
		chain = append(chain, all[i])
	}
	c := chain[0]
	switch {
	case len(chain) < 2:
		return nil, errors.New("it is signed by itself, not by a company's CA")
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0:
		return nil, fmt.Errorf("%q is no certificate of a CA that may sign certificates and revocation lists", c.Subject.CommonName)
	case len(c.SubjectKeyId) == 0 || len(c.Subject.ToRDNSequence()) == 0:
		return nil, errors.New("it has no name or no subject key identifier")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[len(chain)-1])
	for _, c := range chain[1 : len(chain)-1] {
		between.AddCert(c)
	}
	_, err = c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: a.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return chain, err
}

// reachable fetches revocation data about everything in a chain but its root.
func (g *Gatherer) reachable(ctx context.Context, chain []*x509.Certificate) error {
	w := &gathering{g: g, now: g.Own.now(), done: map[string]bool{}}
	for i, c := range chain[:len(chain)-1] {
		if err := w.foreign(ctx, c, chain[i+1]); err != nil {
			return fmt.Errorf("revocation data about %q: %w", c.Subject.CommonName, err)
		}
	}
	return nil
}

// switchTo writes the files, the one that decides last: a file of seal or tsa
// holds the certificates by both issuers until then.
func (a *Authority) switchTo(chain []*x509.Certificate) error {
	if slices.EqualFunc(chain, a.issuing.Chain, (*x509.Certificate).Equal) {
		return errors.New("it is installed already")
	}
	for name, old := range map[string]*x509.Certificate{sealName: a.seal.Leaf(), tsaName: a.tsa.Leaf()} {
		if issuedBy(old, chain[0]) && bytes.Equal(old.AuthorityKeyId, chain[0].SubjectKeyId) {
			continue
		}
		c, err := issue(a.again(old, chain[0], old.NotAfter), old.PublicKey, chain[0], a.issuing.Key)
		if err != nil {
			return fmt.Errorf("%s certificate: %w", name, err)
		}
		if err := a.prepend(name+".crt", c); err != nil {
			return err
		}
	}
	if err := a.prepend(formerFile, a.issuing.Chain...); err != nil {
		return err
	}
	return replaceFile(filepath.Join(a.dir, issuingName+".crt"), encode(chain), 0o644)
}

// again draws up a certificate like an old one, for longer or below another name
// of the CA, but never for longer than the CA's.
func (a *Authority) again(old, issuer *x509.Certificate, until time.Time) *x509.Certificate {
	from := a.now().UTC().Truncate(time.Second).Add(-time.Hour)
	t := &x509.Certificate{
		RawSubject: old.RawSubject, NotBefore: from, NotAfter: until,
		BasicConstraintsValid: true, KeyUsage: old.KeyUsage, Policies: old.Policies,
	}
	if from.Before(issuer.NotBefore) {
		t.NotBefore = issuer.NotBefore
	}
	if t.NotAfter.After(issuer.NotAfter) {
		t.NotAfter = issuer.NotAfter
	}
	for _, x := range old.Extensions {
		if x.Id.Equal(oidExtKeyUsage) {
			t.ExtraExtensions = append(t.ExtraExtensions, x)
		}
	}
	a.publish(t)
	return t
}

// prepend adds certificates at the beginning of a file that need not be there.
func (a *Authority) prepend(name string, certs ...*x509.Certificate) error {
	path := filepath.Join(a.dir, name)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return replaceFile(path, append(encode(certs), old...), 0o644)
}

func encode(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // never fails into a Buffer
	}
	return b.Bytes()
}

// loadIssuing reads the issuing CA: below our root, or where the file holds a
// chain, below the company's.
func (a *Authority) loadIssuing() (err error) {
	path := filepath.Join(a.dir, issuingName+".crt")
	chain, err := readCertificates(path)
	if err != nil {
		return err
	}
	if len(chain) == 1 {
		a.issuing, err = a.identity(issuingName, a.root.Chain)
	} else {
		for i, c := range chain {
			by := chain[min(i+1, len(chain)-1)]
			if !issuedBy(c, by) {
				return fmt.Errorf("%s: %q was not issued by %q", path, c.Subject.CommonName, by.Subject.CommonName)
			}
			if err := a.valid(path, c); err != nil {
				return err
			}
		}
		a.issuing, err = a.pair(issuingName, chain)
	}
	if err != nil {
		return err
	}
	return a.loadFormer()
}

// loadFormer reads what the issuing CA was called before.
func (a *Authority) loadFormer() error {
	all, err := readCertificates(filepath.Join(a.dir, formerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for i, c := range all {
		if !bytes.Equal(c.RawSubjectPublicKeyInfo, a.issuing.Leaf().RawSubjectPublicKeyInfo) {
			continue
		}
		chain := []*x509.Certificate{c}
		for _, next := range all[i+1:] { // in the order in which they were written
			if issuedBy(chain[len(chain)-1], next) {
				chain = append(chain, next)
			}
		}
		if sameName(c, a.issuing.Leaf()) || slices.ContainsFunc(a.former, func(f *Identity) bool { return sameName(f.Leaf(), c) }) {
			continue
		}
		a.former = append(a.former, &Identity{Key: a.issuing.Key, Chain: chain})
	}
	return nil
}

// sameName reports whether what is below one certificate of a CA is below the other.
func sameName(c, d *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, d.RawSubject) && bytes.Equal(c.SubjectKeyId, d.SubjectKeyId)
}

// retire ends, in the register, people's certificates below a former name: each
// device gets one below the present name with its next signature.
func (a *Authority) retire(ctx context.Context) error {
	if len(a.former) == 0 {
		return nil
	}
	now := a.now()
	all, err := a.register.Certificates(ctx, workflow.CertificateFilter{ValidAfter: now})
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Mail == "" || len(c.DER) == 0 || a.signedBy(c, &a.issuing) {
			continue
		}
		err := a.register.Do(ctx, func(tx workflow.Tx) error {
			c, err := tx.Certificate(c.Serial)
			if err != nil {
				return err
			}
			c.NotAfter = now
			return tx.SaveCertificate(c)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
