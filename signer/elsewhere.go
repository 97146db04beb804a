package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/workflow"
)

// madeElsewhere is the place, in bytes beside the time's, for a complete signature whose
// certificates nobody knows yet: three of them on RSA-4096 keys take 6 KiB.
const madeElsewhere = 16 << 10

// Take verifies what somebody else has made, and with it takes the certificate that was
// not known when p was prepared: a complete signature (CMS, DER) over p.Digest, or what
// leads from head to a signed document.
func (s *Signer) Take(ctx context.Context, p *workflow.Prepared, head, made []byte) (workflow.Key, error) {
	token, err := s.measured(ctx)
	if err != nil {
		return workflow.Key{}, err
	}
	var key workflow.Key
	if own, ok := bytes.CutPrefix(p.Signer, []byte(wholeMark)); ok {
		key, err = takeWhole(ctx, p, string(own), head, made, token)
	} else {
		key, err = take(p, made, token)
	}
	if err != nil {
		return workflow.Key{}, fmt.Errorf("taking a signature made elsewhere: %w", foreign(err))
	}
	return key, nil
}

func take(p *workflow.Prepared, made []byte, token int) (workflow.Key, error) {
	var key workflow.Key
	prep := &pades.Preparation{}
	if err := prep.UnmarshalBinary(p.Signer); err != nil {
		return key, err
	}
	prep.Suffix = p.Suffix
	m, chain, err := prep.Take(made, token)
	if err != nil {
		return key, err
	}
	kept, err := prep.MarshalBinary()
	if err != nil {
		return key, err
	}
	p.Signer, p.Attributes, p.Value, p.Made = kept, m.Attributes, m.Value, m.Raw
	return workflow.Key{Chain: chain, Algorithm: string(prep.Algorithm)}, nil
}

// foreign makes refusals of what is not the signature that was asked for.
func foreign(err error) error {
	switch {
	case errors.Is(err, pades.ErrTooLarge):
		return refuse("signature-too-large", "The signature that came does not fit into its place in the document. Nothing was taken; please tell your administrator.", err)
	case errors.Is(err, errForeignDocument):
		return refuse("foreign-document", "The document that came back is not the one that was sent, with one signature and nothing else. Nothing was taken; please tell your administrator.", err)
	case errors.Is(err, cms.ErrFormat), errors.Is(err, cms.ErrAlgorithm), errors.Is(err, cms.ErrDigest), errors.Is(err, cms.ErrSignature), errors.Is(err, cms.ErrCertificate), errors.Is(err, cms.ErrExpired):
		return refuse("foreign-signature", "The signature that came is not one over this document as it was asked for. Nothing was taken; please tell your administrator.", err)
	}
	return err
}
