// Package origin reads in the bytes of a mail who sent it: a DKIM signature of
// the organisation's own domain, what this site's filter found about one
// (Authentication-Results), and the login that this site's Postfix wrote into
// its Received line.
//
// Everything below Postfix's own Received line was written by the client, and
// so was everything that a milter sees: there only the signature itself counts.
//
// Limits: five signatures of a mail, one DNS question for each, five seconds
// for all; it knows domains and logins, not people. What DKIM proves is that a
// server of the domain let the mail out, not which person wrote it.
//
// Reference: RFC 6376, 8301 and 8463 (DKIM), RFC 7489, 3.1 (alignment), RFC 8601
// (Authentication-Results), RFC 5321, 4.4 and Postfix's smtpd (Received).
package origin
