// Package cos reads and extends PDF files at the level of objects: names,
// dictionaries, streams, cross-reference sections (ISO 32000-2, clause 7).
//
// Reading is lazy. Open looks at the last cross-reference section only; an
// object is parsed when it is asked for, and older sections are visited when a
// newer one does not know it. Signing the head of a long chain of revisions
// therefore costs the same as signing the first.
//
// Writing is by incremental update only: the bytes of a file are never changed,
// Update.Bytes gives what must follow them.
//
// Nothing is repaired. A file that can only be read by guessing where its
// objects are is an error here, because two readers could guess differently.
// Encrypted files are not decrypted. Limits (Limit… constants) bound what a
// hostile file can cost; ErrLimit tells that one was reached.
package cos
