package signer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	tag "golang.org/x/crypto/cryptobyte/asn1"

	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
	"milterd/validate"
	"milterd/workflow"
)

// wholeMark begins what is kept of a preparation whose document is given away to be
// signed; the name of the signatory's own field follows.
const wholeMark = "whole\n"

// errForeignDocument: what came back is not what was sent, and one signature.
var errForeignDocument = errors.New("not the document that was sent, and one signature")

// prepareWhole writes nothing: the document as it stands is what the page checks, and
// what is given away.
func prepareWhole(own string, document int, head []byte) *workflow.Prepared {
	return &workflow.Prepared{Document: document, Size: int64(len(head)), SHA256: sha256.Sum256(head), Signer: []byte(wholeMark + own)}
}

// takeWhole wants head and made to be the document that was sent, and one signature over
// all of it, with the attributes of B-B and no others, in a field that is the
// signatory's own or new and out of sight. What it makes of p is what Prepare
// and Take make of a signature by a provider: Complete sees no difference.
func takeWhole(ctx context.Context, p *workflow.Prepared, own string, head, made []byte, token int) (key workflow.Key, err error) {
	if sha256.Sum256(head) != p.SHA256 {
		return key, fmt.Errorf("another document was sent: %w", workflow.ErrConflict)
	}
	data := slices.Concat(head, made)
	field, err := signedOnly(ctx, data, len(head))
	if err != nil {
		return key, err
	}
	sig, err := theirs(head, data, field, own)
	if err != nil {
		return key, err
	}
	from, to := int(sig.ByteRange[1]), int(sig.ByteRange[2]) // of Contents with its brackets
	in, der := cryptobyte.String(sig.Contents), cryptobyte.String(nil)
	if !in.ReadASN1Element(&der, tag.SEQUENCE) { // zeros follow it
		return key, fmt.Errorf("%w: Contents", cms.ErrFormat)
	}
	m, err := cms.Parse(der)
	if err != nil {
		return key, err
	}
	h := m.Hash().New()
	h.Write(data[:from]) // never fails (hash.Hash)
	h.Write(data[to:])
	prep := &pades.Preparation{Field: field, Algorithm: m.Algorithm, HeadSize: len(head), Suffix: made,
		Offset: from + 1 - len(head), Room: (to - from - 2) / 2, Digest: h.Sum(nil)}
	if _, key.Chain, err = prep.Take(der, token); err != nil {
		return key, err
	}
	key.Algorithm = string(m.Algorithm)
	if p.Signer, err = prep.MarshalBinary(); err != nil {
		return workflow.Key{}, err
	}
	p.Suffix, p.Size, p.SHA256 = bytes.Clone(made), int64(len(data)), sha256.Sum256(data)
	p.Attributes, p.Value, p.Made = m.Attributes, m.Value, bytes.Clone(der)
	return key, nil
}

// taskSignedOnly is what a child is asked: others have made the file (design.md, decision 15).
const taskSignedOnly = "signed only"

// onlySigned is what it answers: the field that was signed, or what else was done.
type onlySigned struct{ Field, Why string }

func init() {
	pdf.AddTask(taskSignedOnly, func(options json.RawMessage, data []byte) (any, error) {
		var size int
		if err := json.Unmarshal(options, &size); err != nil {
			return nil, fmt.Errorf("size: %w", err)
		}
		field, err := validate.SignedOnly(data, size)
		if err != nil {
			return onlySigned{Why: err.Error()}, nil
		}
		return onlySigned{Field: field}, nil
	})
}

// signedOnly is validate.SignedOnly in a process that has limits.
func signedOnly(ctx context.Context, data []byte, size int) (field string, err error) {
	var a onlySigned
	err = pdf.RunInChild(ctx, taskSignedOnly, size, data, &a)
	var r *workflow.Refusal
	switch {
	case errors.As(err, &r): // it reached a limit, or broke its reader
		return "", fmt.Errorf("%w: %w", errForeignDocument, err)
	case err != nil:
		return "", err
	case a.Why != "" || a.Field == "":
		return "", fmt.Errorf("%w: %s", errForeignDocument, a.Why)
	}
	return a.Field, nil
}

// theirs gives the signature that SignedOnly has found sound in its form.
func theirs(head, data []byte, field, own string) (*pdf.Signature, error) {
	before, err := cos.Open(head)
	if err != nil {
		return nil, err
	}
	fields, err := pdf.Fields(before)
	if err != nil {
		return nil, err
	}
	if field != own && slices.ContainsFunc(fields, func(fd *pdf.Field) bool { return fd.Name == field }) {
		return nil, fmt.Errorf("%w: %q is somebody else's field", errForeignDocument, field)
	}
	f, err := cos.Open(data)
	if err != nil {
		return nil, err
	}
	sigs, err := pdf.Signatures(f)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(sigs, func(s *pdf.Signature) bool { return s.Field.Name == field })
	switch {
	case i < 0 || len(sigs[i].ByteRange) != 4:
		return nil, fmt.Errorf("%w: no signature in %q", errForeignDocument, field)
	case sigs[i].SubFilter != "ETSI.CAdES.detached":
		return nil, fmt.Errorf("%w: a signature of form %q", errForeignDocument, sigs[i].SubFilter)
	case sigs[i].Dict["Reference"] != nil || field != own && sigs[i].Field.Dict["Lock"] != nil:
		return nil, fmt.Errorf("%w: it is certified, or forbids what is to follow", errForeignDocument)
	}
	return sigs[i], nil
}
