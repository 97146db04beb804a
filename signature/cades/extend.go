package cades

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"milterd/signature/cms"
)

// Evidence is what makes B-LT of B-T: certificates, and revocation data issued
// after the signature's time, for the signer's chain and the timestamp
// authority's.
type Evidence struct {
	Certs []*x509.Certificate
	CRLs  [][]byte // DER
	OCSPs [][]byte // DER of OCSPResponse
}

// Attach puts the content into a detached message, whose signers must all have
// signed it (cms.ErrDigest).
func Attach(der, content []byte) ([]byte, error) {
	all, err := cms.ParseAll(der)
	if err == nil {
		der, err = all[0].WithContent(content)
	}
	if err != nil {
		return nil, fmt.Errorf("attaching the content: %w", err)
	}
	return der, nil
}

// Join gives one message with the signers of several over the same content; it
// verifies nothing.
func Join(messages ...[]byte) ([]byte, error) {
	der, err := cms.Join(messages...)
	if err != nil {
		return nil, fmt.Errorf("joining signatures: %w", err)
	}
	return der, nil
}

// AddEvidence adds to SignedData.certificates and crls what is not in them yet
// (clauses 5.4 and 6.3).
func AddEvidence(der []byte, e Evidence) ([]byte, error) {
	all, err := cms.ParseAll(der)
	if err == nil {
		der, err = all[0].WithEvidence(e.Certs, e.CRLs, e.OCSPs)
	}
	if err != nil {
		return nil, fmt.Errorf("adding revocation data: %w", err)
	}
	return der, nil
}

// Archive adds an archive-time-stamp-v3 to each signer, over content, signature
// and everything else that the message holds (clause 5.5.3). content is that of
// a detached message; nil where it is inside. A wrong content is cms.ErrDigest.
func Archive(ctx context.Context, der, content []byte, ts cms.Timestamper) ([]byte, error) {
	out, err := archive(ctx, der, content, ts)
	if err != nil {
		return nil, fmt.Errorf("adding an archive timestamp: %w", err)
	}
	return out, nil
}

func archive(ctx context.Context, der, content []byte, ts cms.Timestamper) ([]byte, error) {
	all, err := cms.ParseAll(der)
	if err != nil {
		return nil, err
	}
	if inside := all[0].Content; inside != nil {
		if content != nil {
			return nil, fmt.Errorf("%w: content beside a message that has it inside", cms.ErrFormat)
		}
		content = inside
	}
	digest := sha256.Sum256(content)
	for i := range all {
		m := all[i]
		h := m.Hash().New()
		h.Write(content)
		if err := m.CheckDigest(h.Sum(nil)); err != nil {
			return nil, err
		}
		imprint, index := m.ArchiveImprint(digest[:])
		t, err := cms.StampDigest(ctx, ts, imprint)
		if err != nil {
			return nil, err
		}
		if der, err = m.WithArchive(t, index); err != nil {
			return nil, err
		}
		if all, err = cms.ParseAll(der); err != nil {
			return nil, err
		}
	}
	return der, nil
}
