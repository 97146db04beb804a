package pdf

import (
	"fmt"

	"milterd/signature/pdf/cos"
)

// Signature is a signature or document timestamp that stands in a file. What it
// says is not verified here.
type Signature struct {
	Field     *Field
	Dict      cos.Dict // the signature dictionary; shared
	SubFilter cos.Name
	ByteRange []int64
	Contents  []byte // with the zeros that pad it
	DocMDP    int    // permission of a certification: 1, 2 or 3; 0 for other signatures
}

// Signatures lists the signed signature fields, newest first.
func Signatures(f *cos.File) ([]*Signature, error) {
	fields, err := Fields(f)
	if err != nil {
		return nil, err
	}
	return signaturesIn(f, fields)
}

func signaturesIn(f *cos.File, fields []*Field) (out []*Signature, err error) {
	err = signedIn(f, fields, func(fd *Field, d cos.Dict) error {
		s := &Signature{Field: fd, Dict: d, SubFilter: f.Name(d["SubFilter"]), Contents: []byte(f.String(d["Contents"]))}
		ranges, err := f.Array(d["ByteRange"])
		if err != nil {
			return err
		}
		for _, r := range ranges {
			n, _ := f.Int(r)
			s.ByteRange = append(s.ByteRange, int64(n))
		}
		s.DocMDP, _, err = transforms(f, d)
		out = append(out, s)
		return err
	})
	return out, err
}

// signedIn calls fn with each signed signature field and its signature dictionary.
func signedIn(f *cos.File, fields []*Field, fn func(*Field, cos.Dict) error) error {
	for _, fd := range fields {
		if fd.Type != "Sig" {
			continue
		}
		d, err := f.Dict(fd.Dict["V"])
		if err == nil && d != nil {
			err = fn(fd, d)
		}
		if err != nil {
			return fmt.Errorf("signature in %q: %w", fd.Name, err)
		}
	}
	return nil
}
