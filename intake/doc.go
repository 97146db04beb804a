// Package intake decides what a mail to the sign domain becomes: a signing
// session, a refusal with a sentence that a person can act on, or nothing at
// all (loops). It implements milter.Intake: proof of the sender, recipients to
// people, documents inspected, then workflow.Desk.Open.
//
// It sends no mail: whoever is refused is told during the SMTP conversation
// (design.md, decisions 3 and 4).
//
// Reference: RFC 5321, RFC 3463 (enhanced codes), RFC 3834 (loops), RFC 2142
// (postmaster, abuse).
package intake
