// Package rig puts a real milterd process between a mail system and people who
// send and sign by themselves, so that tests and measurements can time it,
// weigh it, kill it, or take away what it stands on, and then judge what became
// of every mail.
//
// Limits: the people prove their mailbox with a code and sign with a typed
// name; they look at no page. Nothing of it ships.
package rig
