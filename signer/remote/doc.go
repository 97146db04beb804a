// Package remote has signatories' keys at trust service providers (QTSP) sign
// what was prepared: it finds a person's certificate, has the person agree, by
// what they type or on the provider's own page, and brings back the values. The
// protocol itself is package csc's.
//
// Limits: a person is known to a provider by their mail address, and by
// milterd's own token; keys whose certificate is made for each signature
// (one-shot) are refused. Whether a certificate is qualified is decided elsewhere.
package remote
