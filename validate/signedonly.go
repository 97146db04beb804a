package validate

import (
	"fmt"
	"time"

	"milterd/signature/pdf/cos"
)

// SignedOnly wants a PDF to be its own first size bytes, which somebody has signed once,
// and nothing else: one signature more, over the whole file, invisible or in a field that
// stood there, and whatever Validate would say of the difference is just that
// (metadata may have been kept up to date). It gives the name of the field. The
// signature itself is not judged, and of it not more is read than its form.
func SignedOnly(data []byte, size int) (field string, err error) {
	if size < 0 || size >= len(data) {
		return "", fmt.Errorf("nothing stands behind the %d bytes", size)
	}
	final, err := cos.Open(data)
	if err != nil {
		return "", fmt.Errorf("reading the file: %w", err)
	}
	old, err := cos.Open(data[:size])
	if err != nil {
		return "", fmt.Errorf("reading the file as it was: %w", err)
	}
	v := &validation{o: Options{Now: time.Now()}, data: data, final: final, sections: map[int]bool{}, inFile: map[*cos.File]*evidence{}}
	at, err := final.Sections()
	if err != nil {
		return "", fmt.Errorf("reading the file: %w", err)
	}
	for _, s := range at {
		v.sections[s] = true
	}
	if err := v.findSignatures(); err != nil {
		return "", fmt.Errorf("reading the signatures: %w", err)
	}
	var added *signature
	for _, s := range v.sigs {
		switch {
		case s.end > 0 && s.end <= size:
		case added != nil:
			return "", fmt.Errorf("more than one signature was added")
		case s.problem != nil:
			return "", fmt.Errorf("the signature in %q: %w", s.out.Field, s.problem)
		case s.end != len(data) || s.gap[0] < size:
			return "", fmt.Errorf("the signature in %q does not cover the whole", s.out.Field)
		default:
			added = s
		}
	}
	if added == nil {
		return "", fmt.Errorf("no signature was added")
	}
	signed := fmt.Sprintf("field %q was signed", added.out.Field)
	for _, c := range v.changes(&signature{end: size, own: old}) {
		if !c.Allowed || c.What != signed && c.What != "metadata was updated" && c.What != "document information was updated" {
			return "", fmt.Errorf("beside the signature: %s", c.What)
		}
	}
	return added.out.Field, nil
}
