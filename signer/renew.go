package signer

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"

	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// Renew puts another document timestamp over one whose certificate ends before a
// time (EN 319 142-1, 6.3): first what proves the old one, issued now, then the
// new one over both. The document may be one of ours from long ago, without its
// session. Who renews must do so while the old one still holds.
func (s *Signer) Renew(ctx context.Context, head []byte, before time.Time) (workflow.Renewal, error) {
	var r workflow.Renewal
	var err error
	if form := formOf(head); form == workflow.PAdES {
		r, err = s.renew(ctx, head, before)
	} else {
		r, err = s.renewFile(ctx, form, head, before)
		err = fileRefusal(err)
	}
	if err != nil {
		return workflow.Renewal{}, fmt.Errorf("renewing the archive timestamp: %w", refusal(err))
	}
	return r, nil
}

func (s *Signer) renew(ctx context.Context, head []byte, before time.Time) (r workflow.Renewal, err error) {
	old, signer, err := newest(head)
	if err != nil {
		return r, err
	}
	r.Was, r.Until = signer.NotAfter, signer.NotAfter
	if r.Was.After(before) {
		return r, nil
	}
	w := &work{s: s, ctx: ctx, doc: &workflow.Document{Signed: true}, head: head, now: head,
		times: &recorder{Timestamper: s.c.Time}, known: map[string]bool{}, about: s.c.Evidence}
	e, err := w.about.Gather(ctx, s.c.Now(), []*x509.Certificate{signer}, old.Certificates)
	if err != nil {
		return r, err
	}
	for _, c := range e.Certificates {
		w.known[string(c.Raw)] = true
	}
	dss, err := pades.AddDSS(head, pades.DSSData{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs})
	if err != nil {
		return r, err
	}
	if dss != nil {
		w.add(workflow.DSS, dss)
	}
	if err := w.archive(""); err != nil {
		return r, err
	}
	if err := w.verifyRenewed(); err != nil {
		return r, err
	}
	r.Increments, r.Until = w.made, w.made[len(w.made)-1].Until
	return r, nil
}

// newest is the document timestamp that covers most, with its certificate.
func newest(data []byte) (*cms.Token, *x509.Certificate, error) {
	f, err := cos.Open(data)
	if err != nil {
		return nil, nil, err
	}
	all, err := pdf.Signatures(f)
	if err != nil {
		return nil, nil, err
	}
	var last *pdf.Signature
	covers := int64(0)
	for _, sig := range all {
		if sig.SubFilter != "ETSI.RFC3161" || len(sig.ByteRange) != 4 {
			continue
		}
		if end := sig.ByteRange[2] + sig.ByteRange[3]; end > covers {
			last, covers = sig, end
		}
	}
	if last == nil {
		return nil, nil, noArchive()
	}
	var der asn1.RawValue // Contents is padded with zeros
	if _, err := asn1.Unmarshal(last.Contents, &der); err != nil {
		return nil, nil, fmt.Errorf("document timestamp in %q: %w", last.Field.Name, err)
	}
	t, err := cms.ParseToken(der.FullBytes)
	if err != nil {
		return nil, nil, err
	}
	signer, err := t.CheckSigner()
	return t, signer, err
}

// verifyRenewed judges the result: nothing has become worse, and what is new
// holds. A document that was changed gets no younger timestamp.
func (w *work) verifyRenewed() error {
	before, err := w.validate(w.head)
	if err != nil {
		return err
	}
	if before.Indication == validate.Failed {
		return refuse("signature-broken", "A signature in this document does not hold: milterd verify says why.", nil)
	}
	after, err := w.validate(w.now)
	if err != nil {
		return err
	}
	for _, sig := range after.Signatures {
		old := find(before.Signatures, sig.Field)
		switch {
		case old == nil && (sig.Kind != validate.KindTimestamp || sig.Indication != validate.Passed):
			return fmt.Errorf("checking the result: %s is %s %s: %s", sig.Field, sig.Indication, sig.Sub, sig.Problem)
		case old != nil && (sig.Indication != old.Indication || sig.Level != old.Level || len(denied(sig.Changes)) > len(denied(old.Changes))):
			return fmt.Errorf("checking the result: %s was %s, is %s: %s", sig.Field, old.Indication, sig.Indication, sig.Problem)
		}
	}
	if len(after.Signatures) != len(before.Signatures)+1 {
		return fmt.Errorf("checking the result: %d signatures, were %d", len(after.Signatures), len(before.Signatures))
	}
	return nil
}
