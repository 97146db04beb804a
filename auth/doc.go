// Package auth decides who is at the page: keys from which links and codes are
// derived, mailed codes with their limits, remembered devices.
//
// It never sees a signature value, and it stores nothing that would let a
// reader of the database act for somebody: tokens and cookies are kept as
// keyed hashes, codes not at all (design.md, decisions 5 and 7).
package auth
