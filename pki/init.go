package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// KeyType says which kind of key Init makes.
type KeyType string

// The kinds of key. RSA is the default: every PDF reader in use verifies
// RSA with SHA-256, ECDSA is still unknown to some older and embedded ones, and
// a signature of 384 bytes or a millisecond more matter to nobody here.
// 3072 bits is what ETSI TS 119 312 recommends for RSA from now on.
const (
	RSA3072 KeyType = "rsa-3072"
	P256    KeyType = "p-256"
)

// Options describe the organisation whose authority Init makes.
type Options struct {
	Organisation string    // legal name, at most 64 characters (RFC 5280, ub-organization-name)
	Country      string    // ISO 3166, two capital letters
	VAT          string    // VAT number with its country, "LU12345678"; may be empty
	URL          string    // base of the web pages; CRLs and CA certificates are published under URL/pki/
	Key          KeyType   // "" means RSA3072
	Keys         Keys      // where the keys go; zero: plain files
	Now          time.Time // zero means time.Now()
}

// Validity of the certificates. Each lies within that of its issuer. The seal's
// is short because its key works every day; the timestamp certificate's decides how
// long a document timestamp stands before the next one must go over it.
const (
	rootYears    = 20
	issuingYears = 10
	tsaYears     = 6
	sealYears    = 3
)

// Names of the files in the directory, without .key and .crt, and of the
// authorities' CRLs and certificates below URL/pki/.
const (
	rootName    = "root"
	issuingName = "issuing"
	sealName    = "seal"
	tsaName     = "tsa"
)

// Object identifiers that crypto/x509 has no name for.
var (
	oidOrganizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}                // X.520; EN 319 412-1, 5.1.4
	oidExtKeyUsage            = asn1.ObjectIdentifier{2, 5, 29, 37}               // RFC 5280, 4.2.1.12
	oidTimeStamping           = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}  // RFC 3161, 2.3
	oidDocumentSigning        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36} // RFC 9336
	oidAuthenticDocuments     = asn1.ObjectIdentifier{1, 2, 840, 113583, 1, 1, 5} // the one that Adobe's readers ask for
	oidAnyPolicy              = asn1.ObjectIdentifier{2, 5, 29, 32, 0}            // RFC 5280, 4.2.1.4
)

// ErrExists is returned by Init when the directory already holds something.
var ErrExists = errors.New("already there; keys are never overwritten")

// Init makes a root CA, an issuing CA, the seal certificate and the timestamp
// certificate with their keys in dir, which must not exist or be empty. The
// directory gets mode 0700, the keys 0600. It is complete or not there at all:
// everything is written beside it, synced, and renamed.
func Init(dir string, o Options) error {
	if err := o.check(); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("making keys: %s: %w", dir, ErrExists)
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, ".milterd-keys-*") // mode 0700
	if err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := o.write(tmp); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	if err := syncDir(tmp); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	// rename(2) replaces an empty directory and fails with ENOTEMPTY on any other.
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	return syncDir(parent)
}

var (
	countryForm = regexp.MustCompile(`^[A-Z]{2}$`)
	vatForm     = regexp.MustCompile(`^[A-Z]{2}[0-9A-Z+*.]{2,13}$`)
)

// check completes the options and says what is wrong with them.
func (o *Options) check() error {
	o.Organisation = strings.TrimSpace(o.Organisation)
	if n := utf8.RuneCountInString(o.Organisation); n == 0 || n > 64 || !utf8.ValidString(o.Organisation) {
		return fmt.Errorf("organisation %q: want 1 to 64 characters", o.Organisation)
	}
	if !countryForm.MatchString(o.Country) {
		return fmt.Errorf("country %q: want two capital letters (ISO 3166)", o.Country)
	}
	if o.VAT = strings.ReplaceAll(o.VAT, " ", ""); o.VAT != "" && !vatForm.MatchString(o.VAT) {
		return fmt.Errorf("VAT number %q: want the country and the number, such as LU12345678", o.VAT)
	}
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("web address %q: want http://host or https://host", o.URL)
	}
	o.URL = strings.TrimRight(o.URL, "/")
	switch o.Key {
	case "":
		o.Key = RSA3072
	case RSA3072, P256:
	default:
		return fmt.Errorf("key type %q: want %s or %s", o.Key, RSA3072, P256)
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return nil
}

