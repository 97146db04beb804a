package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"path"
	"strings"
	"sync"

	"milterd/mailparse"
	"milterd/workflow"
)

// documents inspects what is to be signed. Everything attached is asked for:
// a file that cannot be signed is refused, not silently left unsigned.
func (in *Intake) documents(ctx context.Context, attached []mailparse.Document) ([]workflow.NewDocument, error) {
	if len(attached) == 0 {
		return nil, errNoDocument()
	}
	if n := in.Config.Documents; n > 0 && len(attached) > n {
		return nil, errTooManyDocuments(n)
	}
	pdfs := 0
	for _, d := range attached {
		if isPDF(d) {
			pdfs++
		}
	}
	for _, d := range attached {
		if !isPDF(d) {
			return nil, errNoPDF(d, pdfs > 0)
		}
	}
	out := make([]workflow.NewDocument, 0, len(attached))
	for _, d := range attached {
		var sum workflow.Digest
		var beside sync.WaitGroup // the inspection is another process's work
		beside.Go(func() { sum = sha256.Sum256(d.Content) })
		f, err := in.Inspector.Inspect(ctx, d.Content)
		beside.Wait()
		if err != nil {
			return nil, named(d.Name, err)
		}
		if n := in.Config.Pages; n > 0 && f.Pages > n {
			return nil, errTooManyPages(d.Name, f.Pages, n)
		}
		out = append(out, workflow.NewDocument{Name: d.Name, Content: d.Content, SHA256: sum, Pages: f.Pages, Signed: f.Signed, Notes: f.Notes})
	}
	return out, nil
}

// isPDF goes by what the file says of itself; what only its sender calls a PDF
// is one too, for the Inspector to say what is wrong with it.
func isPDF(d mailparse.Document) bool {
	return mailparse.LooksPDF(d.Content) || d.Type == "application/pdf" || strings.EqualFold(path.Ext(d.Name), ".pdf")
}

// named says which document a refusal is about.
func named(name string, err error) error {
	var r *workflow.Refusal
	if !errors.As(err, &r) {
		return errInspection(err)
	}
	c := *r
	c.Text = name + ": " + r.Text
	return &c
}
