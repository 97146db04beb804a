package origin

import (
	"bytes"
	"strings"
)

// field is one field of a mail's header as it stands there.
type field struct {
	name string // in lower case
	raw  []byte // with its folds and its last CRLF
}

// value is what stands behind the colon, folds kept.
func (f field) value() string {
	_, v, _ := strings.Cut(string(f.raw), ":")
	return v
}

// lines are the lines of the field without their CRLF.
func (f field) lines() []string {
	return strings.Split(strings.TrimSuffix(string(f.raw), "\r\n"), "\r\n")
}

// Limits of a header: the library's time grows with fields times signed names,
// and with the square of a field's lines.
const (
	maxFields = 1000
	maxLines  = 2000
	maxSigned = 100 // names in h=
)

// split takes a mail apart. It is not ok if two programs could take the header
// apart in two ways, or if there is too much of it.
func split(raw []byte) (fields []field, body []byte, ok bool) {
	for lines := 0; ; lines++ {
		n := bytes.Index(raw, []byte("\r\n"))
		if n == 0 {
			return fields, raw[2:], true
		}
		if n < 0 || lines == maxLines || len(fields) > maxFields || bytes.ContainsAny(raw[:n], "\r\n\x00") {
			return nil, nil, false
		}
		line := raw[:n+2]
		raw = raw[n+2:]
		if line[0] == ' ' || line[0] == '\t' {
			if len(fields) == 0 {
				return nil, nil, false
			}
			last := &fields[len(fields)-1]
			last.raw = last.raw[:len(last.raw)+len(line)] // they stand behind each other
			continue
		}
		name, _, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, nil, false
		}
		fields = append(fields, field{strings.ToLower(string(name)), line})
	}
}

// count tells how often a field occurs.
func count(fields []field, name string) int {
	n := 0
	for _, f := range fields {
		if f.name == name {
			n++
		}
	}
	return n
}
