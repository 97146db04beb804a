// Package csctest is a stand-in for a qualified trust service provider (QTSP): a
// server on loopback that follows the API of the Cloud Signature Consortium,
// versions 2 and 1, with people, keys, PINs, one-time passwords and an OAuth2
// page. It is for tests and for the demo, where it must be labelled as the
// stand-in that it is: nothing that it signs is qualified.
//
// It takes nothing on trust: a field that the interface does not have, another media
// type, a token of the wrong scope, a digest of the wrong length or one that was not
// authorised, a used or expired SAD, a verifier or redirect_uri that differs, all
// of it is refused with the interface's own error, and Refused keeps why. It shares no
// code with the client. It can be told to misbehave, see Behaviour.
//
// Limits: one client; certificates come from the caller's own authority (Config.Issue);
// refresh and revocation of tokens, pushed requests, timestamps and asynchronous
// signing are not there.
//
// References: CSC API v2.0.0.2 and 1.0.4.0, RFC 6749, RFC 7636.
package csctest
