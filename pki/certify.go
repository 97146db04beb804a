package pki

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"milterd/workflow"
)

// An Authority certifies people's own keys.
var _ workflow.Certifier = (*Authority)(nil)

// personValidity is how long a certificate of a person is valid unless Config says
// otherwise: long enough for a device that is used every week, short enough
// that a list of revoked ones stays small in every file that holds it.
const personValidity = 30 * 24 * time.Hour

// maxCSR bounds a request. One with a P-256 key and nothing else has 200 to 400 bytes.
const maxCSR = 4 << 10

// Draft checks a certificate signing request (PKCS #10, RFC 2986) and draws up
// the entry for the register. Only the key is taken from the request: subject and
// extensions in it may say what they like. What is wrong is a *workflow.Refusal.
func (a *Authority) Draft(p workflow.Person, csr []byte, now time.Time) (*workflow.Certificate, error) {
	pub, err := requestedKey(csr)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.Name) == "" || !utf8.ValidString(p.Name) {
		return nil, fmt.Errorf("certificate of %s: the directory has no name for a certificate", p.Mail)
	}
	if _, err := mailName(p.Mail); err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", p.Mail, err)
	}
	serial, err := randomSerial()
	if err != nil {
		return nil, err
	}
	// An external timestamp authority may be a little behind our clock, and
	// its token must not lie before the certificate.
	from := now.UTC().Truncate(time.Second)
	until := from.Add(a.validity)
	if ca := a.issuing.Leaf().NotAfter; until.After(ca) {
		until = ca
	}
	if !until.After(now) {
		return nil, errors.New("the issuing CA has expired")
	}
	return &workflow.Certificate{
		Serial: serialText(serial), Mail: p.Mail, Name: cut(p.Name, maxName),
		Key: sha256.Sum256(pub), PublicKey: pub, NotBefore: from.Add(-maxSkew), NotAfter: until,
	}, nil
}

// requestedKey gives the SubjectPublicKeyInfo of a request whose maker has the key.
func requestedKey(csr []byte) ([]byte, error) {
	if len(csr) > maxCSR {
		return nil, badRequest("bad-csr", fmt.Errorf("%d bytes, at most %d are read", len(csr), maxCSR))
	}
	r, err := x509.ParseCertificateRequest(csr) // refuses trailing data
	if err != nil {
		return nil, badRequest("bad-csr", err)
	}
	pub, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return nil, badRequest("weak-key", fmt.Errorf("a key of the kind %s, want ECDSA on P-256", r.PublicKeyAlgorithm))
	}
	if r.SignatureAlgorithm != x509.ECDSAWithSHA256 {
		return nil, badRequest("bad-csr", fmt.Errorf("signed with %s, want ECDSA-SHA256", r.SignatureAlgorithm))
	}
	// Proof of possession: the request is signed with the key that it names.
	if err := r.CheckSignature(); err != nil {
		return nil, badRequest("bad-csr", fmt.Errorf("proof of possession: %w", err))
	}
	// The register knows a key by its one encoding, not by the request's.
	return x509.MarshalPKIXPublicKey(pub)
}

func badRequest(reason string, err error) error {
	text := "This device's request for a certificate is damaged; reload the page and try again."
	if reason == "weak-key" {
		text = "This device's key is of a kind that is not certified here; reload the page and try again."
	}
	return &workflow.Refusal{Code: 554, Enhanced: "5.7.0", Text: text, Reason: reason, Err: fmt.Errorf("certificate request: %w", err)}
}

// Issue signs what Draft drew up and fills c.DER. Where the authority has a
// register, it signs only what stands there and has not been signed: check, persist,
// audit, sign. What it made is checked before it is given out.
func (a *Authority) Issue(ctx context.Context, c *workflow.Certificate) error {
	if err := a.issuePerson(ctx, c); err != nil {
		return fmt.Errorf("certificate %s of %s: %w", c.Serial, c.Mail, err)
	}
	return nil
}

func (a *Authority) issuePerson(ctx context.Context, c *workflow.Certificate) error {
	if len(c.DER) > 0 {
		return errors.New("it is signed already")
	}
	if err := a.entered(ctx, c); err != nil {
		return err
	}
	t, err := a.person(c)
	if err != nil {
		return err
	}
	pub, err := x509.ParsePKIXPublicKey(c.PublicKey)
	if err != nil {
		return err
	}
	made, err := sign(t, pub, a.issuing.Leaf(), a.issuing.Key)
	if err != nil {
		return err
	}
	if err := a.checkMade(made, c); err != nil {
		return err
	}
	c.DER = made.Raw
	return nil
}

