// Package pdf reads foreign PDF files, lays out where people will sign, and
// writes the increments that signatures live in. It knows nothing of CMS: a
// signature value is bytes for a place that it reserved.
//
//   - Inspect says what is in a file and refuses what cannot be signed soundly;
//     InspectInChild does so in a process with limits (design.md, decision 15).
//   - Layout gives the first increment of an unsigned file: signature pages, the
//     watermark and every field that will ever be filled (decision 9).
//   - Place gives the increment of one signature, with room for its value. In a
//     file that others have signed it can add a visible field where nothing
//     shows (spot, cover) and no earlier signature forbids it (Rules).
//   - Fields and Signatures list what is there.
//
// Every result is a suffix: the bytes that follow the file that was given.
// Objects and cross-references are package cos's, glyphs package font's.
// Reference: ISO 32000-2:2020; clause 12.8 for signatures.
package pdf
