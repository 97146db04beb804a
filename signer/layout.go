package signer

import (
	"context"
	"fmt"

	"milterd/signature/pdf"
	"milterd/signature/pdf/font"
	"milterd/workflow"
)

// Layout lays out pages and fields; see pdf.Layout. It needs no process of its
// own: inspection has rehearsed it on the same bytes in one that has limits.
func (s *Signer) Layout(ctx context.Context, sess *workflow.Session, document int, original []byte) ([]byte, error) {
	d := &sess.Documents[document]
	if d.Signed || !d.Grows() {
		return nil, nil // no page may be added to what others have signed, and none can to what is no PDF
	}
	plan := pdf.Plan{
		Organisation: s.c.Organisation, VAT: s.c.Seal.VAT(), Session: sess.ID, Document: d.Name,
		Level: sess.Level, Created: sess.Created,
	}
	if from := sess.Sender(); from != nil {
		plan.Sender = font.Printed(fmt.Sprintf("%s <%s>", from.Name, from.Mail), from.Mail)
	}
	for _, i := range sess.Signatories() {
		p := sess.People[i]
		plan.Signatories = append(plan.Signatories, pdf.Signatory{Person: i, Name: p.Name, Mail: p.Mail})
	}
	suffix, err := pdf.Layout(ctx, original, plan)
	if err != nil {
		return nil, fmt.Errorf("laying out pages: %w", err)
	}
	return suffix, nil
}