// entered compares the entry with the register's.
func (a *Authority) entered(ctx context.Context, c *workflow.Certificate) error {
	if a.register == nil {
		return nil
	}
	e, err := a.register.Certificate(ctx, c.Serial)
	switch {
	case err != nil:
		return fmt.Errorf("register: %w", err)
	case len(e.DER) > 0:
		return errors.New("the register has it signed already")
	case e.Key != c.Key || e.Mail != c.Mail || e.Name != c.Name || !e.NotBefore.Equal(c.NotBefore) || !e.NotAfter.Equal(c.NotAfter):
		return errors.New("the register has another one under this number")
	case !e.Revoked.IsZero():
		return errors.New("it was revoked before it was signed")
	}
	return nil
}

// person is the profile of a natural person's certificate. Key usage: the
// commitment to content alone, what EN 319 412-2, 4.3.2 calls type A; purpose: signing
// documents (RFC 9336). No key of a CA, no login.
func (a *Authority) person(c *workflow.Certificate) (*x509.Certificate, error) {
	serial, ok := new(big.Int).SetString(c.Serial, 16)
	if !ok || serial.Sign() <= 0 {
		return nil, errors.New("no serial number")
	}
	if sha256.Sum256(c.PublicKey) != c.Key {
		return nil, errors.New("the entry names another key")
	}
	names, err := mailName(c.Mail)
	if err != nil {
		return nil, err
	}
	seal := a.seal.Leaf().Subject
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Country: seal.Country, Organization: seal.Organization, CommonName: c.Name},
		NotBefore:             c.NotBefore,
		NotAfter:              c.NotAfter,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageContentCommitment,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{oidDocumentSigning},
		Policies:              []x509.OID{policy(oidAnyPolicy)},
		ExtraExtensions:       []pkix.Extension{names},
		SubjectKeyId:          keyID(c.PublicKey),
	}
	a.publish(t)
	return t, nil
}

// publish names where CRL, OCSP and the issuing CA's certificate are to be had.
func (a *Authority) publish(t *x509.Certificate) {
	t.CRLDistributionPoints = []string{a.url + "/pki/" + issuingName + ".crl"}
	t.OCSPServer = []string{a.url + ocspPath}
	t.IssuingCertificateURL = []string{a.url + "/pki/" + issuingName + ".cer"}
}

// checkMade looks at a certificate as somebody else would.
func (a *Authority) checkMade(made *x509.Certificate, c *workflow.Certificate) error {
	switch err := made.CheckSignatureFrom(a.issuing.Leaf()); {
	case err != nil:
		return fmt.Errorf("what was signed does not verify: %w", err)
	case !bytes.Equal(made.RawSubjectPublicKeyInfo, c.PublicKey):
		return errors.New("what was signed holds another key")
	case serialText(made.SerialNumber) != c.Serial:
		return errors.New("what was signed has another number")
	case made.IsCA || made.KeyUsage != x509.KeyUsageContentCommitment:
		return errors.New("what was signed may do more than sign documents")
	}
	return nil
}

// Issuers is the chain above people's certificates, the issuing CA first.
func (a *Authority) Issuers() [][]byte {
	var out [][]byte
	for _, c := range a.issuing.Chain {
		out = append(out, c.Raw)
	}
	return out
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}              // RFC 5280, 4.2.1.6
	oidSmtpUTF8       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 9} // RFC 9598, 3
)

// mailName is the subjectAltName with a mail address: an rfc822Name, whose
// domain is in ASCII, or where the part before the @ is not, an SmtpUTF8Mailbox
// (RFC 9598), whose domain is too.
func mailName(mail string) (pkix.Extension, error) {
	at := strings.LastIndexByte(mail, '@')
	if at <= 0 || !utf8.ValidString(mail) {
		return pkix.Extension{}, fmt.Errorf("%q is no mail address", mail)
	}
	local := mail[:at]
	domain, err := idna.Lookup.ToASCII(mail[at+1:])
	if err != nil || domain == "" {
		return pkix.Extension{}, fmt.Errorf("%q is no mail address", mail)
	}
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte(local + "@" + domain)}
	if strings.ContainsFunc(local, func(r rune) bool { return r >= utf8.RuneSelf }) {
		value, err := asn1.MarshalWithParams(local+"@"+domain, "utf8")
		if err != nil {
			return pkix.Extension{}, err
		}
		other, err := asn1.MarshalWithParams(struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{oidSmtpUTF8, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value}}, "tag:0")
		if err != nil {
			return pkix.Extension{}, err
		}
		name = asn1.RawValue{FullBytes: other}
	}
	der, err := asn1.Marshal([]asn1.RawValue{name})
	return pkix.Extension{Id: oidSubjectAltName, Value: der}, err
}

// serialText writes a serial number as the register has it.
func serialText(n *big.Int) string { return n.Text(16) }
