// Package cades makes CAdES baseline signatures (ETSI EN 319 122-1, clause 6) of
// levels B-B, B-T, B-LT and B-LTA over files of any kind: detached, or with the
// file inside (Attach).
//
// A signature has two phases, as in package pades: Prepare gives the attributes
// that somebody signs, Finish verifies the value, asks for its time and gives the
// message. Nobody has to wait for a colleague: signatories sign the same content
// beside each other, and Join puts their messages into one.
//
// Then AddEvidence puts certificates and revocation data issued after the
// signature's time into the message (B-LT), and Archive covers content, signature
// and evidence with an archive timestamp (B-LTA, clause 5.5); before the
// certificate of that one's authority ends, AddEvidence and Archive once more.
//
// Chains, revocation and levels are judged by package validate, not here.
package cades
