package program

import (
	"context"
	"fmt"
	"time"
)

// CheckConversion tries LibreOffice in its sandbox, where files are to be converted.
// Its error says what to install or to allow.
func (p *Program) CheckConversion(ctx context.Context) error {
	if p.converter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	by, err := p.converter.Check(ctx)
	if err != nil {
		return fmt.Errorf("documents.convert: %w", err)
	}
	p.log.Info("files are converted to PDFs", "by", by, "kinds", p.Config.Documents.Convert)
	return nil
}