// write makes the four pairs in dir.
func (o *Options) write(dir string) (err error) {
	names := []string{rootName, issuingName, sealName, tsaName}
	keep, err := newKeeper(o.Key, o.Keys)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, keep.undo())
		}
	}()
	keys, err := keep.make(names)
	if err != nil {
		return err
	}
	var certs [4]*x509.Certificate
	for i, t := range []*x509.Certificate{o.root(), o.issuing(), o.seal(), o.tsa()} {
		issuer, issuerKey := t, keys[0] // the root signs itself
		if i > 0 {
			issuer, issuerKey = certs[0], keys[0]
		}
		if i > 1 {
			issuer, issuerKey = certs[1], keys[1]
		}
		c, err := issue(t, keys[i].Public(), issuer, issuerKey)
		if err != nil {
			return fmt.Errorf("%s certificate: %w", names[i], err)
		}
		certs[i] = c
		if err := keep.write(dir, names[i], keys[i]); err != nil {
			return fmt.Errorf("%s key: %w", names[i], err)
		}
		if err := writePEM(filepath.Join(dir, names[i]+".crt"), "CERTIFICATE", c.Raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (k KeyType) generate() (crypto.Signer, error) {
	if k == P256 {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, 3072)
}

func (o *Options) root() *x509.Certificate {
	t := o.template(o.name("Root CA"), rootYears)
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	return t
}

func (o *Options) issuing() *x509.Certificate {
	t := o.template(o.name("Issuing CA"), issuingYears)
	t.IsCA, t.KeyUsage, t.MaxPathLenZero = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, true
	t.Policies = []x509.OID{policy(oidAnyPolicy)}
	o.publish(t, rootName)
	return t
}

// seal follows EN 319 412-3: the names of a legal person, none of a natural one.
func (o *Options) seal() *x509.Certificate {
	t := o.template(o.name(""), sealYears)
	t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	t.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidDocumentSigning, oidAuthenticDocuments}
	t.Policies = []x509.OID{policy(oidAnyPolicy)}
	o.publish(t, issuingName)
	return t
}

// tsa follows RFC 3161, 2.3: timeStamping is the only key purpose, and critical.
// Its name says that this is no independent witness of time.
func (o *Options) tsa() *x509.Certificate {
	t := o.template(o.name("own clock"), tsaYears)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{oidTimeStamping})
	if err != nil {
		panic(err) // a constant
	}
	t.ExtraExtensions = []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: eku}}
	t.Policies = []x509.OID{policy(oidAnyPolicy)}
	o.publish(t, issuingName)
	return t
}

// template fills in what all certificates have. They begin an hour ago, so that
// a timestamp authority whose clock is behind ours does not date the first
// signature before its certificate.
func (o *Options) template(subject pkix.Name, years int) *x509.Certificate {
	from := o.Now.UTC().Truncate(time.Second).Add(-time.Hour)
	return &x509.Certificate{
		Subject:               subject,
		NotBefore:             from,
		NotAfter:              from.AddDate(years, 0, 0),
		BasicConstraintsValid: true,
	}
}

// name gives C, O, organizationIdentifier and CN; role is appended to the
// organisation's name, which is cut if both exceed 64 characters.
func (o *Options) name(role string) pkix.Name {
	cn := o.Organisation
	if role != "" {
		cn = cut(cn, maxName-utf8.RuneCountInString(role)-1) + " " + role
	}
	n := pkix.Name{Country: []string{o.Country}, Organization: []string{o.Organisation}, CommonName: cn}
	if o.VAT != "" {
		// EN 319 412-1, 5.1.4: "VAT", the country, a hyphen, the number.
		id := "VAT" + o.VAT[:2] + "-" + o.VAT[2:]
		n.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidOrganizationIdentifier, Value: id}}
	}
	return n
}

// maxName is how long a common name may be, in characters (RFC 5280, ub-common-name).
const maxName = 64

func cut(s string, characters int) string {
	if r := []rune(s); len(r) > characters {
		return strings.TrimRight(string(r[:characters]), " ")
	}
	return s
}

// publish names where the issuer's CRL and certificate are to be had.
func (o *Options) publish(t *x509.Certificate, issuer string) {
	t.CRLDistributionPoints = []string{o.URL + "/pki/" + issuer + ".crl"}
	t.IssuingCertificateURL = []string{o.URL + "/pki/" + issuer + ".cer"}
}

// issue signs a certificate with a fresh serial number.
func issue(t *x509.Certificate, pub crypto.PublicKey, issuer *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := randomSerial()
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	t.SerialNumber, t.SubjectKeyId = serial, keyID(spki)
	return sign(t, pub, issuer, key)
}

// keyID is a key's identifier: RFC 7093, 2 (4) with its first 160 bits.
func keyID(spki []byte) []byte {
	id := sha256.Sum256(spki)
	return id[:20]
}

// sign makes a certificate from a complete template.
func sign(t *x509.Certificate, pub crypto.PublicKey, issuer *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// randomSerial gives 127 random bits: positive, in 16 bytes.
func randomSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func policy(oid asn1.ObjectIdentifier) x509.OID {
	ints := make([]uint64, len(oid))
	for i, v := range oid {
		ints[i] = uint64(v)
	}
	p, err := x509.OIDFromInts(ints)
	if err != nil {
		panic(err) // a constant
	}
	return p
}

// writePEM creates a file that must not exist, and syncs it.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return writeNew(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

func writeNew(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
