// Package pki holds the organisation's keys and its view of time and
// revocation: a certificate authority with the seal, the timestamp certificate and
// people's certificates below it, alone or below a company's CA; CRLs made on
// demand and an OCSP responder; the timestamp authority that is embedded (the
// organisation's own clock), the client for external ones, and the evidence about
// certificates that a PDF's DSS carries.
//
// Limits: it knows no documents and no sessions; of package workflow it uses the
// register of certificates. Keys are files in one directory that only its owner
// can read, or in a PKCS#11 token; whoever signs sees a crypto.Signer.
//
// References: RFC 5280 (certificates, CRLs), RFC 2986 (requests),
// RFC 6960, RFC 5019 and RFC 9654 (OCSP), RFC 3161 and
// RFC 5816 (timestamps), RFC 9336 (document signing key purpose), ETSI
// EN 319 412-1 and -3 (names and profile of seal certificates), EN 319 422
// (timestamp profile).
package pki
