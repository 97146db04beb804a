// Package evidence writes the evidence file of a session and checks it again,
// years later and offline: from the file alone, the organisation's root
// certificate, and the signed documents where they are at hand.
//
// Three things hold what such a file says, and Check looks at each for itself:
//
//   - what the signatory's own devices made: the passkey's answer to a challenge
//     that names the session, the person and what was signed (W3C WebAuthn,
//     7.2), and the signature value by the key of the device (RFC 5652). Nobody
//     else can make these, not even the organisation.
//   - the audit trail, whose entries are chained by their hashes.
//   - the organisation's seal over all of it, with a timestamp: nobody but the
//     organisation can change a word.
//
// It decides nothing about sessions and reads no database. That a passkey was
// the person's, and a certificate issued to them, is the organisation's word,
// given at enrolment; the file shows when that was and by which second proof.
package evidence
