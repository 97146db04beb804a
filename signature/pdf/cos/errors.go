package cos

import "errors"

// Errors that Open and everything that reads can wrap; see also ErrLimit.
var (
	ErrNotPDF    = errors.New("no PDF header")
	ErrBroken    = errors.New("broken PDF structure")
	ErrEncrypted = errors.New("encrypted PDF")
)
