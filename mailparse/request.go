package mailparse

import (
	"net/mail"
	"time"

	"milterd/workflow"
)

// Limits bound what a mail may cost. A zero field means its default.
type Limits struct {
	Size   int64 // bytes of the whole mail; default 25 MB
	Header int64 // bytes of the mail's header, and of each part's; default 256 KB
	Parts  int   // leaves and branches of the MIME tree; default 200
	Depth  int   // nested multiparts; default 10
}

// Defaults of Limits.
const (
	DefaultSize   = 25 << 20
	DefaultHeader = 256 << 10
	DefaultParts  = 200
	DefaultDepth  = 10
)

func (l Limits) withDefaults() Limits {
	if l.Size <= 0 {
		l.Size = DefaultSize
	}
	if l.Header <= 0 {
		l.Header = DefaultHeader
	}
	if l.Parts <= 0 {
		l.Parts = DefaultParts
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	return l
}

// Request is what a mail says.
type Request struct {
	From    mail.Address   // the one author; Address as written, Name decoded
	To, Cc  []mail.Address // every readable address, groups flattened
	Subject string         // decoded, one line
	Level   workflow.Level // named by the subject; "" if none
	Form    workflow.Form  // the same

	MessageID  string   // with angle brackets; "" if the mail has none
	InReplyTo  []string // with angle brackets
	References []string // with angle brackets, oldest first

	Text      string     // the mail's own words: no quotes, no signature, at most 500 characters
	Documents []Document // in the order of the mail
	Body      *Document  // the mail's whole plain text, as a file named after the subject; nil if it has none, several, or one that cannot be read to its end
	BodyHash  [32]byte   // SHA-256 of the body, without regard to blanks at line ends and their number elsewhere

	AutoSubmitted string // keyword of RFC 3834 in lower case, "" for "no" or none
	List          bool   // came through a mailing list or in bulk (List-Id, List-Unsubscribe, Precedence)

	Date time.Time // zero if the mail has none that can be read
	Hops int       // Received fields
}

// Document is an attached file.
type Document struct {
	Name    string // safe file name, unlike every other in the mail
	Type    string // media type as declared, lower case: application/pdf
	Content []byte
}

// Thread is what mails in this one's thread need to name. A mail that only has
// In-Reply-To continues the thread of that one parent (RFC 5322, 3.6.4).
func (r *Request) Thread() workflow.Thread {
	refs := r.References
	if len(refs) == 0 && len(r.InReplyTo) == 1 {
		refs = r.InReplyTo
	}
	return workflow.Thread{MessageID: r.MessageID, References: refs, Subject: r.Subject}
}
