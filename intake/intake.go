package intake

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"milterd/directory"
	"milterd/mailparse"
	"milterd/workflow"
)

// Config is what the configuration decides here.
type Config struct {
	Domain  string           // the sign domain: sign.corp.com
	Level   workflow.Level   // for mail that names none
	Trusted []netip.Prefix   // clients whose From is believed; see ParseTrusted
	Limits  mailparse.Limits // of a mail
}

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

// Intake is the desk behind the doors. Its fields are set once; Count may be nil.
type Intake struct {
	Config    Config
	Directory directory.Directory
	Inspector Inspector
	Desk      Opener
	Log       *slog.Logger
	Count     func(outcome string) // "opened", "repeated", "left-alone", "bounce"
}

// ParseTrusted reads trusted_clients: addresses and CIDRs. "mynetworks" and
// networks that would trust everybody are refused with the reason.
func ParseTrusted(values []string) ([]netip.Prefix, error) { return nil, errors.New("unwritten") }
