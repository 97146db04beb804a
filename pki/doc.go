// Package pki holds the organisation's keys and its view of time and
// revocation: a small certificate authority with the seal and the timestamp
// certificate below it, CRLs made on demand, the timestamp authority that is
// embedded (the organisation's own clock), the client for external ones, and
// the evidence about certificates that a PDF's DSS carries.
//
// Limits: it knows no documents and no sessions. Keys are files in one
// directory that only its owner can read; whoever signs sees a crypto.Signer,
// so that a PKCS#11 token can stand there too.
//
// References: RFC 5280 (certificates, CRLs), RFC 6960 (OCSP), RFC 3161 and
// RFC 5816 (timestamps), RFC 9336 (document signing key purpose), ETSI
// EN 319 412-1 and -3 (names and profile of seal certificates), EN 319 422
// (timestamp profile).
package pki
