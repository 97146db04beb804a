package program

import (
	"context"

	"milterd/evidence"
)

// Evidence is the evidence file of a session, with the organisation's seal and a
// timestamp.
func (p *Program) Evidence(ctx context.Context, session string) ([]byte, error) {
	e, err := p.Desk.Evidence(ctx, session)
	if err != nil {
		return nil, err
	}
	return evidence.Write(ctx, e, p.sealed, p.time)
}
