// Package xades makes and reads XAdES baseline signatures (ETSI EN 319 132-1,
// clause 6) of levels B-B, B-T, B-LT and B-LTA: enveloped in an XML document, or
// detached from files of any kind.
//
// A signature has two phases, as in package pades: Envelope or Detach gives the
// canonical SignedInfo that somebody signs, Finish verifies the value, asks for
// its time and gives the ds:Signature element. For a detached signature that is
// the file; Put puts it into the document that was enveloped, before the root's
// end, with every other byte as it was. Signatories sign beside each other:
// nobody waits for a colleague, since what is signed of a document is all of it
// but ds:Signature elements.
//
// Then AddEvidence puts certificates and revocation data issued after the
// signature's time into it (B-LT), and Archive covers everything with an archive
// timestamp (B-LTA); before the certificate of that one's authority ends,
// AddEvidence and Archive once more.
//
// Read is for signatures of anybody. It follows no address, knows no transforms
// but those listed in reference.go, and says what each reference covers; what is
// not read is a Problem or a note, never passed over. Chains, revocation and
// levels are judged by package validate.
package xades
