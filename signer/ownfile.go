package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"milterd/pki"
	"milterd/signature/asic"
	"milterd/signature/cades"
	"milterd/signature/cms"
	"milterd/workflow"
)

// fileMark begins what is kept of a preparation for what is no PDF; JSON follows.
const fileMark = "file\n"

// prepareFile is prepare for what is no PDF. What the page loads and checks is the
// manifest of a container, which names the file that it shows by its digest; for a
// message it is nothing, because the attributes name that digest themselves.
func (s *Signer) prepareFile(ctx context.Context, sess *workflow.Session, document, person int, at time.Time, key workflow.Key, head []byte) (*workflow.Prepared, error) {
	certs, err := parse(key.Chain[:min(1, len(key.Chain))])
	if err != nil {
		return nil, err
	}
	f := s.filing(ctx, sess, document, head)
	content, err := f.content()
	if err != nil {
		return nil, err
	}
	p := cades.Params{Certificate: certs[0], Chain: cms.Issuers(key.Chain[1:]), Algorithm: cms.Algorithm(key.Algorithm), Time: at}
	prep := &asic.Preparation{}
	switch f.doc.Form {
	case workflow.ASiC:
		prep, err = asic.Prepare(asic.Extended, f.files(content), number(person), p)
	case workflow.CAdES:
		p.MIME = f.doc.Type
		prep.Signature, err = cades.Prepare(content, p)
	default:
		return nil, refuse("form-unavailable", fmt.Sprintf("%s signatures are not made with a key of one's own.", f.doc.Form), nil)
	}
	if errors.Is(err, cms.ErrExpired) {
		return nil, expired(err)
	}
	if err != nil {
		return nil, err
	}
	kept, err := json.Marshal(prep)
	if err != nil {
		return nil, err
	}
	return &workflow.Prepared{Document: document, Suffix: prep.Manifest, Size: int64(len(prep.Manifest)), SHA256: sha256.Sum256(prep.Manifest),
		Attributes: prep.Signature.Attributes, Signer: append([]byte(fileMark), kept...)}, nil
}

// readBackFile gives the preparation in p, if it is one for what is no PDF.
func readBackFile(p *workflow.Prepared) (prep *asic.Preparation, cert *x509.Certificate, ok bool, err error) {
	kept, ok := bytes.CutPrefix(p.Signer, []byte(fileMark))
	if !ok {
		return nil, nil, false, nil
	}
	prep = new(asic.Preparation)
	if err := json.Unmarshal(kept, prep); err != nil {
		return nil, nil, true, fmt.Errorf("what was prepared: %w", err)
	}
	if prep.Signature == nil || !bytes.Equal(prep.Manifest, p.Suffix) {
		return nil, nil, true, errors.New("what was prepared: it is of something else")
	}
	prep.Signature.Attributes = p.Attributes // Add and Join want them to name what they are put to
	certs, err := parse(prep.Signature.Certificates[:min(1, len(prep.Signature.Certificates))])
	if err != nil {
		return nil, nil, true, err
	}
	return prep, certs[0], true, nil
}

// completeFile is complete for what is no PDF.
func (s *Signer) completeFile(ctx context.Context, sess *workflow.Session, document int, head []byte, p *workflow.Prepared) ([]workflow.Increment, error) {
	prep, cert, ok, err := readBackFile(p)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("what was prepared: it is of a PDF")
	}
	if s.c.Now().After(cert.NotAfter) { // no time to come could lie within its life
		return nil, expired(nil)
	}
	chain, err := parse(prep.Signature.Certificates)
	if err != nil {
		return nil, err
	}
	f := s.filing(ctx, sess, document, head)
	content, err := f.content()
	if err != nil {
		return nil, err
	}
	if f.doc.Form == workflow.ASiC {
		var sig *asic.Signature
		if sig, err = prep.Finish(ctx, p.Value, f.times); err == nil {
			err = f.put(*sig, content, chain)
		}
	} else {
		var der []byte
		if der, err = prep.Signature.Finish(ctx, p.Value, f.times); err == nil {
			err = f.join(der, content, chain)
		}
	}
	revoked := (*pki.RevokedError)(nil)
	switch {
	case errors.Is(err, cms.ErrExpired):
		return nil, expired(err)
	case errors.As(err, &revoked) && revoked.Name == cert.Subject.CommonName:
		return nil, again("certificate-revoked", "The certificate that you signed with was revoked before your signature had its time. Please sign again.", err)
	case err != nil:
		return nil, badValue(err)
	}
	if err := f.verify(1, false); err != nil {
		return nil, err
	}
	return f.made(workflow.Signature, time.Time{}), nil
}
