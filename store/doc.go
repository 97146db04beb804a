// Package store keeps sessions, documents, evidence and jobs on SQLite (one
// machine, nothing to install) or PostgreSQL (several machines). It implements
// workflow.Store and runs the jobs of a workflow.Runner; it decides nothing.
//
// The SQL is written once, with $1 placeholders and ON CONFLICT, which both
// databases read. A session is a row with its JSON and the columns that are
// searched; the bytes of a document are stored once, each later revision as
// the suffix that leads to it (workflow.Revision.Cut). Jobs are rows of River (riverqueue.com) in the
// same database, so that a change of state and its jobs are one transaction.
// No type of River leaves this package.
//
// # Durability
//
// On SQLite the journal is a write-ahead log with synchronous=FULL: a commit
// has called fsync on the log before it returns (sqlite.org/pragma.html,
// "synchronous"). On PostgreSQL synchronous_commit=off is raised to on for
// each connection; fsync is the server's own setting, and its default.
// A connection that breaks during COMMIT leaves it open whether the
// transaction stands; Do then returns an error, and the callers' repeat is
// recognised by its request key, version or job.
//
// # Limits
//
// One SQLite file has one writer at a time (any number of processes may queue
// for it) and one process that works its jobs. A document's revision is at most
// 1 GB (both databases). Equal jobs are recognised while one of them waits or runs.
package store
