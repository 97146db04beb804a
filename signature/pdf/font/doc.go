// Package font gives the three faces that milterd writes PDF text with, Go
// Regular, Bold and Italic (Latin, Greek, Cyrillic), and embeddable subsets of them.
//
// A subset keeps the glyph numbers of its face: text can be written before it is
// known which glyphs it will need. Hinting is left out. Output is deterministic.
// The fonts come with the module golang.org/x/image (BSD licence); no other font
// is read, so nothing here is hardened against hostile fonts.
package font
