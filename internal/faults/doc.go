// Package faults holds tests only: it takes away what a serving milterd stands
// on (database, directory, mail server, timestamp authority, disk, the process
// itself) and demands that nothing that was answered 250 is lost or doubled,
// and that every session goes on by itself when the thing is back.
//
// Random kills are the business of bench/crash (make crash). Reference:
// docs/design.md, decisions 2 and 13.
package faults
