package pdf

import (
	"milterd/signature/pdf/cos"
	"milterd/workflow"
)

// Look is what a signature field shows. SignatoryLook and SealLook make the two
// kinds that there are.
type Look struct {
	Appearance workflow.Appearance // strokes or typed name; both empty for the seal
	Name       string              // signatory, or the organisation
	Lines      []string            // small print below the name
}

func (l *Look) fill(f *cos.File, u *cos.Update, field cos.Dict, paraphs string) error {
	return nil
}
