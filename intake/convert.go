package intake

import (
	"context"
	"slices"
	"strings"
	"time"

	"milterd/convert"
	"milterd/mailparse"
	"milterd/workflow"
)

// ConversionTime is how long all files of one mail may take to become PDFs. With
// all else it stays below the 300 s that Postfix waits for a milter
// (milter_content_timeout).
const ConversionTime = 150 * time.Second

// converts reports whether a PDF is to be made of a file, and signed in its place.
// Who asks for a form in which any file can be signed has the file itself signed.
func (in *Intake) converts(d mailparse.Document, asked workflow.Form) bool {
	return in.Converter != nil && (asked == "" || asked == workflow.PAdES) && !isPDF(d) && in.Converter.Takes(d.Name)
}

// converted is the PDF of a file, inspected as if it had come by mail: it was made
// by a program that had read foreign bytes. The file itself goes along.
func (in *Intake) converted(ctx context.Context, d mailparse.Document, all []mailparse.Document) (workflow.NewDocument, error) {
	if len(d.Content) == 0 {
		return workflow.NewDocument{}, errEmpty()
	}
	c, err := in.Converter.Convert(ctx, d.Name, d.Content)
	if err != nil {
		return workflow.NewDocument{}, err
	}
	name := convert.Name(d.Name)
	if slices.ContainsFunc(all, func(o mailparse.Document) bool {
		return o.Name != d.Name && strings.EqualFold(convert.Name(o.Name), name)
	}) {
		name = d.Name + ".pdf" // beside a contract.pdf, or a contract.odt
	}
	pdf := mailparse.Document{Name: name, Type: "application/pdf", Content: c.PDF}
	n, err := in.document(ctx, pdf, workflow.PAdES, false)
	if err != nil {
		return n, err
	}
	kind, _ := look(d)
	n.Source = &workflow.Source{Name: d.Name, Type: kind, Content: d.Content, Maker: c.By}
	return n, nil
}
