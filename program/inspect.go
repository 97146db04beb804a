package program

import (
	"context"

	"milterd/intake"
	"milterd/signature/pdf"
)

// inspector looks at documents in a child process (design.md, decision 15).
type inspector struct{}

// Inspect implements intake.Inspector.
func (inspector) Inspect(ctx context.Context, content []byte) (intake.Finding, error) {
	info, err := pdf.InspectInChild(ctx, content)
	if err != nil {
		return intake.Finding{}, err
	}
	return intake.Finding{Pages: info.Pages, Signed: info.Signed, Notes: info.Notes}, nil
}
