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
	Role        string              // what the signer claims to be, in words, signed with it; "" for nothing
}

// maxMIME bounds a media type (RFC 6838, section 4.2: 127 characters each side).
const maxMIME = 255

// maxRole bounds a claimed role in bytes, as it is read.
const maxRole = 1024

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
	var err error
	if p.Algorithm, err = cms.Usable(p.Certificate, p.Algorithm, p.at()); err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	h := p.Algorithm.Hash().New()
	h.Write(content)
	return PrepareDigest(h.Sum(nil), p)
}

// at is the claimed time as signing-time can say it.
func (p *Params) at() time.Time { return p.Time.UTC().Truncate(time.Second) }

// PrepareDigest is Prepare for content that is elsewhere: digest is its digest
// under the hash of p.Algorithm, which must be set.
func PrepareDigest(digest []byte, p Params) (*Preparation, error) {
	prep, err := prepare(digest, p)
	if err != nil {
		return nil, fmt.Errorf("preparing a signature: %w", err)
	}
	return prep, nil
}

func prepare(digest []byte, p Params) (*Preparation, error) {
	if p.Algorithm == "" {
		return nil, errors.New("a digest without its algorithm")
	}
	at := p.at()
	if _, err := cms.Usable(p.Certificate, p.Algorithm, at); err != nil {
		return nil, err
	}
	if len(p.MIME) > maxMIME || !utf8.ValidString(p.MIME) || strings.ContainsFunc(p.MIME, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("media type %.40q: longer than %d bytes, or no text", p.MIME, maxMIME)
	}
	if len(p.Role) > maxRole || !utf8.ValidString(p.Role) {
		return nil, fmt.Errorf("claimed role %.40q: longer than %d bytes, or no text", p.Role, maxRole)
	}
	prep := &Preparation{Time: at, Algorithm: p.Algorithm, Digest: digest, Certificates: [][]byte{p.Certificate.Raw}}
	for _, c := range p.Chain {
		prep.Certificates = append(prep.Certificates, c.Raw)
	}
	var err error
	prep.Attributes, err = cms.CAdESAttributes(p.Algorithm, digest, p.Certificate, at, p.MIME, p.Role)
	return prep, err
}
