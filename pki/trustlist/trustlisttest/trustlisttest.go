// Package trustlisttest makes trusted lists for tests, the benchmark and the demo: a list of
// the lists and national lists over authorities that are given, signed with keys
// of its own. It is a stand-in: nobody supervises what stands in them.
package trustlisttest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"milterd/signature/xades"
)

// Signer signs a list.
type Signer struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// NewSigner makes a key with a certificate of its own, good for five years
// around a time.
func NewSigner(name string, now time.Time) (*Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Test"}},
		NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(3, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Signer{cert, key}, err
}

// Sign puts an enveloped XAdES signature into a list.
func (s *Signer) Sign(list []byte, at time.Time) ([]byte, error) {
	prep, err := xades.Envelope(list, xades.Params{Certificate: s.Cert, Time: at})
	if err != nil {
		return nil, err
	}
	value, err := prep.SignWith(s.Key)
	if err != nil {
		return nil, err
	}
	element, err := prep.Finish(context.Background(), value, nil)
	if err != nil {
		return nil, err
	}
	return xades.Put(list, element)
}

// Union is a list of the lists with the national lists that it points to.
type Union struct {
	LOTL    List // without pointers: Make adds those to the national lists
	Lists   []List
	Base    string // address that the files are said to lie below; "" for one that is nowhere
	Signers map[string]*Signer
	Files   map[string][]byte // "EU.xml", "EE.xml" …: what Folder in trustlist.Config holds
}

// Make makes and signs a list of the lists, issued an hour before now, and the
// national ones.
func Make(now time.Time, base string, lists ...List) (*Union, error) {
	u := &Union{LOTL: List{Territory: "EU"}, Lists: lists, Base: base}
	return u, u.Sign(now)
}

// Sign makes the files anew, after a change of Lists or of Signers; signers that are
// there are kept.
func (u *Union) Sign(now time.Time) error {
	if u.Signers == nil {
		u.Signers = map[string]*Signer{}
	}
	u.Files = map[string][]byte{}
	if u.Base == "" {
		u.Base = "https://lists.test/"
	}
	lotl := u.LOTL
	lotl.Pointers = slices.Clone(lotl.Pointers)
	for _, l := range u.Lists {
		s, err := u.signer(l.Territory, now)
		if err != nil {
			return err
		}
		if u.Files[l.Territory+".xml"], err = s.Sign(l.XML(now), l.issued(now)); err != nil {
			return fmt.Errorf("signing the list of %s: %w", l.Territory, err)
		}
		lotl.Pointers = append(lotl.Pointers, Pointer{l.Territory, u.Base + l.Territory + ".xml", []*x509.Certificate{s.Cert}})
	}
	s, err := u.signer(lotl.Territory, now)
	if err != nil {
		return err
	}
	u.Files["EU.xml"], err = s.Sign(lotl.XML(now), lotl.issued(now))
	return err
}

func (u *Union) signer(territory string, now time.Time) (*Signer, error) {
	if s := u.Signers[territory]; s != nil {
		return s, nil
	}
	s, err := NewSigner("Signer of the list "+territory, now)
	u.Signers[territory] = s
	return s, err
}

// Trusted is what must be configured: who signs the list of the lists.
func (u *Union) Trusted() []*x509.Certificate {
	return []*x509.Certificate{u.Signers["EU"].Cert}
}

// Write puts the files into a folder.
func (u *Union) Write(folder string) error {
	for name, raw := range u.Files {
		if err := os.WriteFile(filepath.Join(folder, name), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ServeHTTP hands out the files, with an ETag.
func (u *Union) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, ok := u.Files[path.Base(r.URL.Path)]
	if !ok {
		http.NotFound(w, r)
		return
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(raw))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(raw)
}
