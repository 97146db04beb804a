// Package remote has signatories' keys at trust service providers (QTSP) sign
// what was prepared: it finds a person's certificate, has the person agree, by
// what they type or on the provider's own page, and brings back the values. The
// protocol itself is package csc's. Phones does the same with a server of the
// organisation's (package openotp), which gets the documents themselves.
//
// Limits: a person is known to a provider by their mail address, and by
// milterd's own token. Where the certificate is made for each signature (one-shot), what is
// signed for is the digest of a ByteRange, and what comes back is a complete CMS: for
// PDFs only. Whether a certificate is good for the level is decided elsewhere.
package remote
