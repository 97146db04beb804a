package pki

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"milterd/workflow"
)

// Identity is a key with its certificates.
type Identity struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // the key's own first, the root last
}

// Leaf is the key's own certificate.
func (i Identity) Leaf() *x509.Certificate { return i.Chain[0] }

// VAT is the VAT number in the certificate with its country, "LU12345678", "" if
// there is none: organizationIdentifier, EN 319 412-1, 5.1.4.
func (i Identity) VAT() string {
	for _, n := range i.Leaf().Subject.Names {
		if id, ok := n.Value.(string); ok && n.Type.Equal(oidOrganizationIdentifier) && len(id) > 6 && id[:3] == "VAT" {
			return id[3:5] + id[6:]
		}
	}
	return ""
}

// Ends is when the first certificate of the chain expires.
func (i Identity) Ends() time.Time {
	end := i.Leaf().NotAfter
	for _, c := range i.Chain {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// Register is where certificates are entered before they are signed, and
// revoked: a workflow.Store is one.
type Register interface {
	Do(ctx context.Context, fn func(workflow.Tx) error) error
	Certificate(ctx context.Context, serial string) (*workflow.Certificate, error)
	Certificates(ctx context.Context, f workflow.CertificateFilter) ([]*workflow.Certificate, error)
}

// Config says where an authority's keys are and how it certifies.
type Config struct {
	Dir      string
	Keys     Keys             // zero: plain files
	URL      string           // base of the web pages, for the addresses in people's certificates; "" means the seal certificate's
	Validity time.Duration    // of people's certificates; 0 means 30 days
	Register Register         // nil for one that only looks: nothing is revoked, and OCSP knows nobody
	Now      func() time.Time // nil means time.Now
}

// Authority is the organisation's certificate authority with the keys that
// work below it. Its methods are safe for concurrent use.
type Authority struct {
	dir           string
	keys          Keys
	url           string
	validity      time.Duration
	register      Register
	now           func() time.Time
	root, issuing Identity
	seal, tsa     Identity
	former        []*Identity // the issuing CA under other names

	mu    sync.Mutex // guards what follows
	state state
	crls  map[string]*crl
}

// Load reads what Init made, to look at it: see Open.
func Load(dir string) (*Authority, error) { return Open(Config{Dir: dir}) }

// Open reads what Init made. It refuses keys that others can read, keys that do
// not belong to their certificate, chains that do not hold and authorities
// that have expired; each error names the file. What else cannot be used, Unlocked
// says.
func Open(c Config) (*Authority, error) {
	a := &Authority{dir: c.Dir, keys: c.Keys, url: strings.TrimRight(c.URL, "/"), validity: cmp.Or(c.Validity, personValidity),
		register: c.Register, now: c.Now, crls: map[string]*crl{}}
	if a.now == nil {
		a.now = time.Now
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("loading keys: %w", err)
	}
	if a.url == "" {
		a.url = strings.TrimSuffix(a.seal.Leaf().CRLDistributionPoints[0], "/pki/"+issuingName+".crl")
	}
	return a, nil
}

func (a *Authority) load() error {
	info, err := os.Stat(a.dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (milterd init makes them)", err)
	}
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s: others may write there (mode %04o): chmod 0700 %s", a.dir, mode, a.dir)
	}
	if a.root, err = a.identity(rootName, nil); err != nil {
		return err
	}
	if err = a.loadIssuing(); err != nil {
		return err
	}
	if a.seal, err = a.identity(sealName, a.issuing.Chain); err != nil {
		return err
	}
	if a.tsa, err = a.identity(tsaName, a.issuing.Chain); err != nil {
		return err
	}
	return a.loadState()
}

// identity reads one pair and checks it against its issuer's chain; the root
// is checked against itself. A file may hold several certificates of the key, by
// issuers that came and went: the one of the present issuer is taken.
func (a *Authority) identity(name string, issuers []*x509.Certificate) (Identity, error) {
	certPath := filepath.Join(a.dir, name+".crt")
	all, err := readCertificates(certPath)
	if err != nil {
		return Identity{}, err
	}
	cert := all[0]
	parent := cert
	if len(issuers) > 0 {
		parent = issuers[0]
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool { return issuedBy(c, parent) })
		if i < 0 {
			return Identity{}, fmt.Errorf("%s was not issued by %q", certPath, parent.Subject.CommonName)
		}
		cert = all[i]
	} else if !issuedBy(cert, parent) {
		return Identity{}, fmt.Errorf("%s was not issued by %q", certPath, parent.Subject.CommonName)
	}
	return a.pair(name, append([]*x509.Certificate{cert}, issuers...))
}

