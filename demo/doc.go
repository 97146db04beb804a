// Package demo shows the whole desk on one machine with nothing but Go: a mail
// server on loopback that drives milterd through the real milter protocol, a
// page with every mailbox, and milterd itself, wired as in `milterd serve` by
// package program on a temporary data folder.
//
// The mail server is a stand-in for Postfix: it keeps mailboxes in memory,
// asks the milter at the same moments with the same macros, and deletes
// recipients as Postfix would. Whether milterd works with Postfix is shown by
// the tests of package postfix; the cases of internal/cases run against both.
//
// Limits: everything is gone when it ends, everybody's password is "demo", and
// it listens on loopback only. References: RFC 5321, RFC 4954 (AUTH), RFC 6409
// (submission), Sendmail's milter protocol.
package demo
