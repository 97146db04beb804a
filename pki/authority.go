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
	URL      string           // base of the web pages, for the addresses in people's certificates; "" means the seal certificate's
	Validity time.Duration    // of people's certificates; 0 means 30 days
	Register Register         // nil for one that only looks: nothing is revoked, and OCSP knows nobody
	Now      func() time.Time // nil means time.Now
}

// Authority is the organisation's certificate authority with the keys that
// work below it. Its methods are safe for concurrent use.
type Authority struct {
	dir           string
	url           string
	validity      time.Duration
	register      Register
	now           func() time.Time
	root, issuing Identity
	seal, tsa     Identity

	mu    sync.Mutex // guards what follows
	state state
	crls  map[string]*crl
}

// Load reads what Init made, to look at it: see Open.
func Load(dir string) (*Authority, error) { return Open(Config{Dir: dir}) }

// Open reads what Init made. It refuses keys that others can read, keys that do
// not belong to their certificate, chains that do not hold and certificates
// that have expired; each error names the file.
func Open(c Config) (*Authority, error) {
	a := &Authority{dir: c.Dir, url: strings.TrimRight(c.URL, "/"), validity: cmp.Or(c.Validity, personValidity),
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
	if a.issuing, err = a.identity(issuingName, a.root.Chain); err != nil {
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
// is checked against itself.
func (a *Authority) identity(name string, issuers []*x509.Certificate) (Identity, error) {
	certPath, keyPath := filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	cert, err := readCertificate(certPath)
	if err != nil {
		return Identity{}, err
	}
	key, err := readKey(keyPath)
	if err != nil {
		return Identity{}, err
	}
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return Identity{}, fmt.Errorf("%s does not belong to %s", keyPath, certPath)
	}
	parent := cert
	if len(issuers) > 0 {
		parent = issuers[0]
	}
	if err := cert.CheckSignatureFrom(parent); err != nil || !bytes.Equal(cert.RawIssuer, parent.RawSubject) {
		return Identity{}, fmt.Errorf("%s was not issued by %q", certPath, parent.Subject.CommonName)
	}
	switch now := a.now(); {
	case now.Before(cert.NotBefore):
		return Identity{}, fmt.Errorf("%s is valid from %s: is the clock right?", certPath, cert.NotBefore.Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return Identity{}, fmt.Errorf("%s expired at %s", certPath, cert.NotAfter.Format(time.RFC3339))
	}
	return Identity{Key: key, Chain: append([]*x509.Certificate{cert}, issuers...)}, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate in PEM form", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readKey refuses a file that anybody but its owner can read or write. It
// asks the open file, so that nobody can put another one there in between.
func readKey(path string) (crypto.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may use this key (mode %04o): chmod 0600 %s", path, mode, path)
	}
	b := make([]byte, 64<<10)
	n, err := f.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	block, _ := pem.Decode(b[:n])
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: no private key in PEM form (PKCS #8)", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: this kind of key cannot sign", path)
	}
	return signer, nil
}

// Organisation is the legal name that stands in the seal certificate.
func (a *Authority) Organisation() string { return a.seal.Leaf().Subject.Organization[0] }

// Seal is the organisation's seal: the key for "sealed by ORG on behalf of NAME"
// and for the seal over the whole.
func (a *Authority) Seal() Identity { return a.seal }

// Roots is a pool with the organisation's root alone.
func (a *Authority) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root.Leaf())
	return p
}

// authorities are those whose lists we make: the root and the issuing CA below it.
func (a *Authority) authorities() []*Identity { return []*Identity{&a.root, &a.issuing} }

// issuer gives the identity that issued a certificate; nil for a foreign one.
func (a *Authority) issuer(c *x509.Certificate) *Identity {
	for _, i := range a.authorities() {
		if bytes.Equal(c.RawIssuer, i.Leaf().RawSubject) && bytes.Equal(c.AuthorityKeyId, i.Leaf().SubjectKeyId) {
			return i
		}
	}
	return nil
}
