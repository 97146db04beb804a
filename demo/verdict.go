package demo

import (
	"crypto/x509"
	"errors"
	"fmt"

	"milterd/validate"
)

// verdict is one line about a PDF for the page, "" if nothing is signed.
func (h *house) verdict(content []byte) string {
	r, err := validate.Validate(content, validate.Options{Anchors: h.anchors()})
	if err != nil || len(r.Signatures) == 0 {
		return ""
	}
	signatures, level := summary(r)
	return fmt.Sprintf("%s, %s, %d signatures", r.Indication, level, signatures)
}

// judge demands that every signature of a PDF holds and that it reaches
// PAdES-BASELINE-LTA.
func (h *house) judge(content []byte) (string, error) {
	r, err := validate.Validate(content, validate.Options{Anchors: h.anchors()})
	if err != nil {
		return "", err
	}
	signatures, level := summary(r)
	if !r.Passed() || level != validate.LevelLTA {
		return "", errors.New(r.Text())
	}
	return fmt.Sprintf("%s, %s, %d signatures", r.Indication, level, signatures), nil
}

func (h *house) anchors() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(h.root)
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
