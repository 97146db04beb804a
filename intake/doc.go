// Package intake decides what a mail to the sign domain becomes: a signing
// session, a refusal with a sentence that a person can act on, or nothing at
// all (loops, and what nobody may be told about). It implements milter.Intake:
// proof of the sender, recipients to people, documents inspected, then
// workflow.Desk.Open.
//
// It sends no mail: whoever is refused is told during the SMTP conversation. At
// the LMTP door, where a refusal becomes a mail, only a proven sender is told
// (design.md, decisions 3 and 4). Who is a stranger learns nothing about who is
// in the directory.
//
// Reference: RFC 5321, RFC 3463 (enhanced codes), RFC 3834 (loops), RFC 2142
// (postmaster, abuse). Package origin reads what a mail says of its sender.
package intake
