// Package validate judges the signatures of a file, ours and foreign ones, in the
// way of ETSI EN 319 102-1: format, integrity, the signer's chain, revocation,
// proven time, and what was changed after each signature. Files are PDF, CAdES
// messages, ASiC containers with CAdES, and XML with XAdES; File tells which.
//
// It reads the file and what Options bring, and asks no network. Each check is
// a plain function named after what its clause asks for; the time is given.
//
// How it departs from the letter of EN 319 102-1, and why:
//   - Revocation data of a signer must be issued at or after the proven time of
//     the signature (TRY_LATER otherwise). For authorities and timestamps it
//     must be good at the time of control; where the last timestamp's data has
//     grown old, that is noted, not failed: offline, every archive would fail.
//   - Existence is proven by timestamps alone, for whole revisions, for what the
//     index of an archive timestamp names, and for the files of an archive manifest;
//     the time from which a single certificate or list existed is not tracked.
//   - Changes that ISO 32000-2 does not grant after a signature give
//     INDETERMINATE, SIG_CONSTRAINTS_FAILURE: the signed revision is intact,
//     what a reader shows is not that revision. So does a file in a container that
//     no signature covers.
//   - An XAdES signature that covers only a part of its document, follows an
//     unknown transform, or leaves something out that readers could take for
//     signed (an element within it, a comment that cuts a text in two), gives the
//     same. Policies, counter-signatures and properties that are not looked at are
//     noted.
package validate
