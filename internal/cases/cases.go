// Package cases plays integration cases that are written as text: who sends
// what to whom, which replies come back word for word, which sessions open,
// who gets which mail. The cases stand in testdata/cases, the mails in
// testdata/mail; docs/cases.md says how to read and write them.
//
// A case speaks SMTP to a Stage, so the same text runs against a real Postfix
// and against the demo's own mail server.
package cases

import (
	"context"
	"time"
)

// Stage is where a case is played. The sign domain is sign.corp.test, and the
// directory is testdata/cases/users.toml.
type Stage struct {
	Addr     string                                                   // SMTP, host:port
	Password func(login string) string                                // SASL PLAIN
	Opened   func(ctx context.Context) ([]Opened, error)              // every session so far, oldest first
	Mailbox  func(ctx context.Context, addr string) ([][]byte, error) // every mail so far, oldest first
	Flush    func(ctx context.Context) error                          // makes a queue deliver now; may be nil
	Settle   time.Duration                                            // how long a mail may take to its mailbox; default 10 s
	Set      func(name, value string) error                           // what a case's "setup" line asks for; may be nil
}

// Opened is a session as a case expects it.
type Opened struct {
	Level       string // Standard
	Sender      string
	Signatories []string
	Copies      []string
	Documents   []string // file names
	Mail        []byte   // as it was stored; nil if the stage does not know it
}
