package pades

import (
	"context"
	"crypto/sha256"
	"fmt"

	"milterd/signature/cms"
	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

// Timestamp adds a document timestamp over the whole head (DocTimeStamp,
// SubFilter ETSI.RFC3161; EN 319 142-1, 5.4.3), in the empty field of a name, or
// in an invisible one ("" or a name that no field has). No earlier signature
// forbids it. tokenSize is that of a token in bytes, as measured.
func Timestamp(ctx context.Context, head []byte, field string, ts Timestamper, tokenSize int) ([]byte, error) {
	suffix, err := timestamp(ctx, head, field, ts, tokenSize)
	if err != nil {
		return nil, fmt.Errorf("adding a document timestamp: %w", err)
	}
	return suffix, nil
}

func timestamp(ctx context.Context, head []byte, field string, ts Timestamper, tokenSize int) ([]byte, error) {
	if field == "" {
		f, err := cos.Open(head)
		if err != nil {
			return nil, err
		}
		fields, err := pdf.Fields(f)
		if err != nil {
			return nil, err
		}
		field = unused(fields, "Timestamp")
	}
	placed, err := pdf.Place(head, pdf.Signing{
		Field: field, Reserve: min(tokenSize+tokenSize/4+1024, maxReserve),
		Entries: cos.Dict{
			"Type": cos.Name("DocTimeStamp"), "Filter": cos.Name("Adobe.PPKLite"), "SubFilter": cos.Name("ETSI.RFC3161"),
		},
	})
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := placed.WriteTo(h); err != nil {
		return nil, err
	}
	token, err := cms.StampDigest(ctx, ts, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	at, room := placed.Contents()
	return embed(placed.Suffix, at, room, token.Raw)
}
