package signer

import (
	"errors"
	"fmt"
	"slices"

	"milterd/signature/asic"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/signature/xades"
	"milterd/signature/xades/dom"
	"milterd/validate"
	"milterd/workflow"
)

func tooLarge(err error) bool { return errors.Is(err, pades.ErrTooLarge) }

// verify judges the result as a stranger would: from its bytes alone and the
// trust anchors. What was signed before must not have become worse.
func (w *work) verify() error {
	after, err := w.validate(w.now)
	if err != nil {
		return err
	}
	var before []validate.Signature
	if w.doc.Signed {
		r, err := w.validate(w.head)
		if err != nil {
			return err
		}
		before = r.Signatures
	}
	want := validate.LevelLT
	if w.made[len(w.made)-1].Kind == workflow.Archive {
		want = validate.LevelLTA
	}
	own := false
	for _, sig := range after.Signatures {
		if old := find(before, sig.Field); old != nil {
			if sig.Indication != old.Indication || len(denied(sig.Changes)) > len(denied(old.Changes)) {
				return refuse("signature-broken", "This document cannot be signed without harm to a signature that it carries already.",
					fmt.Errorf("%s was %s, is %s: %s", sig.Field, old.Indication, sig.Indication, sig.Problem))
			}
			continue
		}
		if sig.Indication != validate.Passed || len(denied(sig.Changes)) > 0 {
			return fmt.Errorf("checking the result: %s is %s %s: %s", sig.Field, sig.Indication, sig.Sub, sig.Problem)
		}
		if sig.Field == w.field {
			own = true
			if sig.Level != want {
				return fmt.Errorf("checking the result: %s has level %q, want %q", sig.Field, sig.Level, want)
			}
		}
	}
	if !own {
		return fmt.Errorf("checking the result: no signature in %q", w.field)
	}
	if later := denied(after.Later); len(later) > 0 {
		return fmt.Errorf("checking the result: changed afterwards: %s", later[0].What)
	}
	return nil
}

func (w *work) validate(data []byte) (*validate.Result, error) {
	r, err := validate.Validate(data, validate.Options{Anchors: w.about.Anchors(), Now: w.s.c.Now()})
	if err != nil {
		return nil, fmt.Errorf("checking the result: %w", err)
	}
	return r, nil
}

func find(sigs []validate.Signature, field string) *validate.Signature {
	for i := range sigs {
		if sigs[i].Field == field {
			return &sigs[i]
		}
	}
	return nil
}

func denied(changes []validate.Change) []validate.Change {
	var out []validate.Change
	for _, c := range changes {
		if !c.Allowed {
			out = append(out, c)
		}
	}
	return out
}

// field is where the signature goes: what Layout made for this person. A
// document that others have signed has no such field. If it has exactly one
// empty signature field and one signatory, that is the one meant; else nobody
// can say whose it is, and the person gets a new one.
func (s *Signer) field(sess *workflow.Session, document, person int, head []byte) (string, error) {
	name := pdf.FieldName(sess.ID, person)
	if !sess.Documents[document].Signed || len(sess.Signatories()) != 1 {
		return name, nil
	}
	f, err := cos.Open(head)
	if err != nil {
		return "", err
	}
	rules, err := pdf.ReadRules(f)
	if err != nil {
		return "", err
	}
	empty, err := pdf.EmptyFields(f, rules)
	if err != nil {
		return "", err
	}
	// A seed value (SV) is a demand on the signature that we may not meet.
	empty = slices.DeleteFunc(empty, func(fd *pdf.Field) bool { return fd.Dict["SV"] != nil || fd.Dict["Rect"] == nil })
	if len(empty) == 1 {
		name = empty[0].Name
	}
	return name, nil
}

// row is how many visible fields a document may get that others have signed:
// one for each signatory, and one for the seal. Others have them already, or,
// as the report, none.
func row(sess *workflow.Session, document int) int {
	if !sess.Documents[document].Signed {
		return 0
	}
	return len(sess.Signatories()) + 1
}

// refusal turns errors that lie in the document into a *workflow.Refusal.
func refusal(err error) error {
	var r *workflow.Refusal
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.Is(err, pades.ErrForbidden):
		return refuse("signature-forbidden", "A signature in this document forbids any further one.", err)
	case errors.Is(err, pades.ErrField):
		return refuse("no-field", "This document has no place for the signature.", err)
	case errors.Is(err, cos.ErrNotPDF), errors.Is(err, cos.ErrBroken), errors.Is(err, cos.ErrEncrypted), errors.Is(err, cos.ErrLimit):
		return refuse("broken-pdf", "This document cannot be read as a PDF.", err)
	}
	return err
}

// fileRefusal does the same for what is no PDF.
func fileRefusal(err error) error {
	var r *workflow.Refusal
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.Is(err, xades.ErrForbidden):
		return refuse("signature-forbidden", "A signature in this document forbids any further one.", err)
	case errors.Is(err, dom.ErrMalformed), errors.Is(err, dom.ErrForbidden), errors.Is(err, dom.ErrLimit), errors.Is(err, xades.ErrSplit):
		return refuse("broken-xml", "This document cannot take a signature as XML.", err)
	case errors.Is(err, asic.ErrFormat), errors.Is(err, asic.ErrLimit):
		return refuse("no-container", "This file cannot be put into a container.", err)
	}
	return err
}

// refuse says no for good; 5.6.0 is about the message's content (RFC 3463, 3.7).
func refuse(reason, text string, err error) *workflow.Refusal {
	return &workflow.Refusal{Code: 554, Enhanced: "5.6.0", Text: text, Reason: reason, Err: err}
}
