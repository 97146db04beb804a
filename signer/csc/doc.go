// Package csc is a client for remote signing at a qualified trust service
// provider (QTSP) through the API of the Cloud Signature Consortium, version 2
// (2.0.0.2; version 1 where it differs in words only). It lists a person's
// credentials, has one of them authorised for given digests, and gets signature
// values or a complete CMS back.
//
// A signature by OAuth2 goes Credentials, Begin, the person's browser to
// Redirect.URL and back, Complete, SignHash or SignDoc. One by PIN and one-time
// password goes Credentials, Challenge, Authorize (Check, where a phone must
// agree first), SignHash or SignDoc. Key is the second for an organisation's
// seal, as a crypto.Signer.
//
// Limits: digests leave this process, never a document, and of a person only the
// user id at the provider. What comes back is checked before it is handed on:
// count, encoding, the leaf's key against what the provider says of it, the leaf
// after the authorisation against the one before, each value against the leaf.
// Whether a certificate is qualified, trusted or revoked is judged elsewhere.
// Reading calls are tried twice; whatever spends an authorisation, once.
//
// References: CSC API v2.0.0.2 (methods by their clause, 11.1 to 11.11), CSC API
// 1.0.4.0, RFC 6749 (OAuth 2.0), RFC 7636 (PKCE), RFC 9396 (authorization_details),
// ETSI TS 119 432.
package csc
