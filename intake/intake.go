package intake

import (
	"context"
	"log/slog"
	"net/netip"

	"milterd/convert"
	"milterd/directory"
	"milterd/intake/origin"
	"milterd/mailparse"
	"milterd/milter"
	"milterd/workflow"
)

// Config is what the configuration decides here. A zero count sets no limit.
type Config struct {
	Domain      string           // the sign domain: sign.corp.com
	Level       workflow.Level   // for mail that names none
	Qualified   bool             // level Qualified is offered
	Trusted     []netip.Prefix   // clients whose From is believed; never Postfix's mynetworks (decision 4)
	Limits      mailparse.Limits // of a mail
	Documents   int              // in one mail
	Signatories int              // in one mail
	Pages       int              // of one document
	Format      Format           // which files are taken, and how they are signed
	Blocked     []string         // addresses of people who may not ask
	Request     Groups           // who may ask
	Sign        Groups           // who may sign
}

// Groups are the names of the groups whose members may do something at a level,
// as directory.GroupName writes them. None: everybody in the directory may.
type Groups map[workflow.Level][]string

// Opener opens sessions; workflow.Desk is one.
type Opener interface {
	Open(ctx context.Context, o workflow.Opening) (s *workflow.Session, created bool, err error)
}

// Inspector looks at a PDF before anybody is asked to sign it. Its error is a
// *workflow.Refusal ("encrypted-pdf", "xfa-pdf", "broken-pdf" …), or temporary.
type Inspector interface {
	Inspect(ctx context.Context, content []byte) (Finding, error)
}

// Finding is what an Inspector saw.
type Finding struct {
	Pages  int
	Signed bool     // has signatures already
	Notes  []string // what the signatory must be told
}

// Converter makes PDFs; a *convert.Converter does.
type Converter interface {
	// Takes reports whether a file of that name is to become a PDF.
	Takes(name string) bool
	// Convert's error is a *workflow.Refusal.
	Convert(ctx context.Context, name string, content []byte) (*convert.Converted, error)
}

// Returned takes the mails with which milterd tries its own way out and in:
// they come to check+TAG, and a tag that is Known was made by nobody else.
type Returned interface {
	Known(tag string) bool
	Keep(tag string, raw []byte) error
}

// Intake is the desk behind the doors. Its fields are set once; it is safe for
// concurrent use.
type Intake struct {
	Config    Config
	Directory directory.Directory
	Inspector Inspector
	XML       func(ctx context.Context, content []byte) (Finding, error) // looks at an XML document as Inspector does; nil: XML is a file like any other
	Converter Converter                                                  // makes PDFs of other files; nil: none are made
	Desk      Opener
	Origin    *origin.Checker // what a mail's own bytes can prove; nil: nothing
	Bounces   *Bounces        // nil: bounces of our own mails are dropped
	Confirm   *Confirm        // nil: nobody is asked to confirm a mail
	Returned  Returned        // nil: nobody tries
	Verify    *Verify         // nil: verify@ is refused
	Log       *slog.Logger
	Count     func(outcome string) // "opened", "repeated", "verified", "left-alone", "dropped", "check", "bounce…", "held…"; may be nil
}

var _ milter.Intake = (*Intake)(nil)

func (in *Intake) count(outcome string) {
	if in.Count != nil {
		in.Count(outcome)
	}
}
