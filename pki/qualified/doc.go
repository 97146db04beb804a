// Package qualified decides whether a certificate may make a signature of level
// Qualified (Regulation (EU) 910/2014, articles 3(12) and 28), or the organisation's qualified seal
// (articles 3(27) and 38): issued as qualified by a service that a trusted list vouches for,
// with its key in a qualified device, valid, not revoked, and the signatory's own. Of a
// certificate for level Advanced it asks less, and of other authorities (AcceptAdvanced).
//
// Each check is one function, named after what the standard calls it: ETSI EN 319 412-5
// for the statements in the certificate, ETSI TS 119 615 for how a trusted list overrides
// them, ETSI EN 319 412-1 for the subject's identifiers. Policy.Accept runs
// them in order and stops at the first that fails; its Report goes into the audit trail.
//
// Limits: nothing is fetched here. The caller brings revocation data (package
// pki gathers it, up to the anchor that Policy.Path names) and a Trust.
package qualified
