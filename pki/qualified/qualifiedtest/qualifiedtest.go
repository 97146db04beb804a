// Package qualifiedtest is a stand-in for a qualified trust service provider: a
// certificate authority in memory that issues qualified certificates with any
// defect, its revocation data, and the trusted lists that vouch for it. For tests
// and the demo; what it issues is qualified nowhere.
package qualifiedtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"milterd/pki/trustlist/trustlisttest"
)

// Object identifiers of EN 319 412-5 and RFC 3739.
var (
	oidStatements = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 3}
	oidCompliance = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 1}
	oidSSCD       = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 4}
	oidType       = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6}
	oidCountries  = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 7}
	// ESign and the others are values of QcType.
	ESign = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6, 1}
	ESeal = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6, 2}
	Web   = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6, 3}
)

// Provider is an authority: a root and the issuing one below it, which the
// trusted list names.
type Provider struct {
	Root, CA       *x509.Certificate
	RootKey, CAKey crypto.Signer
	URL            string // address of OCSP (URL+"/ocsp") and CRL (URL+"/crl") in certificates; "" names none
	Now            func() time.Time

	mu      sync.Mutex
	revoked map[string]time.Time
	unknown map[string]bool
}

// New makes a provider. Its authorities are valid from five years before now to
// five years after.
func New(now func() time.Time, url string) (*Provider, error) { return Named("Test QTSP", now, url) }

// Named is New under another name: what it issues is not for Qualified signatures only, or
// not at all (Request.NoStatements).
func Named(organisation string, now func() time.Time, url string) (*Provider, error) {
	p := &Provider{URL: url, Now: now, revoked: map[string]time.Time{}, unknown: map[string]bool{}}
	var err error
	if p.RootKey, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return nil, err
	}
	if p.CAKey, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return nil, err
	}
	authority := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject:   pkix.Name{CommonName: name, Organization: []string{organisation}, Country: []string{"EE"}},
			NotBefore: now().AddDate(-5, 0, 0), NotAfter: now().AddDate(5, 0, 0),
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, IsCA: true, BasicConstraintsValid: true,
		}
	}
	root := authority(organisation + " Root (stand-in)")
	if p.Root, err = create(root, root, p.RootKey.Public(), p.RootKey); err != nil {
		return nil, err
	}
	p.CA, err = create(authority(organisation+" Signing CA (stand-in)"), p.Root, p.CAKey.Public(), p.RootKey)
	return p, err
}

// Request says what a certificate shall be. The zero value of all but the names is
// a good qualified certificate of a natural person, with its key in a QSCD.
type Request struct {
	GivenName, Surname string
	Serial             string // serialNumber of the subject, "PNOEE-38001085718"
	Organisation       string // of a seal's certificate
	Key                crypto.PublicKey

	Seal           bool // QcType eseal
	Web            bool // QcType web
	NoType         bool
	NoCompliance   bool
	NoQSCD         bool
	NoStatements   bool
	Countries      []string // QcCClegislation
	Authentication bool     // the card's other certificate: digitalSignature, clientAuth, no statements
	Expired        bool     // since a day
	NotYetValid    bool     // until tomorrow
	SHA1           bool     // signed with SHA-1
	Change         func(*x509.Certificate)
}

// Identity is a certificate with its key.
type Identity struct {
	Cert *x509.Certificate
	Key  crypto.Signer // nil where Request.Key was given
}

// Issue issues a certificate. Without Request.Key it makes one on P-256.
func (p *Provider) Issue(r Request) (*Identity, error) {
	id := &Identity{}
	if r.Key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		id.Key, r.Key = key, key.Public()
	}
	now := p.Now()
	c := &x509.Certificate{
		Subject: subject(r), KeyUsage: x509.KeyUsageContentCommitment,
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(2, 0, 0),
	}
	if p.URL != "" {
		c.OCSPServer, c.CRLDistributionPoints = []string{p.URL + "/ocsp"}, []string{p.URL + "/crl"}
		c.IssuingCertificateURL = []string{p.URL + "/ca"}
	}
	switch {
	case r.Authentication:
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case !r.NoStatements:
		c.ExtraExtensions = []pkix.Extension{{Id: oidStatements, Value: statements(r)}}
	}
	switch {
	case r.Expired:
		c.NotAfter = now.AddDate(0, 0, -1)
	case r.NotYetValid:
		c.NotBefore = now.AddDate(0, 0, 1)
	}
	if r.SHA1 {
		c.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	if r.Change != nil {
		r.Change(c)
	}
	var err error
	id.Cert, err = create(c, p.CA, r.Key, p.CAKey)
	return id, err
}

