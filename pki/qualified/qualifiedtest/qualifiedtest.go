// Package qualifiedtest is a stand-in for a qualified trust service provider: a
// certificate authority in memory that issues qualified certificates with any defect, its
// revocation data, and the trusted lists that vouch for it. For tests and the
// demo; what it issues is qualified nowhere.
package qualifiedtest
