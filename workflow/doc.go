// Package workflow is the heart of milterd: what a signing session is, which
// states it passes through, who is told what, and what goes on record.
//
// It owns the values (Session, Person, Participant, Document, Revision, Event)
// and the ports, the small interfaces that it needs from the rooms around it
// (Store, Signer, Reporter, Notifier, Secrets). Adapters import this package;
// it imports none of them, and knows neither mail, HTTP, PDF nor SQL.
//
// The way of a session, one transaction for each arrow:
//
//	Open ──▶ preparing ──prepare──▶ open ──Sign … sign──▶ sealing ──seal──▶ done
//	                                 │
//	                                 └── Decline ▶ declined, deadline ▶ expired, Cancel ▶ cancelled
//
// Every arrow appends to the session's audit trail and inserts the jobs that
// follow from it in the same transaction (design.md, decisions 2 and 13).
package workflow
