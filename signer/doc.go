// Package signer implements workflow.Signer for level Standard: where the
// signature value comes from is the organisation's seal key, which signs on
// behalf of each signatory and closes every document with its own seal.
//
// Each result goes prepare, sign, timestamp, revocation data issued after that
// time, and is verified by package validate, which knows nothing of how it was
// made, before it is handed out (style.md, 6). Levels are B-LT after Sign and
// B-LTA after Seal (ETSI EN 319 142-1, 6). The key is a crypto.Signer, so
// that it can live in an HSM.
//
// Errors are retried, unless they are a *workflow.Refusal: then the document itself
// forbids what was asked, and no later try will fare better.
package signer
