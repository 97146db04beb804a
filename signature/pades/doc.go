// Package pades puts electronic signatures into PDF files: PAdES baseline
// signatures (ETSI EN 319 142-1) of levels B-B, B-T, B-LT and B-LTA.
//
// Every function takes the head, the whole file as it is, and gives the suffix
// that must follow it: nothing that stands in the file is touched or copied.
//
// A signature has two phases. Prepare writes the revision with a place for the
// signature and says what is to be signed; the Preparation can be kept as JSON.
// Finish takes the signature value, from wherever it comes, verifies it, asks
// for its time and puts both in place. Sign is both with a key in this process.
//
// Order matters: a later signature covers the earlier one with its timestamp,
// so Finish comes before the next Prepare; revocation data for AddDSS must be
// issued after the signature's time; Timestamp over all of it comes last and
// makes B-LTA.
//
// Chains, revocation and levels are judged by package validate, not here.
package pades
