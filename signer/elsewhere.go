package signer

import (
	"errors"
	"fmt"

	"milterd/signature/cms"
	"milterd/signature/pades"
	"milterd/workflow"
)

// madeElsewhere is the place, in bytes beside the time's, for a complete signature whose
// certificates nobody knows yet: three of them on RSA-4096 keys take 6 KiB.
const madeElsewhere = 16 << 10

// Take verifies a complete signature (CMS, DER) that a provider made over p.Digest, and
// with it takes the certificate that was not known when p was prepared.
func (s *Signer) Take(p *workflow.Prepared, made []byte) ([][]byte, error) {
	chain, err := s.take(p, made)
	if err != nil {
		return nil, fmt.Errorf("taking a signature made elsewhere: %w", foreign(err))
	}
	return chain, nil
}

func (s *Signer) take(p *workflow.Prepared, made []byte) ([][]byte, error) {
	prep := &pades.Preparation{}
	if err := prep.UnmarshalBinary(p.Signer); err != nil {
		return nil, err
	}
	prep.Suffix = p.Suffix
	s.mu.Lock()
	token := s.tokenSize // after a restart none may be known: Complete notices what has no room
	s.mu.Unlock()
	m, chain, err := prep.Take(made, token)
	if err != nil {
		return nil, err
	}
	kept, err := prep.MarshalBinary()
	if err != nil {
		return nil, err
	}
	p.Signer, p.Attributes, p.Value, p.Made = kept, m.Attributes, m.Value, m.Raw
	return chain, nil
}

// foreign makes refusals of what is not the signature that was asked for.
func foreign(err error) error {
	switch {
	case errors.Is(err, pades.ErrTooLarge):
		return refuse("signature-too-large", "The signature that came does not fit into its place in the document. Nothing was taken; please tell your administrator.", err)
	case errors.Is(err, cms.ErrFormat), errors.Is(err, cms.ErrAlgorithm), errors.Is(err, cms.ErrDigest), errors.Is(err, cms.ErrSignature), errors.Is(err, cms.ErrCertificate), errors.Is(err, cms.ErrExpired):
		return refuse("foreign-signature", "The signature that came is not one over this document as it was asked for. Nothing was taken; please tell your administrator.", err)
	}
	return err
}
