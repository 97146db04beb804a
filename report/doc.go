// Package report writes the certificate of completion: a PDF for people that
// tells what a session asked for, who signed how, what every document's digest
// was before and after, and every event of the audit trail.
//
// It reports what the workflow recorded and decides nothing. It never claims
// more than the level is: Standard says "sealed on behalf of", Advanced "signed
// with a key of their own". The PDF that it gives is not signed; the seal comes
// from signer, as for any other document.
// Reference: design.md, decisions 11, 12 and 18.
package report
