// Package milter is the door through which Postfix shows milterd every mail.
// It turns the milter protocol into three questions to an Intake: is this
// recipient yours, may this sender write to it, and here is the whole mail: do
// you take it? Mail to the sign domain that passed unseen (by an alias, from
// Postfix itself, with milterd away) comes later by LMTP, to the same Intake.
//
// What it never does: read MIME, know levels, look at the body of mail that is
// not for the sign domain. Mail for others is let go at the end of its header,
// of which nothing is kept. Recipients that an Intake took are deleted from the
// mail, in the form that the client wrote and in the form that Postfix made of
// it, and the mail goes on to everyone else; it is never discarded as a whole,
// because Postfix then drops it for every recipient and throttles (measured:
// docs/postfix.md).
//
// Limits: size of a mail, number of connections, idle time, time for an answer.
//
// Reference: Sendmail's milter protocol version 2 as Postfix speaks it
// (MILTER_README); RFC 2033 (LMTP), RFC 5321, RFC 3463.
package milter