// pair finds the key of a chain's first certificate. Seal and timestamp
// certificates may have expired, because one looks at an authority to renew them;
// their keys are then locked.
func (a *Authority) pair(name string, chain []*x509.Certificate) (Identity, error) {
	cert, certPath := chain[0], filepath.Join(a.dir, name+".crt")
	if err := a.valid(certPath, cert); err != nil {
		if (name == sealName || name == tsaName) && a.now().After(cert.NotAfter) {
			return Identity{Key: locked{public: cert.PublicKey, why: fmt.Errorf("%w: milterd ca renew %s", err, name)}, Chain: chain}, nil
		}
		return Identity{}, err
	}
	keyPath := filepath.Join(a.dir, name+".key")
	var keys []crypto.Signer
	var err error
	if a.keys.inToken(name) {
		keyPath = fmt.Sprintf("the key %q in the token %q", name, a.keys.Label)
		keys, err = a.keys.tokenKeys(name)
	} else {
		keys, err = a.keys.readKeys(keyPath)
	}
	if errors.Is(err, errLocked) {
		return Identity{Key: locked{public: cert.PublicKey, why: err}, Chain: chain}, nil
	}
	if err != nil {
		return Identity{}, err
	}
	pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	i := slices.IndexFunc(keys, func(k crypto.Signer) bool { return ok && pub.Equal(k.Public()) })
	if i < 0 {
		return Identity{}, fmt.Errorf("%s does not belong to %s", keyPath, certPath)
	}
	return Identity{Key: keys[i], Chain: chain}, nil
}

func (a *Authority) valid(path string, cert *x509.Certificate) error {
	switch now := a.now(); {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%s is valid from %s: is the clock right?", path, cert.NotBefore.Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return fmt.Errorf("%s expired at %s", path, cert.NotAfter.Format(time.RFC3339))
	}
	return nil
}

func issuedBy(c, parent *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, parent.RawSubject) && c.CheckSignatureFrom(parent) == nil
}

// readCertificates reads at least one certificate in PEM form.
func readCertificates(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	out, err := parseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in PEM form")
	}
	return out, nil
}

// Organisation is the legal name that stands in the seal certificate.
func (a *Authority) Organisation() string { return a.seal.Leaf().Subject.Organization[0] }

// Seal is the organisation's seal: the key for "sealed by ORG on behalf of NAME"
// and for the seal over the whole.
func (a *Authority) Seal() Identity { return a.seal }

// TSA is the embedded timestamp authority.
func (a *Authority) TSA() Identity { return a.tsa }

// RootCertificates are those that results are judged by: the root above the
// issuing CA first, then those that were above it before, and our own.
func (a *Authority) RootCertificates() []*x509.Certificate {
	var out []*x509.Certificate
	for _, i := range append([]*Identity{&a.issuing, &a.root}, a.former...) {
		if last := i.Chain[len(i.Chain)-1]; !slices.ContainsFunc(out, last.Equal) {
			out = append(out, last)
		}
	}
	return out
}

// RootAddress is where the root certificate that people must trust is to be had
// from us; "" where that is the company's.
func (a *Authority) RootAddress() string {
	if !a.RootCertificates()[0].Equal(a.root.Leaf()) {
		return ""
	}
	return a.url + "/pki/" + rootName + ".cer"
}

// Roots is a pool with the RootCertificates alone.
func (a *Authority) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range a.RootCertificates() {
		p.AddCert(c)
	}
	return p
}

// authorities are those whose lists we make: our root and the issuing CA, under
// its present name and former ones.
func (a *Authority) authorities() []*Identity {
	return append([]*Identity{&a.root, &a.issuing}, a.former...)
}

// issuer gives the identity that issued a certificate; nil for a foreign one.
func (a *Authority) issuer(c *x509.Certificate) *Identity {
	for _, i := range a.authorities() {
		if bytes.Equal(c.RawIssuer, i.Leaf().RawSubject) && bytes.Equal(c.AuthorityKeyId, i.Leaf().SubjectKeyId) {
			return i
		}
	}
	return nil
}

// Above gives the chain above a certificate of our own, up to the root; nothing
// for a root or a foreign one.
func (a *Authority) Above(c *x509.Certificate) []*x509.Certificate {
	switch by := a.issuer(c); {
	case c.Equal(a.issuing.Leaf()):
		return a.issuing.Chain[1:]
	case by == nil || c.Equal(by.Leaf()):
		return nil
	default:
		return by.Chain
	}
}
