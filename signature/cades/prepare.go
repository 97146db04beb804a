package cades

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"milterd/signature/cms"
)

// Params says who signs what with.
type Params struct {
	Certificate *x509.Certificate
	Chain       []*x509.Certificate // its issuers, embedded with it; the root may be left out
	Algorithm   cms.Algorithm       // empty: the usual one of the certificate's key
	Time        time.Time           // claimed time, which CAdES signs as signing-time, in whole seconds
	MIME        string              // media type of the content, signed with it; "" for none
}

// maxMIME bounds a media type (RFC 6838, section 4.2: 127 characters each side).
const maxMIME = 255

// Preparation is a signature that waits for its value. It is plain data: what
// JSON keeps of it suffices to Finish it.
type Preparation struct {
	Time         time.Time     `json:"time"`
	Algorithm    cms.Algorithm `json:"algorithm"`
	Certificates [][]byte      `json:"certificates"` // DER, the signer's first
	Digest       []byte        `json:"digest"`       // of the content, under the hash of Algorithm
	Attributes   []byte        `json:"attributes"`   // DER of the signed attributes: this is what gets signed
}

// Prepare says what is to be signed for content. It fails with cms.ErrExpired
// (wrapped) if the certificate is not valid at p.Time.
func Prepare(content []byte, p Params) (*Preparation, error) {
	if err := p.complete(); err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	h := p.Algorithm.Hash().New()
	h.Write(content)
	return PrepareDigest(h.Sum(nil), p)
}

// PrepareDigest is Prepare for content that is elsewhere: digest is its digest
// under the hash of p.Algorithm, which must be set.
func PrepareDigest(digest []byte, p Params) (*Preparation, error) {
	prep, err := prepare(digest, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	return prep, nil
}

// complete checks and fills in what Prepare needs before anything is hashed.
func (p *Params) complete() error {
	if p.Certificate == nil {
		return errors.New("no certificate")
	}
	if p.Algorithm == "" {
		var err error
		if p.Algorithm, err = cms.AlgorithmFor(p.Certificate.PublicKey); err != nil {
			return err
		}
	}
	if p.Algorithm.Hash() == 0 {
		return fmt.Errorf("%w: %q", cms.ErrAlgorithm, p.Algorithm)
	}
	return nil
}

func prepare(digest []byte, p Params) (*Preparation, error) {
	if p.Algorithm == "" {
		return nil, errors.New("a digest without its algorithm")
	}
	if err := p.complete(); err != nil {
		return nil, err
	}
	at := p.Time.UTC().Truncate(time.Second) // what signing-time can say
	if at.Before(p.Certificate.NotBefore) || at.After(p.Certificate.NotAfter) {
		return nil, fmt.Errorf("%w: %s", cms.ErrExpired, at.Format(time.RFC3339))
	}
	if len(p.MIME) > maxMIME || !utf8.ValidString(p.MIME) || strings.ContainsFunc(p.MIME, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("media type %.40q: longer than %d bytes, or no text", p.MIME, maxMIME)
	}
	prep := &Preparation{Time: at, Algorithm: p.Algorithm, Digest: digest, Certificates: [][]byte{p.Certificate.Raw}}
	for _, c := range p.Chain {
		prep.Certificates = append(prep.Certificates, c.Raw)
	}
	var err error
	prep.Attributes, err = cms.CAdESAttributes(p.Algorithm, digest, p.Certificate, at, p.MIME)
	return prep, err
}

// chain gives the parsed certificates, the signer's first.
func (p *Preparation) chain() ([]*x509.Certificate, error) {
	if len(p.Certificates) == 0 {
		return nil, errors.New("preparation without a certificate")
	}
	var out []*x509.Certificate
	for _, der := range p.Certificates {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate of the preparation: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}
