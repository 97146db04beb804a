// Package auth decides who is at the page: keys from which links and codes are
// derived, mailed codes with their limits, remembered devices; passkeys, whose
// challenges bind what they are asked for; one-time passwords; and enrolments,
// which take a mailed code and a second proof, because a mailbox alone never
// becomes a named certificate (design.md, decision 7).
//
// It never sees a signature value of a document, and it stores nothing that
// would let a reader of the database act for somebody: tokens and cookies are
// kept as keyed hashes, codes not at all, secrets of one-time passwords
// encrypted (decision 5). Directory passwords pass through and are kept nowhere.
//
// Reference: W3C Web Authentication Level 3; RFC 6238 (TOTP), RFC 4226.
package auth
