package pades

import (
	"errors"
	"fmt"
	"strings"

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

// checkAllowed refuses what would break an earlier signature: a certification
// that grants nothing (ISO 32000-2, 12.8.2.2: P is 1), a signed field that locks
// this one, and a field that is no empty signature field. An empty name is
// replaced by one that no field has.
func checkAllowed(f *cos.File, name string) (string, error) {
	if err := checkCertification(f); err != nil {
		return "", err
	}
	fields, err := pdf.Fields(f)
	if err != nil {
		return "", err
	}
	for _, fd := range fields {
		switch {
		case fd.Name == name && fd.Type != "Sig":
			return "", fmt.Errorf("%w: %q is no signature field", ErrField, name)
		case fd.Name == name && fd.Dict["V"] != nil:
			return "", fmt.Errorf("%w: %q is signed already", ErrField, name)
		case fd.Type != "Sig" || fd.Dict["V"] == nil || fd.Dict["Lock"] == nil:
			continue
		}
		locked, err := locks(f, fd, name)
		if err != nil {
			return "", err
		}
		if locked {
			return "", fmt.Errorf("%w: the signature in %q locks %q", ErrForbidden, fd.Name, name)
		}
	}
	if name == "" {
		name = unused(fields, "Signature")
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

func checkCertification(f *cos.File) error {
	catalog, err := f.Catalog()
	if err != nil {
		return err
	}
	perms, err := f.Dict(catalog["Perms"])
	if err != nil || perms["DocMDP"] == nil {
		return err
	}
	sig, err := f.Dict(perms["DocMDP"])
	if err != nil {
		return err
	}
	refs, err := f.Array(sig["Reference"])
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
		if p, ok := f.Int(params["P"]); ok && p == 1 && f.Name(d["TransformMethod"]) == "DocMDP" {
			return fmt.Errorf("%w: the document is certified, and grants no change", ErrForbidden)
		}
	}
	return nil
}

// locks reports whether the Lock of a signed field (ISO 32000-2, table 236)
// forbids to change another field.
func locks(f *cos.File, signed *pdf.Field, name string) (bool, error) {
	lock, err := f.Dict(signed.Dict["Lock"])
	if err != nil {
		return false, err
	}
	if p, ok := f.Int(lock["P"]); ok && p == 1 {
		return true, nil
	}
	list, err := f.Array(lock["Fields"])
	if err != nil {
		return false, err
	}
	named := false
	for _, o := range list {
		n := f.String(o).UTF8()
		named = named || n == name || strings.HasPrefix(name, n+".")
	}
	switch f.Name(lock["Action"]) {
	case "All":
		return true, nil
	case "Include":
		return named, nil
	case "Exclude":
		return !named, nil
	}
	return false, nil
}
