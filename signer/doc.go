// Package signer implements workflow.Signer: where a signature value comes from.
// At level Standard it is the organisation's seal key, which signs on behalf of
// each signatory; at level Advanced the key on the signatory's own device, whose
// value arrives between Prepare and Complete (design.md, decision 10). Every
// document is closed with the organisation's own seal.
//
// Each result goes prepare, sign, timestamp, revocation data issued after that
// time, and is verified by package validate, which knows nothing of how it was
// made, before it is handed out (style.md, 6). Levels are B-LT after Sign and
// Complete, B-LTA after Seal (ETSI EN 319 142-1, 6). The organisation's key is a
// crypto.Signer, so that it can live in an HSM.
//
// Errors are retried, unless they are a *workflow.Refusal: then the document itself
// forbids what was asked and no later try will fare better, or, if its Code is
// below 500, the signatory must sign again.
package signer
