package signer

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/signature/xades"
	"milterd/validate"
	"milterd/workflow"
)

// formOf tells by its bytes in which form a file is signed.
func formOf(data []byte) workflow.Form {
	switch {
	case asic.IsZIP(data):
		return workflow.ASiC
	case len(data) > 0 && data[0] == 0x30: // SEQUENCE
		return workflow.CAdES
	case validate.IsXML(data):
		return workflow.XAdES
	}
	return workflow.PAdES
}

// renewFile is Renew for what is no PDF: evidence about the authorities of the
// newest archive timestamps, then younger ones (EN 319 162-1, annex A.7; EN 319
// 122-1 and 132-1, clause 5.5).
func (s *Signer) renewFile(ctx context.Context, form workflow.Form, head []byte, before time.Time) (r workflow.Renewal, err error) {
	f := s.filing(ctx, &workflow.Session{Documents: []workflow.Document{{Form: form, Signed: true}}}, 0, head)
	f.renews = true
	tokens, err := f.newest()
	if err != nil {
		return r, err
	}
	if len(tokens) == 0 {
		return r, noArchive()
	}
	var signers, between []*x509.Certificate
	for _, t := range tokens {
		c, err := t.CheckSigner()
		if err != nil {
			return r, err
		}
		if signers, between = append(signers, c), append(between, t.Certificates...); r.Was.IsZero() || c.NotAfter.Before(r.Was) {
			r.Was = c.NotAfter
		}
	}
	if r.Until = r.Was; r.Was.After(before) {
		return r, nil
	}
	old, err := f.validate(head)
	if err != nil {
		return r, err
	}
	if old.Indication == validate.Failed || old.Changed() {
		return r, refuse("signature-broken", "A signature in this document does not hold: milterd verify says why.", nil)
	}
	e, err := f.about.Gather(ctx, s.c.Now(), signers, between)
	if err != nil {
		return r, err
	}
	for _, c := range e.Certificates {
		f.known[string(c.Raw)] = true
	}
	if err := f.addEvidence(cades.Evidence{Certs: e.Certificates, CRLs: e.CRLs, OCSPs: e.OCSPs}); err != nil {
		return r, err
	}
	until, err := f.archive()
	if err != nil {
		return r, err
	}
	if err := f.verifyRenewed(old); err != nil {
		return r, err
	}
	r.Increments, r.Until = f.made(workflow.Archive, until), until
	return r, nil
}

// newest are the archive timestamps that nothing later protects: the one over a
// container, or of each signature the last.
func (f *filing) newest() (out []*cms.Token, err error) {
	var ders [][]byte
	switch f.doc.Form {
	case workflow.ASiC:
		c, err := asic.Open(f.head)
		if err != nil {
			return nil, err
		}
		if der := c.NewestToken(); der != nil {
			ders = append(ders, der)
		}
	case workflow.CAdES:
		all, err := cms.ParseAll(f.head)
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if n := len(m.Archives); n > 0 {
				ders = append(ders, m.Archives[n-1])
			}
		}
	default:
		d, err := xades.Read(f.head)
		if err != nil {
			return nil, err
		}
		for _, s := range d.Signatures {
			if n := len(s.Archives); n > 0 {
				ders = append(ders, s.Archives[n-1].Token)
			}
		}
	}
	for _, der := range ders {
		t, err := cms.ParseToken(der)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// verifyRenewed wants nothing to have become worse, and something new.
func (f *filing) verifyRenewed(before *validate.Result) error {
	after, err := f.validate(f.now)
	if err != nil {
		return err
	}
	old, now := signatures(before), signatures(after)
	if after.Indication != before.Indication || after.Changed() || len(now) != len(old) || len(after.Signatures) <= len(before.Signatures) {
		return errors.New("checking the result: " + after.Text())
	}
	for i, sig := range now {
		if sig.Field != old[i].Field || sig.Level != old[i].Level || sig.Indication != old[i].Indication {
			return errors.New("checking the result: " + after.Text())
		}
	}
	return nil
}

func noArchive() *workflow.Refusal {
	return refuse("no-archive", "This document has no archive timestamp that could be renewed.", nil)
}
