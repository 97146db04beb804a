package demo

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"milterd/validate"
)

// verdict is one line about a file for the page, "" if nothing is signed.
func (h *house) verdict(content []byte) string {
	r, err := validate.File(content, validate.Options{Anchors: h.anchors()})
	if err != nil || len(r.Signatures) == 0 {
		return ""
	}
	signatures, level := summary(r)
	return fmt.Sprintf("%s, %s, %d signatures", r.Indication, level, signatures)
}

// judge demands that every signature of a file holds and that it reaches the
// baseline level LTA of its form.
func (h *house) judge(content []byte) (string, error) {
	r, err := validate.File(content, validate.Options{Anchors: h.anchors()})
	if err != nil {
		return "", err
	}
	signatures, level := summary(r)
	if !r.Passed() || !strings.HasSuffix(string(level), "-BASELINE-LTA") {
		return "", errors.New(r.Text())
	}
	return fmt.Sprintf("%s, %s, %d signatures", r.Indication, level, signatures), nil
}

func (h *house) anchors() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.root)
	if h.provider != nil {
		pool.AddCert(h.provider.authority.CA)
	}
	return pool
}

// summary counts the signatures and gives the level of the last one, which is
// the organisation's seal over all.
func summary(r *validate.Result) (signatures int, level validate.Level) {
	for _, s := range r.Signatures {
		if s.Kind == validate.KindSignature {
			signatures++
			level = s.Level
		}
	}
	return signatures, level
}

// errNotListed says that a revocation is not known yet.
var errNotListed = errors.New("the revocation list does not name the certificate")

// judgeOwn is judge for a document that a person signed with a key of their own:
// besides the seal, one signature, of a certificate in the person's name, which is
// the device's, and which says so. Where lists are given, they must say that the certificate was revoked since.
func (h *house) judgeOwn(content []byte, who Person, certificate []byte, crls ...[]byte) (string, error) {
	r, err := validate.File(content, validate.Options{Anchors: h.anchors(), CRLs: crls})
	if err != nil {
		return "", err
	}
	signatures, level := summary(r)
	if !r.Passed() || !strings.HasSuffix(string(level), "-BASELINE-LTA") || signatures != 2 {
		return "", errors.New(r.Text())
	}
	s := r.Signatures[0]
	switch {
	case !bytes.Equal(s.Certificate, certificate):
		return "", fmt.Errorf("signed with the certificate %s of %s, not the device's", s.Serial, s.Subject)
	case !strings.Contains(s.Subject, "CN="+who.Name+",") && !strings.HasPrefix(s.Subject, "CN="+who.Name) || r.Format == validate.PDF && s.Name != who.Name:
		return "", fmt.Errorf("signed by %s, not by %s", s.Subject, who.Name)
	case r.Format == validate.PDF && !strings.HasPrefix(s.Reason, "Advanced: "):
		return "", fmt.Errorf("its reason is %q", s.Reason)
	}
	if len(crls) > 0 && s.Revoked.IsZero() {
		return "", errNotListed
	}
	return strings.Join(append([]string{fmt.Sprintf("%s, %s, signer %s, %q", r.Indication, level, s.Subject, s.Reason)}, s.Notes...), "; "), nil
}
