// Package postfix knows what Postfix must be told: it prints the settings of
// the sign domain with the reason of each, and runs a private Postfix in a
// folder of its own, for tests and for the demo.
//
// Limits: it changes no installed Postfix.
//
// Reference: postconf(5), MILTER_README, docs/postfix.md (what was measured).
package postfix
