package pades

import (
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"

	"milterd/signature/cms"
	"milterd/signature/pdf/cos"
)

// Timestamp adds a document timestamp over the whole head (DocTimeStamp,
// SubFilter ETSI.RFC3161; EN 319 142-1, 5.4.3), in an invisible field of its
// own, which no earlier signature forbids. tokenSize is that of a token in bytes, as measured.
func Timestamp(ctx context.Context, head []byte, ts Timestamper, tokenSize int) ([]byte, error) {
	suffix, err := timestamp(ctx, head, ts, tokenSize)
	if err != nil {
		return nil, fmt.Errorf("adding a document timestamp: %w", err)
	}
	return suffix, nil
}

func timestamp(ctx context.Context, head []byte, ts Timestamper, tokenSize int) ([]byte, error) {
	f, err := cos.Open(head)
	if err != nil {
		return nil, err
	}
	sig := cos.Dict{
		"Type": cos.Name("DocTimeStamp"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.RFC3161"),
	}
	size := min(tokenSize+tokenSize/4+1024, maxReserve)
	r, err := revise(f, sig, "", stampStem, size, nil, sha256.New())
	if err != nil {
		return nil, err
	}
	token, err := ts.Timestamp(ctx, r.digest)
	if err != nil {
		return nil, fmt.Errorf("asking for the time: %w", err)
	}
	t, err := cms.ParseToken(token)
	if err != nil {
		return nil, err
	}
	if err := t.CheckImprint(crypto.SHA256, r.digest); err != nil {
		return nil, err
	}
	if _, err := t.CheckSigner(); err != nil {
		return nil, err
	}
	return embed(r.suffix, r.offset, r.length, token)
}
