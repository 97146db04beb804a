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
	lock      lock
}

// lock is what a signed field's FieldMDP, or Lock, lets nobody change.
type lock struct {
	action cos.Name // All, Include, Exclude, or "" for none
	fields []string
	none   bool // no change of any kind (P 1)
}

// Signatures lists the signed signature fields, newest first.
func Signatures(f *cos.File) ([]*Signature, error) {
	fields, err := Fields(f)
	if err != nil {
		return nil, err
	}
	var out []*Signature
	for _, fd := range fields {
		if fd.Type != "Sig" {
			continue
		}
		d, err := f.Dict(fd.Dict["V"])
		if err != nil {
			return nil, fmt.Errorf("signature in %q: %w", fd.Name, err)
		}
		if d == nil {
			continue
		}
		s := &Signature{Field: fd, Dict: d, SubFilter: f.Name(d["SubFilter"]), Contents: []byte(f.String(d["Contents"]))}
		ranges, err := f.Array(d["ByteRange"])
		if err != nil {
			return nil, fmt.Errorf("signature in %q: %w", fd.Name, err)
		}
		for _, r := range ranges {
			n, _ := f.Int(r)
			s.ByteRange = append(s.ByteRange, int64(n))
		}
		if err := s.permissions(f); err != nil {
			return nil, fmt.Errorf("signature in %q: %w", fd.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// permissions reads the transforms of a signature (ISO 32000-2, 12.8.2), and
// the lock of its field, which PDF 2.0 lets restrict as a certification does.
func (s *Signature) permissions(f *cos.File) error {
	refs, err := f.Array(s.Dict["Reference"])
	if err != nil {
		return err
	}
	for _, r := range refs {
		d, err := f.Dict(r)
		if err != nil {
			return err
		}
		params, err := f.Dict(d["TransformParams"])
		if err != nil {
			return err
		}
		switch f.Name(d["TransformMethod"]) {
		case "DocMDP":
			s.DocMDP = 2
			if p, ok := f.Int(params["P"]); ok {
				s.DocMDP = p
			}
		case "FieldMDP":
			if err := s.lock.read(f, params); err != nil {
				return err
			}
		}
	}
	d, err := f.Dict(s.Field.Dict["Lock"])
	if err != nil || d == nil {
		return err
	}
	return s.lock.read(f, d)
}

func (l *lock) read(f *cos.File, d cos.Dict) error {
	l.action = f.Name(d["Action"])
	if p, ok := f.Int(d["P"]); ok && p == 1 {
		l.none = true
	}
	list, err := f.Array(d["Fields"])
	for _, o := range list {
		l.fields = append(l.fields, f.String(o).UTF8())
	}
	return err
}

// locks reports whether a field may not change any more.
func (l *lock) locks(name string) bool {
	named := false
	for _, n := range l.fields {
		named = named || name == n || len(name) > len(n) && name[:len(n)] == n && name[len(n)] == '.'
	}
	switch {
	case l.none || l.action == "All":
		return true
	case l.action == "Include":
		return named
	case l.action == "Exclude":
		return !named
	}
	return false
}
