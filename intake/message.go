package intake

import (
	"context"
	"errors"

	"milterd/milter"
)

var _ milter.Intake = (*Intake)(nil)

// Recipient implements milter.Intake.
func (in *Intake) Recipient(ctx context.Context, e milter.Envelope, recipient string) (milter.Verdict, error) {
	return milter.Pass, errors.New("unwritten")
}

// Message implements milter.Intake.
func (in *Intake) Message(ctx context.Context, e milter.Envelope, raw []byte) error {
	return errors.New("unwritten")
}
