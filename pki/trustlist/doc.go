// Package trustlist answers one question: is the authority that issued a
// certificate one whose certificates are qualified? It reads EU trusted lists (ETSI
// TS 119 612, v2.1.1 and later): the list of the lists, and the national lists
// that it points to.
//
// A list counts when its XAdES signature is good over the whole document and made
// with one of the certificates that are pinned for it: for the list of the lists
// those that the administrator configured (they are printed in the Official
// Journal), for a national list those in the pointer of the list of the lists.
// Nothing is read from a list before that. A list whose NextUpdate has passed, whose
// issue date lies ahead, or that is older than one seen before, does not count.
//
// When the signers of the list of the lists change, pivots lead from the configured
// certificates to the new ones (TS 119 615, clause 4.1).
//
// Limits: only services of type CA/QC are kept. Certificates that sign lists must be pinned; their chains and
// their revocation are not looked at, because who pins withdraws a certificate by
// dropping it from the pointer.
package trustlist
