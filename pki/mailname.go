package pki

import (
	"bytes"
	"crypto/x509"
)

// IsFor reports whether a certificate names a mail address, and no other, as the
// authority writes it.
func IsFor(c *x509.Certificate, mail string) bool {
	want, err := mailName(mail)
	if err != nil {
		return false
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			return bytes.Equal(e.Value, want.Value)
		}
	}
	return false
}