// subject is that of EN 319 412-2, clause 4.2.4, or 319 412-3, clause 4.2.1.
func subject(r Request) (n pkix.Name) {
	n.Country = []string{"EE"}
	if r.Seal && r.Organisation != "" {
		n.CommonName, n.Organization = r.Organisation, []string{r.Organisation}
		return n
	}
	n.CommonName, n.SerialNumber = r.GivenName+" "+r.Surname, r.Serial
	add := func(oid asn1.ObjectIdentifier, value string) {
		if value != "" {
			n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: value})
		}
	}
	add(asn1.ObjectIdentifier{2, 5, 4, 42}, r.GivenName)
	add(asn1.ObjectIdentifier{2, 5, 4, 4}, r.Surname)
	return n
}

func statements(r Request) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
		add := func(id asn1.ObjectIdentifier, info func(*cryptobyte.Builder)) {
			b.AddASN1(tag.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(id)
				if info != nil {
					b.AddASN1(tag.SEQUENCE, info)
				}
			})
		}
		if !r.NoCompliance {
			add(oidCompliance, nil)
		}
		if !r.NoQSCD {
			add(oidSSCD, nil)
		}
		if !r.NoType {
			kind := ESign
			switch {
			case r.Seal:
				kind = ESeal
			case r.Web:
				kind = Web
			}
			add(oidType, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(kind) })
		}
		if r.Countries != nil {
			add(oidCountries, func(b *cryptobyte.Builder) {
				for _, c := range r.Countries {
					b.AddASN1(tag.PrintableString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(c)) })
				}
			})
		}
	})
	return b.BytesOrPanic()
}

func create(c, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, by)
	if err != nil {
		return nil, fmt.Errorf("issuing: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Revoke revokes a certificate.
func (p *Provider) Revoke(c *x509.Certificate, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[c.SerialNumber.String()] = at
}

// Forget makes OCSP say "unknown" of a certificate.
func (p *Provider) Forget(c *x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unknown[c.SerialNumber.String()] = true
}

// OCSP answers about a certificate, as of now, for an hour.
func (p *Provider) OCSP(c *x509.Certificate) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: c.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Hour), ProducedAt: now}
	if at, ok := p.revoked[c.SerialNumber.String()]; ok {
		r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, at, ocsp.KeyCompromise
	}
	if p.unknown[c.SerialNumber.String()] {
		r.Status = ocsp.Unknown
	}
	return ocsp.CreateResponse(p.CA, p.CA, r, p.CAKey)
}

// CRL is the list of the issuing authority, as of now, for a day.
func (p *Provider) CRL() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now().UTC()
	list := &x509.RevocationList{Number: big.NewInt(now.Unix()), ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 1)}
	for serial, at := range p.revoked {
		n, _ := new(big.Int).SetString(serial, 10)
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: at, ReasonCode: 1})
	}
	return x509.CreateRevocationList(rand.Reader, list, p.CA, p.CAKey)
}

// Service is the issuing authority's entry in a trusted list.
func (p *Provider) Service() trustlisttest.Service { return trustlisttest.Service{CA: p.CA} }

// Lists is a list of the lists and the list of EE, with the issuing authority as a granted service.
func (p *Provider) Lists() (*trustlisttest.Union, error) {
	return trustlisttest.Make(p.Now(), "", trustlisttest.List{Territory: "EE", Services: []trustlisttest.Service{p.Service()}})
}
