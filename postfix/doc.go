// Package postfix knows what Postfix must be told: it prints the settings of
// the sign domain with the reason of each, puts them into an installed Postfix
// through its own postconf(1), and runs a private Postfix in a folder of its own,
// for tests and for the demo. Whether a whole site works, package doctor says.
//
// Limits: it edits no file of Postfix by hand, and never touches master.cf.
//
// Reference: postconf(5), MILTER_README, docs/postfix.md (what was measured).
package postfix
