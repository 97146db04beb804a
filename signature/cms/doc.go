// Package cms builds, reads and verifies the CMS messages (RFC 5652) that
// electronic signatures are made of: SignedData with detached content and one
// signer, with the signed attributes of CAdES (ETSI EN 319 122-1), and RFC 3161
// timestamp tokens.
//
// Signing has two phases. SignedAttributes gives the bytes that somebody signs:
// a key in this process, a browser, a card, a trust service. SignedData.Marshal
// puts the value into a message, after it has verified it.
//
// Reading is strict: DER only, one signer, signed attributes present, each
// attribute once, and limits on size and counts (Parse). Checks are methods of
// Message and Token, one question each; what they answer is judged in package
// validate. Chains and revocation are not decided here, except by VerifyToken,
// which a client uses on the token that it has just received.
//
// SHA-1 and MD5 are not accepted for anything that is signed (ErrAlgorithm).
package cms
