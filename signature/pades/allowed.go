package pades

import (
	"errors"
	"fmt"

	"milterd/signature/pdf"
	"milterd/signature/pdf/cos"
)

// Errors about what a document allows.
var (
	// ErrForbidden: an earlier signature forbids this one.
	ErrForbidden = errors.New("an earlier signature forbids this one")
	// ErrField: the field cannot take a signature.
	ErrField = errors.New("no field for this signature")
)

// checkAllowed refuses what would break an earlier signature (pdf.Rules), and a
// field that is no empty signature field. An empty name is replaced by one that
// no field has.
func checkAllowed(f *cos.File, name string) (string, error) {
	rules, err := pdf.ReadRules(f)
	if err != nil {
		return "", err
	}
	if name == "" {
		name = unused(rules.Fields, "Signature")
	}
	for _, fd := range rules.Fields {
		switch {
		case fd.Name == name && fd.Type != "Sig":
			return "", fmt.Errorf("%w: %q is no signature field", ErrField, name)
		case fd.Name == name && fd.Dict["V"] != nil:
			return "", fmt.Errorf("%w: %q is signed already", ErrField, name)
		}
	}
	if why := rules.Forbid(name); why != "" {
		return "", fmt.Errorf("%w: %s", ErrForbidden, why)
	}
	return name, nil
}

// unused gives a name that no field has: the stem with a number.
func unused(fields []*pdf.Field, stem string) string {
	taken := map[string]bool{}
	for _, fd := range fields {
		taken[fd.Name] = true
	}
	for n := 1; ; n++ {
		if s := fmt.Sprint(stem, n); !taken[s] {
			return s
		}
	}
}
