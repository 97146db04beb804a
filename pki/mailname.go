package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
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

// IsSeal reports whether a certificate is of the kind that an organisation seals
// with, as Init makes it: for documents, and without anybody's address. Each
// signatory has a key with a certificate below the same CA, and a company's CA
// has many others below it.
func IsSeal(c *x509.Certificate) bool {
	personal := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	return !personal && !c.IsCA && c.KeyUsage&x509.KeyUsageDigitalSignature != 0 &&
		slices.ContainsFunc(c.UnknownExtKeyUsage, oidDocumentSigning.Equal)
}
