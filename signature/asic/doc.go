// Package asic makes and opens ASiC containers with CAdES signatures, and ASiC-E
// with XAdES (ETSI EN 319 162-1): ZIP files that hold documents of any kind beside their signatures.
// ASiC-S has one document, ASiC-E any number and an ASiCManifest for each
// signature.
//
// Signatories need not wait for each other. Prepare needs the documents and a
// number, Finish gives a Signature, and Build makes the container of whatever
// signatures there are. Then AddEvidence (B-LT) and Archive (B-LTA), in this
// order and again before a timestamp authority's certificate ends.
//
// Open is strict, because a ZIP file can be many files to many readers: one
// central directory that says what the local headers say, entries one after the
// other from the first byte on and nothing between or behind, no name twice
// whatever the case, no paths that lead elsewhere, nothing encrypted, bounded
// sizes. What it opens, every reader sees alike. Signatures are judged by package
// validate, not here.
package asic
